"""Compare: verdicts on every pair, stability over seeds, any column for whom, fairness; Train: the same with several seeds."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import evaluation
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace
from ui.compare_data import groups_of
from ui.compare_verdicts import p_text, pairs_csv, pairs_frame
from ui.train_seeds import about, seeds_from, uses_runs, with_other_seeds

NEW_TABS = ("Verdicts", "Stability", "For whom", "Fairness")


def _data(n_users: int = 150, n_items: int = 30) -> Dataset:
    rng = np.random.default_rng(0)
    taste = np.add.outer(np.arange(n_users) % 3, np.arange(n_items)) % 3 == 0
    user, item = np.nonzero(rng.random((n_users, n_items)) < np.where(taste, 0.6, 0.1))
    data = from_frame(pd.DataFrame({"user": user, "item": item}))
    users, items = data.users.ids.astype(int), data.items.ids.astype(int)
    user_table = pd.DataFrame({"plan": np.array(["free *now*", "plus", "basic"])[users % 3], "age": 20 + users % 40})
    item_table = pd.DataFrame(
        {"title": [f"A film of its own {i}" for i in items], "genres": np.array(["Drama|Crime", "Comedy", "Drama"])[items % 3]}
    )
    return from_frame(pd.DataFrame({"user": user, "item": item}), user_table=user_table, item_table=item_table)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Three results of one split, two of them with a second and third seed, and one of k-fold; the tests only read it."""
    workspace = Workspace(tmp_path_factory.mktemp("verdicts"))
    entry = workspace.add_dataset(_data(), "Films")
    plans = [("popular", {}), ("item_knn", {}), ("ease", {})]
    plans += [(model, {"seed": seed}) for model in ("popular", "ease") for seed in (43, 44)]
    plans += [("ease", {"split": "kfold", "split_params": {"folds": 3}})]
    for model, more in plans:
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, **more), RunContext(threads=1))
    return workspace.root


@pytest.fixture
def shown(trained, workspace_root, monkeypatch) -> Workspace:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(trained))
    return Workspace(trained)


def _main(workspace: Workspace):
    return next(group for group in groups_of(workspace.runs()) if len(group.runs) == 3)


def _open(open_page, workspace: Workspace, tab: str, **more: str):
    group = _main(workspace)
    at = open_page("compare", dataset=workspace.datasets()[0].id, runs=",".join(group.ids), chart=tab, **more)
    assert not at.error, [error.value for error in at.error]
    return at


def test_every_pair_has_its_verdict_corrected_for_all(open_page, text_of, shown) -> None:
    at = _open(open_page, shown, "Verdicts")
    table = at.dataframe[1].value
    group = _main(shown)
    expected = evaluation.pairwise({run.id: run.per_user() for run in group.runs}, "ndcg@10")
    assert len(table) == 3 and (table["clear"].sum() == sum(d.clear for d in expected))
    assert sorted(table["p_holm"]) == sorted(p_text(d.p_holm) for d in expected)
    assert set(table["worse"]) >= {"Most popular"}
    said = text_of(at)
    assert "Who is better, and by how much?" in said and "clearly better than Most popular" in said
    assert f"{table['clear'].sum()} of 3 pairs" in said


def test_the_sentence_follows_the_chosen_pair_and_column(open_page, text_of, shown) -> None:
    at = _open(open_page, shown, "Verdicts")
    group = _main(shown)
    by_key = {run.model_key: run for run in group.runs}
    at.selectbox(key="verdict-b").set_value(by_key["ease"].id).run()
    at.selectbox(key="verdict-a").set_value(by_key["popular"].id).run()
    at.selectbox(key="verdict-by").set_value("user/column/plan").run()
    assert not at.exception and not at.error
    table = shown.datasets()[0].table("user")
    grouping = evaluation.by_column(table, "plan", "user", 150, by_key["ease"].per_user().index.to_numpy())
    names = (by_key["popular"].name, by_key["ease"].name)
    expected = evaluation.verdict(by_key["popular"].per_user(), by_key["ease"].per_user(), "ndcg@10", grouping, names=names)
    assert expected.sentence() in text_of(at).replace("\\", "")
    assert "it wins in every group" in expected.sentence() or "it wins for plan" in expected.sentence()


