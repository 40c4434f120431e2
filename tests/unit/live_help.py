"""One small bundle for the tests of live answers: five tastes, an item table, EASE."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.portable.bundle import Bundle
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing.datasets import tastes

GENRES = ("Drama", "War", "Comedy", "Horror", "Music")


@cache
def data(*, ratings: bool = False) -> Dataset:
    """Item code i has taste i mod 5, which is its first genre."""
    train = tastes(ratings=ratings).train
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "title": [f"Film {code}" for code in range(train.n_items)],
        "genres": [f"{GENRES[code % 5]}|{'Long' if code % 2 else 'Short'}" for code in range(train.n_items)],
        "year": rng.integers(1950, 1970, train.n_items),
        "stars": [None if code % 7 == 0 else float(code % 5) for code in range(train.n_items)],
    })  # fmt: skip
    return replace(train, item_table=table)


@cache
def model(*, ratings: bool = False, key: str = "ease") -> Any:
    return registry.get("model", key)().fit(data(ratings=ratings), RunContext(threads=1))


def bundle_file(path: Path, *, ratings: bool = False, key: str = "ease", **about: Any) -> Path:
    """A bundle file; `about` goes into its manifest. key: model."""
    fitted = model(ratings=ratings, key=key)
    write_bundle(fitted, path, item_table=data(ratings=ratings).item_table, title_column="title", about=about)
    return path


def opened(path: Path, *, ratings: bool = False, key: str = "ease") -> Bundle:
    """A bundle of one's own, for predictors add items to theirs."""
    if not path.exists():
        bundle_file(path, ratings=ratings, key=key)
    return Bundle.open(path)
