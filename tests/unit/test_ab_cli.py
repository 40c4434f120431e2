"""A/B tests and robustness on the command line: the same figures as the calls behind them, one sentence for what is wrong."""

import json

import numpy as np
import pandas as pd
import pytest

from recsys_core.cli import main
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.evaluation.ab import plan_rate
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace


def test_a_plan(capsys):
    assert main(["ab", "plan", "--baseline", "0.05", "--lift", "0.005", "--daily-users", "1000"]) == 0
    assert capsys.readouterr().out.strip() == plan_rate(0.05, 0.005, daily_users=1000).sentence()
    assert main(["ab", "plan", "--baseline", "20", "--lift", "1", "--spread", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["users_per_group"] == 1571
    assert main(["ab", "plan", "--baseline", "5", "--lift", "1"]) == 2
    assert "must be between 0 and 1" in capsys.readouterr().err


def test_a_result_file(capsys, tmp_path):
    rng = np.random.default_rng(0)
    group = np.where(np.arange(2000) % 2, "new", "control")
    clicked = (rng.random(2000) < np.where(group == "new", 0.3, 0.2)).astype(int)
    file = tmp_path / "result.csv"
    pd.DataFrame({"visitor": np.arange(2000), "group": group, "clicked": clicked}).to_csv(file, index=False, sep=";")
    assert main(["ab", "read", str(file)]) == 0
    out = capsys.readouterr().out
    assert "The groups are as large as planned" in out and "'new' raises 'clicked' against 'control'" in out
    assert main(["ab", "read", str(file), "--json", "--control", "new"]) == 0
    effect = json.loads(capsys.readouterr().out)["effects"][0]
    assert effect["variant"] == "control" and effect["difference"] == pytest.approx(clicked[::2].mean() - clicked[1::2].mean())
    assert main(["ab", "read", str(file), "--outcome", "nothing"]) == 2 and "no column 'nothing'" in capsys.readouterr().err


def test_two_runs_in_one_list_and_robustness(capsys, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(f"u{u:03}", f"i{i + 12 * (u % 3):02}") for u in range(90) for i in rng.choice(12, 8, replace=False)]
    workspace = Workspace(tmp_path)
    monkeypatch.setenv("RECSYS_WORKSPACE", str(tmp_path))
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Tastes")
    for model in ("popular", "item_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, ks=(5,)), RunContext(threads=1))
    assert main(["ab", "interleave", "Most popular", "Item neighbours", "--k", "5"]) == 0
    assert "Item neighbours is preferred in one list" in capsys.readouterr().out
    assert main(["robustness", "Item neighbours", "--kind", "loss", "--k", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["what", "happens"] and [line.split()[2] for line in lines[2:5]] == ["5", "10", "20"]
    result = workspace.analyses("robustness")[0].result()
    assert f"{result['figures']['ndcg@5']:.4f} on the data as they are" in lines[-1]
    assert main(["robustness", "Item neighbours", "--kind", "fire"]) == 2 and "got fire" in capsys.readouterr().err
