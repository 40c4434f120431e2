"""One cold-start comparison: what it comes to, the curves, what learning adds, the table, how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.evaluation import cold_start_words as words
from recsys_core.evaluation import metric_label

from . import charts
from .compare_charts import fitted
from .components import download, protocol_card
from .new_users_charts import Look, few_clicks, gains
from .text import ago, count, md, share

ROLES = {
    "meta": "Learns from the clicks",
    "fine_tuned": "Fine-tuned, no meta-learning",
    "fold_in": "Folds the clicks in",
    "content": "Content of the items",
    "popular": "The same for everybody",
}
ORDERS = {"random": "drawn by lot", "earliest": "the earliest"}
NAME_PIXELS = 200
TELLING = 3  # clicks whose worth the table tells
COLUMNS = (
    "recommender", "model", "kind", "clicks", "ndcg", "ndcg_low", "ndcg_high", "recall", "hit_rate", "unadapted", "gain", "gain_low",
    "gain_high", "gain_clear", "ms_per_user",
)  # fmt: skip


def show_result(entry: Any, result: Mapping[str, Any], drawn: Mapping[str, Look]) -> None:
    """entry: the analysis; result: what it holds, with today's names; drawn: run -> its look."""
    measure = metric_label(f"ndcg@{result['k']}")
    models = result["models"]
    verdicts = result["verdicts"]
    if verdicts:
        st.markdown(f"**{md(verdicts[-1])}**")  # the last one says whether it pays
        st.markdown("\n".join(f"- {md(sentence)}" for sentence in verdicts[:-1]))
    note = "A click is an item of the user that the recommender is shown. Bands: 95 % interval over users; point at a line for its own."
    if len(models) > 1:
        note += " Click a name to hide its line, twice to see it alone."
    charts.show(few_clicks(models, drawn, measure), "How many clicks until the list is good?", key=f"shots-{entry.id}", note=note)
    if any(model["gain"] for model in models):
        note = f"{measure} after the learning steps minus before them, for the same users, with its 95 % interval. Filled: clear."
        charts.show(gains(models, drawn, measure), "What do the learning steps add?", key=f"shots-gain-{entry.id}", note=note)
    _table(entry, result, measure)
    _rating(entry, result, drawn)
    protocol_card(facts(entry, result), [*result["protocol"], *result["notes"]])


