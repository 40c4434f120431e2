"""Compare: empty, filled and damaged states; verdicts, groups, links, the table to download, charts of every tab."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.evaluation import differences
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import RunEntry, Workspace
from ui import compare_charts
from ui.compare_data import Group, figure_of, groups_of, metrics_of, ranked
from ui.compare_run import settings_table
from ui.compare_segments import _leaders
from ui.compare_table import leaderboard, table_csv, verdict
from ui.compare_training import measures, validated

TABS = ("List length", "Beyond accuracy", "For whom", "Exposure", "Overlap", "Training", "Time and memory")
ALL_TABS = (*TABS, "Verdicts", "Stability", "Fairness", "Robustness")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A workspace with four runs of one split, one of another seed and one of k-fold; the tests only read it."""
    rng = np.random.default_rng(0)
    taste = np.add.outer(np.arange(60) % 3, np.arange(30)) % 3 == 0
    user, item = np.nonzero(rng.random((60, 30)) < np.where(taste, 0.6, 0.1))
    workspace = Workspace(tmp_path_factory.mktemp("compare"))
    entry = workspace.add_dataset(from_frame(pd.DataFrame({"user": user, "item": item})), "Films")
    plans = [
        ("popular", {}, {}),
        ("item_knn", {}, {}),
        ("als", {"iterations": 3, "factors": 4}, {}),
        ("ease", {}, {"name": "=cmd|' /C calc'!A0 *bold* " + "long " * 18}),
        ("popular", {}, {"seed": 1}),
        ("popular", {}, {"split": "kfold", "split_params": {"folds": 2}}),
    ]
    for model, params, more in plans:
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, params=params, **more), RunContext(threads=1))
    return workspace.root


@pytest.fixture
def shown(trained, workspace_root, monkeypatch) -> Workspace:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(trained))
    return Workspace(trained)


def _main(workspace: Workspace) -> Group:
    return next(group for group in groups_of(workspace.runs()) if len(group.runs) == 4)


def _table(at) -> pd.DataFrame:
    return at.dataframe[0].value


def test_no_dataset_and_no_results_say_what_comes_first(open_page, text_of, workspace_root) -> None:
    assert "No datasets yet" in text_of(open_page("compare"))
    entry = Workspace(workspace_root).add_dataset(from_frame(pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1]})), "Films")
    at = open_page("compare", dataset=entry.id)
    assert "No results yet" in text_of(at) and "Training under way" not in text_of(at)
    assert any(button.label == "Train recommenders" for button in at.button)
    JobQueue(Workspace(workspace_root)).submit(TrainSpec.make(dataset=entry.id, model="popular"))
    at = open_page("compare", dataset=entry.id)
    assert "Waiting" in text_of(at) and "No results yet" not in text_of(at), "what is under way is shown"


def test_runs_of_different_split_or_seed_are_never_in_one_table(open_page, shown) -> None:
    found = groups_of(shown.runs())
    assert sorted(len(group.runs) for group in found) == [1, 1, 4]
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(_main(shown).ids))
    assert len(at.selectbox(key="compare-protocol").options) == 3
    assert len(_table(at)) == 4
    other = next(group for group in found if group.seed == 1)
    at.selectbox(key="compare-protocol").set_value(other.split_id).run()
    assert not at.exception and len(_table(at)) == 1


def test_table_is_ranked_and_its_verdicts_are_those_of_the_paired_test(open_page, text_of, shown) -> None:
    group = _main(shown)
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(group.ids))
    table = _table(at)
    best = max(group.runs, key=lambda run: run.metrics["ndcg@10"]["mean"])
    assert table["value"].is_monotonic_decreasing and table["name"][0] == best.name
    base = next(run for run in group.runs if run.model_key == "popular")
    paired_to = {
        d.name_b: d for d in differences({base.id: base.per_user()} | {run.id: run.per_user() for run in group.runs}, base.id, ["ndcg@10"])
    }
    for run in group.runs:
        row = table.set_index("name").loc[run.name]
        if run.id == base.id:
            assert row["verdict"] == "Baseline"
            continue
        paired = paired_to[run.id]
        assert row["difference"] == pytest.approx(100 * paired.difference / paired.mean_a)
        assert row["verdict"] == ("No clear difference" if not paired.clear else "Better" if paired.better == run.id else "Worse")
        assert row["verdict"] == verdict(paired)
    assert "has the highest NDCG" in text_of(at)
    assert "\\*bold\\*" in text_of(at), "names are untrusted: Markdown in them is escaped"


