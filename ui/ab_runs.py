"""Two recommenders in one list: team-draft interleaving replayed on what users took in the held-out part."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from recsys_core.evaluation.ab import Interleaving, interleave

from . import charts, state
from .compare_data import groups_of
from .components import dataset_picker, empty_state, metric_row
from .text import md

LENGTHS = (5, 10, 20)


def interleave_tab() -> None:
    """Pick two runs, read who is preferred."""
    st.caption(
        "Every user gets one list in which both recommenders take turns to place items. Who placed what the user took wins the user: "
        "far fewer users are needed than for two separate groups. Here the clicks are the held-out interactions."
    )
    dataset_id = dataset_picker(need="There is nothing to compare yet: bring in a file first, or try the sample data on Home.")
    if not dataset_id:
        return
    groups = [g for g in groups_of(state.workspace().runs(dataset_id)) if len(g.runs) > 1]
    if not groups:
        empty_state(
            "Two results are needed", "Train two recommenders on the same split first.", "Train recommenders", "train", dataset=dataset_id
        )
        return
    with st.container(border=True, key="ab-runs"), st.grid(4, min_column_width=200):
        group = groups[0] if len(groups) == 1 else st.selectbox("Split", groups, format_func=lambda g: g.label, key="ab-split-of")
        names = {run.id: run.name for run in group.runs}
        first = st.selectbox("Recommender A", list(names), format_func=names.get, key="ab-a")
        others = [run_id for run_id in names if run_id != first]
        second = st.selectbox("Recommender B", others, format_func=names.get, key="ab-b")
        k = st.selectbox("List length", LENGTHS, 1, key="ab-k")
    found = _interleaved(str(state.root()), first, second, int(k))
    if found is None:
        st.info("These two runs kept lists for different users, so they cannot share a list.", icon=":material/info:")
        return
    _show(found, names[first], names[second])


@st.cache_resource(max_entries=32, show_spinner="Laying the lists together …")
def _interleaved(folder: str, first: str, second: str, k: int) -> Interleaving | None:
    workspace = state._workspace(folder)
    a, b = (_in_order(workspace.run(run_id).topk()) for run_id in (first, second))
    holdout = workspace.run(first).holdout()
    if not np.array_equal(a.users, b.users) or not np.array_equal(a.users, holdout.users):
        return None
    return interleave(a, b, holdout.relevant, k=min(k, a.k, b.k))


def _in_order(top: Any) -> Any:
    return top.take(np.argsort(top.users, kind="stable"))


def _show(found: Interleaving, name_a: str, name_b: str) -> None:
    from dataclasses import replace

    named = replace(found, name_a=name_a, name_b=name_b)
    (st.success if named.clear else st.info)(md(named.sentence()), icon=":material/emoji_events:" if named.clear else ":material/balance:")
    metric_row(
        [
            (f"Lean to A: {name_a}", f"{found.wins_a:,}", None),
            ("To neither", f"{found.ties:,}", f"{found.without_clicks:,} of them took nothing from either list"),
            (f"Lean to B: {name_b}", f"{found.wins_b:,}", None),
        ],
        min_width=200,
    )
    edges = np.linspace(-1, 1, 22)
    decided = found.credit[found.credit != 0]
    if len(decided):
        fig = charts.columns(edges, np.histogram(decided, edges)[0], "Leaning, from A (−1) to B (+1)", "Users")
        note = (
            f"Users who lean to one side, averaged over {found.n_draws} tosses of who picks first; the {found.ties:,} others are left out."
        )
        charts.show(fig, "How strongly do users lean?", key="ab-credit", note=note)
    st.caption(
        ":material/info: Replayed, not live: nobody could take what nobody was shown, so both are judged on what users found by themselves."
    )
