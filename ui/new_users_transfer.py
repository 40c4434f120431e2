"""The tab "From other data" of New users: what starting from a model of another dataset bought."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.evaluation import transfer

from .components import empty_state
from .new_users_shots_set import META_FIRST
from .text import listing, md
from .train_models import first_fitting
from .train_start import RUN, sources

KIND, SPLIT = "cold_start", "cold_users"


def draw(workspace: Any, dataset_entry: Any) -> None:
    """workspace: a `Workspace`; dataset_entry: its `DatasetEntry`."""
    runs = {run.id: run for run in workspace.runs(dataset_entry.id) if run.spec.get("split") == SPLIT and _adapts(run)}
    started = [run for run in runs.values() if origin(workspace, run)]
    if not started:
        _how(dataset_entry)
        return
    with st.container(border=True):
        st.markdown("**What does a start from other data buy?** The same new users, after so many clicks.")
        measured = _measured(workspace, dataset_entry, runs)
        if measured is None:
            st.info(
                f"{md(listing([run.name for run in started], 4))} started from another dataset, and "
                + ("is" if len(started) == 1 else "are")
                + " not measured yet. Choose it in *How far a few clicks go*, beside the same model trained from nothing.",
                icon=":material/query_stats:",
            )
            return
        result, entry = measured
        rows = _rows(workspace, result, runs)
        told = sentences(result, pd.read_parquet(entry.path / "per_user.parquet"), workspace, runs)
        for sentence in told:
            st.markdown(md(sentence))
        if not told:
            st.caption("Measure the same model from scratch beside it, to see what the start bought.")
        shown = [f"After {s}" for s in result["shots"]]
        st.dataframe(
            rows,
            hide_index=True,
            column_config={name: st.column_config.NumberColumn(format="%.4f") for name in shown}
            | {"Model": st.column_config.TextColumn(width="medium"), "Started from": st.column_config.TextColumn(width="medium")},
        )
        st.caption(
            f"NDCG@{result['k']} after so many clicks, of {result['n_users']:,} new users, with the newest comparison of these results."
        )
        st.caption(
            ":material/info: With few users the pass to stop at is chosen by a handful of them, so a gain or a loss can be the luck of one "
            "training. To be sure, train both with the early stopping off (patience 0) or with several seeds."
        )
        st.download_button(
            "Download CSV", rows.to_csv(index=False).encode(), f"other-data-{entry.id[:8]}.csv", "text/csv", icon=":material/download:"
        )


def origin(workspace: Any, run: Any) -> str:
    """ "" for a model from scratch, else where it started from and whether it was trained on."""
    start = str(run.resolved.get("start_from") or "")
    if not start:
        return ""
    try:
        there = workspace.run(start.removeprefix(RUN))
        name = there.dataset.name if there.dataset is not None else there.name
    except NotFound:
        name = "a result that was deleted"
    return f"{name}, {'as it is' if run.resolved.get('as_it_is') else 'trained on'}"


def sentences(result: dict[str, Any], per_user: pd.DataFrame, workspace: Any, runs: dict[str, Any]) -> list[str]:
    """What each start bought after three clicks, or the number nearest to it."""
    shots = transfer.nearest(result["shots"])
    there = {one["run"]: runs[one["run"]] for one in result["models"] if one["run"] in runs}
    origins = {run_id: origin(workspace, run) for run_id, run in there.items()}
    out = []
    for started, scratch in transfer.pairs(there, origins):
        gap = transfer.bought(per_user, started, scratch, shots, result["k"])
        out.append(transfer.sentence(there[started].name, origins[started], there[scratch].name, shots, gap))
    return out


def _rows(workspace: Any, result: dict[str, Any], runs: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for one in result["models"]:
        run = runs.get(one["run"])
        if run is None:
            continue
        row: dict[str, Any] = {"Model": run.name, "Started from": origin(workspace, run) or "from scratch"}
        row |= {f"After {point['shots']}": point["mean"] for point in one["curve"]}
        three = min(one["curve"], key=lambda point: abs(point["shots"] - 3))
        row[f"95 % after {three['shots']}"] = f"{three['low']:.3f} to {three['high']:.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _measured(workspace: Any, entry: Any, runs: dict[str, Any]) -> tuple[dict[str, Any], Any] | None:
    """The newest comparison with a model that started elsewhere."""
    for analysis in workspace.analyses(KIND, dataset=entry.id):
        if any(run in runs and origin(workspace, runs[run]) for run in analysis.runs):
            result = analysis.result()
            if result.get("models"):
                return result, analysis
    return None


def _adapts(run: Any) -> bool:
    try:
        return registry.get("model", run.model_key).adapts
    except NotFound:
        return False


def _how(entry: Any) -> None:
    """Nothing has started elsewhere yet: what it takes, and the way there."""
    found = sources(entry)
    if found:
        names = listing(list(dict.fromkeys(f"{run.name} ({run.dataset.name})" for run, _ in found.values())), 3)
        text = (
            f"{md(names)} can be started from: its item columns have names that this dataset has too. "
            "On Train, choose a model that adapts, and under its settings what it starts from."
        )
    else:
        text = (
            "A model that reads columns can start from one trained on another dataset whose item columns have the same names: what titles "
            "and genres mean for tastes is taken over. Train one that adapts, such as First-order MAML, on the other dataset first."
        )
    empty_state(
        "No model here started from other data",
        text,
        "Go to Train",
        "train",
        key="transfer-empty",
        icon=":material/move_down:",
        dataset=entry.id,
        model=first_fitting(META_FIRST, entry.stats) if found else None,
    )
