"""A network of one user vector and one item vector, and its slope for the user: `nn.interaction.PairNet` in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 2**16  # items scored by the network at once
Layers = tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class PairNetwork:
    """score = product · p + tower(relu(a + tall)²) + bias, of a user [p, a] and N items.

    product (N, f), the weights of the product in it; tall (N, h), the first bias in it; bias (N,); layers: (weight (out, in), bias) of
    the tower, relu between them. Either part may be missing: f = 0, or no layers.
    """

    product: np.ndarray
    tall: np.ndarray
    bias: np.ndarray
    layers: Layers

    def of(self, items: np.ndarray) -> PairNetwork:
        """For some items."""
        tall = self.tall[items] if self.layers else self.tall
        return PairNetwork(self.product[items], tall, self.bias[items], self.layers)

    def scores(self, user: np.ndarray) -> np.ndarray:
        """(N,) of a user (f + h,)."""
        n_factors = self.product.shape[1]
        out = self.product @ user[:n_factors] + self.bias
        if self.layers:
            for at in range(0, len(out), BLOCK):
                out[at : at + BLOCK] += self._read(self.tall[at : at + BLOCK] + user[n_factors:])[-1][:, 0]
        return out

    def scores_kept(self, user: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The same, with what `slope` needs."""
        n_factors = self.product.shape[1]
        out = self.product @ user[:n_factors] + self.bias
        if not self.layers:
            return out, []
        read = self._read(self.tall + user[n_factors:])
        return out + read[-1][:, 0], read

    def slope(self, each: np.ndarray, read: list[np.ndarray]) -> np.ndarray:
        """(f + h,): the slope of Σ each_i · score_i for the user's vector."""
        product = each @ self.product
        if not self.layers:
            return product
        slope = each[:, None]
        for number in reversed(range(len(self.layers))):
            slope = slope @ self.layers[number][0]
            if number:
                slope = slope * (read[number + 1] > 0)
        return np.concatenate([product, (slope * read[0]).sum(0) * 2])

    def _read(self, before: np.ndarray) -> list[np.ndarray]:
        """[what is bent, what every layer reads …, what the last one gives]."""
        bent = np.maximum(before, 0)
        read = [bent, bent * bent]
        for number, (weight, bias) in enumerate(self.layers):
            x = read[-1] @ weight.T + bias
            read.append(np.maximum(x, 0) if number < len(self.layers) - 1 else x)
        return read
