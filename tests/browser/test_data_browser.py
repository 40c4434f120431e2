"""A messy file through the browser: uploaded, mapped, saved, its rejected rows downloaded and counted."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _messy(folder: Path) -> Path:
    """300 readable ratings, one duplicate, and four rows that cannot be read."""
    rows = ["Kunde;Artikel;Sterne;Datum;Titel"]
    rows += [
        f"0{user:03d};A-{(user * 7 + step * 3) % 40};{1 + (user + step) % 5};{1 + step:02d}.03.2024;Band {step}"
        for user in range(50)
        for step in range(6)
    ]
    rows += [rows[1]]
    rows += ["0001;A-1;sehr gut;05.03.2024;x", "0002;;4;05.03.2024;x", "0003;A-3;5;gestern;x", ";A-4;5;05.03.2024;x"]
    path = folder / "bestellungen.csv"
    path.write_bytes("\n".join(rows).encode("latin-1"))
    return path


def test_messy_file_to_saved_dataset_with_rejects(app, page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    app.open(page, "/data")
    page.set_input_files('input[type="file"]', str(_messy(tmp_path)))
    expect(page.get_by_text("What the columns mean")).to_be_visible()
    app.settle(page)
    assert "upload=" in page.url, "the file under way is in the URL, so that a refresh keeps it"
    page.reload()
    expect(page.get_by_text("What the columns mean")).to_be_visible()
    expect(page.get_by_text("305 rows")).to_be_visible()
    page.get_by_role("textbox", name="Name of the dataset").fill("Bestellungen *März*")
    page.get_by_role("button", name="Save dataset").click()
    expect(page.get_by_text("What became of the rows")).to_be_visible(timeout=60_000)
    app.settle(page)
    assert "dataset=" in page.url
    expect(page.get_by_role("heading", name="Bestellungen *März*")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download rejected rows").click()
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    rejected = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["line"]) for row in rejected] == [303, 304, 305, 306]
    assert rejected[0]["value"] == "sehr gut" and rejected[0]["column"] == "Sterne"
    assert all(row["reason"] for row in rejected)


def test_same_file_again_is_recognised(app, page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    app.open(page, "/data?view=new")
    page.set_input_files('input[type="file"]', str(_messy(tmp_path)))
    page.get_by_role("button", name="Save dataset").click()
    expect(page.get_by_text("This data is here already")).to_be_visible(timeout=60_000)


def test_unusable_file_gets_one_sentence(app, page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    path = tmp_path / "picture.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    app.open(page, "/data?view=new")
    page.set_input_files('input[type="file"]', str(path))
    expect(page.get_by_text("is a PNG image, not a table")).to_be_visible()
    assert page.get_by_text("Traceback").count() == 0
    page.get_by_role("button", name="Choose another file").click()
    expect(page.get_by_text("Choose a file")).to_be_visible()
