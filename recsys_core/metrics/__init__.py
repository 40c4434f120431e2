"""Metrics: one a file; a vectorised evaluator over top-k arrays."""
