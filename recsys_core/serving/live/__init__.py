"""Real time: one user at a time, state that follows every event, from a bundle alone."""
