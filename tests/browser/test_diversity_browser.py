"""Diversity in the browser: the slider is answered at once, and what it says goes on to Export."""

from __future__ import annotations

import re
import time
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
AT_ONCE_MS = 500
# Presses a key, then looks every few milliseconds until both the sentence and a list are others than before.
WATCH = """() => {
    const text = s => [...document.querySelectorAll(s)].map(box => box.innerText).join();
    const shown = () => [text('.st-key-diversity-sentence'), text('[class*="st-key-diversity-user-"]')];
    const before = shown(), start = performance.now();
    window.answered = new Promise(done => {
        const look = () => {
            const now = shown(), passed = performance.now() - start;
            if (now.every((text, n) => text && text !== before[n]) || passed > 8000) done(passed); else setTimeout(look, 5);
        };
        look();
    });
}"""


@pytest.fixture(scope="module")
def dataset_id(app) -> str:
    """160 users with a taste each, 80 items of eight kinds."""
    rng = np.random.default_rng(1)
    rows = [(f"u{u:03}", f"i{i:02}") for u in range(160) for i in rng.choice(10, 5, replace=False) * 8 + u % 8]
    rows += [(f"u{u:03}", f"i{i:02}") for u in range(160) for i in rng.choice(80, 8, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]).drop_duplicates())
    numbers = [int(str(item)[1:]) for item in data.items.ids]
    kinds = [f"Kind {n % 8}|Form {n * 7 % 5}|Age {n * 3 % 11}" for n in numbers]
    table = pd.DataFrame({"title": [f"Volume {item}" for item in data.items.ids], "genres": kinds})
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(replace(data, item_table=table), "Volumes")
    train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn"), RunContext(threads=1))
    return entry.id


def test_the_slider_is_answered_at_once_and_applied_to_export(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/diversity?dataset={dataset_id}")
    sentence = page.locator(".st-key-diversity-sentence")
    expect(sentence).to_contain_text("At .30 the lists are", timeout=60_000)
    expect(page.locator(".st-key-diversity-user-2")).to_contain_text("Newcomer")
    page.wait_for_timeout(500)
    page.locator("[class*='st-key-diversity-strength'] input[type=range]").focus()
    took = []
    for _ in range(5):
        page.evaluate(WATCH)
        page.keyboard.press("ArrowLeft")
        took.append(page.evaluate("() => window.answered"))
        app.settle(page)
    assert min(took) < AT_ONCE_MS and max(took) < 8000, took
    expect(sentence).to_contain_text("At .05 the lists are")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    expect(sentence).to_contain_text("At .45 the lists are")
    expect(page.locator(".st-key-diversity-user-0")).to_contain_text(re.compile(r"[1-9] of 10 new"))

    page.get_by_role("button", name="Apply to Export").click()
    expect(page.get_by_role("heading", name="Shape the lists")).to_be_visible()
    expect(page.get_by_text("Every list was chosen from 200 candidates")).to_be_visible(timeout=60_000)
    assert re.search(rf"/export\?.*dataset={dataset_id}", page.url)
    cells = page.get_by_test_id("stDataFrame").locator("[role=gridcell]")  # the grid is a canvas; this is its table for screen readers
    page.get_by_test_id("stDataFrame").scroll_into_view_if_needed()
    expect(cells.first).to_be_attached(timeout=20_000)
    shaped = cells.all_inner_texts()
    page.locator("[class*='st-key-export-shape-mmr'] input[type=range]").focus()
    page.keyboard.press("Home")  # no diversity at all: the lists as the model makes them
    expect(page.get_by_text("diversity 0. Scores are")).to_be_visible()
    app.settle(page)
    page.get_by_test_id("stDataFrame").scroll_into_view_if_needed()
    expect(cells.first).to_be_attached(timeout=20_000)
    # The canvas brings its table up to date some time after the page has settled: look until it has.
    deadline = time.monotonic() + 20
    while (now := cells.all_inner_texts()) in ([], shaped) and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert now not in ([], shaped)
