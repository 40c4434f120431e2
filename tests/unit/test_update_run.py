"""A newer bundle of a run: what is in it, and that a server that opens it beside the log does not count events twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.portable.bundle import Bundle
from recsys_core.serving.live.event_log import EventLog
from recsys_core.serving.live.predictor import Predictor
from recsys_core.serving.live.swap import check
from recsys_core.serving.updating import _kept, events_of, update_run
from recsys_core.store import Workspace
from recsys_core.testing.datasets import tastes

QUICK = RunContext(threads=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("update") / "ws")
    case = tastes()
    frame = pd.DataFrame({"user": case.train.user, "item": case.train.item}).astype(str)
    data = from_frame(frame, name="Tastes")
    table = pd.DataFrame({"title": [f"Title {item}" for item in data.items.ids]})
    entry = workspace.add_dataset(replace(data, item_table=table), "Tastes")
    train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, split="random", model="item_knn", ks=(10,)), QUICK)
    return workspace


@pytest.fixture
def log(workspace: Workspace, tmp_path: Path) -> Path:
    """A stranger takes what three others like took, and one who is known says something of an item that is new."""
    run = workspace.runs()[0]
    train = run.model().fitted
    path = tmp_path / "events.log"
    predictor = Predictor(_bundle(workspace, tmp_path), EventLog(path))
    liked = train.items.decode(train.histories(np.array([0])).items)[:4]
    for item in liked:
        predictor.feedback("stranger", item, "like")
    for user in train.users.ids[:3]:
        predictor.feedback(user, "brand new", "like", features={"title": "The newest"} if user == train.users.ids[1] else None)
    predictor.feedback("stranger", liked[0], "skip")
    predictor.log.close()
    return path


def _bundle(workspace: Workspace, folder: Path) -> Bundle:
    from recsys_core.serving.bundle import write_bundle

    write_bundle(workspace.runs()[0].model(), folder / "old.zip")
    return Bundle.open(folder / "old.zip")


def test_events_are_in_the_newer_bundle(workspace: Workspace, log: Path, tmp_path: Path) -> None:
    events, until = events_of(log)
    made = update_run(workspace.runs()[0], events, tmp_path / "new.zip", until=until, ctx=QUICK)
    old, new = _bundle(workspace, tmp_path), Bundle.open(tmp_path / "new.zip")
    check(new)
    assert (made.taken.events, made.taken.taken, made.taken.new_users, made.taken.new_items) == (8, 7, 1, 1)
    assert old.items.code("brand new") < 0 <= new.items.code("brand new")
    assert len(new.history(new.users.code("stranger"))) == 4 and old.users.code("stranger") < 0
    assert new.counts[new.items.code("brand new")] == 3 and new.table["title"][new.items.code("brand new")] == "The newest"
    assert made.manifest["updated"]["until"] == until and "7 of 8 events" in made.manifest["updated"]["sentence"]
    assert np.isfinite(new.form.similar(new.items.code("brand new"))).any(), "the new item has neighbours"


def test_a_server_does_not_count_them_twice(workspace: Workspace, log: Path, tmp_path: Path) -> None:
    events, until = events_of(log)
    update_run(workspace.runs()[0], events, tmp_path / "new.zip", until=until, ctx=QUICK)
    before = Predictor(_bundle(workspace, tmp_path), EventLog(log))
    after = Predictor(Bundle.open(tmp_path / "new.zip"), EventLog(log))
    assert before.recommend("stranger").path == "fold-in" and before.version("stranger") == 5
    assert after.recommend("stranger").path == "model" and after.version("stranger") == 1  # the skip
    assert after.state()["events"] == 1
    after.feedback("stranger", after.recommend("stranger").items[0], "like")
    assert after.recommend("stranger").path == "fold-in" and after.version("stranger") == 2


def test_narrow_numbers_are_kept_only_where_the_lists_stay(workspace: Workspace, log: Path, tmp_path: Path, monkeypatch) -> None:
    events, until = events_of(log)
    kept = update_run(workspace.runs()[0], events, tmp_path / "kept.zip", until=until, codec="int8", ctx=QUICK).manifest
    assert (kept["codec"], kept["variant"]) == ("int8", "int8") and kept["updated"]["overlap"] >= 0.95
    assert abs(kept["updated"]["ndcg_loss"]) <= 0.01
    monkeypatch.setattr("recsys_core.serving.updating._kept", lambda *_: (0.9, 0.0))
    refused = update_run(workspace.runs()[0], events, tmp_path / "refused.zip", until=until, codec="int8", ctx=QUICK).manifest
    assert (refused["codec"], refused["variant"]) == ("float32", "float32") and "only 90.0% of the lists" in refused["updated"]["sentence"]
    monkeypatch.setattr("recsys_core.serving.updating._kept", lambda *_: (1.0, 0.02))
    worse = update_run(workspace.runs()[0], events, tmp_path / "worse.zip", until=until, codec="int8", ctx=QUICK).manifest
    assert worse["codec"] == "float32" and "98.0% of NDCG" in worse["updated"]["sentence"]
    check(Bundle.open(tmp_path / "refused.zip"))


def test_what_is_lost_of_lists_and_of_ndcg_by_hand(workspace: Workspace, tmp_path: Path) -> None:
    model, whole = workspace.runs()[0].model(), _bundle(workspace, tmp_path)
    assert _kept(model, whole, whole) == (1.0, 0.0)
    asked = []

    class Nothing:
        def best(self, history, k):
            asked.append(history)
            return np.empty(0, int), np.empty(0)

    kept, lost = _kept(model, whole, Nothing())
    assert (kept, lost) == (0.0, 1.0)
    full, before = asked[0], asked[1]
    assert full.items[-1] not in before.items and len(before) < len(full)


def test_the_job_makes_a_bundle_beside_the_old_one(workspace: Workspace, log: Path) -> None:
    run = workspace.runs()[0]
    served = registry.get("job", "bundle")().run({"run": run.id}, workspace, QUICK)["bundle"]
    done = registry.get("job", "update")().run({"bundle": served, "events": str(log)}, workspace, QUICK)
    assert "7 of 8 events" in done["sentence"]
    newer = workspace.bundle(done["bundle"])
    assert newer.run_id == run.id and newer.id != served and Bundle.open(newer.file).fingerprint == newer.fingerprint
    assert registry.get("job", "update")().run({"bundle": served, "events": str(log)}, workspace, QUICK)["bundle"] == newer.id


def test_the_command(workspace: Workspace, log: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    run, out = workspace.runs()[0].name, tmp_path / "cli.zip"
    assert main(["update", "--run", run, "--events", str(log), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["updated"]["taken"] == 7 and Bundle.open(out, fingerprint=said["fingerprint"])
    described = tmp_path / "items.csv"
    described.write_text("item,title,colour\nbrand new,The newest,red\n" + "".join(f"{i},Old {i},blue\n" for i in range(9)))
    more = ["--items", str(described), "--column", "colour"]
    assert main(["update", "--run", run, "--events", str(log), "--out", str(out), *more]) == 0
    newer = Bundle.open(out)
    assert newer.table["colour"][newer.items.code("brand new")] == "red" and "title" not in newer.table
    capsys.readouterr()
    assert main(["update", "--run", run, "--events", str(tmp_path / "none.log"), "--out", str(out)]) == 2
    assert "There is no event log" in capsys.readouterr().err


def test_nothing_to_take_in_is_said(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    events, until = events_of(tmp_path / "empty.log")
    with pytest.raises(BadInput, match="no events to take in"):
        update_run(workspace.runs()[0], events, tmp_path / "new.zip", until=until)
