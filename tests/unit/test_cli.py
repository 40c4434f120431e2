"""The command line: the lines of the README, and what happens when the input is bad. Exit codes, one sentence, no traceback."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.store import Workspace

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with train.csv, test.csv, ratings.csv, items.csv, users.csv; ids are text with leading zeros."""
    folder = tmp_path_factory.mktemp("files")
    group = RNG.integers(0, 2, 80)
    rows = pd.DataFrame({"user": RNG.integers(0, 80, 6000)})
    rows["item"] = RNG.integers(0, 20, 6000) + 20 * group[rows["user"]]  # two camps, each with items of its own
    rows = rows.drop_duplicates().sample(frac=1, random_state=0).reset_index(drop=True)
    rows["user"], rows["item"] = rows["user"].map("u{:03}".format), rows["item"].map("{:03}".format)
    rows["rating"] = RNG.integers(1, 6, len(rows))
    rows["timestamp"] = 1_500_000_000 + 3600 * np.arange(len(rows))
    cut = int(len(rows) * 0.7)
    rows.to_csv(folder / "ratings.csv", index=False)
    rows[:cut].to_csv(folder / "train.csv", index=False)
    new = pd.DataFrame({"user": ["stranger"], "item": ["001"], "rating": [5], "timestamp": [1_600_000_000]})
    pd.concat([rows[cut:], new]).to_csv(folder / "test.csv", index=False)
    items = pd.DataFrame({"item": [f"{i:03}" for i in range(40)], "title": [f"Title {i}" for i in range(40)], "genres": ["A|B", "C"] * 20})
    items.to_csv(folder / "items.csv", index=False)
    return folder


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_WORKSPACE", str(tmp_path / "ws"))
    monkeypatch.delenv("RECSYS_DEBUG", raising=False)
    return tmp_path / "ws"


@pytest.fixture
def run(capsys):
    """run(*arguments, code=0) -> (standard output, standard error); checks the exit code and that there is no traceback."""

    def call(*arguments, code=0):
        found = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert found == code, err + out
        assert "Traceback" not in err + out
        if code:
            assert len(err.strip().splitlines()) == 1, f"one sentence, not {err!r}"
        return out, err

    return call


def lists(path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"user": str, "item": str})


# ---- what is there -------------------------------------------------------------------------------
def test_models_are_listed_with_their_parameters(run):
    out, _ = run("models")
    assert all(key in out for key in registry.keys("model"))
    listed = {m["key"]: m for m in json.loads(run("models", "--json")[0])}
    assert set(listed) == set(registry.keys("model"))
    assert listed["ease"]["family"] and any(p["name"] == "regularization" and p["rule"] for p in listed["ease"]["parameters"])
    assert "regularization" in run("models", "ease")[0]


def test_importing_the_command_line_is_quick():
    code = "import sys, time; t = time.process_time(); import recsys_core.__main__; print(time.process_time() - t, 'pandas' in sys.modules)"
    spent, pandas = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert float(spent) < 0.7 and pandas == "False"


# ---- ingest --------------------------------------------------------------------------------------
def test_ingest_guesses_and_says_what_it_did(run, files):
    found = json.loads(run("ingest", files / "ratings.csv", "--name", "Toy", "--items", files / "items.csv", "--json")[0])
    assert found["columns"] == {"user": "user", "item": "item", "value": "rating", "event": None, "time": "timestamp"}
    assert found["rows_read"] == found["rows_kept"] + found["rows_merged"] + found["rows_filtered"] + found["rows_rejected"]
    assert (found["dataset"], found["users"], found["items"], found["rejects_file"]) == ("Toy", 80, 40, None)
    assert isinstance(found["warnings"], list)
    assert Workspace().dataset("Toy").load().item_table["title"][3] == "Title 3"
    again = json.loads(run("ingest", files / "ratings.csv", "--name", "Other", "--items", files / "items.csv", "--json")[0])
    assert again["already_saved"] and again["dataset"] == "Toy"


