"""Bundles of runs: what is shipped and why, what the manifest says, the command line, the job and the workspace."""

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
from recsys_core.data.topk import TopK
from recsys_core.errors import BadInput, Cancelled, NotFound, Unsupported
from recsys_core.jobs import JobQueue, JobSpec, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._portable import Packing, Portable
from recsys_core.portable.archive import Archive
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
from recsys_core.portable.measure import own_asked, read_asked, save_asked
from recsys_core.serving import bundle_run, parity
from recsys_core.serving.bundle_about import item_columns
from recsys_core.serving.bundle_run import make_bundle, pruned
from recsys_core.serving.bundle_words import told_of
from recsys_core.store import Workspace
from recsys_core.store.bundles import BundleRequest
from recsys_core.testing.datasets import tastes

QUICK = RunContext(threads=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One dataset of ratings with titles and genres; EASE on a random split and on new users, and a list for everybody."""
    workspace = Workspace(tmp_path_factory.mktemp("bundles") / "ws")
    case = tastes(ratings=True)
    frame = pd.DataFrame({"user": case.train.user, "item": case.train.item, "value": case.train.value}).astype({"user": str, "item": str})
    data = from_frame(frame, value="value", feedback="explicit", threshold=4, name="Tastes")
    titles = [f"Title {item}" for item in data.items.ids]
    genres = [("Drama, Crime", "Comedy, Drama", "War, Crime, Drama")[code % 3] for code in range(data.n_items)]
    table = pd.DataFrame({"title": titles, "genres": genres, "year": np.arange(data.n_items) + 1900})
    entry = workspace.add_dataset(replace(data, item_table=table), "Tastes")
    for model, split in (("ease", "random"), ("ease", "cold_users"), ("popular", "random"), ("content_knn", "cold_items")):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, split=split, model=model, ks=(10, 20)), QUICK)
    return workspace


def _run(workspace: Workspace, model: str = "ease", split: str = "random"):
    return next(run for run in workspace.runs() if (run.model_key, run.spec["split"]) == (model, split))


@pytest.fixture(scope="module")
def made(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("out") / "ease.zip"
    return make_bundle(_run(workspace), out, quantize="int8", licence="Not for sale.", ctx=QUICK)


# ---- what is made -------------------------------------------------------------------------------------
def test_the_report_and_the_manifest(workspace: Workspace, made) -> None:
    run, bundle = _run(workspace), Bundle.open(made.path, fingerprint=made.fingerprint)
    report = made.report
    names = [one["name"] for one in report["variants"]]
    assert names == ["fp32", "int8"] and report["k"] == 20 and report["sample"] == len(run.holdout().users)
    whole = report["variants"][0]
    assert whole["overlap"] == 1 and whole["score_error"] < 1e-4 and abs(whole["ndcg_loss"]) < 1e-9
    assert whole["ndcg"] == pytest.approx(run.metrics["ndcg@20"]["mean"], abs=1e-6), "its lists are those the run was measured by"
    assert all(0 < one["p50_ms"] <= one["p99_ms"] < 1000 and 20 < one["memory_mb"] < 150 for one in report["variants"])
    assert report["variants"][1]["size_bytes"] < whole["size_bytes"]
    manifest = json.loads(json.dumps(bundle.manifest))
    assert manifest["report"] == report and manifest["variant"] == report["shipped"] and manifest["licence"] == "Not for sale."
    assert manifest["run"]["id"] == run.id and manifest["run"]["dataset"] == "Tastes" and manifest["protocol"] == run.card()
    assert manifest["reference"] == {"hit_rate@10": pytest.approx(run.metrics["hit_rate@10"]["mean"])}
    assert list(bundle.table) == ["title", "genres"] and bundle.title_column == "title"
    assert bundle.table["genres"][:3] == ["Drama|Crime", "Comedy|Drama", "War|Crime|Drama"], "parted as filters part them"
    assert list(made.path.parent.iterdir()) == [made.path], "nothing else is left"


def test_the_probes_give_their_lists_again(workspace: Workspace, made) -> None:
    bundle = Bundle.open(made.path)
    probes = bundle.manifest["probes"]
    assert len(probes) == 20 and len({tuple(probe["items"]) for probe in probes}) > 10
    for probe in probes:
        codes, scores = bundle.best(History.of(probe["items"], probe["values"]), 10)
        assert codes.tolist() == probe["top"] and np.isfinite(scores).all() and not set(probe["top"]) & set(probe["items"])


def test_users_who_were_never_seen_come_with_their_histories(workspace: Workspace, tmp_path: Path) -> None:
    run = _run(workspace, split="cold_users")
    made = make_bundle(run, tmp_path / "cold.zip", ctx=QUICK)
    (whole,) = made.report["variants"]
    assert whole["overlap"] == 1 and whole["ndcg"] == pytest.approx(run.metrics["ndcg@20"]["mean"], abs=1e-6)
    assert whole["why"] == "The numbers as they were learnt."


def test_new_items_are_listed_among_themselves_as_the_run_did(workspace: Workspace, tmp_path: Path) -> None:
    run = _run(workspace, "content_knn", "cold_items")
    made = make_bundle(run, tmp_path / "items.zip", ctx=QUICK)
    (whole,) = made.report["variants"]
    assert whole["overlap"] >= 0.99 and whole["ndcg"] == pytest.approx(run.metrics["ndcg@20"]["mean"], rel=0.05), (
        "ties come by chance there"
    )
    reference = made.manifest["reference"]["hit_rate@10"]
    assert reference < run.metrics["hit_rate@10"]["mean"], "live lists are of all items, which is harder"


def test_without_users_nobodys_past_is_in_the_file(workspace: Workspace, tmp_path: Path) -> None:
    made = make_bundle(_run(workspace), tmp_path / "none.zip", with_users=False, columns=[], ctx=QUICK)
    bundle = Bundle.open(made.path)
    assert not any(name.startswith("users/") for name in bundle.manifest["members"]) and not bundle.table
    train = _run(workspace).training()
    pasts = {tuple(sorted(train.item[train.user == user].tolist())) for user in range(train.n_users)}
    assert not any(tuple(sorted(probe["items"])) in pasts for probe in made.manifest["probes"])
    assert "No histories of users are in it" in "\n".join(told_of(bundle.manifest, 1000))
    assert len(own_asked(bundle, 12)) == 12 and all(user == -1 and len(history) for history, user in own_asked(bundle, 12))


def test_pruning_where_there_is_nothing_to_prune_is_said(workspace: Workspace, tmp_path: Path) -> None:
    made = make_bundle(_run(workspace, "popular"), tmp_path / "popular.zip", prune=0.3, ctx=QUICK)
    assert [one["name"] for one in made.report["variants"]] == ["fp32"] and "nothing was pruned" in made.report["warnings"][0]


def test_smaller_variants_are_measured_for_comparison_and_not_shipped(workspace: Workspace, tmp_path: Path, monkeypatch) -> None:
    n = _run(workspace).model().fitted.n_items
    thin = Portable("constant", {"scores": np.ones((1, n), np.float32)})  # lists of its own
    monkeypatch.setattr(bundle_run, "pruned", lambda whole, share: thin if share == 0.3 else None)
    made = make_bundle(_run(workspace), tmp_path / "compared.zip", compare=True, ctx=QUICK)
    rows = {one["name"]: one for one in made.report["variants"]}
    assert list(rows) == ["fp32", "int8", "pruned 30 %"] and made.report["shipped"] == "fp32" and not made.report["warnings"]
    assert rows["int8"]["size_bytes"] < rows["fp32"]["size_bytes"] and rows["int8"]["overlap"] > 0.9 and not rows["int8"]["kept"]
    assert rows["int8"]["why"].startswith(("Not asked for. It gives the same lists", "Too different"))
    assert rows["pruned 30 %"]["why"].startswith("Too different") and Bundle.open(made.path).manifest["codec"] == "float32"
    asked = make_bundle(_run(workspace), tmp_path / "asked.zip", compare=True, quantize="int8", ctx=QUICK)
    assert [one["name"] for one in asked.report["variants"]] == ["fp32", "int8", "pruned 30 %"], "what was asked for is measured once"


def test_a_variant_that_cannot_be_made_leaves_the_whole_one(workspace: Workspace, tmp_path: Path, monkeypatch) -> None:
    def write(*args, codec: str, **more):
        if codec == "int8":
            raise Unsupported("int8 needs a library that is not there.")
        return real(*args, codec=codec, **more)

    real = bundle_run.write_bundle
    monkeypatch.setattr(bundle_run, "write_bundle", write)
    made = make_bundle(_run(workspace), tmp_path / "out.zip", quantize="int8", ctx=QUICK)
    assert made.report["shipped"] == "fp32" and made.report["warnings"] == [
        "int8 could not be made: int8 needs a library that is not there."
    ]


def test_a_worse_int8_is_not_shipped(workspace: Workspace, tmp_path: Path, monkeypatch) -> None:
    """Lists turned round: the gate looks at lists, not at what a variant is called."""
    real = parity.answers

    def answers(bundle, sample, ctx):
        top, error = real(bundle, sample, ctx)
        if bundle.manifest["codec"] == "int8":
            top = TopK(top.users, np.where(top.items >= 0, bundle.n_items - 1 - top.items, -1).astype(np.int32), top.scores)
        return top, error

    monkeypatch.setattr(parity, "answers", answers)
    made = make_bundle(_run(workspace), tmp_path / "out.zip", quantize="int8", ctx=QUICK)
    assert made.report["shipped"] == "fp32" and Bundle.open(made.path).manifest["codec"] == "float32"
    assert "Not shipped" in made.report["warnings"][0] and "fp32 is shipped" in made.report["warnings"][0]


def test_pruning_reaches_the_parts_of_a_fusion() -> None:
    leaf = Portable("constant", {"scores": np.ones((1, 4))}, prune=lambda share: Portable("constant", {"scores": np.full((1, 4), share)}))
    fused = pruned(Portable("sum", parts=(leaf, Portable("constant"))), 0.25)
    assert fused.parts[0].matrices["scores"][0, 0] == 0.25 and fused.parts[1].matrices == {}
    assert pruned(Portable("sum", parts=(Portable("constant"),)), 0.25) is None


def test_what_cannot_be_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    run, out = _run(workspace), tmp_path / "no.zip"
    for values, said in (
        ({"prune": 0.0}, "got 0"), ({"prune": 0.95}, "at most 0.9; got 0.95"), ({"quantize": "int4"}, "got 'int4'"),
        ({"columns": ["colour"]}, "no column 'colour'"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=said):
            make_bundle(run, out, **values, ctx=QUICK)
    assert not list(tmp_path.iterdir())
    model = run.model()
    with pytest.raises(BadInput, match="has no item table"):
        item_columns(_with(model, None), ["title"])
    assert item_columns(_with(model, None), None).table is None


def test_a_model_that_has_no_form_is_refused_in_a_sentence(workspace: Workspace, tmp_path: Path, monkeypatch) -> None:
    model = registry.get("model", "ease")
    monkeypatch.setattr(model, "_portable", Packing._portable, raising=False)
    assert not model.can_bundle()
    with pytest.raises(Unsupported, match=r"^EASE cannot be bundled\. "):
        make_bundle(_run(workspace), tmp_path / "no.zip", ctx=QUICK)
    assert not list(tmp_path.iterdir())


def _with(model, table):
    model.train = replace(model.fitted, item_table=table)
    return model


def test_stopping_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    seen: list[str] = []
    ctx = RunContext(threads=1, on_progress=lambda step: seen.append(step.stage), cancelled=lambda: any("Comparing" in one for one in seen))
    with pytest.raises(Cancelled):
        make_bundle(_run(workspace), tmp_path / "out.zip", ctx=ctx)
    assert not list(tmp_path.iterdir()) and "Loading the model" in seen


def test_histories_go_to_another_process_and_back(tmp_path: Path) -> None:
    asked = [(History.of([3, 1], [5, 2], [10, 20]), 4), (History.of([], times=[]), -1)]
    save_asked(tmp_path / "asked.npz", asked)
    (first, user), (empty, nobody) = read_asked(tmp_path / "asked.npz")
    assert (first.items.tolist(), first.values.tolist(), first.times.tolist(), user) == ([3, 1], [5, 2], [10, 20], 4)
    assert len(empty) == 0 and nobody == -1


# ---- the command line ---------------------------------------------------------------------------------
def test_the_commands(workspace: Workspace, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    run, out = _run(workspace), tmp_path / "e.zip"
    assert main(["bundle", "--run", run.id, "--out", str(out), "--float16", "--no-users", "--column", "year"]) == 0
    said = capsys.readouterr().out
    fingerprint = Archive.open(out).fingerprint
    assert "overlap@20" in said and "float16" in said and fingerprint in said and Bundle.open(out).table["year"][0] == 1900
    assert main(["bundle-info", str(out), "--fingerprint", fingerprint]) == 0
    said = capsys.readouterr().out
    for words in ("Trained on 'Tastes'", "No histories of users", "Every checksum is right", "No licence is known"):
        assert words in said
    assert main(["bundle-info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == fingerprint
    assert main(["bundle", "--run", str(run.path), "--out", str(tmp_path / "f.zip"), "--no-compare", "--json"]) == 0, "a folder does too"
    assert json.loads(capsys.readouterr().out)["report"]["shipped"] == "fp32"
    out.write_bytes(out.read_bytes()[:-100])
    for arguments, sentence in (
        (["bundle-info", str(out)], "is not a bundle, or it is damaged"),
        (["bundle", "--run", run.id, "--out", str(out), "--prune", "2"], "got 2"),
        (["bundle", "--run", run.id, "--out", str(out), "--quantize", "int4"], "got 'int4'"),
        (["bundle", "--run", "nothing", "--out", str(out)], "There is no run folder 'nothing'"),
        (["bundle", "--run", run.id, "--out", str(tmp_path / "no" / "e.zip")], "cannot be written"),
    ):
        assert main(arguments) == 2 and sentence in capsys.readouterr().err


# ---- the workspace and the job ------------------------------------------------------------------------
def test_the_job_makes_it_once_and_it_goes_with_its_run(workspace: Workspace) -> None:
    run, handler = _run(workspace, "popular"), registry.get("job", "bundle")()
    payload = {"dataset": run.dataset_id, "run": run.id, "with_users": False}
    result = handler.run(payload, workspace, QUICK)
    entry = workspace.bundle(result["bundle"])
    assert workspace.bundles(run.id) == [entry] and workspace.bundles("another") == [] and entry.name == f"{run.name}, fp32"
    assert Bundle.open(entry.file, fingerprint=entry.fingerprint).label == run.manifest["label"]
    assert entry.report["shipped"] == entry.manifest["variant"] and entry.request["with_users"] is False
    assert BundleRequest.make(with_users=False).bundle_id(run.id) == entry.id != BundleRequest.make().bundle_id(run.id)
    written = entry.file.stat().st_mtime_ns
    assert handler.run(payload, workspace, QUICK) == result and entry.file.stat().st_mtime_ns == written, "not made again"
    assert workspace.disk_use()["bundles"] >= entry.file.stat().st_size
    assert f"bundle '{entry.name}'" in workspace.dependents(run.id)
    spec = JobSpec(kind="bundle", payload=payload, key=f"bundle-{entry.id}")
    job = JobQueue(workspace).submit(spec)
    assert JobQueue(workspace).submit(spec).id == job.id, "asked for twice, queued once"
    with pytest.raises(BadInput, match="used by the queued job"):
        workspace.delete(entry.run_id)
    JobQueue(workspace).cancel(job.id)
    with pytest.raises(BadInput, match="bundle"):
        workspace.delete(run.id)
    workspace.delete(entry.id)
    with pytest.raises(NotFound):
        workspace.bundle(entry.id)


def test_a_request_that_makes_no_sense_fails_before_the_model_is_loaded(workspace: Workspace) -> None:
    handler, before = registry.get("job", "bundle")(), list((workspace.root / "bundles").iterdir())
    for more, said in (({"prune": 3}, "got 3"), ({"colour": "red"}, "colour"), ({"quantize": "int2"}, "int2")):
        with pytest.raises(BadInput, match=said):
            handler.run({"run": _run(workspace).id} | more, workspace, QUICK)
    assert list((workspace.root / "bundles").iterdir()) == before
