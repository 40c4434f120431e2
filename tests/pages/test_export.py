"""Export: empty, filled, failing; lists of ids with a report; filters; preview, file and job; nothing that could run in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.ids import IdMap
from recsys_core.errors import BadInput, JobFailed
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.serving.client import ScorerClient
from recsys_core.store import Workspace
from ui import export_files
from ui.export_ids import as_text, read_ids


def _data() -> Dataset:
    """30 users, 20 items; item 1's title is a formula."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(30) for i in rng.choice(20, 4 + u % 5, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    titles = ["=cmd|' /C calc'!A0" if str(item) == "i01" else f"Book {item}" for item in data.items.ids]
    genres = [("Drama|Crime", "Comedy")[code % 2] for code in range(data.n_items)]
    items = pd.DataFrame({"title": titles, "genres": genres, "price": np.arange(data.n_items) * 1.5})
    users = pd.DataFrame({"country": [("DE", "FR")[code % 2] for code in range(data.n_users)]})
    return replace(data, item_table=items, user_table=users)


@pytest.fixture
def filled(workspace_root: Path) -> Iterator[tuple[Workspace, str]]:
    """One dataset, one run; its scorer ends with the test."""
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(_data(), "Books")
    train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn", ks=(5, 10)), RunContext(threads=1))
    yield workspace, entry.id
    ScorerClient(workspace).stop()


