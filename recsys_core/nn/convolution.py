"""Networks that read the last items of a history as a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import Dropout
from .sequences import SequenceNet


class PictureNet(SequenceNet):
    """(B, length) items as a picture (length, d) -> filters -> fully connected, beside the user's vector -> item vectors.

    A horizontal filter of height h slides over h items in a row and gives its largest response; a vertical one
    is a weighted sum of the rows. Places before a short history are rows of zeros, as in the paper.
    The picture is told by the items' own vectors (tied) or by others, the user's part by a second table. n_users = 0: no users.
    Source: Tang & Wang 2018, https://arxiv.org/abs/1809.07426.
    Cost: filters × length³ / 6 × d + (filters × length + vertical × d) × d multiplications a picture.
    """

    def __init__(
        self, n_users: int, n_items: int, length: int, dim: int, horizontal: int, vertical: int, dropout: float, tied: bool = True
    ) -> None:
        super().__init__(n_items, dim, tied=tied, std=dim**-0.5)
        self.length = length
        heights = range(1, length + 1) if horizontal else ()
        self.horizontal = nn.ModuleList([nn.Conv1d(dim, horizontal, height) for height in heights])
        self.vertical = nn.Linear(length, vertical, bias=False) if vertical else None
        self.combine = nn.Linear(horizontal * len(heights) + vertical * dim, dim)
        self.user = nn.Embedding(n_users, dim) if n_users else None
        self.taste = nn.Embedding(n_items, dim) if n_users else None  # what an item is to a user's lasting taste
        for table in (self.user, self.taste):
            if table is not None:
                nn.init.normal_(table.weight, std=dim**-0.5)
        self.dropout = Dropout(dropout)

    def picture(self, items: Tensor) -> Tensor:
        """(B, length) -> (B, d): what the filters see, fully connected."""
        return self.state_after(self.item(items))

    def state_after(self, vectors: Tensor) -> Tensor:
        """Of exactly `length` entries, (B, length, d); padding, a vector of zeros, may be among them."""
        columns = self.dropout(vectors).transpose(1, 2)  # (B, d, L)
        seen = [F.relu(layer(columns)).amax(2) for layer in self.horizontal]  # (B, f) each
        if self.vertical is not None:
            seen.append(self.vertical(columns).flatten(1))  # (B, d v)
        return self.dropout(F.relu(self.combine(self.dropout(torch.cat(seen, 1)))))  # (B, d)

    @property
    def output_table(self) -> Tensor:
        own = super().output_table
        return own if self.taste is None else torch.cat([own, self.taste.weight], 1)  # (I, 2 d)

    def output_vectors(self, items: Tensor) -> Tensor:
        own = super().output_vectors(items)
        return own if self.taste is None else torch.cat([own, F.embedding(items, self.taste.weight)], -1)

    def encode(self, items: Tensor) -> Tensor:
        """(B, L) -> (B, L, d): the picture that ends with each entry."""
        pictures = F.pad(items, (self.length - 1, 0), value=self.pad).unfold(1, self.length, 1)  # (B, L, length)
        return self.picture(pictures.flatten(0, 1)).view(*items.shape, self.dim)

    def last_state(self, items: Tensor) -> Tensor:
        return self.picture(F.pad(items, (self.length, 0), value=self.pad)[:, -self.length :])  # (B, d)
