"""A job as the app sees it: read from its folder, never changed through this handle.

Folder: spec.json (JobSpec), state.json (by the queue until the worker starts, by the worker until it
ends, by the queue after), process.json, progress.jsonl (appended), heartbeat (touched), log.txt, checkpoints/.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.files import json_object, read_json, read_json_cached, tail_lines
from .process import is_alive, is_here
from .spec import ENDED, JobSpec, State, TrainSpec

CHECKPOINTS = "checkpoints"  # folder inside the job's; gone when the job is done
SILENT_SECONDS = 60  # a job of another machine without a heartbeat for this long is lost


@dataclass(frozen=True)
class Job:
    """A snapshot; get a new one from the queue to see what changed."""

    path: Path
    spec: JobSpec
    status: dict[str, Any]  # state.json

    @classmethod
    def read(cls, path: Path) -> Job | None:
        """None when the folder is not (yet, or no longer) a job."""
        spec, status = read_json_cached(path / "spec.json"), read_json_cached(path / "state.json")
        if not isinstance(spec, dict) or not isinstance(status, dict):
            return None
        try:
            return cls(path, JobSpec(**spec), status)
        except ValueError:
            return None

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def title(self) -> str:
        return self.spec.title or f"{self.kind} {self.id}"

    @property
    def state(self) -> State:
        return self.status["state"]

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def reason(self) -> str:
        """Why it failed, in one sentence (with what to do, where known)."""
        return str(self.status.get("reason", ""))

    @property
    def submitted(self) -> str:
        return str(self.status.get("submitted", ""))

    @property
    def started(self) -> str:
        return str(self.status.get("started", ""))

    @property
    def finished(self) -> str:
        return str(self.status.get("finished", ""))

    @property
    def seconds(self) -> float | None:
        """How long it has run, or ran; None before it starts."""
        if not self.started:
            return None
        end = dt.datetime.fromisoformat(self.finished) if self.finished else dt.datetime.now(dt.UTC)
        return max(0.0, (end - dt.datetime.fromisoformat(self.started)).total_seconds())

    @property
    def result(self) -> dict[str, Any]:
        """What the handler gave back: {"run": id}, {"dataset": id}, {"export": id}, …"""
        return self.status.get("result") or {}

    @property
    def run_id(self) -> str | None:
        """Of a training job: the id its run has or will have."""
        return self.spec.key if self.kind == "train" else None

    @property
    def train_spec(self) -> TrainSpec | None:
        return TrainSpec(**self.spec.payload) if self.kind == "train" else None

    @property
    def can_continue(self) -> bool:
        """Whether it was stopped after the first checkpoint: run again, it goes on from there."""
        return self.ended and self.state != "done" and (self.path / CHECKPOINTS).is_dir()

    # ---- live ------------------------------------------------------------------------------------
    def progress(self) -> dict[str, Any]:
        """The latest: {"stage", "fraction", "message", "epoch", "epochs", "metrics", "seconds_left", "at"}; {} at first.

        seconds_left: of the whole job, from the share that is done."""
        lines = tail_lines(self.path / "progress.jsonl")
        for line in reversed(lines):
            found = json_object(line)
            if found is not None:
                return found
        return {}

    def curve(self) -> list[dict[str, Any]]:
        """One entry an epoch so far: {"epoch", "at", …metrics}."""
        try:
            lines = (self.path / "progress.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        steps = [step for step in map(json_object, lines) if step is not None]
        return epochs_of(steps)

    def log(self, last: int = 200) -> str:
        """The end of the log, with the traceback of a failure."""
        return "\n".join(tail_lines(self.path / "log.txt", 200_000)[-last:])

    @property
    def process(self) -> dict[str, Any]:
        """{"pid", "started", "host", "boot"}, or {} before it was started."""
        return read_json(self.path / "process.json") or {}

    def heartbeat_age_seconds(self) -> float:
        try:
            return max(0.0, time.time() - (self.path / "heartbeat").stat().st_mtime)
        except OSError:
            return float("inf")

    def is_running(self) -> bool:
        """Whether its process is really there. On another machine only the heartbeat can tell."""
        who = self.process
        if who and is_here(who):
            return is_alive(who)
        since = self.seconds or 0.0
        return min(self.heartbeat_age_seconds(), since) < SILENT_SECONDS


def epochs_of(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last progress step of every epoch that carries metrics, phases of fitting kept apart by `stage`.

    replayed: true where the epoch was done before the training went on from a checkpoint; absent otherwise."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for step in steps:
        if step.get("epoch") is not None and step.get("metrics"):
            key = (str(step.get("stage", "")), int(step["epoch"]))
            about = {"stage": key[0], "epoch": key[1], "at": step.get("at")} | ({"replayed": True} if step.get("replayed") else {})
            found[key] = found.get(key, {}) | about | step["metrics"]
    return list(found.values())
