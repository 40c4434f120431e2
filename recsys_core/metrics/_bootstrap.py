"""Bootstrap intervals of means over users, without a loop over draws."""

from __future__ import annotations

import numpy as np

NORMAL_FROM = 50_000  # users above which the bootstrap of a mean is its normal limit to four digits
_BLOCK_CELLS = 4_000_000


def bootstrap_means(values: np.ndarray, n: int = 1000, seed: int = 0) -> np.ndarray:
    """float (n, M): means of n resamples, with replacement, of the rows of values (B, M); NaN cells are left out.

    One multinomial weight vector a resample, shared by all columns; so differences of columns are paired.
    Cost: n × B random integers and two products of (n × B) · (B × M).
    """
    n_rows = len(values)
    if n_rows == 0:
        return np.full((n, values.shape[1]), np.nan)
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    complete = bool(present.all())
    rng = np.random.default_rng(seed)
    out = np.empty((n, values.shape[1]))
    step = max(1, _BLOCK_CELLS // n_rows)
    for start in range(0, n, step):
        draws = min(step, n - start)
        picks = rng.integers(0, n_rows, size=(draws, n_rows)) + np.arange(draws)[:, None] * n_rows
        weights = np.bincount(picks.ravel(), minlength=draws * n_rows).reshape(draws, n_rows).astype(np.float64)
        counts = n_rows if complete else weights @ present
        with np.errstate(invalid="ignore", divide="ignore"):
            out[start : start + draws] = (weights @ filled) / counts
    return out


def mean_intervals(values: np.ndarray, *, level: float = 0.95, n: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (M,): percentile bootstrap intervals of the column means of values (B, M).

    Above `NORMAL_FROM` rows the normal interval, which the percentiles then equal, is used instead.
    A column without values gives NaN.
    """
    tail = (1 - level) / 2
    if len(values) > NORMAL_FROM:
        from scipy.stats import norm

        count = np.isfinite(values).sum(axis=0)
        safe = np.where(np.isfinite(values), values, 0.0)
        mean = safe.sum(axis=0) / np.maximum(count, 1)
        spread = (np.where(np.isfinite(values), values - mean, 0.0) ** 2).sum(axis=0)
        error = norm.ppf(1 - tail) * np.sqrt(spread) / np.maximum(count, 1)
        mean = np.where(count > 0, mean, np.nan)
        return mean - error, mean + error
    means = bootstrap_means(values, n, seed)
    complete = np.isfinite(means).all(axis=0)
    out = np.full((2, values.shape[1]), np.nan)
    if complete.any():
        out[:, complete] = np.quantile(means[:, complete], [tail, 1 - tail], axis=0)
    for column in np.flatnonzero(~complete & np.isfinite(means).any(axis=0)):  # so few values that some draws held none
        out[:, column] = np.nanquantile(means[:, column], [tail, 1 - tail])
    return out[0], out[1]
