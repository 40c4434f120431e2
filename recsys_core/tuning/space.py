"""What may be searched: the declared ranges of a model's parameters, or those a user gives.

The rule: when nothing is given, every main setting (not `advanced`) that declares a tuning range or is a choice is searched, unless
it was set to a value of its own. Advanced settings, and those without a range, are searched when they are named.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from .. import params as params_module
from .. import registry
from ..data.dataset import DatasetStats
from ..errors import ParamError, WorkbenchError
from ..params import ParamField, Params

GRID_STEPS = 4  # values a range has in a grid
GRID_LIMIT = 100_000
WIDE = 100  # a range whose ends differ by this factor is searched on a log scale, where the model declares none
DIGITS = 4  # of numbers that are tried: enough to differ, few enough to read


@dataclass(frozen=True)
class Dimension:
    """One parameter that is searched.

    kind "int" or "float": from low to high, evenly ("linear") or by ratio ("log"). kind "choice": one of `values`, any JSON
    values. start: what the first trial takes: the default, "auto" resolved; or, when that is outside, the nearest value inside, and
    moved is True.
    """

    name: str
    label: str
    kind: Literal["int", "float", "choice"]
    start: Any
    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    values: tuple[Any, ...] = ()
    moved: bool = False

    @property
    def tokens(self) -> list[Any]:
        """The values as Optuna may keep them: lists and dicts as JSON text."""
        return [v if v is None or isinstance(v, bool | int | float | str) else json.dumps(v, sort_keys=True) for v in self.values]

    def encode(self, value: Any) -> Any:
        """A value of the parameter, as Optuna keeps it."""
        return self.tokens[self._place(value)] if self.kind == "choice" else value

    def decode(self, token: Any) -> Any:
        """The inverse of `encode`; numbers get few digits and stay inside."""
        if self.kind == "choice":
            return self.values[next(n for n, t in enumerate(self.tokens) if t == token and type(t) is type(token))]
        if self.kind == "int":
            return int(token)
        return min(self.high, max(self.low, float(f"{token:.{DIGITS}g}")))

    def holds(self, value: Any) -> bool:
        """Whether a value may be tried."""
        if self.kind == "choice":
            return any(v == value and type(v) is type(value) for v in self.values)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (self.kind == "float" or float(value).is_integer())

    def nearest(self, value: Any) -> Any:
        """The value inside that is closest to one outside; the middle (the first choice) where there is no telling."""
        if self.kind == "choice":
            return self.values[0]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.low if value < self.low else self.high
        return self.decode(math.sqrt(self.low * self.high) if self.scale == "log" else (self.low + self.high) / 2)

    def grid(self, steps: int = GRID_STEPS) -> list[Any]:
        """The choices, or about `steps` values from low to high, evenly on the scale."""
        if self.kind == "choice":
            return list(self.values)
        spread = np.geomspace if self.scale == "log" else np.linspace
        found = [self.decode(round(x) if self.kind == "int" else x) for x in spread(self.low, self.high, steps).tolist()]
        return list(dict.fromkeys(found))

    def as_row(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "low": self.low,
            "high": self.high,
            "scale": self.scale,
            "values": list(self.values),
            "default": self.start,
            "moved": self.moved,
        }

    def _place(self, value: Any) -> int:
        return next(n for n, v in enumerate(self.values) if v == value and type(v) is type(value))


@dataclass(frozen=True)
class Space:
    """The parameters that are searched and those that stay. notes: sentences on what was left out or moved."""

    model: Any
    fixed: dict[str, Any]
    dimensions: tuple[Dimension, ...]
    stats: DatasetStats
    notes: tuple[str, ...] = field(default=())

    @property
    def start(self) -> dict[str, Any]:
        """The first trial: the defaults."""
        return {d.name: d.start for d in self.dimensions}

    def params(self, point: dict[str, Any]) -> Params:
        """All parameters of a trial. Raises ParamError where they contradict each other."""
        return params_module.build(self.model.Params, self.fixed | point, owner=self.model.label)

    def problem(self, point: dict[str, Any]) -> str:
        """Why these values cannot be tried together; "" when they can. Asked before anything is fitted."""
        return _problem(self.model, self.fixed | point, self.stats)

    # ---- grid ------------------------------------------------------------------------------------
    @cached_property
    def axes(self) -> list[list[Any]]:
        """The values of every parameter in a grid."""
        return [d.grid() for d in self.dimensions]

    @property
    def n_combinations(self) -> int:
        """Points of the grid."""
        return math.prod(map(len, self.axes))

    def grid_point(self, number: int) -> dict[str, Any]:
        """The grid's point of that number, from 0."""
        places = np.unravel_index(number, [len(axis) for axis in self.axes])
        return {d.name: axis[int(place)] for d, axis, place in zip(self.dimensions, self.axes, places, strict=True)}

    def require_grid(self) -> None:
        """Raise ParamError where the grid has more points than can be kept apart."""
        if self.n_combinations > GRID_LIMIT:
            told = " × ".join(f"{d.name} {len(axis)}" for d, axis in zip(self.dimensions, self.axes, strict=True))
            raise ParamError(
                f"A grid may have at most {GRID_LIMIT:,} combinations; this one has {self.n_combinations:,} ({told}).",
                "Search fewer settings, give few values of each, or use the sampler tpe.",
            )


