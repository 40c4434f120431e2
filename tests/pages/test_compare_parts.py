"""Compare, "New items and users": the kinds drawn with their candidates, what is arbitrary said, the next step where there is none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.splitting._base import PARTS
from recsys_core.store import Workspace
from ui.compare_parts import _answer
from ui.compare_tabs import TABS

TAB = "New items and users"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Runs of new users and items on items whose kind says who likes them, and one of a plain split."""
    rng = np.random.default_rng(0)
    kind = np.arange(40) % 4
    user, item = np.nonzero(rng.random((80, 40)) < np.where(np.arange(80)[:, None] % 4 == kind, 0.7, 0.08))
    table = pd.DataFrame({"kind": [f"kind {k}" for k in kind]})
    data = from_frame(pd.DataFrame({"user": user, "item": item}))
    table.index = data.items.encode(map(str, range(40)))
    from dataclasses import replace

    workspace = Workspace(tmp_path_factory.mktemp("parts"))
    entry = workspace.add_dataset(replace(data, item_table=table.sort_index()), "Films")
    for model, split in (("popular", "cold_both"), ("content_knn", "cold_both"), ("popular", "random")):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, split=split, ks=(3, 5)), RunContext(threads=1))
    return workspace.root


@pytest.fixture
def shown(trained, workspace_root, monkeypatch) -> Workspace:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(trained))
    return Workspace(trained)


def _ids(workspace: Workspace, split: str) -> str:
    return ",".join(run.id for run in workspace.runs() if run.spec["split"] == split)


def test_kinds_are_compared_with_their_candidates(open_page, text_of, shown) -> None:
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=_ids(shown, "cold_both"), chart=TAB)
    text = text_of(at)
    assert not at.error and "Who serves what nobody has touched yet?" in text and "Content neighbours is ahead for new items" in text
    for label in PARTS.values():
        assert label in text
    assert "new items of the catalogue's 40" in text and "orders the new items by chance" in text
    frame = next(one.value for one in at.dataframe if "new_both" in one.value)
    run = next(run for run in shown.runs() if run.model_key == "content_knn")
    told = frame.set_index("name").loc["Content neighbours", "new_items"]
    means = [found["mean"] for name, found in run.parts["new_items"]["metrics"].items() if name.startswith("ndcg@")]
    assert told.partition(" ")[0] in [f"{mean:.4f}" for mean in means]


def test_results_without_parts_say_the_next_step(open_page, text_of, shown) -> None:
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=_ids(shown, "random"), chart=TAB)
    assert not at.error and "hold no new items or users apart" in text_of(at) and "New users and items" in text_of(at)


@pytest.mark.parametrize("tab", ["List length", "For whom", "Fairness", "Beyond accuracy"])
def test_other_tabs_stand_lists_of_new_items_only(open_page, text_of, shown, tab) -> None:
    assert tab in TABS
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=_ids(shown, "cold_both"), chart=tab)
    assert not at.error and "Something went wrong" not in text_of(at)


def test_equal_figures_lead_together() -> None:
    """A bridge has its model's figures for known items: neither is ahead of the other."""
    view = SimpleNamespace(name="ndcg@10", look=lambda run: SimpleNamespace(name=run))
    drawn = {"new_items": [(0.1, 0, 0), (0.3, 0, 0), (0.2, 0, 0)], "new_users": [(0.4, 0, 0), (0.4, 0, 0), (float("nan"), 0, 0)]}
    assert _answer(view, ["EASE", "Bridge", "Popular"], drawn) == "Bridge is ahead for new items; EASE and Bridge for new users"
    assert _answer(view, ["EASE", "Bridge", "Popular"], {"new_users": drawn["new_users"]}) == "EASE and Bridge are ahead for new users"
