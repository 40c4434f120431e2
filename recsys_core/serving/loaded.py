"""Trained models held in memory: loaded when first asked for, the least recently used let go first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ..data.dataset import Dataset
from ..errors import NotFound
from ..models._base import Recommender
from ..store.entries import RunEntry
from ..store.files import size_bytes
from ..store.workspace import Workspace

# A model in memory against its files: arrays are as large, ids and cached matrices come on top.
MEMORY_PER_FILE_BYTE = 1.25


@dataclass
class Slot:
    """One run's place. lock: held while loading and while computing, as models keep caches of their own."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Recommender | None = None
    stamp: tuple[int, int] = (0, 0)
    memory_bytes: int = 0
    load_seconds: float = 0.0


class LoadedModels:
    """At most `budget_bytes` of models, estimated from their files; the one in use always stays."""

    def __init__(self, workspace: Workspace, budget_bytes: int) -> None:
        self.workspace = workspace
        self.budget_bytes = budget_bytes
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._dataset: tuple[str, Dataset] | None = None
        self._dataset_lock = threading.Lock()

    @contextmanager
    def use(self, run_id: str) -> Iterator[Recommender]:
        """The model of a run, for the length of the block. Raises NotFound when there is no such run."""
        plain = run_id.replace("-", "").replace("_", "").isalnum()  # no path leads out of the workspace
        if not plain or not self.workspace.has_run(run_id):
            self.evict([run_id])
            run_id = self.workspace.run(run_id).id  # by name, or NotFound with the closest
        with self._lock:
            slot = self._slots.setdefault(run_id, Slot())
            self._slots.move_to_end(run_id)
        with slot.lock:
            stamp = self._stamp(run_id)
            if slot.model is None or slot.stamp != stamp:
                try:
                    self._load(run_id, slot, stamp)
                except Exception:
                    self.evict([run_id])
                    raise
                self._trim(keep=run_id)
            yield slot.model

    def dataset(self, run: RunEntry) -> Dataset | None:
        """The whole dataset of a run, held-out part and tables included; the last one is kept. None: it is gone."""
        entry = run.dataset
        if entry is None:
            return None
        with self._dataset_lock:
            if self._dataset is None or self._dataset[0] != entry.id:
                self._dataset = None  # before the next is read: never two at once
                self._dataset = (entry.id, entry.load())
            return self._dataset[1]

    def _stamp(self, run_id: str) -> tuple[int, int]:
        """Tells a model that was trained again from the one in memory."""
        try:
            status = (self.workspace.run_folder(run_id) / "model" / "model.json").stat()
        except FileNotFoundError:
            raise NotFound(f"The run '{run_id}' has no saved model.", "Train it again.") from None
        return status.st_mtime_ns, status.st_ino

    def _load(self, run_id: str, slot: Slot, stamp: tuple[int, int]) -> None:
        start = time.perf_counter()
        entry = self.workspace.run(run_id)
        slot.memory_bytes = int(MEMORY_PER_FILE_BYTE * size_bytes(entry.path / "model"))
        slot.model = entry.model("final")
        # The first answer would pay for what a model and its data build when first needed.
        train = slot.model.fitted
        slot.model.recommend(np.array([int(train.user[0]) if len(train) else -1]), 1)
        slot.model.recommend_for_history(train.histories(np.zeros(1, np.int64)), 1)
        slot.stamp = stamp
        slot.load_seconds = time.perf_counter() - start

    def _trim(self, keep: str) -> None:
        with self._lock:
            for run_id in list(self._slots):
                if sum(slot.memory_bytes for slot in self._slots.values()) <= self.budget_bytes:
                    return
                if run_id != keep:
                    del self._slots[run_id]  # who is computing with it keeps it until done

    def evict(self, run_ids: list[str] | None = None) -> int:
        """Let go of some runs, or of all; how many were held."""
        with self._lock:
            gone = [run_id for run_id in (list(self._slots) if run_ids is None else run_ids) if run_id in self._slots]
            for run_id in gone:
                del self._slots[run_id]
        return len(gone)

    def describe(self) -> list[dict]:
        """What is held, least recently used first."""
        with self._lock:
            return [
                {"run": run_id, "model": slot.model.key, "memory_bytes": slot.memory_bytes, "load_seconds": slot.load_seconds}
                for run_id, slot in self._slots.items()
                if slot.model is not None
            ]
