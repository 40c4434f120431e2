"""The test battery every re-ranker passes, whoever wrote it. Subclass `RerankerContract` in a test file of yours."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from .. import params as params_module
from .. import registry
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.ids import IdMap
from ..data.topk import TopK
from ..errors import ParamError
from ..evaluation.tradeoff import tradeoff
from ..rerank._base import Reranker, Shelf, as_they_were, scaled
from ._checks import bad_values, same
from .datasets import tastes

K, DEPTH = 6, 30


@cache
def shelf(categories: bool = True) -> Shelf:
    """Users with tastes; an item has its taste as a category and one of three others, every tenth has none at all."""
    train = tastes().train
    if not categories:
        return Shelf(train)
    numbers = np.arange(train.n_items)
    genres = [f"taste {n % 5}|mood {n % 3}" if n % 10 else None for n in numbers]
    maker = [f"maker {n % 4}" for n in numbers]
    return Shelf(replace(train, item_table=pd.DataFrame({"genres": genres, "maker": maker, "year": 1990 + numbers % 30})))


def candidates(data: Dataset, depth: int = DEPTH, seed: int = 0) -> TopK:
    """Lists of all users by taste and chance, some scores equal; some are short, one is empty, two users are not in training."""
    rng = np.random.default_rng(seed)
    n = data.n_users
    liked = data.matrix("binary") @ (np.arange(data.n_items)[:, None] % 5 == np.arange(5)).astype(np.float32)
    scores = liked[:, np.arange(data.n_items) % 5] / 10 + rng.normal(size=(n, data.n_items))
    scores = np.round(np.where(data.matrix("seen").toarray() > 0, -np.inf, scores), 1)
    items = np.argsort(-scores, axis=1, kind="stable")[:, :depth].astype(np.int32)
    best = np.take_along_axis(scores, items, axis=1)
    length = np.full(n, depth)
    length[5:9] = 0, 1, K - 1, K
    gone = (np.arange(depth) >= length[:, None]) | ~np.isfinite(best)
    users = np.arange(n, dtype=np.int32)
    users[-2:] = -1, n + 7
    return TopK(users, np.where(gone, -1, items).astype(np.int32), np.where(gone, np.nan, best).astype(np.float32))


class RerankerContract:
    """reranker: the class under test. variants: settings it is tried with, besides its defaults; valid for `shelf()`."""

    reranker: ClassVar[type[Reranker]]
    variants: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def made(cls) -> list[Reranker]:
        """It in all settings, and at several strengths where it has one."""
        settings = [{}, *cls.variants]
        if cls.reranker.has_strength():
            settings = [values | {"strength": s} for values in settings for s in (0.15, 0.5, 1.0)]
        return [cls.reranker(**values) for values in settings]

    @classmethod
    def places(cls) -> list[Shelf]:
        """Data it can be used on: with item categories and without."""
        return [shelf()] if cls.variants and not cls.reranker.has_strength() else [shelf(), shelf(categories=False)]

    # ---- lists -----------------------------------------------------------------------------------
    def test_lists_are_subsets_without_repeats_and_padded_at_the_end(self) -> None:
        for place in self.places():
            given = candidates(place.train)
            for method in self.made():
                for k in (1, K, DEPTH, DEPTH + 5):
                    top = method.rerank(given, k, place)
                    assert top.items.shape == (len(given), k) and top.items.dtype == np.int32
                    np.testing.assert_array_equal(top.users, given.users)
                    there, had = top.items >= 0, (given.items >= 0).sum(axis=1)
                    assert (there[:, :-1] >= there[:, 1:]).all(), "something after nothing"
                    assert np.isnan(top.scores[~there]).all()
                    if not method.may_shorten:
                        np.testing.assert_array_equal(there.sum(axis=1), np.minimum(had, k))
                    for row in range(len(given)):
                        scores = dict(zip(given.items[row].tolist(), given.scores[row].tolist(), strict=True))
                        own = top.items[row][there[row]].tolist()
                        assert len(set(own)) == len(own)
                        assert [scores[item] for item in own] == top.scores[row][there[row]].tolist()

    def test_strength_0_keeps_the_lists_even_where_the_method_itself_is_asked(self) -> None:
        if not self.reranker.has_strength():
            pytest.skip("It has no strength.")
        for values in [{}, *self.variants]:
            method = self.reranker(**(values | {"strength": 0.0}))
            for place in self.places():
                given = candidates(place.train)
                same(method.rerank(given, K, place), given.cut(K))
                relevance = scaled(given.scores, given.items >= 0)
                chosen = method._select(given.items, relevance, K, place, place.histories(given.users))
                np.testing.assert_array_equal(chosen, as_they_were(given.items, K))

    def test_the_same_again_and_each_list_by_itself(self) -> None:
        for place in self.places():
            given = candidates(place.train)
            for method in self.made():
                whole = method.rerank(given, K, place)
                same(whole, type(method)(method.params).rerank(given, K, place))
                order = np.random.default_rng(0).permutation(len(given))
                same(whole.take(order), method.rerank(given.take(order), K, place))
                same(whole.take(np.arange(12, 13)), method.rerank(given.take(np.arange(12, 13)), K, place))

    def test_of_items_that_differ_in_nothing_the_better_candidate_comes_first(self) -> None:
        twins = self.twins()
        given = self.lists_of_twins()
        for scores in (given.scores, np.ones_like(given.scores)):
            for method in self.made():
                if self.variants and not method.has_strength() and method.params != method.Params():
                    continue  # rules that name items, or cap what all share
                same(method.rerank(replace(given, scores=scores), K, twins), replace(given, scores=scores).cut(K))

    @staticmethod
    def twins() -> Shelf:
        """Items with one category, the same users each, all popular; 40 of them, so that the first 32 are the head."""
        user, item = np.divmod(np.arange(400), 40)
        ids = IdMap([f"u{n}" for n in range(10)]), IdMap([f"i{n}" for n in range(40)])
        return Shelf(Dataset(*ids, user, item, np.ones(400), item_table=pd.DataFrame({"genres": ["one"] * 40})))

    @staticmethod
    def lists_of_twins() -> TopK:
        items = np.stack([np.random.default_rng(user).permutation(32)[:20] for user in range(4)]).astype(np.int32)
        return TopK(np.arange(4, dtype=np.int32), items, np.tile(np.linspace(2, 1, 20, dtype=np.float32), (4, 1)))

    def test_no_users_and_no_candidates(self) -> None:
        given = candidates(shelf().train)
        for method in self.made():
            assert method.rerank(given.take(np.arange(0)), K, shelf()).items.shape == (0, K)
            nothing = replace(given, items=np.full_like(given.items, -1), scores=np.full_like(given.scores, np.nan))
            assert (method.rerank(nothing, K, shelf()).items == -1).all()

    def test_histories_may_be_given_and_scores_may_say_nothing(self) -> None:
        given = candidates(shelf().train)
        row = np.repeat(np.arange(len(given)), 2)
        past = Histories.from_rows(len(given), row, np.arange(len(row), dtype=np.int32) % 90, np.ones(len(row), np.float32))
        strange = given.scores.copy()
        strange[::3] = strange[::3, ::-1]  # rising, with nothing first
        strange[1::3] = np.where(np.isnan(strange[1::3]), np.nan, np.inf)
        for method in self.made():
            top = method.rerank(replace(given, scores=strange), K, shelf(), past)
            assert method.may_shorten or ((top.items >= 0).sum(axis=1) == np.minimum((given.items >= 0).sum(axis=1), K)).all()

    # ---- what it is for --------------------------------------------------------------------------
    def test_it_raises_what_it_aims_at(self) -> None:
        if not self.reranker.has_strength():
            pytest.skip("It has no strength.")
        metric = registry.get("metric", self.reranker.aim)
        held_out: Holdout = tastes().held_out
        for place in self.places():
            usual = self.reranker().params.strength
            points = tradeoff(candidates(place.train), held_out, place, self.reranker.key, {}, [0, usual, 0.5, 1], K, [metric.key])
            values = np.array([point["metrics"][f"{metric.key}@{K}"]["mean"] for point in points])
            gains = (values - values[0]) * (1 if metric.higher_is_better else -1)
            assert gains[1] > 0.001, f"{metric.key} at strength 0 and as it is by default: {values[:2]}"
            assert gains.max() > 0.01, f"{metric.key} at strengths 0, {usual}, .5, 1: {values}"

    # ---- what it says of itself ------------------------------------------------------------------
    def test_card_is_complete(self) -> None:
        cls = self.reranker
        assert cls.key.isidentifier() and cls.key == cls.__module__.rsplit(".", 1)[-1] and cls.label
        assert cls.summary.endswith(".") and len(cls.summary) > 20 and (cls.__doc__ or "").strip()
        assert cls.source is None or (cls.source.citation and cls.source.url.startswith("http"))
        assert cls.aim in registry.keys("metric")
        assert cls.label in cls().described()
        for field in params_module.fields(cls.Params):
            assert field.label and not field.label.islower(), f"{field.name} needs a label in sentence case"
            assert len(field.help) > 15 and field.help.endswith("."), f"{field.name} needs one sentence of help"
        if cls.has_strength():
            field = next(f for f in params_module.fields(cls.Params) if f.name == "strength")
            assert (field.ge, field.le) == (0, 1) and field.tune == (0, 1, "linear") and 0 < field.default < 1

    def test_bad_parameters_are_refused_with_rule_and_value(self) -> None:
        for field in params_module.fields(self.reranker.Params):
            for value in bad_values(field):
                with pytest.raises(ParamError, match=field.name):
                    self.reranker(**{field.name: value})
        with pytest.raises(ParamError, match="k must be 1 or more; got 0"):
            self.made()[0].rerank(candidates(shelf().train), 0, shelf())
