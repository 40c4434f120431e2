"""What the scorer answers for new users: questions, the map of items, the way of a user on it, lists from likes and dislikes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.errors import BadInput, NotFound, Unsupported
from recsys_core.evaluation.questions import Asker
from recsys_core.models._io import load_model, save_model
from recsys_core.serving._plane import Plane
from recsys_core.serving.client import ScorerClient
from recsys_core.store.workspace import Workspace

IMPLICIT = {"a1": ("item_knn", {}), "b2": ("als", {"factors": 8}), "c3": ("popular", {})}
SMALL = {"epochs": 2, "factors": 16, "hidden": 16, "inner_steps": 2}
RATED = {"e5": ("item_knn", {}), "f6": ("reptile", SMALL), "g7": ("biased_mf", {})}  # choices, adapts, ratings


def _train(root, runs, data) -> None:
    for run, (key, params) in runs.items():
        folder = root / "runs" / run
        save_model(registry.get("model", key)(**params).fit(data, RunContext(threads=1)), folder / "model")
        (folder / "manifest.json").write_text(json.dumps({"id": run, "name": f"Run {key}", "spec": {"model": key}}))


@pytest.fixture(scope="module")
def data():
    """60 users × 50 items in two tastes, chosen or not."""
    rng = np.random.default_rng(3)
    rows = [(f"u{u}", f"{i:04}") for u in range(60) for i in rng.choice(25, 9, replace=False) * 2 + u % 2]
    return from_frame(pd.DataFrame(rows, columns=["user", "item"]))


@pytest.fixture(scope="module")
def rated():
    """60 users × 30 items, ratings from 1 to 5 of two tastes."""
    rng = np.random.default_rng(4)
    rows = [
        (f"u{u}", f"{i:04}", float(rng.choice([4, 5]) if i % 2 == u % 2 else rng.choice([1, 2])))
        for u in range(60)
        for i in rng.choice(30, 12, replace=False)
    ]
    return from_frame(pd.DataFrame(rows, columns=["user", "item", "value"]), value="value", feedback="explicit", threshold=4.0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, data, rated) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    _train(workspace.root, IMPLICIT, data)
    _train(workspace.root, RATED, rated)
    return workspace


@pytest.fixture(scope="module")
def client(workspace):
    client = ScorerClient(workspace, idle_seconds=120)
    client.start()
    yield client
    client.stop()


def test_questions_are_those_of_the_training_set(client, data, rated):
    asker = Asker.fit(rated)
    codes = rated.items.encode(["0003", "0004", "0006"])
    answers = {"0003": 5.0, "nowhere": 1.0, "0004": 1.0}
    got = client.questions("e5", answers, ["0006", "0099"], n=3)
    expected = asker.next([(codes[0], 5.0), (codes[1], 1.0)], [codes[2]], 3)
    assert list(got.items) == rated.items.decode(expected).tolist() and got.unknown == ("nowhere", "0099") and got.model_ms > 0
    known, liked = asker.shares(expected)
    assert got.known == pytest.approx(known) and got.liked == pytest.approx(liked)
    assert int(client.questions("e5", {"0003": 5.0, "0005": 5.0, "0004": 1.0}).items[0]) % 2 == 1  # of the taste that was liked
    every = client.questions("a1", {}, data.items.decode(np.arange(data.n_items)).tolist())
    assert every.items == () and every.known == ()


def test_scale_says_what_a_like_is(client, rated):
    scale = client.scale("e5")
    assert (scale.has_ratings, scale.threshold, scale.low, scale.high) == (True, 4.0, 1.0, 5.0) and scale.like >= 4 > scale.dislike
    assert (client.scale("a1").like, client.scale("a1").dislike, client.scale("a1").has_ratings) == (1.0, 0.0, False)


def test_map_and_path_share_a_plane(client, workspace, data):
    """b2 (ALS): points are the unit vectors on the two directions in which they differ most, found by a slower way."""
    model = load_model(workspace.run_folder("b2") / "model")
    units = model.item_factors / np.linalg.norm(model.item_factors, axis=1, keepdims=True)
    values, axes = np.linalg.eigh(np.cov(units.T.astype(np.float64), bias=True))
    found = client.item_map("b2", 5, history=["0001", "0001", "what"])
    popular = np.argsort(-data.item_counts, kind="stable")[:5]
    assert list(found.items[:5]) == data.items.decode(popular).tolist()
    assert set(found.items[5:]) <= {"0001"} and "0001" in found.items and len(set(found.items)) == len(found.items)
    assert found.popularity == tuple(data.item_counts[data.items.encode(found.items)].tolist())
    assert found.explained == pytest.approx(values[-2:].sum() / values.sum(), abs=1e-4)
    codes = data.items.encode(found.items)
    flat = (units - units.mean(axis=0)) @ axes[:, [-1, -2]]
    assert np.abs(np.stack([found.x, found.y], 1)) == pytest.approx(np.abs(flat[codes]), abs=1e-4)  # the signs are free
    wide = client.item_map("b2", 50)
    assert wide.x[:5] == found.x[:5]  # the plane does not turn with how many are shown
    path = client.user_path("b2", ["0002", "0004", "what"])
    user = model._fold_in(Histories.from_lists([data.items.encode(["0002", "0004"])]))[0]
    point = (user / np.linalg.norm(user) - units.mean(axis=0)) @ axes[:, [-1, -2]]
    assert (abs(path.x[0]), abs(path.y[0])) == pytest.approx(np.abs(point), abs=1e-4)
    assert (len(path.x), path.adapts, path.unknown) == (1, False, ("what",))
    nobody = client.user_path("b2", [])
    assert (nobody.x, nobody.y) == ((0.0,), (0.0,))


def test_a_model_that_adapts_has_a_point_before_and_after_every_step(client, workspace, rated):
    model = load_model(workspace.run_folder("f6") / "model")
    told = Histories.from_lists([rated.items.encode(["0003", "0005"])], [[5.0, 4.0]])
    path, start = client.user_path("f6", ["0003", "0005"], [5.0, 4.0]), client.user_path("f6", [])
    plane = Plane.of(model.item_vectors, rated.item_counts)
    expected = plane.users(model.adapted_vectors(told)[0])
    assert path.adapts and len(path.x) == model.resolved.inner_steps + 1 > 1 and path.model_ms > 0
    np.testing.assert_allclose(np.stack([path.x, path.y], 1), expected, atol=1e-4)
    assert start.x[0] == pytest.approx(path.x[0], abs=1e-4) and path.x[0] != path.x[-1]  # it begins where everybody does, and moves
    alone, without = client.user_path("f6", ["0004"], [1.0]), client.user_path("f6", [], [])
    assert alone.left_out == ("0004",) and alone.x == pytest.approx(without.x)


@pytest.mark.parametrize("run", ["e5", "f6", "g7"])
def test_what_is_disliked_is_on_no_list_and_never_taken_for_liked(client, workspace, rated, run):
    model = load_model(workspace.run_folder(run) / "model")
    histories, values = [["0001", "0004"], ["0006", "0008"], ["0002"]], [[5.0, 1.0], [1.0, 2.0], [5.0]]
    answer = client.recommend_for_history([run], histories, k=30, values=values)[run]
    assert answer.error is None and 0 < answer.model_ms <= 1000 * answer.seconds
    for row, history in zip(answer.rows, histories, strict=True):
        assert not {*row.items} & {*history} and len(row.items) == len(set(row.items)) == 30 - len(history)
    codes = [rated.items.encode(row) for row in histories]
    expected = [codes[0], codes[1] if run == "g7" else [], codes[2]]  # a model of ratings is told what was disliked
    told = [values[0], values[1] if run == "g7" else [], values[2]]
    scores = model.history_scores(Histories.from_lists(expected, told))
    for row, mine, of_user in zip(answer.rows, codes, scores, strict=True):
        allowed = np.setdiff1d(np.arange(30), mine)
        np.testing.assert_allclose(row.scores, -np.sort(-of_user[allowed]), rtol=1e-4, atol=1e-5)
    short = client.recommend_for_history([run], histories, k=3, values=values)[run]
    assert [row.items for row in short.rows] == [row.items[:3] for row in answer.rows]


def test_without_ratings_a_dislike_only_keeps_an_item_away(client):
    both = client.recommend_for_history(["a1", "b2"], [["0002", "0004"]], k=9, values=[[1.0, 0.0]])
    only = client.recommend_for_history(["a1", "b2"], [["0002"]], k=10)
    for run in both:
        assert list(both[run].rows[0].items) == [item for item in only[run].rows[0].items if item != "0004"][:9]


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda c: c.item_map("a1"), Unsupported, "does not place users and items in one space"),
        (lambda c: c.user_path("c3", ["0001"]), Unsupported, "so there is no map"),
        (lambda c: c.user_path("b2", ["0001"], [1.0, 2.0]), Unsupported, "one number for every item"),
        (lambda c: c.questions("zz", {}), NotFound, "zz"),
        (lambda c: c.questions("a1", {}, n=0), BadInput, "n: .*got '0'"),
        (lambda c: c.questions("a1", {"0001": float("nan")}), BadInput, "values.*finite"),
        (lambda c: c.recommend_for_history(["a1"], [["0001"]], values=[[float("inf")]]), BadInput, "values.*finite"),
    ],
)
def test_what_cannot_be_asked_of_new_users(client, ask, error, words):
    with pytest.raises(error, match=words):
        ask(client)


def test_a_history_without_values_is_one_of_likes_to_a_model_of_ratings(client) -> None:
    liked = [f"{i:04}" for i in (0, 2, 4, 6)]
    plain = client.recommend_for_history(["g7"], [liked], 8)["g7"].rows[0]
    said = client.recommend_for_history(["g7"], [liked], 8, values=[[client.scale("g7").like] * 4])["g7"].rows[0]
    assert plain.items == said.items and plain.scores == said.scores
    assert np.mean([int(item) % 2 == 0 for item in plain.items]) > 0.7, "more of the same taste, not of the other one"
