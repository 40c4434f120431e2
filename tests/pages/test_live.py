"""Live: empty, without a bundle, running, clicked, died; the replay's button and its result."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.serving.replay_run import ReplaySpec, replay_run
from recsys_core.serving.services import Services
from recsys_core.store import Workspace
from recsys_core.store.bundles import BundleRequest
from ui import live_data
from ui.live_replay import points_of


def _data():
    """30 users of two tastes; one title is long and full of marks."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}", 1000 * n) for u in range(30) for n, i in enumerate(rng.choice(10, 6, replace=False) * 2 + u % 2)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item", "time"]), time="time")
    return replace(data, item_table=pd.DataFrame({"title": [f"Volume *{item}* <b>" + " very long" * 12 for item in data.items.ids]}))


@pytest.fixture
def filled(workspace_root: Path) -> Iterator[tuple[Workspace, str, str]]:
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(_data(), "Volumes")
    spec = TrainSpec.make(dataset=entry.id, model="item_knn", split="leave_last", ks=(5,))
    run = train_in_workspace(workspace, spec, RunContext(threads=1))
    yield workspace, entry.id, run.id
    Services(workspace).stop_all()


def _bundled(workspace: Workspace, run_id: str) -> None:
    """The bundle the page asks for, without the measuring that a job does."""
    from recsys_core.serving.bundle import write_bundle
    from recsys_core.store.files import staged_folder

    target = workspace.bundle_folder(BundleRequest().bundle_id(run_id))
    with staged_folder(target) as folder:
        write_bundle(workspace.run(run_id).model(), folder / "bundle.zip")
        workspace.publish(folder, target, "A bundle", {"run": run_id, "run_name": "Neighbours"})


def test_empty_workspace_no_results_and_a_service_that_is_asked_for(open_page, text_of, workspace_root, filled) -> None:
    workspace, dataset_id, run_id = filled
    at = open_page("live", dataset=dataset_id, run=run_id)
    assert "First the recommender is made into a bundle" in text_of(at)
    at.button(key="live-start").click().run()
    (job,) = JobQueue(workspace).jobs()
    assert job.kind == "bundle" and job.spec.payload["run"] == run_id and "Making the bundle" in text_of(at)
    other = workspace.add_dataset(from_frame(pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})), "Empty")
    assert "No results yet" in text_of(open_page("live", dataset=other.id))


def test_click_and_the_list_changes_and_a_service_that_died_is_said(open_page, text_of, filled) -> None:
    workspace, dataset_id, run_id = filled
    _bundled(workspace, run_id)
    at = open_page("live", dataset=dataset_id, run=run_id, user="u00")
    at.button(key="live-start").click().run()
    assert "Running" in text_of(at) and "personal list from training" in text_of(at)
    first = [at.button(key=f"live-why-{rank}").label for rank in (1, 2)]
    at.button(key="live-like-1").click().run()
    assert "Now" in text_of(at) and ":blue-badge[liked]" in text_of(at)
    assert at.button(key="live-was-why-1").label == first[0] != at.button(key="live-why-1").label
    assert "made of what was just done" in text_of(at) and "\\*" in first[0], "titles are text, not Markdown"
    at.button(key="live-why-1").click().run()
    assert "Why Volume" in text_of(at).replace("\\", "")
    service = Services(workspace).all()[0]
    assert "u00" in live_data.event_csv(service) and "/v1/recommend" in live_data.request_csv(service)
    assert "u00" not in live_data.request_csv(service), "the request log knows users by hashes"

    health = open_page("live", dataset=dataset_id, run=run_id, tab="Health")
    assert {metric.label for metric in health.metric} >= {"Requests a second", "p99", "Errors", "From the cache"}
    os.kill(service.process["pid"], signal.SIGKILL)
    end = time.monotonic() + 10
    while service.alive and time.monotonic() < end:
        time.sleep(0.02)
    dead = open_page("live", dataset=dataset_id, run=run_id)
    assert "ended by itself" in text_of(dead) and dead.button(key="live-start").label == "Start the service again"


def test_replay_button_result_and_growing_chart(open_page, text_of, filled) -> None:
    workspace, dataset_id, run_id = filled
    at = open_page("live", dataset=dataset_id, run=run_id, tab="Does learning online help?")
    at.button(key="live-replay").click().run()
    (job,) = JobQueue(workspace).jobs()
    assert job.kind == "replay" and job.spec.payload["run"] == run_id
    lines = ['{"metrics": {"events": 60, "measured": 60, "online": 0.2, "frozen": 0.1, "popular": 0.1}}', '{"stage": "x"}', '{"metr']
    (job.path / "progress.jsonl").write_text("\n".join(lines))
    assert [point["measured"] for point in points_of(job)] == [60]
    JobQueue(workspace).cancel(job.id)
    replay_run(workspace, ReplaySpec.make(run=run_id), RunContext(threads=1))
    at = open_page("live", dataset=dataset_id, run=run_id, tab="Does learning online help?")
    said = text_of(at)
    assert "learning online" in said.lower() and at.button(key="live-replay").label == "Replay again"
    assert {metric.label for metric in at.metric} == {"Learns online", "Frozen", "Popular just then"}


def test_the_chart_of_latencies_has_gaps_where_nobody_looked() -> None:
    from ui import live_charts

    samples = [{"at": at, "p50_ms": ms, "p95_ms": ms, "p99_ms": ms} for at, ms in ((100, 1.0), (102, 2.0), (400, 3.0), (402, 4.0))]
    assert list(live_charts.speed(samples).data[0].y) == [1.0, 2.0, None, 3.0, 4.0]


def test_reasons_say_what_they_are_of_the_whole_score() -> None:
    from ui.live_try import _how_sure

    parts = [{"item": "a", "contribution": 0.2}, {"item": "b", "contribution": 0.05}]
    assert "Together they are 50 % of its score" in _how_sure({"exact": True, "total": 0.5}, parts)
    assert _how_sure({"exact": True, "total": 0.25}, parts) == "They add up to its score."
    assert "change its score too" in _how_sure({"exact": True, "total": 0.1}, parts)
    assert _how_sure({"exact": False, "total": 0.25}, parts).startswith("An estimate")
