"""Personas: kept, found, renamed, deleted; never half written; exported through a real scorer."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
import time

import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput, NotFound
from recsys_core.models._io import save_model
from recsys_core.serving.client import ScorerClient
from recsys_core.serving.persona_lists import persona_lists
from recsys_core.store.workspace import Workspace


def _data(extra: int = 0):
    """Two tastes: items 00-05 and 06-11; item 05 has a title that a spreadsheet would run."""
    rows = [
        (f"u{u}", f"{i:02}", 5.0 if i % 3 else 2.0) for u in range(20 + extra) for i in range(12) if (i < 6) == (u % 2 == 0) and (i + u) % 5
    ]
    items = [f"{i:02}" for i in range(12)]
    table = pd.DataFrame({"title": [f"Title {i}" if i != "05" else "=1+1 film" for i in items]})
    frame = pd.DataFrame(rows, columns=["user", "item", "value"])
    return from_frame(frame, value="value", feedback="explicit", threshold=4.0, item_table=table.assign(item=items))


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.add_dataset(_data(), "Films")
    return workspace


def test_round_trip_keeps_order_values_and_what_was_skipped(workspace, tmp_path):
    made = workspace.add_persona("Anna", "Films", {"07": 5.0, "01": 1.0, "03": 4.5}, ["02"])
    again = Workspace(tmp_path).persona("anna")
    assert again == made and again.items == ("07", "01", "03") and again.answers == {"07": 5.0, "01": 1.0, "03": 4.5}
    assert again.skipped == ("02",) and again.dataset_there and again.dataset == workspace.dataset("Films").id
    changed = workspace.change_persona(made.id, {"04": 3.0})
    assert (changed.items, changed.skipped, changed.name, changed.created) == (("04",), (), "Anna", made.created)


def test_names_are_unique_cleaned_and_looked_up(workspace):
    first = workspace.add_persona("Anna", "Films", {"01": 5})
    second = workspace.add_persona("  anna\n", "Films", {})
    assert second.name == "anna (2)" and second.items == ()
    assert workspace.rename_persona(second.id, "ANNA").name == "ANNA (2)"
    assert workspace.rename_persona(first.id, "Anna").name == "Anna"  # its own name is not taken by itself
    assert [one.name for one in workspace.personas("Films")] == ["ANNA (2)", "Anna"]
    with pytest.raises(BadInput, match="visible character"):
        workspace.add_persona(" ", "Films", {})
    with pytest.raises(NotFound, match="Did you mean 'Anna'"):
        workspace.persona("Annna")


def test_deleting_one_and_what_a_deleted_dataset_leaves(workspace):
    kept = workspace.add_persona("Anna", "Films", {"01": 5})
    workspace.add_persona("Bob", "Films", {"02": 5})
    workspace.delete_persona("Bob")
    with pytest.raises(NotFound, match="Bob"):
        workspace.persona("Bob")
    dataset = workspace.dataset("Films").id
    workspace.delete("Films")
    (left,) = workspace.personas(dataset)
    assert left.id == kept.id and not left.dataset_there and left.dataset_name == "Films" and workspace.personas("Films") == []
    workspace.add_dataset(_data(), "The same again")
    assert workspace.personas("The same again")[0].dataset_there


@pytest.mark.parametrize(
    ("answers", "words"),
    [({"01": float("nan")}, "got nan"), ({str(n): 1 for n in range(1001)}, "1,000 answers; got 1,001"), ({"x" * 2001: 1}, "2,000")],
)
def test_answers_out_of_bounds_are_refused(workspace, answers, words):
    with pytest.raises(BadInput, match=words):
        workspace.add_persona("Anna", "Films", answers)
    assert workspace.personas() == []


WRONG = ({"items": ["1"], "values": []}, {"items": ["1", "1"], "values": [1, 2]}, {"items": ["1"], "values": ["5"]}, {"items": "1"})
ABOUT = {"id": "bad1", "name": "x", "skipped": [], "values": [1]}


@pytest.mark.parametrize(
    "content",
    ["{nonsense", "[]", json.dumps(ABOUT | {"id": "other", "items": ["1"]}), *(json.dumps(ABOUT | part) for part in WRONG)],
)
def test_foreign_and_broken_files_are_passed_over(workspace, content):
    workspace.add_persona("Anna", "Films", {"01": 5})
    (workspace.root / "personas" / "bad1.json").write_text(content)
    assert [one.name for one in workspace.personas()] == ["Anna"]


def test_the_command_lists_personas(workspace, capsys, monkeypatch):
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    workspace.add_persona("Anna", "Films", {"01": 5.0}, ["02"])
    assert main(["personas", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["answers"], told["skipped"], told["dataset_there"]) == ("Anna", {"01": 5.0}, ["02"], True)
    workspace.delete("Films")
    assert main(["personas"]) == 0 and "Films (deleted)" in capsys.readouterr().out
    assert main(["personas", "--run", "x"]) == 2 and "--out" in capsys.readouterr().err


def test_no_name_leads_out_of_the_folder(workspace):
    outside = workspace.root / "settings.json"
    outside.write_text("{}")
    with pytest.raises(NotFound):
        workspace.delete_persona("../settings")
    assert outside.exists()


def _write_for_ever(root):
    workspace, size = Workspace(root), 0
    while True:
        size = 600 - size
        workspace.change_persona("Anna", {f"{n:04}": 5.0 for n in range(size)})


def test_a_killed_writer_leaves_the_old_or_the_new(workspace):
    workspace.add_persona("Anna", "Films", {})
    process = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(workspace.root,))
    process.start()
    try:
        end, seen = time.monotonic() + 120, set()  # a process may start slowly on a busy machine
        while len(seen) < 2 and time.monotonic() < end:  # it writes: both sizes are met, nothing between
            seen.add(len(workspace.persona("Anna").items))
            time.sleep(0.002)
        assert seen == {0, 600}
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert len(workspace.persona("Anna").items) in (0, 600)
    assert workspace.change_persona("Anna", {"01": 4.0}).items == ("01",)  # the lock went with the process


def test_lists_of_personas_as_rows(workspace, capsys, monkeypatch):
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    data = workspace.dataset("Films").load()
    for run_id, key in (("a1", "item_knn"), ("b2", "popular")):
        folder = workspace.root / "runs" / run_id
        save_model(registry.get("model", key)().fit(data), folder / "model")
        manifest = {"id": run_id, "name": f"Run {key}", "spec": {"model": key, "dataset": data.fingerprint}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    people = [
        workspace.add_persona("Zoe", "Films", {"01": 5.0, "02": 1.0}),
        workspace.add_persona("-Anna", "Films", {"07": 5.0, "99": 5.0}),
    ]
    client, file = ScorerClient(workspace, idle_seconds=60), workspace.root / "lists.csv"
    try:
        lists = persona_lists(client, workspace, ["Run item_knn", "b2"], people, k=3)
        command = ["--workspace", str(workspace.root), "personas", "--run", "a1", "--run", "b2", "--persona", "Zoe", "--k", "3"]
        assert main([*command, "--out", str(file)]) == 0 and "6 rows for 1 personas" in capsys.readouterr().out
        direct = client.recommend_for_history(["a1"], [["01", "02"]], 3, values=[[5.0, 1.0]])["a1"].rows[0]
    finally:
        client.stop()
    mine = lists.frame[(lists.frame["persona"] == "Zoe") & (lists.frame["run"] == "Run item_knn")]
    assert list(lists.frame.columns) == ["persona", "rank", "item", "title", "score", "run"]
    assert mine["item"].tolist() == list(direct.items) and mine["rank"].tolist() == [1, 2, 3]
    assert not {"01", "02"} & set(lists.frame[lists.frame["persona"] == "Zoe"]["item"])  # answered, liked or not
    assert lists.frame["persona"].drop_duplicates().tolist() == ["Zoe", "-Anna"]
    assert [note for note in lists.notes if "does not know 1" in note]
    text = lists.csv()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert text.count("\r\n") == len(rows) + 1 and len(rows) == len(lists.frame)
    assert {row["persona"] for row in rows} == {"Zoe", "'-Anna"}
    assert {row["title"] for row in rows if row["item"] == "05"} <= {"'=1+1 film"}
    written = list(csv.DictReader(file.open(newline="")))
    zoe = [row for row in rows if row["persona"] == "Zoe"]
    assert [(row["item"], row["run"]) for row in written] == [(row["item"], row["run"]) for row in zoe]
    with pytest.raises(BadInput, match="at least one run"):
        persona_lists(client, workspace, [], people)
