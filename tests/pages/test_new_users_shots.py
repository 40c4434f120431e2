"""New users, tab "How far a few clicks go": what it takes, in one click; results drawn; earlier ones; jobs that did not end well."""

from __future__ import annotations

import io
import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.cold_start import compare_cold
from recsys_core.jobs.cold_start_spec import ColdStartSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._base import Recommender
from recsys_core.store import Workspace

ONE = RunContext(threads=1)
TAB = "How far a few clicks go"


class Adapting(Recommender):
    """Knows who likes what together; without a step it knows what is popular."""

    key, label, family, summary = "adapting_model", "Adapting", "Test", "For tests."
    adapts = True

    def _fit(self, data, ctx, validation):
        seen = data.matrix("binary")
        self.weights, self.popular = (seen.T @ seen).toarray().astype(np.float32), data.item_counts.astype(np.float32)

    def _state(self):
        return {"weights": self.weights, "popular": self.popular}

    def _restore(self, state):
        self.weights, self.popular = state["weights"], state["popular"]

    def scores_after(self, histories, users=None, steps=None):
        shown = histories.matrix(self.fitted.n_items)
        return 1e-3 * self.popular + (steps != 0) * (shown @ self.weights)

    def _history_scores(self, histories):
        return self.scores_after(histories)


@pytest.fixture
def workspace(workspace_root):
    registry.register("model", Adapting)
    rng = np.random.default_rng(0)
    rows = [(f"u{u:03}", f"i{i:02}") for u in range(80) for i in rng.choice(14, 12, replace=False) + 14 * (u % 4)]
    workspace = Workspace(workspace_root)
    workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Films")
    yield workspace
    registry.unregister("model", Adapting.key)


def _train(workspace: Workspace, model: str, **more):
    values = {"split": "cold_users", "split_params": {"users_share": 0.3}, "ks": (5, 10)} | more
    return train_in_workspace(workspace, TrainSpec.make(dataset=workspace.datasets()[0].id, model=model, **values), ONE)


def _three(workspace: Workspace) -> list:
    return [_train(workspace, model) for model in ("popular", "item_knn", "adapting_model")]


def _compare(workspace: Workspace, runs, **more):
    return compare_cold(workspace, ColdStartSpec.make(runs=tuple(run.id for run in runs), **more), ONE)


@pytest.fixture
def open_tab(open_page, workspace):
    return partial(open_page, "new_users", dataset=workspace.datasets()[0].id, tab=TAB)


def test_without_results_one_click_queues_the_whole_set(open_tab, text_of, workspace) -> None:
    _train(workspace, "popular", split="random", split_params={})
    at = open_tab()
    said = text_of(at)
    assert "there are none of this dataset yet" in said and "Takes" in said and "of memory" in said
    assert "Left out: Content neighbours: Needs an item table" in said.replace("\\", "")
    metas = at.button_group(key=f"shots-metas-{workspace.datasets()[0].id}")
    metas.set_value(["adapting_model"]).run()
    button = at.button(key="shots-train")
    assert button.label == "Train 7 recommenders"
    button.click().run()
    specs = [job.spec.payload for job in JobQueue(workspace).jobs()]
    assert not at.exception and {s["model"] for s in specs} == {
        "popular",
        "ease",
        "item_knn",
        "als",
        "mult_vae",
        "fine_tuned",
        Adapting.key,
    }
    assert {s["split"] for s in specs} == {"cold_users"} and len({TrainSpec.make(**s).split_id for s in specs}) == 1
    assert at.button(key="shots-train").disabled and "7 are under way" in text_of(at) and "Waiting" in text_of(at)


def test_what_is_missing_is_trained_on_the_split_that_is_there(open_tab, text_of, workspace) -> None:
    there = _train(workspace, "popular", seed=7)
    at = open_tab()
    assert "there is not yet a model that learns from the clicks and one that folds them in" in text_of(at).replace("\\", "")
    at.button(key="shots-train").click().run()
    specs = [TrainSpec.make(**job.spec.payload) for job in JobQueue(workspace).jobs()]
    assert specs and "popular" not in {spec.model for spec in specs}
    assert {spec.split_id for spec in specs} == {there.split_id} and {spec.ks for spec in specs} == {(5, 10)}


def test_chosen_results_are_measured_and_the_url_keeps_the_choice(open_tab, text_of, workspace) -> None:
    runs = _three(workspace)
    at = open_tab()
    assert at.button(key="shots-go").label == "Measure 3 recommenders"
    at.multiselect(key=f"shots-runs-{runs[0].split_id}").set_value([runs[0].id, runs[1].id]).run()
    assert "Not among them: a model that learns from the clicks" in text_of(at)
    assert at.query_params["compared"] == f"{runs[0].id},{runs[1].id}"
    at.button(key="shots-go").click().run()
    job = JobQueue(workspace).jobs()[0]
    assert job.kind == "cold_start" and set(job.spec.payload["runs"]) == {runs[0].id, runs[1].id}
    assert at.button(key="shots-go").disabled and "This is under way" in text_of(at)
    JobQueue(workspace).cancel(job.id)
    at.run()
    assert "Cancelled" in text_of(at) and not at.button(key="shots-go").disabled


