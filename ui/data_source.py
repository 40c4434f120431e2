"""Step one of a new dataset: which file, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from recsys_core.errors import BadInput, DataError

from . import state, uploads
from .errors import action
from .text import count, md, size

ENCODINGS = {
    None: "Find out",
    "utf-8": "UTF-8",
    "latin-1": "Latin-1 (Western European)",
    "cp1252": "Windows-1252",
    "utf-16": "UTF-16",
    "gbk": "GBK (Chinese)",
}
DELIMITERS = {None: "Find out", ",": "Comma  ,", "\t": "Tab", ";": "Semicolon  ;", "|": "Bar  |", "::": "Double colon  ::"}
HEADERS = {None: "Find out", True: "First row holds the names", False: "No names, data from the first row"}
ALL_MEMBERS = "*"


def choose_file() -> None:
    """Upload a file, or take one from the configured folder on the server."""
    with st.container(border=True):
        st.subheader("Choose a file", anchor=False)
        st.caption(
            "One row for each interaction: who, what, and if you have it how much and when. CSV, TSV and similar text, plain or "
            "packed (gzip, zip), or Parquet. It need not be clean: rows that cannot be read are listed, never lost."
        )
        generation = st.session_state.setdefault("_uploader", 0)
        key = f"upload-main-{generation}"
        st.file_uploader("Interaction file", key=key, on_change=_take_upload, args=(key,))
        if uploads.server_folder() is None:
            about = (
                "For larger files, start the app with RECSYS_DATA_DIR set to a folder: its files can then be chosen here without an upload."
            )
            st.caption(about)
        else:
            with st.expander("Use a file on the server", icon=":material/dns:", expanded=False):
                st.caption("For files too large to upload.")
                server_choice("main", "server-main")


@action
def _take_upload(key: str) -> None:
    """Write the upload to disk at once and empty the uploader, which would keep it in memory."""
    given = st.session_state.get(key)
    if given is None:
        return
    limit = int(st.get_option("server.maxUploadSize")) << 20  # the browser checks it too, but a browser can be told anything
    if given.size > limit:
        raise BadInput(f"Uploads may have at most {size(limit)}; got {size(given.size)}.", "Use a file on the server instead.")
    upload = uploads.new()
    upload.put("main", given.name, given)
    st.session_state["_uploader"] += 1
    state.remember(upload=upload.token)


def server_choice(part: str, key: str, upload: uploads.Upload | None = None) -> None:
    """A path below the server folder, picked or typed."""
    files = uploads.server_files()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "File below the server folder", files, index=None, key=key, accept_new_options=True, placeholder="Choose or type a path"
        )  # fmt: skip
        st.button("Use this file", key=f"{key}-use", on_click=_take_server, args=(key, part, upload))


@action
def _take_server(key: str, part: str, upload: uploads.Upload | None) -> None:
    chosen = st.session_state.get(key)
    uploads.server_path(chosen or "")  # refuses before anything is made
    upload = upload or uploads.new()
    upload.point(part, chosen)
    state.remember(upload=upload.token)


# ---- reading ---------------------------------------------------------------------------------------
@st.cache_resource(max_entries=8, show_spinner="Reading the file …")
def _open(
    path: str, stamp: tuple[int, int], name: str, member: str | None, encoding: str | None, delimiter: str | None, header: bool | None
) -> Any:
    from recsys_core.data.ingest import open_source

    return open_source(path, name=name, member=member, encoding=encoding, delimiter=delimiter, header=header)


@st.cache_resource(max_entries=8, show_spinner="Looking at the columns …")
def _guess(_source: Any, path: str, stamp: tuple[int, int], *options: Any) -> Any:
    from recsys_core.data.ingest import guess_columns

    return guess_columns(_source)


def open_upload(upload: uploads.Upload, part: str = "main", **options: Any) -> Any:
    """The recognised file of a part, cached until it changes. Raises DataError."""
    path = upload.path(part)
    if path is None:
        raise DataError("The file is gone.", "Choose it again.")
    chosen = (options.get("member"), options.get("encoding"), options.get("delimiter"), options.get("header"))
    return _open(str(path), _stamp(path), path.name, *chosen)


def guess_of(upload: uploads.Upload, source: Any, **options: Any) -> Any:
    """The suggested roles of its columns, cached likewise."""
    path = upload.path() or Path()
    return _guess(source, str(path), _stamp(path), *(options.get(n) for n in ("member", "encoding", "delimiter", "header")))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def reading_options(upload: uploads.Upload) -> dict[str, Any]:
    """What the user decided about reading, from the widgets drawn by `file_card`; None = find out."""
    return {n: st.session_state.get(f"{n}-{upload.token}") for n in ("member", "encoding", "delimiter", "header")}


def file_card(upload: uploads.Upload, source: Any | None) -> None:
    """What the file is and how it is read, with the way to read it differently."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"#### {md(upload.name(), 80)}", width="stretch")
            st.button("Choose another file", key="other-file", icon=":material/close:", on_click=_drop, args=(upload,))
        if source is not None:
            st.caption(_facts(source))
            for note in source.notes:
                st.caption(f":material/info: {md(note)}")
        with st.expander("Read it differently", icon=":material/settings:", expanded=source is None):
            if source is None or len(source.members) > 1:
                _member(upload, source)
            with st.grid(3, min_column_width=220):
                _option(upload, "delimiter", "Separator between columns", DELIMITERS)
                _option(upload, "encoding", "Text encoding", ENCODINGS)
                _option(upload, "header", "Column names", HEADERS)
        if source is not None:
            st.dataframe(
                source.sample(50),
                height=212,
                hide_index=True,
                key=f"rows-{upload.token}",
                alt="First rows of the file as text",
                placeholder="empty",
            )


def _facts(source: Any) -> str:
    parts = [count(source.n_records, "row"), count(len(source.columns), "column"), size(source.n_bytes)]
    if source.form == "parquet":
        return " · ".join([*parts, "Parquet"])
    separator = DELIMITERS.get(source.delimiter, source.delimiter or "").split("  ")[0].lower()
    encoding = f"{source.encoding.upper()}{' (assumed)' if source.encoding_assumed else ''}"
    parts += [f"separated by {md(separator)}"] if separator else []
    return " · ".join([*parts, md(encoding), "with column names" if source.header else "without column names"])


def _member(upload: uploads.Upload, source: Any | None) -> None:
    members = list(source.members) if source is not None else list(st.session_state.get(f"_members-{upload.token}", ()))
    st.session_state[f"_members-{upload.token}"] = members
    if len(members) > 1:
        names = {None: "Find out", ALL_MEMBERS: "All files as one table"} | {m: m for m in members}
        _option(upload, "member", "File in the zip", names)


def _option(upload: uploads.Upload, name: str, label: str, choices: dict[Any, str]) -> None:
    st.selectbox(label, list(choices), format_func=lambda v: choices.get(v, str(v)), key=f"{name}-{upload.token}", persist_state="session")


@action
def _drop(upload: uploads.Upload) -> None:
    upload.drop()
    state.remember(upload=None)
