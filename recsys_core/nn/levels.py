"""Encoder levels with dense connections: each level reads what all levels before it made."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEP = 0.1  # what a level's output is multiplied by to begin with: it learns more slowly than what it builds on


class Level(nn.Module):
    """One encoder: s ⊙ W_out (W_a c ⊙ GELU(W_b c)) of the outputs c of all levels before it, brought to a common scale.

    The product lets a level multiply what it reads, so a level more reaches interactions of more fields.
    Source: gated linear units, Shazeer 2020 (https://arxiv.org/abs/2002.05202), eq. 5; scale s: Touvron et al. 2021
    (https://arxiv.org/abs/2103.17239).
    Shapes: (B, before) -> (B, size). Cost: B · hidden · (2 before + size).
    """

    def __init__(self, before: int, hidden: int, size: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(before), nn.Linear(before, 2 * hidden), nn.Linear(hidden, size)
        self.dropout, self.scale = nn.Dropout(dropout), nn.Parameter(torch.full((size,), STEP))

    def forward(self, before: Tensor) -> Tensor:
        value, gate = self.inner(self.norm(before)).chunk(2, dim=1)
        return self.scale * self.outer(self.dropout(value * F.gelu(gate)))


class Levels(nn.Module):
    """z_l = Level_l([z_0 … z_{l-1}]) for l = 1 … n; n = 0: z_0 alone.

    Source: dense connections, Huang et al. 2017 (https://arxiv.org/abs/1608.06993), eq. 2.
    Shapes: (B, size) -> list of n + 1 of (B, size). Cost: grows with n²: B · hidden · size · (n² + 2 n).
    """

    def __init__(self, n: int, size: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level((number + 1) * size, hidden, size, dropout) for number in range(n))

    def forward(self, first: Tensor) -> list[Tensor]:
        made = [first]
        for level in self.levels:
            made.append(level(torch.cat(made, 1)).float())
        return made
