"""One declaration per hyper-parameter.

A `Params` subclass declares each parameter once with `param(...)`. Form, command-line option, search
space, JSON, docs row and bad-value tests are all derived from it: `fields(cls)` gives the plain
description, `build(cls, values)` validates with messages that name the rule and the value.

Where the right value depends on the data, type the field `int | Literal["auto"]`, default "auto", and
let the model's `auto_params(params, stats)` fill it in; the app shows what it became.
"""

from __future__ import annotations

import difflib
import json
import operator
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticUndefined

from .errors import ParamError
from .option_names import NAMES, named, plain_option

Scale = Literal["linear", "log"]
_INSIDE = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}
PRESETS = ("fast", "balanced", "thorough")


class Params(BaseModel):
    """Base of all parameter sets: frozen, unknown names refused, defaults validated."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _inside_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        """Bounds of numbers; "auto" and None pass (pydantic's own bounds would fail on them)."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            extra = cls.model_fields[info.field_name].json_schema_extra
            bounds = extra.get("bounds", {}) if isinstance(extra, dict) else {}
            for name, limit in bounds.items():
                if not _INSIDE[name](value, limit):
                    raise PydanticCustomError("out_of_bounds", "outside its bounds")
        return value

    def with_(self, **changes: Any) -> typing.Self:
        """A validated copy with some values changed."""
        return build(type(self), self.model_dump() | changes)


def param(
    default: Any,
    *,
    label: str,
    help: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    tune: tuple[float, float, Scale] | None = None,
    fast: Any = None,
    thorough: Any = None,
    advanced: bool = False,
    group: str = "",
    names: Mapping[Any, str] | None = None,
) -> Any:
    """Declare one parameter.

    ge, gt, le, lt: bounds of validity. tune: (low, high, scale), the slider and search range.
    fast / thorough: its value in those presets (balanced is the default). advanced: shown under
    "More settings". group: title of the block it is shown in there; a subclass that declares the parameter anew
    keeps it. names: what its options are called where people choose, by value; without it `option_names.NAMES` says.
    help: one plain sentence an analyst understands.
    """
    extra = {"label": label, "help": help, "advanced": advanced, "group": group}
    if names:
        extra["names"] = dict(names)
    if tune:
        extra["tune"] = list(tune)
    if fast is not None:
        extra["fast"] = fast
    if thorough is not None:
        extra["thorough"] = thorough
    bounds = {n: v for n, v in {"ge": ge, "gt": gt, "le": le, "lt": lt}.items() if v is not None}
    return Field(default, title=label, description=help, json_schema_extra={"hints": extra, "bounds": bounds})


@dataclass(frozen=True)
class ParamField:
    """What a form, an option, a search space or a docs row needs to know of one parameter."""

    name: str
    kind: Literal["int", "float", "bool", "choice", "text", "list", "dict"]
    default: Any
    label: str
    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    tune: tuple[float, float, Scale] | None = None
    choices: tuple[Any, ...] = ()
    numbers: bool = False  # of a list: whether it holds numbers
    auto: bool = False  # "auto" is a legal value beside the kind's own
    optional: bool = False  # None is a legal value
    advanced: bool = False
    group: str = ""  # title of a block of settings that belong together
    fast: Any = None
    thorough: Any = None
    names: Mapping[Any, str] = field(default_factory=dict, hash=False)  # option -> what it is called where people choose

    def option(self, value: Any) -> str:
        """What a value is called where people choose; stored is the value."""
        return self.names[value] if isinstance(value, str) and value in self.names else plain_option(value)

    @property
    def named_help(self) -> str:
        """The help with the names of the options, as it goes with them."""
        return named(self.help, self.names)

    @property
    def rule(self) -> str:
        """The validity rule in words: 'a whole number from 1 to 512, or "auto"'."""
        noun = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "choice": "one of " + ", ".join(map(str, self.choices)),
            "text": "text",
            "list": " or ".join([*map(str, self.choices), "a comma-separated list" + " of numbers" * self.numbers]),
            "dict": "a JSON object",
        }[self.kind]
        bounds = []
        for value, word in ((self.ge, "at least"), (self.gt, "above"), (self.le, "at most"), (self.lt, "below")):
            if value is not None:
                bounds.append(f"{word} {value:g}")
        text = f"{noun} {' and '.join(bounds)}" if bounds else noun
        return text + (', or "auto"' if self.auto else "")


