"""Models of item features against hand-worked cases and slow, obvious loops; the cold-item bridge against what it claims to equal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.features import FeatureSet, Guess, encode_table
from recsys_core.data.features.text_field import Text
from recsys_core.data.histories import Histories
from recsys_core.data.ids import IdMap
from recsys_core.errors import ParamError, Unsupported
from recsys_core.fusion._bridge import ridge_bridge, shift_for, strongest_as_good
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models._io import load_model, save_model
from recsys_core.models.features._content import CATEGORIES, ItemVectors
from recsys_core.testing.features import FeatureCase, planted_fields

ONE = RunContext(threads=1)


def make(key: str, **params):
    return registry.get("model", key)(**params)


@pytest.fixture(scope="module")
def case() -> FeatureCase:
    """300 users × 240 items; genre and era say who likes an item; a fifth of the items is new."""
    return planted_fields()


@pytest.fixture(scope="module")
def plain_ease(case: FeatureCase):
    return make("ease").fit(case.train, ONE)


def new_quality(model, case: FeatureCase) -> float:
    return float(np.nanmean(ndcg_at(model.recommend_holdout(case.new, 20).items, case.new.relevant, 20)))


def small(rows: list[tuple[int, int]], table: pd.DataFrame, n_users: int = 3) -> Dataset:
    user, item = np.array(rows).T
    ids = IdMap([f"u{n}" for n in range(n_users)]), IdMap([f"i{n}" for n in range(len(table))])
    return Dataset(*ids, user, item, np.ones(len(user)), item_table=table)


# ---- vectors and content neighbours --------------------------------------------------------------
def test_similarity_by_hand() -> None:
    """genres: two of four items have A, one of them with B; makers are all alike or missing."""
    table = pd.DataFrame({"genres": ["A|B", "A", "C|D", "C"], "maker": ["x", "x", "x", None]})
    table = pd.concat([table] * 3, ignore_index=True)
    encoded = encode_table(table)
    assert dict(encoded.fields)["genres"] == "multi_valued"
    vectors = ItemVectors.of(encoded, CATEGORIES)
    a, b = np.log(1 + 12 / 6), np.log(1 + 12 / 3)
    genres = (a / np.sqrt(2)) / np.hypot(a / np.sqrt(2), b / np.sqrt(2))  # A|B beside A
    near = vectors.similar(np.arange(4))
    assert near[0, 1] == pytest.approx((genres + 1) / 2, abs=1e-6), "the mean of the two columns' cosines"
    assert near[0, 2] == pytest.approx((0 + 1) / 2, abs=1e-6)
    assert near[0, 0] == pytest.approx(1, abs=1e-6) and near[3, 3] == pytest.approx(1, abs=1e-6)
    weighed = ItemVectors.of(encoded, CATEGORIES, {"maker": 0.0}).similar(np.arange(4))
    assert weighed[0, 1] == pytest.approx(genres, abs=1e-6) and weighed[0, 2] == 0
    with pytest.raises(Unsupported, match="no column 'colour'"):
        ItemVectors.of(encoded, CATEGORIES, {"colour": 1.0})
    with pytest.raises(Unsupported, match="no columns of the chosen kinds"):
        ItemVectors.of(encoded, ("text",))


def test_near_numbers_are_alike() -> None:
    table = pd.DataFrame({"length": np.linspace(80.3, 160.7, 81).tolist() + [None]})
    near = ItemVectors.of(encode_table(table), ("numeric",)).similar(np.array([0, 81]))
    assert (np.diff(near[0, :81]) < 0).all() and near[0, 4] > 0.95 and near[0, 80] < 0.2
    assert not near[1].any(), "a missing number is like nothing"


@pytest.mark.parametrize(("neighbours", "sharpness"), [(0, 1.0), (5, 1.0), (5, 2.0)])
def test_content_knn_equals_the_slow_loop(case: FeatureCase, neighbours: int, sharpness: float) -> None:
    model = make("content_knn", neighbours=neighbours, sharpness=sharpness).fit(case.train, ONE)
    near = model.vectors.similar(np.arange(case.train.n_items))
    chosen = case.train.item_counts > 0
    histories = case.train.histories(np.arange(3))
    scores = model.history_scores(histories)
    for user in range(3):
        history = set(histories.take(np.array([user])).items.tolist())
        for item in [0, 7, *case.new_items[:3].tolist()]:
            others = [i for i in range(len(chosen)) if chosen[i] and i != item] if neighbours else sorted(history)
            if neighbours:
                others = sorted(others, key=lambda i: (-near[item, i], i))[:neighbours]
            total = sum(near[item, i] ** sharpness for i in others if i in history and near[item, i] > 0)
            if total > 0:
                assert scores[user, item] == pytest.approx(total, rel=1e-4)
            else:
                assert scores[user, item] <= 0


def test_content_knn_serves_new_items_and_takes_weights(case: FeatureCase) -> None:
    chance = new_quality(make("random").fit(case.train, ONE), case)
    blind = new_quality(make("content_knn", fields="everything").fit(case.train, ONE), case)
    told = {"genre": 1.0, "era": 1.0} | dict.fromkeys(case.noise["item"], 0.0)
    weighed = new_quality(make("content_knn", fields="everything", field_weights=told).fit(case.train, ONE), case)
    assert weighed > 2 * chance and weighed > blind > chance


# ---- EASE with features --------------------------------------------------------------------------
def test_feature_ease_without_features_is_ease(case: FeatureCase, plain_ease) -> None:
    users = np.arange(40)
    np.testing.assert_array_equal(make("feature_ease", alpha=0).fit(case.train, ONE).scores(users), plain_ease.scores(users))
    few = {"max_items": 100, "dropout": 0.3}
    own, other = make("feature_ease", alpha=0, **few).fit(case.train, ONE), make("ease", **few).fit(case.train, ONE)
    np.testing.assert_array_equal(own.scores(users), other.scores(users))


def test_feature_ease_equals_regressions_one_by_one() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"genre": [f"g{n % 3}" for n in range(12)]})
    rows = [(u, i) for u in range(30) for i in range(11) if rng.random() < 0.3]  # nobody has item 11
    data = small(rows, table, n_users=30)
    model = make("feature_ease", alpha=0.5, regularization=3.0).fit(data, ONE)
    x = data.matrix("binary").toarray().astype(float)
    genre = np.eye(3)[np.arange(12) % 3]
    stacked = np.vstack([x, np.sqrt(0.5 * x.sum() / 12) * genre.T])
    weights = np.zeros((12, 12))
    for item in range(12):
        rest = np.arange(12) != item
        left = stacked[:, rest]
        weights[rest, item] = np.linalg.solve(left.T @ left + 3.0 * np.eye(11), left.T @ stacked[:, item])
    np.testing.assert_allclose(model.scores(np.arange(30)), x @ weights, atol=1e-4)
    assert weights[8, 11] > max(weights[0, 11], weights[1, 11]), "the new item leans on those of its genre"


def test_feature_ease_places_new_items_and_keeps_the_others(case: FeatureCase, plain_ease) -> None:
    model = make("feature_ease").fit(case.train, ONE)
    assert new_quality(model, case) > 1.3 * max(new_quality(plain_ease, case), new_quality(make("random").fit(case.train, ONE), case))


# ---- factorisation with features -----------------------------------------------------------------
def test_feature_mf_solves_what_it_says(case: FeatureCase) -> None:
    """A user's vector is where the gradient of the weighted squares and the pull to the centre vanishes."""
    model = make("feature_mf", factors=8, iterations=4).fit(case.train, ONE)
    items, p = model.item_factors.astype(float), model.resolved
    for user in (0, 5):
        history = case.train.histories(np.array([user])).items
        confidence, liked = np.ones(case.train.n_items), np.zeros(case.train.n_items)
        confidence[history], liked[history] = 1 + p.alpha, 1
        vector, centre = model.user_factors[user].astype(float), model.of_users[user].astype(float)
        gradient = (confidence * (liked - items @ vector)) @ items - p.regularization * (vector - centre)
        assert np.abs(gradient).max() < 1e-3 * np.abs((confidence * liked) @ items).max()


