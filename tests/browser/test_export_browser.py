"""A list through the browser: previewed, written, downloaded, deleted."""

from __future__ import annotations

from dataclasses import replace
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
    rows = [(f"00{u:02}", f"i{i:02}") for u in range(40) for i in rng.choice(25, 6, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    titles = [f"@SUM(1+{code})" if code % 5 == 0 else f"Größe, {code}" for code in range(data.n_items)]
    workspace = Workspace(app.workspace)
    entry = workspace.add_dataset(replace(data, item_table=pd.DataFrame({"title": titles})), "Volumes")
    train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn"), RunContext(threads=1))
    return entry.id


def test_a_list_for_uploaded_users_is_downloaded(app, page, dataset_id: str, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    wanted = tmp_path / "users.csv"
    wanted.write_text("customer;name\n0003;Ann\n0017;Bob\n9999;Nobody\n")
    app.open(page, f"/export?dataset={dataset_id}")
    page.get_by_text("A list of ids").click()
    app.settle(page)
    page.set_input_files('.st-key-export-users-file input[type="file"]', str(wanted))
    expect(page.get_by_text("3 user ids read. 1 not in this dataset: '9999'.")).to_be_visible()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("button", name="Write 20 rows")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Write 20 rows").click()
    expect(page.get_by_role("button", name="Download the file")).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the file").click()
    assert download.value.suggested_filename == "Item-neighbours-top-10.csv"
    lists = pd.read_csv(download.value.path(), dtype=str)
    assert list(lists["user"].unique()) == ["0003", "0017"] and list(lists["rank"][:10]) == [str(n) for n in range(1, 11)]
    assert lists["title"].str.startswith(("'@SUM", "Größe, ")).all() and lists["title"].str.startswith("'@").any()
    app.settle(page)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing exported yet.")).to_be_visible()
    assert not Workspace(app.workspace).exports()