def test_lower_is_better_turns_the_order_around(open_page, text_of, shown) -> None:
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(_main(shown).ids), metric="gini", k="5")
    assert _table(at)["value"].is_monotonic_increasing
    assert "has the lowest Exposure Gini" in text_of(at)
    assert (_table(at)["interval"] == "").all(), "one figure for all lists has no interval over users"


def test_link_reopens_the_same_comparison(open_page, shown) -> None:
    group = _main(shown)
    chosen = [group.ids[1], group.ids[2]]
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(chosen), metric="recall", k="20", baseline=chosen[1])
    assert at.selectbox(key="compare-metric").value == "recall"
    assert at.segmented_control(key="compare-k").value == "20"
    assert at.selectbox(key="compare-baseline").value == chosen[1]
    assert set(_table(at)["name"]) == {run.name for run in group.runs if run.id in chosen}
    at.button(key="show-all").click().run()
    assert len(_table(at)) == 4


def test_choosing_another_measure_is_kept_in_the_url(open_page, shown) -> None:
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(_main(shown).ids))
    at.selectbox(key="compare-metric").set_value("map").run()
    at.segmented_control(key="compare-k").set_value("5").run()
    assert (at.query_params["metric"], at.query_params["k"]) == ("map", "5")


def test_nothing_chosen_and_unknown_ids_are_no_error(open_page, text_of, shown) -> None:
    at = open_page("compare", dataset=shown.datasets()[0].id, runs="nope,../../etc", metric="nope", k="7")
    assert len(_table(at)) >= 1
    at.multiselect[0].set_value([]).run()
    assert "Choose at least one result" in text_of(at) and not at.exception


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_draws_its_charts_under_a_question(open_page, text_of, shown, tab) -> None:
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(_main(shown).ids), chart=tab)
    assert not at.error, [error.value for error in at.error]
    assert "Something went wrong" not in text_of(at)
    question = {
        "List length": "Does the order change",
        "Beyond accuracy": "What does accuracy cost",
        "For whom": "Who is served well?",
        "Exposure": "How evenly is the catalogue shown?",
        "Overlap": "How alike are the lists?",
        "Training": "Did it learn to the end?",
        "Time and memory": "Is slower better?",
    }[tab]
    assert question in text_of(at)


@pytest.mark.parametrize("tab", ALL_TABS)
def test_every_tab_works_for_a_single_k_fold_result(open_page, text_of, shown, tab) -> None:
    folded = next(run for run in shown.runs() if run.folds)
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=folded.id, chart=tab)
    assert not at.error and "Something went wrong" not in text_of(at)
    assert _table(at)["fold_spread"][0] == pytest.approx(folded.fold_spread["ndcg@10"])


@pytest.mark.parametrize("split", ["cold_users", "own_test", "global_time"])
def test_every_tab_works_for_users_and_items_training_never_met(open_page, text_of, workspace_root, split) -> None:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((40, 20)) < 0.4)
    frame = pd.DataFrame({"user": user, "item": item, "time": np.arange(len(user)) * 100}).sample(frac=1, random_state=0)
    workspace, params = Workspace(workspace_root), {}
    frame["time"] = np.arange(len(frame)) * 100
    known = frame[(frame.user < 35) & (frame.item < 18)] if split == "own_test" else frame
    entry = workspace.add_dataset(from_frame(known, time="time"), "Films")
    if split == "own_test":
        params = {"test": workspace.add_test(entry.id, from_frame(frame.drop(known.index), time="time"), "later")["id"]}
    elif split == "global_time":
        params = {"new_users": "fallback"}
    for model in ("popular", "item_knn"):
        spec = TrainSpec.make(dataset=entry.id, model=model, split=split, split_params=params, ks=(3, 5))
        train_in_workspace(workspace, spec, RunContext(threads=1))
    for tab in ALL_TABS:
        at = open_page("compare", dataset=entry.id, chart=tab)
        assert not at.error, (tab, [error.value for error in at.error])
        assert len(_table(at)) == 2


def test_csv_holds_every_figure_and_no_formula(shown) -> None:
    group = _main(shown)
    text = table_csv(group.runs, "ndcg@10", group.runs[0], {})
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 4
    named = next(row for row in rows if row["model"] == "ease")
    assert named["recommender"].startswith("'=cmd")
    run = next(run for run in group.runs if run.model_key == "ease")
    assert float(named["ndcg@20"]) == pytest.approx(run.metrics["ndcg@20"]["mean"])
    assert float(named["coverage@5"]) == pytest.approx(run.overall["coverage@5"])
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_settings_show_what_auto_became(shown) -> None:
    run = next(run for run in shown.runs() if run.model_key == "ease")
    table = settings_table(run).set_index("setting")
    asked = table[table["asked"] == "choose for me"]
    assert len(asked) and not (asked["used"] == "choose for me").any()


