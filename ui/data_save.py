"""Step three of a new dataset: name it and save it; small files at once, big ones as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from recsys_core.context import Progress, RunContext

from . import state, uploads
from .errors import guard, notify
from .jobs import job_list, live_jobs
from .text import md, size

INLINE_BYTES = 24 << 20


def save_card(upload: uploads.Upload, source: Any, plan: Any, options: dict[str, Any]) -> None:
    """Name and button; on success the page shows the saved dataset."""
    with st.container(border=True):
        st.subheader("Save", anchor=False)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            start = Path(source.name).name.split(".")[0].replace("_", " ").replace("-", " ").strip().capitalize() or "Dataset"
            about = "How it is called everywhere. A saved dataset never changes."
            name = st.text_input("Name of the dataset", value=start, max_chars=80, key=f"name-{upload.token}", help=about)
            clicked = st.button("Save dataset", type="primary", key="save-dataset", icon=":material/save:")
        big = source.n_bytes > INLINE_BYTES
        if big:
            st.caption(f"{size(source.n_bytes)} are read in the background; you may leave this page meanwhile.")
        if clicked:
            with guard():
                if big:
                    _submit(upload, source, plan, options, name)
                else:
                    _save(upload, source, plan, name)


def _save(upload: uploads.Upload, source: Any, plan: Any, name: str) -> None:
    from recsys_core.data.ingest import ingest

    bar = st.progress(0.0, text="Reading")

    def show(step: Progress) -> None:
        bar.progress(min(1.0, step.fraction or 0.0), text=md(step.stage))

    try:
        result = ingest(source, plan, RunContext(on_progress=show), work_dir=upload.folder)
        entry = state.workspace().add_dataset(result, name, plan=plan)
    finally:
        bar.empty()
    finish(entry.name, entry.id, entry.already)
    upload.drop()
    st.rerun()


def _submit(upload: uploads.Upload, source: Any, plan: Any, options: dict[str, Any], name: str) -> None:
    from recsys_core.jobs import JobSpec

    path = upload.path()
    reading = {key: value for key, value in options.items() if value is not None} | {"name": upload.name()}
    payload = {"path": str(path), "name": name, "plan": plan.model_dump(mode="json"), "source": reading, "upload": upload.owns()}
    job = state.queue().submit(JobSpec(kind="ingest", payload=payload, title=f"Reading {upload.name()}"))
    state.remember(upload=None, reading=job.id)
    st.rerun()


def reading_jobs() -> None:
    """Files being read in the background; the finished one is opened."""
    waiting = state.current("reading")
    if waiting:
        with guard():
            job = state.queue().job(waiting)
            if job.state == "done":
                entry = state.workspace().dataset(job.result["dataset"])
                state.remember(reading=None)
                finish(entry.name, entry.id, bool(job.result.get("already")))
                st.rerun()
    if live_jobs(kinds=("ingest",)) or waiting:
        st.subheader("Reading", anchor=False)
        job_list("reading-jobs", kinds=("ingest",), keep=1)


def finish(name: str, dataset_id: str, already: bool) -> None:
    """Show the saved dataset next, and say whether it is new."""
    state.remember(upload=None, dataset=dataset_id, view=None)
    if already:
        notify(f"This data is here already, as **{md(name)}**. Nothing was saved twice.", "info")
    else:
        notify(f"Saved as **{md(name)}**.")
