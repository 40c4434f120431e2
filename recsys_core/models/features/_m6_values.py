"""What an encoded row says in words: "genres = Comedy|Drama", read back from the features, since models are saved without tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.features.fields import NOTHING
from ...data.histories import Histories
from .._inputs import KIND, Inputs

LONGEST = 60  # characters of a value
NAMED = ("categorical", "multi_valued")


def value_of(inputs: Inputs, side: str, number: int, code: int | None, histories: Histories) -> str:
    """Field `number` of one item or user; of features of histories, that of the first of them."""
    fields = inputs.items.fields if side == "item" else inputs.user_fields
    name, kind = fields[number]
    if kind == KIND:
        return name
    table = inputs.side.tables[side]
    span = table.span(number)
    row = table.matrix[int(code)][:, span]
    names = table.names[span]
    if kind in NAMED:
        parts = [names[n].removeprefix(f"{name}=") for n in row.indices]
        return _short(f"{name} = {'|'.join(parts) or NOTHING}")
    values = row.toarray()[0]
    missing = [n for n, feature in enumerate(names) if feature == f"{name}={NOTHING}"]
    if missing and values[missing[0]] > 0.5:
        return f"{name} = {NOTHING}"
    shown = _number(inputs.side.encoders[side].encoders[number], kind, values)
    return _short(f"{name} = {shown}" if shown else name)


def _number(field: Any, kind: str, values: np.ndarray) -> str:
    """The number or year a scaled value stands for; the ends were pulled in, so it is what the model reads."""
    scale = {"numeric": "scale", "date": "year"}.get(kind)
    if scale is None or not hasattr(field, scale):
        return ""
    about = getattr(field, scale)
    level = float(values[0]) * about["deviation"] + about["mean"]
    unit = about.get("log_unit", 0.0)
    level = np.sign(level) * np.expm1(abs(level)) * unit if unit > 0 else level
    return f"{int(level)}" if kind == "date" else f"{float(level):.4g}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
