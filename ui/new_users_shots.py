"""How far a few clicks go: recommenders compared on new users after 0, 1, 2 … clicks. A tab of the page New users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.jobs.cold_start_spec import SPLIT, ColdStartSpec

from . import state
from .compare_data import Group, groups_of
from .errors import action
from .jobs import job_list, jobs_of
from .new_users_charts import looks
from .new_users_shots_result import renamed, show_result
from .new_users_shots_set import YARDSTICKS, comparison_set, meta_keys, missing_roles
from .text import ago, count, listing, md

KIND = "cold_start"
MOST = 10  # in one comparison: a whole set with three models that adapt; more lines cannot be told apart
ORDERS = {"random": "By lot", "earliest": "Earliest first"}


def draw(workspace: Any, dataset_entry: Any) -> None:
    """The tab, of one dataset. workspace: a `Workspace`; dataset_entry: its `DatasetEntry`."""
    runs = [run for run in workspace.runs(dataset_entry.id) if run.spec.get("split") == SPLIT]
    groups = {group.split_id: group for group in groups_of(runs)}
    group = _group(groups)
    known = [entry for entry in workspace.analyses(KIND, dataset=dataset_entry.id) if group and set(entry.runs) & set(group.ids)]
    if known:
        with st.container(border=True, key="shots-result"):
            entry = _picked(known, group)
            if _readable(entry):
                result = renamed(entry.result(), {run.id: run.name for run in group.runs})
                show_result(entry, result, looks(result["models"], places(group)))
            else:
                st.warning("This comparison cannot be read: its file is damaged. Measure it again below.", icon=":material/warning:")
    thin = group is None or bool(missing_roles(run.model_key for run in group.runs))
    if thin and not known:  # what is missing comes first
        comparison_set(dataset_entry, group)
    if group is not None:
        _jobs(group)
        _ask(group, known)
    if known or not thin:
        comparison_set(dataset_entry, group)


def _readable(entry: Any) -> bool:
    return bool(entry.result().get("models"))


def places(group: Group) -> dict[str, int]:
    """Run id -> its place among the results of its model, oldest first."""
    seen: dict[str, int] = {}
    out = {}
    for run in group.runs:
        out[run.id] = seen.get(run.model_key, 0)
        seen[run.model_key] = out[run.id] + 1
    return out


def _group(groups: Mapping[str, Group]) -> Group | None:
    """The split: that of the linked comparison, else the newest; a choice only where there are several."""
    if len(groups) < 2:
        return next(iter(groups.values()), None)
    state.follow_url("newsplit", "shots-split", list(groups), next(iter(groups)))
    chosen = st.selectbox(
        "New users", list(groups), format_func=lambda i: groups[i].label if i in groups else str(i), key="shots-split",
        help="Results are compared on the same new users: those of one split and seed.",
    )  # fmt: skip
    state.remember(newsplit=chosen)
    return groups[chosen]


def _picked(known: Sequence[Any], group: Group) -> Any:
    """The newest comparison, or the one chosen; kept in the URL."""
    labels = {entry.id: _label(entry, group) for entry in known}
    if len(known) == 1:
        state.remember(comparison=None)
        return known[0]
    key = f"shots-comparison-{group.split_id}"
    state.follow_url("comparison", key, list(labels), known[0].id)
    chosen = st.selectbox("Comparison", list(labels), format_func=lambda i: labels.get(i, i), key=key, help="Earlier ones are kept.")
    state.remember(comparison=chosen)
    return next((entry for entry in known if entry.id == chosen), known[0])


def _label(entry: Any, group: Group) -> str:
    names = {run.id: run.name for run in group.runs}
    told = [names[run] for run in entry.runs if run in names]
    order = ORDERS.get(str(entry.payload.get("order")), "")
    return f"{listing(told, 3)}, {order[:1].lower()}{order[1:]}, {ago(entry.created)}"


# ---- asking for one ------------------------------------------------------------------------------------
def first_choice(runs: Iterable[Any], most: int = MOST) -> list[str]:
    """The newest result of each model, those first that a comparison is made of."""
    newest: dict[str, Any] = {}
    for run in runs:  # oldest first: the last one stays
        newest[run.model_key] = run
    metas = [key for key in meta_keys() if key in newest]
    rest = [key for key in YARDSTICKS if key in newest]
    others = [key for key in newest if key not in metas and key not in rest]
    kept = (metas[: max(1, most - len(rest))] + rest + metas[max(1, most - len(rest)) :] + others)[:most]
    return [newest[key].id for key in kept]


def _ask(group: Group, known: Sequence[Any]) -> None:
    box = st.expander("Compare others", icon=":material/add:") if known else st.container(border=True, key="shots-ask")
    with box:
        if not known:
            st.markdown("**How many clicks until the list is good?** The chosen recommenders meet people they have never seen.")
        chosen = _runs(group)
        order = st.segmented_control(
            "Which items are shown first", list(ORDERS), default="random", required=True, format_func=ORDERS.get,
            key=f"shots-order-{group.split_id}",
            help="By lot: any of a user's items. Earliest first: the oldest ones, so that what must be found came later.",
        )  # fmt: skip
        if not chosen:
            st.caption("Choose at least one result.")
            return
        _start(group, chosen, order or "random")


def _runs(group: Group) -> list[str]:
    """Up to `MOST` results; kept in the URL."""
    names = {run.id: run.name for run in group.runs[::-1]}
    key = f"shots-runs-{group.split_id}"
    wanted = (state.current_list("compared", list(names)) or first_choice(group.runs))[:MOST]
    kept = [run_id for run_id in st.session_state.get(key, []) if run_id in names]
    linked = state.current("compared") and wanted != st.session_state.get(f"_seen_{key}")
    if key not in st.session_state or linked or kept != st.session_state[key]:
        st.session_state[key] = wanted
    chosen = st.multiselect(
        "Results", list(names), format_func=lambda i: names.get(i, i), key=key, max_selections=MOST, persist_state="session",
        help=f"Up to {MOST}, all trained on the same split by new users.",
    )  # fmt: skip
    st.session_state[f"_seen_{key}"] = list(chosen)
    state.remember(compared=chosen if list(chosen) != first_choice(group.runs) else None)
    return list(chosen)


def _start(group: Group, chosen: Sequence[str], order: str) -> None:
    try:
        spec = ColdStartSpec.make(runs=tuple(chosen), order=order)
    except WorkbenchError as error:
        st.info(f"{md(error.message)} {md(error.hint)}".strip(), icon=":material/info:")
        return
    there = {entry.id for entry in state.workspace().analyses(KIND) if _readable(entry)}
    busy = {job.id for job in jobs_of(kinds=(KIND,)) if not job.ended}
    models = {run.id: run.model_key for run in group.runs}
    lacks = missing_roles(models[run_id] for run_id in chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="shots-start"):
        st.button(
            f"Measure {count(len(chosen), 'recommender')}", key="shots-go", icon=":material/ads_click:", type="primary",
            disabled=spec.analysis_id in there | busy, on_click=_submit, args=(spec.model_dump(mode="json"),),
        )  # fmt: skip
        if spec.analysis_id in busy:
            st.caption("This is under way.", width="stretch")
        elif spec.analysis_id in there:
            st.caption("This has been measured; see above.", width="stretch")
        else:
            st.caption(f"After {listing([str(s) for s in spec.shots], len(spec.shots))} clicks, in lists of {spec.k}.", width="stretch")
    if lacks:
        st.caption(f":material/info: Not among them: {md(listing(lacks))}. Without it the comparison says less.")


@action
def _submit(payload: dict[str, Any]) -> None:
    spec = ColdStartSpec.make(**payload)
    damaged = [entry.id for entry in state.workspace().analyses(KIND) if entry.id == spec.analysis_id and not _readable(entry)]
    for entry_id in damaged:  # it would be taken for the answer
        state.workspace().delete(entry_id)
    state.queue().submit(spec.job())


def _jobs(group: Group) -> None:
    """Comparisons of this split under way, and those that did not come to an end."""
    mine = [job for job in jobs_of(kinds=(KIND,)) if set(job.spec.payload.get("runs") or ()) & set(group.ids) and job.state != "done"]
    if mine:
        job_list(f"shots-jobs-{group.split_id}", ids={job.id for job in mine}, keep=2, on_change=_show_newest)


def _show_newest() -> None:
    """What was waited for is shown, not what was looked at while waiting."""
    state.remember(comparison=None)
