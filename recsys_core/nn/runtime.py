"""Chance, threads and device of a piece of torch work, put back as they were when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

from ..errors import Unsupported

Precision = Literal["fastest", "float32", "bfloat16"]


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's default generators start from `seed`; outside, they are as if nothing had been drawn.

    Dropout, reparameterisation and negative samplers all draw from the default generator, so one seed
    an epoch makes that epoch repeatable on its own.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_devices(seed, device)
        yield


def seed_devices(seed: int, device: torch.device) -> None:
    """Seed the CPU's and the device's default generators."""
    # Not torch.manual_seed: it would also reseed accelerators this work does not use.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def cpu_threads(n: int) -> Iterator[None]:
    """Let torch use n CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Inside, matrix products and the like are computed in the precision; weights and sums of losses stay float32.

    fastest: bfloat16 where it is faster: on GPUs that have it and on CPUs with matrix tiles for it (AMX). A CPU
    with vector instructions for it alone gains nothing on networks of this size (benchmarks/training_techniques.py).
    """
    if precision == "fastest":
        wide = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        wide = wide or (device.type == "cpu" and torch.cpu._is_amx_tile_supported())
        precision = "bfloat16" if wide else "float32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def find_device(name: str) -> torch.device:
    """The device asked for; Unsupported with what there is when this machine lacks it. auto: the fastest there is."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, here in present.items() if here)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Unsupported(f"Unknown device '{name}'.", "Devices are auto, cpu, cuda and mps.") from None
    if not present.get(device.type, False):
        there = ", ".join(kind for kind, here in present.items() if here)
        raise Unsupported(f"The device '{name}' is not available on this machine.", f"Available: {there}.")
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))  # of several processes each has a card of its own
    return device
