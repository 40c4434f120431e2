"""Chance, threads and device of a piece of torch work, put back as they were when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import Unsupported


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's default generators start from `seed`; outside, they are as if nothing had been drawn.

    Dropout, reparameterisation and negative samplers all draw from the default generator, so one seed
    an epoch makes that epoch repeatable on its own.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not torch.manual_seed: it would also reseed accelerators this work does not use.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


@contextmanager
def cpu_threads(n: int) -> Iterator[None]:
    """Let torch use n CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def find_device(name: str) -> torch.device:
    """The device asked for; Unsupported with what there is when this machine lacks it."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Unsupported(f"Unknown device '{name}'.", "Devices are cpu, cuda and mps.") from None
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, False):
        there = ", ".join(kind for kind, here in present.items() if here)
        raise Unsupported(f"The device '{name}' is not available on this machine.", f"Available: {there}.")
    return device