def test_a_result_is_verdicts_charts_a_table_and_a_file(open_tab, text_of, workspace) -> None:
    runs = _three(workspace)
    workspace.rename(runs[2].id, "Mine *bold*")
    entry = _compare(workspace, runs)
    workspace.rename(runs[1].id, "Neighbours 2")
    at = open_tab()
    said = text_of(at)
    assert "Mine \\*bold\\*" in said and "Neighbours 2" in said, "names are text, and those of today"
    assert "How many clicks until the list is good" in said and "What do the learning steps add" in said
    assert len(at.get("plotly_chart")) == 2
    frame = next(frame.value for frame in at.dataframe if "worth" in frame.value)
    assert set(frame["name"]) == {"Most popular", "Neighbours 2", "Mine *bold*"} and list(frame)[:2] == ["name", "after 0"]
    result = entry.result()
    best = next(model for model in result["models"] if model["model"] == "item_knn")
    row = frame[frame["name"] == "Neighbours 2"].iloc[0]
    assert row["worth"] == "3" and row["after 5"] == pytest.approx(next(p["mean"] for p in best["curve"] if p["shots"] == 5))
    assert "This has been measured; see above" in said


def test_the_file_has_a_row_for_each_model_and_number_of_clicks(workspace) -> None:
    from ui.new_users_shots_result import csv

    result = _compare(workspace, _three(workspace)).result()
    frame = pd.read_csv(io.StringIO(csv(result)))
    assert (
        len(frame) == 3 * len(result["shots"]) and frame["ndcg_low"].le(frame["ndcg"]).all() and frame["ndcg"].le(frame["ndcg_high"]).all()
    )
    mine = frame[frame["model"] == "adapting_model"]
    assert np.allclose(mine["ndcg"] - mine["unadapted"], mine["gain"]) and (mine["gain"].iloc[1:] > 0).all()
    assert frame[frame["model"] == "popular"]["gain"].isna().all()


def test_earlier_comparisons_are_kept_and_the_link_decides(open_tab, text_of, workspace) -> None:
    runs = _three(workspace)
    first = _compare(workspace, runs[:2])
    second = _compare(workspace, runs)
    at = open_tab()
    picker = at.selectbox(key=f"shots-comparison-{runs[0].split_id}")
    assert picker.value == second.id and len(picker.options) == 2
    at = open_tab(comparison=first.id)
    assert at.selectbox(key=f"shots-comparison-{runs[0].split_id}").value == first.id
    assert len(at.get("plotly_chart")) == 1, "nothing adapts among those: there is no gain to draw"
    assert "No recommender that adapts is among these" in text_of(at)


def test_one_result_alone_and_two_splits(open_tab, text_of, workspace) -> None:
    run = _train(workspace, "adapting_model")
    _compare(workspace, [run])
    at = open_tab()
    assert len(at.get("plotly_chart")) == 2 and "worth" not in next(f.value for f in at.dataframe)
    other = _train(workspace, "popular", seed=9)
    at = open_tab()
    assert at.selectbox(key="shots-split").value == other.split_id and not at.get("plotly_chart")
    at.selectbox(key="shots-split").set_value(run.split_id).run()
    assert len(at.get("plotly_chart")) == 2 and at.query_params["newsplit"] == run.split_id


def test_a_damaged_result_and_a_failed_job_are_told(open_tab, text_of, workspace) -> None:
    runs = _three(workspace)
    entry = _compare(workspace, runs)
    queue = JobQueue(workspace)
    job = queue.submit(ColdStartSpec.make(runs=tuple(run.id for run in runs), order="earliest").job())
    status = json.loads((job.path / "state.json").read_text())
    (job.path / "state.json").write_text(json.dumps(status | {"state": "failed", "reason": "No <b>memory</b>."}))
    said = text_of(open_tab())
    assert "Failed" in said and "No \\<b\\>memory" in said and "How many clicks until" in said, "what was measured before stays"
    (entry.path / "result.json").write_text("{}")
    at = open_tab()
    assert not at.exception and "cannot be read" in text_of(at)
    at.button(key="shots-go").click().run()
    assert "This is under way" in text_of(at) and not workspace.analyses("cold_start")


def test_the_card_of_a_result_says_whether_meta_learning_pays(open_page, text_of, workspace) -> None:
    runs = _three(workspace)
    address = {"dataset": workspace.datasets()[0].id, "run": runs[2].id}
    assert "eta-learning" not in text_of(open_page("compare", **address))
    sentence = next(model["pays"] for model in _compare(workspace, runs).result()["models"] if model["run"] == runs[2].id)
    assert "eta-learning" in sentence
    assert "eta-learning" in text_of(open_page("compare", **address))


def test_looks_are_stable_and_tell_ten_models_apart() -> None:
    from ui.new_users_charts import looks

    keys = ["anil", "fomaml", "proximal_meta", "popular", "content_knn", "ease", "item_knn", "als", "mult_vae", "fine_tuned"]
    models = [{"run": key, "name": "A very long name of a result " * 3, "model": key, "adapts": n < 3} for n, key in enumerate(keys)]
    all_of_them = looks(models, {})
    assert len({(look.color, look.dash, look.symbol, look.strong) for look in all_of_them.values()}) == 10
    assert len({look.name for look in all_of_them.values()}) == 10 and max(len(look.name) for look in all_of_them.values()) < 40
    few = looks(models[5:7], {})
    assert all((few[k].color, few[k].dash) == (all_of_them[k].color, all_of_them[k].dash) for k in ("ease", "item_knn"))
    twice = looks([models[0], models[0] | {"run": "again"}], {"again": 1})
    assert twice["anil"].color == twice["again"].color and twice["anil"].dash != twice["again"].dash
