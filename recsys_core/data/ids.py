"""External ids come in at the door and go out at the door; inside, everything is int32 codes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd


class IdMap:
    """External ids (strings, exactly as in the file) <-> codes 0 … n-1. Immutable.

    ids: (n,) unique strings; position = code. Numbers are turned to text: 7 -> "7", 7.0 -> "7".
    """

    def __init__(self, ids: Iterable) -> None:
        self.ids = pd.array(as_text(ids), dtype="str")
        if self.index.has_duplicates:
            repeated = self.ids[self.index.duplicated()][0]
            raise ValueError(f"ids must be unique; '{repeated}' appears more than once")

    @classmethod
    def from_sorted(cls, ids) -> IdMap:
        """From an Arrow string array known to be sorted and free of duplicates: skips the check, and the copy."""
        made = cls.__new__(cls)
        made.ids = pd.array(ids.cast("large_string"), dtype="str")
        return made

    @cached_property
    def index(self) -> pd.Index:
        return pd.Index(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and len(self) == len(other) and self.index.equals(other.index)

    __hash__ = None

    def encode(self, ids: Iterable) -> np.ndarray:
        """(n,) external ids -> (n,) int32 codes, -1 where there is none."""
        return self.index.get_indexer(pd.Index(as_text(ids))).astype(np.int32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(n,) codes -> (n,) object array of external ids; negative codes give None."""
        codes = np.asarray(codes)
        found = self._objects[np.maximum(codes, 0)] if len(self) else np.full(codes.shape, None, dtype=object)
        return np.where(codes >= 0, found, None)

    @cached_property
    def _objects(self) -> np.ndarray:
        return np.asarray(self.ids, dtype=object)

    def save(self, path: Path) -> None:
        pd.DataFrame({"id": self.ids}).to_parquet(path, index=False)

    @classmethod
    def load(cls, path: Path) -> IdMap:
        return cls(pd.read_parquet(path)["id"])


def as_text(ids: Iterable) -> pd.Series:
    """Ids as strings: whole floats lose their '.0', so that 7, 7.0 and "7" are one id."""
    series = pd.Series(ids).reset_index(drop=True)
    if pd.api.types.is_float_dtype(series) and len(series) and (series.dropna() % 1 == 0).all():
        series = series.astype("Int64")
    return series.astype("str")
