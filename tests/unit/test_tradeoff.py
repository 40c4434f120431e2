"""What shaping costs and gains: the curve, the job that keeps it, the candidates it needs; shaped lists in exports and live answers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.data.topk import TopK
from recsys_core.errors import BadInput, Cancelled, NotFound, ParamError
from recsys_core.evaluation.tradeoff import histories_of, restricted, tradeoff
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.candidates import ensure_candidates
from recsys_core.jobs.diversity_spec import DiversitySpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.metrics import evaluate
from recsys_core.rerank._base import Shelf
from recsys_core.rerank.mmr import MMR
from recsys_core.serving import verbs
from recsys_core.serving.loaded import LoadedModels
from recsys_core.serving.requests import ExportListsRequest, HistoryRequest, UsersRequest, read
from recsys_core.store import Workspace
from recsys_core.store.entries import RunEntry
from recsys_core.store.export import ExportRequest, export_lists, preview
from recsys_core.store.files import clean

ONE = RunContext(threads=1)
N_ITEMS, KEPT = 120, 20
MMR_3 = {"method": "mmr", "params": {"strength": 0.3}, "depth": 50}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(workspace, run): 60 users, 120 items of four genres; the run keeps lists of 20 only."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"user": rng.integers(0, 60, 2400), "item": (rng.random(2400) ** 1.5 * N_ITEMS).astype(int)}).drop_duplicates()
    rows["item"] = rows["item"].map("i{:03}".format)
    rows["user"] = rows["user"].map("u{:02}".format)
    n = rows["item"].nunique()
    items = pd.DataFrame({"title": [f"title {i}" for i in range(n)], "genres": [["A", "A|B", "B", "C"][i % 4] for i in range(n)]})
    workspace = Workspace(tmp_path_factory.mktemp("tradeoff"))
    workspace.add_dataset(from_frame(rows, item_table=items), "toy")
    return workspace, train_in_workspace(workspace, TrainSpec(dataset="toy", model="item_knn", ks=(5,), keep_top=KEPT), ONE)


@pytest.fixture(scope="module")
def parts(made):
    """(candidates of 60, holdout, shelf)."""
    workspace, run = made
    return ensure_candidates(workspace, run, 60, ONE), run.holdout(), Shelf(run.training())


# ---- the curve -----------------------------------------------------------------------------------
def test_points_are_the_figures_of_the_shaped_lists_with_the_intervals_of_an_evaluation(parts):
    candidates, holdout, shelf = parts
    points = tradeoff(candidates, holdout, shelf, "mmr", {}, [0, 0.4], 5, ["ndcg", "intra_list_diversity", "coverage"])
    for point, top in zip(points, (candidates.cut(5), MMR(strength=0.4).rerank(candidates, 5, shelf)), strict=True):
        expected = evaluate(top, holdout, shelf.catalog, [5], metrics=["ndcg", "intra_list_diversity", "coverage"])
        assert point["overall"] == expected.overall
        for name, (low, high) in expected.intervals().items():
            assert point["metrics"][name] == pytest.approx({"mean": expected.means()[name], "low": low, "high": high})
    assert [point["strength"] for point in points] == [0.0, 0.4] and json.dumps(points)
    assert points[1]["metrics"]["intra_list_diversity@5"]["low"] > points[0]["metrics"]["intra_list_diversity@5"]["mean"]


def test_figures_are_over_the_users_of_the_candidates_only(parts):
    candidates, holdout, shelf = parts
    some = candidates.take(np.arange(0, len(candidates), 3))
    point = tradeoff(some, holdout, shelf, "mmr", {}, [0], 5, ["ndcg"])[0]
    whole = evaluate(candidates.cut(5), holdout, shelf.catalog, [5], metrics=["ndcg"]).per_user["ndcg@5"]
    assert point["metrics"]["ndcg@5"]["mean"] == pytest.approx(whole.loc[some.users].mean())
    assert restricted(holdout, holdout.users) is holdout


def test_a_method_without_a_strength_is_off_at_0_and_on_else(parts):
    candidates, holdout, shelf = parts
    off, half, on = tradeoff(
        candidates, holdout, shelf, "rules", {"category_caps": {"A": 0}}, [0, 0.5, 1], 5, ["intra_list_diversity", "ndcg"]
    )
    plain = tradeoff(candidates, holdout, shelf, "mmr", {}, [0], 5, ["intra_list_diversity", "ndcg"])[0]
    assert off == plain and half["metrics"] == on["metrics"] != off["metrics"]


def test_users_that_training_does_not_know_are_calibrated_to_what_was_given_of_them(parts):
    candidates, holdout, shelf = parts
    unknown = replace(shelf.train, user=shelf.train.user[:0], item=shelf.train.item[:0], value=shelf.train.value[:0], time=None)
    cold = Holdout(holdout.truth, given=shelf.train)
    assert histories_of(candidates.users, Holdout(holdout.truth), Shelf(unknown)).lengths.sum() == 0
    given, known = histories_of(candidates.users, cold, Shelf(unknown)), shelf.histories(candidates.users)
    np.testing.assert_array_equal(given.items, known.items)


def test_what_cannot_be_asked_is_refused(parts):
    candidates, holdout, shelf = parts
    for more, message in (
        ({"k": 61}, "from 1 to the number of candidates, 60; got 61"),
        ({"strengths": [0.5, 1.1]}, "from 0 to 1; got 1.1"),
        ({"strengths": []}, "got none"),
        ({"params": {"diversity": 1}}, "Unknown parameter 'diversity'"),
    ):
        with pytest.raises(ParamError, match=message):
            tradeoff(candidates, holdout, shelf, **({"method": "mmr", "params": {}, "strengths": [0.5], "k": 5} | more))
    with pytest.raises(NotFound, match="mrm"):
        tradeoff(candidates, holdout, shelf, "mrm", {}, [0.5], 5)
    with pytest.raises(Cancelled):
        tradeoff(candidates, holdout, shelf, "mmr", {}, [0.5], 5, ctx=RunContext(cancelled=lambda: True))


# ---- candidates and the job ----------------------------------------------------------------------
def test_candidates_begin_as_the_lists_of_the_run_and_are_made_once(made, parts, monkeypatch):
    workspace, run = made
    candidates, holdout, shelf = parts
    assert run.topk().k == KEPT and candidates.k == 60 and run.candidates().k == 60
    np.testing.assert_array_equal(candidates.items[:, :KEPT], run.topk().items)
    np.testing.assert_array_equal(candidates.users, holdout.users)
    seen = shelf.train.matrix("seen")[candidates.users].toarray().astype(bool)
    row, column = np.nonzero(candidates.items >= 0)
    assert not seen[row, candidates.items[row, column]].any()
    monkeypatch.setattr(RunEntry, "model", lambda *_: pytest.fail("the model was loaded again"))
    assert ensure_candidates(workspace, run, 40, ONE).k == 40
    assert not list(run.path.glob(".tmp*"))


def test_candidates_of_a_process_that_was_killed_are_cleared_away(tmp_path):
    """A process writes the file and is killed before it is in its place."""
    code = (
        "import os, signal; from pathlib import Path; from types import SimpleNamespace\n"
        "from recsys_core.jobs.candidates import write_candidates\n"
        "def save(path): path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_candidates(SimpleNamespace(path=Path({str(tmp_path / 'run')!r})), SimpleNamespace(save=save))"
    )
    (tmp_path / "run").mkdir()
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.glob(".tmp*"))) == 1 and not list((tmp_path / "run").iterdir())
    assert clean(tmp_path) == 1 and [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_model_not_fitted_again_does_not_list_what_it_was_validated_on(made):
    workspace, _ = made
    params = {"models": ["popular", "item_knn"]}
    run = train_in_workspace(workspace, TrainSpec(dataset="toy", model="weighted", params=params, refit=False, keep_top=KEPT, ks=(5,)), ONE)
    candidates = ensure_candidates(workspace, run, 100, ONE)
    np.testing.assert_array_equal(candidates.items[:, :KEPT], run.topk().items)
    data = run.dataset.load()
    had = data.matrix("seen").toarray().astype(bool) & ~run.holdout().truth.matrix("seen").toarray().astype(bool)
    row, column = np.nonzero(candidates.items >= 0)
    assert not had[candidates.users[row], candidates.items[row, column]].any()


def test_new_ids_of_a_test_file_of_ones_own_are_in_the_training_part(made):
    workspace, _ = made
    test = from_frame(pd.DataFrame({"user": ["u00", "new", "u01"], "item": ["i001", "i002", "fresh"]}))
    saved = workspace.add_test("toy", test, "mine")
    run = train_in_workspace(
        workspace, TrainSpec(dataset="toy", split="own_test", split_params={"test": saved["id"]}, model="popular", ks=(5,)), ONE
    )
    train = run.training()
    assert (train.n_items, train.n_users) == (run.holdout().truth.n_items, run.holdout().truth.n_users)
    assert len(train.item_table) == train.n_items and "fresh" in train.items.ids
    points = tradeoff(run.candidates(), run.holdout(), Shelf(train), "calibrated", {}, [0, 1], 5)
    assert points[0]["metrics"]["ndcg@5"]["mean"] is not None


def test_the_job_keeps_the_curve_under_a_content_hash(made):
    workspace, run = made
    spec = DiversitySpec.make(run=run.id, method="dpp", k=5, depth=60, strengths=(1, 0, 0.5))
    assert spec.strengths == (0.0, 0.5, 1.0) and spec.params == {}
    made_by = registry.get("job", "diversity")()
    assert made_by.run(spec.model_dump(mode="json"), workspace, ONE) == {"analysis": spec.analysis_id}
    entry = workspace.analyses("diversity", run=run.id)[0]
    result = entry.result()
    assert entry.id == spec.analysis_id and entry.payload == json.loads(spec.model_dump_json()) and entry.dataset_id == run.dataset_id
    assert [point["strength"] for point in result["points"]] == [0, 0.5, 1]
    assert {"run", "method", "params", "k", "depth", "aim", "similarity", "n_users", "seconds", "notes"} <= set(result)
    assert result["n_users"] == len(run.holdout().users) and result["aim"] == "intra_list_diversity"
    assert result["points"][0]["metrics"]["ndcg@5"] == pytest.approx(run.metrics["ndcg@5"])
    queue = JobQueue(workspace)
    assert queue.submit(spec.job(run.name)).id == queue.submit(DiversitySpec.make(**entry.payload).job()).id == spec.analysis_id
    queue.cancel(spec.analysis_id)


def test_the_same_question_is_one_spec_and_a_wrong_one_is_refused():
    same = [{}, {"params": {"towards": "less_known"}}, {"params": {"strength": 0.7}}]
    assert len({DiversitySpec.make(run="r", method="popularity_discount", **more).analysis_id for more in same}) == 1
    assert DiversitySpec.make(run="r", method="rules").strengths == (0.0, 1.0)
    assert len(DiversitySpec.make(run="r", method="mmr").strengths) == 21
    for more, message in (
        ({"k": 300}, "got 300 and 200"),
        ({"strengths": [2]}, "got 2"),
        ({"depth": 5000}, "at most 1000"),
        ({"kk": 1}, "kk"),
    ):
        with pytest.raises(ParamError, match=message):
            DiversitySpec.make(run="r", method="mmr", **more)


# ---- out -----------------------------------------------------------------------------------------
def test_exported_lists_are_shaped_from_what_may_be_shown(made):
    workspace, run = made
    model = run.model()
    deny = ["i001", "i004"]
    entry = export_lists(workspace, run, ExportRequest.make(k=5, rerank=MMR_3, seen="training", deny=deny), model=model)
    frame = pd.read_csv(entry.file, dtype=str)
    users = np.arange(model.fitted.n_users)
    allowed = np.setdiff1d(np.arange(model.fitted.n_items), model.fitted.items.encode(deny))
    expected = MMR(strength=0.3).rerank(model.recommend(users, 50, candidates=allowed), 5, Shelf(run.training()))
    listed = expected.frame(model.fitted.users, model.fitted.items)
    assert frame["item"].tolist() == listed["item"].tolist()
    np.testing.assert_allclose(frame["score"].astype(float), listed["score"], rtol=1e-5)
    assert any("Maximal marginal relevance (MMR); diversity 0.3" in note for note in entry.manifest["notes"])
    assert entry.manifest["request"]["rerank"]["method"] == "mmr"
    shown = preview(run, ExportRequest.make(k=5, rerank=MMR_3, seen="training", deny=deny), n_users=2, model=model)
    assert shown.frame["item"].tolist() == listed["item"].tolist()[:10] and shown.n_rows == len(frame)


def test_pinned_items_reach_lists_whose_model_ranks_them_low_but_not_users_who_had_them(made):
    _, run = made
    model = run.model()
    rank = model.recommend(np.arange(60), 100).items
    low = int(np.bincount(rank[:, 40:][rank[:, 40:] >= 0], minlength=model.fitted.n_items).argmax())
    name = str(model.fitted.items.decode(np.array([low]))[0])
    rules = {"method": "rules", "params": {"pinned": [name, name]}, "depth": 5}  # named twice, it is listed once
    frame = preview(run, ExportRequest.make(k=5, rerank=rules, seen="training"), n_users=60, model=model).frame
    had = set(model.fitted.users.decode(model.fitted.user[model.fitted.item == low]))
    holders = set(frame.loc[frame["item"] == name, "user"])
    assert holders == set(frame["user"]) - had and holders
    assert (frame.loc[frame["item"] == name, "rank"] == 1).all() and frame.groupby("user")["item"].nunique().eq(5).all()


@pytest.mark.parametrize(
    ("rerank", "message"),
    [
        ({"method": "mrm"}, "Unknown reranker 'mrm'. Did you mean 'mmr'"),
        ({"method": "mmr", "params": {"strength": 2}}, "strength"),
        ({"method": "mmr", "depth": 3}, "from 5 to 1000 candidates; got a depth of 3"),
        ({"method": "rules", "params": {"blocked": ["nothing"]}}, "item 'nothing' is not in the data"),
        ({"methods": "mmr"}, "rerank"),
    ],
)
def test_shapes_that_cannot_be_are_refused_before_lists_are_made(made, rerank, message):
    with pytest.raises(BadInput) as caught:
        preview(made[1], ExportRequest.make(k=5, rerank=rerank))
    assert message in str(caught.value)


def test_live_answers_may_be_shaped(made):
    workspace, run = made
    models, shelf = LoadedModels(workspace, budget_bytes=10**12), Shelf(run.training())
    model = run.model()
    users = model.fitted.users.decode(np.arange(4)).tolist()
    expected = MMR(strength=0.3).rerank(model.recommend(np.arange(4), 50), 5, shelf)
    names = [model.fitted.items.decode(row).tolist() for row in expected.items]
    asked = {"runs": [run.id], "k": 5, "rerank": MMR_3}
    answer = verbs.recommend(models, read(UsersRequest, asked | {"users": users}))["runs"][run.id]
    assert [row["items"] for row in answer["rows"]] == names
    pasts = [model.fitted.items.decode(model.fitted.histories(np.array([u])).items).tolist() for u in range(4)]
    answer = verbs.recommend_for_history(models, read(HistoryRequest, asked | {"histories": pasts}))["runs"][run.id]
    assert [row["items"] for row in answer["rows"]] == names
    shown = verbs.export(
        models, read(ExportListsRequest, {"run": run.id, "request": {"k": 5, "rerank": MMR_3, "seen": "training"}, "n_users": 4})
    )
    assert shown["columns"]["item"] == [item for row in names for item in row] and any("MMR" in note for note in shown["notes"])


def test_the_command_line_prints_the_curve_and_exports_shaped_lists(made, capsys, monkeypatch, tmp_path):
    workspace, run = made
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    assert main(["diversity", run.name, "--method", "mmr", "--k", "5", "--depth", "60", "--strengths", "0,0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["strength", "ndcg@5"] and [line.split()[0] for line in lines[2:4]] == ["0", "0.5"]
    assert main(["diversity", run.name, "--method", "mmr", "--strengths", "a"]) == 2
    assert "got 'a'" in capsys.readouterr().err
    out = tmp_path / "lists.csv"
    export = ["export", "--run", run.name, "--k", "5", "--out", str(out)]
    assert main([*export, "--rerank", "mmr", "--rerank-set", "strength=0.3"]) == 0
    assert "Maximal marginal relevance (MMR); diversity 0.3" in capsys.readouterr().err and len(pd.read_csv(out)) == 60 * 5
    assert main([*export, "--rerank-set", "strength=0.3"]) == 2 and main([*export, "--rerank", "mmr", "--rerank-set", "strength=3"]) == 2
    assert isinstance(run.candidates(), TopK)