def make_space(model: Any, fixed: dict[str, Any], wanted: dict[str, Sequence[Any]], stats: DatasetStats) -> Space:
    """The space of a search over `model`.

    fixed: parameters set to a value of their own; one that is searched nevertheless starts from it. wanted: name -> [low, high]
    of a number, or the list of values to try (two numbers are always a range); {} = by the rule at the top of this module.
    stats: of the data trials are fitted on; they tell what "auto" is. Raises ParamError: unknown names, values outside a
    parameter's bounds, low >= high, nothing to search.
    """
    fields = {f.name: f for f in params_module.fields(model.Params)}
    start = _resolved(model, fixed, stats)
    notes: list[str] = []
    if wanted:
        chosen = [_given(model, _field(fields, name, model.label), list(values), start) for name, values in wanted.items()]
    else:
        chosen = [_declared(f, start) for f in fields.values() if is_main(f) and f.name not in fixed]
    chosen = [_without_refused(model, d, fixed, stats, notes) for d in chosen]
    dimensions = tuple(_started(d, notes) for d in chosen if d.kind != "choice" or len(d.values) > 1 or wanted)
    if not dimensions:
        named = ", ".join(f.name for f in fields.values() if is_searchable(f))
        hint = f"Name some of: {named}." if named else "It has no settings with a range; give the values to try of one."
        raise ParamError(f"There is nothing to search for {model.label}: no main setting with a range is free.", hint)
    rest = {name: value for name, value in fixed.items() if name not in {d.name for d in dimensions}}
    return Space(model, rest, dimensions, stats, tuple(notes))


def describe_space(model_key: str, params: dict[str, Any] | None = None, stats: DatasetStats | None = None) -> list[dict[str, Any]]:
    """Every parameter that can be searched, for a page: {"name", "label", "help", "kind", "low", "high", "scale", "values",
    "default", "moved", "searched", "advanced"}.

    default: the value the first trial takes ("auto" resolved where `stats` are given); searched: whether it is when nothing is
    chosen. Parameters without a range have low and high None: they are searched when a range is given. No library is imported.
    """
    model = registry.get("model", model_key)
    given = params or {}
    start = _resolved(model, given, stats) if stats is not None else params_module.build(model.Params, given, owner=model.label)
    rows = []
    for f in params_module.fields(model.Params):
        if is_searchable(f) or f.kind in ("int", "float"):
            row = _declared(f, start).as_row() if is_searchable(f) else _bare(f, start)
            rows.append(row | {"help": f.help, "searched": is_main(f) and f.name not in given, "advanced": f.advanced})
    return rows


def is_searchable(f: ParamField) -> bool:
    """Whether it has a range or choices of its own."""
    return f.tune is not None or f.kind == "bool" or (f.kind == "choice" and len(f.choices) > 1)


def is_main(f: ParamField) -> bool:
    """Whether it is searched when nothing is chosen."""
    return is_searchable(f) and not f.advanced


