"""What the Inspect page reads: which results, whose lists, what was held out. Nothing here loads a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK

from . import state
from .compare_data import Group, groups_of, metrics_of, ranked
from .components import runs_picker
from .inspect_items import user_names
from .text import count, listing, md
from .train_features import trained_otherwise

MOST = 4


@dataclass(frozen=True)
class Choice:
    """runs: the chosen ones, best first. name: the measure of "best served", such as "ndcg@10"; "" where none is per user."""

    dataset_id: str
    group: Group
    runs: list[Any]
    name: str

    def label(self, run: Any) -> str:
        return str(run.name)


def choose(dataset_id: str) -> Choice | None:
    """The card at the top: the protocol where there are several, then up to four results. None when none is chosen."""
    groups = {group.split_id: group for group in groups_of(state.workspace().runs(dataset_id))}
    elsewhere = st.session_state.get("_id_runs")
    _return_to(elsewhere)
    linked = state.current_list("runs")
    first = next((g.split_id for g in groups.values() if set(linked) & set(g.ids)), next(iter(groups)))
    with st.container(border=True, key="inspect-choice"):
        group = groups[first]
        if len(groups) > 1:
            key = "inspect-protocol"
            if st.session_state.get(key) not in groups or (linked != st.session_state.get("_inspected")):
                st.session_state[key] = first
            about = "Only results with the same data, split and seed can stand side by side: they hold out the same interactions."
            chosen = st.selectbox(
                "Protocol", list(groups), format_func=lambda i: groups[i].label if i in groups else i, key=key, help=about
            )
            group = groups[chosen]
        name = served_measure(group.runs)
        order = ranked(group.runs, name) if name else list(group.runs)
        wanted = state.current_list("runs", group.ids)
        if len(wanted) > MOST:
            st.query_params["runs"] = ",".join([run.id for run in order if run.id in wanted][:MOST])
        ids = runs_picker(
            order,
            key=f"inspect-{dataset_id}-{group.split_id}",
            label="Recommenders",
            most=MOST,
            help="Up to four; their lists are shown side by side. The best ones are chosen at first.",
        )
        st.session_state["_inspected"] = list(ids)
        _keep(elsewhere, ids)
        if not ids:
            st.info("Choose at least one recommender.", icon=":material/info:")
            return None
        chosen = [run for run in order if run.id in ids]
        earlier = [run.name for run in chosen if trained_otherwise(run)]
        if earlier:
            what = "features of this dataset that were changed since"
            st.caption(f":material/history: Trained with {what}: {md(listing(earlier, MOST))}.")
    return Choice(dataset_id, group, chosen, name)


def _return_to(elsewhere: str | None) -> None:
    """Coming back without a link: the choice made here, unless another was made on another page since."""
    if "run" in st.query_params and "runs" not in st.query_params:
        st.query_params["runs"] = st.query_params["run"]
    before, mine = st.session_state.get("_inspect_runs", (None, None))
    if "runs" not in st.query_params and mine and before == elsewhere:
        st.query_params["runs"] = mine


def _keep(elsewhere: str | None, ids: Sequence[str]) -> None:
    """The few chosen here are this page's own: Compare goes on showing the many that it showed."""
    st.session_state["_inspect_runs"] = (elsewhere, ",".join(ids))
    if elsewhere is None:
        st.session_state.pop("_id_runs", None)
    else:
        st.session_state["_id_runs"] = elsewhere


def served_measure(runs: Sequence[Any]) -> str:
    """How well a user is served is told by the first accuracy measure, at 10 where there is that."""
    for key, ks in metrics_of(runs).items():
        if ks and any(f"{key}@{ks[0]}" in run.metrics for run in runs):
            return f"{key}@{10 if 10 in ks else ks[-1]}"
    return ""


