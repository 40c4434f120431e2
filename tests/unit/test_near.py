"""The index for very large catalogues, on a small one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.errors import Unsupported
from recsys_core.portable.bundle import Bundle, best_of
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.live.near import Near
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