def test_feature_mf_serves_new_items_and_new_users_by_their_tables(case: FeatureCase) -> None:
    model = make("feature_mf").fit(case.train, ONE)
    assert new_quality(model, case) > 2 * new_quality(make("random").fit(case.train, ONE), case)
    assert model.reads_user_table
    group = case.train.user_table["group"].to_numpy()
    one, other = np.flatnonzero(group == "group 0")[:20], np.flatnonzero(group == "group 1")[:20]
    nobody = Histories.from_lists([[]] * 40)
    lists = model.recommend_for_history(nobody, 20, users=np.concatenate([one, other])).items
    genre = case.train.item_table["genre"].to_numpy()
    assert (genre[lists[:20]] == "genre 0").mean() > 0.6 and (genre[lists[20:]] == "genre 1").mean() > 0.6
    popular = model.recommend_for_history(nobody, 5).items
    assert (popular == np.argsort(-case.train.item_counts, kind="stable")[:5]).all(), "without a row of the table: what is popular"
    told = model.explain(int(lists[0, 0]), user=int(one[0]), k=1000)
    assert told.total == pytest.approx(float(model.scores(one[:1])[0, lists[0, 0]]), rel=1e-3)
    assert told.exact and sum(told.contributions) == pytest.approx(told.total, rel=1e-6)
    assert "user feature" in told.sorts and len(told.sorts) == len(told.refs)


