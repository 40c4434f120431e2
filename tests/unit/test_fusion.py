"""Weighted fusion: scales, the search for weights, refit, explanations."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core import registry
from recsys_core.context import QUIET, RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.errors import ParamError, Unsupported
from recsys_core.fusion._normalise import normalise
from recsys_core.fusion._weights import Candidates, collect, search
from recsys_core.fusion.weighted import Weighted
from recsys_core.models import _scoring
from recsys_core.models._base import Recommender


class Planted(Recommender):
    """Scores are a fixed matrix (U, I), given by `table`; a subclass a table."""

    family = "Test"
    summary = "planted"

    def _fit(self, data, ctx, validation):
        self.seen_validation = validation

    def _scores(self, users):
        return self.table[users].copy()

    def _history_scores(self, histories):
        return self.table[: len(histories)].copy()


@pytest.fixture
def world():
    """40 users × 60 items; each user has 3 training and 3 held-out items."""
    rng = np.random.default_rng(0)
    rows = [(u, i, part) for u in range(40) for part, i in enumerate(rng.choice(60, 6, replace=False))]
    frame = pd.DataFrame(rows, columns=["user", "item", "part"]).astype({"user": str, "item": str})
    whole = from_frame(frame)
    held = frame["part"].to_numpy() >= 3
    return whole.subset(~held), Holdout(whole.subset(held))


@pytest.fixture
def planted(world):
    """Three models: one sees half of the truth, one the other half, one is noise."""
    train, holdout = world
    rng = np.random.default_rng(1)
    truth = holdout.truth.matrix("binary").toarray()
    half = rng.random(truth.shape) < 0.5
    noise = rng.normal(0, 0.3, (3, *truth.shape)).astype(np.float32)
    tables = {"left": truth * half + noise[0], "right": 40 * (truth * ~half + noise[1]), "noise": noise[2]}
    for name, table in tables.items():
        registry.register("model", type(name, (Planted,), {"key": name, "label": name.capitalize(), "table": table.astype(np.float32)}))
    yield list(tables)
    for name in tables:
        registry.unregister("model", name)


def test_normalise_by_hand():
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]])
    assert np.allclose(normalise(scores, "z")[0], (np.arange(1, 5) - 2.5) / np.sqrt(1.25))
    assert np.allclose(normalise(scores, "minmax")[0], [0, 1 / 3, 2 / 3, 1])
    assert np.allclose(normalise(scores, "rank")[0], [0, 1 / 3, 2 / 3, 1])
    for how in ("z", "minmax", "rank"):
        assert not normalise(scores, how)[1].any(), "a row of one value says nothing"


def test_normalise_leaves_ignored_entries_out_of_the_scale():
    scores = np.array([[1.0, 3.0, 1000.0]])
    ignore = np.array([[False, False, True]])
    assert np.allclose(normalise(scores, "z", ignore)[0, :2], [-1, 1])
    assert np.allclose(normalise(scores, "minmax", ignore)[0, :2], [0, 1])


def test_search_finds_the_planted_mixture():
    """Two parts that each see half of the truth; noise is worth nothing."""
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 80)) < 0.05).astype(np.float32)
    half = rng.random(truth.shape) < 0.5
    noise = rng.normal(0, 0.4, (3, *truth.shape))
    parts = [truth * half + noise[0], truth * ~half + noise[1], noise[2]]
    candidates = collect(parts, sparse.csr_matrix(truth.shape), sparse.csr_matrix(truth), k=10, depth=80)
    weights, reached = search(candidates, QUIET)
    assert weights[2] < 0.15 and abs(weights[0] - weights[1]) < 0.2 and np.isclose(weights.sum(), 1)
    assert reached > max(candidates.ndcg(one) for one in np.eye(3))


def test_candidate_ndcg_equals_a_slow_one():
    rng = np.random.default_rng(3)
    scores = rng.random((6, 30))
    seen = sparse.csr_matrix(rng.random((6, 30)) < 0.2)
    truth = (rng.random((6, 30)) < 0.2) & ~seen.toarray()
    truth[:, 0] |= ~truth.any(axis=1) & ~seen.toarray()[:, 0]
    fast = collect([scores], seen, sparse.csr_matrix(truth), k=5, depth=30).ndcg(np.ones(1))
    slow = []
    for u in range(6):
        order = [i for i in np.argsort(-scores[u]) if not seen[u, i]][:5]
        gain = sum(1 / np.log2(r + 2) for r, i in enumerate(order) if truth[u, i])
        ideal = sum(1 / np.log2(r + 2) for r in range(min(5, truth[u].sum()))) or 1
        slow.append(gain / ideal)
    assert np.isclose(fast, np.mean(slow))


def test_blocks_of_users_give_the_candidates_of_all():
    rng = np.random.default_rng(4)
    parts = [rng.random((9, 30)), rng.random((9, 30))]
    seen = sparse.csr_matrix(rng.random((9, 30)) < np.linspace(0, 0.97, 9)[:, None])
    truth = sparse.csr_matrix(rng.random((9, 30)) < 0.2)
    whole = collect(parts, seen, truth, k=5, depth=4)
    rows = [slice(0, 2), slice(2, 7), slice(7, 9)]
    joined = Candidates.joined([collect([p[r] for p in parts], seen[r], truth[r], k=5, depth=4) for r in rows])
    for name in ("items", "hits", "ideal"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    real = whole.items >= 0
    np.testing.assert_array_equal(joined.scores[:, real], whole.scores[:, real])
    assert joined.ndcg(np.array([0.3, 0.7])) == pytest.approx(whole.ndcg(np.array([0.3, 0.7])))


def test_learning_holds_the_scores_of_one_block_of_users_only(world, planted, monkeypatch):
    train, holdout = world
    whole = Weighted(models=planted).fit(train, validation=holdout)
    monkeypatch.setattr(_scoring, "BATCH_BYTES", 16 * 4 * train.n_items)
    asked = []
    scores = Planted._scores
    monkeypatch.setattr(Planted, "_scores", lambda self, users: asked.append(len(users)) or scores(self, users))
    cut = Weighted(models=planted).fit(train, validation=holdout)
    assert max(asked) == 16 and sum(asked) == 3 * len(holdout.users)
    np.testing.assert_allclose(cut.weights, whole.weights)


def test_learnt_fusion_beats_each_part(world, planted):
    train, holdout = world
    model = Weighted(models=planted).fit(train, validation=holdout)
    assert model.weights[2] == min(model.weights) and np.isclose(model.weights.sum(), 1)
    assert "Weights learnt" in model.notes[0]
    again = Weighted(model.refit_params()).fit(train)
    assert np.allclose(again.weights, model.weights), "refit keeps the learnt weights"


def test_hand_set_weights_and_explanation_add_up(world, planted):
    train, _ = world
    model = Weighted(models=planted, weights="2,1,1").fit(train)
    assert np.allclose(model.weights, [0.5, 0.25, 0.25])
    why = model.explain(7, user=3)
    assert why.kind == "models" and np.isclose(sum(why.contributions), model.scores(np.array([3]))[0, 7], atol=1e-5)


def test_equal_weights_do_not_want_validation(world, planted):
    assert not Weighted(models=planted, weights="equal").wants_validation()
    assert Weighted(models=planted).wants_validation()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"models": []}, "at least one"),
        ({"models": ["popular", "popular"]}, "must differ"),
        ({"models": ["popular", "random"], "weights": [1.0]}, "each of the 2"),
        ({"models": ["popular", "random"], "weights": [-1.0, 2.0]}, "0 or more"),
        ({"models": ["weighted"]}, "itself"),
        ({"models": ["popular"], "part_params": {"random": {}}}, "not among"),
    ],
)
def test_bad_settings_name_rule_and_value(values, says):
    with pytest.raises(ParamError, match=says):
        Weighted(**values)


def test_runs_as_parts(world, planted):
    """A trained run is used as it is when its training set is the same, and fitted again when not."""
    train, holdout = world
    trained = registry.get("model", "left")().fit(train)
    ctx = RunContext(load_run=lambda run_id, which: trained if run_id == "abc" else None)
    model = Weighted(models=["run:abc", "right"], weights="equal").fit(train, ctx)
    assert model.parts[0] is trained
    smaller = train.subset(np.arange(len(train)) % 10 > 0)
    other = Weighted(models=["run:abc", "right"], weights="equal").fit(smaller, ctx)
    assert other.parts[0] is not trained and "trained again" in other.notes[0]
    with pytest.raises(Unsupported, match="no workspace"):
        Weighted(models=["run:abc", "right"], weights="equal").fit(train)
    assert model.recommend_for_history(Histories.from_lists([[1, 2], []]), 5).items.shape == (2, 5)
