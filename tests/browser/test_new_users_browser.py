"""New users in the browser: answer, watch the lists and the map follow, save the person, load them again, take the files home."""

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
    """Two tastes: even and odd items; a recommender with vectors, one without."""
    rng = np.random.default_rng(1)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(60) for i in rng.choice(20, 8, replace=False) * 2 + u % 2]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    titles = [LONG if str(item) == "i02" else f"Volume *{item}* <b>x</b>" for item in data.items.ids]
    table = pd.DataFrame({"title": titles, "genre": [("Drama", "Crime", "Poetry")[n % 3] for n in range(data.n_items)]})
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(replace(data, item_table=table), "Volumes")
    for model, params in (("als", {"factors": 8}), ("item_knn", {})):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, params=params), RunContext(threads=1))
    return entry.id


def test_a_new_user_is_asked_saved_and_found_again(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    workspace = Workspace(app.workspace)
    als, knn = (next(run.id for run in workspace.runs() if run.model_key == key) for key in ("als", "item_knn"))
    app.open(page, f"/new_users?dataset={dataset_id}&run={als}&beside={knn}")
    expect(page.get_by_text("What anybody new gets")).to_have_count(2, timeout=60_000)
    expect(page.locator(".st-key-new-users-map .js-plotly-plot")).to_be_visible()

    title = page.locator(".st-key-new-users-question h4")
    page.get_by_text("I choose").click()
    page.get_by_role("searchbox", name="Search items by title").press_sequentially("i14")
    page.locator(".st-key-like-i14").get_by_role("button").click()
    expect(page.locator(".st-key-chip-i14")).to_be_visible()
    page.get_by_text("Ask me").click()
    asked = title.inner_text()
    page.locator(".st-key-say-unknown").get_by_role("button").click()
    expect(page.locator(".st-key-new-users-chips").get_by_role("button")).to_have_count(2)
    expect(title).not_to_have_text(asked)
    expect(page.get_by_text(re.compile(r"Answered in [\d.,]+ ms"))).to_have_count(2)
    first = page.locator(".st-key-list-1 [class*='st-key-line-1-'] [data-testid='stMarkdown']").first
    expect(first).to_contain_text(re.compile("i[0-4][02468]|endless"))  # the taste of the even ones
    assert len(first.inner_text()) < 90

    page.locator("[class*='st-key-save-persona']").get_by_role("button").click()
    page.get_by_role("textbox", name="Name").fill("Likes *even* ones")
    page.get_by_role("textbox", name="Name").press("Tab")
    page.get_by_role("button", name="Save as new").click()
    loaded = page.get_by_role("button", name="Likes *even* ones")
    expect(loaded).to_be_visible()
    page.get_by_role("button", name="Start over").click()
    expect(page.locator(".st-key-new-users-chips")).to_have_count(0)
    loaded.click()
    expect(page.locator(".st-key-chip-i14")).to_be_visible()
    with page.expect_download() as file:
        page.get_by_role("button", name="Lists of 1 persona as CSV").click()
    assert file.value.suggested_filename == "lists-of-personas-Volumes.csv"
    frame = pd.read_csv(file.value.path())
    assert len(frame) == 20 and set(frame["persona"]) == {"Likes *even* ones"} and "i14" not in set(frame["item"])
    with page.expect_download() as file:
        page.get_by_role("button", name="These lists as CSV").click()
    assert file.value.suggested_filename == "lists-Likes-even-ones-Volumes.csv"
    mine = pd.read_csv(file.value.path())
    assert sorted(mine["item"]) == sorted(frame["item"]) and list(mine.columns) == list(frame.columns)
    page.reload()
    expect(page.locator(".st-key-chip-i14")).to_be_visible(timeout=30_000)
