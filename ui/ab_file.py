"""A result file for the A/B page: uploaded, written to disk at once, read as text, its columns offered."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.errors import BadInput, DataError

from . import state, uploads
from .data_source import open_upload
from .errors import action
from .text import count, md, size

MOST_ROWS = 5_000_000


def chosen_file(name: str, label: str, about: str) -> pd.DataFrame | None:
    """All rows as text of the file of one tab (`name`: its place in the URL); the uploader and None until there is one."""
    upload = uploads.find(state.current(name))
    if upload is None:
        with st.container(border=True, key=f"{name}-choose"):
            st.subheader(label, anchor=False)
            st.caption(about)
            generation = st.session_state.setdefault(f"_uploader_{name}", 0)
            key = f"upload-{name}-{generation}"
            st.file_uploader(label, key=key, on_change=_take, args=(name, key), label_visibility="collapsed")
        return None
    with st.container(horizontal=True, vertical_alignment="center", key=f"{name}-file"):
        st.markdown(f":material/description: **{md(upload.name(), 80)}**", width="stretch")
        st.button("Choose another file", key=f"{name}-other", icon=":material/close:", on_click=_drop, args=(upload, name))
    frame, refused = _read(str(upload.path()), upload.path().stat().st_mtime_ns, upload)
    if refused:
        st.warning(f"{count(refused, 'row')} could not be read and are left out.", icon=":material/warning:")
    st.caption(f"{count(len(frame), 'row')}, {count(frame.shape[1], 'column')}")
    return frame


@st.cache_resource(max_entries=4, show_spinner="Reading the file …")
def _read(path: str, stamp: int, _upload: uploads.Upload) -> tuple[pd.DataFrame, int]:
    from recsys_core.data.ingest.tables import read_table

    source = open_upload(_upload)
    if source.n_records > MOST_ROWS:
        raise DataError(
            f"Result files may have at most {MOST_ROWS:,} rows; this one has {source.n_records:,}.", "Add up the rows of a user first."
        )
    _, frame, refused = read_table(source)
    return frame, refused


def column(label: str, key: str, columns: list[str], guess: Any, *, help: str, optional: bool = False) -> str | None:
    """One column by its role."""
    options = [None, *columns] if optional else columns
    st.session_state.setdefault(key, guess if guess in columns else options[0])
    if st.session_state[key] not in options:
        st.session_state[key] = options[0]
    return st.selectbox(label, options, format_func=lambda c: "None" if c is None else str(c), key=key, help=help)


@action
def _take(name: str, key: str) -> None:
    given = st.session_state.get(key)
    if given is None:
        return
    limit = int(st.get_option("server.maxUploadSize")) << 20
    if given.size > limit:
        raise BadInput(f"Uploads may have at most {size(limit)}; got {size(given.size)}.", "Add up the rows of a user first.")
    upload = uploads.new()
    upload.put("main", given.name, given)
    st.session_state[f"_uploader_{name}"] += 1
    state.remember(**{name: upload.token})


@action
def _drop(upload: uploads.Upload, name: str) -> None:
    upload.drop()
    state.remember(**{name: None})
