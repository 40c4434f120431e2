"""An ablation through the browser: asked for on Compare, its chart and sentences, its best variant in the form of Train."""

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


@pytest.fixture(scope="module")
def dataset_id(app) -> str:
    rng = np.random.default_rng(1)
    rows = [(f"u{u:03}", f"i{i + 15 * (u % 3):02}") for u in range(90) for i in rng.choice(15, 8, replace=False)]
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Three tastes")
    train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="two_tower", params={"epochs": 2}), RunContext(threads=1))
    return entry.id


def test_an_ablation_is_asked_for_drawn_and_used(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/compare?dataset={dataset_id}&chart=Architecture")
    expect(page.get_by_text("3 trainings, about")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Start the ablation").click()
    expect(page.get_by_text("What does each part of the architecture buy here?")).to_be_visible(timeout=120_000)
    expect(page.locator(".st-key-charts .js-plotly-plot").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Layers of each tower:").first).to_be_visible()
    page.get_by_text("All variants (3)").click()
    expect(page.get_by_test_id("stDataFrame").last).to_be_visible(timeout=20_000)
    page.get_by_text("Ask for another ablation").click()
    expect(page.get_by_text("This has been worked out; see above.")).to_be_visible(timeout=20_000)
    use = page.get_by_role("button", name="Use it in Train")
    if use.count():  # there is none where the result itself is the best
        use.click()
        expect(page.get_by_text("is filled in with")).to_be_visible(timeout=30_000)
