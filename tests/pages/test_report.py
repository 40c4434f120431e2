"""The report: one file, nothing from a network, nothing that could run; what it says is what the runs say."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace
from ui import report
from ui.compare_data import groups_of
from ui.text import number


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text.append(data)


@pytest.fixture
def runs(workspace_root: Path):
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i + 12 * (u % 2):02}") for u in range(60) for i in rng.choice(12, 7, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    titles = [f"<script>alert({code})</script> Größe & Co" for code in range(data.n_items)]
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(replace(data, item_table=pd.DataFrame({"title": titles})), "Books & <b>more</b>")
    for model in ("popular", "item_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, ks=(5, 10)), RunContext(threads=1))
    return workspace.runs(entry.id)


def _parsed(html: str) -> Tags:
    found = Tags()
    found.feed(html)
    return found


def test_one_file_with_everything_in_it(runs):
    baseline = next(run for run in runs if run.model_key == "popular")
    html = report.report_html(groups_of(runs)[0], runs, "ndcg@10", baseline)
    found = _parsed(html)
    assert not [attrs for _, attrs in found.tags if "src" in attrs or "href" in attrs], "nothing is loaded from anywhere"
    assert len([tag for tag, _ in found.tags if tag == "script"]) == 1 + html.count("Plotly.newPlot("), "the library and its charts"
    text = " ".join(" ".join(found.text).split())
    assert "Recommenders compared on Books & <b>more</b>" in text and "<script>alert(" in text, "shown as text"
    assert "alert" not in "".join(str(t) for t in found.tags)
    better = next(run for run in runs if run.model_key == "item_knn")
    assert f"{better.metrics['ndcg@10']['mean']:.4f}" in text and "Item neighbours is better than Most popular in NDCG@10" in text
    for title in ("Data", "Leaderboard", "Which recommender is best?", "Verdicts", "Example users", "How the figures were made"):
        assert title in text
    hits = html.count('<li class="hit">')
    lists = 2 * report.N_SHOWN * 3
    assert 0 < hits < lists


def test_one_run_alone_and_from_the_command_line(runs, tmp_path, capsys):
    out = tmp_path / "report.html"
    report.main([runs[0].name, "--out", str(out)])
    text = " ".join(_parsed(out.read_text()).text)
    assert runs[0].name in text and "Verdicts" not in text
    for wrong in (["nobody"], [runs[0].name, "--metric", "nonsense@7"]):
        with pytest.raises(SystemExit):
            report.main(wrong)
    said = capsys.readouterr().err
    assert "There is no run 'nobody'" in said and "none of the runs has the metric nonsense@7" in said


def test_judged_by_an_error_of_ratings(workspace_root: Path):
    """RMSE has no list length, no interval and no paired difference: the report leaves out what there is not."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}", float(rng.integers(1, 6))) for u in range(40) for i in rng.choice(20, 9, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item", "rating"]), value="rating", feedback="explicit", threshold=4)
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(data, "Ratings")
    for iterations in (1, 2):
        spec = TrainSpec.make(dataset=entry.id, model="biased_mf", params={"iterations": iterations}, ks=(5,))
        train_in_workspace(workspace, spec, RunContext(threads=1))
    runs = workspace.runs(entry.id)
    text = " ".join(" ".join(_parsed(report.report_html(groups_of(runs)[0], runs, "rmse", runs[0])).text).split())
    assert "judged by RMSE" in text and number(runs[0].overall["rmse"], 4) in text
    assert "None" not in text and "Does the order change" not in text
