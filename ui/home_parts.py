"""The parts of the Home page: first steps, one card a dataset, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from . import navigation, state
from .components import confirm_delete, rename_dialog
from .errors import action, notify
from .summary import Best, best_run
from .text import ago, count, md, score, size

SAMPLE_NAME = "Sample bookshop"
STEPS = (
    ("1", "Bring in a file", "Any list of who did what: ratings, purchases, plays, clicks. Nothing needs to be cleaned first."),
    ("2", "Train and compare", "Try several recommenders on the same held-out part of your data and see which one is really better."),
    ("3", "Look closer, export", "See the lists of single users and why each item is in them. Download the lists of the one you trust."),
)


def first_steps() -> None:
    """The page of an empty workspace."""
    with st.container(border=True):
        st.subheader("From a raw file to recommendations you trust", anchor=False)
        with st.grid(3, min_column_width=240, gap="medium"):
            for number, title, text in STEPS:
                with st.container(gap="xsmall"):
                    st.markdown(f":blue-badge[{number}] **{title}**")
                    st.caption(text)
        st.space("xsmall")
        with st.container(horizontal=True):
            sample_button("primary")
            if st.button("Bring in your own file", key="own-file", icon=":material/upload_file:"):
                navigation.go("data")
        st.caption("The sample is a fictional bookshop: readers who look at, put into the cart and buy books. It takes about a minute.")


def sample_button(kind: str = "secondary") -> None:
    st.button("Try it with sample data", key="try-sample", type=kind, icon=":material/play_arrow:", on_click=_try_sample)


@action
def _try_sample() -> None:
    dataset_id, left_out = start_sample()
    st.session_state["_lead_to"] = dataset_id
    for sentence in left_out:
        notify(f"Left out: {md(sentence)}", "info")


def start_sample() -> tuple[str, list[str]]:
    """Save the sample as a dataset and queue the sensible set; both are recognised when they are there already."""
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
    from recsys_core.data.ingest.plan import Columns
    from recsys_core.data.sample import COLUMNS, EVENT_WEIGHTS, sample_paths

    from .sensible import sensible_specs

    paths = sample_paths()
    source = open_source(paths.interactions)
    plan = IngestPlan.from_guess(
        guess_columns(source),
        columns=Columns(**COLUMNS),
        feedback="implicit",
        value_is="none",
        threshold=None,
        event_weights=EVENT_WEIGHTS,
        duplicates="sum",
        items_file=str(paths.items),
        users_file=str(paths.users),
    )
    workspace = state.workspace()
    entry = workspace.add_dataset(ingest(source, plan), SAMPLE_NAME)
    specs, left_out = sensible_specs(entry.id, entry.stats, threads=1)
    state.queue().submit_many(specs)
    return entry.id, left_out


def next_step(datasets: Sequence[Any], runs: Sequence[Any], live: Sequence[Any]) -> None:
    """One sentence and one button: what to do now."""
    newest = datasets[0]
    of_newest = [run for run in runs if run.dataset_id == newest.id]
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        if live:
            text = f"**{count(len(live), 'job')} under way.** Results appear here and on Compare as they finish."
            label, page, ids = "See the leaderboard", "compare", {"dataset": live[0].spec.payload.get("dataset", newest.id)}
        elif not of_newest:
            text = f"**Next:** train recommenders on {md(newest.name)}."
            label, page, ids = "Train recommenders", "train", {"dataset": newest.id}
        elif len(of_newest) == 1:
            text = f"**Next:** train a second recommender on {md(newest.name)}, so that there is something to compare."
            label, page, ids = "Train another", "train", {"dataset": newest.id}
        else:
            text = f"**Next:** compare the {count(len(of_newest), 'result')} on {md(newest.name)}, then look at single users and export."
            label, page, ids = "See the leaderboard", "compare", {"dataset": newest.id}
        st.markdown(text, width="stretch")
        navigation.next_button(label, page, key="next-step", icon=":material/arrow_forward:", **ids)


def dataset_card(entry: Any, runs: Sequence[Any]) -> None:
    """Name, size, best result, and the ways on."""
    best, stats = best_run(runs), entry.stats
    with st.container(border=True, key=f"dataset-{entry.id}", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"#### {md(entry.name, 44)}", width="stretch")
            chosen = st.menu_button(
                "More", ["Rename", "Delete"], key=f"more-{entry.id}", type="tertiary", help="Rename or delete this dataset"
            )
        kind = "ratings" if entry.manifest.get("feedback") == "explicit" else "interactions"
        st.caption(
            f"{count(stats.n_users, 'user')} · {count(stats.n_items, 'item')} · {count(stats.n_interactions)} {kind} · "
            f"saved {ago(entry.created)} · {size(entry.size_bytes)}"
        )
        st.markdown(best_line(best, len(runs)))
        st.space("stretch")
        with st.container(horizontal=True):
            open_button("Data", "data", entry.id)
            open_button("Train", "train", entry.id)
            if runs:
                open_button("Compare", "compare", entry.id)
    if chosen == "Rename":
        rename_dialog("dataset", entry.name, lambda name: state.workspace().rename(entry.id, name))
    elif chosen == "Delete":
        delete_entry("dataset", entry)


def open_button(label: str, page: str, dataset_id: str) -> None:
    if st.button(label, key=f"{page}-{dataset_id}", icon=navigation.PAGES[page][1]):
        navigation.go(page, dataset=dataset_id)


def best_line(best: Best | None, n_runs: int) -> str:
    """The best result so far, as Markdown."""
    if best is None:
        return "Nothing trained yet." if not n_runs else f"{count(n_runs, 'result')} without a ranking figure."
    from recsys_core.evaluation.compare import metric_label

    of = f" of {best.n_runs}" if best.n_runs > 1 else ""
    return f"Best{of}: **{md(best.name, 60)}** · {md(metric_label(best.metric))} {score(best.value)}"


def delete_entry(what: str, entry: Any) -> None:
    """Ask, naming what goes with it; then delete."""
    workspace = state.workspace()
    confirm_delete(what, entry.name, workspace.dependents(entry.id), lambda: _delete(what, entry))


def _delete(what: str, entry: Any) -> None:
    state.workspace().delete(entry.id, with_dependents=True)
    notify(f"The {what} {md(entry.name, 60)} was deleted.")


def manage_results(runs: Sequence[Any], names: dict[str, str]) -> None:
    """Rename or delete single results."""
    with st.expander("Rename or delete results", icon=":material/edit:"):
        by_id = {run.id: run for run in runs}
        label = {run.id: f"{run.name} — {names.get(run.dataset_id, 'deleted dataset')}" for run in runs}
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Result", list(by_id), format_func=lambda i: label.get(i, i), key="manage-run")
            rename = st.button("Rename", key="rename-run")
            delete = st.button("Delete", key="delete-run")
        if rename:
            rename_dialog("result", by_id[chosen].name, lambda name: state.workspace().rename(chosen, name))
        if delete:
            delete_entry("result", by_id[chosen])
