"""Fusions in bundles: what was learnt comes through to the last candidate, narrower numbers included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from recsys_core import registry
from recsys_core.data.histories import Histories
from recsys_core.errors import Unsupported
from recsys_core.models.baseline.popular import Popular
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
from recsys_core.portable.normalise import mean_ranks
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing._checks import ONE
from recsys_core.testing.datasets import described, tastes

LISTS = [[4], [1, 5, 5, 8, 1], [3, 17, 9, 22, 11, 2]]
PARTS = {"models": ["als", "item_knn"], "part_params": {"als": {"factors": 4, "iterations": 4}}}


def opened(model, path: Path, **options) -> Bundle:
    write_bundle(model, path / "b.zip", **options)
    return Bundle.open(path / "b.zip")


def test_mean_ranks_are_scipys() -> None:
    values = np.random.default_rng(0).integers(0, 6, (7, 40)).astype(np.float32)
    values[0, :5] = -np.inf
    assert np.array_equal(mean_ranks(values), rankdata(values, axis=1))


@pytest.fixture(scope="module")
def trained():
    return described(tastes(60, 28, ratings=True), 5).train


@pytest.mark.parametrize(("learner", "marks"), [("network", "network.0.gate.weight"), ("trees", "trees.leaf")])
def test_what_stacking_learnt_is_in_its_bundle(learner, marks, trained, tmp_path, monkeypatch) -> None:
    """The learners are made to keep what they found, however little that is worth on so few users."""
    for module in ("_stacking_network", "_stacking_trees"):
        monkeypatch.setattr(f"recsys_core.fusion.{module}.best_step", lambda curve: (len(curve) - 1, 0.1))
    sizes = {"epochs": 3, "networks": 2, "hidden": 4, "n_trees": 6, "tree_depth": 3, "depth": 8}
    model = registry.get("model", "stacking")(**PARTS, learner=learner, tables=True, embeddings=True, **sizes).fit(trained, ONE)
    assert marks in model.learnt
    bundle = opened(model, tmp_path)
    assert bundle.form.learnt and bundle.form.spaces
    for user in (0, 7, 33):
        wanted = model.scores(np.array([user]))[0]
        np.testing.assert_allclose(bundle.scores(bundle.history(user), user), wanted, atol=1e-4 * np.ptp(wanted))
    for items in LISTS:
        wanted = model.history_scores(Histories.from_lists([items]))[0]
        np.testing.assert_allclose(bundle.form.scores(History.of(items)), wanted, atol=1e-4 * np.ptp(wanted))
        item = int(wanted.argmax())
        told, reasons = bundle.form.part_shares(item, History.of(items)), model.explain(item, history=Histories.from_lists([items]))
        assert {name: pytest.approx(share, abs=1e-3) for name, share in told} == dict(zip(reasons.refs, reasons.contributions, strict=True))


RULES = [(key, {"normalization": how}) for key in ("average", "weighted") for how in ("z", "minmax", "rank")]
RULES += [("rank_fusion", {"rule": rule}) for rule in ("reciprocal", "borda", "combmnz")] + [("cascade", {"candidates": 5})]


@pytest.mark.parametrize(("key", "rule"), RULES, ids=[f"{key}-{next(iter(rule.values()))}" for key, rule in RULES])
def test_every_rule_of_a_fusion(key, rule, trained, tmp_path) -> None:
    cls = registry.get("model", key)
    model = cls(**PARTS, **rule).fit(trained, ONE)
    bundle = opened(model, tmp_path)
    for items in LISTS:
        wanted = model.history_scores(Histories.from_lists([items]))[0]
        np.testing.assert_allclose(bundle.form.scores(History.of(items)), wanted, atol=1e-4 * np.ptp(wanted))
        item = int(wanted.argmax())
        reasons = model.explain(item, history=Histories.from_lists([items]))
        told = dict(bundle.form.part_shares(item, History.of(items)))
        assert told == {name: pytest.approx(share, abs=1e-3) for name, share in zip(reasons.refs, reasons.contributions, strict=True)}, (
            "what each model brought"
        )


@pytest.mark.parametrize("how", ["z", "minmax", "rank"])
def test_shares_of_a_sum_tell_items_apart_as_its_scores_do(how, trained, tmp_path) -> None:
    """Linear parts: the levels that belong to no entry are the same for all items, so they cancel between any two."""
    parts = {"models": ["ease", "als"], "part_params": {"als": {"factors": 4, "iterations": 4}}}
    bundle = opened(registry.get("model", "weighted")(**parts, weights=[3, 1], normalization=how).fit(trained, ONE), tmp_path)
    for items in LISTS:
        history = History.of(items)
        scores, told = bundle.form.scores(history), [bundle.form.shares(item, history) for item in range(trained.n_items)]
        if how == "rank":
            assert told == [None] * trained.n_items, "places are no sums"
            continue
        sums = np.array([share.sum() for share, exact in told])
        assert not any(exact for _, exact in told)
        np.testing.assert_allclose(sums - sums[0], scores - scores[0], atol=1e-3 * np.ptp(scores))


@pytest.mark.parametrize("codec", ["float16", "int8"])
def test_narrow_numbers_keep_the_lists_of_a_fusion(codec, trained, tmp_path) -> None:
    model = registry.get("model", "average")(**PARTS).fit(trained, ONE)
    bundle = opened(model, tmp_path, codec=codec)
    wanted = model.recommend(np.arange(trained.n_users), 5).items
    same = [len(set(bundle.best(bundle.history(u), 5, user=u)[0]) & set(row)) / 5 for u, row in enumerate(wanted)]
    assert np.mean(same) > 0.9


def test_a_part_that_cannot_be_bundled_is_named(trained, monkeypatch) -> None:
    def cannot(self):
        raise Unsupported("Most popular cannot be bundled.", "")

    model = registry.get("model", "average")(models=["ease", "popular"]).fit(trained, ONE)
    monkeypatch.setattr(Popular, "_portable", cannot)
    with pytest.raises(Unsupported, match="Average fusion cannot be bundled with Most popular in it"):
        model.portable()