# ---- one parameter -------------------------------------------------------------------------------
def _declared(f: ParamField, start: Params, low: float | None = None, high: float | None = None) -> Dimension:
    """The range of the declaration (or low to high), wide enough for the default where its scale allows; or the choices."""
    value = getattr(start, f.name)
    if f.kind in ("choice", "bool"):
        return Dimension(f.name, f.label, "choice", value, values=(False, True) if f.kind == "bool" else f.choices)
    low, high, scale = (f.tune[0] if low is None else low), (f.tune[1] if high is None else high), f.tune[2]
    scale = scale if low > 0 else "linear"
    if isinstance(value, int | float) and not isinstance(value, bool) and (scale == "linear" or value > 0):
        low, high = min(low, value), max(high, value)
    cast = int if f.kind == "int" else float
    return Dimension(f.name, f.label, f.kind, value, cast(low), cast(high), scale)


def _bare(f: ParamField, start: Params) -> dict[str, Any]:
    scale = "linear"
    return Dimension(f.name, f.label, f.kind, getattr(start, f.name), None, None, scale).as_row()


def _given(model: Any, f: ParamField, values: list[Any], start: Params) -> Dimension:
    """The range or the values a user gives, each held against the parameter's own rule."""
    if not values:
        raise ParamError(f"{f.name} for {model.label} needs a range [low, high] or values to try; got none.")
    read = [getattr(params_module.build(model.Params, {f.name: v}, owner=model.label), f.name) for v in values]
    now = getattr(start, f.name)
    numbers = f.kind in ("int", "float") and all(isinstance(v, int | float) and not isinstance(v, bool) for v in read)
    if numbers and len(read) == 2:
        low, high = read
        if low >= high:
            raise ParamError(f"The range of {f.name} must go from low to high; got {low:g} to {high:g}.")
        declared = f.tune[2] if f.tune else "log" if low > 0 and high / low >= WIDE else "linear"
        if f.tune and low <= f.tune[0] and high >= f.tune[1]:  # the declared range, or more: the default belongs to it
            return _declared(f, start, low, high)
        return Dimension(f.name, f.label, f.kind, now, low, high, "log" if declared == "log" and low > 0 else "linear")
    distinct = [v for n, v in enumerate(read) if not any(v == w and type(v) is type(w) for w in read[:n])]
    return Dimension(f.name, f.label, "choice", now, values=tuple(distinct))


def _started(d: Dimension, notes: list[str]) -> Dimension:
    """With a start inside; a default outside is moved, and that is said."""
    if d.holds(d.start):
        return d
    moved = d.nearest(d.start)
    where = f"{d.low:g} to {d.high:g}" if d.kind != "choice" else ", ".join(map(str, d.values))
    notes.append(f"{d.label}: the default, {'none' if d.start is None else d.start}, is outside what is searched ({where}).")
    notes[-1] += f" The first trial takes {moved}."
    return replace(d, start=moved, moved=True)


def _without_refused(model: Any, d: Dimension, fixed: dict[str, Any], stats: DatasetStats, notes: list[str]) -> Dimension:
    """Without the choices this model refuses on this data whatever the rest is."""
    if d.kind != "choice":
        return d
    reasons = {n: _problem(model, fixed | {d.name: v}, stats) for n, v in enumerate(d.values)}
    kept = tuple(v for n, v in enumerate(d.values) if not reasons[n])
    if not kept:
        raise ParamError(f"None of the values of {d.name} can be tried: {reasons[0]}")
    notes.extend(f"{d.label} {v} is left out: {reasons[n]}" for n, v in enumerate(d.values) if reasons[n])
    return replace(d, values=kept)


def _field(fields: dict[str, ParamField], name: str, label: str) -> ParamField:
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        known = f"Did you mean '{close[0]}'?" if close else f"It has: {', '.join(fields) or 'no parameters'}."
        raise ParamError(f"Unknown parameter '{name}' for {label}.", known)
    return fields[name]


def _resolved(model: Any, values: dict[str, Any], stats: DatasetStats) -> Params:
    return model(params_module.build(model.Params, values, owner=model.label)).resolve(stats)


def _problem(model: Any, values: dict[str, Any], stats: DatasetStats) -> str:
    try:
        made = model(params_module.build(model.Params, values, owner=model.label))
        made.resolve(stats)
        made.cost(stats)
    except WorkbenchError as error:
        return error.message
    return ""
