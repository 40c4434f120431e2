"""The main line in one sitting: one click on the sample data, a filled leaderboard, one user, an exported list."""

from __future__ import annotations

import re

import pandas as pd
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TRAIN_MS = 240_000  # a promise of 90 seconds on a quiet machine, not one of this test


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def test_from_one_click_to_an_exported_list(app, page) -> None:
    from playwright.sync_api import expect

    from recsys_core.store import Workspace
    from ui.sensible import SENSIBLE

    app.open(page, "/")
    page.get_by_role("button", name="Try it with sample data").click()
    expect(page.get_by_text("6 jobs under way")).to_be_visible(timeout=60_000)
    page.get_by_role("heading", name="Leaderboard").wait_for(timeout=TRAIN_MS)
    app.settle(page)
    workspace = Workspace(app.workspace)
    runs = {run.model_key: run for run in workspace.runs()}
    assert set(runs) == set(SENSIBLE), "every model of the set is trained before Compare opens by itself"
    expect(page.get_by_text("has the highest NDCG@10")).to_be_visible()
    table = page.locator(".st-key-leaderboard [role=gridcell]")  # the grid is a canvas; this is its table for screen readers
    for run in runs.values():
        expect(table.filter(has_text=run.name).first).to_be_attached()
        expect(table.filter(has_text=str(run.metrics["ndcg@10"]["mean"])[:5]).first).to_be_attached()
    assert runs["ease"].metrics["ndcg@10"]["mean"] > 2 * runs["popular"].metrics["ndcg@10"]["mean"]

    page.get_by_role("link", name="Inspect").click()  # the dataset and the results come along
    user = page.get_by_role("heading", name=re.compile(r"^User r\d+"))
    expect(user).to_be_visible()
    app.settle(page)
    shown = page.locator(f".st-key-user-{runs['ease'].id} [data-testid='stPopover']").get_by_role("button")
    expect(shown).to_have_count(10)
    titles = set(workspace.dataset(runs["ease"].dataset_id).load().item_table["title"])
    assert any(title in shown.first.inner_text() for title in titles), "items are shown by title"
    shown.first.click()
    expect(page.get_by_text("Because of")).to_be_visible(timeout=60_000)
    page.keyboard.press("Escape")

    page.get_by_role("link", name="Export").click()
    page.get_by_role("button", name="Preview").click()
    write = page.get_by_role("button", name=re.compile(r"Write [\d,]+ rows"))
    expect(write).to_be_visible(timeout=60_000)
    promised = _number(write.inner_text())
    n_users = _number(page.get_by_test_id("stMetric").filter(has_text="Users").get_by_test_id("stMetricValue").inner_text())
    write.click()
    expect(page.get_by_role("button", name="Download the file")).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the file").click()
    lists = pd.read_csv(download.value.path(), dtype={"user": str, "item": str})
    assert len(lists) == promised and lists["user"].nunique() == n_users
    assert not lists.duplicated(["user", "item"]).any() and lists["title"].isin(titles).all()
    assert (lists.groupby("user")["rank"].agg(["min", "max", "count"]) == [1, 10, 10]).all(axis=None)
    data = workspace.dataset(runs["ease"].dataset_id).load()
    had = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    codes = zip(data.users.encode(lists["user"]).tolist(), data.items.encode(lists["item"]).tolist(), strict=True)
    assert not had & set(codes), "nobody is offered what they had"
