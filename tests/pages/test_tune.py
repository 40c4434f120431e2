"""Tune: no dataset, the form and what a click queues, a study that is filled, running, failed, with two aims; using the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.jobs.tune_spec import TuneSpec
from recsys_core.store import Workspace
from recsys_core.store.files import write_json


def _data() -> Dataset:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((40, 30)) < 0.3)
    return from_frame(pd.DataFrame({"user": [f"u{n}" for n in user], "item": [f"i{n}" for n in item]}))


@pytest.fixture
def saved(workspace_root: Path) -> tuple[Workspace, str]:
    workspace = Workspace(workspace_root)
    return workspace, workspace.add_dataset(_data(), "Films *and* [more](http://x)").id


def trial(number: int, values: list[float] | None, state: str = "complete", /, **params: Any) -> dict[str, Any]:
    return {
        "number": number,
        "state": state,
        "params": params,
        "values": values,
        "seconds": 1.5,
        "started": "2026-11-22T12:00:00.000+00:00",
        "curve": [{"epoch": 1, "value": 0.2}] if state == "pruned" else [],
        "reason": "The matrix is *singular*." if state == "failed" else "",
    }


def write_study(workspace: Workspace, spec: TuneSpec, trials: list[dict[str, Any]], **summary: Any) -> str:
    """A study as its docstrings say it is written."""
    folder = workspace.root / "studies" / spec.study_id
    folder.mkdir(parents=True)
    manifest = {"id": spec.study_id, "name": spec.title, "created": "2026-11-22T12:00:00.000+00:00", "spec": spec.model_dump(mode="json")}
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "trials.json", trials)
    write_json(folder / "summary.json", {"best": None, "front": [], "importance": {}, "notes": [], "seconds": 6.0} | summary)
    return spec.study_id


def ease(dataset: str, **more: Any) -> TuneSpec:
    return TuneSpec.make(train=TrainSpec.make(dataset=dataset, model="ease", params={"values": "log"}), **more)


TRIALS = [
    trial(0, [0.4], regularization=100.0, dropout=0.0),
    trial(1, [0.38], regularization=20.0, dropout=0.1),
    trial(2, None, "pruned", regularization=5.0, dropout=0.5),
    trial(3, [0.43], regularization=300.0, dropout=0.2),
    trial(4, None, "failed", regularization=1e-9, dropout=0.3),
]


def filled(workspace: Workspace, dataset: str, **more: Any) -> str:
    summary = {"best": 3, "front": [3], "importance": {"regularization": 0.75, "dropout": 0.25}, "notes": ["One choice was left out."]}
    return write_study(workspace, ease(dataset), TRIALS, **(summary | more))


def said(at: Any, text_of: Any) -> str:
    return text_of(at).replace("\\", "")


# ---- set up ----------------------------------------------------------------------------------------
def test_empty_workspace_leads_to_data(open_page, text_of) -> None:
    at = open_page("tune")
    assert "No datasets yet" in text_of(at) and not any(button.key == "tune-start" for button in at.button)


def test_form_queues_what_it_shows(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    at = open_page("tune", dataset=dataset)
    assert "the test part is read once, when you train the winner" in said(at, text_of)
    at.selectbox(key="tune-model").set_value("rp3beta").run()
    assert at.checkbox(key="tune-space/rp3beta/alpha/on").value and not at.checkbox(key="tune-space/rp3beta/values/on").value
    at.checkbox(key="tune-space/rp3beta/neighbours/on").uncheck().run()
    at.number_input(key="tune-space/rp3beta/alpha/high").set_value(1.5).run()
    at.number_input(key="tune-trials").set_value(7).run()
    at.selectbox(key="tune-second").set_value("novelty").run()
    at.button(key="tune-start").click().run()
    assert not at.exception
    [job] = JobQueue(workspace).jobs()
    spec = TuneSpec(**job.spec.payload)
    assert job.kind == "tune" and job.id == spec.study_id
    assert spec.space == {"alpha": [0.3, 1.5], "beta": [0.0, 1.0]} and spec.objectives == ("ndcg@20", "novelty@20")
    assert (spec.n_trials, spec.pruner, spec.train.model, spec.train.params) == (7, "none", "rp3beta", {})
    assert at.query_params["study"] == spec.study_id and "Tune RP3beta" in said(at, text_of)
    assert any(button.label == "Cancel" for button in at.button)


def test_untouched_ranges_are_the_models_own_and_fixed_values_travel(open_page, saved) -> None:
    workspace, dataset = saved
    at = open_page("tune", dataset=dataset)
    at.selectbox(key="tune-model").set_value("ease").run()
    at.button(key="tune-start").click().run()
    assert TuneSpec(**JobQueue(workspace).jobs()[0].spec.payload).space == {}
    at.button(key="tune-new").click().run()
    at.selectbox(key="tune-form-ease/balanced/values").set_value("log").run()
    at.button(key="tune-start").click().run()
    spec = TuneSpec(**JobQueue(workspace).jobs()[0].spec.payload)
    assert spec.train.params == {"values": "log"} and set(spec.space) == {"regularization", "dropout"}


def test_split_is_at_first_that_of_the_newest_result(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    spec = TrainSpec.make(dataset=dataset, model="popular", split="leave_last", split_params={"n": 2}, seed=7, ks=(3, 10))
    run = train_in_workspace(
        workspace, spec.model_copy(update={"split": "random", "split_params": {"test_share": 0.3}}), RunContext(threads=1)
    )
    at = open_page("tune", dataset=dataset)
    assert at.selectbox(key="split-rule").value == "random" and at.number_input(key="split-seed").value == 7
    assert "The same split as 1 result here" in said(at, text_of)
    at.button(key="tune-start").click().run()
    asked = TuneSpec(**JobQueue(workspace).jobs()[0].spec.payload)
    assert asked.train.split_id == run.split_id and asked.objectives == ("ndcg@10",), "20 is not among its list lengths"


def test_a_model_without_settings_says_so(open_page, text_of, saved) -> None:
    at = open_page("tune", dataset=saved[1])
    at.selectbox(key="tune-model").set_value("random").run()
    assert "there is nothing to search" in said(at, text_of)
    assert not any(button.key == "tune-start" for button in at.button)


def test_what_is_wrong_is_said_before_anything_is_queued(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    at = open_page("tune", dataset=dataset)
    at.selectbox(key="tune-model").set_value("rp3beta").run()
    at.number_input(key="tune-space/rp3beta/alpha/low").set_value(1.9).run()
    at.number_input(key="tune-space/rp3beta/alpha/high").set_value(0.4).run()
    assert "from low to high" in said(at, text_of) and at.button(key="tune-start").disabled
    at.number_input(key="tune-space/rp3beta/alpha/high").set_value(2.0).run()
    at.number_input(key="tune-trials").set_value(0).run()
    assert "needs a budget" in said(at, text_of) and at.button(key="tune-start").disabled
    at.number_input(key="tune-minutes").set_value(1.0).run()
    assert not at.button(key="tune-start").disabled
    for name in ("alpha", "beta", "neighbours"):
        at.checkbox(key=f"tune-space/rp3beta/{name}/on").uncheck().run()
    assert "Tick at least one setting" in said(at, text_of) and at.button(key="tune-start").disabled
    assert not JobQueue(workspace).jobs()


# ---- a study ---------------------------------------------------------------------------------------
def charts_of(at: Any) -> list[str]:
    return [m.value.strip("*") for m in at.markdown if m.value.startswith("**") and m.value.endswith("?**")]


def test_filled_study_tells_best_charts_and_trials(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    study = filled(workspace, dataset)
    at = open_page("tune", dataset=dataset, study=study)
    words = said(at, text_of)
    assert "Best: NDCG@20 0.4300 on validation, defaults 0.4000 (+7.5 %)" in words
    assert charts_of(at) == [
        "Does searching still pay?",
        "What matters?",
        "Which value of regularization is good?",
        "Which settings go with good results?",
    ]
    assert "The best, 0.4300, came with trial 3" in words and "Regularization explains 75 % of the differences" in words
    assert "3 complete, 1 stopped early, 1 failed" in words and "One choice was left out." in words
    assert "Trial 4: The matrix is *singular*." in words and r"\*singular\*" in text_of(at), "untrusted text is escaped"
    [settings] = [t.value for t in at.table]
    assert settings["Setting"].tolist() == ["Regularization", "Denoising"] and settings["Default"].tolist() == ["100", "0"]
    [frame] = [d.value for d in at.dataframe]
    assert frame["number"].tolist() == [0, 1, 2, 3, 4] and frame["state"].tolist()[2:] == ["Stopped early", "Complete", "Failed"]
    assert list(frame.columns)[3:5] == ["param:regularization", "param:dropout"], "the most important first"


def test_the_best_is_trained_with_all_its_settings(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    study = filled(workspace, dataset)
    at = open_page("tune", dataset=dataset, study=study)
    at.button(key=f"tune-train-{study}").click().run()
    [job] = JobQueue(workspace).jobs()
    spec = job.train_spec
    assert spec.params == {"values": "log", "regularization": 300.0, "dropout": 0.2} and spec.name == "EASE, tuned"
    assert spec.split_id == ease(dataset).train.split_id
    assert "It is being trained" in said(at, text_of) and at.button(key=f"tune-train-{study}").disabled
    train_in_workspace(workspace, spec, RunContext(threads=1))
    JobQueue(workspace).cancel(job.id)
    at.run()
    assert "Trained as EASE, tuned" in said(at, text_of).replace("**", "")
    assert any(button.key == f"tune-see-{study}" for button in at.button)


def test_use_in_train_fills_its_form_and_split(open_page, saved, workspace_root) -> None:
    workspace, dataset = saved
    spec = TuneSpec.make(
        train=TrainSpec.make(dataset=dataset, model="ease", params={"values": "log"}, seed=9, split_params={"test_share": 0.3})
    )
    study = write_study(workspace, spec, TRIALS, best=3, front=[3])
    at = open_page("tune", dataset=dataset, study=study)
    at.button(key=f"tune-use-{study}").click().run()
    at.switch_page("../pages/train.py").run()
    assert not at.exception
    assert at.checkbox(key="pick-ease").value and at.number_input(key="split-seed").value == 9
    at.button(key="train-chosen").click().run()
    [job] = JobQueue(workspace).jobs()
    params = job.train_spec.model_params()
    assert (params.regularization, params.dropout, params.values) == (300.0, 0.2, "log")
    assert job.train_spec.split_id == spec.train.split_id


def test_a_fusion_is_tuned_with_its_default_parts_and_used_with_the_same(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    train_in_workspace(workspace, TrainSpec.make(dataset=dataset, model="ease"), RunContext(threads=1))
    at = open_page("tune", dataset=dataset)
    at.selectbox(key="tune-model").set_value("weighted").run()
    assert "Combines EASE, ALS and Item neighbours, as by default." in said(at, text_of)
    at.button(key="tune-start").click().run()
    [job] = [job for job in JobQueue(workspace).jobs() if job.kind == "tune"]
    spec = TuneSpec(**job.spec.payload)
    assert spec.train.params == {}
    JobQueue(workspace).cancel(job.id)
    write_study(workspace, spec, [trial(0, [0.4], normalization="z"), trial(1, [0.5], normalization="rank")], best=1, front=[1])
    at.run()
    at.button(key=f"tune-use-{spec.study_id}").click().run()
    at.switch_page("../pages/train.py").run()
    at.button(key="train-chosen").click().run()
    params = next(job for job in JobQueue(workspace).jobs() if job.kind == "train").train_spec.model_params()
    assert params.models == ["ease", "als", "item_knn"] and params.normalization == "rank", "not the run that is there: as it was tuned"


def test_a_running_study_can_be_cancelled_and_shows_what_it_has(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    queue = JobQueue(workspace)
    spec = ease(dataset)
    queue.submit(spec.job())
    at = open_page("tune", dataset=dataset, study=spec.study_id)
    assert "Waiting" in text_of(at) and "The first trial, with the defaults, is under way" in text_of(at)
    write_study(workspace, spec, [TRIALS[0], trial(1, None, "running", regularization=7.0, dropout=0.1)], best=0, front=[0])
    at.run()
    words = said(at, text_of)
    assert "Best so far: NDCG@20 0.4000 on validation, with the defaults" in words and "1 complete, 1 running" in words
    assert "Charts begin with 2 complete trials; there is 1." in words
    assert not any(button.label == "Search on" for button in at.button)
    next(button for button in at.button if button.label == "Cancel").click().run()
    assert queue.job(spec.study_id).state == "cancelled"
    next(button for button in at.button if button.label == "Continue").click().run()
    assert queue.job(spec.study_id).state == "queued"


def test_a_search_that_failed_before_it_began_says_why(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    job = JobQueue(workspace).submit(ease(dataset).job())
    write_json(job.path / "state.json", job.status | {"state": "failed", "reason": "The range of *x* is empty."})
    at = open_page("tune", dataset=dataset, study=job.id)
    words = said(at, text_of)
    assert "The range of *x* is empty." in words and "No trial was made" in words
    assert {"Continue", "New search"} <= {button.label for button in at.button}


def test_a_trial_that_was_cut_off_is_neither_a_failure_nor_budget(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    cut = trial(4, None, "failed", regularization=1.0) | {"again": True, "reason": "It was stopped before it was done."}
    study = write_study(workspace, ease(dataset), [*TRIALS[:4], cut], best=3, front=[3])
    at = open_page("tune", dataset=dataset, study=study)
    assert "3 complete, 1 stopped early, 1 cut off" in said(at, text_of) and not at.warning
    next(button for button in at.button if button.label == "Search on").click().run()
    assert JobQueue(workspace).jobs()[0].spec.payload["n_trials"] == 4 + 20


def test_a_study_that_is_done_is_given_more_trials(open_page, saved) -> None:
    workspace, dataset = saved
    study = filled(workspace, dataset)
    at = open_page("tune", dataset=dataset, study=study)
    at.number_input(key=f"tune-more-trials-{study}").set_value(15).run()
    next(button for button in at.button if button.label == "Search on").click().run()
    [job] = JobQueue(workspace).jobs()
    assert job.id == study and job.spec.payload["n_trials"] == 20


def test_no_trial_with_a_result_tells_why(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    study = write_study(workspace, ease(dataset), [trial(n, None, "failed", regularization=1.0) for n in range(3)])
    at = open_page("tune", dataset=dataset, study=study)
    words = said(at, text_of)
    assert "No trial has a result" in words and "Trials 0, 1 and 2: The matrix is *singular*." in words
    assert charts_of(at) == [] and not any(button.key == f"tune-train-{study}" for button in at.button)


def test_two_aims_show_the_front_and_a_choice_along_it(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    trials = [
        trial(0, [0.4, 0.5], regularization=100.0),
        trial(1, [0.43, 0.4], regularization=300.0),
        trial(2, [0.35, 0.7], regularization=5.0),
        trial(3, [0.3, 0.3], regularization=5000.0),
    ]
    spec = ease(dataset, objectives=("ndcg@20", "intra_list_diversity@20"))
    study = write_study(workspace, spec, trials, best=1, front=[0, 1, 2])
    at = open_page("tune", dataset=dataset, study=study)
    words = said(at, text_of)
    assert charts_of(at)[0] == "What does diversity within a list cost?"
    assert "NDCG@20 goes from 0.4300 to 0.3500 and Diversity within a list@20 from 0.4000 to 0.7000" in words
    picker = at.selectbox(key=f"tune-front-pick-{study}")
    assert [option.split(":")[0] for option in picker.options] == ["Trial 1", "Trial 0", "Trial 2"]
    assert "Trial 1: NDCG@20 0.4300 on validation" in words
    picker.set_value(2).run()
    assert "Trial 2: NDCG@20 0.3500 on validation and Diversity within a list@20 0.7000" in said(at, text_of)
    at.button(key=f"tune-train-{study}").click().run()
    assert JobQueue(workspace).jobs()[0].train_spec.params["regularization"] == 5.0


def test_studies_of_a_model_that_is_gone_or_half_written_are_still_read(open_page, text_of, saved) -> None:
    workspace, dataset = saved
    study = filled(workspace, dataset)
    manifest = json.loads((workspace.root / "studies" / study / "manifest.json").read_text())
    manifest["spec"]["train"]["model"] = "gone"
    write_json(workspace.root / "studies" / study / "manifest.json", manifest)
    at = open_page("tune", dataset=dataset, study=study)
    assert "Best: NDCG@20 0.4300" in said(at, text_of) and "gone" in said(at, text_of)
    (workspace.root / "studies" / study / "trials.json").write_text("[{")
    (workspace.root / "studies" / study / "summary.json").write_text("{")
    at = open_page("tune", dataset=dataset, study=study)
    assert "No trial was made" in said(at, text_of)


# ---- words and numbers -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "base", "told"),
    [(0.431, 0.402, "+7.2 %"), (0.2, 0.4, "-50 %"), (0.4, 0.4, "no difference"), (0.4, 0.0, ""), (-1.0, -2.0, "+50 %")],
)
def test_gains_are_told_in_percent_of_the_defaults(value, base, told) -> None:
    from ui.tune_data import gain

    assert gain(value, base) == told


def test_csv_of_trials_is_safe_and_whole(saved) -> None:
    from io import StringIO

    from ui.tune_data import View, table_csv

    workspace, dataset = saved
    study = write_study(workspace, ease(dataset), [*TRIALS, trial(5, None, "failed", regularization=1.0) | {"reason": "=1+1"}], best=3)
    text = table_csv(View.of(workspace.study(study)))
    frame = pd.read_csv(StringIO(text))
    assert frame["ndcg@20"].tolist()[:2] == [0.4, 0.38] and frame["regularization"].tolist()[3] == 300.0 and len(frame) == 6
    assert not frame["reason"].fillna("").str.startswith("=").any()


def test_lower_is_better_where_the_metric_says_so(saved) -> None:
    from ui.tune_data import View, best_so_far

    workspace, dataset = saved
    trials = [trial(n, [v], regularization=float(n + 1)) for n, v in enumerate([0.9, 0.95, 0.7, 0.8])]
    study = write_study(workspace, ease(dataset, objectives=("gini@20",)), trials, best=2)
    assert best_so_far(View.of(workspace.study(study))) == [(0, 0.9), (1, 0.9), (2, 0.7), (3, 0.7)]
