"""Models that adapt to a new user in a few gradient steps."""
