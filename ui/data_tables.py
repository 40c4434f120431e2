"""The optional item or user table of a new dataset."""

from __future__ import annotations

from typing import Any

import streamlit as st

from . import uploads
from .data_source import open_upload, server_choice
from .errors import action, guard
from .text import count, md

KEEP = {
    "items": (
        "Keep items nobody has chosen yet",
        "Items of the table that no interaction has stay in the catalogue: recommenders that read the table can show them. "
        "The report says how many there are.",
    ),
    "users": (
        "Keep users without interactions",
        "Users of the table that no interaction has stay in the data: recommenders that read the table can serve them. "
        "The report says how many there are.",
    ),
}


def side_table(upload: uploads.Upload, part: str, label: str) -> dict[str, Any]:
    """part: "items" or "users". Gives the plan's values for it: {"items_file": …, "items_id": …} or {}."""
    st.markdown(f"**{label}**")
    path = upload.path(part)
    if path is None:
        generation = st.session_state.setdefault(f"_uploader_{part}", 0)
        key = f"upload-{part}-{generation}"
        st.file_uploader(label, key=key, on_change=_take, args=(upload, part, key), label_visibility="collapsed")
        if uploads.server_folder() is not None:
            server_choice(part, f"server-{part}", upload)
        return {}
    out: dict[str, Any] = {f"{part}_file": str(path)}
    with guard():
        source = open_upload(upload, part)
        st.caption(f"{md(path.name, 60)}: {count(source.n_records, 'row')}, columns {md(', '.join(source.columns), 120)}")
        options = [None, *source.columns]
        out[f"{part}_id"] = st.selectbox(
            f"Id column of the {label.lower()}",
            options,
            format_func=lambda c: "Find out" if c is None else str(c),
            key=f"{part}-id-{upload.token}",
            help="The column whose values are the ids used in the interaction file.",
            persist_state="session",
        )
        out[f"keep_new_{part}"] = st.checkbox(
            KEEP[part][0], key=f"{part}-keep-new-{upload.token}", help=KEEP[part][1], persist_state="session"
        )
    st.button("Remove", key=f"remove-{part}", on_click=_remove, args=(upload, part))
    return out


@action
def _take(upload: uploads.Upload, part: str, key: str) -> None:
    given = st.session_state.get(key)
    if given is not None:
        upload.put(part, given.name, given)
        st.session_state[f"_uploader_{part}"] += 1


@action
def _remove(upload: uploads.Upload, part: str) -> None:
    upload.take_out(part)
