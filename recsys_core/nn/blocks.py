"""Building blocks shared by networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batches import Ragged


class MLP(nn.Module):
    """Fully connected layers with an activation (and dropout) between them, none after the last.

    Shapes: (…, sizes[0]) -> (…, sizes[-1]).
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (width_in, width_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            if number:
                layers += [activation(), nn.Dropout(dropout)] if dropout else [activation()]
            layers.append(nn.Linear(width_in, width_out))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class BagOfItems(nn.Module):
    """A linear layer read by sparse binary rows: each row is scaled to unit length, then dropped out.

    Equal to `Linear(dropout(normalize(x)))` of the dense row x (dropping a zero changes nothing).
    Shapes: Ragged of B rows over n_items -> (B, width).
    Cost: entries × width multiplications instead of B × n_items × width.
    """

    def __init__(self, n_items: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_items, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = dropout
        nn.init.xavier_normal_(self.weight)

    def forward(self, rows: Ragged) -> Tensor:
        lengths = rows.lengths
        scale = lengths.clamp(min=1).to(self.weight.dtype).rsqrt()
        values = torch.repeat_interleave(scale, lengths, output_size=len(rows.columns))  # (n,)
        values = F.dropout(values, self.dropout, self.training)
        summed = F.embedding_bag(rows.columns, self.weight, rows.offsets, mode="sum", per_sample_weights=values, include_last_offset=True)
        return summed + self.bias  # (B, width)
