"""Optimisers: dense weights by one fused kernel, large tables row by row where only few rows are touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

OptimizerName = Literal["adam", "adamw", "adagrad", "sgd"]


class Optimizer:
    """What learns, driven as one: the dense weights and, with lazy tables, the tables beside them.

    A lazy table is an embedding whose gradient names only the rows a batch looked up: a step then costs as
    much as the batch has rows, not as the table has. Adam becomes SparseAdam (moments of untouched rows do
    not decay, Kingma & Ba 2015 made lazy as in TensorFlow's LazyAdam); weight decay does not reach lazy tables.
    """

    def __init__(
        self, network: nn.Module, name: OptimizerName, learning_rate: float, weight_decay: float, lazy: Sequence[str] = ()
    ) -> None:
        tables = [network.get_submodule(table) for table in lazy]
        for table in tables:
            table.sparse = True
        rows = [table.weight for table in tables if table.weight.requires_grad]
        named = {id(weight) for weight in rows}
        dense = [p for p in network.parameters() if p.requires_grad and id(p) not in named]
        self.parts: list[torch.optim.Optimizer] = []
        if dense:
            self.parts.append(_dense(name, dense, learning_rate, weight_decay))
        if rows:
            self.parts.append(_lazy(name, rows, learning_rate))
        self.parameters: list[Tensor] = [*dense, *rows]

    def set_rate(self, rate: float) -> None:
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def clip(self, norm: float) -> None:
        clip_gradients(self.parameters, norm)

    def state(self) -> dict[str, Any]:
        """Flat: tensors and numbers by name. Weights have their number in the order of the parts."""
        found: dict[str, Any] = {}
        for number, part in enumerate(self.parts):
            for index, values in part.state_dict()["state"].items():
                found |= {f"{number}.{index}.{name}": value for name, value in values.items()}
        return found

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`, for an optimiser of the same kind over the same network."""
        for number, part in enumerate(self.parts):
            told = part.state_dict()
            inner: dict[int, dict[str, Any]] = {}
            for name, value in state.items():
                owner, index, key = name.split(".", 2)
                if int(owner) == number:
                    inner.setdefault(int(index), {})[key] = value if isinstance(value, int | float) else torch.as_tensor(value).clone()
            part.load_state_dict(told | {"state": inner})


def _dense(name: OptimizerName, weights: list[Tensor], rate: float, decay: float) -> torch.optim.Optimizer:
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
    # torch has the fused Adagrad for the CPU only, and none of the fused kernels on every device.
    fused = weights[0].device.type == "cpu" or (weights[0].device.type == "cuda" and name != "adagrad")
    return kinds[name](weights, lr=rate, weight_decay=decay, fused=fused or None)


def _lazy(name: OptimizerName, tables: list[Tensor], rate: float) -> torch.optim.Optimizer:
    if name in ("adam", "adamw"):
        return torch.optim.SparseAdam(tables, lr=rate)
    if name == "adagrad":
        return torch.optim.Adagrad(tables, lr=rate, foreach=False)
    return torch.optim.SGD(tables, lr=rate, foreach=False)


def clip_gradients(parameters: Iterable[Tensor], norm: float) -> None:
    """Scale all gradients so that their joint L2 norm is at most `norm`; sparse ones count by what they hold."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad)
    values = [g.values() if g.is_sparse else g for g in gradients]
    if values:
        total = torch.stack([torch.linalg.vector_norm(v) for v in values]).norm()
        factor = (norm / (total + 1e-6)).clamp(max=1.0)
        for value in values:
            value.mul_(factor)
