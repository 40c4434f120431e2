"""Dropout that costs little on a CPU, where drawing one random number an entry is a quarter of a small Transformer's time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """`F.dropout`, drawn eight entries at a time: a random byte each decides.

    Differs from torch: on the CPU the share kept is rounded to a 256th (and scaled by what it then is, so the
    expectation is exact). On other devices it is torch's own. Chance comes from torch's default generator.
    Cost: a quarter of the time of `F.dropout` forward and backward (200,000 floats: 0.6 instead of 2.6 ms).
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate, training)
    kept = max(1, round((1 - rate) * 256))
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    lot = words.view(torch.uint8)[: x.numel()].view(x.shape)
    return x * ((lot < kept) * (256 / kept)).to(x.dtype)


class Dropout(nn.Module):
    """`dropout` as a module."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.rate, self.training)
