"""Where negatives come from: distributions, log_q, positives refused, hard ones harder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from recsys_core.data.dataset import Dataset
from recsys_core.data.ids import IdMap
from recsys_core.errors import ParamError
from recsys_core.models.deep._sampling import SampledParams, auto_sampling, build_sampler
from recsys_core.nn.losses import sampled_logsumexp
from recsys_core.nn.runtime import seeded
from recsys_core.nn.samplers import SAMPLERS, BatchSampler, HardSampler, NegativeSampler, PairTable, make_sampler
from recsys_core.params import build

N_ITEMS = 40
POSITIVE = np.random.default_rng(0).random((6, N_ITEMS)) < 0.3
POSITIVE[5] = True  # nothing is left to this user
COUNTS = np.arange(1, N_ITEMS + 1)
SCORES = torch.randn(6, N_ITEMS, generator=torch.Generator().manual_seed(1))
USERS = torch.arange(6)
BATCH = torch.as_tensor(np.repeat(np.arange(N_ITEMS), COUNTS))  # a batch that holds items exactly by their counts


def table() -> PairTable:
    return PairTable(sparse.csr_matrix(POSITIVE.astype(np.float32)))


def score(items: torch.Tensor) -> torch.Tensor:
    return SCORES.gather(1, items) if items.ndim == 2 else SCORES[:, items]


@pytest.mark.parametrize("way", ["sample", "shared"])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_keeps_the_contract(kind, way):
    sampler = make_sampler(kind, N_ITEMS, table(), COUNTS, alpha=0.75 if kind == "popularity" else 0.0)
    with seeded(0):
        drawn = getattr(sampler, way)(USERS, 30, batch_items=BATCH, score=score)
    with seeded(0):
        again = getattr(sampler, way)(USERS, 30, batch_items=BATCH, score=score)
    assert drawn.items.shape == drawn.log_q.shape == ((6, 30) if way == "sample" else (30,))
    assert drawn.items.dtype == torch.int64 and drawn.items.min() >= 0 and drawn.items.max() < N_ITEMS
    assert drawn.excluded.shape == (6, 30) and drawn.log_q.isfinite().all()
    assert torch.equal(drawn.items, again.items) and torch.equal(drawn.log_q, again.log_q)
    items = drawn.items.expand(6, 30)
    known = torch.as_tensor(POSITIVE)[USERS[:, None], items]
    assert drawn.excluded[known].all(), "a known positive counts as a negative"
    assert not drawn.excluded[~known].any() and drawn.excluded[5].all()


@pytest.mark.parametrize("way", ["sample", "shared"])
@pytest.mark.parametrize("kind", ["uniform", "popularity", "in_batch", "mixed"])
def test_log_q_makes_the_sum_right(kind, way):
    """What is not excluded, each divided by N q, adds up to the sum over all items that are no positives."""
    sampler = make_sampler(kind, N_ITEMS, table(), COUNTS, alpha=1.0 if kind == "popularity" else 0.0)
    everything = BATCH.repeat(400)  # large enough that the whole batch stands for the distribution
    with seeded(0):
        drawn = getattr(sampler, way)(USERS, 200_000, batch_items=everything)
    scores = score(drawn.items)
    found = sampled_logsumexp(scores, drawn.log_q, drawn.excluded)
    exact = SCORES.masked_fill(torch.as_tensor(POSITIVE), -torch.inf).logsumexp(1)
    np.testing.assert_allclose(found[:5], exact[:5], atol=0.02)
    assert found[5] == exact[5] == -math.inf


def test_items_of_the_batch_come_as_often_as_in_training_and_a_mixture_as_both():
    plain = NegativeSampler(N_ITEMS)
    frequency = COUNTS / COUNTS.sum()
    for share, expected in ((1.0, frequency), (0.25, 0.25 * frequency + 0.75 / N_ITEMS)):
        sampler = BatchSampler(COUNTS, plain, share)
        np.testing.assert_allclose(sampler.log_q.exp(), expected, rtol=1e-5)
        with seeded(4):
            items = sampler.sample(USERS, 50_000, batch_items=BATCH).items
        np.testing.assert_allclose(torch.bincount(items.flatten(), minlength=N_ITEMS) / items.numel(), expected, atol=0.002)


def test_all_places_of_a_batch_are_taken_once_when_there_is_room():
    sampler = make_sampler("in_batch", N_ITEMS, table(), COUNTS)
    drawn = sampler.shared(USERS, 10_000, batch_items=BATCH)
    assert torch.equal(drawn.items.sort().values, BATCH.sort().values)
    assert len(sampler.shared(USERS, 7, batch_items=BATCH).items) == 7


def test_hard_ones_are_the_highest_of_the_candidates():
    sampler = make_sampler("hard", N_ITEMS, table(), multiple=5)
    with seeded(2):
        candidates = NegativeSampler(N_ITEMS, table()).sample(USERS, 100)
    with seeded(2):
        drawn = sampler.sample(USERS, 20, score=score)
    expected = score(candidates.items)[:5].topk(20, dim=1).values
    torch.testing.assert_close(score(drawn.items)[:5].sort(1, descending=True).values, expected)
    easy = NegativeSampler(N_ITEMS, table()).sample(USERS, 20)
    assert score(drawn.items)[:5].mean() > score(easy.items)[:5].mean() + 0.5
    with seeded(2):
        all_candidates = NegativeSampler(N_ITEMS, table()).shared(USERS, 100)
    with seeded(2):
        shared = sampler.shared(USERS, 20, score=score)
    best = score(all_candidates.items).masked_fill(all_candidates.excluded, -torch.inf).amax(0).topk(20).values
    torch.testing.assert_close(score(shared.items).masked_fill(shared.excluded, -torch.inf).amax(0).sort(descending=True).values, best)


def test_keeping_every_candidate_of_hard_changes_nothing():
    """With multiple 1 the sum is that of its base; with more it is the sum over the kept part of the candidates."""
    with seeded(3):
        plain = NegativeSampler(N_ITEMS, table()).sample(USERS, 50)
    for multiple, n in ((1, 50), (5, 10)):
        with seeded(3):
            hard = HardSampler(NegativeSampler(N_ITEMS, table()), multiple).sample(USERS, n, score=score)
        kept = score(plain.items)[:5].topk(n, 1)
        by_hand = (kept.values - plain.log_q[:5].gather(1, kept.indices) - math.log(50)).logsumexp(1)
        torch.testing.assert_close(sampled_logsumexp(score(hard.items), hard.log_q, hard.excluded)[:5], by_hand)


def test_hard_takes_no_gradient():
    weight = torch.ones(1, requires_grad=True)
    drawn = make_sampler("hard", N_ITEMS, table()).sample(USERS, 3, score=lambda items: score(items) * weight)
    assert not drawn.log_q.requires_grad and weight.grad is None


def test_what_a_sampler_lacks_is_said():
    for kind in ("in_batch", "mixed"):
        with pytest.raises(ValueError, match="needs counts"):
            make_sampler(kind, N_ITEMS)
        with pytest.raises(ValueError, match="needs batch_items"):
            make_sampler(kind, N_ITEMS, table(), COUNTS).sample(USERS, 2)
    with pytest.raises(ValueError, match="needs score"):
        make_sampler("hard", N_ITEMS, table()).shared(USERS, 2)
    with pytest.raises(ValueError, match="unknown sampler 'nearest'; there are uniform"):
        make_sampler("nearest", N_ITEMS)
    with pytest.raises(ValueError, match="share must be above 0"):
        BatchSampler(COUNTS, NegativeSampler(N_ITEMS), 0.0)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_params_become_the_sampler(kind):
    user, item = np.nonzero(POSITIVE)
    data = Dataset(IdMap([*"abcdef"]), IdMap([str(i) for i in range(N_ITEMS)]), user, item, np.ones(len(user), np.float32))
    asked = build(SampledParams, {"sampler": kind})
    params = asked.with_(**auto_sampling(asked, data.stats, shared=True))
    assert (params.negatives, params.popularity) == (N_ITEMS, 0.75 if kind == "popularity" else 0.0)
    assert auto_sampling(asked, data.stats, shared=False)["negatives"] == 4
    sampler = build_sampler(params, data, "cpu")
    weight = data.item_counts + 1.0
    share = {"popularity": weight**0.75 / (weight**0.75).sum(), "in_batch": data.item_counts / len(user)}.get(
        kind, np.full(N_ITEMS, 1 / N_ITEMS)
    )
    if kind == "mixed":
        share = (data.item_counts / len(user) + 1 / N_ITEMS) / 2
    base = sampler.base if kind == "hard" else sampler
    np.testing.assert_allclose(base.log_q.exp(), share, rtol=1e-4)
    drawn = sampler.sample(USERS, 5, batch_items=torch.as_tensor(item), score=score)
    assert drawn.items.shape == (6, 5)


def test_bad_sampling_values_are_refused():
    with pytest.raises(ParamError, match="sampler"):
        build(SampledParams, {"sampler": "nearest"})
    with pytest.raises(ParamError, match="popularity"):
        build(SampledParams, {"popularity": 3})
