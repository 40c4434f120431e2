"""Start and stop the service of a run: one button, what it is doing, where it listens."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import NotFound, WorkbenchError
from recsys_core.jobs import JobSpec
from recsys_core.serving.services import LocalService

from . import state
from .bundle_form import not_for_bundles
from .errors import action, error_box, notify
from .jobs import job_list, jobs_of, live_jobs
from .live_data import bundle_id, bundle_of, curl, services
from .text import ago, md, short

WANTED = "_live_wanted"  # run id -> a service was asked for; it starts when its bundle is there


def service_bar(dataset_id: str, run: Any, user: str = "") -> LocalService | None:
    """Draws the state of the run's service and what can be done; the service where it runs."""
    services().clean([entry.id for entry in state.workspace().bundles()])  # of runs and bundles that were deleted
    service = services().find(bundle_id(run.id))
    with st.container(border=True, key="live-service"):
        if service is not None and service.alive:
            _running(service, user)
            return service
        reason = not_for_bundles(run)
        if reason:
            st.info(md(reason), icon=":material/info:")
            return None
        if _coming(run):
            return None
        if service is not None:
            st.error(f"**The service ended by itself.** {md(short(service.why_ended(), 200))}", icon=":material/error:")
        with st.container(horizontal=True, vertical_alignment="center"):
            label = "Start the service again" if service is not None else "Start the service"
            st.button(
                label, key="live-start", type="primary", icon=":material/play_arrow:", on_click=_start, args=(dataset_id, run.id, run.name)
            )
            there = bundle_of(run.id) is not None
            st.caption(
                "Answers on this machine only, in a process of its own."
                if there
                else "First the recommender is made into a bundle, which takes some seconds; then it answers on this machine only.",
                width="stretch",
            )
    return None


def _running(service: LocalService, user: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":green-badge[:material/check_circle: Running] `{service.url}`", width="content")
        st.caption(f"Started {ago(service.started)}", width="stretch")
        st.button("Stop", key="live-stop", icon=":material/stop_circle:", on_click=_stop, args=(service.id,))
    with st.expander("Ask it from a command line", key="live-curl", type="compact"):
        st.code(curl(service, user or "u1"), language="bash", wrap_lines=True)
        st.caption(f"All it can be asked is described at [/docs]({service.url}/docs).")


def _coming(run: Any) -> bool:
    """Whether a service that was asked for is on its way; draws how far it is."""
    if run.id not in st.session_state.get(WANTED, {}):
        return False
    if bundle_of(run.id) is not None:
        return _started(run)
    key = f"bundle-{bundle_id(run.id)}"
    mine = [job for job in jobs_of(kinds=("bundle",)) if job.spec.key == key or job.id == key]
    if not live_jobs(kinds=("bundle",), ids={job.id for job in mine}):
        st.session_state[WANTED].pop(run.id)
        for job in mine[:1]:
            if job.state != "done":
                st.error(f"**The bundle could not be made.** {md(job.reason)}", icon=":material/error:")
        return False
    st.markdown("**Making the bundle** · the service starts right after it.")
    job_list("live-bundle", ids={job.id for job in mine}, keep=0)
    return True


def _started(run: Any) -> bool:
    """Start it now that the bundle is there; the page is drawn anew with it."""
    st.session_state[WANTED].pop(run.id)
    try:
        with st.spinner("Starting the service …", show_time=False):
            services().start(bundle_of(run.id))
    except WorkbenchError as error:
        error_box(error)
        return False
    st.rerun(scope="app")
    return True


@action
def _start(dataset_id: str, run_id: str, name: str) -> None:
    st.session_state.setdefault(WANTED, {})[run_id] = True
    if bundle_of(run_id) is None:
        payload = {"dataset": dataset_id, "run": run_id}
        title = short(f"Bundle of {name}", 80)
        state.queue().submit(JobSpec(kind="bundle", payload=payload, title=title, key=f"bundle-{bundle_id(run_id)}"))


@action
def _stop(service_id: str) -> None:
    services().stop(service_id)


@action
def start_over(run_id: str) -> None:
    """The same service without the events of before."""
    entry = bundle_of(run_id)
    if entry is None:
        raise NotFound("The bundle of this service was deleted.", "Reload the page, and start the service again.")
    services().start(entry, forget=True)
    notify("The service has forgotten every event.", "info")
