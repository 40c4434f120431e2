"""Metrics: one a file; a vectorised evaluator over top-k arrays."""

from ._base import Metric
from ._catalog import Catalog
from ._evaluate import Evaluation, evaluate

__all__ = ["Catalog", "Evaluation", "Metric", "evaluate"]
