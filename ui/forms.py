"""Any `Params` class as a form: one widget per parameter, drawn from its one declaration.

`params_form` returns plain values; the core's `build` is what checks them (the browser's limits are
only a courtesy). Widgets keep their values while you move between pages and presets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from recsys_core.errors import ParamError
from recsys_core.params import ParamField, Params, build, fields, preset

from .text import count, listing, md, number

PRESET_LABELS = {"fast": "Fast", "balanced": "Balanced", "thorough": "Thorough"}
PRESET_HELP = "Fast: a first impression. Balanced: good defaults. Thorough: slower, usually a little better."

BY_HAND = "set by hand"


def preset_picker(key: str) -> str:
    """Fast / Balanced / Thorough."""
    chosen = st.segmented_control(
        "Effort",
        list(PRESET_LABELS),
        default="balanced",
        required=True,
        format_func=PRESET_LABELS.get,
        key=key,
        help=PRESET_HELP,
        persist_state="session",
    )
    return chosen or "balanced"


def params_form(
    params: type[Params] | Sequence[ParamField],
    key: str,
    preset_name: str = "balanced",
    values: Mapping[str, Any] | None = None,
    *,
    resolved: Mapping[str, Any] | None = None,
    hide: Sequence[str] = (),
) -> dict[str, Any]:
    """Draw a form and return name -> value.

    key: unique on the page. preset_name: where the values start. values: start from these instead
    (e.g. of a run to repeat). resolved: what each "auto" becomes on the chosen data, shown beside it
    (`model.resolve(stats).model_dump()`). hide: parameters drawn elsewhere (kept at their start value).
    """
    if isinstance(params, type):
        described, start = fields(params), preset(params, preset_name)
    else:
        described = tuple(params)
        start = {f.name: getattr(f, preset_name, None) if getattr(f, preset_name, None) is not None else f.default for f in described}
    start |= {name: value for name, value in (values or {}).items() if name in start}
    prefix = f"{key}/{preset_name}"
    out = {f.name: start[f.name] for f in described}

    def draw(some: Sequence[ParamField]) -> None:
        if some:
            with st.grid(3, min_column_width=230, gap="medium"):
                for field in some:
                    with st.container(gap="xsmall"):
                        out[field.name] = _field(field, f"{prefix}/{field.name}", start[field.name], (resolved or {}).get(field.name))

    shown = [f for f in described if f.name not in hide]
    advanced = [f for f in shown if f.advanced]
    draw([f for f in shown if not f.advanced])
    if advanced:
        with st.expander("More settings", icon=":material/tune:") if len(advanced) < len(shown) else st.container():
            draw([f for f in advanced if not f.group])
            for title in dict.fromkeys(f.group for f in advanced if f.group):
                members = [f for f in advanced if f.group == title]
                with st.expander(f"{md(title)} ({count(len(members), 'setting')})", type="compact"):
                    draw(members)
                changed = [f.label for f in members if out[f.name] != f.default]
                if changed:  # said outside: what is folded away is not forgotten
                    st.caption(f"Changed: {md(listing(changed, 4))}.")
    return out


def checked(params: type[Params], values: Mapping[str, Any], owner: str = "") -> Params | None:
    """`build` for pages: the validated params, or None after showing what is wrong."""
    try:
        return build(params, dict(values), owner=owner)
    except ParamError as error:
        st.error(f"{md(error.message)} {md(error.hint)}", icon=":material/error:")
        return None


def _field(field: ParamField, key: str, start: Any, resolved: Any) -> Any:
    if not field.auto:
        return _input(field, key, start)
    becomes = "" if resolved in (None, "auto") else f"({_plain(field, resolved)} for this data)"
    label = f"{md(field.label)}: choose for me {md(becomes)}".strip()
    if st.checkbox(label, value=start == "auto", key=f"{key}/auto", help=field.named_help or None, persist_state="session"):
        return "auto"
    return _input(field, key, start if start != "auto" else _sensible(field, resolved))


def _input(field: ParamField, key: str, start: Any) -> Any:
    about: dict[str, Any] = {"key": key, "help": _help(field), "persist_state": "session"}
    label = md(field.label)
    if field.kind == "bool":
        return st.checkbox(label, value=bool(start), **about)
    if field.kind == "choice":
        options = [*([None] if field.optional else []), *field.choices]
        return st.selectbox(label, options, index=options.index(start) if start in options else 0, format_func=field.option, **about)
    if field.kind in ("int", "float"):
        return _number(field, label, start, about)
    if field.kind == "list":
        return _list(field, label, start, about)
    if field.kind == "dict":
        return st.text_area(label, value=json.dumps(start or {}), **about)
    text = st.text_input(label, value="" if start is None else str(start), **about)
    return None if field.optional and not text.strip() else text


def _number(field: ParamField, label: str, start: Any, about: dict[str, Any]) -> Any:
    kind = int if field.kind == "int" else float
    low = field.ge if field.ge is not None else (field.gt + 1 if kind is int else field.gt) if field.gt is not None else None
    high = field.le if field.le is not None else (field.lt - 1 if kind is int else field.lt) if field.lt is not None else None
    if field.tune and field.tune[2] == "linear" and start is not None and not field.optional:
        bottom, top = kind(field.tune[0]), kind(field.tune[1])
        if bottom <= start <= top and (kind is float or top - bottom <= 500):
            step = max(1, (top - bottom) // 100) if kind is int else _tidy((top - bottom) / 50)
            return st.slider(label, bottom, top, kind(start), step=step, format=None if kind is int else "%g", **about)
    value = None if start is None else kind(start)
    step = 1 if kind is int else _tidy(abs(value or 1) / 10)
    return st.number_input(
        label,
        min_value=None if low is None else kind(low),
        max_value=None if high is None else kind(high),
        value=value,
        step=step,
        format=None if kind is int else "%g",
        placeholder="not set" if field.optional else None,
        **about,
    )


def _list(field: ParamField, label: str, start: Any, about: dict[str, Any]) -> Any:
    """A comma-separated list; where the field also takes words ("learn", "equal"), these come first."""
    by_hand = not isinstance(start, str) or start not in field.choices
    if field.choices:
        words = [*field.choices, BY_HAND]
        word = st.selectbox(label, words, index=words.index(BY_HAND if by_hand else start), format_func=field.option, **about)
        if word != BY_HAND:
            return word
        about = about | {"key": f"{about['key']}/list"}
        label = f"{label}: values"
    text = st.text_input(label, value=", ".join(map(str, start)) if isinstance(start, list | tuple) else "", placeholder="2, 1, 1", **about)
    return [part.strip() for part in text.split(",") if part.strip()]


def _sensible(field: ParamField, resolved: Any) -> Any:
    """A first value when the user switches "choose for me" off."""
    if resolved not in (None, "auto"):
        return resolved
    if field.tune:
        low, high, scale = field.tune
        middle = (low * high) ** 0.5 if scale == "log" and low > 0 else (low + high) / 2
        return round(middle) if field.kind == "int" else _tidy(middle)
    return field.choices[0] if field.choices else {"bool": False, "list": [], "text": ""}.get(field.kind, field.ge or 1)


def _help(field: ParamField) -> str:
    text = field.named_help
    if field.kind in ("int", "float"):
        text += f" Allowed: {field.rule}."
        if field.tune:
            text += f" Usual range: {number(field.tune[0])} to {number(field.tune[1])}."
    return text.strip() or None


def _plain(field: ParamField, value: Any) -> str:
    text = number(value) if isinstance(value, int | float) and not isinstance(value, bool) else field.option(value)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _tidy(value: float) -> float:
    """One significant digit: the step of a number input."""
    return float(f"{value:.1g}") or 0.1
