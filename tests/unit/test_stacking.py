"""Stacking: candidates and their features, the gated network, trees read as arrays, what is learnt and from whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.features import CYCLES, FeatureEncoder, FeatureSet, Guess
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.fusion import _stacking_inputs, _stacking_network, _stacking_trees
from recsys_core.fusion import stacking as stacking_module
from recsys_core.fusion._candidates import Surroundings, closeness, entropy, item_groups, narrowed, places, union_of_tops
from recsys_core.fusion._stacking_inputs import best_step
from recsys_core.fusion._stacking_trees import trees_of
from recsys_core.fusion.stacking import Stacking
from recsys_core.fusion.weighted import Weighted
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models._base import Recommender
from recsys_core.models._io import load_model, save_model

ONE = RunContext(seed=3, threads=1)
N_USERS, N_ITEMS = 240, 90
QUICK = {
    "network": {"epochs": 4, "learning_rate": 0.05, "networks": 2},
    "trees": {"learner": "trees", "n_trees": 6, "tree_depth": 3, "tree_rate": 0.4},
}


class Planted(Recommender):
    """Scores are a fixed matrix (U, I), by user or, for fold-in, by the first item of the history's owner: `owner[item]`."""

    family = "Test"
    summary = "planted"

    def _fit(self, data, ctx, validation):
        pass

    def _scores(self, users):
        return self.table[users].copy()

    def _history_scores(self, histories):
        return self.table[: len(histories)].copy()


def _dataset(user, item, **more) -> Dataset:
    users, items = IdMap([f"u{n}" for n in range(N_USERS)]), IdMap([f"i{n}" for n in range(N_ITEMS)])
    return Dataset(users, items, np.asarray(user), np.asarray(item), np.ones(len(user)), **more)


@pytest.fixture(scope="module")
def world():
    """(train, validation, what may be learnt from in the end, test): even users have 30 training items, odd ones 4; 5 + 5 are held out."""
    rng = np.random.default_rng(0)
    rows = [(u, i, at) for u in range(N_USERS) for at, i in enumerate(rng.choice(N_ITEMS, 40 if u % 2 == 0 else 14, replace=False))]
    user, item, at = np.array(rows).T
    size = np.where(user % 2 == 0, 30, 4)
    train, held, test = at < size, (at >= size) & (at < size + 5), at >= size + 5
    whole = _dataset(user, item)
    return whole.subset(train), Holdout(whole.subset(held)), whole.subset(train | held), Holdout(whole.subset(test))


@pytest.fixture(scope="module")
def rule(world):
    """A planted rule: "veterans" is right for active users and misleads newcomers, "novices" the other way round."""
    _, held, _, test = world
    truth = held.truth.matrix("binary").toarray() + test.truth.matrix("binary").toarray()
    rng = np.random.default_rng(1)
    active = (np.arange(N_USERS) % 2 == 0)[:, None]
    tables = {}
    for name, knows in (("veterans", active), ("novices", ~active)):
        right = truth + rng.normal(0, 0.45, truth.shape)
        wrong = rng.normal(0, 0.5, truth.shape) + (rng.random(truth.shape) < 0.1)
        tables[name] = np.where(knows, right, wrong).astype(np.float32)
        registry.register("model", type(name, (Planted,), {"key": name, "label": name.capitalize(), "table": tables[name]}))
    yield list(tables)
    for name in tables:
        registry.unregister("model", name)


@pytest.fixture(scope="module")
def learnt(world, rule):
    train, held, _, _ = world
    return Stacking(models=rule, epochs=15, learning_rate=0.04, networks=2).fit(train, ONE, validation=held)


def _quality(model, test: Holdout) -> float:
    return float(ndcg_at(model.recommend_holdout(test, 20).items, test.relevant, 20).mean())


# ---- candidates and features -------------------------------------------------------------------------
def test_candidates_are_the_union_of_the_tops():
    rng = np.random.default_rng(2)
    scores = [rng.normal(size=(7, 40)), rng.normal(size=(7, 40))]
    hidden = rng.random((7, 40)) < np.linspace(0, 0.95, 7)[:, None]
    items = union_of_tops(scores, hidden, 6)
    for u in range(7):
        left = np.flatnonzero(~hidden[u])
        wanted = {int(i) for one in scores for i in left[np.argsort(-one[u, left])][:6]}
        assert items[u][items[u] >= 0].tolist() == sorted(wanted)
        assert (np.diff((items[u] < 0).astype(int)) >= 0).all(), "padding stands behind the candidates"


