"""How far a few clicks go, through the browser: measured with one click, followed while it runs, drawn, downloaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 120_000  # milliseconds, for what a job does


@pytest.fixture(scope="module")
def dataset_id(app) -> str:
    rng = np.random.default_rng(1)
    rows = [(f"u{u:03}", f"i{i + 15 * (u % 3):02}") for u in range(90) for i in rng.choice(15, 13, replace=False)]
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Three tastes")
    for model, params in (("popular", {}), ("item_knn", {}), ("anil", {"epochs": 1, "shots": 3})):
        spec = TrainSpec.make(dataset=entry.id, split="cold_users", split_params={"users_share": 0.3}, model=model, params=params)
        train_in_workspace(workspace, spec, RunContext(threads=1))
    return entry.id


def test_a_comparison_is_measured_drawn_and_downloaded(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/new_users?dataset={dataset_id}&tab=How+far+a+few+clicks+go")
    page.get_by_role("button", name="Measure 3 recommenders").click()
    charts = page.locator(".st-key-shots-result .js-plotly-plot")
    expect(charts).to_have_count(2, timeout=WAIT)
    expect(page.get_by_text("What do the learning steps add?")).to_be_visible()
    expect(charts.first.locator(".legendtext", has_text="before it learns from the clicks")).to_have_count(1, timeout=WAIT)
    expect(charts.first.locator(".legendtext", has_text="ANIL")).to_have_count(1)
    with page.expect_download(timeout=WAIT) as download:
        page.get_by_role("button", name="Download CSV").click()
    frame = pd.read_csv(download.value.path())
    assert set(frame["model"]) == {"popular", "item_knn", "anil"} and set(frame["clicks"]) == {0, 1, 2, 3, 5, 10}
    page.set_viewport_size({"width": 400, "height": 900})
    expect(charts.first.locator(".legendtext", has_text="ANIL")).to_be_visible(timeout=WAIT)
    app.settle(page, 60)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing hangs out of a narrow window"