def test_a_measure_without_users_says_so(open_page, text_of, shown) -> None:
    said = text_of(_open(open_page, shown, "Verdicts", metric="coverage"))
    assert "nothing can be said of chance" in said
    assert "cannot be split by kind of user" in text_of(_open(open_page, shown, "For whom", metric="coverage"))


def test_seeds_are_put_together_whatever_the_split(open_page, text_of, shown) -> None:
    at = _open(open_page, shown, "Stability")
    table = at.dataframe[1].value.set_index("name")
    runs = [run for run in shown.runs() if run.model_key == "ease" and run.spec["split"] == "random"]
    figures = [run.metrics["ndcg@10"]["mean"] for run in runs]
    row = table.loc["EASE"]
    assert (row["repeated"], row["mean"], row["deviation"]) == (
        "3 seeds",
        pytest.approx(np.mean(figures)),
        pytest.approx(np.std(figures, ddof=1)),
    )
    said = text_of(at).replace("\\", "")
    assert "How stable is it?" in said and "EASE is ahead of Most popular in 3 of 3 seeds" in said
    assert "Trained only once: Item neighbours" in said


def test_folds_are_repeats_and_what_was_never_repeated_says_how(open_page, text_of, shown) -> None:
    folded = next(run for run in shown.runs() if run.folds)
    at = open_page("compare", dataset=folded.dataset_id, runs=folded.id, chart="Stability")
    assert at.dataframe[1].value["repeated"][0] == "3 folds" and "EASE" in text_of(at)
    alone = next(run for run in shown.runs() if run.model_key == "item_knn")
    at = open_page("compare", dataset=folded.dataset_id, runs=alone.id, chart="Stability")
    assert "None of the chosen results was repeated yet" in text_of(at)


def test_for_whom_takes_any_column(open_page, text_of, shown) -> None:
    at = _open(open_page, shown, "For whom")
    assert at.selectbox(key="for-whom-users").options == ["How active users are", "How new users are", "plan", "age"]
    assert at.selectbox(key="for-whom-items").options == ["How popular items are", "How new items are", "genres"], "titles part nothing"
    at.selectbox(key="for-whom-users").set_value("user/column/plan").run()
    at.selectbox(key="for-whom-items").set_value("item/column/genres").run()
    assert not at.error and not at.exception
    assert "several values counts in each" in text_of(at)
    at.selectbox(key="for-whom-users").set_value("user/new").run()
    assert "no times" in text_of(at) and not at.error


def test_fairness_across_items_and_across_users(open_page, text_of, shown) -> None:
    at = _open(open_page, shown, "Fairness")
    assert at.selectbox(key="fair-across").value == "item/column/genres", "it begins with the categories of items"
    assert "Is each group shown as often as people choose it?" in text_of(at)
    run = next(run for run in _main(shown).runs if run.id == at.selectbox(key="fair-run").value)
    train = run.model().fitted
    grouping = evaluation.by_column(shown.datasets()[0].table("item"), "genres", "item", train.n_items)
    expected = evaluation.exposure_fairness(run.topk(), grouping, train.item_counts, 10)
    assert expected.sentence(run.name) in text_of(at).replace("\\", "")
    table = at.dataframe[1].value.set_index("name")
    assert table.loc[run.name, "moved"] == pytest.approx(100 * expected.distance_interactions)
    at.selectbox(key="fair-across").set_value("user/column/plan").run()
    assert not at.error and not at.exception and "Are all served equally well?" in text_of(at)
    table = at.dataframe[1].value
    assert len(table) == 3 and sum(column.startswith(("free", "plus", "basic")) for column in table.columns) == 3
    assert "free *now*" not in text_of(at), "values of a table are untrusted: Markdown in them is escaped"


