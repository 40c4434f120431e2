"""What items are called: titles, categories and attributes from the item table, else the bare ids; and finding them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.data.ingest.tables import column_hints

from . import state
from .text import md, number, short

FOUND = 8


@dataclass(frozen=True, eq=False)
class Names:
    """Of one side ("item", "user") of a dataset: what its rows are called. ids: the IdMap; table: row = code, or None."""

    ids: Any
    table: pd.DataFrame | None
    hints: dict[str, Any]
    counts: np.ndarray  # interactions per code

    @property
    def has_titles(self) -> bool:
        return self.hints.get("title") is not None

    @cached_property
    def _titles(self) -> np.ndarray:
        ids = np.asarray(self.ids.ids, dtype=object)
        if not self.has_titles:
            return ids
        text = self.table[self.hints["title"]].reset_index(drop=True)
        return np.where(text.notna().to_numpy(), text.astype("str").to_numpy(object), ids)

    @cached_property
    def _folded(self) -> pd.Series:
        return pd.Series(self._titles, dtype="str").str.casefold()

    def code(self, item: str) -> int:
        try:
            return int(self.ids.index.get_loc(item))
        except KeyError:
            return -1

    def title(self, item: str) -> str:
        """Untrusted text: pass it through `md` in Markdown."""
        code = self.code(item)
        return str(self._titles[code]) if code >= 0 else item

    def titles(self, items: Sequence[str]) -> list[str]:
        codes = self.ids.encode(items) if len(items) else np.empty(0, np.int32)
        return [str(self._titles[code]) if code >= 0 else str(item) for item, code in zip(items, codes, strict=True)]

    @cached_property
    def _categories(self) -> np.ndarray:
        column, separator = self.hints.get("categories"), self.hints.get("separator")
        if column is None:
            return np.full(len(self.ids), "", dtype=object)
        text = self.table[column].reset_index(drop=True)
        plain = text.astype("str").where(text.notna(), "").str.strip(f"{separator or ''} ")
        if separator and separator != " ":
            plain = plain.str.replace(rf"\s*{re.escape(separator)}\s*", ", ", regex=True)
        return plain.to_numpy(object)

    def categories(self, item: str) -> str:
        """ "Drama, Crime", or nothing. Untrusted text."""
        code = self.code(item)
        return str(self._categories[code]) if code >= 0 else ""

    def attributes(self, item: str) -> dict[str, str]:
        """Column -> text of what is filled, the title left out."""
        code = self.code(item)
        if self.table is None or code < 0:
            return {}
        row = self.table.iloc[code]
        return {str(name): _text(value) for name, value in row.items() if name != self.hints.get("title") and pd.notna(value)}

    def find(self, term: str, limit: int = FOUND, leave_out: Sequence[str] = ()) -> list[str]:
        """Ids by title or id: exact id first, then titles that begin with the words, then the most popular that hold
        them all. Without a term, the most popular."""
        words = term.casefold().split()
        hit = np.ones(len(self.ids), dtype=bool)
        for word in words:  # a few words, each a vectorised look through the titles
            hit &= self._folded.str.contains(word, regex=False).to_numpy(bool)
        exact = self.code(term.strip()) if words else -1
        if exact >= 0:
            hit[exact] = True
        out = self.ids.encode(list(leave_out)) if len(leave_out) else np.empty(0, np.int32)
        hit[out[out >= 0]] = False
        codes = np.flatnonzero(hit)
        begins = self._folded.iloc[codes].str.startswith(" ".join(words)).to_numpy(bool) if words else np.zeros(len(codes), bool)
        order = np.lexsort((codes, -self.counts[codes], ~begins, codes != exact))
        return list(self.ids.decode(codes[order[:limit]]))


def item_names(dataset_id: str) -> Names:
    """The items of a dataset, kept between runs of the page."""
    return _names(str(state.root()), dataset_id, "item")


def user_names(dataset_id: str) -> Names:
    return _names(str(state.root()), dataset_id, "user")


@st.cache_resource(max_entries=8, show_spinner=False)
def _names(folder: str, dataset_id: str, side: str) -> Names:
    data = state.dataset(dataset_id)
    ids, table, codes = (data.items, data.item_table, data.item) if side == "item" else (data.users, data.user_table, data.user)
    has_table = table is not None and table.shape[1] > 0
    hints = column_hints(table) if has_table else {}
    return Names(ids, table if has_table else None, hints, np.bincount(codes, minlength=len(ids)))


def described(names: Names, item: str, limit: int = 48) -> str:
    """Markdown for a label: title, cut, with its categories in grey."""
    categories = names.categories(item)
    return md(names.title(item), limit) + (f" :gray[{md(categories, 40)}]" if categories else "")


def in_full(names: Names, item: str) -> str:
    """Markdown for a help text: the whole title, the id and the categories."""
    categories = names.categories(item)
    return f"{md(names.title(item), 400)}  \nId {md(item, 80)}" + (f"  \n{md(categories, 200)}" if categories else "")


def attribute_table(names: Names, item: str) -> None:
    """What the table knows of it."""
    facts = {md(short(name, 40)): md(value, 160) for name, value in names.attributes(item).items()}
    if facts:
        st.table(facts, border="horizontal", width="content")


def _text(value: Any) -> str:
    return number(float(value), 6) if isinstance(value, float | np.floating) else str(value)
