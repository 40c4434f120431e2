"""Train offers the rule for new items; Compare draws new items and users apart."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def dataset_id(app) -> str:
    rng = np.random.default_rng(2)
    user, item = np.nonzero(rng.random((70, 40)) < np.where(np.arange(70)[:, None] % 4 == np.arange(40) % 4, 0.7, 0.08))
    data = from_frame(pd.DataFrame({"user": [f"u{u}" for u in user], "item": [f"i{i}" for i in item]}))
    table = pd.DataFrame({"kind": [f"kind {int(i[1:]) % 4}" for i in data.items.ids]})
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(replace(data, item_table=table), "Shelves")
    for model in ("popular", "content_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, split="cold_both", ks=(5,)), RunContext(threads=1))
    return entry.id


def test_new_items_are_offered_and_compared_apart(app, page, dataset_id: str) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/train?dataset={dataset_id}")
    page.get_by_role("combobox", name="Split rule").click()
    page.get_by_role("option", name="New items", exact=True).click()
    expect(page.get_by_text("are kept out of training; lists are made of the new items only").first).to_be_visible(timeout=30_000)
    app.open(page, f"/compare?dataset={dataset_id}&chart=New items and users")
    expect(page.get_by_text("Who serves what nobody has touched yet?").first).to_be_visible(timeout=30_000)
    # The closed "How these figures were made" says it too and may be drawn before or after: the tab is what is meant.
    tab = page.get_by_role("tabpanel", name="New items and users")
    expect(tab.get_by_text("new items of the catalogue's 40")).to_be_visible(timeout=30_000)
    expect(tab.get_by_text("orders the new items by chance")).to_be_visible()
