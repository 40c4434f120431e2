"""On the tab "Health": what happened since training is taken into the model, and the service goes on with it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.jobs import JobSpec
from recsys_core.serving.services import LocalService

from . import state
from .errors import action, guarded
from .jobs import job_list, jobs_of, live_jobs
from .live_data import services
from .text import md, short

KIND, SECONDS = "update", 2.0
TAKEN = "_live_taken"  # ids of update jobs whose bundle was handed to the service


def update_box(service: LocalService, dataset_id: str, run: Any) -> None:
    """The button, the job, and what became of the events."""
    mine = [job for job in jobs_of(kinds=(KIND,)) if job.spec.payload.get("bundle") == service.id]
    busy = live_jobs(kinds=(KIND,), ids={job.id for job in mine})
    with st.container(border=True, key="live-update"):
        st.markdown("**Take in what happened since training**")
        if not registry.get("model", run.model_key).can_update():
            st.caption("This recommender learns something of every user in training, so it is brought up to date by training it again.")
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Take the events in", key="live-update-go", icon=":material/update:", disabled=bool(busy) or not _any(service),
                on_click=_submit, args=(service.id, str(service.events), dataset_id, run.id, run.name),
            )  # fmt: skip
            said = "Histories, popularity and, where the model can, its items are brought up to now. Nothing is trained again."
            st.caption(said if _any(service) else "Nothing has happened yet: click something under 'Try it'.", width="stretch")
        if busy:
            job_list("live-update-jobs", ids={job.id for job in mine}, keep=0)
        elif mine and mine[0].submitted >= service.started:  # a service that was started anew serves the bundle as it was made
            _ended(service, mine[0])


def _any(service: LocalService) -> bool:
    return service.events.is_file() and service.events.stat().st_size > 0


def _ended(service: LocalService, job: Any) -> None:
    """What became of the events, and whether the service goes on with them: it looks every other second and checks what it finds."""
    if job.state != "done":
        st.error(f"**The events could not be taken in.** {md(job.reason)}", icon=":material/error:")
        return
    result = job.result or {}
    entry = next((entry for entry in state.workspace().bundles() if entry.id == result.get("bundle")), None)
    if entry is None:
        st.caption("The bundle with these events was deleted; take the events in again.")
        return
    taken = st.session_state.setdefault(TAKEN, set())
    if job.id not in taken:
        services().swap(service, entry.file)
        taken.add(job.id)
    told = md(result.get("sentence", ""))

    @st.fragment(run_every=None if _serves(service, entry.fingerprint)[0] else SECONDS, key="live-update-fragment")
    @guarded
    def draw() -> None:
        serves, problem = _serves(service, entry.fingerprint)
        if serves:
            st.success(f"{told} The service goes on with them.", icon=":material/check_circle:")
        elif problem:
            st.warning(f"{told} But the service goes on without them: {md(problem)}", icon=":material/warning:")
        else:
            st.info(f"{told} The service is checking the new bundle …", icon=":material/hourglass_empty:")

    draw()


def _serves(service: LocalService, fingerprint: str) -> tuple[bool, str]:
    """(whether the service answers from this bundle now, why it does not want to)."""
    try:
        bundle = service.client.health().get("bundle") or {}
    except WorkbenchError as error:
        return False, error.message
    return bundle.get("fingerprint") == fingerprint, str(bundle.get("problem") or "")


@action
def _submit(bundle: str, events: str, dataset_id: str, run_id: str, name: str) -> None:
    payload = {"bundle": bundle, "events": events, "dataset": dataset_id, "run": run_id}
    state.queue().submit(JobSpec(kind=KIND, payload=payload, title=short(f"New events for {name}", 80)))
