"""Losses. Each gives a scalar, the mean over its rows unless said otherwise.

Ranking losses compare one positive a row with N negatives: positive (B,), negative (B, N); excluded: bool (B, N), what
must not count (known positives, the positive itself drawn again). A row with nothing left to compare with adds
nothing, and no gradient is ever NaN, also where scores are -inf. `ranking_loss` gives any of them by name.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Ragged


def multinomial_nll(logits: Tensor, chosen: Ragged, weight: Tensor | None = None) -> Tensor:
    """Minus the log-likelihood of each row's items under the softmax of its logits, mean over rows.

    Source: Liang et al. 2018, eq. 2 (https://arxiv.org/abs/1802.05814). weight: how much each row counts.
    Shapes: logits (B, I), chosen has B rows, weight (B,) -> scalar. Cost: one pass over B × I, no dense target.
    """
    logits = logits.float()  # logits in bfloat16 are too coarse to add up, and no match for the weights
    rows = chosen.rows
    lengths = chosen.lengths.to(logits.dtype)
    at_chosen = logits.flatten()[rows * logits.shape[1] + chosen.columns]
    if weight is not None:
        lengths, at_chosen = lengths * weight, at_chosen * weight[rows]
    return (torch.dot(lengths, logits.logsumexp(1)) - at_chosen.sum()) / len(chosen)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), summed over the last dimension, mean over rows.

    Source: Kingma & Welling 2014, appendix B (https://arxiv.org/abs/1312.6114).
    Shapes: (B, Z), (B, Z) -> scalar.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()


def sampled_logsumexp(negative: Tensor, log_q: Tensor | None = None, excluded: Tensor | None = None) -> Tensor:
    """Log of the summed exponentials over all items, estimated from N sampled ones (the logQ correction).

    negative: scores (B, N) of items drawn with replacement; log_q: (N,) or (B, N) log-probability of drawing each
    (None = plain sum over the items given); excluded: bool (B, N), left out of the sum. A row with
    nothing left gives -inf.
    Source: Bengio & Senécal 2008; Yi et al. 2019, eq. 5 (https://doi.org/10.1145/3298689.3346996).
    """
    if log_q is not None:
        negative = negative - (log_q + math.log(max(1, negative.shape[1])))
    lowest = torch.finfo(negative.dtype).min
    if excluded is not None:
        negative = negative.masked_fill(excluded, lowest)
    # The lowest number stands for -inf: the gradient of a logsumexp of nothing but -inf is NaN.
    total = negative.clamp(min=lowest).logsumexp(1)
    return total.masked_fill(total <= lowest, -torch.inf)


def softmax_against(positive: Tensor, negative_logsumexp: Tensor, weights: Tensor | None = None) -> Tensor:
    """-log(e^p / (e^p + e^L)): cross-entropy of each positive against its row's summed negatives.

    The mean, or with weights the weighted sum. Shapes: (n,), (n,), (n,) -> scalar.
    L = -inf (nothing to compare with) counts as a loss of 0.
    """
    each = F.softplus(negative_logsumexp - positive)
    return each.mean() if weights is None else torch.dot(weights, each)


def bce(positive: Tensor, negative: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of logits: positives are 1, sampled negatives 0; summed over a row, mean over rows.

    Source: He et al. 2017, eq. 7 (https://arxiv.org/abs/1708.05031).
    Shapes: (B,), (B, N), bool (B, N) -> scalar.
    """
    against = F.softplus(negative)
    if excluded is not None:
        against = against.masked_fill(excluded, 0.0)
    return (F.softplus(-positive) + against.sum(1)).mean()


def gbce(positive: Tensor, negative: Tensor, n_items: int, excluded: Tensor | None = None, calibration: float = 0.75) -> Tensor:
    """Binary cross-entropy whose positives weigh beta: undoes the overconfidence that few negatives bring.

    beta = a (t (1 - 1/a) + 1/a), a = N / (n_items - 1) the share of negatives drawn, t = calibration: 0 is plain
    `bce`, 1 gives the probabilities of training on all items.
    Source: Petrov & Macdonald 2023, eq. 9 and 13 (https://arxiv.org/abs/2308.07192).
    Differs: the sum of a row is not divided by N + 1, as in `bce`.
    Shapes: (B,), (B, N), bool (B, N) -> scalar.
    """
    rate = min(1.0, negative.shape[1] / max(1, n_items - 1))
    beta = calibration * (rate - 1) + 1
    against = F.softplus(negative)
    if excluded is not None:
        against = against.masked_fill(excluded, 0.0)
    return (beta * F.softplus(-positive) + against.sum(1)).mean()


def bpr(positive: Tensor, negative: Tensor, excluded: Tensor | None = None) -> Tensor:
    """-log sigmoid(positive - negative): mean over a row's negatives, then over rows.

    Source: Rendle et al. 2009 (https://arxiv.org/abs/1205.2618); with several negatives a positive their mean.
    Shapes: (B,), (B, N), bool (B, N) -> scalar.
    """
    return _mean_left(F.softplus(negative - positive[:, None]), excluded).mean()


def cosine_contrastive(
    positive: Tensor, negative: Tensor, margin: float = 0.4, negative_weight: float = 10.0, excluded: Tensor | None = None
) -> Tensor:
    """1 - positive, plus negative_weight times the mean of what the negatives exceed the margin by.

    Scores must be cosines, from -1 to 1; the easy negatives (below the margin) count nothing, so that many can be drawn.
    Source: Mao et al. 2021, SimpleX, eq. 1 (https://arxiv.org/abs/2109.12613).
    Shapes: (B,), (B, N), bool (B, N) -> scalar.
    """
    return (F.relu(1 - positive) + negative_weight * _mean_left(F.relu(negative - margin), excluded)).mean()


def _mean_left(each: Tensor, excluded: Tensor | None) -> Tensor:
    """(B, N) -> (B,): mean over what is not excluded; 0 where nothing is left."""
    if excluded is None:
        return each.mean(1) if each.shape[1] else each.sum(1)
    left = (~excluded).sum(1).clamp(min=1)
    return each.masked_fill(excluded, 0.0).sum(1) / left


def full_softmax(logits: Tensor, target: Tensor | Ragged) -> Tensor:
    """Cross-entropy over all items: mean over the rows that have a target.

    target: int64 (B,), -1 = none (padding, a masked-out place); or several targets a row as `Ragged`, whose
    mean is taken, so that every row weighs alike (`multinomial_nll` adds them up). No targets at all: 0.
    Shapes: logits (B, I) -> scalar. Cost: one pass over B × I.
    """
    if isinstance(target, Tensor):
        total = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum")
        return total / (target >= 0).sum().clamp(min=1)
    rows, lengths = target.rows, target.lengths
    at_target = logits.flatten().index_select(0, rows * logits.shape[1] + target.columns)
    each = (logits.logsumexp(1).index_select(0, rows) - at_target) / lengths[rows]
    return each.sum() / (lengths > 0).sum().clamp(min=1)


def sampled_softmax(positive: Tensor, negative: Tensor, log_q: Tensor | None = None, excluded: Tensor | None = None) -> Tensor:
    """Cross-entropy of each positive against all items, of which N were drawn (`sampled_logsumexp`).

    The positive is there with certainty and not by the draw, so its own score is not corrected.
    Source: Bengio & Senécal 2008; Khrylchenko et al. 2025 on the positive (https://arxiv.org/abs/2507.09331).
    Shapes: (B,), (B, N), log_q (N,) or (B, N), bool (B, N) -> scalar.
    """
    return softmax_against(positive, sampled_logsumexp(negative, log_q, excluded))


def in_batch_softmax(
    user_vectors: Tensor,
    item_vectors: Tensor,
    item_codes: Tensor,
    log_q: Tensor | None = None,
    excluded: Tensor | None = None,
    temperature: float = 1.0,
    correct_positive: bool = False,
) -> Tensor:
    """Each row's item against the items of the other rows: the batch is the sample, no item is encoded twice.

    item_codes: (B,) codes, rows with the same item are no negatives of each other (accidental hits). log_q: (B,)
    log of each item's share of the training interactions. excluded: bool (B, B), item of column b is a known
    positive of row a. Scores are dot products over the temperature (give unit vectors for cosines).
    Source: Yi et al. 2019, eq. 3-5 (https://doi.org/10.1145/3298689.3346996).
    Differs: the positive keeps its score unless correct_positive, since it is there with certainty
    (Khrylchenko et al. 2025, https://arxiv.org/abs/2507.09331); same items and known positives are left out.
    Shapes: (B, d), (B, d), (B,) -> scalar. Cost: B² d.
    """
    scores = user_vectors @ item_vectors.T / temperature
    positive = scores.diagonal()
    same = item_codes[:, None] == item_codes[None, :]
    excluded = same if excluded is None else same | excluded
    if log_q is not None:  # of the B columns of a row, B - 1 are draws
        log_share = log_q + math.log(max(1, len(scores) - 1))
        scores = scores - log_share
        positive = positive - log_share if correct_positive else positive
    return softmax_against(positive, sampled_logsumexp(scores, None, excluded))


RankingLoss = Literal["softmax", "bpr", "bce", "gbce", "cosine_contrastive"]
RANKING_LOSSES: tuple[str, ...] = get_args(RankingLoss)


def ranking_loss(
    kind: RankingLoss,
    positive: Tensor,
    negative: Tensor,
    *,
    log_q: Tensor | None = None,
    excluded: Tensor | None = None,
    n_items: int | None = None,
    calibration: float = 0.75,
    margin: float = 0.4,
    negative_weight: float = 10.0,
) -> Tensor:
    """The loss named `kind`. log_q is used by softmax only, n_items (required) and calibration by gbce only.

    cosine_contrastive wants cosines, the others any scores. Shapes: (B,), (B, N) -> scalar.
    """
    if kind == "softmax":
        return sampled_softmax(positive, negative, log_q, excluded)
    if kind == "bpr":
        return bpr(positive, negative, excluded)
    if kind == "bce":
        return bce(positive, negative, excluded)
    if kind == "cosine_contrastive":
        return cosine_contrastive(positive, negative, margin, negative_weight, excluded)
    if kind != "gbce":
        raise ValueError(f"unknown ranking loss {kind!r}; there are {', '.join(RANKING_LOSSES)}")
    if n_items is None:
        raise ValueError("gbce needs n_items: its weight of the positives depends on the share of items drawn")
    return gbce(positive, negative, n_items, excluded, calibration)


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(predicted, target)
