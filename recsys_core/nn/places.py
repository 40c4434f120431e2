"""Every place of every history as an example: what was read before it, what followed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data.histories import Histories


class Places:
    """Every place of every history but its first item: what was read before it, what followed from there.

    `take` gives rows int64 (B,), the last `length` items before each place (B, length), and the next `targets` items from
    it on (B, targets); `pad` where a history has none. Cost: 40 bytes a place; nothing is copied before it is taken.
    """

    def __init__(self, histories: Histories, length: int, targets: int, pad: int, device: torch.device | str = "cpu") -> None:
        at = np.arange(len(histories.items))
        row = histories.row
        position = at - histories.indptr[row]
        self.at = torch.as_tensor(at[position > 0], device=device)
        self.row = torch.as_tensor(row[position > 0], device=device)
        left = (histories.indptr[row + 1] - at)[position > 0]  # targets from here on
        self.left = torch.as_tensor(left, device=device)
        self.targets = targets
        self.position = torch.as_tensor(position[position > 0], device=device)
        self.items = torch.as_tensor(histories.items.astype(np.int64), device=device)
        self.offsets = torch.arange(-length, targets, device=device)
        self.length, self.pad = length, pad
        self.targets_a_place = float(np.minimum(left, targets).mean()) if len(left) else 0.0

    def __len__(self) -> int:
        return len(self.at)

    def latest(self, n: int) -> Tensor:
        """int64: the numbers of the n last places of every history."""
        return (self.left <= n).nonzero().squeeze(1)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index = index.to(self.at.device)
        inside = (self.offsets >= -self.position[index, None]) & (self.offsets < self.left[index, None])
        where = (self.at[index, None] + self.offsets).clamp(0, len(self.items) - 1)
        found = self.items[where].masked_fill(~inside, self.pad)
        return self.row[index], found[:, : self.length], found[:, self.length :]

    def take_any(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, order being of no account: the first target is the place's own item, all else is drawn from the history.

        What is drawn twice becomes `pad`, so nothing that is read is a target. Chance comes from torch's default generator.
        """
        index = index.to(self.at.device)
        at, position, left = (x[index, None] for x in (self.at, self.position, self.left))
        size = position + left
        lot = (torch.rand(len(index), self.length + self.targets - 1, device=at.device) * size).long().clamp(max=size - 1)
        drawn = torch.cat([at, at - position + lot], 1)  # (B, targets + length)
        again = (drawn[:, :, None] == drawn[:, None, :]).tril(-1).any(2)
        found = self.items[drawn].masked_fill(again, self.pad)
        return self.row[index], found[:, self.targets :], found[:, : self.targets]
