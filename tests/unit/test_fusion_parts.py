"""What holds for every fusion: runs as parts are not trained again, what was learnt is kept, parts can be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.holdout import Holdout
from recsys_core.errors import ParamError, Unsupported
from recsys_core.fusion._normalise import finite
from recsys_core.models._base import Recommender
from recsys_core.models._io import load_model, save_model
from recsys_core.params import fields

FUSED = [key for key in registry.keys("model") if registry.module_of("model", key).startswith("recsys_core.fusion.")]
FUSED = [key for key in FUSED if registry.get("model", key).Params.most_parts != 1]  # those that combine several


@pytest.fixture(scope="module")
def trained():
    """Two runs of a workspace: each as fitted on all of train ("final") and as beside validation ("fit")."""
    from recsys_core.testing._checks import cut_validation
    from recsys_core.testing.datasets import tastes

    train = tastes().train
    part, validation = cut_validation(train)
    models = {
        (key, which): registry.get("model", key)().fit(data)
        for key in ("ease", "item_knn")
        for which, data in (("final", train), ("fit", part))
    }
    return train, part, validation, models


@pytest.mark.parametrize("key", FUSED)
def test_runs_are_parts_that_are_not_trained_again(trained, key, monkeypatch, tmp_path):
    from recsys_core.testing._checks import small_params

    train, part, validation, models = trained
    cls = registry.get("model", key)
    for name in ("ease", "item_knn"):
        monkeypatch.setattr(registry.get("model", name), "_fit", lambda *_: pytest.fail("a part was trained again"))
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[(run_id, which)])
    values = small_params(cls) | {"models": ["run:ease", "run:item_knn"]}
    model = cls(**values)
    if model.wants_validation():
        beside = model.fit(part, ctx, validation=validation)
        assert {id(p) for p in beside.parts} <= {id(models[(name, "fit")]) for name in ("ease", "item_knn")}
        model = beside.for_refit()
        assert not model.wants_validation(), "what was learnt is kept, not learnt anew"
    model.fit(train, ctx)
    assert model.parts and {id(p) for p in model.parts} <= {id(models[(name, "final")]) for name in ("ease", "item_knn")}
    assert not [note for note in model.notes if "trained" in note]
    found = model.findings()
    assert {p["name"] for p in found["parts"]} <= {"run:ease", "run:item_knn"}
    assert sum(p["weight"] for p in found["parts"]) == pytest.approx(1)
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert loaded.findings() == found
    assert sorted(loaded.explain(3, user=0).refs) == sorted(p["label"] for p in found["parts"])


def test_runs_without_a_fit_beside_validation_are_trained_once_more_and_it_is_said_once(trained):
    train, part, validation, models = trained
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[(run_id, "final")])
    model = registry.get("model", "weighted")(models=["run:ease", "run:item_knn"]).fit(part, ctx, validation=validation)
    assert model.parts[0] is not models[("ease", "final")] and model.parts[0].fitted is part
    [said] = [note for note in model.notes if "once more" in note]
    assert said.startswith("EASE and Item neighbours were trained once more without the held-out part")
    final = model.for_refit().fit(train, ctx)
    assert final.parts[0] is models[("ease", "final")] and not [note for note in final.notes if "once more" in note]


def test_two_runs_of_one_kind_can_be_told_apart(trained):
    train, *_, models = trained
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[("ease", "final")])
    model = registry.get("model", "average")(models=["run:a", "run:b", "item_knn"]).fit(train, ctx)
    assert model.part_labels() == ["EASE 1", "EASE 2", registry.get("model", "item_knn").label]
    assert len(set(model.explain(3, user=0).refs)) == 3


class Silent(Recommender):
    """Says -inf or NaN of what nobody took together with the history, as a model from outside may."""

    family = "Test"
    summary = "silent"
    nothing = -np.inf

    def _fit(self, data, ctx, validation):
        taken = data.matrix("binary")
        self._together = (taken.T @ taken).toarray().astype(np.float32)

    def _history_scores(self, histories):
        scores = histories.matrix(self.fitted.n_items) @ self._together
        scores[(scores < 5) | (scores > 40)] = self.nothing  # whole rows among them
        return scores

    def _state(self):
        return {"together": self._together}

    def _restore(self, state):
        self._together = state["together"]


@pytest.fixture(params=[-np.inf, np.nan], ids=["-inf", "nan"])
def silent(request):
    yield registry.register("model", type("Quiet", (Silent,), {"key": "quiet", "label": "Quiet", "nothing": request.param}))
    registry.unregister("model", "quiet")


def test_finite_by_hand():
    inf, nan = np.inf, np.nan
    scores = np.array([[1.0, -inf, 3.0, nan], [-inf, nan, -inf, -inf], [inf, 2.0, 5.0, -inf]], dtype=np.float32)
    np.testing.assert_array_equal(finite(scores), [[1, 1, 3, 1], [0, 0, 0, 0], [5, 2, 5, 2]])
    some = np.ones((2, 2))
    assert finite(some) is some, "nothing is copied where all are numbers"


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("key", FUSED)
def test_a_part_that_says_nothing_of_some_items_silences_nobody(trained, silent, key):
    from recsys_core.testing._checks import small_params

    train, part, validation, _ = trained
    cls = registry.get("model", key)
    values = small_params(cls) | {"models": ["item_knn", "quiet"]}
    model = cls(**values)
    if model.wants_validation():
        model = model.fit(part, RunContext(threads=1), validation=validation).for_refit()
    model.fit(train, RunContext(threads=1))
    assert key == "switching" or np.isfinite(model.scores(np.arange(train.n_users))).all()
    seen = train.matrix("seen")
    lists = model.recommend(np.arange(20), train.n_items).items
    assert ((lists >= 0).sum(axis=1) == train.n_items - np.diff(seen.indptr)[:20]).all() or key == "switching"
    assert np.isfinite(model.explain(3, user=0).total)


def test_a_run_that_is_a_fusion_is_no_part(trained):
    train, _, _, models = trained
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[(run_id, which)])
    fused = registry.get("model", "average")(models=["ease", "item_knn"]).fit(train)
    inner = RunContext(threads=1, load_run=lambda run_id, which="final": fused)
    for key in FUSED:
        with pytest.raises(ParamError, match=r"'run:abc' \(Average fusion\) is a fusion itself"):
            registry.get("model", key)(models=["run:abc", "ease"]).fit(train, inner)
    registry.get("model", "average")(models=["run:ease", "item_knn"]).fit(train, ctx)


@pytest.mark.parametrize("key", ["weighted", "switching", "cascade", "auto_fusion"])
def test_where_nobody_can_be_held_out_it_is_said(trained, key):
    train, part, validation, _ = trained
    nobody = Holdout(validation.truth.subset(np.zeros(len(validation.truth), bool)))
    with pytest.raises(Unsupported, match="not one could be held out"):
        registry.get("model", key)(models=["item_knn", "popular"]).fit(part, validation=nobody)


def test_every_fusion_declares_its_parts():
    """Forms and commands rely on it."""
    for key in FUSED:
        names = [f.name for f in fields(registry.get("model", key).Params)]
        assert "models" in names, key