def test_a_run_with_a_missing_file_does_not_take_the_page_down(open_page, text_of, trained, workspace_root, monkeypatch) -> None:
    import shutil

    shutil.copytree(trained, workspace_root)
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace_root))
    workspace = Workspace(workspace_root)
    group = _main(workspace)
    (group.runs[1].path / "topk.npz").unlink()
    (group.runs[2].path / "history.json").unlink()
    at = open_page("compare", dataset=workspace.datasets()[0].id, runs=",".join(group.ids), chart="Overlap")
    assert len(_table(at)) == 4, "what can be shown is shown"
    assert any("Something went wrong" in error.value for error in at.error) and "Traceback" not in text_of(at)


def test_training_tab_shows_the_panel_of_one_result_at_a_time(open_page, text_of, trained, workspace_root, monkeypatch) -> None:
    import json
    import shutil

    shutil.copytree(trained, workspace_root)
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace_root))
    workspace = Workspace(workspace_root)
    group = _main(workspace)
    knn = next(run for run in group.runs if run.model_key == "item_knn")
    steps = [
        {"stage": f"Fitting: {kind}: training", "epoch": n, "loss": 1 / n, "learning_rate": 0.01, "samples_per_second": 500.0}
        | ({"ndcg@20": 0.1 * n} if kind == "with validation" else {})
        for kind, passes in (("with validation", 3), ("on all training data", 2))
        for n in range(1, passes + 1)
    ]
    (knn.path / "history.json").write_text(json.dumps(steps))
    at = open_page("compare", dataset=workspace.datasets()[0].id, runs=",".join(group.ids), chart="Training")
    closer = next(box for box in at.selectbox if box.label == "Look closer at")
    assert closer.value == closer.options.index("Item neighbours"), "the first that was validated"
    shown = {metric.label.replace("\\", ""): metric.value for metric in at.metric}
    assert (shown["Passes"], shown["Best NDCG@20"], shown["Samples a second"]) == ("3, then 2", "0.3000", "500")
    assert "Did the lists get better?" in text_of(at) and "How large were the steps?" in text_of(at)
    closer.select(next(name for name in closer.options if name.startswith("ALS"))).run()
    assert "Did it learn to the end?" in text_of(at) and "Did the lists get better?" not in text_of(at)
    assert "Samples a second" not in {metric.label for metric in at.metric}


def test_rename_and_delete_name_what_depends_on_a_result(open_page, text_of, shown) -> None:
    group = _main(shown)
    at = open_page("compare", dataset=shown.datasets()[0].id, runs=",".join(group.ids), run=group.ids[0])
    at.button(key="delete-run").click().run()
    assert "This cannot be undone" in text_of(at)
    assert shown.has_run(group.ids[0])


# ---- numbers ----------------------------------------------------------------------------------------
def _run(run_id: str, metrics: dict, overall: dict | None = None) -> RunEntry:
    class Fake(RunEntry):
        metrics = property(lambda self: {n: {"mean": v, "low": v, "high": v} for n, v in self.manifest["metrics"].items()})
        overall = property(lambda self: self.manifest["overall"])

    return Fake(Path(run_id), {"id": run_id, "name": run_id, "metrics": metrics, "overall": overall or {}})


def test_ranking_puts_what_was_not_measured_last() -> None:
    runs = [_run("a", {}), _run("b", {"ndcg@5": 0.1}), _run("c", {"ndcg@5": 0.3})]
    assert [run.id for run in ranked(runs, "ndcg@5")] == ["c", "b", "a"]
    runs = [_run("a", {}, {"rmse": 0.9}), _run("b", {}, {"rmse": 0.8})]
    assert [run.id for run in ranked(runs, "rmse")] == ["b", "a"]
    assert math.isnan(figure_of(runs[0], "ndcg@5")[0])


def test_measures_start_with_the_usual_ones() -> None:
    found = metrics_of([_run("a", {"auc@5": 1, "recall@5": 1, "ndcg@10": 1, "ndcg@5": 1}, {"rmse": 1, "coverage@5": 1, "mine@3": 1})])
    assert list(found) == ["ndcg", "recall", "auc", "coverage", "rmse", "mine"]
    assert found["ndcg"] == [5, 10] and found["rmse"] == []


