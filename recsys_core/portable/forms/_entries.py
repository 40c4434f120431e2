"""What a history counts, and what of it is told back: shared by forms that add up over the items of a history."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..history import History


def entries_of(history: History, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(codes, entries float32): every liked item once, by code, with 1, its values added up, or log(1 + that).

    settings: threshold; values: "ignore", "linear" or "log"."""
    values = settings.get("values", "ignore")
    codes, entries = history.relevant(settings.get("threshold")).row(binary=values == "ignore")
    if values != "ignore":
        entries = np.maximum(entries, 0)
    return codes, np.log1p(entries) if values == "log" else entries


def raw_weights(values: np.ndarray, weighting: str) -> np.ndarray:
    """float64: 1 ("binary"), log2(1 + value) ("log") or the value ("linear"), as factor models weigh interactions."""
    if weighting == "binary":
        return np.ones(np.shape(values))
    values = np.maximum(values, 0).astype(np.float64)
    return np.log2(1 + values) if weighting == "log" else values


def per_entry(history: History, codes: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """float (n,): the parts of items (codes ascending) handed out to the entries of the history; repeats share theirs."""
    if not len(codes):
        return np.zeros(len(history))
    at = np.searchsorted(codes, history.items).clip(max=len(codes) - 1)
    there = codes[at] == history.items
    times = np.bincount(at[there], minlength=len(codes)).clip(1)
    return np.where(there, parts[at] / times[at], 0)


def popularity_of(counts: np.ndarray) -> np.ndarray:
    """float32 (I,), in [0, 1]."""
    return counts / max(1.0, float(counts.max(initial=0)))


def filled(scores: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """Items without any evidence (score 0) come after all others, the most popular of them first."""
    unit = max(float(scores.max(initial=0)) * 1e-3, 0.0) or 1.0
    return np.where(scores > 0, scores, (popularity - 1 - 1e-6) * np.float32(unit)).astype(np.float32)
