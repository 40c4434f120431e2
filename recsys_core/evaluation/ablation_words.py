"""What an ablation found, in plain sentences: one for each setting, one for the best variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .ablation import Axis
from .ablation_effects import Effect
from .compare import Difference, metric_label


def axis_from(saved: Mapping[str, Any]) -> Axis:
    """An axis of a saved result."""
    return Axis(saved["name"], saved["label"], tuple(saved["values"]), saved["base"])


def value_text(value: Any) -> str:
    """A value for people."""
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else _spaced(str(value))


def settings_text(axes: Sequence[Axis], settings: Mapping[str, Any]) -> str:
    """A variant in a few words: what it has otherwise than the base."""
    changed = [(axis.label, settings[axis.name]) for axis in axes if settings[axis.name] != axis.base]
    return ", ".join(f"{label[:1].lower()}{label[1:]} {value_text(value)}" for label, value in changed) or "the base"


def to_base(axis: Axis, found: Sequence[Effect]) -> dict[Any, Difference]:
    """Value -> its difference to the base's value, in the order of the axis."""
    known = {effect.value: effect.found for effect in found if effect.axis == axis.name and effect.against == axis.base}
    return {value: known[value] for value in axis.values if value in known}


def between(axis: Axis, found: Sequence[Effect], a: Any, b: Any) -> Difference | None:
    """b minus a, whichever way it was kept."""
    for effect in found:
        if effect.axis == axis.name and (effect.against, effect.value) == (a, b):
            return effect.found
        if effect.axis == axis.name and (effect.against, effect.value) == (b, a):
            return turned(effect.found)
    return None


def turned(found: Difference) -> Difference:
    """A minus B for B minus A."""
    relative = -found.difference / found.mean_b if found.mean_b else float("nan")
    swapped = replace(found, name_a=found.name_b, name_b=found.name_a, mean_a=found.mean_b, mean_b=found.mean_a, relative=relative)
    swapped = replace(swapped, difference=-found.difference, low=-found.high, high=-found.low, effect_size=-found.effect_size)
    return replace(swapped, wins=found.losses, losses=found.wins)


def axis_sentence(axis: Axis, found: Sequence[Effect]) -> str:
    """What the setting buys, in words. found: all effects of one measure."""
    known = to_base(axis, found)
    if not known:
        return f"{axis.label}: too few variants were trained to tell."
    return _switch(axis, known) if axis.switch else _range(axis, known, found) if axis.ordered else _choice(axis, known, found)


def clear_axes(axes: Sequence[Axis], found: Sequence[Effect]) -> list[Axis]:
    """The settings that make a clear difference somewhere between their values."""
    return [axis for axis in axes if any(effect.axis == axis.name and effect.found.clear for effect in found)]


def best_sentence(name: str, found: Difference | None, metric: str, mean: float) -> str:
    """What the variant with the best figure is worth beside the base. found: its difference to the base, None where it is the base."""
    label = metric_label(metric)
    if found is None:
        return f"The base is the best of what was trained: {label} {mean:.4f}."
    amount = found.amount(signed=not found.clear)
    if not found.clear:
        return f"Nothing is clearly better than the base. The highest figure has {name}: {label} {mean:.4f}, {amount} beside the base."
    return f"Best: {name}, {label} {mean:.4f}, {_direction(found)} than the base by {amount}."


def _switch(axis: Axis, known: Mapping[Any, Difference]) -> str:
    """Of something that is on or off."""
    (value, found) = next(iter(known.items()))
    how = "without it" if axis.base else "with it"
    label = metric_label(found.metric)
    if not found.clear:
        return f"{axis.label}: nothing that is sure. {how.capitalize()} {label} changes by {found.amount(signed=True)}{found.why_not}."
    better = (found.difference > 0) == found.higher_is_better
    helps = better == value
    verb = ("helps" if helps else "hurts here") if axis.base else ("would help" if helps else "would hurt here")
    return f"{axis.label}: {verb}. {how.capitalize()} {label} is {_direction(found)} by {found.amount(signed=False)}."


def _range(axis: Axis, known: Mapping[Any, Difference], found: Sequence[Effect]) -> str:
    """Of a number: how much of it is enough."""
    best = _best(axis, known)
    sure = {value: gap for value in axis.values if value != best and (gap := between(axis, found, best, value)) is not None and gap.clear}
    if not sure:
        return f"{axis.label}: from {value_text(axis.values[0])} to {value_text(axis.values[-1])} nothing changes that is sure."
    enough = min(value for value in axis.values if value not in sure and (value == best or between(axis, found, best, value) is not None))
    more = [value for value in axis.values if value > enough]
    worse_more = [value for value in more if value in sure]
    if not more:
        text = f"{axis.label}: {value_text(enough)}, the most that was tried, is best"
    elif not worse_more:
        text = f"{axis.label}: {value_text(enough)} is enough, more changes nothing that is sure"
    else:
        text = f"{axis.label}: {value_text(enough)} is best" if enough == best else f"{axis.label}: {value_text(enough)} is enough"
    worst = max(sure, key=lambda value: abs(sure[value].difference))
    gap = sure[worst]
    return f"{text}. With {value_text(worst)} {metric_label(gap.metric)} is {_direction(gap)} by {gap.amount(signed=False)}."


def _choice(axis: Axis, known: Mapping[Any, Difference], found: Sequence[Effect]) -> str:
    """Of several kinds."""
    best = _best(axis, known)
    gaps = {value: gap for value in axis.values if value != best and (gap := between(axis, found, best, value)) is not None}
    sure = {value: gap for value, gap in gaps.items() if gap.clear}
    if not sure:
        return f"{axis.label}: which of {_listed([value_text(v) for v in axis.values])} makes no difference that is sure."
    worst = max(sure, key=lambda value: abs(sure[value].difference))
    equal = [value_text(value) for value in gaps if value not in sure]
    beside = f", not surely better than {_listed(equal)}" if equal else ""
    gap = sure[worst]
    amount = gap.amount(signed=False)
    label = metric_label(gap.metric)
    return f"{axis.label}: {value_text(best)} is best{beside}. With {value_text(worst)} {label} is {_direction(gap)} by {amount}."


def _best(axis: Axis, known: Mapping[Any, Difference]) -> Any:
    """The value with the best mean."""
    first = next(iter(known.values()))
    means = {axis.base: first.mean_a} | {value: gap.mean_b for value, gap in known.items()}
    return (max if first.higher_is_better else min)(means, key=means.get)


def _direction(found: Difference) -> str:
    return "higher" if found.difference > 0 else "lower"


def _spaced(text: str) -> str:
    return text.replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
