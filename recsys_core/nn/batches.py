"""Batches as index arrays: what the training loop walks over. No DataLoader, no Python loop over rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


class IndexBatches:
    """A new random order of 0 … n-1 every epoch, cut into batches.

    The order is drawn from torch's default generator when the epoch starts (the loop has seeded it), so
    any epoch can be repeated alone. The last batch may be smaller.
    Shapes: yields int64 (B,). Cost: one permutation of n an epoch.
    """

    def __init__(self, n: int, batch_size: int) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"batches need n >= 1 and batch_size >= 1; got n={n}, batch_size={batch_size}")
        self.n, self.batch_size = n, batch_size

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.randperm(self.n).split(self.batch_size)


@dataclass(frozen=True)
class Ragged:
    """Some rows of a sparse binary matrix. columns: int64 (n,); offsets: int64 (B + 1,)."""

    columns: Tensor
    offsets: Tensor

    @property
    def lengths(self) -> Tensor:
        return self.offsets.diff()

    @property
    def rows(self) -> Tensor:
        """int64 (n,): the row of every entry."""
        return torch.repeat_interleave(self.lengths, output_size=len(self.columns))

    def __len__(self) -> int:
        return len(self.offsets) - 1


class SparseRows:
    """A csr matrix held as tensors, of which batches of rows are taken.

    Cost: 8 bytes an entry; taking rows copies their column numbers, nothing is made dense.
    """

    def __init__(self, matrix: sparse.csr_matrix, device: torch.device | str = "cpu") -> None:
        self.n_rows, self.n_columns = matrix.shape
        self.columns = torch.as_tensor(matrix.indices.astype(np.int64), device=device)
        self.offsets = torch.as_tensor(matrix.indptr.astype(np.int64), device=device)

    def __len__(self) -> int:
        return self.n_rows

    def take(self, index: Tensor) -> Ragged:
        """Rows by number, in that order."""
        index = index.to(self.offsets.device)
        lengths = self.offsets[index + 1] - self.offsets[index]
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=lengths.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        total = int(offsets[-1])
        shift = torch.repeat_interleave(self.offsets[index] - offsets[:-1], lengths, output_size=total)
        return Ragged(self.columns[torch.arange(total, device=shift.device) + shift], offsets)

    def all(self) -> Ragged:
        return Ragged(self.columns, self.offsets)