def test_leaderboard_without_a_baseline_figure_has_no_difference() -> None:
    runs = [_run("a", {"ndcg@5": 0.2}), _run("b", {})]
    frame = leaderboard(runs, "ndcg@5", runs[1], {})
    assert frame["difference"].isna().all() and list(frame["verdict"]) == ["–", "Baseline"]


def test_a_model_keeps_its_look_whatever_else_is_shown() -> None:
    positions = {f"r{n}": n for n in range(30)}
    all_looks = compare_charts.looks({f"r{n}": f"Model {n}" for n in range(30)}, positions)
    some = compare_charts.looks({"r9": "Model 9"}, positions)
    assert (some["r9"].color, some["r9"].dash, some["r9"].symbol) == (all_looks["r9"].color, all_looks["r9"].dash, all_looks["r9"].symbol)
    assert len({(look.color, look.dash, look.symbol) for look in all_looks.values()}) == 30, "no two look alike"


def test_a_long_name_goes_by_the_short_one_of_its_model() -> None:
    name = "Self-attention over the sequence (SASRec) (epochs 40)"
    assert compare_charts.looks({"a": name}, {"a": 0})["a"].name == "SASRec (epochs 40)"
    assert compare_charts.fitted("Multi-layer perceptron (MLP)") == "Multi-layer perceptron (MLP)", "it fits"
    own = "My long name of the run (second try) with a remark"
    assert compare_charts.fitted(own).startswith("My long name"), "brackets of one's own are no short name"


def test_long_names_that_are_cut_alike_stay_apart() -> None:
    found = compare_charts.looks({"a": "x" * 60 + "1", "b": "x" * 60 + "2"}, {"a": 0, "b": 1})
    assert found["a"].label != found["b"].label and len(found["b"].label) <= 36


def test_front_is_named_filled_and_joined() -> None:
    looks = compare_charts.looks({str(n): f"M{n}" for n in range(3)}, {str(n): n for n in range(3)})
    points = [(looks["0"], 0.1, 0.9), (looks["1"], 0.5, 0.5), (looks["2"], 0.4, 0.4)]
    fig = compare_charts.trade_off(points, "x", "y", [0, 1])
    assert list(fig.data[0].x) == [0.1, 0.5] and fig.data[0].mode == "lines"
    assert [trace.marker.symbol for trace in fig.data[1:]] == ["circle", "square", "diamond-open"]


def test_leaders_are_said_once() -> None:
    class View:
        looks = compare_charts.looks({"a": "EASE", "b": "ALS"}, {"a": 0, "b": 1})

    a, b = _run("a", {}), _run("b", {})
    three = {"light users": a, "medium users": a, "heavy users": b}
    assert _leaders(three, View) == "EASE is ahead for light users and medium users; ALS for heavy users"
    assert _leaders({"light users": a, "heavy users": a}, View) == "EASE is ahead for all of them"


def test_training_curve_is_that_of_the_phase_with_validation() -> None:
    first, second = "Fitting: with validation: training", "Fitting: on all training data: training"
    steps = [
        {"stage": first, "epoch": 1, "loss": 3.0, "ndcg@20": 0.1, "replayed": True},
        {"stage": first, "epoch": 2, "loss": 2.0, "ndcg@20": 0.2},
        {"stage": second, "epoch": 1, "loss": 2.5},
    ]
    plain = [{"stage": "Fitting: fit", "epoch": 1, "loss": 1.0}, {"stage": "Fitting: fit", "epoch": 2, "loss": 0.5}]
    one, two = compare_charts.looks({"a": "EASE", "b": "ALS"}, {"a": 0, "b": 1}).values()
    assert measures([steps, plain]) == ["ndcg@20"]
    assert validated([(one, steps, 1.0), (two, plain, None)], "ndcg@20") == [(one, [1, 2], [0.1, 0.2])]


@pytest.mark.parametrize(
    "leads, said",
    [
        (["A", "A", "A"], "A leads at every length"),
        (["A", "B", "A"], "A leads in the shortest and in the longest lists, not in all between"),
        (["A", "A", "B"], "A leads in short lists, B in long ones"),
    ],
)
def test_who_leads_is_said_of_every_length(leads, said):
    from ui.compare_views import _who_leads

    assert _who_leads(leads) == said
