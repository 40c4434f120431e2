"""Worse training data: what is added and taken away, by count; an attack that pushes; what is left, measured as by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.features import FeatureSet
from recsys_core.data.features.guessing import Guess
from recsys_core.data.ids import IdMap
from recsys_core.errors import BadInput, ParamError
from recsys_core.evaluation.robustness import N_PUSHED, damage
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.diversity_spec import DiversitySpec
from recsys_core.jobs.robustness_spec import RobustnessSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._features import SideFeatures
from recsys_core.store import Workspace
from recsys_core.store.feature_sets import add_vectors, save_feature_set, with_vector_file


def _data(timed: bool = True):
    """200 users with one of eight tastes over 80 items."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(200):
        liked = rng.choice(10, 8, replace=False) + 10 * (u % 8)
        rows += [(f"u{u:03}", f"i{i:02}", 1_000_000 + n) for n, i in enumerate(liked)]
    return from_frame(pd.DataFrame(rows, columns=["user", "item", "time"]), time="time" if timed else None)


def _keys(data):
    return data.user.astype(np.int64) * data.n_items + data.item


@pytest.mark.parametrize("timed", [True, False])
def test_noise_adds_what_it_says_and_nothing_that_is_there(timed):
    data = _data(timed)
    out = damage(data, "noise", 0.2, np.random.default_rng(1), keep_out=data.matrix("seen")[:, ::-1])
    assert out.n_added == round(0.2 * len(data)) == len(out.train) - len(data)
    keys = _keys(out.train)
    assert len(np.unique(keys)) == len(keys) and np.array_equal(keys[: len(data)], _keys(data))
    kept_out = data.matrix("seen")[:, ::-1].toarray() > 0
    added = keys[len(data) :]
    assert not kept_out.ravel()[added].any()
    assert (out.train.time is None) == (not timed)


def test_loss_takes_that_many_and_leaves_everybody_one():
    data = _data()
    out = damage(data, "loss", 0.3, np.random.default_rng(1))
    assert out.n_removed == round(0.3 * len(data)) == len(data) - len(out.train)
    extreme = damage(data, "loss", 0.9, np.random.default_rng(1)).train
    assert np.bincount(extreme.user, minlength=data.n_users).min() >= 1 and set(_keys(extreme)) <= set(_keys(data))


def test_fake_users_come_after_the_real_ones_and_push_unpopular_items():
    data = _data()
    out = damage(data, "attack", 0.1, np.random.default_rng(2))
    assert out.train.n_users == data.n_users + out.n_fake and np.array_equal(_keys(out.train)[: len(data)], _keys(data))
    assert abs(out.n_added - 0.1 * len(data)) < 0.06 * len(data)
    assert len(out.pushed) == N_PUSHED and (data.item_counts[out.pushed] <= np.median(data.item_counts)).all()
    fakes = out.train.matrix("seen")[data.n_users :]
    assert (np.asarray(fakes[:, out.pushed].sum(axis=1)) == N_PUSHED).all()
    assert list(out.train.users.ids[: data.n_users]) == list(data.users.ids)


def test_the_same_seed_does_the_same_damage_and_wrong_wishes_are_refused():
    data = _data()
    for kind in ("noise", "attack", "loss"):
        one, two = (damage(data, kind, 0.1, np.random.default_rng(3)).train.fingerprint for _ in range(2))
        assert one == two
    for kind, share in (("fire", 0.1), ("noise", 0), ("loss", 0.95)):
        with pytest.raises(BadInput):
            damage(data, kind, share, np.random.default_rng(0))
    for wrong in ({"kinds": ("fire",)}, {"shares": (2.0,)}, {"k": 0}, {"metrics": ("coverage",)}, {"nonsense": 1}):
        with pytest.raises((ParamError, BadInput)):
            RobustnessSpec.make(run="r", **wrong)
    assert RobustnessSpec.make(run="r", shares=(0.2, 0.1)).analysis_id == RobustnessSpec.make(run="r", shares=(0.1, 0.2)).analysis_id


