"""Preview, writing, and the exports that are kept in the workspace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.jobs import JobSpec
from recsys_core.store.export import ExportRequest

from . import state
from .components import card, confirm_delete, download, metric_row, rename_dialog, warnings_box
from .errors import action, error_box, notify
from .export_choice import n_cells
from .text import ago, count, md, short, size

SMALL_ROWS, SMALL_CELLS = 100_000, 100_000_000  # written while one waits; beyond that as a job
PREVIEW_USERS = 3
MIMES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


def preview_card(dataset_id: str, run: Any, request: ExportRequest) -> None:
    """The first rows and how many there will be, then the button that writes them."""
    with card("Preview", "The first rows as they will be written. Nothing is saved yet."):
        flag = f"_preview_{run.id}"
        if not st.session_state.get(flag):
            st.button("Preview", key="export-preview", type="primary", icon=":material/visibility:", on_click=_show, args=(flag,))
            return
        plain = request.model_dump(mode="json")
        try:
            with st.spinner("Making the first lists …", show_time=False):
                shown = state.scorer().preview_export(run.id, plain, PREVIEW_USERS)
        except WorkbenchError as error:
            error_box(error)
            return
        metric_row(
            [
                ("Rows", count(shown.n_rows), "Lines of the file, without the header."),
                ("Users", count(shown.n_users), "Who get a list."),
                ("Items allowed", count(shown.n_items_allowed), "Items that may appear, before leaving out what each user had."),
            ]
        )
        warnings_box(shown.notes)
        if not shown.n_rows:
            st.warning("The file would be empty: no allowed item is left for these users.", icon=":material/warning:")
            return
        st.dataframe(pd.DataFrame(shown.columns), hide_index=True, height=320, key="export-rows", alt="First rows of the export")
        small = shown.n_rows <= SMALL_ROWS and n_cells(state.dataset(dataset_id), shown.n_users) <= SMALL_CELLS
        written = _written(run.id, plain)
        with st.container(horizontal=True, vertical_alignment="center"):
            if written is None:
                label = f"Write {count(shown.n_rows, 'row')}"
                about = (dataset_id, run.id, run.name, plain, small)
                st.button(label, key="export-write", type="primary", icon=":material/save:", on_click=_write, args=about)
            else:
                download_entry(written, "Download the file", key="download-written", primary=True)
            st.caption("The file is kept in the workspace, and listed below." + ("" if small else " It is large: it is written as a job."))


def _show(flag: str) -> None:
    st.session_state[flag] = True


def _written(run_id: str, request: dict[str, Any]) -> Any:
    """The export just made of exactly this, if it is still there."""
    made = st.session_state.get("_written")
    if made is None or made[1:] != (run_id, request):
        return None
    return next((entry for entry in state.workspace().exports(run_id) if entry.id == made[0]), None)


@action
def _write(dataset_id: str, run_id: str, run_name: str, request: dict[str, Any], small: bool) -> None:
    if small:
        entry = state.workspace().export(state.scorer().write_export(run_id, request))
        st.session_state["_written"] = (entry.id, run_id, request)
        notify(f"Written: **{md(entry.name, 80)}**, {count(entry.rows, 'row')}.")
        return
    title = f"Export {request['name'] or run_name}"
    payload = {"dataset": dataset_id, "run": run_id, "request": request}
    state.queue().submit(JobSpec(kind="export", payload=payload, title=short(title, 80)))
    notify(f"Queued: **{md(title, 80)}**. It shows up under 'Files' when it is done.", "info")


# ---- what is kept ------------------------------------------------------------------------------------
def exports_card(runs: list[Any]) -> None:
    """The exports of these runs, newest first, with download, rename and delete."""
    ids = {run.id for run in runs}
    found = [entry for entry in state.workspace().exports() if entry.run_id in ids]
    with card("Files", "Exports of this dataset, kept in the workspace."):
        if not found:
            st.caption("Nothing exported yet.")
            return
        everything = len(found) <= 8 or st.toggle(f"Show all {count(len(found), 'file')}", key="export-all")
        for entry in found if everything else found[:8]:
            _entry(entry)


def _entry(entry: Any) -> None:
    with st.container(border=True, key=f"export-{entry.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{md(entry.name, 80)}**", width="stretch")
            if entry.file.exists():
                download_entry(entry, "Download", key=f"download-{entry.id}")
            else:
                st.caption("Its file is gone.")
            if st.button("Rename", key=f"rename-{entry.id}", icon=":material/edit:", type="tertiary"):
                rename_dialog("export", entry.name, lambda name: state.workspace().rename(entry.id, name))
            if st.button("Delete", key=f"delete-{entry.id}", icon=":material/delete:", type="tertiary"):
                confirm_delete("export", entry.name, [], lambda: state.workspace().delete(entry.id))
        facts = [
            count(entry.rows, "row"),
            count(entry.manifest.get("n_users"), "user"),
            f"by {entry.manifest.get('run_name', 'a deleted run')}",
            entry.file.suffix.lstrip(".").upper().replace("PARQUET", "Parquet"),
            size(entry.size_bytes),
            ago(entry.created),
        ]
        st.caption(md(" · ".join(facts)))
        for note in entry.manifest.get("notes", []):
            st.caption(f":material/info: {md(note)}")


def download_entry(entry: Any, label: str, *, key: str, primary: bool = False) -> None:
    """The file is read only when the button is clicked."""
    mime = MIMES.get(entry.file.suffix, "application/octet-stream")
    download(label, lambda: entry.file.read_bytes(), file_name(entry), key=key, mime=mime, primary=primary)


def file_name(entry: Any) -> str:
    """A name any file system takes."""
    plain = re.sub(r"[^\w.-]+", "-", entry.name, flags=re.UNICODE).strip("-.")[:80]
    return f"{plain or 'recommendations'}{Path(entry.file).suffix}"
