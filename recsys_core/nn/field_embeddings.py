"""Fields of a table as vectors, each by an encoder made for its kind, and the gate that weighs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from .blocks import MLP

BAGS = frozenset({"categorical", "multi_valued"})  # kinds whose values each have a vector; all others are numbers
PROJECTED = frozenset({"text", "vector"})  # kinds that are vectors already
NUMBERS_HIDDEN = 16  # hidden units of the small network that reads a field of numbers


@dataclass(frozen=True)
class Layout:
    """What the columns of an encoded table are. field: (n_features,) ascending; kinds: of each field."""

    field: np.ndarray
    kinds: tuple[str, ...]

    @property
    def bags(self) -> list[int]:
        return [f for f, kind in enumerate(self.kinds) if kind in BAGS]

    @property
    def numbers(self) -> list[int]:
        return [f for f, kind in enumerate(self.kinds) if kind not in BAGS]

    def span(self, number: int) -> slice:
        return slice(*(int(x) for x in np.searchsorted(self.field, [number, number + 1])))


class Batch(NamedTuple):
    """Some rows: indices and amounts of the values of every (row, field of categories), and the numbers of the other fields."""

    columns: Tensor  # int64 (m,)
    amounts: Tensor  # float (m,)
    bounds: Tensor  # int64 (B · bags + 1,)
    numbers: Tensor  # float (B, n)


class FieldRows(nn.Module):
    """An encoded table as index and float arrays, made once; batches of rows are taken by one indexing.

    They are constants and no part of the state dict. Shapes: take int64 (B,) -> `Batch`. Cost: 12 bytes a value of categories, 4
    bytes a number.
    """

    def __init__(self, table: sparse.csr_matrix, layout: Layout) -> None:
        super().__init__()
        n = self.n_rows = table.shape[0]
        self.n_bags = len(layout.bags)
        is_bag = np.isin(layout.field, layout.bags)
        bags = sparse.csr_matrix(table[:, is_bag])
        bags.sort_indices()
        place = np.searchsorted(np.asarray(layout.bags, np.int64), layout.field[is_bag])
        bag = np.repeat(np.arange(n), np.diff(bags.indptr)) * self.n_bags + place[bags.indices]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(bag, minlength=n * self.n_bags))])
        constants = {
            "columns": torch.as_tensor(bags.indices.astype(np.int64)),
            "amounts": torch.as_tensor(bags.data.astype(np.float32)),
            "bounds": torch.as_tensor(bounds.astype(np.int64)),
            "numbers": torch.as_tensor(table[:, ~is_bag].toarray().astype(np.float32)),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def take(self, rows: Tensor) -> Batch:
        numbers = self.numbers[rows]
        bag = (rows[:, None] * self.n_bags + torch.arange(self.n_bags, device=rows.device)).flatten()
        lengths = self.bounds[bag + 1] - self.bounds[bag]
        offsets = torch.zeros(len(bag) + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        shift = torch.repeat_interleave(self.bounds[bag] - offsets[:-1], lengths, output_size=int(offsets[-1]))
        at = torch.arange(len(shift), device=rows.device) + shift
        return Batch(self.columns[at], self.amounts[at], offsets, numbers)


class FieldEmbeddings(nn.Module):
    """A vector for every field: categories are weighted sums of the vectors of their values, numbers go through a small network,
    text and other vectors through a linear map. text: so many leading numbers of a text are read (they are ordered by how much they tell).

    Shapes: `Batch` of B rows -> (B, fields, width). Cost: values × width, numbers × 16 × width.
    """

    def __init__(self, layout: Layout, width: int, dropout: float = 0.0, std: float = 0.1, text: int = 2**20) -> None:
        super().__init__()
        self.bags, self.n_fields = layout.bags, len(layout.kinds)
        self.value = nn.Embedding(int(np.isin(layout.field, layout.bags).sum()), width)
        nn.init.normal_(self.value.weight, std=std)
        self.readers = nn.ModuleList(_reader(layout, f, width, dropout, std, text) for f in layout.numbers)
        sizes = [layout.span(f).stop - layout.span(f).start for f in layout.numbers]
        ends = np.cumsum(sizes, dtype=np.int64)
        self.spans = [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]
        order = np.argsort(np.array([*layout.bags, *layout.numbers], dtype=np.int64))
        self.register_buffer("order", torch.as_tensor(order), persistent=False)

    def forward(self, rows: Batch) -> Tensor:
        parts: list[Tensor] = []
        n, width = len(rows.numbers), self.value.embedding_dim
        if self.bags:
            options = {"mode": "sum", "include_last_offset": True}
            summed = F.embedding_bag(rows.columns, self.value.weight, rows.bounds, per_sample_weights=rows.amounts, **options)
            parts.append(summed.view(n, len(self.bags), width))
        parts += [read(rows.numbers[:, span])[:, None] for read, span in zip(self.readers, self.spans, strict=True)]
        return torch.cat([part.float() for part in parts], 1)[:, self.order] if parts else rows.numbers.new_zeros(n, 0, width)


class Leading(nn.Module):
    """The first n of the numbers, and the last one, which says that there is none. Shapes: (B, size) -> (B, n + 1)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, numbers: Tensor) -> Tensor:
        return torch.cat([numbers[:, : self.n], numbers[:, -1:]], 1)


def _reader(layout: Layout, number: int, width: int, dropout: float, std: float, text: int) -> nn.Module:
    size = layout.span(number).stop - layout.span(number).start
    if layout.kinds[number] == "text" and text < size - 1:
        project = nn.Linear(text + 1, width, bias=False)
        nn.init.normal_(project.weight, std=std)
        return nn.Sequential(Leading(text), nn.Dropout(dropout), project)
    if layout.kinds[number] in PROJECTED:
        project = nn.Linear(size, width, bias=False)
        nn.init.normal_(project.weight, std=std)
        return nn.Sequential(nn.Dropout(dropout), project)
    network = MLP([size, NUMBERS_HIDDEN, width], nn.GELU)
    nn.init.normal_(network.layers[-1].weight, std=std)
    nn.init.zeros_(network.layers[-1].bias)
    return network


class FieldGate(nn.Module):
    """Adaptive feature extraction: how much each field counts, for each row by what it says there.

    gate = present fields · softmax(w_f · e_f / √d + b_f): 1 for every field to begin with, so that the sum of the gated fields starts
    as their plain sum. Fields that are not there get 0 and are not seen. A field is judged by its own vector alone: a gate
    that reads all fields at once learns single items by heart.
    Source: attention over fields, Xiao et al. 2017 (https://arxiv.org/abs/1708.04617), of single fields instead of pairs.
    Shapes: fields (B, F, d), there bool (B, F) -> (B, F). Cost: B · F · d.
    """

    def __init__(self, n_fields: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.weight = nn.Parameter(torch.zeros(n_fields, width))
        self.bias = nn.Parameter(torch.zeros(n_fields))

    def forward(self, fields: Tensor, there: Tensor) -> Tensor:
        logits = (self.norm(fields) * self.weight).sum(2) / fields.shape[2] ** 0.5 + self.bias
        return logits.float().masked_fill(~there, -1e9).softmax(1) * there.sum(1, keepdim=True) * there


def shares(gates: Tensor, fields: Tensor) -> Tensor:
    """(B, F): the part of each field in what enters the levels, by size: gate × length of its vector; a row adds up to 1."""
    sizes = gates * fields.norm(dim=2)
    return sizes / sizes.sum(1, keepdim=True).clamp(min=1e-12)


def kinds_of(fields: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(kind for _, kind in fields)
