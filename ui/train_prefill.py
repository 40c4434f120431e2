"""Choices of the Train page made elsewhere: a model ticked, its form filled, the split of results that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.params import ParamField, fields

from .fusion_form import ONE_OF_THEM, is_fused
from .train_own_test import OWN_TEST

FILLED = "_filled_forms"  # model key -> (how often it was filled, values)


def prefill_model(model: Any, values: Mapping[str, Any]) -> None:
    """Tick a model on Train and start its form from these values; others are unticked. What is not named is as by default."""
    for key in [key for key in st.session_state if str(key).startswith("pick-")]:
        st.session_state[key] = False
    st.session_state[f"pick-{model.key}"] = True
    st.session_state[f"effort-{model.key}"] = "balanced"
    if is_fused(model):
        _prefill_fusion(model, values)
    filled = st.session_state.setdefault(FILLED, {})
    times = filled.get(model.key, (0, {}))[0]
    filled[model.key] = (times + 1, dict(values))


def _prefill_fusion(model: Any, values: Mapping[str, Any]) -> None:
    """The widgets of `fusion_form`: which parts, how much each counts, which of them has a role."""
    described = {f.name: f for f in fields(model.Params)}
    parts = f"fusion-parts-{model.key}"
    st.session_state[parts] = [str(part) for part in values.get("models", described["models"].default)]
    st.session_state.pop(f"_start-{parts}", None)
    for name, field in described.items():
        value = values.get(name, field.default)
        if name == "weights" and field.kind == "list":
            st.session_state[f"fusion-weights-{model.key}"] = value if isinstance(value, str) else "by hand"
            for part, weight in zip(st.session_state[parts], [] if isinstance(value, str) else value, strict=False):
                st.session_state[f"fusion-weight-{model.key}-{part}"] = float(weight)
        elif name in ONE_OF_THEM and value in st.session_state[parts]:
            st.session_state[f"fusion-{name}-{model.key}"] = value


def filled_form(model_key: str, effort: str) -> tuple[str, dict[str, Any]]:
    """(what is added to the key of its form, so that its widgets begin anew; values it starts from)."""
    times, values = st.session_state.get(FILLED, {}).get(model_key, (0, {}))
    return (f"-{times}", values) if times and effort == "balanced" else ("", {})


def prefill_protocol(spec: Mapping[str, Any]) -> None:
    """The split, list lengths and seed of a run (`RunEntry.spec`) as the choices of `protocol_form`."""
    key = str(spec.get("split", ""))
    try:
        rule = registry.get("splitter", key)
    except NotFound:
        return
    st.session_state["split-rule"] = key
    st.session_state["split-ks"] = ", ".join(map(str, spec.get("ks") or (5, 10, 20)))
    st.session_state["split-seed"] = int(spec.get("seed", 42))
    given = dict(spec.get("split_params") or {})
    for field in fields(rule.Params):
        if key == OWN_TEST and field.name == "test":
            st.session_state[f"own-test-{spec.get('dataset')}"] = given.get("test")
        elif field.name in given and _fits(field, given[field.name]):
            kind = {"int": int, "float": float}.get(field.kind)
            value = given[field.name]
            st.session_state[f"split/{key}/balanced/{field.name}"] = value if kind is None or value is None else kind(value)


def _fits(field: ParamField, value: Any) -> bool:
    """Whether its widget can show it: a slider refuses what is beyond its ends."""
    if value is None or not field.tune or field.kind not in ("int", "float"):
        return value is not None or field.optional
    return field.tune[0] <= value <= field.tune[1]
