"""Who gets a list and what may be on it: users by id or segment, items by lists and filters on columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ..data.dataset import Dataset
from ..data.ids import IdMap, as_text
from ..errors import BadInput

Operator = Literal["is any of", "is none of", "contains", "at least", "at most"]
Activity = Literal["all", "least", "middle", "most"]


class Filter(BaseModel):
    """A rule on a column of the item or user table. A cell such as `Drama|Comedy` is both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    operator: Operator = "is any of"
    values: list[str | float] = []

    def mask(self, table: pd.DataFrame | None, n: int, side: str) -> np.ndarray:
        """bool (n,): the rows that pass. Cells that are missing pass only "is none of"."""
        if table is None or self.column not in table.columns:
            known = "it has no table" if table is None else f"it has {', '.join(map(str, table.columns))}"
            raise BadInput(f"The {side} table has no column '{self.column}'; {known}.", "Choose another column.")
        if not self.values:
            return np.ones(n, dtype=bool)
        column = table[self.column].reset_index(drop=True)
        if self.operator in ("at least", "at most"):
            try:
                limit = float(self.values[0])
            except ValueError:
                raise BadInput(f"'{self.column}' {self.operator} needs a number; got '{self.values[0]}'.") from None
            numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
            with np.errstate(invalid="ignore"):
                return numbers >= limit if self.operator == "at least" else numbers <= limit
        text = as_text(column).where(column.notna(), None)
        wanted = list(as_text(pd.Series(self.values, dtype=object)))
        if self.operator == "contains":
            hits = np.zeros(n, dtype=bool)
            for value in wanted:  # a handful of words, not rows
                hits |= text.str.contains(value, case=False, regex=False, na=False).to_numpy(bool)
            return hits
        parts = text.str.split("|").explode().str.strip()
        hits = np.zeros(n, dtype=bool)
        hits[parts.index[parts.isin(wanted) & parts.notna()].to_numpy(np.int64)] = True
        hits |= text.isin(wanted).to_numpy(bool)
        return hits if self.operator == "is any of" else ~hits


@dataclass(frozen=True)
class Audience:
    """names: object (n,) external ids, each once. codes: int32 (n,), -1 = not in the data. n_repeated: ids
    that were given more than once."""

    names: np.ndarray
    codes: np.ndarray
    n_repeated: int = 0

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_unknown(self) -> int:
        return int((self.codes < 0).sum())


def audience(
    data: Dataset,
    ids: list[str] | None = None,
    activity: Activity = "all",
    filters: list[Filter] | tuple[Filter, ...] = (),
) -> Audience:
    """The users asked for. With ids: those, in that order, unknown ones too; else all users of `data` that
    have interactions. activity: the third with the fewest, middle or most interactions; filters: on the
    user table; unknown users pass neither."""
    if ids is not None:
        given = as_text(pd.Series(ids, dtype=object)).str.strip()
        given = given[given != ""]
        unique = given.drop_duplicates()
        names, repeated = unique.to_numpy(object), len(given) - len(unique)
        codes = data.users.encode(unique) if len(unique) else np.empty(0, np.int32)
    else:
        codes = np.flatnonzero(np.bincount(data.user, minlength=data.n_users)).astype(np.int32)
        names, repeated = data.users.decode(codes), 0
    keep = np.ones(data.n_users, dtype=bool)
    if activity != "all":
        keep &= activity_third(data) == ("least", "middle", "most").index(activity)
    for one in filters:
        keep &= one.mask(data.user_table, data.n_users, "user")
    if activity != "all" or filters:
        chosen = (codes >= 0) & keep[np.maximum(codes, 0)]
        names, codes = names[chosen], codes[chosen]
    if not len(codes):
        raise BadInput("No user is left to recommend to.", "Give at least one user id, or loosen the segment.")
    return Audience(names, codes, repeated)


def activity_third(data: Dataset) -> np.ndarray:
    """int8 (U,): 0 for the third of the users with the fewest interactions, 1, 2 for the most; -1 for users with none."""
    counts = np.bincount(data.user, minlength=data.n_users)
    active = np.flatnonzero(counts)
    third = np.full(data.n_users, -1, dtype=np.int8)
    order = active[np.lexsort((active, counts[active]))]
    third[order] = np.arange(len(order)) * 3 // max(1, len(order))
    return third


def allowed_items(data: Dataset, allow: list[str] | None, deny: list[str] | None, filters: Any = ()) -> tuple[np.ndarray | None, list[str]]:
    """(bool (I,) or None when all may appear, sentences about ids that are not in the data)."""
    notes: list[str] = []
    allowed = np.ones(data.n_items, dtype=bool)
    if allow:
        codes = _codes(data.items, allow, "allow", notes)
        allowed[:] = False
        allowed[codes] = True
    if deny:
        allowed[_codes(data.items, deny, "deny", notes)] = False
    for one in filters:
        allowed &= one.mask(data.item_table, data.n_items, "item")
    if not allowed.any():
        raise BadInput("No item is left to recommend.", "Loosen the filters or the allow list.")
    return (None if allowed.all() else allowed), notes


def _codes(items: IdMap, ids: list[str], name: str, notes: list[str]) -> np.ndarray:
    text = as_text(pd.Series(ids, dtype=object)).str.strip()
    codes = items.encode(text[text != ""].drop_duplicates())
    unknown = int((codes < 0).sum())
    if unknown:
        notes.append(f"{unknown:,} of {len(codes):,} items on the {name} list are not in the data.")
    return codes[codes >= 0]
