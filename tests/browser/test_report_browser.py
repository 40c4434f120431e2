"""The report through the browser: downloaded on Compare, opened as a file, drawn without the app; a robustness check beside it."""

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

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def dataset_id(app) -> str:
    rng = np.random.default_rng(1)
    rows = [(f"u{u:03}", f"i{i + 15 * (u % 3):02}") for u in range(120) for i in rng.choice(15, 8, replace=False)]
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Three tastes")
    for model in ("popular", "item_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model), RunContext(threads=1))
    return entry.id


def test_the_report_opens_without_the_app(app, page, dataset_id: str, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/compare?dataset={dataset_id}")
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="Report").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", name="Recommenders compared on Three tastes")).to_be_visible()
    expect(page.locator(".chart .main-svg").first).to_be_visible(timeout=20_000)
    assert page.locator(".js-plotly-plot").count() >= 4 and page.locator("li.hit").count() > 0
    assert asked == [file.as_uri()], "nothing else is loaded"


def test_a_robustness_check(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/compare?dataset={dataset_id}&chart=Robustness")
    page.get_by_role("button", name="Check 2 recommenders").click()
    expect(page.get_by_text("does each keep?")).to_be_visible(timeout=90_000)
    page.get_by_text("Fake users added").click()
    expect(page.get_by_text("How far does an attack get its items into the lists?")).to_be_visible(timeout=20_000)
