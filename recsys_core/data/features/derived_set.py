"""The high-level features of one side together: learnt from a training part, scaled, with what is missing said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse

from ... import registry
from ...errors import Unsupported
from ..dataset import Dataset, DatasetStats
from ..histories import Histories
from .derived._base import Derived
from .encoder import FeatureTable
from .fields import NOTHING

KIND = "derived"


@dataclass(frozen=True, eq=False)
class DerivedSet:
    """Learnt features of users (`of_histories`) or of items (`item_table`), each a field of its own.

    A field is its numbers and a last column that is 1 where one of them is missing; missing numbers are 0. Quantities have mean 0
    and deviation 1 over those who have them in the training part; shares and flags of `categorical` ones stay as they are.
    features: what is used, sorted by key. mean, deviation: float32, one for each number. left_out: key -> why it is not used.
    n_items: rows of the item table.
    """

    side: Literal["user", "item"]
    features: list[Derived]
    mean: np.ndarray
    deviation: np.ndarray
    left_out: dict[str, str] = field(default_factory=dict)
    n_items: int = 0

    @classmethod
    def fit(
        cls,
        train: Dataset,
        keys: Iterable[str] | None = None,
        items: FeatureTable | None = None,
        rng: np.random.Generator | None = None,
        side: Literal["user", "item"] = "user",
    ) -> Self:
        """Learn from the training part alone. keys: which; those of the other side are passed over; None: those on by default.
        items: the encoded item table."""
        seed = int((rng or np.random.default_rng(0)).integers(2**63))
        known = [one for one in map(_of_key, registry.keys(KIND)) if one.side == side]
        wanted = None if keys is None else {_of_key(key).key for key in keys}  # an unknown key is an error, not a feature less
        chosen = [one for one in known if (one.default if wanted is None else one.key in wanted)]
        features, left_out = [], {}
        for one in chosen:
            lacks = _lacks(one, train.stats)
            if not lacks and not len(train):
                lacks = "There are no interactions to learn it from."
            if lacks:
                left_out[one.key] = lacks
                continue
            try:
                features.append(one.fit(train, items, np.random.default_rng(seed)))
            except Unsupported as error:
                left_out[one.key] = error.message
        quantities = [one for one in features if not one.categorical]
        scaled = np.repeat([not one.categorical for one in features], [len(one.names) for one in features]).astype(bool)
        mean, deviation = np.zeros(len(scaled), dtype=np.float32), np.ones(len(scaled), dtype=np.float32)
        mean[scaled], deviation[scaled] = _scale(_beside(quantities, train.histories() if side == "user" else None, train.n_items))
        return cls(side, features, mean, deviation, left_out, train.n_items)

    @property
    def keys(self) -> list[str]:
        """The features used, in the order of the fields."""
        return [one.key for one in self.features]

    @property
    def names(self) -> list[str]:
        """What each column is: "Activity", "Taste: Comedy", "Activity=(missing)"."""
        return [name for one in self.features for name in [*_names(one), f"{one.label}={NOTHING}"]]

    @property
    def field(self) -> np.ndarray:
        """int64 (n_features,): the field of each column, ascending."""
        return np.repeat(np.arange(len(self.features)), [len(one.names) + 1 for one in self.features]).astype(np.int64)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """(label, "derived") of each field."""
        return [(one.label, KIND) for one in self.features]

    @property
    def n_features(self) -> int:
        return sum(len(one.names) + 1 for one in self.features)

    def of_histories(self, histories: Histories) -> np.ndarray:
        """float32 (B, n_features) from histories alone, with all their values and times; every field is missing in an empty one."""
        if self.side != "user":
            raise Unsupported("These are features of items.", 'Fit them with side="user".')
        return self._finish(_beside(self.features, histories, 0), len(histories))

    def item_table(self) -> FeatureTable:
        """Row i describes item code i. Items without an interaction in the training part have none of them."""
        if self.side != "item":
            raise Unsupported("These are features of users.", 'Fit them with side="item".')
        matrix = sparse.csr_matrix(self._finish(_beside(self.features, None, self.n_items), self.n_items))
        return FeatureTable(matrix, self.names, self.field, self.fields, dict(self.left_out))

    def of_unknown(self, n: int) -> np.ndarray:
        """float32 (n, n_features): rows of which nothing is known (new items, users without a history)."""
        return self._finish(np.full((n, len(self.mean)), np.nan, np.float32), n)

    def notes(self) -> list[str]:
        """Sentences on what was used and what was not."""
        used = ", ".join(one.label.lower() for one in self.features)
        said = [f"High-level features of {self.side}s used: {used}."] if used else []
        return said + [f"'{_of_key(key).label}' of {self.side}s is not used: {why}" for key, why in self.left_out.items()]

    def plain(self) -> dict[str, Any]:
        """JSON-able; with `arrays` what `restore` needs."""
        features = [{"key": one.key, **one.plain()} for one in self.features]
        return {"side": self.side, "features": features, "left_out": dict(self.left_out), "n_items": self.n_items}

    def arrays(self) -> dict[str, Any]:
        """Arrays and csr matrices: "mean", "deviation", and "3.name" for array "name" of feature 3."""
        own = {f"{number}.{name}": value for number, one in enumerate(self.features) for name, value in one.arrays().items()}
        return {"mean": self.mean, "deviation": self.deviation} | own

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, Any]) -> Self:
        """The inverse of `plain` and `arrays`, to the bit."""
        features = []
        for number, saved in enumerate(plain["features"]):
            prefix = f"{number}."
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            features.append(_of_key(saved["key"]).restore({k: v for k, v in saved.items() if k != "key"}, own))
        return cls(plain["side"], features, arrays["mean"], arrays["deviation"], dict(plain["left_out"]), plain["n_items"])

    def _finish(self, values: np.ndarray, n: int) -> np.ndarray:
        """Scaled, with missing numbers 0 and a column after each field that says so."""
        out = np.zeros((n, self.n_features), dtype=np.float32)
        missing = np.isnan(values)
        scaled = (values - self.mean) / self.deviation
        scaled[missing] = 0
        start = at = 0
        for one in self.features:
            width = len(one.names)
            out[:, at : at + width] = scaled[:, start : start + width]
            out[:, at + width] = missing[:, start : start + width].any(1)
            start, at = start + width, at + width + 1
        return out


def describe(stats: DatasetStats) -> list[dict[str, Any]]:
    """Every high-level feature, for people: key, label, help, side, available, why_not ("" where it can be had) and default."""
    rows = []
    for key in registry.keys(KIND):
        one, why_not = _of_key(key), _lacks(_of_key(key), stats)
        rows.append(
            {"key": key, "label": one.label, "help": one.help, "side": one.side}
            | {"available": not why_not, "why_not": why_not, "default": one.default}
        )
    return sorted(rows, key=lambda row: (row["side"] != "user", not row["default"], row["label"]))


def _of_key(key: str) -> type[Derived]:
    return registry.get(KIND, key)


def _lacks(one: type[Derived], stats: DatasetStats) -> str:
    lacking = one.missing(stats)
    return f"It needs {' and '.join(lacking)}." if lacking else ""


def _names(one: Derived) -> list[str]:
    return [f"{one.label}: {name}" if name else one.label for name in one.names]


def _beside(features: list[Derived], histories: Histories | None, n_items: int) -> np.ndarray:
    """float32 (rows, numbers): what the features say, NaN where they say nothing."""
    if not features:
        return np.empty((n_items if histories is None else len(histories), 0), dtype=np.float32)
    if histories is None:
        return np.hstack([one.of_items() for one in features])
    batch = replace(histories)  # what the features share of it is let go with it
    return np.hstack([one.of_histories(batch) for one in features])


def _scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, deviation) of each column over the rows that have it; a deviation of 1 where all are the same."""
    present = ~np.isnan(values)
    n = np.maximum(present.sum(0), 1)
    filled = np.where(present, values, 0).astype(np.float64)
    mean = filled.sum(0) / n
    deviation = np.sqrt((np.where(present, filled - mean, 0) ** 2).sum(0) / n)
    return mean, np.where(deviation < 1e-6, 1, deviation)
