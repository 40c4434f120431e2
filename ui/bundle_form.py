"""A run as one file for real time: what goes into it, and the job that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.data.ingest.tables import column_hints
from recsys_core.errors import NotFound
from recsys_core.jobs import JobSpec
from recsys_core.store.bundles import MOST_PRUNED, BundleRequest

from . import state
from .components import card
from .errors import action, notify
from .text import md, short

NUMBERS = {"": "As learnt", "float16": "Half the length", "int8": "Whole numbers"}
ABOUT_NUMBERS = (
    "Shorter numbers take less memory: a half (float16) or about a quarter (int8). They are used only if the lists stay as they are: at "
    "least 95 % of the items of a list of 20 the same, and at most 1 % of NDCG@20 lost. Otherwise the numbers stay as learnt, and the "
    "report says so."
)
ABOUT_PRUNE = "Takes out the least useful factors, units or heads of the model. Used only if the lists stay as they are. 0: nothing."
ABOUT_USERS = (
    "On: the file knows its users, under hashes of their ids, and answers for them right away. Off: it holds no user's past; whoever asks "
    "sends the history along."
)
ABOUT_COMPARE = (
    "The report then says what whole numbers (int8) and taking out 30 % would save and change, beside what you chose. It takes a few "
    "seconds more and does not change the file."
)


def bundle_form(dataset_id: str, run: Any) -> None:
    """The choices and the button."""
    with card("A bundle for real time", "One file that answers in milliseconds, on machines without PyTorch too, with a report beside it."):
        reason = not_for_bundles(run)
        if reason:
            st.info(md(reason), icon=":material/info:")
            return
        request = _request(dataset_id)
        bundle_id = request.bundle_id(run.id)
        made = next((entry for entry in state.workspace().bundles(run.id) if entry.id == bundle_id), None)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Make the bundle", key="bundle-make", type="primary", icon=":material/deployed_code:", disabled=made is not None,
                on_click=_make, args=(dataset_id, run.id, run.name, request.model_dump(mode="json"), bundle_id),
            )  # fmt: skip
            st.caption("This bundle is made: it is listed below." if made else "Takes some seconds, in the background.")


def not_for_bundles(run: Any) -> str:
    """Why there can be no bundle of this run, as far as its model tells; "" where there can."""
    try:
        model = registry.get("model", run.model_key)
    except NotFound:
        return "The model of this result is not installed, so it cannot be bundled."
    return "" if model.can_bundle() else f"{model.label} cannot be bundled. Choose another result, or a fusion of others."


def _request(dataset_id: str) -> BundleRequest:
    """What was chosen."""
    left, right = st.columns(2, gap="medium")
    with left:
        numbers = st.segmented_control(
            "Numbers", list(NUMBERS), format_func=NUMBERS.get, key="bundle-numbers", default="", required=True, help=ABOUT_NUMBERS,
            persist_state="session",
        )  # fmt: skip
        prune = st.slider(
            "Take out the least useful parts", 0, int(100 * MOST_PRUNED), 0, 5, format="%d %%", key="bundle-prune", help=ABOUT_PRUNE,
            persist_state="session",
        )  # fmt: skip
    with right:
        columns = _columns(dataset_id)
        licence = st.text_input(
            "Licence note", key="bundle-licence", max_chars=300, placeholder="What may be done with the file",
            help="Goes into the file. A bundle is made of the data it was trained on: what is allowed depends on whose they are.",
            persist_state="session",
        )  # fmt: skip
    users = st.toggle("Take the histories of users along", value=True, key="bundle-users", help=ABOUT_USERS, persist_state="session")
    compare = st.toggle("Measure smaller variants too", value=True, key="bundle-compare", help=ABOUT_COMPARE, persist_state="session")
    return BundleRequest.make(
        quantize="int8" if numbers == "int8" else None,
        float16=numbers == "float16",
        prune=prune / 100 if prune else None,
        with_users=users,
        columns=columns,
        licence=licence.strip(),
        compare=compare,
    )


def _columns(dataset_id: str) -> Sequence[str] | None:
    """The chosen columns of the item table; None where they are those taken anyway."""
    table = state.dataset(dataset_id).item_table
    if table is None or not len(table.columns):
        st.caption("The dataset has no item table: the file holds item ids only.")
        return None
    usual = _usual(dataset_id)
    chosen = st.multiselect(
        "Columns of the item table", [str(name) for name in table.columns], default=usual, key=f"bundle-columns-{dataset_id}",
        format_func=lambda name: short(name, 40), help="Goes along with the items: to show them, and to filter lists by.",
    )  # fmt: skip
    return None if chosen == usual else tuple(chosen)


@st.cache_data(max_entries=32, show_spinner=False)
def _usual(dataset_id: str) -> list[str]:
    hints = column_hints(state.dataset(dataset_id).item_table)
    return [hints[role] for role in ("title", "categories") if hints[role]]


@action
def _make(dataset_id: str, run_id: str, run_name: str, request: dict[str, Any], bundle_id: str) -> None:
    title = f"Bundle of {run_name}"
    payload = {"dataset": dataset_id, "run": run_id} | request
    state.queue().submit(JobSpec(kind="bundle", payload=payload, title=short(title, 80), key=f"bundle-{bundle_id}"))
    notify(f"Queued: **{md(title, 80)}**. It shows up under 'Bundles' when it is done.", "info")
