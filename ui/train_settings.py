"""Settings of the chosen models on the Train page: a generated form each; what is about the parts of a fusion, by `fusion_form`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import ParamError, WorkbenchError
from recsys_core.jobs.memory import fits_in_memory
from recsys_core.params import Params, build, fields, preset

from .errors import error_box
from .forms import params_form, preset_picker
from .fusion_form import FUSED, fusion_form, is_fused
from .text import listing, md, number
from .train_features import reading_line
from .train_models import Offer, cost_text, expected
from .train_prefill import filled_form
from .train_start import can_start, start_form


@dataclass(frozen=True)
class Chosen:
    """One model to train. params: validated, or None when something is still wrong; name: "" for the made-up one."""

    key: str
    label: str
    params: Params | None
    name: str = ""


def settings_forms(chosen: Sequence[str], offers: Sequence[Offer], entry: Any, partners: Sequence[Any], n_folds: int) -> list[Chosen]:
    """One expander a model. partners: runs of the same split, which a fusion may use as they are."""
    out: list[Chosen] = []
    by_key = {offer.key: offer for offer in offers}
    for key in sorted(chosen, key=lambda k: by_key[k].family == FUSED):  # fusions last: they use the settings of the others
        model = registry.get("model", key)
        with st.expander(f"**{md(model.label)}**", expanded=len(chosen) <= 2, key=f"settings-{key}", icon=":material/tune:"):
            out.append(_settings(model, by_key, entry, partners, out, n_folds))
    return out


def _settings(model: Any, offers: dict[str, Offer], entry: Any, partners: Sequence[Any], before: Sequence[Chosen], n_folds: int) -> Chosen:
    stats, described = entry.stats, fields(model.Params)
    effort = "balanced"
    if any(f.fast is not None or f.thorough is not None for f in described):
        effort = preset_picker(f"effort-{model.key}")
    values: dict[str, Any] = {}
    if is_fused(model):
        values = fusion_form(model, offers, partners, before)
    if described:
        again, filled = filled_form(model.key, effort)
        if can_start(model):
            values |= start_form(entry, model, filled)
        start = filled | values
        resolved = _resolved(model, preset(model.Params, effort) | start, stats)
        own = params_form(model.Params, f"form-{model.key}{again}", effort, start, resolved=resolved, hide=tuple(values))
        values = own | values
    else:
        st.caption("Nothing to set.")
    params = _checked(model, values)
    if params is not None:
        params = _affordable(model, params, stats, n_folds)
        reading_line(entry, model, params)
    name = st.text_input(
        "Name (optional)",
        key=f"name-{model.key}",
        max_chars=120,
        persist_state="session",
        placeholder="Made from the model and its settings",
        help="How this result is called in tables and charts.",
    )
    return Chosen(model.key, model.label, params, name.strip())


def _checked(model: Any, values: dict[str, Any]) -> Params | None:
    """Validated by the core, whole-model rules included; None after showing what is wrong."""
    try:
        params = build(model.Params, values, owner=model.label)
        model(params)
    except ParamError as error:
        error_box(error)
        return None
    return params


def _affordable(model: Any, params: Params, stats: Any, n_folds: int) -> Params | None:
    """Says what a run costs; None after showing why it does not fit."""
    try:
        fits, sentence = fits_in_memory(model, params, stats)
        if not fits:
            st.error(md(sentence), icon=":material/memory:")
            return None
        seconds, memory = expected(model, params, stats, n_folds)
        became = _became(params, model(params).resolve(stats))
    except WorkbenchError as error:
        error_box(error)
        return None
    told = f" Chosen for this data: {md(became)}." if became else ""
    st.caption(f":material/schedule: With these settings: {md(cost_text(seconds, memory))}.{told}")
    return params


def _became(asked: Params, resolved: Params) -> str:
    parts = []
    for field in fields(type(asked)):
        value = getattr(resolved, field.name)
        if field.auto and getattr(asked, field.name) == "auto":
            shown = number(value) if isinstance(value, int | float) and not isinstance(value, bool) else field.option(value)
            parts.append(f"{field.label.lower()} {shown}")
    return listing(parts, 8)


def _resolved(model: Any, values: dict[str, Any], stats: Any) -> dict[str, Any]:
    """What each "auto" becomes, for the labels; {} when the values do not stand yet (the form then says why)."""
    try:
        return model(build(model.Params, values, owner=model.label)).resolve(stats).model_dump()
    except WorkbenchError:
        return {}