def test_the_job_measures_a_fall_and_the_success_of_an_attack(tmp_path):
    workspace = Workspace(tmp_path)
    entry = workspace.add_dataset(_data(), "Tastes")
    run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn", ks=(5,)), RunContext(threads=1))
    spec = RobustnessSpec.make(run=run.id, shares=(0.05, 0.8), k=5, metrics=("ndcg",))
    found = registry.get("job", "robustness")().run(spec.model_dump(mode="json"), workspace, RunContext(threads=1))
    analysis = workspace.analysis(found["analysis"])
    result = analysis.result()
    points = {(p["kind"], p["share"]): p for p in result["points"]}
    assert result["figures"]["ndcg@5"] == pytest.approx(run.metrics["ndcg@5"]["mean"]), "the run's own figure is the start"
    loss = points["loss", 0.8]["metrics"]["ndcg@5"]
    assert loss["kept"] < points["loss", 0.05]["metrics"]["ndcg@5"]["kept"] and loss["high"] < 0, "much loss hurts, clearly"
    assert loss["mean"] - result["figures"]["ndcg@5"] == pytest.approx(loss["change"])
    pushed = points["attack", 0.8]["pushed"]
    assert pushed["after"] > pushed["before"] and points["noise", 0.05]["pushed"] is None
    again = registry.get("job", "robustness")().run(spec.model_dump(mode="json"), workspace, RunContext(threads=1))
    assert workspace.analysis(again["analysis"]).result()["points"] == result["points"]
    assert workspace.analyses("robustness", run=run.id) and workspace.dependents(run.id) == [f"analysis '{analysis.name}'"]
    workspace.delete(run.id, with_dependents=True)
    assert not workspace.analyses()


def test_a_model_not_fitted_again_keeps_its_own_figures(tmp_path):
    """What it was validated on is training too: it is not listed, and what lists are like is measured on all of training."""
    workspace = Workspace(tmp_path)
    entry = workspace.add_dataset(_data(), "Tastes")
    params = {"models": ["popular", "item_knn"]}
    one = RunContext(threads=1)
    run = train_in_workspace(workspace, TrainSpec(dataset=entry.id, model="weighted", params=params, refit=False, ks=(5,)), one)
    spec = RobustnessSpec.make(run=run.id, shares=(0.05,), kinds=("loss",), k=5, metrics=("ndcg", "novelty"))
    result = workspace.analysis(registry.get("job", "robustness")().run(spec.model_dump(mode="json"), workspace, one)["analysis"]).result()
    curve = DiversitySpec.make(run=run.id, method="calibrated", k=5, depth=20, strengths=(0,))
    points = workspace.analysis(registry.get("job", "diversity")().run(curve.model_dump(mode="json"), workspace, one)["analysis"]).result()
    for name in ("ndcg@5", "novelty@5"):
        assert result["figures"][name] == pytest.approx(run.metrics[name]["mean"])
        assert points["points"][0]["metrics"][name]["mean"] == pytest.approx(run.metrics[name]["mean"])


def test_noise_ends_where_there_is_no_room_for_more():
    """One user has every item; the many others of the id map have none, and get none."""
    n_items = 6
    full = Dataset(IdMap(range(50)), IdMap(range(n_items)), np.zeros(n_items, int), np.arange(n_items), np.ones(n_items))
    assert damage(full, "noise", 0.5, np.random.default_rng(0)).n_added == 0


def test_a_measure_named_twice_is_one_and_shares_must_be_numbers():
    assert RobustnessSpec.make(run="r", metrics=("ndcg", "ndcg")).metrics == ("ndcg",)
    with pytest.raises(ParamError, match="got nan"):
        RobustnessSpec.make(run="r", shares=(float("nan"),))


def test_a_model_is_damaged_with_the_columns_its_run_has_read(tmp_path, monkeypatch):
    """The analyst's kinds of columns and files of vectors, not what would be guessed today."""
    workspace, one = Workspace(tmp_path / "ws"), RunContext(threads=1)
    data = _data()
    tables = pd.DataFrame(
        {"group": [f"g{int(i[1:]) // 10}" for i in data.items.ids], "noise": [f"n{int(i[1:]) % 7}" for i in data.items.ids]}
    )
    entry = workspace.add_dataset(replace(data, item_table=tables), "Tastes")
    np.savez(tmp_path / "v.npz", ids=np.asarray(data.items.ids, dtype=str), vectors=np.random.default_rng(0).random((data.n_items, 4)))
    chosen = with_vector_file(entry, FeatureSet({"item": {"noise": Guess(None)}}), add_vectors(entry, "item", tmp_path / "v.npz", "look"))
    features = save_feature_set(entry, chosen)
    run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="content_knn", ks=(5,), features=features), one)
    save_feature_set(entry, FeatureSet())  # what is current now is another matter
    read = []
    fit = SideFeatures.fit.__func__
    monkeypatch.setattr(SideFeatures, "fit", classmethod(lambda cls, *a, **k: read.append(fit(cls, *a, **k)) or read[-1]))
    spec = RobustnessSpec(run=run.id, kinds=("loss",), shares=(0.2,), k=5)
    registry.get("job", "robustness")().run(spec.model_dump(mode="json"), workspace, one)
    assert [[name for name, _ in one.tables["item"].fields] for one in read] == [["group", "look"]]
