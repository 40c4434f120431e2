"""Losses. Each gives a scalar, the mean over its rows unless said otherwise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Ragged


def multinomial_nll(logits: Tensor, chosen: Ragged, weight: Tensor | None = None) -> Tensor:
    """Minus the log-likelihood of each row's items under the softmax of its logits, mean over rows.

    Source: Liang et al. 2018, eq. 2 (https://arxiv.org/abs/1802.05814). weight: how much each row counts.
    Shapes: logits (B, I), chosen has B rows, weight (B,) -> scalar. Cost: one pass over B × I, no dense target.
    """
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
        negative = negative - (log_q + torch.log(torch.tensor(float(negative.shape[1]))))
    if excluded is not None:
        negative = negative.masked_fill(excluded, -torch.inf)
    return negative.logsumexp(1)


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


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(predicted, target)