@pytest.mark.parametrize("tab", NEW_TABS)
def test_without_tables_and_with_few_users_every_tab_says_what_it_can(open_page, text_of, workspace_root, tab) -> None:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((12, 15)) < 0.5)
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(from_frame(pd.DataFrame({"user": user, "item": item})), "Few")
    for model in ("popular", "item_knn"):
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, ks=(3, 5)), RunContext(threads=1))
    at = open_page("compare", dataset=entry.id, chart=tab)
    assert not at.error, (tab, [error.value for error in at.error])
    assert "Something went wrong" not in text_of(at)
    if tab in ("Verdicts", "For whom"):
        assert "enough" in text_of(at)


def test_the_table_to_download_holds_no_formula() -> None:
    rng = np.random.default_rng(0)
    a = pd.DataFrame({"ndcg@10": rng.random(50)})
    found = evaluation.pairwise({"a": a, "b": a + 0.1 + rng.normal(0, 0.1, (50, 1))}, "ndcg@10")
    frame = pairs_frame(found, {"a": "=1+1", "b": "B"})
    row = next(csv.DictReader(io.StringIO(pairs_csv(frame))))
    assert row["worse"] == "'=1+1" and row["better"] == "B" and row["verdict"] == "Clear"
    turned = pairs_frame(evaluation.pairwise({"b": a + 0.1, "a": a}, "ndcg@10"), {"a": "A", "b": "B"})
    assert (turned["better"][0], turned["wins"][0]) == ("B", "50 / 0 / 0"), "who is ahead is told by the figures, not by the order"
    assert [p_text(p) for p in (float("nan"), 1e-9, 0.0123, 0.5)] == ["–", "< 0.0001", "0.0123", "0.50"]


# ---- Train: several seeds ----------------------------------------------------------------------------
def test_train_queues_one_job_a_seed_and_says_what_changes(open_page, text_of, shown) -> None:
    at = open_page("train", dataset=shown.datasets()[0].id)
    next(box for box in at.checkbox if box.label.strip("*") == "Most popular").check().run()
    at.segmented_control(key="repeat-seeds").set_value(5).run()
    assert not at.exception
    said = text_of(at).replace("\\", "")
    assert "Seeds 42, 43, 44, 45 and 46" in said and "another seed holds out other interactions too" in said
    button = at.button(key="train-chosen")
    assert button.label == "Train 2 models", "three of the five are there already"


def test_seeds_follow_the_chosen_one_and_fusions_of_results_stay_with_their_split() -> None:
    assert seeds_from(7, 3) == [7, 8, 9] and seeds_from(2**31 - 1, 3) == [2**31 - 1, 2**31 - 2, 2**31 - 3]
    plain = TrainSpec.make(dataset="d", model="ease", seed=7)
    fused = TrainSpec.make(dataset="d", model="weighted", seed=7, params={"models": ["run:abc", "ease"]})
    found = with_other_seeds([plain, fused], 3)
    assert [(spec.model, spec.seed) for spec in found] == [("ease", 7), ("ease", 8), ("ease", 9), ("weighted", 7)]
    assert [spec.name for spec in found] == ["", "EASE (seed 8)", "EASE (seed 9)", ""]
    assert len({spec.run_id for spec in found}) == 4 and uses_runs(fused.params) and not uses_runs(plain.params)
    assert "whatever the seed" in about("global_time", [1, 2]) and "other interactions" in about("cold_users", [1, 2])


def test_what_train_queues_is_what_compare_puts_together(workspace_root) -> None:
    workspace = Workspace(workspace_root)
    entry = workspace.add_dataset(_data(60, 20), "Films")
    specs = with_other_seeds([TrainSpec.make(dataset=entry.id, model="popular")], 3)
    assert len(JobQueue(workspace).submit_many(specs)) == 3
    for spec in specs:
        train_in_workspace(workspace, spec, RunContext(threads=1))
    found = evaluation.repeats(workspace.runs())
    assert [one.label for one in found] == ["Most popular, 3 seeds"] and found[0].seeds == [42, 43, 44]
