"""RMSE of predicted ratings."""

from __future__ import annotations

import numpy as np

from ._base import RatingMetric


class RMSE(RatingMetric):
    """Root of the mean squared error over all held-out ratings; big mistakes weigh more."""

    key = "rmse"
    label = "RMSE"
    help = "How far predicted ratings are from the real ones, big mistakes counting more. 0.9 means typically 0.9 points off."
    formula = "√ mean (predicted − actual)² over held-out ratings"

    def of_ratings(self, predicted: np.ndarray, actual: np.ndarray) -> float:
        return float(np.sqrt(np.mean((predicted - actual) ** 2))) if len(actual) else float("nan")
