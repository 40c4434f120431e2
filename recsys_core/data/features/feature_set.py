"""What an analyst chose of the features of a dataset: what each column is, and which high-level features are used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from .guessing import Guess

Side = Literal["user", "item"]
SIDES: tuple[Side, ...] = ("user", "item")


@dataclass(frozen=True)
class FeatureSet:
    """columns: side -> column -> what it is; a side or a column that is not named is guessed. derived: keys of the high-level
    features used, None = those that are used by default. vectors: name of a vector file's column -> content hash of the file.

    Part of a dataset (`Dataset.features`) but not of its content hash: the same interactions can be looked at with several sets.
    """

    columns: dict[str, dict[str, Guess]] = field(default_factory=dict)
    derived: tuple[str, ...] | None = None
    vectors: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Content hash, 16 hex; "" where nothing was chosen."""
        if self == FeatureSet():
            return ""
        return hashlib.blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest()

    def schema(self, side: Side, guessed: dict[str, Guess]) -> dict[str, Guess]:
        """What each column of a side's table is: as chosen, else as guessed."""
        return guessed | {name: what for name, what in self.columns.get(side, {}).items() if name in guessed}

    def to_json(self) -> dict[str, Any]:
        columns = {
            side: {name: {"kind": one.kind, "reason": one.reason, "settings": one.settings} for name, one in of_side.items()}
            for side, of_side in self.columns.items()
            if of_side
        }
        return {"columns": columns, "derived": None if self.derived is None else list(self.derived), "vectors": self.vectors}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        columns = {side: {name: Guess(**one) for name, one in of_side.items()} for side, of_side in saved.get("columns", {}).items()}
        derived = saved.get("derived")
        return cls(columns, None if derived is None else tuple(derived), saved.get("vectors", {}))
