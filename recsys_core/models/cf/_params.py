"""Hyper-parameters that several collaborative-filtering models share: declared once, so that bounds and words agree."""

from __future__ import annotations

from typing import Any, Literal

from ...params import Scale, param

Similarity = Literal["asymmetric", "cosine"]
ValueUse = Literal["ignore", "log", "linear"]  # of ratings and counts, by models of who-has-what
Weighting = Literal["binary", "log", "linear"] | Literal["auto"]  # of repeated interactions, by models with confidence weights


def neighbours(help: str) -> Any:
    """`int | Literal["auto"]`: how many of the nearest are kept. help: the first sentence."""
    return param("auto", label="Neighbours", help=help, ge=1, le=5_000, tune=(20, 1_000, "log"))


def shrinkage(shared: str = "users", *, advanced: bool = False) -> Any:
    """Added to the denominator of a similarity. shared: what it counts."""
    return param(
        10.0,
        label="Shrinkage",
        help=f"Pulls similarities that rest on few shared {shared} towards zero. 0 turns it off.",
        ge=0,
        le=10_000,
        tune=(0, 200, "linear"),
        advanced=advanced,
    )


def value_use(effect: str = "counts for more") -> Any:
    """`ValueUse`. effect: what a larger value does."""
    return param(
        "ignore",
        label="Use of counts and ratings",
        help=f"Whether a larger count or rating {effect}: ignore it, use its logarithm, or use it as it is.",
        advanced=True,
    )


def lean(default: float, label: str, help: str) -> Any:
    """Exponent that shares the normalisation between the two sides of a similarity; 0.5 is the cosine."""
    return param(default, label=label, help=help, ge=0, le=1, tune=(0, 1, "linear"), advanced=True)


def factors(
    default: int | Literal["auto"] = "auto",
    *,
    le: int = 1024,
    tune: tuple[float, float, Scale] = (16, 256, "log"),
    fast: int | None = None,
    thorough: int | None = None,
    help: str = "How many hidden tastes describe a user. More can tell finer differences, but need more data.",
) -> Any:
    """Length of the vectors of users and items."""
    return param(default, label="Factors", help=help, ge=1, le=le, tune=tune, fast=fast, thorough=thorough)


def regularization(
    default: float | Literal["auto"],
    *,
    le: float,
    tune: tuple[float, float, Scale],
    help: str = "How strongly the model is held back from fitting chance. Raise it for small or noisy data.",
) -> Any:
    """L2 penalty on both sets of vectors."""
    return param(default, label="Regularisation", help=help, ge=0, le=le, tune=tune)


def iterations(default: int, *, le: int, tune: tuple[float, float, Scale], fast: int, thorough: int, label: str = "Iterations") -> Any:
    """Rounds of an alternating fit."""
    help = "How often users and items are fitted in turn."
    return param(default, label=label, help=help, ge=1, le=le, tune=tune, fast=fast, thorough=thorough)


def weighting() -> Any:
    """`Weighting`."""
    return param(
        "auto",
        label="Weight of repeated interactions",
        help="Does the 100th play count? Binary: no. Log: a little. Linear: as much as the first. Automatic: a little, but no for ratings.",
    )


def popularity_correction(default: float, tune: tuple[float, float, Scale]) -> Any:
    """Share of log popularity added back to scores that were learnt relative to popularity."""
    return param(
        default,
        label="Popularity correction",
        help="1 ranks by how likely the user is to take an item; lower values favour less popular items.",
        ge=0,
        le=2,
        tune=tune,
        advanced=True,
    )


def similarity(default: Similarity, help: str) -> Any:
    """`Similarity`."""
    return param(default, label="Similarity", help=help)


def bm25_k1() -> Any:
    """Saturation of repeated interactions."""
    return param(
        1.2,
        label="BM25 K1",
        help="Only for bm25: how soon a repeated interaction stops adding.",
        gt=0,
        le=1_000,
        tune=(0.1, 100, "log"),
        advanced=True,
    )


def bm25_b(length: str) -> Any:
    """Normalisation by length. length: of what."""
    return param(
        0.75, label="BM25 B", help=f"Only for bm25: how much {length} is discounted.", ge=0, le=1, tune=(0, 1, "linear"), advanced=True
    )
