"""The new-user panel in the browser: pick items, lists appear, ask why, reload and find it again."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONG = "An almost endless title " * 8


@pytest.fixture(scope="module")
def dataset_id(app) -> str:
    """Two tastes: even and odd items; three results, one of which cannot explain itself."""
    rng = np.random.default_rng(1)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(60) for i in rng.choice(20, 8, replace=False) * 2 + u % 2]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    titles = [LONG if str(item) == "i02" else f"Volume *{item}*" for item in data.items.ids]
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(replace(data, item_table=pd.DataFrame({"title": titles})), "Volumes")
    for model in ("popular", "item_knn", "ease"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model), RunContext(threads=1))
    return entry.id


def test_new_user_gets_lists_with_reasons_at_once(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/inspect?dataset={dataset_id}&tab=A+new+user")
    expect(page.get_by_text("Pick an item on the left")).to_be_visible(timeout=60_000)
    page.get_by_role("searchbox", name="Search items by title").press_sequentially("volume i1")
    expect(page.get_by_role("button", name="Volume *i14*")).to_be_visible()
    expect(page.get_by_role("button", name="Volume *i05*")).to_have_count(0)
    for item in ("i14", "i12"):
        page.locator(f".st-key-add-{item}").get_by_role("button").click()
        expect(page.locator(f".st-key-remove-{item}")).to_be_visible()
        app.settle(page)
    expect(page.get_by_text(re.compile(r"Answered in [\d,]+ ms for 2 items"))).to_be_visible()
    knn = next(run for run in Workspace(app.workspace).runs() if run.model_key == "item_knn")
    ranked = page.locator(f".st-key-new-{knn.id} [data-testid='stPopover']").get_by_role("button")
    expect(ranked).to_have_count(10)
    first_five = [ranked.nth(n).inner_text() for n in range(5)]
    even = [int(re.search(r"i(\d\d)", label)[1]) % 2 == 0 for label in first_five if "endless" not in label]
    assert all(even), "the lists follow the taste of what was picked"
    assert all("…" in label and len(label) < 80 for label in first_five if "endless" in label)
    ranked.nth(0).click()
    expect(page.get_by_text("Because of")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Volume \*i1[24]\* · \d+%")).first).to_be_visible()
    page.reload()
    expect(page.get_by_text(re.compile("Answered in"))).to_be_visible()
    expect(page.locator(".st-key-remove-i12")).to_be_visible()


def test_user_tab_and_link(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/inspect?dataset={dataset_id}&user=u07")
    expect(page.get_by_role("heading", name="User u07")).to_be_visible()
    expect(page.get_by_text(re.compile(r"held-out item.* among the first 10")).first).to_be_visible()
    page.get_by_text("Best served").click()
    app.settle(page)
    expect(page.get_by_role("heading", name="User u07")).to_have_count(0)
    assert re.search(r"user=u\d\d", page.url) and "user=u07" not in page.url
    popular = next(run for run in Workspace(app.workspace).runs() if run.model_key == "popular")
    page.locator(f".st-key-user-{popular.id} [data-testid='stPopover'] button").first.click()
    expect(page.get_by_text("Most popular cannot explain its lists")).to_be_visible(timeout=60_000)
