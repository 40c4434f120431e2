"""The index for very large catalogues, on a small one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.errors import Unsupported
from recsys_core.portable.bundle import Bundle, best_of
from recsys_core.portable.history import History
from recsys_core.portable.matrix import Dense
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.live.near import Near
from recsys_core.serving.live.predictor import Predictor
from recsys_core.serving.live.records import Filters
from recsys_core.testing._checks import ONE
from recsys_core.testing.datasets import tastes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path: Path = tmp_path_factory.mktemp("near") / "als.zip"
    write_bundle(registry.get("model", "als")(factors=6, iterations=4).fit(tastes(60, 40).train, ONE), path)
    return Bundle.open(path)


def test_below_the_size_nothing_is_built(bundle: Bundle) -> None:
    assert Near.build(bundle) is None


def test_lists_are_the_exact_ones_on_a_small_catalogue(bundle: Bundle) -> None:
    pytest.importorskip("faiss", reason="the extra of requirements-ann.txt is not installed")
    near = Near.build(bundle, from_items=1, k=5)
    assert near.recall == 1.0 and near.sample > 50 and "finds 100.0%" in near.sentence
    for user in range(20):
        history = bundle.history(user)
        codes, scores = near.best(bundle, bundle.form.vector(history), 5, history.items)
        wanted = bundle.form.scores(history)
        wanted[history.items] = -np.inf
        exact, best = best_of(wanted, 5)
        assert np.array_equal(codes, exact)
        np.testing.assert_allclose(scores, best, rtol=1e-5, atol=1e-6)


def test_a_bundle_searches_the_index_for_histories_and_not_for_learnt_vectors(bundle: Bundle) -> None:
    pytest.importorskip("faiss", reason="the extra of requirements-ann.txt is not installed")
    near = Near.build(bundle, from_items=1, k=5)
    asked = []

    class Watched:
        def best(self, *given):
            asked.append(given)
            return near.best(*given)

    for user in range(10):
        history = bundle.history(user)
        plain, by_index = bundle.best(history, 5), bundle.best(history, 5, near=Watched())
        assert np.array_equal(plain[0], by_index[0])
    assert len(asked) == 10
    bundle.best(bundle.history(0), 5, user=0, near=Watched())
    bundle.best(History.of([]), 5, near=Watched())
    assert len(asked) == 10


def test_recall_is_measured_on_users_that_did_not_choose_the_width() -> None:
    """Random vectors, where an index misses some: what it says it finds is what it finds for others."""
    pytest.importorskip("faiss", reason="the extra of requirements-ann.txt is not installed")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((8000, 8)).astype(np.float32)
    wants = rng.standard_normal((400, 8)).astype(np.float32)
    form = SimpleNamespace(item_matrix=Dense(vectors), vector=lambda history: wants[history.items[0]])
    about = {"users": SimpleNamespace(codes=np.arange(400)), "history": lambda user: History.of([user])}
    made_up = SimpleNamespace(form=form, n_items=8000, counts=np.ones(8000), scale=SimpleNamespace(told=lambda h: h), **about)
    near = Near.build(made_up, from_items=1, k=10)
    found = [
        len(np.intersect1d(near.best(made_up, want, 10, np.empty(0, np.int64))[0], best_of(vectors @ want, 10)[0])) / 10 for want in wants
    ]
    assert near.sample == 100 and near.index.nprobe < near.index.nlist
    assert abs(near.recall - np.mean(found)) < 0.03 and near.recall > 0.9
    assert near.best(made_up, wants[0], 10, np.arange(3000)) is None, "so much is gone that exact search is no dearer"


def test_when_too_much_is_gone_the_search_is_left_to_the_exact_one(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="the extra of requirements-ann.txt is not installed")
    monkeypatch.setattr("recsys_core.serving.live.near.SPARE", -8)  # fetches fewer than it should
    near = Near.build(bundle, from_items=1)
    vector = bundle.form.vector(bundle.history(0))
    assert near.best(bundle, vector, 10, np.arange(5)) is None


def test_without_faiss_one_sentence_says_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(Unsupported, match="pip install -r requirements-ann.txt"):
        Near.build(bundle, from_items=1)


def test_a_predictor_uses_it_for_those_who_clicked_and_gives_the_exact_lists(bundle: Bundle) -> None:
    pytest.importorskip("faiss", reason="the extra of requirements-ann.txt is not installed")
    exact, by_index = Predictor(bundle), Predictor(Bundle.open(bundle.archive.path), near=Near.build(bundle, from_items=1))
    asked = []
    best, by_index.near = by_index.near.best, replace(by_index.near)
    object.__setattr__(by_index.near, "best", lambda *given: (asked.append(1), best(*given))[1])
    history = [bundle.items.ids[code] for code in bundle.history(3).items[:4]]
    for predictor in (exact, by_index):
        predictor.feedback("stranger", history[0], "like")
    assert by_index.recommend("stranger", k=5).items == exact.recommend("stranger", k=5).items
    assert by_index.recommend(history=history, k=5).items == exact.recommend(history=history, k=5).items
    assert len(asked) == 2
    only = Filters(only=bundle.items.ids[:10])
    assert by_index.recommend(history=history, k=5, filters=only).items == exact.recommend(history=history, k=5, filters=only).items
    assert len(asked) == 2, "filters are looked at item by item"
    assert "finds 100.0%" in by_index.state()["index"] and exact.state()["index"] is None
