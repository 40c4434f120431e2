"""A gated sum of given scores: who is to be believed, by whom it is for, plus a small correction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .blocks import MLP


class Gated(NamedTuple):
    """score (B, C) = Σ_p gates (B, P) · scores (B, C, P) + context (B, C)."""

    score: Tensor
    gates: Tensor
    context: Tensor


class GatedSum(nn.Module):
    """Scores of several experts, weighted by gates that depend on the row, plus a correction that sees everything.

    Source: Jacobs, Jordan, Nowlan & Hinton, "Adaptive mixtures of local experts", Neural Computation 1991,
    https://doi.org/10.1162/neco.1991.3.1.79 (gates: a softmax over experts of a linear map of the row).
    Differs: the experts are given and fixed; gates begin as `start` for every row and the correction as 0, so untrained it
    is the sum with fixed weights. `sharpness`, learnt too, is the log of what scores are multiplied by to be logits.
    Shapes: row (B, R), scores (B, C, P), inputs (B, C, F) -> Gated. start (P,): positive, sum 1.
    Cost: B × C × (R + F) × hidden multiplications.
    """

    def __init__(self, start: Tensor, row_width: int, input_width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.gate = nn.Linear(row_width, len(start))
        self.correction = MLP([row_width + input_width, hidden, 1], dropout=dropout)
        self.sharpness = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.gate.weight)
        last = self.correction.layers[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        last.bias.requires_grad_(False)  # the same for every candidate of a row: it changes no order
        with torch.no_grad():
            self.gate.bias.copy_(start.log())

    def forward(self, row: Tensor, scores: Tensor, inputs: Tensor) -> Gated:
        gates = self.gate(row).softmax(1)  # (B, P)
        wide = row[:, None, :].expand(-1, scores.shape[1], -1)
        context = self.correction(torch.cat([wide, inputs], 2)).squeeze(2)  # (B, C)
        return Gated(torch.einsum("bcp,bp->bc", scores, gates) + context, gates, context)