def renamed(result: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """With the names results have today, in the verdicts too. names: run -> name."""
    models = [one | {"name": names.get(one["run"], one["name"])} for one in result["models"]]
    again = {**result, "models": models}
    if result.get("rating"):
        parts = [one | {"name": names.get(one["run"], one["name"])} for one in result["rating"]["models"]]
        again["rating"] = result["rating"] | {"models": parts}
    return again | {"verdicts": words.verdicts(again)}


def facts(entry: Any, result: Mapping[str, Any]) -> dict[str, str]:
    left = f", {count(result['left_out'])} left out: too few items" if result["left_out"] else ""
    return {
        "Users measured": f"{count(result['n_users'])}{left}",
        "Clicks shown": f"{', '.join(map(str, result['shots']))}; {ORDERS.get(result['order'], result['order'])}",
        "To be found": f"all other relevant items of these users, the same after every number of clicks, in lists of {result['k']}",
        "Time for one user": f"adapting and listing after {count(result['ms_shots'], 'click')}, one user at a time, the median",
        "Measured": ago(entry.created),
    }


# ---- the table and the file ----------------------------------------------------------------------------
def table(result: Mapping[str, Any]) -> pd.DataFrame:
    """A row a model, best first: its figure after each number of clicks, what some clicks are worth with the best fold-in, its time."""
    rival = next((model for model in result["models"] if model["role"] == "fold_in"), None)
    positive = [s for s in result["shots"] if s > 0]
    telling = TELLING if TELLING in positive else positive[0] if positive else None
    rows = []
    for model in result["models"]:
        row: dict[str, Any] = {"name": fitted(model["name"])}
        row |= {f"after {point['shots']}": point["mean"] for point in model["curve"]}
        if rival is not None and telling is not None:
            row["worth"] = _worth(result["shots"], model, rival, telling)
        rows.append(row | {"ms": model["ms_per_user"], "kind": ROLES.get(model["role"], model["family"])})
    return pd.DataFrame(rows)


def _worth(shots: Sequence[int], model: Mapping[str, Any], rival: Mapping[str, Any], telling: int) -> str:
    if model["run"] == rival["run"]:
        return f"{telling}"
    value = next(point["mean"] for point in model["curve"] if point["shots"] == telling)
    clicks = words.worth(shots, [point["mean"] for point in rival["curve"]], value)
    if clicks == float("inf"):
        return f"over {max(shots)}"
    return f"{clicks:.1f}" if clicks > shots[0] else str(shots[0])


def _table(entry: Any, result: Mapping[str, Any], measure: str) -> None:
    frame = table(result)
    number = st.column_config.NumberColumn
    columns = {
        "name": st.column_config.TextColumn("Recommender", width=NAME_PIXELS, pinned=True),
        "kind": st.column_config.TextColumn("What it does with clicks"),
        "ms": number("Time for one user (ms)", format="%.1f", help="Adapting to one user and making the list."),
    }
    clicks = {0: "no click", 1: "1 click"}
    columns |= {f"after {s}": number(f"After {clicks.get(s, f'{s} clicks')}", format="%.4f") for s in result["shots"]}
    rival = next((model for model in result["models"] if model["role"] == "fold_in"), None)
    if "worth" in frame:
        positive = [s for s in result["shots"] if s > 0]
        n = TELLING if TELLING in positive else positive[0]
        about = f"How many clicks the best fold-in ({md(rival['name'], 60)}) takes to be as good as this one is after {count(n, 'click')}."
        columns["worth"] = st.column_config.TextColumn(
            f"{count(n, 'click')} {'is' if n == 1 else 'are'} worth", alignment="right", help=about
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{measure} after each number of clicks**", width="stretch")
        data = csv(result)
        download("Download CSV", data, f"few-clicks-{entry.id[:8]}.csv", key=f"shots-csv-{entry.id}")
    st.dataframe(
        frame,
        hide_index=True,
        height="content",
        key=f"shots-table-{entry.id}",
        column_config=columns,
        alt="Figures after each number of clicks, and times",
    )


def csv(result: Mapping[str, Any]) -> str:
    """A row for each model and number of clicks, with intervals."""
    rows = []
    for model in result["models"]:
        before = {point["shots"]: point["mean"] for point in model["unadapted"] or ()}
        gained = {point["shots"]: point for point in model["gain"] or ()}
        for point, recall, hit in zip(model["curve"], model["recall"], model["hit_rate"], strict=True):
            s = point["shots"]
            gain = gained.get(s, {})
            values = (
                model["name"], model["model"], model["role"], s, point["mean"], point["low"], point["high"], recall["mean"], hit["mean"],
                before.get(s), gain.get("mean"), gain.get("low"), gain.get("high"), gain.get("clear"), model["ms_per_user"],
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False)


# ---- the rating protocol ------------------------------------------------------------------------------
def _rating(entry: Any, result: Mapping[str, Any], drawn: Mapping[str, Look]) -> None:
    """Under its own name, with what a random order comes to."""
    rating = result.get("rating")
    if not rating:
        return
    with st.expander(md(rating["name"]), icon=":material/star_half:", key=f"shots-rating-{entry.id}"):
        st.caption(md(rating["definition"]))
        left = f"; {count(rating['left_out'])} left out for too few" if rating["left_out"] else ""
        k, chance = rating["k"], rating["chance"]
        st.markdown(
            f":material/casino: A random order comes to a precision at {k} of **{share(chance['precision'])}** and an NDCG at {k} of "
            f"**{chance['ndcg']:.3f}**, over {count(rating['n_users'], 'user')} with enough ratings{left}."
        )
        shots = result["shots"]
        for name, label in (("precision", f"Precision@{k}"), ("ndcg", f"NDCG@{k}")):
            rows = [{"name": "A random order"} | {f"after {s}": chance[name] for s in shots}]
            rows += [
                {"name": fitted(one["name"])} | {f"after {point['shots']}": point["mean"] for point in one[name]}
                for one in rating["models"]
            ]
            columns: dict[str, Any] = {"name": st.column_config.TextColumn(label, width=NAME_PIXELS, pinned=True)}
            columns |= {f"after {s}": st.column_config.NumberColumn(f"After {s}", format="%.3f") for s in shots}
            st.dataframe(
                pd.DataFrame(rows), hide_index=True, key=f"shots-rating-{name}-{entry.id}", column_config=columns, height="content",
                alt=f"{label} of the user's own items after each number of clicks, and of a random order",
            )  # fmt: skip
