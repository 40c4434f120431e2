"""What can be set of each kind of column: one declaration each, from which editors are drawn and choices checked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Literal

from ... import registry
from ...params import ParamField, Params, build, fields, param


class NoSettings(Params):
    """Kinds that need none."""


class MultiValuedSettings(Params):
    separator: str = param(
        "|", label="Values are parted by", help='A mark such as | or a comma; "json" for cells that are lists, like ["Action", "Comedy"].'
    )


class NumericSettings(Params):
    scale: Literal["auto", "standard", "log", "quantile"] = param(
        "auto",
        label="Scale",
        help="auto: a log scale where a few numbers are far larger than the rest, else as they are. quantile: only their order counts.",
    )
    decimal: Literal[".", ","] = param(".", label="Decimal mark", help="How numbers are written: 1,234.5 or 1.234,5.", advanced=True)


class DateSettings(Params):
    cycles: Literal["auto", "no"] = param(
        "auto", label="Time of year and week", help="auto: the month and the day of the week as well, where the dates tell them."
    )
    day_first: bool = param(False, label="Day before month", help="Whether 03/04/2020 is the 3rd of April.", advanced=True)
    unit: Literal["s", "ms"] | None = param(
        None, label="Numbers count", help="For dates written as numbers since 1970: seconds, or thousandths of them.", advanced=True
    )


class TextSettings(Params):
    encoder: str = param("tfidf_svd", label="Text encoder", help="What turns texts into numbers; TF-IDF is always there.")
    size: int = param(64, label="Numbers a text", help="More hold finer differences, and take more memory and time.", ge=1, le=1024)
    model: str = param("", label="Pretrained model", help="A folder or a name, for encoders that read one; empty: their own choice.")


class VectorSettings(Params):
    size: int | None = param(None, label="Reduced to", help="Fewer numbers by principal components; empty: all of them.", ge=1, le=4096)
    columns: list[str] | None = param(
        None,
        label="Columns",
        help="Columns of numbers that together are one vector; empty: the column itself holds lists.",
        advanced=True,
    )


SETTINGS: dict[str, type[Params]] = {
    "multi_valued": MultiValuedSettings,
    "numeric": NumericSettings,
    "date": DateSettings,
    "text": TextSettings,
    "vector": VectorSettings,
}


@cache
def settings_fields(kind: str) -> tuple[ParamField, ...]:
    """What an editor needs to know of each setting, in order; none for kinds without."""
    described = fields(SETTINGS.get(kind, NoSettings))
    encoders = {key: cls.label for key, cls in registry.all_of("text_encoder").items()} if kind == "text" else {}
    choice = {"kind": "choice", "choices": tuple(encoders), "names": encoders}
    return tuple(replace(one, **choice) if one.name == "encoder" and encoders else one for one in described)


def checked(kind: str, settings: dict[str, Any] | None, owner: str = "") -> dict[str, Any]:
    """The settings given, validated; what is left out stays left out. Raises ParamError, naming the rule and the value."""
    given = dict(settings or {})
    whole = build(SETTINGS.get(kind, NoSettings), given, owner=owner).model_dump()
    if kind == "text" and "encoder" in given:
        registry.get("text_encoder", given["encoder"])
    return {name: whole[name] for name in given}
