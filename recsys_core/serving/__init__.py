"""Live answers from trained runs: one warm process beside the app (`scorer`) and its client."""
