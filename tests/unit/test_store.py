"""The workspace: what is saved is found again, half-written things are not, names and dependents are kept straight."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput, NotFound
from recsys_core.store import Workspace
from recsys_core.store.files import clean, clean_name, host, plain, read_json_cached, size_bytes, staged_folder, unique_name, write_json


def dataset(n_users=12, n_items=15, shift=0, **more):
    rng = np.random.default_rng(shift)
    rows = pd.DataFrame({"user": rng.integers(0, n_users, 150), "item": rng.integers(0, n_items, 150)}).drop_duplicates()
    return from_frame(rows.assign(value=1.0 + shift), value="value", **more)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "ws")


def write_run(workspace, run_id, dataset_id, name=None, params=None):
    with staged_folder(workspace.run_folder(run_id)) as folder:
        spec = {"dataset": dataset_id, "model": "ease", "params": params or {}}
        figures = {"metrics": {"ndcg@20": {"mean": 0.5, "low": 0.4, "high": 0.6}}, "overall": {"coverage@20": 0.3}}
        write_json(folder / "metrics.json", figures)
        write_json(folder / "manifest.json", {"id": run_id, "name": name or run_id, "created": "2026-01-01", "spec": spec})
    return workspace.run(run_id)


def test_a_dataset_comes_back_as_it_was_saved(workspace):
    items = pd.DataFrame({"title": [f"=t{i}" for i in range(15)]})
    data = dataset(item_table=items)
    entry = workspace.add_dataset(data, "Books")
    back = workspace.dataset("Books").load()
    assert entry.id == data.fingerprint == back.fingerprint and not entry.already
    assert np.array_equal(back.item, data.item) and back.item_table.equals(items)
    assert workspace.dataset(entry.id[:8]).stats == data.stats


def test_the_same_data_is_recognised_and_keeps_its_name(workspace):
    first = workspace.add_dataset(dataset(), "Books")
    again = workspace.add_dataset(dataset(), "Other name")
    assert again.already and again.id == first.id and again.name == "Books"
    assert len(workspace.datasets()) == 1
    other = workspace.add_dataset(dataset(shift=1), "books")
    assert other.name == "books (2)", "names differ whatever the case"


def test_report_and_rejects_are_kept(workspace, tmp_path):
    rejects = tmp_path / "x.csv.gz"
    rejects.write_bytes(b"abc")
    entry = workspace.add_dataset(dataset(), "a", report={"rows_read": 9, "rows_rejected": 1}, rejects_path=rejects)
    assert entry.report == {"rows_read": 9, "rows_rejected": 1}
    assert entry.rejects_path.read_bytes() == b"abc" and entry.rejects_path.name == "rejects.csv.gz"
    assert workspace.add_dataset(dataset(shift=2), "b").rejects_path is None


def test_runs_are_read_from_their_folders(workspace):
    data = workspace.add_dataset(dataset(), "a")
    run = write_run(workspace, "r1", data.id)
    assert run.metrics["ndcg@20"] == {"mean": 0.5, "low": 0.4, "high": 0.6} and run.overall == {"coverage@20": 0.3}
    assert [r.id for r in workspace.runs("a")] == ["r1"]
    assert workspace.runs(workspace.add_dataset(dataset(shift=1), "b").id) == []


def test_renaming_is_checked_and_unique(workspace):
    a, b = workspace.add_dataset(dataset(), "a"), workspace.add_dataset(dataset(shift=1), "b")
    assert workspace.rename(b.id, "A") == "A (2)"
    assert workspace.rename(a.id, "a\x00\u202e  new\tname ") == "a new name"
    with pytest.raises(BadInput, match="visible character"):
        workspace.rename(a.id, " \u200b\n")
    assert {d.name for d in workspace.datasets()} == {"a new name", "A (2)"}


def test_deleting_names_what_depends_on_it_first(workspace):
    data = workspace.add_dataset(dataset(), "a")
    write_run(workspace, "aaaaaaaa", data.id, "EASE")
    write_run(workspace, "bbbbbbbb", data.id, "Fusion", params={"models": ["run:aaaaaaaa", "als"]})
    assert set(workspace.dependents(data.id)) == {"run 'EASE'", "run 'Fusion'"}
    assert workspace.dependents("EASE") == ["run 'Fusion'"]
    with pytest.raises(BadInput, match="run 'Fusion'"):
        workspace.delete("EASE")
    assert workspace.has_run("aaaaaaaa")
    assert set(workspace.delete(data.id, with_dependents=True)) == {"run 'EASE'", "run 'Fusion'", "dataset 'a'"}
    assert not workspace.datasets() and not workspace.runs() and not list(workspace.root.glob("*/.t*"))


def test_what_a_job_uses_is_not_deleted(workspace):
    data = workspace.add_dataset(dataset(), "a")
    job = workspace.root / "jobs" / "j"
    job.mkdir()
    write_json(job / "spec.json", {"kind": "train", "title": "EASE", "payload": {"dataset": data.id}})
    write_json(job / "state.json", {"state": "running"})
    with pytest.raises(BadInput, match="running job 'EASE'"):
        workspace.delete(data.id, with_dependents=True)


def test_an_unknown_name_suggests_the_closest(workspace):
    workspace.add_dataset(dataset(), "movies")
    with pytest.raises(NotFound, match="Did you mean 'movies'"):
        workspace.dataset("movis")
    with pytest.raises(NotFound, match="none yet"):
        workspace.run("x")


def test_an_interrupted_write_leaves_nothing_behind(workspace):
    target = workspace.root / "runs" / "r"
    with pytest.raises(RuntimeError), staged_folder(target) as folder:
        (folder / "manifest.json").write_text("{}")
        raise RuntimeError("disk full")
    assert list((workspace.root / "runs").iterdir()) == []


def test_half_written_and_foreign_folders_are_ignored_and_cleaned(workspace):
    runs = workspace.root / "runs"
    for name, text in (("broken", "{ half"), ("foreign", '{"id": "other"}'), ("list", "[]")):
        (runs / name).mkdir()
        (runs / name / "manifest.json").write_text(text)
    (runs / "empty").mkdir()
    crashed = runs / f".tmp-{host()}-999999999-0123abcd"
    crashed.mkdir()
    mine = runs / f".tmp-{host()}-{os.getpid()}-0123abcd"
    mine.mkdir()
    trash = runs / ".trash-01"
    trash.mkdir()
    assert workspace.runs() == []
    assert clean(runs) == 2
    assert mine.exists() and not crashed.exists() and not trash.exists()


def _save(root: str, shift: int, start) -> None:
    start.wait()
    Workspace(root).add_dataset(dataset(shift=shift), "same name")


def test_two_processes_at_once(workspace):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    shifts = (0, 0, 1)  # two save the very same data
    jobs = [context.Process(target=_save, args=(str(workspace.root), shift, start)) for shift in shifts]
    for job in jobs:
        job.start()
    start.set()
    for job in jobs:
        job.join(60)
        assert job.exitcode == 0
    assert sorted(d.name for d in workspace.datasets()) == ["same name", "same name (2)"]


def test_settings_survive_and_a_reader_never_sees_half_a_file(workspace):
    workspace.set_setting("parallel_jobs", 3)
    assert Workspace(workspace.root).settings() == {"parallel_jobs": 3}
    path = workspace.root / "x.json"
    for size in (10, 100_000):
        write_json(path, {"a": "x" * size})
        assert len(read_json_cached(path)["a"]) == size
    assert [p.name for p in workspace.root.glob(".tmp*")] == []


def test_opening_a_workspace_with_20_runs_takes_milliseconds(workspace):
    data = workspace.add_dataset(dataset(), "a")
    for number in range(20):
        write_run(workspace, f"run{number:02}", data.id)
    spent = []
    for _ in range(5):
        start = time.process_time()
        assert len(Workspace(workspace.root).runs()) == 20
        spent.append(time.process_time() - start)
    assert min(spent) < 0.02


def test_nothing_in_a_workspace_can_run_code(workspace):
    workspace.add_dataset(dataset(), "a")
    assert not [p for p in workspace.root.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".joblib")]


def test_disk_use_adds_up(workspace):
    workspace.add_dataset(dataset(), "a")
    use = workspace.disk_use()
    assert use["datasets"] > 0 and use["total"] == sum(v for k, v in use.items() if k != "total")
    one = workspace.root / "one"
    one.write_bytes(b"x" * 1000)
    assert size_bytes(one) == 1000


def test_plain_values_are_json(tmp_path):
    value = {"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan"), "d": (1, Path("x")), "e": pd.DataFrame({"x": [1]})}
    assert json.loads(json.dumps(plain(value))) == {"a": 1.5, "b": [1, 2], "c": None, "d": [1, "x"], "e": [{"x": 1}]}


def test_names():
    assert clean_name("../../etc/passwd") == "../../etc/passwd", "names never become paths: ids do"
    assert len(clean_name("x" * 500)) == 80
    assert unique_name("a", ["A", "a (2)"]) == "a (3)"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        Workspace(tmp_path / "file" / "ws")
