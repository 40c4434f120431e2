"""A model that starts from another result has not seen whom it is judged on, and stands alone afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.starts import checked_start, same_people
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace

SMALL = {"epochs": 1, "factors": 4, "hidden": 4, "inner_steps": 1}


def shop(name: str, seed: int, n_users: int = 40, prefix: str = "") -> Dataset:
    """Users and items by whole numbers, as in many files: ids of two shops are alike by accident. prefix: of the items' ids."""
    rng = np.random.default_rng(seed)
    item = np.concatenate([rng.choice(30, 12, replace=False) for _ in range(n_users)])
    user = np.repeat(np.arange(n_users), 12)
    ids = IdMap([str(n) for n in range(n_users)]), IdMap([f"{prefix}{n}" for n in range(30)])
    data = Dataset(*ids, user.astype(np.int32), item.astype(np.int32), np.ones(len(user), np.float32), name=name)
    return replace(data, item_table=pd.DataFrame({"genre": rng.choice(["crime", "love", "war"], 30)}))


def by_number(seed: int) -> Dataset:
    """Every third user has the same taste."""
    rng = np.random.default_rng(seed)
    item = np.concatenate([10 * (n % 3) + rng.choice(10, 4, replace=False) for n in range(60)])
    ids = IdMap([str(n) for n in range(60)]), IdMap([str(n) for n in range(30)])
    return Dataset(*ids, np.repeat(np.arange(60), 4).astype(np.int32), item.astype(np.int32), np.ones(240, np.float32))


def spec_of(workspace: Workspace, dataset: str, **more: Any) -> TrainSpec:
    params = SMALL | ({"start_from": f"run:{more.pop('start')}"} if "start" in more else {})
    given = {"split": "cold_users", "split_params": {"users_share": 0.2}, "model": "fomaml", "params": params, "ks": (5,)}
    return TrainSpec.make(dataset=workspace.dataset(dataset).id, **given | more)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, str]]:
    """Shops A and B; a result on A (seed 42, and its run in 3 folds), and one on B that started from it."""
    workspace = Workspace(tmp_path_factory.mktemp("starts"))
    for name, seed in (("A", 0), ("B", 1)):
        workspace.add_dataset(shop(name, seed), name)
    ctx = RunContext(threads=1)
    runs = {"A": train_in_workspace(workspace, spec_of(workspace, "A"), ctx).id}
    runs["B"] = train_in_workspace(workspace, spec_of(workspace, "B", start=runs["A"]), ctx).id
    folds = spec_of(workspace, "A", split="kfold", split_params={"folds": 3})
    runs["folds"] = train_in_workspace(workspace, folds, ctx).id
    return workspace, runs


def test_the_manifest_says_where_it_started(filled: Any) -> None:
    workspace, runs = filled
    told = workspace.run(runs["B"]).manifest["started_from"]
    assert [(one["run"], one["dataset_name"]) for one in told] == [(runs["A"], "A")]
    assert "started_from" not in workspace.run(runs["A"]).manifest
    assert runs["A"] not in workspace.run(runs["B"]).name


def test_another_cut_is_refused_however_it_comes_in(filled: Any) -> None:
    workspace, runs = filled
    other = spec_of(workspace, "A", start=runs["A"], seed=7)
    with pytest.raises(Unsupported, match="was trained on another cut of the same dataset"):
        checked_start(workspace, other)
    with pytest.raises(Unsupported, match="started from a model that was trained on another cut"):  # A, then B, then A again
        checked_start(workspace, spec_of(workspace, "A", start=runs["B"], seed=7))
    inside = {"models": ["fomaml", "anil"], "part_params": {"fomaml": SMALL | {"start_from": f"run:{runs['A']}"}}}
    with pytest.raises(Unsupported, match="another cut"):
        checked_start(workspace, other.model_copy(update={"model": "meta_average", "params": inside}))
    with pytest.raises(Unsupported, match="test users of one fold are training users of another"):
        folds = {"split": "kfold", "split_params": {"folds": 3}, "start": runs["folds"]}
        checked_start(workspace, spec_of(workspace, "A", **folds))


def test_the_same_cut_and_other_data_are_allowed(filled: Any) -> None:
    workspace, runs = filled
    name = workspace.run(runs["A"]).name
    for dataset in ("A", "B"):  # by name; the same cut holds the same users out
        assert checked_start(workspace, spec_of(workspace, dataset, start=name)).params["start_from"] == f"run:{runs['A']}"
    inside = {"models": ["fomaml", "anil"], "part_params": {"fomaml": {"start_from": f"run:{name}"}}}
    fused = checked_start(workspace, spec_of(workspace, "B", model="meta_average", params=inside))
    assert fused.params["part_params"]["fomaml"]["start_from"] == f"run:{runs['A']}"


def test_the_same_people_in_another_dataset_are_recognised(filled: Any) -> None:
    workspace, runs = filled
    whole = shop("A", 0)
    halved = whole.subset(np.random.default_rng(3).random(len(whole)) < 0.5)  # other limits: another dataset, the same people
    again = replace(halved, item_table=whole.item_table, name="A read otherwise")
    assert same_people(whole, again) > 0.5
    assert abs(same_people(whole, shop("B", 1))) < 0.1  # ids alike by accident, 40 % of the items of each
    assert same_people(whole, shop("C", 0, prefix="item ")) == 0.0
    assert abs(same_people(by_number(2), by_number(3))) < 0.1  # numbered by taste in both shops: alike, and yet other people
    assert same_people(by_number(2), by_number(2)) > 0.5
    entry = workspace.add_dataset(again, "A read otherwise")
    with pytest.raises(Unsupported, match="where the same users have the same items"):
        train_in_workspace(workspace, spec_of(workspace, entry.name, start=runs["A"]), RunContext(threads=1))
    with pytest.raises(Unsupported, match="where the same users have the same items"):  # and by way of B
        train_in_workspace(workspace, spec_of(workspace, entry.name, start=runs["B"]), RunContext(threads=1))


def test_the_command_line_refuses_it_too(filled: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    from recsys_core.cli import main

    workspace, runs = filled
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    asked = ["train", "--dataset", "A", "--split", "cold_users", "--model", "fomaml", "--seed", "7", "--out", str(tmp_path / "out")]
    assert main([*asked, "--start-from", runs["A"]]) != 0
    assert "another cut of the same dataset" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_start_may_be_deleted(filled: Any) -> None:
    """Last: it takes the result of A away."""
    workspace, runs = filled
    assert runs["B"] not in [entry.id for _, entry in workspace.dependents(runs["A"])]
    workspace.delete(runs["A"])
    made = workspace.run(runs["B"])
    assert made.model().item_vectors.shape == (30, 4)
    assert made.manifest["started_from"][0]["name"]
    with pytest.raises(Unsupported, match="started from a model that was trained on another cut"):  # known still
        checked_start(workspace, spec_of(workspace, "A", start=runs["B"], seed=7))
