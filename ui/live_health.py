"""The tab "Health": how the service of the run is doing, and its logs as files."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.serving.services import LocalService

from . import charts, live_charts
from .components import download, metric_row, warnings_box
from .errors import guarded
from .live_data import event_csv, request_csv, services
from .live_service import service_bar
from .live_update import update_box
from .text import count, md, number, share

SECONDS = 2.0


def health_tab(dataset_id: str, run: Any) -> None:
    """The whole tab; it polls only while a service runs."""
    service = service_bar(dataset_id, run)
    if service is None:
        st.caption("How fast it answers, errors and drift are shown here while the service runs.")
        return

    @st.fragment(run_every=SECONDS, key="live-health")
    @guarded
    def draw() -> None:
        try:
            health = services().sample(service)
        except WorkbenchError as error:
            if not service.alive:
                st.rerun(scope="app")
            st.warning(f"{md(error.message)} {md(error.hint)}", icon=":material/warning:")
            return
        _figures(health)
        _charts(service, health)

    draw()
    update_box(service, dataset_id, run)
    _files(service)


def _figures(health: dict[str, Any]) -> None:
    stats = health.get("stats") or {}
    if health.get("problems"):
        warnings_box(health["problems"], intro="The service answers, but something is wrong:")
    window = count(round(stats.get("window_seconds") or 60), "second")

    def ms(name: str) -> str:
        value = stats.get(name)
        return "–" if value is None else f"{number(value)} ms"

    about = f"Over the last {window}."
    metric_row([
        ("Requests a second", number(stats.get("requests_per_second"), 3), about),
        ("p50", ms("p50_ms"), "Half of the requests were answered faster than this."),
        ("p95", ms("p95_ms"), "95 of 100 were answered faster."),
        ("p99", ms("p99_ms"), "99 of 100 were answered faster."),
        ("Errors", count(stats.get("errors")), "Requests the service failed at. What was asked wrongly is none of them."),
        ("From the cache", share(stats.get("cache_hit_rate")), "Lists that were asked for again and had not changed."),
    ])  # fmt: skip


def _charts(service: LocalService, health: dict[str, Any]) -> None:
    samples = [one for one in services().history(service) if one.get("p50_ms") is not None]
    if len(samples) > 1:
        note = "Each point tells of the minute before it. Requests to /health are not counted."
        charts.show(live_charts.speed(samples[-240:]), "How fast does it answer?", key="live-speed", note=note)
    else:
        st.caption("Nobody asked it anything in the last minute. Click something under 'Try it'.")
    drift = health.get("drift") or {}
    st.markdown("**Does the model still foretell what people do?**")
    if drift.get("retrain"):
        st.warning(md(drift.get("sentence", "")), icon=":material/model_training:")
    elif drift.get("sentence"):
        st.caption(md(drift["sentence"]))
    if len(drift.get("points") or ()) > 1:
        charts.show(
            live_charts.drift(drift["points"], drift.get("reference")), "Liked items that were on the list of ten", key="live-drift"
        )


def _files(service: LocalService) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        download("Requests as CSV", lambda: request_csv(service), "requests.csv", key="live-requests")
        download("Events as CSV", lambda: event_csv(service), "events.csv", key="live-events")
        st.caption("The request log knows users only by a hash; the events hold their ids.", width="stretch")