def test_users_of_the_table_without_interactions_are_served_from_their_rows(case: FeatureCase) -> None:
    """Kept when the data was read, since somebody means to serve them."""
    group = case.train.user_table["group"].to_numpy()
    never = np.concatenate([np.flatnonzero(group == f"group {n}")[:10] for n in (0, 1)])
    model = make("feature_mf").fit(case.train.subset(~np.isin(case.train.user, never)), ONE)
    lists = model.recommend(never, 20).items
    genre = case.train.item_table["genre"].to_numpy()
    assert (genre[lists[:10]] == "genre 0").mean() > 0.6 and (genre[lists[10:]] == "genre 1").mean() > 0.6
    same = model.recommend_for_history(Histories.from_lists([[]] * 20), 20, users=never).items
    np.testing.assert_array_equal(lists, same)
    popular = make("als").fit(model.fitted, ONE).recommend(never[:2], 20).items
    np.testing.assert_array_equal(popular, model.recommend(np.array([-1, -1]), 20).items)


def test_feature_mf_without_own_embeddings_is_all_features(case: FeatureCase) -> None:
    model = make("feature_mf", own=False, factors=8, iterations=3).fit(case.train, ONE)
    same = case.train.item_table.drop(columns=[name for name in case.train.item_table if name not in ("genre",)])
    twins = make("feature_mf", own=False, factors=8, iterations=3).fit(replace(case.train, item_table=same), ONE)
    first, second = np.flatnonzero(same["genre"] == "genre 1")[:2]
    np.testing.assert_allclose(twins.item_factors[first], twins.item_factors[second], atol=1e-6)
    assert not np.allclose(model.item_factors[first], model.item_factors[second], atol=1e-3)


