"""`train_run`: what a run folder holds, that the test is read last, that validation never leaks, folds, cold users."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from recsys_core import params, registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.errors import Unsupported
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.sources import FilesSource, RuleSource
from recsys_core.jobs.training import train_in_workspace, train_run
from recsys_core.metrics import Catalog, evaluate
from recsys_core.models._base import Recommender
from recsys_core.params import param
from recsys_core.store import RunEntry, Workspace

RNG = np.random.default_rng(5)
ROWS = pd.DataFrame({"user": RNG.integers(0, 60, 2500), "item": (RNG.gamma(1.0, 12, 2500)).astype(int) % 50}).drop_duplicates()


class Watcher(Recommender):
    """Popularity that writes down what it was shown."""

    key = "watcher"
    label = "Watcher"
    family = "Baseline"
    summary = "For tests."
    uses_validation = True
    log: list = []

    class Params(params.Params):
        epochs: int = param(5, label="Epochs", help="Rounds.", ge=1)

    def _fit(self, data, ctx, validation):
        Watcher.log.append(("fit", data, validation, self.params.epochs, ctx.seed))
        for epoch in range(self.params.epochs):
            ctx.report("fit", epoch / self.params.epochs, epoch=epoch + 1, epochs=self.params.epochs, metrics={"loss": 1 / (epoch + 1)})

    def refit_params(self):
        return self.params.with_(epochs=3)

    def _history_scores(self, histories):
        return np.tile(self._popularity(), (len(histories), 1))

    def _rating(self, users, items):
        return np.full(len(users), 3.0)


@pytest.fixture(autouse=True)
def watcher():
    Watcher.log = []
    registry.register("model", Watcher)
    yield
    registry.unregister("model", "watcher")


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "ws")
    made.add_dataset(from_frame(ROWS, item_table=pd.DataFrame({"title": [f"t{i}" for i in range(ROWS["item"].nunique())]})), "toy")
    return made


def pairs(data) -> set:
    return set(zip(data.user.tolist(), data.item.tolist(), strict=True))


def spec(**more):
    return TrainSpec(**({"dataset": "toy", "model": "popular", "ks": (5, 10)} | more))


def test_a_run_holds_everything_pages_need(workspace):
    run = train_in_workspace(workspace, spec(), RunContext())
    holdout, top, per_user = run.holdout(), run.topk(), run.per_user()
    assert {p.name for p in run.path.iterdir()} >= {
        "manifest.json",
        "metrics.json",
        "per_user.parquet",
        "topk.npz",
        "test.npz",
        "model",
        "card.json",
    }
    again = evaluate(top, holdout, Catalog.from_dataset(run.model().fitted), (5, 10))
    pd.testing.assert_frame_equal(again.per_user, per_user, check_dtype=False)
    for name, figure in run.metrics.items():
        mean = again.means()[name]
        assert (figure["mean"] is None and np.isnan(mean)) or figure["mean"] == pytest.approx(mean)
        assert figure["low"] is None or figure["low"] <= figure["mean"] <= figure["high"]
    assert {"numpy", "python", "recsys_core"} <= set(run.manifest["versions"]) and run.manifest["machine"]["cores"] >= 1
    assert all(run.manifest[f"{s}_seconds"] >= 0 for s in ("fit", "recommend", "evaluate"))
    assert run.card()["users_evaluated"] == len(holdout.users) and run.card()["split"]["key"] == "random"
    assert not pairs(holdout.truth) & pairs(run.model().fitted)
    assert "NaN" not in (run.path / "metrics.json").read_text(), "strict JSON"


def test_the_same_spec_gives_the_same_run(workspace, tmp_path):
    run = train_in_workspace(workspace, spec(), RunContext())
    made = workspace.dataset("toy").load()
    asked = spec(dataset=run.dataset_id)
    train_run(asked, RuleSource(made, asked.splitter()), tmp_path / "again", RunContext())
    again = RunEntry.open(tmp_path / "again")
    assert np.array_equal(again.topk().items, run.topk().items) and again.metrics == run.metrics
    before = (run.path / "manifest.json").stat().st_mtime_ns
    train_in_workspace(workspace, spec(), RunContext())
    assert (run.path / "manifest.json").stat().st_mtime_ns == before, "not trained twice"


def test_validation_is_cut_from_train_and_the_final_fit_sees_all_of_train(workspace):
    run = train_in_workspace(workspace, spec(model="watcher"), RunContext())
    (_, part, validation, epochs, seed), (_, whole, none, refitted, seed_again) = Watcher.log
    test = run.holdout().truth
    assert none is None and (epochs, refitted) == (5, 3) and seed == seed_again == 42
    assert pairs(part) | pairs(validation.truth) == pairs(whole) and not pairs(part) & pairs(validation.truth)
    assert not pairs(whole) & pairs(test)
    assert len(pairs(whole) | pairs(test)) == len(ROWS)
    assert run.model("fit").fitted.fingerprint == part.fingerprint, "tables are attached again, so parts of a fusion are recognised"
    assert run.model().fitted.fingerprint == whole.fingerprint
    assert run.card()["validation_users"] == len(validation.users) and "fitted again" in run.card()["validation"]
    stages = {step["stage"] for step in run.history()}
    assert len(stages) == 2 and [s["loss"] for s in run.history()][:5] == [1 / n for n in range(1, 6)]


def test_without_refit_the_validated_model_is_used(workspace):
    run = train_in_workspace(workspace, spec(model="watcher", refit=False), RunContext())
    assert len(Watcher.log) == 1 and run.model().fitted.fingerprint == Watcher.log[0][1].fingerprint == run.model("fit").fitted.fingerprint


def test_without_refit_the_lists_leave_out_the_validation_part_too(workspace):
    run = train_in_workspace(workspace, spec(model="watcher", refit=False), RunContext())
    _, part, validation, *_ = Watcher.log[0]
    whole, top = pairs(part) | pairs(validation.truth), run.topk()
    row, column = np.nonzero(top.items >= 0)
    listed = set(zip(top.users[row].tolist(), top.items[row, column].tolist(), strict=True))
    assert not listed & whole and len(listed) == sum(part.n_items - sum(u == user for u, _ in whole) for user in top.users)
    popular = np.argsort(-part.item_counts, kind="stable")
    for user, items in zip(top.users[:20], top.items[:20], strict=True):
        assert items[:10].tolist() == [i for i in popular if (user, i) not in whole][:10]


def test_the_test_file_is_opened_once_after_fitting(tmp_path):
    train = from_frame(ROWS.sample(frac=0.8, random_state=1))
    unknown = pd.DataFrame({"user": ["new", "0", "0"], "item": [1, "never seen", 2]})
    test = pd.concat([ROWS.drop(ROWS.sample(frac=0.8, random_state=1).index).astype(str), unknown.astype(str)])

    def read():
        Watcher.log.append(("test",))
        return test

    asked = spec(model="watcher", split="own_test")
    train_run(asked, FilesSource(train, read, asked.splitter()), tmp_path / "run", RunContext())
    assert [step[0] for step in Watcher.log] == ["fit", "fit", "test"]
    assert Watcher.log[0][1].n_users == train.n_users, "training knows nothing of the test's users and items"
    run = RunEntry.open(tmp_path / "run")
    users, items = run.ids()
    assert len(users) == train.n_users + 1 and len(items) == train.n_items + 1
    row = list(users.decode(run.topk().users)).index("new")
    popular = np.argsort(-train.item_counts, kind="stable")[:5]
    assert list(run.topk().items[row, :5]) == list(popular), "a user the model has never met gets the most popular items"
    assert any("never" in n or "not in the training file" in n for n in run.card()["notes"])


def test_folds_are_all_trained_and_pooled(workspace):
    run = train_in_workspace(workspace, spec(model="watcher", split="kfold", split_params={"folds": 3}, refit=False), RunContext())
    assert len(Watcher.log) == 3 and len(run.folds) == 3 and run.manifest["n_folds"] == 3
    spread = np.std([fold["ndcg@10"] for fold in run.folds], ddof=1)
    assert run.fold_spread["ndcg@10"] == pytest.approx(spread)
    assert run.per_user().index.is_unique and len(run.per_user()) >= len(run.topk())
    assert run.metrics["ndcg@10"]["mean"] == pytest.approx(run.per_user()["ndcg@10"].mean())
    assert any("3 folds" in note for note in run.card()["notes"])


def test_cold_users_are_served_from_what_is_given(workspace):
    run = train_in_workspace(workspace, spec(model="item_knn", split="cold_users"), RunContext())
    holdout, model = run.holdout(), run.model()
    assert holdout.cold and not set(holdout.users.tolist()) & set(model.fitted.user.tolist())
    expected = model.recommend_for_history(holdout.histories, 10)
    assert np.array_equal(run.topk().cut(10).items, expected.items)


def test_rating_error_only_where_there_are_ratings(tmp_path):
    rated = ROWS.assign(rating=RNG.integers(1, 6, len(ROWS)).astype(float))
    asked = spec(model="watcher", refit=False)
    explicit = from_frame(rated, value="rating", feedback="explicit")
    for name, data in (("with", explicit), ("without", from_frame(ROWS))):
        train_run(asked, RuleSource(data, asked.splitter()), tmp_path / name, RunContext())
    truth = RunEntry.open(tmp_path / "with").holdout().truth.value
    overall = RunEntry.open(tmp_path / "with").overall
    if "rmse" in registry.keys("metric"):
        assert overall["rmse"] == pytest.approx(np.sqrt(((truth - 3.0) ** 2).mean()))
    assert "rmse" not in RunEntry.open(tmp_path / "without").overall


def test_a_fusion_of_runs_reuses_them(workspace):
    part = train_in_workspace(workspace, spec(model="item_knn"), RunContext())
    fused = train_in_workspace(
        workspace, spec(model="weighted", params={"models": [f"run:{part.id}", "popular"], "weights": [2, 1]}), RunContext()
    )
    assert not [note for note in fused.notes if "trained again" in note]
    assert fused.model().recommend(np.array([0, 1]), 5).items.shape == (2, 5)
    assert workspace.dependents(part.id) == [f"run '{fused.name}'"]


def test_progress_only_rises(workspace):
    seen = []
    train_in_workspace(workspace, spec(model="watcher", split="kfold", split_params={"folds": 2}), RunContext(on_progress=seen.append))
    fractions = [step.fraction for step in seen]
    assert fractions == sorted(fractions) and fractions[-1] <= 1
    assert json.dumps([step.stage for step in seen])


def test_runs_of_one_split_share_their_training_data_on_disk(workspace):
    runs = [train_in_workspace(workspace, spec(model=model), RunContext()) for model in ("popular", "random")]
    other = train_in_workspace(workspace, spec(model="popular", seed=7), RunContext())
    arrays = [run.path / "model" / "data" / "arrays.safetensors" for run in (*runs, other)]
    assert arrays[0].samefile(arrays[1]) and not arrays[0].samefile(arrays[2])
    workspace.delete(runs[0].id)
    assert runs[1].model().recommend(np.array([0]), 3).items.shape == (1, 3), "deleting one leaves the other whole"


def test_a_test_file_saved_beside_the_dataset_is_what_a_run_is_judged_on(workspace):
    test = from_frame(pd.DataFrame({"user": ["0", "1", "stranger"], "item": ["never", "3", "4"]}))
    saved = workspace.add_test("toy", test, "held out")
    assert workspace.add_test("toy", test, "again") == saved and [t["name"] for t in workspace.dataset("toy").tests()] == ["held out"]
    run = train_in_workspace(workspace, spec(split="own_test", split_params={"test": saved["id"]}), RunContext())
    users, _ = run.ids()
    assert "stranger" in set(users.decode(run.holdout().users)) and len(run.model().fitted) == len(ROWS)
    with pytest.raises(Unsupported, match="needs a test file"):
        train_in_workspace(workspace, spec(split="own_test", split_params={"test": "gone"}), RunContext())
