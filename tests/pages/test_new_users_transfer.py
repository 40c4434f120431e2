"""New users, tab "From other data", and the choice on Train: a start from a model of another dataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.cold_start import compare_cold
from recsys_core.jobs.cold_start_spec import ColdStartSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace

ONE = RunContext(threads=1)
TAB = "From other data"
TINY = {"epochs": 1, "factors": 4, "hidden": 4, "inner_steps": 1}


def _dataset(workspace: Workspace, name: str, seed: int):
    rng = np.random.default_rng(seed)
    rows = [(f"u{u:03}", f"i{i:02}") for u in range(60) for i in rng.choice(14, 12, replace=False) + 14 * (u % 3)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    table = pd.DataFrame({"genre": [("crime", "love", "war")[int(i[1:]) // 14] for i in data.items.ids]})
    workspace.add_dataset(replace(data, item_table=table), name)
    return next(entry for entry in workspace.datasets() if entry.name == name)


def _train(workspace: Workspace, entry, name: str, **params):
    spec = TrainSpec.make(
        dataset=entry.id,
        split="cold_users",
        split_params={"users_share": 0.3},
        model="fomaml",
        params=TINY | params,
        name=name,
        refit=False,
    )
    return train_in_workspace(workspace, spec, ONE)


@pytest.fixture
def shops(workspace_root):
    workspace = Workspace(workspace_root)
    there, here = _dataset(workspace, "Books", 0), _dataset(workspace, "Films", 1)
    return workspace, here, _train(workspace, there, "Learnt from books")


def test_nothing_started_elsewhere_yet(open_page, text_of, shops) -> None:
    _, here, _ = shops
    said = text_of(open_page("new_users", dataset=here.id, tab=TAB))
    assert "No model here started from other data" in said and "Learnt from books (Books) can be started from" in said.replace("\\", "")


def test_what_a_start_bought_is_told_beside_the_same_from_scratch(open_page, text_of, shops) -> None:
    workspace, here, there = shops
    runs = [
        _train(workspace, here, "From books", start_from=f"run:{there.id}", as_it_is=True),
        _train(workspace, here, "From scratch"),
    ]
    said = text_of(open_page("new_users", dataset=here.id, tab=TAB))
    assert "From books" in said and "not measured yet" in said
    compare_cold(workspace, ColdStartSpec.make(runs=tuple(run.id for run in runs), shots=(0, 1, 3)), ONE)
    at = open_page("new_users", dataset=here.id, tab=TAB)
    said = text_of(at).replace("\\", "")
    assert "From books, from Books, as it is:" in said and "From scratch after 3 clicks" in said
    assert set(at.dataframe[0].value["Started from"]) == {"Books, as it is", "from scratch"}


def test_train_offers_models_of_other_datasets_with_the_same_columns(shops, monkeypatch) -> None:
    from ui import state, train_start

    workspace, here, there = shops
    monkeypatch.setattr(state, "workspace", lambda: workspace)
    monkeypatch.setattr(state, "root", lambda: workspace.root)
    found = train_start.sources(here)
    assert list(found) == [there.id] and found[there.id][1] == ["genre"]
    assert not train_start.sources(there.dataset)  # a dataset's own results are no other data
