"""Comparisons of runs: plain numbers, no drawing."""

from .charts import exposure, full_curve, lorenz, overlap_matrix, pareto_front
from .compare import Difference, compare, differences, higher_is_better, holm_p_values, metric_label, pairwise
from .fairness import ExposureFairness, QualityFairness, exposure_fairness, quality_fairness
from .groups import Grouping, by_activity, by_column, by_item_popularity, item_newness, usable_columns, user_newness
from .protocol import card_facts, protocol_card
from .repeats import Repeat, RepeatDifference, compare_repeats, corrected_repeats, repeats
from .segments import by_group, by_item_group
from .verdicts import GroupVerdict, Verdict, verdict

__all__ = [
    "Difference",
    "ExposureFairness",
    "GroupVerdict",
    "Grouping",
    "QualityFairness",
    "Repeat",
    "RepeatDifference",
    "Verdict",
    "by_activity",
    "by_column",
    "by_group",
    "by_item_group",
    "by_item_popularity",
    "card_facts",
    "compare",
    "compare_repeats",
    "corrected_repeats",
    "differences",
    "exposure",
    "exposure_fairness",
    "full_curve",
    "higher_is_better",
    "holm_p_values",
    "item_newness",
    "lorenz",
    "metric_label",
    "overlap_matrix",
    "pairwise",
    "pareto_front",
    "protocol_card",
    "quality_fairness",
    "repeats",
    "usable_columns",
    "user_newness",
    "verdict",
]
