"""MAE of predicted ratings."""

from __future__ import annotations

import numpy as np

from ._base import RatingMetric


class MAE(RatingMetric):
    """Mean absolute error over all held-out ratings."""

    key = "mae"
    label = "MAE"
    help = "How many rating points a prediction is off, on average."
    formula = "mean |predicted − actual| over held-out ratings"

    def of_ratings(self, predicted: np.ndarray, actual: np.ndarray) -> float:
        return float(np.mean(np.abs(predicted - actual))) if len(actual) else float("nan")
