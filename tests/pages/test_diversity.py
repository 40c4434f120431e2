"""Diversity: empty, filled, failing; the slider moves figures and lists; curves kept by a job; a choice handed to Export."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.diversity_spec import DiversitySpec
from recsys_core.jobs.handlers.diversity import Diversity
from recsys_core.jobs.training import train_in_workspace
from recsys_core.rerank._base import Shelf
from recsys_core.serving.client import ScorerClient
from recsys_core.store import Workspace

NASTY = "**Bold** [link](http://x) <b>tag</b> :red[x] $a$ " * 4
GENRES = ("Drama|Crime", "Comedy", "Travel", "History|Drama")
SLIDER = "diversity-strength-mmr"


def _data(*, categories: bool = True) -> Dataset:
    """90 users, 40 items in four kinds; each user has mostly one kind."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(90) for i in rng.choice(10, 3 + u % 6, replace=False) * 4 + u % 4]
    rows += [(f"u{u:02}", f"i{i:02}") for u in range(90) for i in rng.choice(40, 4, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]).drop_duplicates())
    table = pd.DataFrame({"title": [NASTY if str(i) == "i03" else f"Book {i}" for i in data.items.ids]})
    if categories:
        table["genres"] = [GENRES[int(str(i)[1:]) % 4] for i in data.items.ids]
    return replace(data, item_table=table)


def _train(workspace: Workspace, data: Dataset, **spec) -> tuple[str, str]:
    entry = workspace.add_dataset(data, "Books")
    spec = {"model": "item_knn", "ks": (5, 10)} | spec
    return entry.id, train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, **spec), RunContext(threads=1)).id


@pytest.fixture
def workspace(workspace_root: Path) -> Iterator[Workspace]:
    """Its scorer, if a test starts one, ends with the test."""
    workspace = Workspace(workspace_root)
    yield workspace
    ScorerClient(workspace).stop()


def _sentence(at) -> str:
    """The one in bold over the curve."""
    return next(m.value.replace("\\", "") for m in at.markdown if m.value.startswith(("**At", "**Shaped")))


def _lists(at, title: str) -> list[list[str]]:
    found = [m.value for m in at.markdown if m.value.startswith(f"**{title}**\n")]
    return [re.findall(r"^\d+\. (.*)$", text, re.M) for text in found]


def test_empty_workspace_and_dataset_without_results(open_page, text_of, workspace_root) -> None:
    assert "No datasets yet" in text_of(open_page("diversity"))
    entry = Workspace(workspace_root).add_dataset(_data(), "Books")
    assert "No results yet" in text_of(open_page("diversity", dataset=entry.id))


def test_the_slider_moves_the_sentence_and_the_lists(open_page, text_of, workspace) -> None:
    dataset_id, run_id = _train(workspace, _data())
    at = open_page("diversity", dataset=dataset_id)
    assert "all 90 test users" in text_of(at) and "from the 40 candidates kept for each" in text_of(at)
    at.select_slider(key=SLIDER).set_value(0.0).run()
    assert _sentence(at) == "**At 0 the lists stay as the model makes them.**"
    assert _lists(at, "Before") == _lists(at, "After") and len(_lists(at, "After")) == 3
    assert "nothing changes" in text_of(at) and "badge" not in str(_lists(at, "After"))
    at.select_slider(key=SLIDER).set_value(0.6).run()
    first, lists = _sentence(at), _lists(at, "After")
    assert re.search(r"^\*\*At \.60 the lists are [\d.]+ % more varied", first) and "NDCG@10" in first
    assert all(len(one) == 10 for one in lists) and lists != _lists(at, "Before")
    n_new = [sum("green-badge" in line for line in one) for one in lists]
    assert n_new == [sum("gray-badge" in line for line in one) for one in _lists(at, "Before")] and max(n_new) > 0
    assert [int(n) for n in re.findall(r"(\d+) of 10 new", text_of(at))] == [n for n in n_new if n]
    at.select_slider(key=SLIDER).set_value(0.15).run()
    assert _sentence(at) != first and _lists(at, "After") != lists
    everything = "".join(m.value for m in at.markdown)
    assert "<b>tag" not in everything and "](http" not in everything, "titles are text, not Markdown"
    assert workspace.run(run_id).path.joinpath("candidates.npz").exists() is False, "nothing is written by looking"


