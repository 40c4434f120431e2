"""Live in the browser: start the service of a run, click, see the list change, stop it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.serving.services import Services
from recsys_core.store import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def ids(app):
    """(dataset, run): two tastes, even and odd items; its service ends with the test."""
    rng = np.random.default_rng(1)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(40) for i in rng.choice(15, 8, replace=False) * 2 + u % 2]
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Volumes")
    run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn"), RunContext(threads=1))
    yield entry.id, run.id
    Services(workspace).stop_all()


def test_a_click_changes_the_list(app, page, ids) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/live?dataset={ids[0]}&run={ids[1]}&as=new&who=anna")
    page.get_by_role("button", name="Start the service").click()
    expect(page.get_by_text("what is most popular now")).to_be_visible(timeout=90_000)  # the bundle is made, the service answers
    first = page.locator(".st-key-live-why-1 button:visible").first
    title = first.inner_text()
    page.locator(".st-key-live-like-1 button:visible").first.click()
    expect(page.get_by_text("made of what was just done")).to_be_visible()
    expect(page.locator(".st-key-live-was-1")).to_contain_text("liked")
    expect(page.locator(".st-key-live-was-1")).to_contain_text(title)
    expect(first).not_to_have_text(title)
    taste = int(re.search(r"i(\d+)", title)[1]) % 2
    shown = [page.locator(f".st-key-live-why-{rank} button:visible").first.inner_text() for rank in (1, 2, 3)]
    assert all(int(re.search(r"i(\d+)", one)[1]) % 2 == taste for one in shown), "items of the taste that was clicked come first"
    page.reload()
    expect(page.get_by_text("made of what was just done")).to_be_visible(timeout=30_000)
    app.open(page, f"/live?dataset={ids[0]}&run={ids[1]}&tab=Health")
    page.get_by_role("button", name="Take the events in").click()
    expect(page.get_by_text("1 of 1 events was taken in")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("The service goes on with them")).to_be_visible(timeout=20_000)
    app.open(page, f"/live?dataset={ids[0]}&run={ids[1]}&as=new&who=anna")
    expect(page.get_by_text("the personal list from training")).to_be_visible(timeout=30_000)  # anna is known to the newer bundle
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the service")).to_be_visible()
    assert Services(Workspace(app.workspace)).all() == []
