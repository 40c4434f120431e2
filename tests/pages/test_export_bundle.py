"""Export, a bundle for real time: empty, filled, failing; the job, the report, what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._portable import Packing
from recsys_core.store import Workspace
from ui import bundle_report


@pytest.fixture
def filled(workspace_root: Path) -> tuple[Workspace, str, str]:
    """(workspace, dataset, run): item neighbours on 30 users and 20 items with titles and genres."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(30) for i in rng.choice(20, 4 + u % 5, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    titles = ["*Bold* [x](y)" if str(item) == "i01" else f"Book number {item}" for item in data.items.ids]
    items = pd.DataFrame({"title": titles, "genres": ["Drama|Crime", "Comedy"] * 10, "price": np.arange(20) * 1.5})
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(replace(data, item_table=items), "Books")
    train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn", ks=(5, 10)), RunContext(threads=1))
    return workspace, entry.id, workspace.runs()[0].id


def test_the_form_queues_a_job_and_what_it_made_is_kept(open_page, text_of, filled) -> None:
    workspace, dataset_id, run_id = filled
    at = open_page("export", dataset=dataset_id, way="bundle")
    assert "No bundle yet." in text_of(at) and "export-preview" not in {button.key for button in at.button}
    assert at.multiselect(key=f"bundle-columns-{dataset_id}").value == ["title", "genres"]
    at.segmented_control(key="bundle-numbers").set_value("int8").run()
    at.slider(key="bundle-prune").set_value(30).run()
    at.toggle(key="bundle-users").set_value(False).run()
    at.multiselect(key=f"bundle-columns-{dataset_id}").set_value(["title", "price"]).run()
    at.button(key="bundle-make").click().run()
    (job,) = JobQueue(workspace).jobs()
    assert job.kind == "bundle" and "Queued" in text_of(at) and "Bundle of" in text_of(at)
    asked = {
        "quantize": "int8",
        "prune": 0.3,
        "float16": False,
        "with_users": False,
        "columns": ["title", "price"],
        "licence": "",
        "compare": True,
    }
    assert job.spec.payload == {"dataset": dataset_id, "run": run_id} | asked
    JobQueue(workspace).cancel(job.id)
    result = registry.get("job", "bundle")().run(job.spec.payload, workspace, RunContext(threads=1))
    at.run()
    entry = workspace.bundle(result["bundle"])
    text = text_of(at)
    assert "This bundle is made" in text and at.button(key="bundle-make").disabled, "what is there is not made again"
    assert (
        "hold 1" in text
        and "without users" in text
        and entry.fingerprint in text
        and f"serve --bundle {entry.file_name}" in at.code[0].value
    )
    shown = at.dataframe[0].value
    assert list(shown["variant"])[:2] == ["fp32", "int8"] and list(shown["shipped"]).count(True) == 1
    at.segmented_control(key="bundle-numbers").set_value("").run()
    assert not at.button(key="bundle-make").disabled, "another one may be made"
    (workspace.bundle(entry.id).file).unlink()
    assert "Its file is gone." in text_of(at.run())


def test_a_bundle_with_newer_events_has_no_report(open_page, text_of, filled, tmp_path) -> None:
    from recsys_core.portable.bundle import Bundle
    from recsys_core.serving.live.event_log import EventLog
    from recsys_core.serving.live.predictor import Predictor

    workspace, dataset_id, run_id = filled
    made = registry.get("job", "bundle")().run({"run": run_id}, workspace, RunContext(threads=1))["bundle"]
    log = EventLog(tmp_path / "events.log")
    Predictor(Bundle.open(workspace.bundle(made).file), log).feedback("somebody", "i03", "like")
    log.close()
    registry.get("job", "update")().run({"bundle": made, "events": str(log.path)}, workspace, RunContext(threads=1))
    at = open_page("export", dataset=dataset_id, way="bundle")
    text = text_of(at)
    assert "Something went wrong" not in text and "1 of 1 event" in text and "taken in" in text and "fp32" in text


def test_lists_as_a_file_are_the_usual_way(open_page, filled) -> None:
    _, dataset_id, _ = filled
    at = open_page("export", dataset=dataset_id)
    assert at.segmented_control(key="export-way").value == "lists" and at.button(key="export-preview")
    at.segmented_control(key="export-way").set_value("bundle").run()
    assert at.button(key="bundle-make") and at.query_params["way"] in ("bundle", ["bundle"])


def test_a_model_without_a_form_is_said(open_page, text_of, filled, monkeypatch) -> None:
    _, dataset_id, _ = filled
    monkeypatch.setattr(registry.get("model", "item_knn"), "_portable", Packing._portable, raising=False)
    at = open_page("export", dataset=dataset_id, way="bundle")
    assert "Item neighbours cannot be bundled" in at.info[0].value
    assert "bundle-make" not in {button.key for button in at.button} and "No bundle yet." in text_of(at)


def test_warnings_and_the_chart_of_a_report(open_page, text_of, filled) -> None:
    workspace, dataset_id, run_id = filled
    one = {"name": "fp32", "overlap": 1.0, "ndcg": None, "ndcg_original": None, "ndcg_loss": None, "score_error": 0.0, "kept": True}
    one |= {"size_bytes": 4_000_000, "p50_ms": 0.1, "p99_ms": 0.4, "memory_mb": 45.0, "why": "The numbers as they were learnt."}
    two = one | {"name": "int8", "overlap": 0.6, "size_bytes": 1_000_000, "kept": False, "why": "Too different."}
    warning = "int8 is not shipped: its lists *differ*; fp32 stays."
    folder = workspace.bundle_folder("0123456789abcdef")
    folder.mkdir(parents=True)
    (folder / "bundle.zip").write_bytes(b"zip")
    report = {"sample": 30, "k": 20, "variants": [one, two], "shipped": "fp32", "warnings": [warning]}
    about = {"id": folder.name, "name": "<b>mine</b>", "run": run_id, "run_name": "x", "created": "2026-11-23", "report": report}
    (folder / "manifest.json").write_text(json.dumps(about))
    at = open_page("export", dataset=dataset_id, way="bundle")
    assert r"lists \*differ\*" in at.warning[0].value and "Which variant keeps the lists" in text_of(at)
    assert at.dataframe[0].value["ndcg"].isna().all(), "a run without a test has no figures, and no table without them"
    fig = bundle_report.sizes([one, two])
    bars = {bar.name: list(zip(bar.y, bar.text, strict=True)) for bar in fig.data}
    assert bars == {"Shipped": [("fp32", "100.0% the same")], "The same lists": [], "Too different": [("int8", "60.0% the same")]}
