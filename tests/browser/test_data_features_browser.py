"""Features in the browser: a column taken for something else, saved, there after a reload, and part of what is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_changed_kind_is_saved_and_trained_with(app, page) -> None:
    from playwright.sync_api import expect

    from recsys_core.jobs import TrainSpec
    from recsys_core.store import Workspace
    from recsys_core.store.feature_sets import current_features, feature_set
    from recsys_core.testing.datasets import tastes

    data, rng = tastes(60, 40, 3).train, np.random.default_rng(0)
    items = pd.DataFrame({"genre": rng.choice(["a", "b"], data.n_items), "year": rng.integers(1950, 2020, data.n_items)})
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(replace(data, item_table=items), "Books")
    app.open(page, f"/data?dataset={entry.id}&part=Features&column=year")
    kind = page.get_by_role("combobox", name="Taken for")
    expect(kind).to_have_value("Number")
    app.settle(page)
    categories = page.get_by_role("option", name="Categories")
    for _ in range(5):  # a page that is still being drawn closes what was opened on it
        kind.click()
        page.wait_for_timeout(500)
        if categories.is_visible():
            break
    categories.click()
    expect(page.get_by_text("1 change not saved")).to_be_visible()
    page.get_by_role("button", name="Save features").click()
    expect(page.get_by_text("are saved. Recommenders trained from now on")).to_be_visible()
    page.reload()
    expect(kind).to_have_value("Categories")
    expect(page.get_by_role("button", name="Save features")).to_be_disabled()

    features = current_features(entry)
    assert features and feature_set(entry, features).columns["item"]["year"].kind == "categorical"
    assert TrainSpec.make(dataset=entry.id, model="two_tower").with_features(workspace).features == features