# ---- stored lists ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Stored:
    """The lists of all evaluated users of one run, and what was held out from them. Codes are the run's own."""

    top: TopK
    users: IdMap
    items: IdMap
    holdout: Holdout

    def list_of(self, user: str, k: int) -> tuple[list[str], list[float]] | None:
        """(items, scores), or None for a user who was not evaluated."""
        row = np.flatnonzero(self.top.users == self.users.encode([user])[0])
        if not len(row) or self.users.encode([user])[0] < 0:
            return None
        items, scores = self.top.items[row[0], :k], self.top.scores[row[0], :k]
        kept = items >= 0
        return list(self.items.decode(items[kept])), [float(s) for s in scores[kept]]

    def held_out(self, user: str) -> dict[str, bool]:
        """Held-out item -> whether it counts as a hit (it is relevant)."""
        return self._part(self.holdout.truth, user)

    def given(self, user: str) -> list[str] | None:
        """What a new user of this protocol was known by, oldest first; None when users are known from training."""
        part, code = self.holdout.given, int(self.users.encode([user])[0])
        if part is None or code < 0 or not (part.user == code).any():
            return None
        return list(self.items.decode(part.histories(np.array([code])).items))

    def _part(self, part: Any, user: str) -> dict[str, bool]:
        code = int(self.users.encode([user])[0])
        rows = np.flatnonzero(part.user == code) if code >= 0 else np.empty(0, int)
        return dict(zip(self.items.decode(part.item[rows]), map(bool, part.relevant[rows]), strict=True))


def stored(run: Any) -> Stored:
    return _stored(str(state.root()), run.id)


@st.cache_resource(max_entries=8, show_spinner="Reading the lists …")
def _stored(folder: str, run_id: str) -> Stored:
    run = state.workspace().run(run_id)
    return Stored(run.topk(), *run.ids(), run.holdout())


@st.cache_resource(max_entries=8, show_spinner=False)
def _served(folder: str, run_id: str, name: str) -> pd.Series:
    """external user id -> figure, best first; users without one are left out."""
    run = state.workspace().run(run_id)
    figures = run.per_user()[name].dropna()
    figures.index = run.ids()[0].decode(figures.index.to_numpy())
    return figures.sort_values(ascending=False, kind="stable")


def served(run: Any, name: str) -> pd.Series:
    return _served(str(state.root()), run.id, name)


@st.cache_resource(max_entries=8, show_spinner=False)
def _by_activity(folder: str, run_id: str, dataset_id: str) -> np.ndarray:
    kept, users = _stored(folder, run_id), user_names(dataset_id)
    codes = users.ids.encode(kept.users.decode(kept.top.users))
    codes = codes[codes >= 0]
    return codes[np.lexsort((codes, -users.counts[codes]))]


def by_activity(run: Any, dataset_id: str) -> np.ndarray:
    """Dataset codes of the evaluated users, most active first."""
    return _by_activity(str(state.root()), run.id, dataset_id)


# ---- one user --------------------------------------------------------------------------------------
def history(data: Any, user: str, held_out: dict[str, bool]) -> pd.DataFrame:
    """Rows item, value, time (UTC, or NaT), held_out, newest first: all the dataset has of one user."""
    code = int(data.users.encode([user])[0])
    rows = np.flatnonzero(data.user == code) if code >= 0 else np.empty(0, int)
    times = pd.to_datetime(data.time[rows], unit="s", utc=True) if data.time is not None else pd.Series(pd.NaT, index=range(len(rows)))
    items = data.items.decode(data.item[rows])
    frame = pd.DataFrame({"item": items, "value": data.value[rows], "time": times, "held_out": [item in held_out for item in items]})
    return frame.iloc[::-1].sort_values("time", ascending=False, kind="stable", ignore_index=True)


def about_scale(data: Any) -> str:
    """What a number beside an interaction is called, or "" where all are 1."""
    if data.feedback == "explicit":
        return "Rating"
    return "" if (data.value == 1).all() else "Weight"


def hits_line(n_hits: int, n_shown: int, n_relevant: int) -> str:
    if not n_relevant:
        return "Nothing was held out from this user."
    return f"{n_hits} of {count(n_relevant, 'held-out item')} among the first {n_shown}."
