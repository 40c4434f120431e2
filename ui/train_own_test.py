"""Your own test file on the Train page: upload, say which column is what, save beside the dataset, choose."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import DataError, WorkbenchError

from . import state, uploads
from .components import download
from .data_source import guess_of, open_upload
from .errors import action, error_box, guard
from .text import count, day, md

OWN_TEST = "own_test"
TOKEN = "_own_test_upload"
NOT_FOR_TESTS = ("half_life_days", "items_file", "items_id", "users_file", "users_id")
ROLES = {"user": "User", "item": "Item", "value": "Value", "event": "Event type", "time": "Time"}


def own_test_picker(entry: Any) -> str | None:
    """The id of the chosen test file of a dataset, or None while there is none."""
    saved = {test["id"]: test for test in entry.tests()}
    upload = uploads.find(st.session_state.get(TOKEN))
    chosen = None
    if saved:
        key = f"own-test-{entry.id}"
        if st.session_state.get(key) not in saved:
            st.session_state[key] = next(iter(saved))
        chosen = st.selectbox(
            "Test file",
            list(saved),
            format_func=lambda i: _label(saved[i]) if i in saved else str(i),
            key=key,
            help="Read once, after training, to measure the lists. Nothing is learnt from it.",
        )
        _what_became(entry, saved[chosen])
    if upload is None:
        generation = st.session_state.setdefault("_own_test_generation", 0)
        widget = f"upload-test-{generation}"
        st.file_uploader(
            "Upload another test file" if saved else "Upload a test file",
            key=widget,
            on_change=_take_upload,
            args=(widget,),
            help="One row for each held-out interaction, with the same user and item ids as the dataset. CSV and similar, or Parquet.",
        )
    else:
        with guard():
            _map_and_save(entry, upload)
    return chosen


def _what_became(entry: Any, test: dict[str, Any]) -> None:
    """The rows of a saved test file: read = kept + merged + left out + rejected, and the rejected ones to download."""
    rows = test.get("rows")
    if not rows:
        return
    told = f"{rows['read']:,} rows read = {rows['kept']:,} kept + {rows['merged']:,} merged + {rows['filtered']:,} left out"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{md(told)} \\+ {rows['rejected']:,} rejected.", width="content")
        rejects = next(iter(sorted((entry.path / "tests" / test["id"]).glob("rejects*"))), None)
        if rows["rejected"] and rejects is not None:
            name = f"rejected rows of {test['name']}{''.join(rejects.suffixes[-2:])}"
            download("Download rejected rows", rejects.read_bytes, name, key="own-test-rejects", mime="application/gzip")


def _label(test: dict[str, Any]) -> str:
    return f"{test['name']} ({count(test['stats']['n_interactions'], 'interaction')}, {day(test['created'])})"


@action
def _take_upload(key: str) -> None:
    given = st.session_state.get(key)
    if given is None:
        return
    upload = uploads.new()
    upload.put("main", given.name, given)
    st.session_state["_own_test_generation"] += 1
    st.session_state[TOKEN] = upload.token


@action
def _drop(upload: uploads.Upload) -> None:
    upload.drop()
    st.session_state.pop(TOKEN, None)


def _map_and_save(entry: Any, upload: uploads.Upload) -> None:
    """Columns of the uploaded file, then Save; the dataset's own plan says how values are read."""
    with st.container(border=True, key="own-test-file"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{md(upload.name(), 80)}**", width="stretch")
            st.button("Choose another file", key="own-test-other", on_click=_drop, args=(upload,), type="tertiary", icon=":material/close:")
        try:
            source = open_upload(upload)
            suggested = suggested_columns(entry.plan, source.columns, guess_of(upload, source))
        except WorkbenchError as error:
            error_box(error)
            return
        st.caption(f"{count(source.n_records, 'row')}. Say which column holds what; ids must be written as in the dataset.")
        columns: dict[str, str | None] = {}
        with st.grid(3, min_column_width=200, gap="medium"):
            for role in roles_needed(entry):
                needed = role in ("user", "item")
                options = list(source.columns) if needed else [None, *source.columns]
                start = suggested.get(role)
                columns[role] = st.selectbox(
                    f"{ROLES[role]} column",
                    options,
                    index=options.index(start) if start in options else None if needed else 0,
                    format_func=lambda c: "none" if c is None else str(c),
                    key=f"own-test-{role}-{upload.token}",
                    placeholder="Choose a column",
                )
        if st.button("Save test file", key="own-test-save", icon=":material/save:"):
            with guard():
                test = save_test(entry, upload, source, columns)
                st.session_state[f"own-test-{entry.id}"] = test["id"]
                _drop(upload)
                st.rerun()


def roles_needed(entry: Any) -> tuple[str, ...]:
    """The columns a test file of this dataset may have: those the dataset itself was read from."""
    columns = entry.plan.get("columns") or {}
    return tuple(role for role in ROLES if role in ("user", "item") or columns.get(role) or (role == "value" and entry.stats.has_ratings))


def suggested_columns(plan: dict[str, Any], columns: list[str], guess: Any) -> dict[str, str | None]:
    """The dataset's own column names where the file has them, else what the guess says."""
    own = plan.get("columns") or {}
    return {role: own[role] if own.get(role) in columns else getattr(guess.roles.get(role), "column", None) for role in ROLES}


def save_test(entry: Any, upload: uploads.Upload, source: Any, columns: dict[str, str | None]) -> dict[str, Any]:
    """Read the file as the dataset was read, without its filters, and keep it beside the dataset. Raises DataError."""
    from recsys_core.data.ingest import ingest

    plan = plan_of_test(entry, columns)
    result = ingest(source, plan, work_dir=upload.folder, learnable=False)
    users, items = entry.ids()
    known_users = int((users.encode(result.dataset.users.ids) >= 0).sum())
    known_items = int((items.encode(result.dataset.items.ids) >= 0).sum())
    if not known_items:
        raise DataError(
            "The test file and the dataset have no item in common.", "Check the item column; ids must be written as in the dataset."
        )
    test = state.workspace().add_test(entry.id, result, upload.name())
    st.session_state["_queued"] = (
        f"Test file saved. {known_users:,} of its {result.dataset.n_users:,} users and {known_items:,} of its "
        f"{result.dataset.n_items:,} items are in the dataset."
    )
    return test


def plan_of_test(entry: Any, columns: dict[str, str | None]) -> Any:
    """The plan the dataset was read by, for the columns of this file and without filters, decay and tables."""
    from recsys_core.data.ingest import IngestPlan
    from recsys_core.data.ingest.plan import Columns
    from recsys_core.errors import ParamError

    if not columns.get("user") or not columns.get("item"):
        raise DataError("A test file needs a user and an item column.", "Choose both.")
    if columns["user"] == columns["item"]:
        raise DataError(f"The user and the item column must differ; both are '{columns['user']}'.", "Choose another one.")
    if entry.stats.has_ratings and not columns.get("value"):
        raise DataError("This dataset has ratings, so a test file needs a value column with ratings too.", "Choose the value column.")
    own = {name: value for name, value in entry.plan.items() if name in IngestPlan.model_fields}
    own |= {"min_user": 1, "min_item": 1, "keep_new_items": False, "keep_new_users": False} | dict.fromkeys(NOT_FOR_TESTS)
    if not columns.get("value") and own.get("value_is") != "none":
        own["value_is"] = "none"
    try:
        return IngestPlan(**(own | {"columns": Columns(**columns)}))
    except ValueError as error:
        raise ParamError(f"The test file cannot be read like the dataset: {error}.", "Choose the columns again.") from None
