"""What is exported: for whom, which items may appear, which columns, which format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.errors import BadInput
from recsys_core.evaluation import metric_label
from recsys_core.store.audience import audience
from recsys_core.store.export import ExportRequest, Filter

from . import state
from .compare_data import groups_of, ranked
from .components import card
from .export_ids import id_list_input
from .export_shape import shape_card
from .inspect_data import served_measure
from .inspect_items import item_names
from .text import count, md, score, short

WHOM = {"all": "All users", "list": "A list of ids", "segment": "A segment"}
ACTIVITY = {"all": "Any", "least": "Least active third", "middle": "Middle third", "most": "Most active third"}
FORMATS = {"csv": "CSV", "parquet": "Parquet"}
MOST_VALUES = 300


def request_form(dataset_id: str, run: Any) -> ExportRequest | None:
    """The four cards; None while something is missing (it is said where)."""
    data = state.dataset(dataset_id)
    whom = _whom(dataset_id, data)
    what = _what(dataset_id, data, run)
    right, shape = shape_card(dataset_id, run)
    columns = _columns(dataset_id, data, run)
    if whom is None or not right:
        return None
    return ExportRequest.make(**whom, **what, **columns, **({"rerank": shape} if shape else {}))


# ---- for whom ----------------------------------------------------------------------------------------
def _whom(dataset_id: str, data: Any) -> dict[str, Any] | None:
    with card("For whom"):
        mode = st.segmented_control(
            "Users", list(WHOM), format_func=WHOM.get, key="export-whom", default="all", required=True,
            help="Who gets a list. Segments are thirds by activity, or rules on the user table.",
        )  # fmt: skip
        if mode == "list":
            return _from_list(dataset_id, data)
        chosen: dict[str, Any] = {}
        if mode == "segment":
            activity = st.segmented_control(
                "Activity", list(ACTIVITY), format_func=ACTIVITY.get, key="export-activity", default="all", required=True,
                help="Users ordered by their number of interactions, cut into three equal parts.",
            )  # fmt: skip
            chosen = {"activity": activity, "user_filters": column_filters("user", data.user_table, dataset_id)}
        try:
            who = audience(data, None, chosen.get("activity", "all"), chosen.get("user_filters", []))
        except BadInput as error:
            st.warning(f"{md(error.message)} {md(error.hint)}", icon=":material/warning:")
            return None
        st.caption(f"{count(len(who), 'user')} of {count(data.n_users)}.")
        return chosen


def _from_list(dataset_id: str, data: Any) -> dict[str, Any] | None:
    found = id_list_input("export-users", "user", data.users, dataset_id)
    if found is None:
        st.info("Paste user ids or upload a file with them.", icon=":material/info:")
        return None
    ids = found.ids
    if found.unknown:
        keep = st.toggle(
            "Give unknown users a list too",
            key="export-unknown",
            help="Off: users that are not in the dataset get no list. On: what is most popular, or what the model expects of anybody.",
        )
        ids = found.ids if keep else found.known
    if not ids:
        st.warning("No user is left to recommend to.", icon=":material/warning:")
        return None
    return {"users": ids}


# ---- which items -------------------------------------------------------------------------------------
def _what(dataset_id: str, data: Any, run: Any) -> dict[str, Any]:
    with card("Which items"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.session_state.setdefault("export-k", 10)  # Diversity may have said another length
            k = st.number_input(
                "Items per user", 1, 1000, key="export-k", width=160, help="Length of each list. Shorter where fewer items are left."
            )
            repeat = st.toggle(
                "Leave out what a user already had", value=True, key="export-exclude",
                help="Off: items of the history may be recommended again, as for things people buy repeatedly.",
            )  # fmt: skip
            untouched = run.parts or not np.bincount(data.item, minlength=data.n_items).all()
            new = untouched and st.toggle(
                "New items only", key="export-new",
                help="Only items that this recommender had no interaction of while it learnt. Choose one that reads columns, or a bridge.",
            )  # fmt: skip
        out: dict[str, Any] = {"k": int(k), "exclude_seen": repeat, "new_items_only": bool(new)}
        out["item_filters"] = column_filters("item", data.item_table, dataset_id)
        for name, title, about in (
            ("allow", "Only these items", "Only items on this list may appear: what is in stock, say."),
            ("deny", "Never these items", "Items on this list never appear."),
        ):
            with st.expander(title, icon=":material/playlist_add_check:" if name == "allow" else ":material/block:"):
                found = id_list_input(f"export-{name}", "item", data.items, dataset_id, help=about)
                if found is not None and not found.known and name == "allow":
                    raise BadInput("None of the items on the list 'Only these items' is in the dataset.", "Correct it or empty it.")
                if found is not None:
                    out[name] = found.known
    return out


def column_filters(side: str, table: pd.DataFrame | None, dataset_id: str) -> list[Filter]:
    """Rules on columns of the item or user table; every rule must hold."""
    if table is None or not table.shape[1]:
        if side == "user":
            st.caption("This dataset has no user table, so users can only be told apart by activity.")
        return []
    chosen = st.multiselect(
        f"Filter by {side} columns", [str(c) for c in table.columns], key=f"export-filter-{side}",
        help=f"Choose columns of the {side} table, then what they must hold. Where several are chosen, all must fit.",
        placeholder="No filter",
    )  # fmt: skip
    found = [_column_filter(side, column, table[column], dataset_id) for column in chosen]
    return [one for rules in found for one in rules if one.values]


def _column_filter(side: str, column: str, values: pd.Series, dataset_id: str) -> list[Filter]:
    key = f"export-{side}-{column}"
    label = short(column, 40)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.dropna()
        span = f"From {numbers.min():g} to {numbers.max():g} in the data." if len(numbers) else "The column is empty."
        with st.container(horizontal=True):
            low = st.number_input(f"{md(label)} at least", value=None, key=f"{key}-low", help=span, placeholder="any")
            high = st.number_input(f"{md(label)} at most", value=None, key=f"{key}-high", help=span, placeholder="any")
        limits = (("at least", low), ("at most", high))
        return [Filter(column=column, operator=operator, values=[limit]) for operator, limit in limits if limit is not None]
    options = _parts(str(state.root()), dataset_id, side, column)
    if len(options) > MOST_VALUES:
        word = st.text_input(f"{md(label)} contains", key=f"{key}-word", help="Upper and lower case are the same.")
        return [Filter(column=column, operator="contains", values=[word.strip()])] if word.strip() else []
    with st.container(horizontal=True, vertical_alignment="bottom"):
        operator = st.selectbox(f"{md(label)}", ["is any of", "is none of"], key=f"{key}-operator", width=160)
        wanted = st.multiselect(f"Values of {md(label)}", options, key=f"{key}-values", placeholder="Choose values")
    return [Filter(column=column, operator=operator, values=list(wanted))]


@st.cache_resource(max_entries=64, show_spinner=False)
def _parts(folder: str, dataset_id: str, side: str, column: str) -> list[str]:
    """What is in a column, `Drama|Comedy` counted as both, most frequent first."""
    data = state.dataset(dataset_id)
    values = (data.user_table if side == "user" else data.item_table)[column]
    parts = values.dropna().astype("str").str.split("|").explode().str.strip()
    return [str(one) for one in parts[parts != ""].value_counts().index[: MOST_VALUES + 1]]


# ---- columns -----------------------------------------------------------------------------------------
def _columns(dataset_id: str, data: Any, run: Any) -> dict[str, Any]:
    with card("The file"):
        out: dict[str, Any] = {}
        hints = item_names(dataset_id).hints
        for side, table in (("item", data.item_table), ("user", data.user_table)):
            if table is None or not table.shape[1]:
                continue
            names = [str(c) for c in table.columns]
            first = [hints[c] for c in ("title", "categories") if side == "item" and hints.get(c) in names]
            about = f"Columns of the {side} table, repeated in every row of the file."
            out[f"{side}_columns"] = st.multiselect(
                f"Add {side} columns", names, first, key=f"export-columns-{side}-{dataset_id}", help=about
            )
        if not out:
            st.caption("This dataset has no item or user table, so there are no columns to add: the file has user, item, rank and score.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            out["format"] = st.segmented_control(
                "Format", list(FORMATS), format_func=FORMATS.get, key="export-format", default="csv", required=True,
                help="CSV is safe to open in a spreadsheet: text that could run as a formula gets an apostrophe before it. "
                "Parquet keeps everything exactly as it is, for programs.",
            )  # fmt: skip
            name = st.text_input(
                "Name", key="export-name", max_chars=120, placeholder=short(f"{run.name}, top …", 60), help="Left empty, it is made up."
            )
        out["name"] = (name or "").strip()
    return out


def best_first(runs: Sequence[Any]) -> list[Any]:
    """Runs of the protocol used last, best first, then the others, newest first."""
    groups = groups_of(runs)
    name = served_measure(groups[0].runs) if groups else ""
    first = ranked(groups[0].runs, name) if name else []
    ids = {run.id for run in first}
    return [*first, *(run for run in runs if run.id not in ids)]


def figure(run: Any) -> str:
    """ " · NDCG@10 0.1234", or nothing where it was not measured."""
    name = served_measure([run])
    return f"{metric_label(name)} {score(run.metrics[name]['mean'])}" if name in run.metrics else ""


def n_cells(data: Any, n_users: int) -> int:
    """Scores the model has to work out: what an export costs."""
    return int(np.int64(n_users) * data.n_items)