def _kind(annotation: Any) -> tuple[str, tuple[Any, ...], bool, bool]:
    """(kind, choices, auto, optional) of a type annotation."""
    options = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    kind, choices, auto, optional = "text", [], False, False
    for option in options:
        origin = typing.get_origin(option) or option
        if option is type(None):
            optional = True
        elif origin is Literal:
            values = typing.get_args(option)
            if values == ("auto",) and len(options) > 1:
                auto = True
            else:
                kind, choices = "choice", [*choices, *values]
        elif origin in (list, tuple):
            kind = "list"
        elif origin is dict:
            kind = "dict"
        elif kind not in ("choice", "list"):
            kind = {bool: "bool", int: "int", float: "float"}.get(origin, "text")
    return kind, tuple(choices), auto, optional


def _is_union(annotation: Any) -> bool:
    import types

    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def fields(cls: type[Params]) -> tuple[ParamField, ...]:
    """Describe every parameter of a `Params` class, in declaration order."""
    return tuple(_describe(name, info, _group(cls, name)) for name, info in cls.model_fields.items())


def _group(cls: type[Params], name: str) -> str:
    """The group of a parameter, by the nearest class that declares one."""
    for base in cls.__mro__:
        info = getattr(base, "model_fields", {}).get(name)
        extra = info.json_schema_extra if info is not None else None
        if isinstance(extra, dict) and (group := extra.get("hints", {}).get("group")):
            return str(group)
    return ""


def _describe(name: str, info: FieldInfo, group: str) -> ParamField:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    hints, bounds = dict(extra.get("hints", {})), dict(extra.get("bounds", {}))
    kind, choices, auto, optional = _kind(info.annotation)
    default = info.default if info.default is not PydanticUndefined else info.get_default(call_default_factory=True)
    tune = hints.get("tune")
    return ParamField(
        name=name,
        kind=kind,
        default=default,
        label=hints.get("label") or name.replace("_", " ").capitalize(),
        help=hints.get("help") or info.description or "",
        tune=tuple(tune) if tune else None,
        choices=choices,
        numbers=kind == "list" and "list[float]" in str(info.annotation),
        auto=auto,
        optional=optional,
        advanced=bool(hints.get("advanced")),
        group=group,
        fast=hints.get("fast"),
        thorough=hints.get("thorough"),
        names={value: text for value, text in (hints.get("names") or NAMES.get(name, {})).items() if value in choices},
        **bounds,
    )


def preset(cls: type[Params], name: str) -> dict[str, Any]:
    """Values of a preset: 'fast', 'balanced' (the defaults) or 'thorough'."""
    if name not in PRESETS:
        raise ParamError(f"Unknown preset '{name}'.", f"Presets are {', '.join(PRESETS)}.")
    described = fields(cls)
    chosen = {f.name: getattr(f, name) for f in described if name != "balanced" and getattr(f, name) is not None}
    return {f.name: f.default for f in described} | chosen


def build(cls: type[Params], values: dict[str, Any] | None = None, *, owner: str = "") -> Any:
    """Validate `values` into a `cls`. Strings are read as the field's kind (`"64"`, `"true"`, `"a,b"`).

    Raises ParamError naming the rule and the value, or the closest known name.
    """
    described = {f.name: f for f in fields(cls)}
    of = f" for {owner}" if owner else ""
    ready = {}
    for name, value in (values or {}).items():
        if name not in described:
            close = difflib.get_close_matches(name, described, n=1)
            known = f"Did you mean '{close[0]}'?" if close else f"It has: {', '.join(described) or 'no parameters'}."
            raise ParamError(f"Unknown parameter '{name}'{of}.", known)
        ready[name] = _read(value, described[name])
    try:
        return cls(**ready)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if name not in described:  # a whole-model validator speaks for itself
            raise ParamError(str(first.get("ctx", {}).get("error", first["msg"])) + ".") from None
        if first["type"] == "value_error":
            raise ParamError(f"{name}{of}: {first['ctx']['error']}.") from None
        raise ParamError(f"{name}{of} must be {described[name].rule}; got {ready.get(name)!r}.") from None


def _read(value: Any, field: ParamField) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if (field.auto and text == "auto") or field.kind in ("text", "choice"):
        return text
    if field.optional and text.lower() in ("", "none", "null"):
        return None
    if field.kind == "bool" and text.lower() in ("true", "yes", "1", "on", "false", "no", "0", "off"):
        return text.lower() in ("true", "yes", "1", "on")
    if field.kind in ("int", "float"):
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if field.kind == "int" and number.is_integer() else number
    if field.kind in ("list", "dict") and text[:1] in "[{":
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    if field.kind == "list":
        if text in field.choices:
            return text
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
