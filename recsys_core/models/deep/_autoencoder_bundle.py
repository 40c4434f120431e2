"""Autoencoders in a form that runs without torch, whole or with factors and units taken out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .._portable import Net, Portable
from .._pruning import best_factors, kept_of, linear, refitted, strongest

if TYPE_CHECKING:
    from torch import nn

LEARNT_FROM = 4_000  # histories by which units are judged


@dataclass(frozen=True, eq=False)
class Layers:
    """What lies between a history and the scores. read (I, w), read_bias (w,); bend: "tanh" or "none", what is done to that;
    middle: modules from (B, w) to (B, d), of which a first or last `nn.Linear` may be changed; output (I, d), output_bias (I,)."""

    read: np.ndarray
    read_bias: np.ndarray
    bend: str
    middle: tuple[nn.Module, ...]
    output: np.ndarray
    output_bias: np.ndarray

    def read_rows(self, rows: sparse.csr_matrix) -> np.ndarray:
        """float32 (B, w): the first layer of these histories, bent."""
        scale = np.maximum(np.diff(rows.indptr), 1) ** -0.5
        x = ((rows @ self.read) * scale[:, None] + self.read_bias).astype(np.float32)
        return np.tanh(x) if self.bend == "tanh" else x

    def tastes(self, rows: sparse.csr_matrix) -> np.ndarray:
        """float32 (B, d)."""
        return _run(self.middle, self.read_rows(rows))


def pack(layers: Layers, settings: dict[str, Any], histories: Callable[[], sparse.csr_matrix]) -> Portable:
    """histories: csr (B, I) of what training users liked, asked for when something is to be taken out."""
    return replace(_whole(layers, settings), prune=lambda share: _whole(thinner(layers, share, histories()), settings))


def thinner(layers: Layers, share: float, rows: sparse.csr_matrix) -> Layers:
    """About the share of the units taken out of every layer that has some.

    Where units are bent, those that say least go and the next layer is fitted anew to the rest; where they are not, they are turned to
    the directions that carry most of the scores, of which the first stay.
    """
    from torch import nn

    middle = list(layers.middle)
    if layers.bend == "tanh" and middle and isinstance(middle[0], nn.Linear):
        active, first = layers.read_rows(rows), middle[0]
        weight, bias = first.weight.detach().numpy(), first.bias.detach().numpy()
        kept = strongest(active, weight, kept_of(len(layers.read_bias), share))
        middle[0] = linear(*refitted(active, weight, bias, kept))
        layers = replace(layers, read=layers.read[:, kept], read_bias=layers.read_bias[kept], middle=tuple(middle))
    tastes = layers.tastes(rows)
    keep = kept_of(tastes.shape[1], share)
    if (layers.bend == "tanh" and not middle) or (middle and isinstance(middle[-1], nn.Tanh)):
        kept = strongest(tastes, layers.output, keep)
        output, output_bias = refitted(tastes, layers.output, layers.output_bias, kept)
        if not middle:
            return replace(layers, read=layers.read[:, kept], read_bias=layers.read_bias[kept], output=output, output_bias=output_bias)
        before = middle[-2]
        middle[-2] = linear(before.weight.detach().numpy()[kept], before.bias.detach().numpy()[kept])
        return replace(layers, middle=tuple(middle), output=output, output_bias=output_bias)
    turn, output, output_bias = best_factors(tastes, layers.output, layers.output_bias, keep)
    if not middle:
        return replace(layers, read=layers.read @ turn, read_bias=layers.read_bias @ turn, output=output, output_bias=output_bias)
    before = middle[-1]
    middle[-1] = linear(turn.T @ before.weight.detach().numpy(), turn.T @ before.bias.detach().numpy())
    return replace(layers, middle=tuple(middle), output=output, output_bias=output_bias)


def _whole(layers: Layers, settings: dict[str, Any]) -> Portable:
    networks = {}
    if layers.middle:
        import torch
        from torch import nn

        networks["middle"] = Net(nn.Sequential(*layers.middle), {"read": torch.randn(1, len(layers.read_bias))}, ("taste",))
    matrices = {"read": layers.read, "read_bias": layers.read_bias, "output": layers.output, "output_bias": layers.output_bias}
    return Portable("autoencoder", matrices, settings | {"bend": layers.bend}, networks)


def _run(modules: tuple[nn.Module, ...], x: np.ndarray) -> np.ndarray:
    if not modules:
        return x
    import torch
    from torch import nn

    with torch.inference_mode():
        return nn.Sequential(*modules).eval()(torch.as_tensor(x)).numpy()
