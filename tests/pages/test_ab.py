"""A/B test: plan, read a file, interleave two runs, estimate from a log; empty, filled and failing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace
from ui import uploads


@pytest.fixture
def put(workspace_root: Path):
    """put(frame) -> the token of an uploaded CSV."""

    def put_(frame: pd.DataFrame, name: str = "result.csv") -> str:
        upload = uploads.new()
        path = workspace_root.parent / name
        frame.to_csv(path, index=False)
        with path.open("rb") as content:
            upload.put("main", name, content)
        return upload.token

    return put_


def _result(n: int = 400, share: float = 0.5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    before = rng.gamma(2.0, 10.0, n)
    variant = np.where(rng.random(n) < share, "b", "control")
    spent = before + rng.normal(0, 3, n) + 2.0 * (variant == "b")
    days = pd.Timestamp("2026-03-01") + pd.to_timedelta(np.arange(n) % 10, unit="D")
    return pd.DataFrame({"user_id": np.arange(n), "group": variant, "date": days, "spent": spent, "before_spent": before})


def _metrics(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_a_plan_follows_its_form(open_page, text_of):
    at = open_page("ab")
    before = _metrics(at)
    assert before["Users a group"] == "31,218" and before["Days"] == "63" and "5 percentage points" in text_of(at)
    at.number_input(key="ab-lift").set_value(20.0).run()
    assert int(_metrics(at)["Users a group"].replace(",", "")) < 31_218 / 3.5
    at.radio(key="ab-kind").set_value("mean").run()
    assert not at.exception and "To find a difference of 1 " in text_of(at)


def test_a_result_is_read(open_page, text_of, put):
    at = open_page("ab", **{"ab-tab": "Read a result"}, abfile=put(_result()))
    text = text_of(at)
    assert "The groups are as large as planned" in text and "'b' raises 'spent' against 'control'" in text and "CUPED" in text
    assert at.selectbox(key="ab-user").value == "user_id" and at.selectbox(key="ab-before").value == "before_spent"
    at.selectbox(key="ab-before").set_value(None).run()
    assert "CUPED" not in text_of(at)
    at.number_input(key="ab-day-planned").set_value(4000).run()
    assert "planned for 4,000 users and has 400" in text_of(at)


def test_a_broken_split_and_an_unusable_file_are_told(open_page, text_of, put):
    at = open_page("ab", **{"ab-tab": "Read a result"}, abfile=put(_result(share=0.3)))
    assert "not as large as planned" in text_of(at)
    words = pd.DataFrame({"user": range(6), "group": ["a", "b"] * 3, "note": ["x", "y", "z"] * 2})
    at = open_page("ab", **{"ab-tab": "Read a result"}, abfile=put(words, "words.csv"))
    assert not at.exception and "Choose at least one outcome." in text_of(at)


@pytest.fixture
def filled(workspace_root: Path) -> str:
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, 40)
    rows = [(f"u{u:02}", f"i{2 * i + taste[u]:02}") for u in range(40) for i in rng.choice(12, 7, replace=False)]
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Two tastes")
    for model in ("popular", "item_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, ks=(5,)), RunContext(threads=1))
    return entry.id


def test_two_runs_in_one_list(open_page, text_of, filled, workspace_root):
    assert "No datasets yet" not in text_of(open_page("ab", **{"ab-tab": "Two recommenders in one list"}, dataset=filled))
    at = open_page("ab", **{"ab-tab": "Two recommenders in one list"}, dataset=filled)
    assert "Item neighbours is preferred in one list" in text_of(at)
    at.selectbox(key="ab-a").set_value(at.selectbox(key="ab-b").value).run()
    assert not at.exception and "Item neighbours is preferred in one list" in text_of(at), "whichever side it stands on"


def test_a_log_is_weighed(open_page, text_of, filled, put):
    rng = np.random.default_rng(1)
    n = 800
    log = pd.DataFrame({"user": [f"u{u:02}" for u in rng.integers(0, 45, n)], "item": [f"i{i:02}" for i in rng.integers(0, 24, n)]})
    log["click"], log["propensity"] = (rng.random(n) < 0.1).astype(int), 1 / 24
    at = open_page("ab", **{"ab-tab": "Estimate from a log"}, dataset=filled, ablog=put(log))
    assert "of users without a kept list" in text_of(at) and "Earned by the log" in _metrics(at)
    log["propensity"] = 7.0
    at = open_page("ab", **{"ab-tab": "Estimate from a log"}, dataset=filled, ablog=put(log, "wrong.csv"))
    assert "A propensity is a chance" in text_of(at) and not at.exception


def test_empty(open_page, text_of):
    for tab in ("Two recommenders in one list", "Estimate from a log"):
        assert "No datasets yet" in text_of(open_page("ab", **{"ab-tab": tab}))


def test_plans_of_falls_and_of_nearly_everybody(open_page, text_of):
    at = open_page("ab")
    at.number_input(key="ab-lift").set_value(-10.0).run()
    assert not at.exception and int(_metrics(at)["Users a group"].replace(",", "")) == 28_390
    at.number_input(key="ab-rate").set_value(99.9).run()
    at.number_input(key="ab-lift").set_value(10.0).run()
    assert not at.exception and "0.09 percentage points" in text_of(at).replace("\\", "")
    at.number_input(key="ab-rate").set_value(0.001).run()
    at.number_input(key="ab-lift").set_value(0.0).run()
    assert not at.exception and "the lift not 0" in text_of(at)


def test_a_file_of_a_european_spreadsheet_is_read(open_page, text_of, workspace_root):
    """Byte order mark, semicolons, decimal commas, days first, padded group names."""
    frame = _result()
    frame = frame.assign(date=frame["date"].dt.strftime("%d.%m.%Y"), group=" " + frame["group"] + " ")
    frame.loc[:1, "date"] = "31.03.2026"
    path = workspace_root.parent / "europe.csv"
    frame.to_csv(path, index=False, sep=";", decimal=",", encoding="utf-8-sig")
    upload = uploads.new()
    with path.open("rb") as content:
        upload.put("main", path.name, content)
    at = open_page("ab", **{"ab-tab": "Read a result"}, abfile=upload.token)
    assert not at.exception and "'b' raises 'spent' against 'control'" in text_of(at) and "CUPED" in text_of(at)
    at.selectbox(key="ab-control").set_value("b").run()
    assert not at.exception and "'control' lowers 'spent' against 'b'" in text_of(at)