def _metrics(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_empty_workspace_and_dataset_without_results(open_page, text_of, workspace_root) -> None:
    assert "No datasets yet" in text_of(open_page("export"))
    entry = Workspace(workspace_root).add_dataset(_data(), "Books")
    assert "No results yet" in text_of(open_page("export", dataset=entry.id))


def test_the_page_opens_without_asking_the_model(open_page, text_of, filled) -> None:
    workspace, dataset_id = filled
    at = open_page("export", dataset=dataset_id)
    assert "30 users of 30." in text_of(at) and "Nothing exported yet." in text_of(at)
    assert at.button(key="export-preview").label == "Preview" and not (workspace.root / "scorer.log").exists()


def test_preview_then_a_safe_file_that_is_kept(open_page, text_of, filled) -> None:
    workspace, dataset_id = filled
    at = open_page("export", dataset=dataset_id)
    at.number_input(key="export-k").set_value(20).run()
    at.toggle(key="export-exclude").set_value(False).run()
    at.button(key="export-preview").click().run()
    assert _metrics(at) == {"Rows": "600", "Users": "30", "Items allowed": "20"}
    shown = at.dataframe[0].value
    assert list(shown.columns) == ["user", "item", "rank", "score", "title", "genres"] and list(shown["rank"][:3]) == [1, 2, 3]
    assert at.button(key="export-write").label == "Write 600 rows"
    at.button(key="export-write").click().run()
    (entry,) = workspace.exports()
    written = pd.read_csv(entry.file, dtype=str)
    assert len(written) == entry.rows == 600
    assert set(written.loc[written["item"] == "i01", "title"]) == {"'=cmd|' /C calc'!A0"}
    assert "Written" in text_of(at) and "600 rows · 30 users" in text_of(at).replace("\\", "")
    assert {"export-write"} & {button.key for button in at.button} == set(), "the same file is offered for download, not written twice"


def test_pasted_ids_are_reported_and_unknown_ones_left_out_unless_wanted(open_page, text_of, filled) -> None:
    _, dataset_id = filled
    at = open_page("export", dataset=dataset_id)
    at.segmented_control(key="export-whom").set_value("list").run()
    assert "Paste user ids" in text_of(at) and "export-preview" not in {button.key for button in at.button}
    at.text_area(key="export-users-pasted").set_value("user_id\nu03\nu01\nu03\n*nobody*").run()
    text = text_of(at)
    assert "3 user ids read, 1 repeat left out. 1 not in this dataset:" in text and r"\*nobody\*" in text
    at.button(key="export-preview").click().run()
    assert _metrics(at)["Users"] == "2" and list(dict.fromkeys(at.dataframe[0].value["user"])) == ["u03", "u01"]
    at.toggle(key="export-unknown").set_value(True).run()
    assert _metrics(at)["Users"] == "3" and "they get the most popular items" in text_of(at)


def test_segments_filters_and_item_lists(open_page, text_of, filled) -> None:
    _, dataset_id = filled
    data = _data()
    at = open_page("export", dataset=dataset_id)
    at.segmented_control(key="export-whom").set_value("segment").run()
    at.segmented_control(key="export-activity").set_value("most").run()
    assert "10 users of 30." in text_of(at)
    at.multiselect(key="export-filter-user").set_value(["country"]).run()
    at.multiselect(key="export-user-country-values").set_value(["DE"]).run()
    counts = pd.Series(np.bincount(data.user, minlength=30)).sort_values(kind="stable", ascending=False)
    at.multiselect(key="export-filter-item").set_value(["genres", "price"]).run()
    at.multiselect(key="export-item-genres-values").set_value(["Crime"]).run()
    at.number_input(key="export-item-price-low").set_value(6.0).run()
    at.text_area(key="export-deny-pasted").set_value("i06, i08").run()
    at.button(key="export-preview").click().run()
    allowed = set(data.items.decode(np.flatnonzero((data.item_table["genres"] == "Drama|Crime") & (data.item_table["price"] >= 6))))
    allowed -= {"i06", "i08"}
    assert _metrics(at)["Items allowed"] == str(len(allowed)) and set(at.dataframe[0].value["item"]) <= allowed
    assert 0 < int(_metrics(at)["Users"]) < 10 and counts.iloc[9] >= counts.iloc[10]
    at.text_area(key="export-allow-pasted").set_value("nothing").run()
    assert "None of the items on the list" in text_of(at) and not at.dataframe


def test_large_exports_become_jobs(open_page, text_of, filled, monkeypatch) -> None:
    workspace, dataset_id = filled
    monkeypatch.setattr(export_files, "SMALL_ROWS", 10)
    at = open_page("export", dataset=dataset_id)
    at.segmented_control(key="export-format").set_value("parquet").run()
    at.button(key="export-preview").click().run()
    at.button(key="export-write").click().run()
    (job,) = JobQueue(workspace).jobs()
    assert job.kind == "export" and "Cancel" in [button.label for button in at.button] and not workspace.exports()
    JobQueue(workspace).run_until_idle(60)
    (entry,) = workspace.exports()
    assert entry.file.suffix == ".parquet" and len(pd.read_parquet(entry.file)) == entry.rows == 300
    assert "Parquet" in text_of(open_page("export", dataset=dataset_id))


def test_failures_are_one_sentence(open_page, text_of, filled, monkeypatch) -> None:
    _, dataset_id = filled

    def refuse(self, *args, **kwargs):
        raise JobFailed("The live scorer did not start.", "Its log: scorer.log")

    monkeypatch.setattr(ScorerClient, "_ready", refuse)
    at = open_page("export", dataset=dataset_id)
    at.button(key="export-preview").click().run()
    assert "The live scorer did not start" in text_of(at) and "Traceback" not in text_of(at)


@pytest.mark.parametrize(
    ("text", "ids", "unknown"),
    [
        ("a\nb\nzz\na", ["a", "b", "zz"], ["zz"]),
        ("a, b; c", ["a", "b", "c"], []),
        ("a, b, zz", ["a", "b", "zz"], ["zz"]),
        ("id;name\na;Ann\n007;Bob", ["a", "007"], []),
        ("name,user\nJoe,a\nX,zz\nY,007", ["a", "zz", "007"], ["zz"]),
        ("d,e\na", ["d,e", "a"], []),
        ('"a"\n"x y"', ["a", "x y"], []),
        ("a b 007", ["a", "b", "007"], []),
    ],
)
def test_ids_are_read_the_way_that_finds_most(text: str, ids: list[str], unknown: list[str]) -> None:
    known = IdMap(["a", "b", "c", "d,e", "007", "x y"])
    found = read_ids(text, known)
    assert (found.ids, found.unknown) == (ids, unknown)


def test_uploaded_lists_in_any_encoding_and_too_long_ones() -> None:
    known = IdMap(["größe", "a"])
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        assert read_ids(as_text("größe\r\na".encode(encoding)), known).known == ["größe", "a"]
    with pytest.raises(BadInput, match="at most 2,000,000 ids"):
        read_ids("x\n" * 2_000_001, known)
