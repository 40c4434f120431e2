"""Home: empty, filled, while jobs run, with damage on disk; and that the web process stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.jobs import JobQueue, JobSpec, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace


def _data(n_users: int = 40, n_items: int = 30) -> Dataset:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((n_users, n_items)) < 0.3)
    return from_frame(pd.DataFrame({"user": user, "item": item, "time": np.arange(len(user)) * 3600}), time="time")


@pytest.fixture
def filled(workspace_root: Path) -> tuple[Workspace, str]:
    """A workspace with one dataset and two measured runs."""
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(_data(), "Films *and* [more](http://x)")
    for model in ("popular", "item_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model), RunContext(threads=1))
    return workspace, entry.id


def test_empty_workspace_offers_the_sample_and_the_own_file(open_page, text_of) -> None:
    at = open_page("home")
    assert at.title[0].value == "Recommender workbench"
    assert {"try-sample", "own-file"} <= {button.key for button in at.button}
    assert "Bring in a file" in text_of(at)


def test_filled_workspace_shows_the_best_model_and_the_way_on(open_page, text_of, filled) -> None:
    workspace, dataset_id = filled
    best = max((run.metrics["ndcg@10"]["mean"], run.name) for run in workspace.runs())
    at = open_page("home")
    text = text_of(at)
    assert f"Best of 2: **{best[1]}** · NDCG\\@10 {best[0]:.4f}" in text
    assert r"Films \*and\* \[more\]\(http\:\/\/x\)" in text, "names are untrusted: Markdown in them is escaped"
    assert {m.label: m.value for m in at.metric}["Results"] == "2"
    assert at.button(key="next-step").label == "See the leaderboard"


def test_dataset_without_runs_leads_to_train(open_page, workspace_root) -> None:
    Workspace(workspace_root).add_dataset(_data(), "Films")
    assert open_page("home").button(key="next-step").label == "Train recommenders"


def test_live_and_failed_jobs_are_shown(open_page, text_of, filled) -> None:
    workspace, dataset_id = filled
    queue = JobQueue(workspace)
    queue.submit(TrainSpec.make(dataset=dataset_id, model="ease"))
    at = open_page("home")
    assert "**1 job under way.**" in text_of(at) and ":gray-badge[Waiting]" in text_of(at)
    cancel = next(button for button in at.button if button.label == "Cancel")
    cancel.click().run()
    assert [job.state for job in queue.jobs()][0] == "cancelled"
    assert "under way" not in text_of(at)


def test_deleting_names_what_goes_with_it(open_page, text_of, filled) -> None:
    workspace, dataset_id = filled
    at = open_page("home")
    next(button for button in at.button if button.key == "delete-run").click().run()
    assert "This cannot be undone" in text_of(at)
    at = open_page("data", dataset=dataset_id, view="saved")
    at.button(key="delete-dataset").click().run()
    text = text_of(at)
    assert "2 things depend" in text and "run 'Most popular'" in text.replace("\\", "")


def test_a_broken_workspace_gives_a_sentence_and_no_traceback(open_page, text_of, workspace_root, monkeypatch) -> None:
    workspace_root.parent.joinpath("file").write_text("not a folder")
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace_root.parent / "file" / "ws"))
    at = open_page("home")
    assert "cannot be written" in text_of(at) and "Traceback" not in text_of(at)


def test_an_unexpected_fault_becomes_one_sentence_and_a_log_entry(open_page, text_of, monkeypatch, caplog) -> None:
    monkeypatch.setattr(Workspace, "datasets", lambda self: 1 / 0)
    at = open_page("home")
    assert len(at.error) == 1 and "Something went wrong" in at.error[0].value and "ZeroDivision" not in text_of(at)
    assert any("ZeroDivisionError" in str(record.exc_info) for record in caplog.records if record.exc_info)


def test_damaged_entries_are_passed_over(open_page, filled) -> None:
    workspace, _ = filled
    (workspace.root / "runs" / "feedfacefeedface").mkdir()
    (workspace.root / "runs" / "feedfacefeedface" / "manifest.json").write_text("{ half")
    JobQueue(workspace).submit(JobSpec(kind="train", payload={"dataset": "gone"}, title="odd"))
    assert {m.label: m.value for m in open_page("home").metric}["Results"] == "2"


def test_sample_is_saved_and_a_sensible_set_queued(open_page, text_of, workspace_root) -> None:
    at = open_page("home")
    at.button(key="try-sample").click().run(timeout=60)
    workspace = Workspace(workspace_root)
    (entry,) = workspace.datasets()
    assert entry.stats.n_interactions > 10_000 and entry.stats.has_item_table and entry.stats.has_user_table
    waiting = [job.train_spec.model for job in JobQueue(workspace).jobs()[::-1]]
    assert waiting == ["popular", "item_knn", "ease", "als", "mult_vae", "weighted"]
    at.button(key="try-sample").click().run(timeout=60)
    assert len(workspace.datasets()) == 1 and len(JobQueue(workspace).jobs()) == 6, "the same request is not done twice"


def test_the_web_process_imports_no_model_library(filled, repo: Path) -> None:
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "at = AppTest.from_file('ui/router.py', default_timeout=60).run()\n"
        "for page in ('data', 'train', 'compare', 'inspect', 'export'):\n"
        "    at.switch_page(f'../pages/{page}.py').run()\n"
        "    assert not at.exception, (page, at.exception)\n"
        "import ui.background\n"
        "print(sorted({'torch', 'implicit', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, env=os.environ | {"PYTHONPATH": str(repo)}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
