"""Ranking losses by hand, against torch's own, and where nothing is left to compare with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from recsys_core.nn.batches import Ragged
from recsys_core.nn.losses import (
    RANKING_LOSSES,
    bce,
    bpr,
    cosine_contrastive,
    full_softmax,
    gbce,
    in_batch_softmax,
    ranking_loss,
    sampled_logsumexp,
    sampled_softmax,
)
from recsys_core.nn.runtime import seeded
from recsys_core.nn.samplers import NegativeSampler

LOG2, LOG3 = math.log(2), math.log(3)
NONE, FIRST = torch.zeros(1, 2, dtype=torch.bool), torch.tensor([[True, False]])


def test_bpr_by_hand():
    positive, negative = torch.tensor([LOG3]), torch.tensor([[0.0, LOG3]])  # -log sigmoid of log 3 and of 0
    assert bpr(positive, negative).item() == pytest.approx((math.log(4 / 3) + LOG2) / 2, rel=1e-6)
    assert bpr(positive, negative, FIRST).item() == pytest.approx(LOG2, rel=1e-6)


def test_gbce_by_hand():
    """5 items, 2 drawn: half of the negatives, so t = .5 gives beta = .5 (.5 - 1) + 1 = .75."""
    positive, negative = torch.tensor([LOG3]), torch.tensor([[0.0, LOG3]])
    expected = 0.75 * math.log(4 / 3) + LOG2 + math.log(4)
    assert gbce(positive, negative, 5, calibration=0.5).item() == pytest.approx(expected, rel=1e-6)
    assert gbce(positive, negative, 5, FIRST, 0.5).item() == pytest.approx(expected - LOG2, rel=1e-6)
    torch.testing.assert_close(gbce(positive, negative, 5, calibration=0.0), bce(positive, negative))
    torch.testing.assert_close(gbce(positive, negative, 3, calibration=1.0), bce(positive, negative))  # all were drawn


@pytest.mark.parametrize(("calibration", "probability"), [(0.0, 1 / 2), (1.0, 1 / 10)])
def test_calibration_of_gbce_undoes_what_few_negatives_overstate(calibration, probability):
    """10 items equally often chosen, one negative a choice: an item is as often a negative as it is a positive, so bce
    settles at 1/2; the truth, 1/10, is where fully calibrated gbce settles."""
    score = torch.logit(torch.tensor([probability])).requires_grad_()
    gbce(score, score[:, None], 10, calibration=calibration).backward()
    assert score.grad.item() == pytest.approx(0, abs=1e-6)


def test_cosine_contrastive_by_hand():
    positive, negative = torch.tensor([0.75]), torch.tensor([[0.5, 0.25]])
    assert cosine_contrastive(positive, negative, margin=0.25, negative_weight=4.0).item() == pytest.approx(0.25 + 4 * 0.125)
    assert cosine_contrastive(positive, negative, 0.25, 4.0, FIRST).item() == pytest.approx(0.25)


def test_full_softmax_leaves_out_rows_without_a_target():
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([2, -1, 6, -1])
    torch.testing.assert_close(full_softmax(logits, target), nn.functional.cross_entropy(logits[[0, 2]], target[[0, 2]]))
    none = logits.clone().requires_grad_()
    value = full_softmax(none, torch.full((4,), -1))
    value.backward()
    assert value.item() == 0 and (none.grad == 0).all()


def test_full_softmax_of_several_targets_weighs_rows_alike():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    several = Ragged(torch.tensor([1, 4, 0]), torch.tensor([0, 2, 2, 3]))  # row 0: items 1 and 4; row 1: none; row 2: item 0
    log_p = logits.log_softmax(1)
    torch.testing.assert_close(full_softmax(logits, several), -((log_p[0, 1] + log_p[0, 4]) / 2 + log_p[2, 0]) / 2)
    assert full_softmax(logits, Ragged(torch.empty(0, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))).item() == 0


def test_sampled_softmax_estimates_the_full_one_whatever_the_draw():
    scores = torch.linspace(-1, 1, 50)
    others = torch.cat([scores[:10], scores[11:]])
    exact = nn.functional.cross_entropy(scores[None], torch.tensor([10])).item()
    torch.testing.assert_close(sampled_softmax(scores[10:11], others[None]).item(), exact)
    for weights in (None, torch.arange(1, 51).numpy()):
        sampler = NegativeSampler(50, weights=weights)
        with seeded(0):
            drawn = sampler.draw((200_000,))
        estimate = sampled_softmax(scores[10:11], scores[drawn][None], sampler.log_q[drawn], (drawn == 10)[None])
        assert estimate.item() == pytest.approx(exact, abs=0.02)


def test_in_batch_softmax_against_a_slow_loop():
    generator = torch.Generator().manual_seed(3)
    user, item = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    codes, log_q = torch.tensor([3, 1, 3, 0, 2]), torch.tensor([0.3, 0.2, 0.3, 0.1, 0.1]).log()
    known = torch.zeros(5, 5, dtype=torch.bool)
    known[0, 4] = known[1, 0] = True
    for corrected in (False, True):
        total = 0.0
        for a in range(5):
            below = 0.0
            for b in range(5):
                if codes[a] != codes[b] and not known[a, b]:  # rows 0 and 2 hold the same item
                    below += math.exp(float(user[a] @ item[b]) / 0.5) / (4 * math.exp(log_q[b]))
            own = math.exp(float(user[a] @ item[a]) / 0.5) / (4 * math.exp(log_q[a]) if corrected else 1)
            total -= math.log(own / (own + below))
        found = in_batch_softmax(user, item, codes, log_q, known, temperature=0.5, correct_positive=corrected)
        assert found.item() == pytest.approx(total / 5, rel=1e-5)


def test_in_batch_softmax_without_correction_is_the_cross_entropy_of_the_batch():
    user, item = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.cross_entropy(user @ item.T, torch.arange(6))
    torch.testing.assert_close(in_batch_softmax(user, item, torch.arange(6)), expected)
    assert in_batch_softmax(user[:1], item[:1], torch.tensor([0]), torch.zeros(1)).item() == 0  # alone in the batch


@pytest.mark.parametrize("kind", RANKING_LOSSES)
def test_every_ranking_loss_falls_as_the_positive_rises_and_counts_nothing_excluded(kind):
    positive, negative = torch.tensor([0.2, 0.9]), torch.tensor([[0.5, 0.7, 0.6], [0.5, 0.8, 0.7]])
    log_q = torch.full((3,), -LOG3)

    def value(positive, negative, excluded=None):
        return ranking_loss(kind, positive, negative, log_q=log_q, excluded=excluded, n_items=20).item()

    assert value(positive + 0.05, negative) < value(positive, negative) < value(positive, negative + 0.05)
    excluded = torch.tensor([[False, True, False], [False, False, False]])
    moved = negative.clone()
    moved[0, 1] = 77.0
    assert value(positive, negative, excluded) == pytest.approx(value(positive, moved, excluded))


@pytest.mark.parametrize("kind", RANKING_LOSSES)
@pytest.mark.parametrize("how", ["excluded", "minus infinity", "huge"])
def test_no_gradient_is_ever_nan(kind, how):
    positive, negative = torch.tensor([0.3, -0.4], requires_grad=True), torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    if how != "excluded":
        negative[0] = -torch.inf if how == "minus infinity" else 1e30
    negative.requires_grad_()
    excluded = torch.tensor([[True, True], [False, True]]) if how == "excluded" else None
    value = ranking_loss(kind, positive, negative, log_q=torch.zeros(2, 2), excluded=excluded, n_items=9)
    value.backward()
    assert value.isfinite() and positive.grad.isfinite().all() and negative.grad.isfinite().all()
    if how != "huge":
        assert (negative.grad[0] == 0).all()
        if kind in ("softmax", "bpr"):  # nothing to compare with: no loss of that row
            assert positive.grad[0] == 0 and positive.grad[1] < 0


def test_a_row_of_minus_infinity_sums_to_minus_infinity_with_a_gradient_of_zero():
    negative = torch.tensor([[-torch.inf, -torch.inf], [0.0, -torch.inf]], requires_grad=True)
    total = sampled_logsumexp(negative)
    assert total.tolist() == [-math.inf, 0.0]
    nn.functional.softplus(total).sum().backward()
    assert negative.grad.tolist() == [[0.0, 0.0], [0.5, 0.0]]


def test_unknown_names_and_missing_sizes_are_said():
    one = torch.zeros(1), torch.zeros(1, 1)
    with pytest.raises(ValueError, match="unknown ranking loss 'hinge'; there are softmax"):
        ranking_loss("hinge", *one)
    with pytest.raises(ValueError, match="gbce needs n_items"):
        ranking_loss("gbce", *one)