def test_rejected_rows_are_in_a_file(run, files, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text((files / "ratings.csv").read_text() + "u001,,3,1500000000\nu002,005,much,1500000000\n")
    found = json.loads(run("ingest", bad, "--name", "Bad", "--json")[0])
    assert found["rows_rejected"] == 2
    with gzip.open(found["rejects_file"], "rt") if found["rejects_file"].endswith("gz") else open(found["rejects_file"]) as file:
        assert "much" in file.read()
    out, _ = run("ingest", bad, "--name", "Bad")
    assert "Rejected" in out


def test_columns_can_be_named(run, tmp_path):
    odd = tmp_path / "odd.csv"
    rows = pd.DataFrame({"a": RNG.integers(0, 20, 300), "b": RNG.integers(0, 15, 300), "c": RNG.integers(1, 6, 300)})
    rows.to_csv(odd, index=False)
    found = json.loads(run("ingest", odd, "--name", "odd", "--user", "b", "--item", "a", "--value", "c", "--json")[0])
    assert found["columns"]["user"] == "b" and found["users"] == 15 and found["items"] == 20
    _, err = run("ingest", odd, "--name", "odd", "--user", "z", code=2)
    assert "no column 'z'" in err and "a, b, c" in err


# ---- train ---------------------------------------------------------------------------------------
def test_train_on_files(run, files, tmp_path):
    out_dir = tmp_path / "out"
    run(
        "train",
        "--train",
        files / "train.csv",
        "--test",
        files / "test.csv",
        "--model",
        "ease",
        "--set",
        "regularization=20",
        "--k",
        "7",
        "--out",
        out_dir,
    )
    manifest = json.loads((out_dir / "manifest.json").read_text())
    assert {"spec", "versions", "fit_seconds", "recommend_seconds", "evaluate_seconds", "peak_rss_bytes"} <= set(manifest)
    assert manifest["resolved"]["regularization"] == 20 and (out_dir / "model" / "model.json").exists()
    frame, test, train = lists(out_dir / "recommendations.csv"), lists(files / "test.csv"), lists(files / "train.csv")
    assert list(frame.columns) == ["user", "item", "rank", "score"]
    assert set(frame["user"]) == set(test["user"]), "every user of the test file, the stranger too"
    assert (frame.groupby("user").size() == 7).all() or set(frame.groupby("user").size()) <= set(range(1, 8))
    assert not set(zip(frame["user"], frame["item"], strict=True)) & set(zip(train["user"], train["item"], strict=True))
    popular = train["item"].value_counts()
    assert set(frame[frame["user"] == "stranger"]["item"]) <= set(popular[popular >= popular.iloc[6]].index)
    metrics = json.loads((out_dir / "metrics.json").read_text())["metrics"]
    assert set(metrics["ndcg@7"]) == {"mean", "low", "high"} and "ndcg@20" in metrics
    camp = frame[frame["user"] != "stranger"].merge(train.groupby("user")["item"].min().rename("own"), on="user")
    assert ((camp["item"] < "020") == (camp["own"] < "020")).mean() > 0.8, "it has learnt the two camps"


def test_the_same_seed_gives_the_same_file_and_other_files_in_the_folder_stay(run, files, tmp_path):
    arguments = (
        "train",
        "--train",
        files / "train.csv",
        "--test",
        files / "test.csv",
        "--model",
        "bpr",
        "--set",
        "iterations=3",
        "--set",
        "factors=4",
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    for name in ("a", "b", "a"):
        run(*arguments, "--threads", 1, "--out", tmp_path / name)
    assert (tmp_path / "a" / "recommendations.csv").read_bytes() == (tmp_path / "b" / "recommendations.csv").read_bytes()
    run(*arguments, "--threads", 1, "--seed", 7, "--out", tmp_path / "c")
    assert (tmp_path / "c" / "recommendations.csv").read_bytes() != (tmp_path / "a" / "recommendations.csv").read_bytes()
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine" and not list(tmp_path.glob(".recsys-*"))
    assert (tmp_path / "a" / "ids").is_dir()
    run("train", "--train", files / "train.csv", "--model", "popular", "--out", tmp_path / "a")
    assert not (tmp_path / "a" / "ids").exists(), "nothing of the earlier run is taken for part of this one"


@pytest.mark.parametrize("weights", ["learn", "equal", "2,1"])
def test_fusion(run, files, tmp_path, weights):
    arguments = [
        "--model",
        "weighted",
        "--set",
        "models=ease,item_knn",
        "--set",
        f"weights={weights}",
        "--set",
        "ease.regularization=20",
    ]
    out, _ = run("train", "--train", files / "train.csv", "--test", files / "test.csv", *arguments, "--out", tmp_path / "out", "--json")
    found = json.loads(out)
    assert found["lists"]["unknown_users"] == 1 and found["manifest"]["spec"]["params"]["part_params"] == {"ease": {"regularization": "20"}}


def test_train_on_a_saved_dataset(run, files, tmp_path):
    run("ingest", files / "ratings.csv", "--name", "Toy")
    out, _ = run("train", "--dataset", "toy", "--split", "leave_last", "--model", "popular", "--out", tmp_path / "out")
    assert "ndcg" in out and "recommendations.csv" in out
    assert json.loads((tmp_path / "out" / "card.json").read_text())["split"]["key"] == "leave_last"
    assert "Toy" in run("datasets")[0] and json.loads(run("datasets", "--json")[0])[0]["stats"]["n_users"] == 80
    assert json.loads(run("runs", "--json")[0]) == []


def test_several_seeds_are_several_runs_and_their_spread(run, files, tmp_path):
    out_dir = tmp_path / "out"
    out, _ = run("train", "--train", files / "train.csv", "--model", "popular", "--seeds", "3,1,3", "--out", out_dir, "--json")
    found = json.loads(out)
    assert found["seeds"] == [3, 1] and found["runs"] == [str(out_dir / "seed-3"), str(out_dir / "seed-1")]
    own = [json.loads((out_dir / f"seed-{seed}" / "metrics.json").read_text())["metrics"]["ndcg@10"]["mean"] for seed in (3, 1)]
    spread = found["spread"]["ndcg@10"]
    assert spread["n"] == 2 and spread["mean"] == pytest.approx(sum(own) / 2) and spread["highest"] == max(own) > min(own)
    assert spread["deviation"] == pytest.approx(abs(own[0] - own[1]) / 2**0.5)
    said, _ = run(
        "train", "--train", files / "train.csv", "--test", files / "test.csv", "--model", "popular", "--seeds", "1,2", "--out", out_dir
    )
    assert "mean ± spread" in said and "Most popular, 2 seeds" in said and "the split was the same for each seed" in said


# ---- lists and figures ---------------------------------------------------------------------------
def test_two_processes_train_one_run(run, files, tmp_path):
    """torchrun on this machine: one process writes, and the figures are those of one process up to the noise of training."""
    arguments = ["train", "--train", files / "train.csv", "--test", files / "test.csv", "--model", "mult_vae", "--set", "epochs=15"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "recsys_core"]
    command = [*launcher, *map(str, arguments), "--out", str(tmp_path / "two"), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads(done.stdout)["metrics"]["ndcg@20"]["mean"]  # two documents would not be JSON
    run(*arguments, "--out", tmp_path / "one")
    one = json.loads((tmp_path / "one" / "metrics.json").read_text())["metrics"]["ndcg@20"]["mean"]
    assert two == pytest.approx(one, abs=0.03)
    assert not list(tmp_path.glob(".recsys-*"))


def test_a_training_is_taken_up_from_its_checkpoints(run, files, tmp_path):
    arguments = ["train", "--train", files / "train.csv", "--model", "mult_vae", "--set", "epochs=4", "--checkpoints", tmp_path / "kept"]
    out, _ = run(*arguments, "--out", tmp_path / "one", "--json")
    again, _ = run(*arguments, "--out", tmp_path / "two", "--json")
    first, second = json.loads(out), json.loads(again)
    assert list((tmp_path / "kept").rglob("*.safetensors")) and first["metrics"] == second["metrics"]
    passes = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two")]
    assert not any(step.get("replayed") for step in passes[0]), "the first run had nothing to go on from"
    assert all(step.get("replayed") for step in passes[1]) and len(passes[1]) == len(passes[0]), "the second run trained again"


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    assert (
        main(["train", "--train", str(files / "train.csv"), "--test", str(files / "test.csv"), "--model", "item_knn", "--out", str(out)])
        == 0
    )
    return out


def test_evaluate_agrees_with_the_run(run, files, trained):
    out, _ = run(
        "evaluate",
        "--recs",
        trained / "recommendations.csv",
        "--test",
        files / "test.csv",
        "--train",
        files / "train.csv",
        "--k",
        "5,20",
        "--json",
    )
    found, own = json.loads(out), json.loads((trained / "metrics.json").read_text())
    for name in ("ndcg@20", "recall@5", "map@20", "mrr@20"):
        assert found["metrics"][name]["mean"] == pytest.approx(own["metrics"][name]["mean"])
    assert found["overall"]["coverage@20"] == pytest.approx(own["overall"]["coverage@20"])


def test_evaluate_by_hand(run, tmp_path):
    (tmp_path / "train.csv").write_text("user,item\n" + "".join(f"u{u},i{i}\n" for u in range(3) for i in (u, u + 1, u + 2)))
    (tmp_path / "test.csv").write_text("user,item\nu0,i3\nu0,i4\nu1,i4\nu2,i0\n")
    # u0: hit at 2; u1: its hit is beyond k, behind an item twice and one nobody knows; u2: no list; ghost: not in any file
    (tmp_path / "recs.csv").write_text("user,item,score\nu0,i3,.5\nu0,i4x,.9\nu1,i0,.9\nu1,i0,.8\nu1,new,.7\nu1,i4,.1\nghost,i1,1\n")
    arguments = (
        "evaluate",
        "--recs",
        tmp_path / "recs.csv",
        "--test",
        tmp_path / "test.csv",
        "--train",
        tmp_path / "train.csv",
        "--k",
        "2",
        "--json",
    )
    found = json.loads(run(*arguments)[0])
    assert found["n_users"] == 3
    assert found["metrics"]["recall@2"]["mean"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert found["metrics"]["precision@2"]["mean"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert found["metrics"]["mrr@2"]["mean"] == pytest.approx((1 / 2) / 3)
    notes = " ".join(found["notes"])
    assert "on a list twice" in notes and "neither file" in notes and "no list" in notes


def test_recommend_for_users_and_for_histories(run, trained, tmp_path):
    (tmp_path / "users.txt").write_text("u001\nu002\nnobody\nu001\n")
    _, err = run("recommend", "--run", trained, "--users", tmp_path / "users.txt", "--k", 4, "--out", tmp_path / "a.csv")
    frame = lists(tmp_path / "a.csv")
    assert list(frame["user"].drop_duplicates()) == ["u001", "u002", "nobody"] and "1 of 3 users are not known" in err
    (tmp_path / "h.csv").write_text("user,item\nx,001\nx,003\ny,025\ny,030\nz,unknown\n")
    found = json.loads(
        run("recommend", "--run", trained, "--histories", tmp_path / "h.csv", "--k", 5, "--out", tmp_path / "b.csv", "--json")[0]
    )
    frame = lists(tmp_path / "b.csv")
    assert found["rows"] == len(frame) == 15 and found["unknown_users"] == 1
    assert (frame[frame["user"] == "x"]["item"] < "020").mean() > 0.7 and (frame[frame["user"] == "y"]["item"] >= "020").mean() > 0.7
    assert not {("x", "001"), ("y", "025")} & set(zip(frame["user"], frame["item"], strict=True))
    run("recommend", "--run", trained, "--k", 2, "--out", tmp_path / "all.csv")
    assert lists(tmp_path / "all.csv")["user"].nunique() == 80


def test_export_of_a_run(run, files, tmp_path):
    from recsys_core.context import RunContext
    from recsys_core.jobs import TrainSpec
    from recsys_core.jobs.training import train_in_workspace

    run("ingest", files / "ratings.csv", "--name", "Toy", "--items", files / "items.csv")
    train_in_workspace(Workspace(), TrainSpec(dataset="Toy", model="popular", ks=(5,)), RunContext())
    assert "Most popular" in run("runs", "--metric", "ndcg@5")[0]
    out, _ = run("export", "--run", "Most popular", "--k", 3, "--item-columns", "title", "--out", tmp_path / "x.csv", "--json")
    frame = lists(tmp_path / "x.csv")
    assert json.loads(out)["rows"] == len(frame) and frame["title"].str.startswith("Title").all()
    assert "No run has the metric 'luck'" in run("runs", "--metric", "luck", code=2)[1]


# ---- bad input -----------------------------------------------------------------------------------
BAD = [
    (("train", "--train", "{f}/train.csv", "--test", "{f}/test.csv", "--model", "eese", "--out", "{t}/o"), "Did you mean 'ease'"),
    (
        ("train", "--train", "{f}/train.csv", "--model", "ease", "--set", "regularisation=2", "--out", "{t}/o"),
        "Did you mean 'regularization'",
    ),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--set", "regularization=-2", "--out", "{t}/o"), "got -2"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--set", "regularization", "--out", "{t}/o"), "name=value"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--set", "als.factors=2", "--out", "{t}/o"), "no parts"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--start-from", "x", "--out", "{t}/o"), "got 'ease'. These can: anil, "),
    (("train", "--train", "{f}/none.csv", "--model", "ease", "--out", "{t}/o"), "There is no file"),
    (("train", "--train", "{f}/train.csv", "--test", "{f}", "--model", "ease", "--out", "{t}/o"), "is a folder"),
    (("train", "--train", "{f}/train.csv", "--test", "{t}/empty", "--model", "ease", "--out", "{t}/o"), "is empty"),
    (("train", "--train", "{t}/empty", "--model", "ease", "--out", "{t}/o"), ""),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--out", "{t}/empty"), "is a file"),
    (("train", "--train", "{f}/train.csv", "--dataset", "x", "--model", "ease", "--out", "{t}/o"), "either"),
    (("train", "--model", "ease", "--out", "{t}/o"), "either"),
    (("train", "--dataset", "x", "--threshold", "3", "--model", "ease", "--out", "{t}/o"), "--threshold goes with --train"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--out", ""), "--out is empty"),
    (("train", "--dataset", "nothing", "--model", "ease", "--out", "{t}/o"), "no dataset 'nothing'"),
    (("train", "--train", "{f}/train.csv", "--split", "magic", "--model", "ease", "--out", "{t}/o"), "Unknown splitter 'magic'"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--k", "0", "--out", "{t}/o"), "got 0"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--seeds", "1,x", "--out", "{t}/o"), "got '1,x'"),
    (("train", "--train", "{f}/train.csv", "--model", "ease", "--k", "ten", "--out", "{t}/o"), "ten"),
    (("train", "--train", "{f}/train.csv", "--model", "weighted", "--set", "models=ease,nope", "--out", "{t}/o"), "nope"),
    (("train", "--train", "{f}/train.csv", "--model", "weighted", "--set", "weights=1", "--out", "{t}/o"), "got 1"),
    (("train", "--train", "{f}/train.csv", "--model", "weighted", "--set", "weights=a,b,c", "--out", "{t}/o"), "list of numbers"),
    (("ingest", "{f}/none.csv", "--name", "x"), "There is no file"),
    (("ingest", "{t}/binary", "--name", "x"), ""),
    (("ingest", "{f}/train.csv", "--name", " "), "visible character"),
    (("ingest", "{f}/train.csv"), "--name"),
    (("ingest", "{f}/train.csv", "--name", "x", "--duplicates", "most"), "duplicates"),
    (("recommend", "--run", "{t}/o", "--out", "{t}/r.csv"), "no run folder"),
    (("recommend", "--run", "{f}", "--out", "{t}/r.csv"), "not a run"),
    (("recommend", "--run", "{r}", "--users", "{t}/empty", "--out", "{t}/r.csv"), ""),
    (("recommend", "--run", "{r}", "--users", "{t}/binary", "--out", "{t}/r.csv"), "binary"),
    (("recommend", "--run", "{r}", "--out", "{t}/no/r.csv"), "cannot be written"),
    (("recommend", "--run", "{r}", "--users", "{t}/u", "--histories", "{t}/h", "--out", "{t}/r.csv"), "not both"),
    (("evaluate", "--recs", "{f}/none", "--test", "{f}/test.csv", "--train", "{f}/train.csv"), "no file of lists"),
    (("evaluate", "--recs", "{r}/recommendations.csv", "--test", "{f}/test.csv", "--train", "{f}/train.csv", "--k", "5,x"), "5,x"),
    (("evaluate", "--recs", "{f}/items.csv", "--test", "{f}/test.csv", "--train", "{f}/train.csv"), ""),
    (("dance",), "dance"),
    (("models", "--colour"), "--colour"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[f"{n}-{a[0]}" for n, (a, _) in enumerate(BAD)])
def test_bad_input_is_one_sentence_and_exit_code_2(run, files, trained, tmp_path, arguments, words):
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 40)
    _, err = run(*(a.format(f=files, t=tmp_path, r=trained) for a in arguments), code=2)
    assert words.lower() in err.lower()
    assert not (tmp_path / "o").exists() and not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize("part", ["state.safetensors", "model.json", "data/users.parquet", "data/arrays.safetensors"])
def test_a_damaged_model_is_one_sentence(run, trained, tmp_path, part):
    shutil.copytree(trained, tmp_path / "damaged")
    (tmp_path / "damaged" / "model" / part).write_bytes(b"half a")
    _, err = run("recommend", "--run", tmp_path / "damaged", "--out", tmp_path / "r.csv", code=2)
    assert "cannot be read" in err and "Train it again" in err and not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_a_list_of_user_ids_in_any_encoding(run, trained, tmp_path, encoding):
    (tmp_path / "ids").write_bytes("user\r\nu001\r\nJosé\r\n".encode(encoding))
    run("recommend", "--run", trained, "--users", tmp_path / "ids", "--k", 2, "--out", tmp_path / "r.csv")
    assert lists(tmp_path / "r.csv")["user"].unique().tolist() == ["u001", "José"]


def test_ingest_warns_of_data_that_teach_little(run, files, tmp_path):
    (tmp_path / "tiny.csv").write_text("user,item\na,1\na,2\nb,1\nc,2\n")
    told = json.loads(run("ingest", tmp_path / "tiny.csv", "--name", "tiny", "--json")[0])["warnings"]
    assert any("Too little to learn from" in sentence for sentence in told)
    told = json.loads(run("ingest", files / "train.csv", "--name", "strict", "--threshold", 99, "--json")[0])["warnings"]
    assert any("reach the threshold 99" in sentence for sentence in told)


def test_a_failure_of_ours_is_exit_code_1(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr("recsys_core.jobs.training.evaluate", lambda *a, **k: 1 / 0)
    _, err = run("train", "--train", files / "train.csv", "--model", "popular", "--out", tmp_path / "o", code=1)
    assert "ZeroDivisionError" in err and not (tmp_path / "o").exists()


def test_ctrl_c_is_clean(files, tmp_path):
    arguments = ["train", "--train", str(files / "train.csv"), "--model", "bpr", "--set", "iterations=5000", "--set", "factors=1024"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "recsys_core", *arguments, "--out", str(tmp_path / "o")],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a run in the background ignores Ctrl-C: its child would too
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".recsys-*")) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.5)
    while process.poll() is None and time.monotonic() < end:  # a library that is being imported may swallow one
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.strip().splitlines()[-1] == "Stopped." and "Traceback" not in err
    assert not list(tmp_path.glob(".recsys-*")) and not (tmp_path / "o").exists()