def test_figures_are_those_of_the_lists(open_page, workspace) -> None:
    from recsys_core.evaluation.tradeoff import tradeoff

    dataset_id, run_id = _train(workspace, _data())
    run = workspace.run(run_id)
    (start, point) = tradeoff(run.topk(), run.holdout(), Shelf(run.training()), "mmr", {}, (0.0, 0.3), 10)
    gain = point["metrics"]["intra_list_diversity@10"]["mean"] / start["metrics"]["intra_list_diversity@10"]["mean"] - 1
    at = open_page("diversity", dataset=dataset_id)
    assert at.select_slider(key=SLIDER).value == 0.3
    assert f"{100 * gain:.0f} %" in _sentence(at) or f"{100 * gain:.1f} %" in _sentence(at)
    told = next(c.value for c in at.caption if "→" in c.value).replace("\\", "")
    assert f"NDCG@10 {start['metrics']['ndcg@10']['mean']:.3f} → {point['metrics']['ndcg@10']['mean']:.3f}" in told


def test_single_users_by_id_and_others(open_page, text_of, workspace) -> None:
    dataset_id, _ = _train(workspace, _data())
    at = open_page("diversity", dataset=dataset_id)
    shown = re.findall(r"(Active|In between|Newcomer): (u\d\d)", text_of(at))
    assert [kind for kind, _ in shown] == ["Active", "In between", "Newcomer"]
    sizes = [int(n) for n in re.findall(r"(\d+) known interactions", text_of(at))]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    at.button(key="diversity-others").click().run()
    assert re.findall(r"(Active|In between|Newcomer): (u\d\d)", text_of(at)) != shown
    at.text_input(key="diversity-user").set_value("u07").run()
    assert "User: u07" in text_of(at) and len(_lists(at, "After")) == 1
    at.text_input(key="diversity-user").set_value("*nobody*").run()
    assert r"'\*nobody\*' is none of the 90 users" in text_of(at) and not _lists(at, "After")


def test_without_categories_it_is_said_what_stands_in(open_page, text_of, workspace) -> None:
    dataset_id, _ = _train(workspace, _data(categories=False))
    text = text_of(open_page("diversity", dataset=dataset_id))
    assert "judged by who had them" in text and "groups of items that the same users had" in text


def test_folds_and_new_users(open_page, text_of, workspace) -> None:
    dataset_id, folded = _train(workspace, _data(), split="kfold", split_params={"folds": 2})
    _, cold = _train(workspace, _data(), split="cold_users")
    assert "are those of the first" in text_of(open_page("diversity", dataset=dataset_id, run=folded))
    at = open_page("diversity", dataset=dataset_id, run=cold)
    assert "are those of the first" not in text_of(at) and len(_lists(at, "After")) == 3
    assert min(int(n) for n in re.findall(r"(\d+) known interaction", text_of(at))) > 0, "what a new user came with counts as known"


def test_a_result_that_kept_no_lists_says_so(open_page, text_of, workspace) -> None:
    dataset_id, run_id = _train(workspace, _data())
    (workspace.run(run_id).path / "topk.npz").unlink()
    text = text_of(open_page("diversity", dataset=dataset_id))
    assert "kept no lists that could be shaped" in text and "Train it again" in text


def test_every_method_draws_or_says_why_not(open_page, text_of, workspace) -> None:
    from ui.diversity_data import methods

    dataset_id, _ = _train(workspace, _data())
    at = open_page("diversity", dataset=dataset_id)
    for key in methods():
        at.selectbox(key="diversity-method").set_value(key).run()
        assert not at.exception and not at.error, (key, [e.value for e in at.error])
        assert _lists(at, "After") or "It cannot be used here" in text_of(at), key
        with_slider = {one.key for one in at.select_slider}
        assert (f"diversity-strength-{key}" in with_slider) == methods()[key].has_strength()


