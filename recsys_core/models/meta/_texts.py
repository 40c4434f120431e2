"""Which texts of the items are read by a sentence encoder, and what of it is kept with a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from ...context import QUIET, RunContext
from ...data.dataset import Dataset
from ...data.features import FeatureSet, guess_schema
from ...data.features.text_field import clean
from ...data.text import _last_layer
from ...errors import Unsupported

TEXT = "text"


def with_sentences(data: Dataset, model: str) -> Dataset:
    """The same data, whose text columns are read by the sentence encoder. model: which, "" = as each column says."""
    chosen, columns = data.features or FeatureSet(), {}
    for side, table in (("user", data.user_table), ("item", data.item_table)):
        if table is not None:
            told = chosen.schema(side, guess_schema(table))
            new = {
                name: replace(what, settings=(what.settings or {}) | {"encoder": "sentence"} | ({"model": model} if model else {}))
                for name, what in told.items()
                if what.kind == TEXT
            }
            columns[side] = chosen.columns.get(side, {}) | new
    return replace(data, features=replace(chosen, columns=columns))


@dataclass
class ItemTexts:
    """The texts of items, and the last layer that reads them. columns: of the item table, joined; text_of: int64 (I,), the text of
    each item, -1 for none; n: how many distinct texts. read: None in a model that was loaded, which reads no more of them."""

    columns: list[str]
    text_of: np.ndarray
    n: int
    settings: dict[str, Any]
    read: _last_layer.LastLayer | None = None

    @classmethod
    def fit(cls, data: Dataset, model: str, ctx: RunContext) -> Self | None:
        """None where the item table has no text column."""
        if data.item_table is None:
            return None
        told = (data.features or FeatureSet()).schema("item", guess_schema(data.item_table))
        columns = [name for name, what in told.items() if what.kind == TEXT and name in data.item_table]
        text_of, texts = joined(data.item_table, columns)
        if not texts:
            return None
        named = [str((told[name].settings or {}).get("model") or "") for name in columns]
        read = _last_layer.read(texts, ctx, model=model or next(filter(None, named), ""))
        return cls(columns, text_of, len(texts), read.settings, read)

    def new(self, table: pd.DataFrame) -> tuple[np.ndarray, _last_layer.LastLayer | None]:
        """(text of each row, what is read of these texts) of items from outside. Needs the encoder the layer was taken from."""
        text_of, texts = joined(table, self.columns)
        if not texts:
            return text_of, None
        read = _last_layer.read(texts, QUIET, model=self.settings["model"])
        if read.settings["identity"] != self.settings["identity"]:
            raise Unsupported(
                "The sentence encoder on this machine is not the one this was trained with.", "Put the earlier one back, or train again."
            )
        return text_of, read

    def state(self) -> dict[str, Any]:
        plain = {"columns": self.columns, "n": self.n, "settings": self.settings}
        return {"texts": plain, "texts.of": self.text_of}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self | None:
        return cls(text_of=np.asarray(state["texts.of"]), **state["texts"]) if "texts" in state else None


def joined(table: pd.DataFrame, columns: list[str]) -> tuple[np.ndarray, list[str]]:
    """(text of each row, -1 for none; the distinct texts): all columns that are there, one after the other."""
    whole = pd.Series("", index=range(len(table)), dtype=object)
    for name in (name for name in columns if name in table):
        code, texts, _ = clean(table[name])
        part = pd.Series([*texts, ""], dtype=object).to_numpy()[code]
        whole = whole.where((whole == "") | (part == ""), whole + ". ") + part
    code, texts = pd.factorize(whole.where(whole != "", None))
    return code.astype(np.int64), [str(text) for text in texts]
