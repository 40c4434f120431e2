"""Data-parallel training: every process takes its share of a batch, and all take the same step.

Started by torch's own launcher, on one machine or several:

    torchrun --nproc-per-node 2 -m recsys_core train …

Each process has the whole data and the whole network; only gradients travel. A loss that is a mean over
the rows of its batch gives the gradient of the whole batch, up to the order of the sums.
Source: Li et al. 2020, https://arxiv.org/abs/2006.15704 (one all-reduce a step here, without buckets: these networks are small).
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """rank: number of this process. size: processes that train together; 1 = alone, then nothing is sent."""

    rank: int = 0
    size: int = 1

    def share(self, index: Tensor) -> Tensor:
        """This process's rows of a batch; empty when there are fewer rows than processes."""
        return index if self.size == 1 else index[self.rank :: self.size]

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Every gradient becomes the sum over processes. Where nobody has one, it stays None."""
        if self.size == 1:
            return
        import torch.distributed as dist

        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8, device=parameters[0].device)
        dist.all_reduce(has, dist.ReduceOp.MAX)
        wanted = [p for p, some in zip(parameters, has.tolist(), strict=True) if some]
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in wanted])
        dist.all_reduce(flat)
        for parameter, part in zip(wanted, flat.split([p.numel() for p in wanted]), strict=True):
            parameter.grad = part.view_as(parameter)

    def total(self, value: Tensor) -> Tensor:
        """The sum over processes."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(value)
        return value

    def agree(self, value: float, device: torch.device | str = "cpu") -> float:
        """The number the first process has."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        told = torch.tensor([value], dtype=torch.float32 if torch.device(device).type == "mps" else torch.float64, device=device)
        dist.broadcast(told, 0)
        return float(told)


def processes() -> tuple[int, int]:
    """(rank, size) as the launcher told them; (0, 1) without a launcher."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def _leave() -> None:
    """Let go of the group, together with the others: gloo may abort a process whose partner went while it was still connected."""
    import torch.distributed as dist

    if dist.get_backend() == "gloo" and getattr(sys, "last_value", None) is None:  # after an error nobody waits for us there
        with contextlib.suppress(RuntimeError):  # a partner that is gone already is what this waits for
            dist.monitored_barrier(timeout=dt.timedelta(seconds=5))
    dist.destroy_process_group()


def join(device: torch.device) -> Group:
    """The group this process belongs to, joined when first asked; alone without a launcher."""
    rank, size = processes()
    if size == 1:
        return Group()
    import torch.distributed as dist

    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return Group(rank, size)