def test_a_kept_curve_is_found_again_and_methods_are_compared(open_page, text_of, workspace) -> None:
    dataset_id, run_id = _train(workspace, _data())
    at = open_page("diversity", dataset=dataset_id)
    at.button(key="diversity-work-out").click().run()
    (job,) = JobQueue(workspace).jobs()
    assert job.kind == "diversity" and job.spec.payload == DiversitySpec.make(run=run_id, method="mmr", k=10).model_dump(mode="json")
    assert at.button(key="diversity-work-out").disabled and "Curves being worked out" in text_of(at)
    JobQueue(workspace).cancel(job.id)
    for method in ("mmr", "dpp"):
        Diversity().run(DiversitySpec.make(run=run_id, method=method, k=10).model_dump(mode="json"), workspace, RunContext(threads=1))
    at = open_page("diversity", dataset=dataset_id)
    text = text_of(at).replace("\\", "")
    assert "Worked out on all 90 test users, from 200 candidates each" in text
    assert "diversity-work-out" not in {button.key for button in at.button}
    assert re.search(r"For at most 2 % of NDCG@10, (MMR|DPP)", text) and "Which method buys" in text
    at.segmented_control(key="diversity-k").set_value("5").run()
    assert "A live estimate" in text_of(at), "another list length is another curve"
    at.button(key="diversity-all").click().run()
    waiting = [job.spec.payload for job in JobQueue(workspace).jobs(["queued"])]
    assert {one["k"] for one in waiting} == {5} and {"mmr", "dpp"} <= {one["method"] for one in waiting}


def test_apply_hands_method_strength_and_length_to_export(open_page, text_of, workspace) -> None:
    dataset_id, run_id = _train(workspace, _data())
    at = open_page("diversity", dataset=dataset_id, run=run_id)
    at.segmented_control(key="diversity-k").set_value("5").run()
    at.select_slider(key=SLIDER).set_value(0.85).run()
    after = {line for one in _lists(at, "After") for line in one}
    at.button(key="diversity-apply").click().run()
    assert at.title[0].value == "Export" and at.selectbox(key="export-shape").value == "mmr"
    assert at.number_input(key="export-k").value == 5 and after
    (form,) = [one for one in at.slider if "export-shape" in str(one.key)]
    assert form.value == 0.85
    shaped = at.dataframe[0].value
    assert "diversity 0.85" in text_of(at).replace("\\", "")
    at.switch_page("../pages/export.py").run()  # else the next click would be one on the page before
    assert at.dataframe[0].value.equals(shaped)
    at.selectbox(key="export-shape").set_value("").run()
    assert not at.dataframe[0].value.equals(shaped) and len(at.dataframe[0].value) == len(shaped) == 15


def test_rules_are_set_by_title_and_category(open_page, text_of, workspace) -> None:
    data = _data()
    dataset_id, run_id = _train(workspace, data)
    at = open_page("diversity", dataset=dataset_id)
    at.selectbox(key="diversity-method").set_value("rules").run()
    assert _sentence(at) == "**Shaped like this, the lists stay as the model makes them.**"
    at.multiselect(key="diversity-rules/pinned").set_value(["i03"]).run()
    at.multiselect(key="diversity-rules/blocked").set_value(["i05"]).run()
    at.multiselect(key="diversity-rules/category_caps-").set_value(["Comedy"]).run()
    at.number_input(key="diversity-rules/category_caps-/Comedy").set_value(1).run()
    assert "pinned items: 1; blocked items: 1" in text_of(at).replace("\\", "") and "Comedy 1" in text_of(at)
    run, shown = workspace.run(run_id), re.findall(r"(?:Active|In between|Newcomer): (u\d\d)", text_of(at))
    train = run.training()
    for user, lines in zip(shown, _lists(at, "After"), strict=True):
        had = set(train.items.decode(train.histories(train.users.encode([user])).items))
        assert ("Bold" in lines[0]) == ("i03" not in had), "pinned first, unless the user had it"
        assert not any("Book i05" in line for line in lines) and sum("Comedy" in line for line in lines) <= 1
    at.multiselect(key="diversity-rules/blocked").set_value(["i05", "i03"]).run()
    assert "is both pinned and blocked" in "".join(e.value for e in at.error) and not _lists(at, "After")
    at.multiselect(key="diversity-rules/blocked").set_value(["i05"]).run()
    at.button(key="diversity-apply").click().run()
    at.switch_page("../pages/export.py").run()
    file = at.dataframe[0].value
    assert "i05" not in set(file["item"]) and (file["genres"] == "Comedy").groupby(file["user"]).sum().max() <= 1
    at.multiselect(key="export-shape-rules-1/blocked").set_value(["i05", "nobody"]).run()
    assert "'nobody' is not in the data" in "".join(e.value for e in at.error).replace("\\", "")
