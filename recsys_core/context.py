"""What a long computation is told: seed, threads, device; and how it answers: progress, cancel.

There is no global seeding: `ctx.rng("negatives")` is a stream of its own, the same for the same seed
whatever else was drawn. `ctx.check()` is called once a batch and raises `Cancelled`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One step of progress. `fraction` in [0, 1] or None; `metrics` e.g. {"loss": .3, "ndcg@10": .2}."""

    stage: str
    fraction: float | None = None
    message: str = ""
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds_left: float | None = None
    replayed: bool = False  # told again after going on from a checkpoint: it took no time now


def _silent(progress: Progress) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class RunContext:
    """seed: whole number. threads: CPU threads the work may use. device: 'cpu', 'cuda', 'mps', or 'auto', the fastest there is.

    on_progress(Progress) is called by `report`; cancelled() is asked by `check`. workdir: a folder for
    checkpoints (made when one is written), or None. load_run(run_id, which): gives a trained model of the workspace, used by
    fusion to reuse parts (`which` is "final" or "fit"); None outside a workspace. parts: where a search over the settings of a
    fusion keeps its fitted parts, so that only its first trial fits them. cache: a folder for what is costly and depends on content
    alone (text vectors), or None.
    """

    seed: int = 42
    threads: int = 0
    device: str = "cpu"
    on_progress: Callable[[Progress], None] = _silent
    cancelled: Callable[[], bool] = _never
    workdir: Path | None = None
    load_run: Callable[..., Any] | None = None
    parts: dict[Any, Any] | None = field(default=None, compare=False)
    cache: Path | None = None

    @property
    def n_threads(self) -> int:
        """The threads asked for; for 0 the cores this process may use."""
        return self.threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (self.threads or os.cpu_count() or 1)

    def seed_for(self, name: str) -> int:
        """A stable 63-bit seed per (seed, name)."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    def rng(self, name: str):
        """A numpy Generator of its own for `name`."""
        import numpy as np

        return np.random.default_rng(self.seed_for(name))

    def report(self, stage: str, fraction: float | None = None, message: str = "", **more: Any) -> None:
        """Report progress; also a point of cancellation."""
        self.check()
        self.on_progress(Progress(stage, fraction, message, **more))

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.cancelled():
            raise Cancelled()

    def part(self, name: str, start: float, end: float) -> RunContext:
        """A context for one part of the work: its progress is mapped into [start, end] and named. The seed
        stays: a model fitted inside a fusion is the model fitted alone. It has a folder of its own in `workdir`."""

        def forward(p: Progress) -> None:
            inner = 0.0 if p.fraction is None else min(1.0, max(0.0, p.fraction))
            stage = f"{name}: {p.stage}" if p.stage else name
            at = start + inner * (end - start)
            left = p.seconds_left  # of this part: what comes after it goes as fast
            if left is not None and inner < 1:
                left *= (1 - at) / (end - at)
            self.on_progress(replace(p, stage=stage, fraction=at, seconds_left=left))

        folder = None if self.workdir is None else self.workdir / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        return replace(self, on_progress=forward, workdir=folder)


QUIET = RunContext()