# ---- the bridge ----------------------------------------------------------------------------------
@pytest.mark.parametrize("base", ["als", "pure_svd"])
def test_a_regression_of_scores_is_one_of_item_vectors(case: FeatureCase, base: str) -> None:
    bridged = make("cold_bridge", models=[base], regularization=0.05, popularity=0.5).fit(case.train, ONE)
    model, warm, new = bridged.parts[0], bridged.learnt["warm"], bridged.learnt["new"]
    np.testing.assert_array_equal(new, np.flatnonzero(case.train.item_counts == 0))
    features = ItemVectors.of(encode_table(case.train.item_table), (*CATEGORIES, "text", "numeric")).short(ONE.rng("bridge features"))
    vectors, weight = model.item_factors[warm].astype(float), case.train.item_counts[warm] ** 0.5
    # The plain way: weighted ridge of every coordinate of the vectors on the features, intercept not penalised.
    weight = weight / weight.sum()
    middle, level = weight @ features[warm], weight @ vectors
    x, y = features[warm] - middle, vectors - level
    square = (x * weight[:, None]).T @ x
    coefficients = np.linalg.solve(square + 0.05 * np.trace(square) * np.eye(len(square)), (x * weight[:, None]).T @ y)
    placed = level + (features[new] - middle) @ coefficients
    users = np.arange(25)
    np.testing.assert_allclose(bridged.scores(users)[:, new], model.user_factors[users] @ placed.T, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(bridged.scores(users)[:, warm], model.scores(users)[:, warm])


def test_weights_of_warm_items_add_up_and_give_the_score() -> None:
    rng = np.random.default_rng(0)
    known, new, scores = rng.normal(size=(30, 4)), rng.normal(size=(3, 4)), rng.normal(size=(5, 30)) + 100
    bridge = ridge_bridge(known, new, rng.random(30) + 0.1, 0.1)
    for number in range(3):
        weights = bridge.weights(number)
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(bridge.scores(scores)[:, number], scores @ weights, rtol=1e-4)
    strict = ridge_bridge(known, new, np.ones(30), 1e6)
    np.testing.assert_allclose(strict.scores(scores), np.repeat(scores.mean(1)[:, None], 3, axis=1), rtol=1e-4)


@pytest.mark.parametrize("method", ["ridge", "kernel", "network"])
def test_bridges_place_new_items(case: FeatureCase, method: str) -> None:
    more = {} if method == "ridge" else {"regularization": 0.03}
    bridged = make("cold_bridge", models=["ease"], method=method, **more).fit(case.train, ONE)
    chance = new_quality(make("random").fit(case.train, ONE), case)
    assert new_quality(bridged, case) > 2 * chance
    assert bridged.resolved.regularization != "auto" and any("placed by their columns" in note for note in bridged.notes)


def test_a_share_of_new_items_is_kept_and_few_interactions_count_as_new(case: FeatureCase) -> None:
    wanted = make("cold_bridge", models=["ease"], regularization=0.03, new_item_share=0.3).fit(case.train, ONE)
    lists = wanted.recommend(np.arange(300), 20).items
    assert np.isin(lists, wanted.learnt["new"]).mean() == pytest.approx(0.3, abs=0.01)
    rare = make("cold_bridge", models=["ease"], regularization=0.03, fewer_than=12).fit(case.train, ONE)
    np.testing.assert_array_equal(rare.learnt["new"], np.flatnonzero(case.train.item_counts < 12))
    with pytest.raises(Unsupported, match="Every item has fewer than 999 interactions"):
        make("cold_bridge", models=["ease"], fewer_than=999).fit(case.train, ONE)


def test_shift_by_hand() -> None:
    """Warm scores 0 and 2 (deviation 1); the new item at 0.5 must pass the first."""
    warm, new, hidden = np.array([[2.0, 0.0]]), np.array([[0.5]]), np.array([[False, False]])
    assert shift_for(1.0, warm, new, hidden, k=1) == pytest.approx(1.5, abs=1e-3)
    assert shift_for(1.0, warm, new, ~hidden, k=1) < 0, "what the user has had stands in nobody's way"


def test_the_strongest_penalty_as_good_as_the_best_is_taken() -> None:
    noise = np.random.default_rng(0).normal(size=400)
    assert strongest_as_good({0.01: noise + 1.0, 0.1: noise[::-1] + 0.97, 1.0: noise - 1.0}) == 0.1
    assert strongest_as_good({0.01: noise, 0.1: noise}) == 0.1


def test_reasons_for_a_new_item_are_exact_parts_of_its_score(case: FeatureCase) -> None:
    bridged = make("cold_bridge", models=["ease"], regularization=0.03).fit(case.train, ONE)
    user = 3
    item = int(bridged.recommend(np.array([user]), 1, candidates=case.new_items).items[0, 0])
    told = bridged.explain(item, user=user, k=1000)
    assert told.kind == "history" and told.exact
    assert sum(told.contributions) == pytest.approx(float(bridged.scores(np.array([user]))[0, item]), rel=1e-3)
    warm = int(bridged.recommend(np.array([user]), 1).items[0, 0])
    assert bridged.explain(warm, user=user) == bridged.parts[0].explain(warm, user=user)
    silent = make("cold_bridge", models=["pure_svd"], regularization=0.03).fit(case.train, ONE)
    assert silent.explain(item, user=user).refs
    genre = case.train.item_table["genre"].to_numpy()
    near = bridged.similar_items(case.new_items, 10).items
    assert (genre[near] == genre[case.new_items][:, None]).mean() > 0.5


def test_a_bridge_of_a_run_is_not_trained_again_and_survives_saving(case: FeatureCase, plain_ease, tmp_path) -> None:
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": plain_ease)
    bridged = make("cold_bridge", models=["run:abc"]).fit(case.train, ctx)
    assert bridged.parts[0] is plain_ease
    save_model(bridged, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.scores(np.arange(9)), bridged.scores(np.arange(9)))
    assert loaded.explain(int(case.new_items[0]), user=2) == bridged.explain(int(case.new_items[0]), user=2)
    again = bridged.for_refit()
    assert again.params.regularization == bridged.resolved.regularization


def test_what_a_bridge_cannot_do_is_said(case: FeatureCase) -> None:
    with pytest.raises(ParamError, match="exactly one model; got ease, als"):
        make("cold_bridge", models=["ease", "als"])
    with pytest.raises(Unsupported, match="needs an item table"):
        make("cold_bridge", models=["ease"]).fit(replace(case.train, item_table=None), ONE)
    whole = case.train.subset(np.isin(case.train.item, case.new_items, invert=True))
    only = replace(whole, items=IdMap(list(whole.items.ids)))
    none_new = make("cold_bridge", models=["popular"], regularization=0.1, fewer_than=1)
    kept = np.flatnonzero(only.item_counts)
    dense = Dataset(
        only.users,
        IdMap([only.items.ids[i] for i in kept]),
        only.user,
        np.searchsorted(kept, only.item),
        only.value,
        item_table=only.item_table.iloc[kept].reset_index(drop=True),
    )
    none_new.fit(dense, ONE)
    assert any("nothing was added" in note for note in none_new.notes)
    assert (none_new.recommend(np.arange(5), 5).items >= 0).all()


@pytest.mark.parametrize(
    ("key", "params"),
    [("content_knn", {}), ("feature_ease", {}), ("feature_mf", {"factors": 4, "iterations": 2}), ("cold_bridge", {"models": ["ease"]})],
)
def test_columns_that_are_not_asked_for_are_not_read(key, params, monkeypatch):
    """Reading texts may take a network and minutes."""
    case = planted_fields(n_users=40, n_items=40)
    table = case.train.item_table.assign(title=[f"A story of {'love' if n % 3 else 'war'} number {n}" for n in range(40)])
    data = replace(case.train, item_table=table, features=FeatureSet({"item": {"title": Guess("text")}}))
    model = registry.get("model", key)
    read = []
    fit = Text.fit.__func__
    monkeypatch.setattr(Text, "fit", classmethod(lambda cls, name, *a, **k: read.append(name) or fit(cls, name, *a, **k)))
    model(**params, fields="categories and text").fit(data, RunContext(threads=1))
    assert read == ["title"]
    model(**params, fields="categories").fit(data, RunContext(threads=1))
    assert read == ["title"]