@pytest.mark.parametrize("header", [True, False])
def test_columns_keep_their_roles_whatever_the_files_look_like(run, tmp_path, header):
    """Items that look like users (few, repeated), a tiny test file, no header: still user,item by name or place."""
    rows = pd.DataFrame({"user": np.arange(300) % 100, "item": RNG.integers(1000, 1006, 300)}).drop_duplicates()
    rows.to_csv(tmp_path / "train.csv", index=False, header=header)
    (tmp_path / "test.csv").write_text(("user,item\n" if header else "") + "1,1000\n1,1001\n1,1002\n1,1003\n1,1004\n1,1005\n")
    run(
        "train", "--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--model", "popular", "--k", 3, "--out", tmp_path / "o"
    )
    frame = lists(tmp_path / "o" / "recommendations.csv")
    assert set(frame["user"]) == {"1"} and frame["item"].astype(int).min() >= 1000


def test_features_shows_every_column_and_what_is_odd(files, run):
    run("ingest", files / "ratings.csv", "--name", "shop", "--items", files / "items.csv")
    out, err = run("features", "shop")
    assert "Items: 40 rows, 2 columns." in out and "genres  Several values a cell" in out and "title   Text" in out
    told = json.loads(run("features", "shop", "--json")[0])
    assert [one["name"] for one in told["sides"]["item"]["columns"]] == ["title", "genres"] and told["features"] == ""
    run("ingest", files / "train.csv", "--name", "bare")
    assert "has no table of items or users" in run("features", "bare")[1]
    assert "nowhere" in run("features", "nowhere", code=2)[1]
