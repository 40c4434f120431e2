"""What an analyst chose of the features of a dataset: what each column is, and which high-level features are used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, Self

from ... import registry
from ...errors import BadInput
from .fields import KINDS, Id
from .guessing import Guess, members
from .settings import checked

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
        """What each column of a side's table is: as chosen, else as guessed; settings not chosen are as guessed where the kind is.
        A column chosen for itself leaves the group it was guessed into, and a chosen group takes its columns."""
        guessed = guessed | {name: Guess("vector", settings={}) for name in self.vectors.get(side, {}) if name in guessed}
        known = {name for name, what in guessed.items() if not members(what)} | {one for what in guessed.values() for one in members(what)}
        out = dict(guessed)
        for name, what in self.columns.get(side, {}).items():
            was = guessed.get(name)
            group = [one for one in members(what) or (members(was) if was else []) if one in known]
            if not group and name not in known:
                continue  # not a column of this table
            same = was is not None and (was.kind == what.kind or what.kind in (None, Id.kind))
            settings = ((was.settings or {}) if same and was else {}) | (what.settings or {})
            taken = set(group) or {name}
            for other, one in list(out.items()):
                if other in taken:
                    del out[other]
                elif other != name and taken & set(members(one)):
                    rest = [column for column in members(one) if column not in taken]
                    out[other] = replace(one, settings=(one.settings or {}) | {"columns": rest})
                    if not rest:
                        del out[other]
            out[name] = Guess(what.kind, what.reason, settings | {"columns": group} if group else settings or None)
        return out

    def checked(self, columns: Mapping[str, Iterable[str]]) -> Self:
        """The same, with settings as they are meant ("64" is 64). columns: side -> columns of its table, vector files included.
        Raises BadInput: an unknown side, column, kind, setting or high-level feature."""
        return replace(self, columns={side: self._checked_side(side, columns) for side in self.columns}, derived=self._checked_derived())

    def _checked_side(self, side: str, columns: Mapping[str, Iterable[str]]) -> dict[str, Guess]:
        _known(side, SIDES, "The features have no side '{}'.")
        here, out, owner = list(columns.get(side, ())), {}, {}
        for name, what in self.columns[side].items():
            if what.kind is not None:
                _known(what.kind, KINDS, f"The {side} column '{name}' cannot be of kind '{{}}'.")
            group = members(what)
            if group and what.kind not in ("vector", Id.kind, None):
                raise BadInput(
                    f"Several columns ('{name}') can only be a vector together, not '{what.kind}'.", "Choose each column for itself."
                )
            if not group and not name.endswith("*"):
                _known(name, here, f"The {side} table has no column '{{}}'.")
            for one in group:
                _known(one, here, f"The {side} table has no column '{{}}' for the vector '{name}'.")
                if owner.setdefault(one, name) != name:
                    raise BadInput(
                        f"The {side} column '{one}' is in two vectors: '{owner[one]}' and '{name}'.", "Take it out of one of them."
                    )
            settings = what.settings if what.kind is None else checked(what.kind, what.settings, f"the column '{name}'")
            out[name] = replace(what, settings=settings or None)
        return out

    def _checked_derived(self) -> tuple[str, ...] | None:
        for key in self.derived or ():
            _known(key, registry.keys("derived"), "There is no high-level feature '{}'.")
        return self.derived

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


def _known(name: str, among: Iterable[str], sentence: str) -> None:
    """Raise BadInput, with the nearest name there is, when there is no such name."""
    known = list(among)
    if name in known:
        return
    near = get_close_matches(str(name), known, n=1)
    shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
    raise BadInput(sentence.format(name), f"Did you mean '{near[0]}'?" if near else f"There are: {shown}." if known else "There are none.")
