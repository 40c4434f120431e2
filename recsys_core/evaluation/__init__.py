"""Comparisons of runs: plain numbers, no drawing."""

from .charts import curves, exposure, full_curve, lorenz, overlap_matrix, pareto_front
from .compare import Difference, compare, differences, higher_is_better, metric_label
from .protocol import card_facts, protocol_card
from .segments import by_popularity, by_segment, item_segments, user_segments

__all__ = [
    "Difference",
    "by_popularity",
    "by_segment",
    "card_facts",
    "compare",
    "curves",
    "differences",
    "exposure",
    "full_curve",
    "higher_is_better",
    "item_segments",
    "lorenz",
    "metric_label",
    "overlap_matrix",
    "pareto_front",
    "protocol_card",
    "user_segments",
]
