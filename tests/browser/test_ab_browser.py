"""The result of an A/B test through the browser: uploaded, read, downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_result_file_is_read(app, page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    rng = np.random.default_rng(0)
    group = np.where(np.arange(2000) % 2, "new list", "control")
    clicked = (rng.random(2000) < np.where(group == "control", 0.2, 0.3)).astype(int)
    file = tmp_path / "test result.csv"
    pd.DataFrame({"visitor": np.arange(2000), "group": group, "clicked": clicked}).to_csv(file, index=False, sep=";")
    app.open(page, "/ab")
    page.get_by_role("tab", name="Read a result").click()
    app.settle(page)
    page.set_input_files('input[type="file"]', str(file))
    expect(page.get_by_text("The groups are as large as planned")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("'new list' raises 'clicked' against 'control'")).to_be_visible()
    app.settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the table").click()
    table = pd.read_csv(download.value.path())
    assert table["Difference"][0] == pytest.approx(clicked[1::2].mean() - clicked[::2].mean())
    page.reload()
    expect(page.get_by_text("'new list' raises 'clicked' against 'control'")).to_be_visible(timeout=30_000)
