"""Which features a model listened to: drawn for those that weigh them, nothing for others, odd names as text."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace
from ui.feature_findings import weights


def _run(root):
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}") for u in range(30) for i in rng.choice(12, 5, replace=False)]
    workspace = Workspace(root)
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Films")
    return train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="popular"), RunContext(threads=1))


def _told(run, features) -> None:
    saved = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps(saved | {"findings": {"features": features}}))


def _field(label: str, weight: float) -> dict:
    return {"field": label, "label": label, "weight": weight, "low": weight / 2, "high": min(1.0, 2 * weight)}


def test_fields_are_drawn_for_models_that_weigh_them(open_page, text_of, workspace_root) -> None:
    run = _run(workspace_root)
    assert "listen to" not in text_of(open_page("compare", dataset=run.dataset_id))
    items = [_field("<b>genre</b> *x*", 0.25), _field("era", 0.7), _field("shelf", 0.05)]
    _told(run, {"item": items, "user": [_field("group", 1.0)]})
    said = text_of(open_page("compare", dataset=run.dataset_id))
    assert "Which features of items did it listen to? era most, 70 %" in said
    assert "Of users it reads one field only: group" in said and "not what causes a choice" in said
    for nothing in ({}, {"item": [], "user": []}, None, {"item": [{"field": "x"}]}):
        _told(run, nothing)
        at = open_page("compare", dataset=run.dataset_id)
        assert not at.exception and "listen to" not in text_of(at)


def test_bars_are_shares_with_the_range_of_nine_in_ten() -> None:
    rows = [_field("<b>genre</b> *x*", 0.25), _field("long " * 20 + "a", 0.2), _field("long " * 20 + "b", 0.1)]
    bar = weights(rows).data[0]
    assert list(bar.x) == [25.0, 20.0, 10.0] and list(bar.error_x.array) == [25.0, 20.0, 10.0] and list(bar.error_x.arrayminus)[0] == 12.5
    assert bar.y[0] == "&lt;b&gt;genre&lt;/b&gt; *x*" and len(set(bar.y)) == 3 and max(map(len, bar.y)) < 40
