"""Learning to learn: adaptation to a task as a function of weights, and the ways to train what it starts from. Knows no model."""
