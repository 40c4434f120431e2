"""What each part of an architecture buys: variants of one recommender, and their differences on the same users.

"one at a time": the base, and the base with one setting changed. "all combinations": every combination of the settings, or a balanced
part of them; the effect of a value is then averaged over the other settings (least squares on main effects, which for all
combinations is the plain mean of the paired differences).
Source: Box, Hunter and Hunter, Statistics for experimenters, 2005, chapters 5 and 6.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ParamError

MODES = ("one at a time", "all combinations")
MOST_COMBINATIONS = 1_000

Settings = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A setting that is varied: its name and label, the values tried (numbers in order), and the one the base has."""

    name: str
    label: str
    values: tuple[Any, ...]
    base: Any

    @property
    def switch(self) -> bool:
        return all(isinstance(value, bool) for value in self.values)

    @property
    def ordered(self) -> bool:
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def pairs(self) -> list[tuple[Any, Any]]:
        """(a, b), a before b: what can be compared along it."""
        return list(itertools.combinations(self.values, 2))

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "label": self.label, "values": list(self.values), "base": self.base}


@dataclass(frozen=True)
class Plan:
    """variants: settings of the axes, the base first, in the order they are trained. cells: (settings, number of the variant that stands
    for them): several cells share a variant where a setting makes no difference."""

    axes: tuple[Axis, ...]
    mode: str
    variants: tuple[Settings, ...]
    cells: tuple[tuple[Settings, int], ...]

    @property
    def n_combinations(self) -> int:
        """Different trainings the whole plan has."""
        return len({number for _, number in self.cells})


def axis_of(name: str, label: str, values: Sequence[Any], base: Any) -> Axis:
    """With the base's value among them, numbers in order. Raises ParamError where there is nothing to compare."""
    found = [*dict.fromkeys(json.dumps(value) for value in values)]
    found += [json.dumps(base)] if json.dumps(base) not in found else []
    ready = [json.loads(value) for value in found]
    if len(ready) < 2:
        raise ParamError(f"'{name}' has one value only, {ready[0]}: there is nothing to compare it with.", "Give two values or more.")
    axis = Axis(name, label, tuple(ready), base)
    return replace(axis, values=tuple(sorted(ready))) if axis.ordered else axis


def make_plan(axes: Sequence[Axis], mode: str, same_as: Callable[[Settings], Settings], rng: np.random.Generator) -> Plan:
    """same_as(settings): the same settings, with the base's value for every one that makes no difference there."""
    if mode not in MODES:
        raise ParamError(f"mode must be one of {', '.join(MODES)}; got '{mode}'.")
    base = {axis.name: axis.base for axis in axes}
    size = int(np.prod([len(axis.values) for axis in axes]))
    if mode == MODES[1] and size > MOST_COMBINATIONS:
        rule = f"All combinations of these settings are {size:,} trainings; at most {MOST_COMBINATIONS:,} can be planned."
        raise ParamError(rule, "Take fewer values, or change one setting at a time.")
    if mode == MODES[0]:
        wanted = [base, *(base | {axis.name: value} for axis in axes for value in axis.values if value != axis.base)]
    else:
        names = [axis.name for axis in axes]
        wanted = [dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]
    standing = {key(settings): same_as(settings) for settings in [base, *wanted]}
    distinct = {key(settings): settings for settings in standing.values()}
    first = key(standing[key(base)])
    ordered = [first, *(one for one in distinct if one != first)]
    if mode == MODES[1]:
        ordered = _balanced(distinct, first, rng)
    numbers = {one: number for number, one in enumerate(ordered)}
    cells = tuple((settings, numbers[key(standing[key(settings)])]) for settings in wanted)
    return Plan(tuple(axes), mode, tuple(distinct[one] for one in ordered), cells)


def key(settings: Mapping[str, Any]) -> str:
    """The same for the same settings."""
    return json.dumps(settings, sort_keys=True)


def _balanced(found: Mapping[str, Settings], first: str, rng: np.random.Generator) -> list[str]:
    """An order of which every beginning shows all values about equally often: a part of the combinations tells about each of them."""
    left = [one for one in found if one != first]
    left = [left[i] for i in rng.permutation(len(left))]
    order, shown = [first], {(name, json.dumps(value)): 1 for name, value in found[first].items()}
    while left:
        best = min(range(len(left)), key=lambda i: sum(shown.get((n, json.dumps(v)), 0) ** 2 for n, v in found[left[i]].items()))
        order.append(left.pop(best))
        for name, value in found[order[-1]].items():
            shown[name, json.dumps(value)] = shown.get((name, json.dumps(value)), 0) + 1
    return order


class Contrasts:
    """Weights over variants that give an effect. done: numbers of the variants there are figures of."""

    def __init__(self, plan: Plan, done: set[int]) -> None:
        self.plan, self.n = plan, len(plan.variants)
        self.cells = [(settings, number) for settings, number in plan.cells if number in done]
        self.columns = [(axis.name, value) for axis in plan.axes for value in axis.values if value != axis.base]
        design = [[1.0, *(float(settings[name] == value) for name, value in self.columns)] for settings, _ in self.cells]
        self.design = np.array(design).reshape(len(self.cells), 1 + len(self.columns))
        self.inverse = np.linalg.pinv(self.design)

    def difference(self, axis: Axis, a: Any, b: Any) -> np.ndarray | None:
        """float (V,): b minus a, the other settings as they are in the base or averaged over; None where what was done does not tell."""
        return self._weights(self._place(axis, b) - self._place(axis, a))

    def level(self, axis: Axis, value: Any) -> np.ndarray | None:
        """float (V,): the mean at this value, of the other settings those of the base or all in equal parts; where what was done does
        not tell that, of what was done."""
        wanted = self._place(axis, value)
        wanted[0] = 1.0
        if self.plan.mode == MODES[1]:
            sizes = {other.name: len(other.values) for other in self.plan.axes if other.name != axis.name}
            for n, (name, _) in enumerate(self.columns, start=1):
                if name in sizes:
                    wanted[n] = 1 / sizes[name]
        found = self._weights(wanted)
        own = [number for settings, number in self.cells if settings[axis.name] == value]
        return np.bincount(own, minlength=self.n) / len(own) if found is None and own else found

    def _place(self, axis: Axis, value: Any) -> np.ndarray:
        out = np.zeros(1 + len(self.columns))
        if value != axis.base:
            out[1 + self.columns.index((axis.name, value))] = 1.0
        return out

    def _weights(self, wanted: np.ndarray) -> np.ndarray | None:
        if not len(self.cells):
            return None
        of_cells = wanted @ self.inverse
        if not np.allclose(of_cells @ self.design, wanted, atol=1e-6):
            return None
        return np.bincount([number for _, number in self.cells], weights=of_cells, minlength=self.n).round(12)
