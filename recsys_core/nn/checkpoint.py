"""Training as it stood after a pass, on disk: a job that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..data.storage import load_arrays, save_arrays

SECONDS_BETWEEN = 30.0  # without an improvement
SECONDS_AT_LEAST = 1.0  # also between improvements: passes of a few milliseconds are cheaper to repeat than to write


class Checkpoint:
    """One safetensors file, replaced as a whole. identity: what must be the same for it to be taken up.

    Chance is seeded a pass, so weights, optimiser, averages and the record so far are all there is to keep.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self.path = None if folder is None else folder / "checkpoint.safetensors"
        self.identity = identity
        self.saved, self.wanted = time.monotonic(), False

    def due(self, improved: bool, last: bool = False) -> bool:
        """Whether to write now: an improvement is to be kept, much time has gone by, or it is the end."""
        self.wanted |= improved
        age = time.monotonic() - self.saved
        return self.path is not None and (last or age >= (SECONDS_AT_LEAST if self.wanted else SECONDS_BETWEEN))

    def save(self, state: dict[str, Any]) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".tmp-{os.getpid()}-{self.path.name}")
        save_arrays(state | {"identity": self.identity}, temporary)
        os.replace(temporary, self.path)
        self.saved, self.wanted = time.monotonic(), False

    def load(self) -> dict[str, Any] | None:
        """What was saved; None when there is nothing, or it is of another training or cannot be read."""
        if self.path is None or not self.path.exists():
            return None
        from safetensors import SafetensorError

        try:
            state = load_arrays(self.path)
        except (OSError, ValueError, KeyError, SafetensorError):
            return None  # half a disk, another version: training starts anew, as it would have without it
        return state if state.get("identity") == self.identity else None


def identity_of(network: nn.Module, *about: Any) -> str:
    """A digest of the weights' names and shapes and of everything else that makes this training this one."""
    shapes = [(name, list(value.shape)) for name, value in network.state_dict().items()]
    told = [asdict(part) if is_dataclass(part) and not isinstance(part, type) else part for part in about]
    return hashlib.blake2b(json.dumps([shapes, told], default=str).encode(), digest_size=12).hexdigest()
