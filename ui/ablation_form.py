"""The form that asks for an ablation: what is varied, how, judged on what, and what it will cost."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.evaluation.ablation import MODES, Axis
from recsys_core.evaluation.ablation_words import value_text
from recsys_core.jobs.ablation_spec import AblationSpec

from . import state
from .errors import action
from .jobs import jobs_of
from .text import count, duration, md

PARTS = {"validation": "Validation", "test": "Test"}
MODE_LABELS = {MODES[0]: "One change at a time", MODES[1]: "All combinations"}
MODE_HELP = (
    "One change at a time: the result as it is, and each other value by itself. All combinations: every value with every other; "
    "the effect of a value is then the mean over all others."
)
PART_HELP = (
    "Validation: cut from the training part, so that choosing by it is honest. Test: the part results are compared on; choosing by it "
    "makes the choice look better than it is."
)
MEASURES = ("ndcg", "recall")
AT_ONCE = 4  # parts that are switched on to begin with where every value is tried with every other


def ablation_form(run: Any, model: Any, *, again: bool) -> None:
    """Draw the form for a result. again: there is an ablation already, so it is folded away."""
    from recsys_core.jobs.ablation import axes_of

    spec = AblationSpec.of_run(run)
    data = state.dataset(run.dataset_id)
    try:
        axes, left_out = axes_of(model, spec.train.model_params(), {}, data)
    except WorkbenchError as error:
        st.info(f"{md(error.message)} {md(error.hint)}".strip(), icon=":material/info:")
        return
    box = st.expander("Ask for another ablation", icon=":material/add:") if again else st.container(border=True, key="ablation-ask")
    with box:
        if not again:
            st.markdown(
                f"**What does each part of {md(run.name, 60)} buy on this data?** It is trained again with parts taken away or "
                "changed, and every variant is compared with it on the same users."
            )
        key = f"ablation-{run.id}"
        asked = _how(key)
        chosen = _axes(axes, f"{key}-{asked['mode']}", AT_ONCE if asked["mode"] == MODES[1] else len(axes))
        for name, why in left_out.items():
            st.caption(f":material/block: {md(next((f.label for f in model.card().fields if f.name == name), name))}: {md(why)}")
        if not chosen:
            st.caption("Choose at least one part to vary, with two values or more.")
            return
        _start(run, model, chosen, asked | (_budget(key) if asked["mode"] == MODES[1] else {}), data)


def _how(key: str) -> dict[str, Any]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        mode = st.segmented_control(
            "How", list(MODES), default=MODES[0], required=True, format_func=MODE_LABELS.get, key=f"{key}-mode", help=MODE_HELP
        )
        seeds = st.segmented_control(
            "Trainings of each", [1, 2, 3], default=1, required=True, key=f"{key}-seeds",
            help="With two or three, intervals also hold the luck of a training; it takes as many times as long.",
        )  # fmt: skip
        part = st.segmented_control(
            "Judged on", list(PARTS), default="validation", required=True, format_func=PARTS.get, key=f"{key}-part", help=PART_HELP
        )
    return {"mode": mode or MODES[0], "seeds": int(seeds or 1), "part": part or "validation"}


def _axes(axes: list[Axis], key: str, n: int) -> dict[str, tuple[Any, ...]]:
    """Parameter -> values, of the parts that are switched on; the first n are to begin with."""
    labels = {axis.name: axis.label for axis in axes}
    picked = st.pills(
        "Parts that are varied", list(labels), selection_mode="multi", default=list(labels)[:n], key=f"{key}-axes",
        format_func=lambda name: labels.get(name, name),
    )  # fmt: skip
    chosen = {axis.name: axis.values for axis in axes if axis.name in (picked or ())}
    wide = [axis for axis in axes if axis.name in chosen and len(axis.values) > 2]
    if wide:
        with st.expander("Values that are tried", icon=":material/tune:", type="compact"):
            for axis in wide:
                values = st.pills(
                    axis.label, list(axis.values), selection_mode="multi", default=list(axis.values), format_func=value_text,
                    key=f"{key}-values-{axis.name}", help=f"The result itself has {md(value_text(axis.base))}, which is always tried.",
                )  # fmt: skip
                chosen[axis.name] = tuple(value for value in axis.values if value in (values or ()) or value == axis.base)
    return {name: values for name, values in chosen.items() if len(values) > 1}


def _budget(key: str) -> dict[str, Any]:
    """Of all combinations: how many are trained, and how long."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        most = st.number_input(
            "Variants at most", min_value=0, max_value=2_000, value=0, step=10, key=f"{key}-most", width=180,
            help="0 = all. With fewer, a balanced random part is trained, and what was not is said.",
        )  # fmt: skip
        minutes = st.number_input(
            "Minutes", min_value=0, max_value=10_080, value=0, step=10, key=f"{key}-minutes", width=180, help="0 = no limit."
        )
    return {"most": int(most), "minutes": float(minutes)}


def _start(run: Any, model: Any, chosen: dict[str, tuple[Any, ...]], asked: dict[str, Any], data: Any) -> None:
    """How many trainings, how long they take, and the button."""
    import numpy as np

    from recsys_core.jobs.ablation import axes_of, plan_of

    try:
        spec = AblationSpec.of_run(run, axes=chosen, metrics=MEASURES, k=max(run.spec.get("ks") or (20,)), **asked)
        params = spec.train.model_params()
        axes, _ = axes_of(model, params, spec.axes, data)
        plan = plan_of(model, params, axes, spec, data, np.random.default_rng(0))
    except WorkbenchError as error:
        st.info(f"{md(error.message)} {md(error.hint)}".strip(), icon=":material/info:")
        return
    known = {entry.id for entry in state.workspace().analyses("ablation", run=run.id)}
    busy = {job.id for job in jobs_of(kinds=("ablation",)) if not job.ended}
    n = min(len(plan.variants), spec.most or len(plan.variants)) * spec.seeds
    twice = model.uses_validation and run.spec.get("refit", True) and spec.part == "validation"  # the result was fitted again on all
    seconds = n * float(run.manifest.get("fit_seconds") or 0) * (0.5 if twice else 1.0)
    most = min(seconds, 60 * spec.minutes) if spec.minutes else seconds
    with st.container(horizontal=True, vertical_alignment="center", key="ablation-start"):
        st.button(
            "Start the ablation", key="ablation-go", icon=":material/schema:", type="primary",
            disabled=spec.analysis_id in known | busy, on_click=_submit, args=(spec.model_dump(mode="json"),),
        )  # fmt: skip
        if spec.analysis_id in known:
            st.caption("This has been worked out; see above.")
        elif spec.analysis_id in busy:
            st.caption("This is under way.")
        else:
            part = f" of {plan.n_combinations} combinations" if spec.most and spec.most < plan.n_combinations else ""
            st.caption(
                f"{count(n, 'training')}{part}, about {duration(max(1.0, most))}. "
                "What an earlier ablation has trained is not trained again.",
                width="stretch",
            )


@action
def _submit(payload: dict[str, Any]) -> None:
    state.queue().submit(AblationSpec.make(**payload).job())