def test_places_by_hand():
    scores = np.array([[[3.0], [1.0], [2.0], [9.0]]])
    found = places(scores, np.array([[True, True, True, False]]), depth=2)[0, :, 0]
    np.testing.assert_allclose(found, [1, 0, 1 - np.log(2) / np.log(3), 0], atol=1e-6)  # ranks 0, 2 (beyond the best two), 1, none


def test_features_of_users_and_items_by_hand():
    day = 86_400
    data = _dataset([0, 0, 1, 2], [0, 1, 0, 0], time=np.array([0, day, 3 * day, 9 * day]))
    around = Surroundings(data, Surroundings.learn(data, tables=True))
    mean = 4 / N_ITEMS
    assert around.item_names == ["popularity", "age"] and around.user_names == ["activity", "entropy", "mainstream"]
    np.testing.assert_allclose(around.items[:3, 0], np.log((np.array([3, 1, 0]) + 1) / (mean + 1)), rtol=1e-6)
    np.testing.assert_allclose(around.items[:3, 1], np.log1p([9, 8, 0]), rtol=1e-6)
    values = around.user_values(data.histories(np.array([0, 1])), np.array([0, 1]))
    np.testing.assert_allclose(values[:, 0], np.log((np.array([2, 1]) + 1) / (4 / 3 + 1)), rtol=1e-6)
    np.testing.assert_allclose(values[0, 2], around.items[:2, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(entropy(np.array([[1.0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])), [0.5, 0, 0])


def test_taste_is_over_categories_or_else_over_bands_of_popularity():
    counts = np.array([8, 4, 2, 1, 1])
    bare = _dataset(np.concatenate([np.arange(c) for c in counts]), np.repeat(np.arange(5), counts))
    band = item_groups(bare).indices  # one entry a row
    assert band[:5].tolist() == [0, 5, 7, 8, 9]  # 0, 8, 12, 14, 15 of 16 interactions stand before them
    genres = ["A|B"] + ["B"] * (N_ITEMS - 1)
    groups = item_groups(replace(bare, item_table=pd.DataFrame({"genres": genres}))).toarray()
    np.testing.assert_allclose(groups[:2].sum(axis=1), 1)
    np.testing.assert_allclose(np.sort(groups[:2]), [[0.5, 0.5], [0, 1]], atol=1e-6)


def test_closeness_is_the_cosine_with_the_mean_of_the_history():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    near = closeness(vectors, Histories.from_lists([[0, 1], []]), np.array([[0, 2], [1, -1]]))
    np.testing.assert_allclose(near, [[np.sqrt(0.5), 1.4 / np.sqrt(2)], [0, 0]], rtol=1e-6)


def test_tables_are_brought_down_to_a_few_numbers_the_same_each_time():
    features = sparse.random(60, 30, 0.2, format="csr", rng=np.random.default_rng(0), dtype=np.float32)
    one, other = narrowed(features), narrowed(features)
    assert one.shape == (60, 8)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one.std(axis=0), 1, rtol=1e-4)
    assert narrowed(sparse.csr_matrix((5, 0))) is None


def test_the_best_step_must_be_ahead_by_more_than_its_standard_error():
    start = np.zeros(100)
    luck = np.zeros(100)
    luck[:2] = 1, -0.4  # mean .006, standard error .011
    sure = np.full(100, 0.01)
    assert best_step(np.stack([start, luck, start]))[0] == 0
    assert best_step(np.stack([start, sure, luck / 2])) == (1, pytest.approx(0.01))


# ---- the network -------------------------------------------------------------------------------------
def test_a_gated_sum_starts_as_the_fixed_weights_and_its_gates_sum_to_one():
    import torch

    from recsys_core.nn.gates import GatedSum

    start = torch.tensor([0.7, 0.2, 0.1])
    network = GatedSum(start, row_width=2, input_width=5, hidden=4)
    row, scores, inputs = torch.randn(6, 2), torch.randn(6, 9, 3), torch.randn(6, 9, 5)
    out = network(row, scores, inputs)
    torch.testing.assert_close(out.gates, start.expand(6, 3))
    torch.testing.assert_close(out.score, scores @ start)
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    out = network(row, scores, inputs)
    torch.testing.assert_close(out.gates.sum(1), torch.ones(6))
    torch.testing.assert_close(out.score, (scores * out.gates[:, None]).sum(2) + out.context)
    assert out.context.std() > 0 and (out.gates > 0).all()


def test_the_planted_rule_is_found_and_beats_every_fixed_weighting(world, rule, learnt):
    _, _, whole, test = world
    few, _, many = learnt.findings()["gates"]["values"]
    assert many[0] > 0.65 and few[1] > 0.65, "active users are to be told by the first model, newcomers by the second"
    np.testing.assert_allclose(np.sum(learnt.findings()["gates"]["values"], axis=1), 1, rtol=1e-4)
    final = learnt.for_refit().fit(whole, ONE)
    fixed = [Weighted(models=rule, weights=[w, 1 - w]).fit(whole, ONE) for w in np.linspace(0, 1, 11)]
    assert _quality(final, test) > 1.1 * max(_quality(one, test) for one in fixed)
    assert final.learnt["told"] == learnt.learnt["told"] and "more with a network" in learnt.notes[-1]


def test_trees_find_the_planted_rule_too(world, rule):
    train, held, whole, test = world
    model = Stacking(models=rule, learner="trees", n_trees=12).fit(train, ONE, validation=held)
    assert "more with trees" in model.notes[-1] and "gates" not in model.findings()
    best = max(_quality(Weighted(models=rule, weights=[w, 1 - w]).fit(whole, ONE), test) for w in np.linspace(0, 1, 11))
    assert _quality(model.for_refit().fit(whole, ONE), test) > best


def test_without_a_gain_the_fixed_weights_stay(world, rule, monkeypatch):
    train, held, _, _ = world
    for module in (_stacking_network, _stacking_trees):
        monkeypatch.setattr(module, "best_step", lambda curve: (0, 0.0))
    for learner in ("network", "trees"):
        model = Stacking(models=rule, learner=learner, epochs=1, n_trees=2).fit(train, ONE, validation=held)
        fixed = Weighted(models=rule, weights=[float(w) for w in model.part_weights()]).fit(train, ONE)
        np.testing.assert_array_equal(model.recommend(np.arange(50), 20).items, fixed.recommend(np.arange(50), 20).items)
        assert "not do clearly better" in model.notes[-1]


@pytest.mark.parametrize("learner", ["network", "trees"])
def test_the_figure_of_the_fixed_weights_is_of_users_they_were_not_found_on(world, rule, learner, monkeypatch):
    train, held, _, _ = world
    found, judged = [], []

    def best_fixed(lesson, ctx, rows=None):
        found.append(None if rows is None else frozenset(rows.tolist()))
        return np.array([1.0, 0.0] if rows is None else [0.0, 1.0]), 0.9  # what is found on all users is told from the rest

    def step(curve):
        judged.append(curve[0].mean())
        return 0, 0.0

    monkeypatch.setattr(_stacking_inputs.Lesson, "best_fixed", best_fixed)
    for module in (_stacking_network, _stacking_trees):
        monkeypatch.setattr(module, "best_step", step)
    model = Stacking(models=rule, learner=learner, epochs=1, n_trees=2).fit(train, ONE, validation=held)
    assert found.count(None) == 1 and len(found) == 1 + _stacking_inputs.FOLDS
    assert f"(NDCG@20 {judged[0]:.4f})" in model.notes[-1] and abs(judged[0] - 0.9) > 0.1


def test_too_few_held_out_users_teach_nothing(world, rule):
    train, held, _, _ = world
    few = Holdout(held.truth.subset(held.truth.user < 20))
    model = Stacking(models=rule).fit(train, ONE, validation=few)
    assert model._ready()[1] is None and "Only 20 held-out users could teach" in model.notes[-1]
    nobody = Stacking(models=rule).fit(train, ONE, validation=Holdout(held.truth.subset(np.zeros(len(held.truth), bool))))
    assert nobody.part_weights().tolist() == [0.5, 0.5] and nobody.findings()["candidates"]["recall"] is None


def test_reasons_add_up_with_and_without_context(learnt, world):
    user = np.array([4])
    item = int(learnt.recommend(user, 1).items[0, 0])
    told = learnt.explain(item, user=4)
    assert set(told.refs) == {"Veterans", "Novices", "Context"} and told.exact
    assert sum(told.contributions) == pytest.approx(float(learnt.scores(user)[0, item]), abs=1e-4)


# ---- lists -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("learner", ["network", "trees"])
def test_what_is_no_candidate_comes_behind_by_the_fixed_weights(world, rule, learner):
    train, held, _, _ = world
    model = Stacking(models=rule, depth=5, **QUICK[learner]).fit(train, ONE, validation=held)
    user = np.array([7])
    block = model._fused([part.scores(user) for part in model.parts], train.histories(user), user)[1]
    candidates = set(block.items[0][block.items[0] >= 0].tolist())
    whole = model.recommend(user, N_ITEMS).items[0]
    whole = whole[whole >= 0]
    assert len(whole) == N_ITEMS - 4 and len(candidates) <= 10 and set(whole[: len(candidates)].tolist()) == candidates
    fixed = Weighted(models=rule, weights=[float(w) for w in model.learnt["start"]]).fit(train, ONE).scores(user)[0]
    behind = whole[len(candidates) :]
    assert behind.tolist() == sorted(behind.tolist(), key=lambda i: -fixed[i])
    outside = int(behind[0])
    assert not model.explain(outside, user=7).exact and "the item is no candidate" in model.explain(outside, user=7).method


def test_recall_of_the_candidates_by_hand(world, rule):
    train, held, _, _ = world
    model = Stacking(models=rule, depth=10, epochs=1).fit(train, ONE, validation=held)
    hidden = train.matrix("seen").toarray() > 0
    recalls, sizes, alone = [], [], []
    for user, truth in zip(held.users, held.relevant.toarray() > 0, strict=True):
        left = np.flatnonzero(~hidden[user])
        tops = [set(left[np.argsort(-registry.get("model", name).table[user, left])][:10].tolist()) for name in rule]
        union = tops[0] | tops[1]
        alone.append([len(top & set(np.flatnonzero(truth))) / truth.sum() for top in tops])
        recalls.append(len(union & set(np.flatnonzero(truth))) / truth.sum())
        sizes.append(len(union))
    found = model.findings()["candidates"]
    assert found["depth"] == 10 and found["recall"] == pytest.approx(np.mean(recalls)) and found["mean"] == pytest.approx(np.mean(sizes))
    assert found["parts"] == ["Veterans", "Novices"] and found["recalls"] == pytest.approx(np.mean(alone, axis=0).tolist())
    assert f"hold {np.mean(recalls):.0%} of the held-out items" in model.notes[0]


@pytest.mark.parametrize("learner", ["network", "trees"])
def test_saved_and_loaded_it_scores_exactly_the_same(world, rule, learner, tmp_path):
    train, held, _, _ = world
    model = Stacking(models=rule, **QUICK[learner]).fit(train, ONE, validation=held)
    assert model._ready()[1] is not None, "nothing was learnt, so nothing would be tested"
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.scores(held.users), model.scores(held.users))
    assert loaded.findings() == model.findings() and loaded.explain(3, user=4) == model.explain(3, user=4)
    again = Stacking(models=rule, **QUICK[learner]).fit(train, ONE, validation=held)
    np.testing.assert_array_equal(again.scores(held.users), model.scores(held.users))


def test_tables_and_spaces_of_the_parts_are_taken_in_where_asked_for(world, tmp_path):
    train, held, whole, _ = world
    rng = np.random.default_rng(5)
    tables = {
        "item_table": pd.DataFrame({"genres": rng.choice(["A", "B", "C"], N_ITEMS), "price": rng.normal(size=N_ITEMS)}),
        "user_table": pd.DataFrame({"city": rng.choice(["X", "Y"], N_USERS)}),
    }
    train, whole = replace(train, **tables), replace(whole, **tables)
    settings = {"models": ["als", "popular"], "part_params": {"als": {"factors": 4, "iterations": 2}}, "epochs": 2}
    model = Stacking(**settings, tables=True, embeddings=True).fit(train, ONE, validation=held)
    plain = Stacking(**settings).fit(train, ONE, validation=held)
    assert len(model.learnt["scales"]["row"]) > len(plain.learnt["scales"]["row"]) == 3
    assert len(model.learnt["scales"]["pair"]) > len(plain.learnt["scales"]["pair"]) + 1 == 4  # two scores, popularity; here no times
    final = model.for_refit().fit(whole, ONE)
    save_model(final, tmp_path / "model")  # tables are not saved with a model: what was made of them is
    np.testing.assert_array_equal(load_model(tmp_path / "model").scores(np.arange(9)), final.scores(np.arange(9)))
    assert final.recommend_for_history(Histories.from_lists([[1, 2], []]), 5).items.shape == (2, 5)


def test_users_unknown_to_the_parts_teach_by_the_history_they_come_with(world, tmp_path):
    train, held, _, _ = world
    old, new = train.user < 180, held.truth.user >= 180
    cold = Holdout(held.truth.subset(new), train.subset(~old))
    model = Stacking(models=["ease", "popular"], epochs=2).fit(train.subset(old), ONE, validation=cold)
    assert "On 60 held-out users" in model.notes[-1]
    taken = train.matrix("seen")[200].indices
    top = model.recommend_for_history(train.histories(np.array([200])), N_ITEMS).items[0]
    assert sorted([*top[top >= 0], *taken]) == list(range(N_ITEMS)), "everything but the history is listed once"


# ---- trees -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("depth", "leaves"), [(1, 31), (3, 31), (4, 5), (6, 64)])
def test_trees_as_arrays_say_exactly_what_scikit_learn_says(depth, leaves):
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(depth)
    x = rng.normal(size=(4000, 6)).round(2)  # rounded: values equal to a threshold occur
    y = (x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + 0.5 * rng.normal(size=len(x))) > 0
    model = HistGradientBoostingClassifier(max_iter=12, max_depth=depth, max_leaf_nodes=leaves, early_stopping=False).fit(
        x[:3000], y[:3000]
    )
    trees = trees_of(model, depth)
    assert trees.depth == depth and len(trees.leaf) == 12
    np.testing.assert_array_equal(trees.predict(np.ascontiguousarray(x.T)), model.decision_function(x))
    staged = list(model.staged_decision_function(x))
    for end, total in zip((3, 12), trees.stages(np.ascontiguousarray(x.T), [3, 12]), strict=True):
        np.testing.assert_allclose(total + trees.base, staged[end - 1], rtol=1e-12, atol=1e-12)


# ---- honesty -----------------------------------------------------------------------------------------
def test_the_test_is_opened_after_all_learning_is_done(world, rule, tmp_path, monkeypatch):
    from recsys_core.jobs.sources import FilesSource
    from recsys_core.jobs.spec import TrainSpec
    from recsys_core.jobs.training import train_run
    from recsys_core.splitting.own_test import OwnTest

    class OpenedError(Exception):
        pass

    def refuse():
        raise OpenedError

    fits, taught = [], []
    fit, learn = stacking_module.Stacking._fit, stacking_module.Stacking._learn
    monkeypatch.setattr(Stacking, "_fit", lambda self, data, ctx, held: (fit(self, data, ctx, held), fits.append(len(data)))[0])
    monkeypatch.setattr(Stacking, "_learn", lambda self, held, ctx: (taught.append(len(held.truth)), learn(self, held, ctx))[1])
    whole = world[2]
    spec = TrainSpec(dataset="pair", split="own_test", model="stacking", params={"models": rule, "epochs": 2}, ks=(20,), seed=1)
    with pytest.raises(OpenedError):
        train_run(spec, FilesSource(whole, refuse, OwnTest()), tmp_path, ONE)
    assert len(fits) == 2 and fits[1] == len(whole) and fits[0] + taught[0] == len(whole), "taught by what the parts had not seen"


def test_tables_are_read_as_the_analyst_chose():
    """A number taken for categories, a column left out, a text that is read: not what would be guessed."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"year": rng.integers(0, 3, N_ITEMS) + 2000.5, "noise": rng.normal(size=N_ITEMS)})
    data = replace(_dataset([0, 0, 1, 2], [0, 1, 0, 0]), item_table=table)
    chosen = FeatureSet({"item": {"noise": Guess(None), "year": Guess("categorical")}})
    found = Surroundings.learn(replace(data, features=chosen), tables=True)["item_table"]
    by_hand = FeatureEncoder.fit(table, {"year": Guess("categorical")}).encode(table)
    np.testing.assert_array_equal(found, narrowed(by_hand))
    guessed = FeatureEncoder.fit(table, without=("text", "vector", CYCLES)).encode(table)
    np.testing.assert_array_equal(Surroundings.learn(data, tables=True)["item_table"], narrowed(guessed))
    assert set(Surroundings.learn(data, tables=False)) == {"groups"}
    stacking = registry.get("model", "stacking")
    for tables in (False, True):
        params = stacking.Params(models=["ease", "als"], tables=tables)
        assert stacking.reads(params) == tables and not stacking.judged_on_new(params)
