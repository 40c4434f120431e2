"""What was found out about runs and models: studies (tuning) and analyses (curves, robustness, interleaving …)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .entries import Entry
from .files import read_json_cached


@dataclass(frozen=True)
class StudyEntry(Entry):
    """A search over the settings of one model. It is readable while it goes on: files are replaced as a whole.

    Folder: manifest.json (spec, space), journal.log (Optuna's own, several processes append), trials.json, summary.json.
    """

    @property
    def spec(self) -> dict[str, Any]:
        """TuneSpec as it was asked for."""
        return self.manifest.get("spec", {})

    @property
    def dataset_id(self) -> str:
        return str(self.spec.get("train", {}).get("dataset", ""))

    @property
    def model_key(self) -> str:
        return str(self.spec.get("train", {}).get("model", ""))

    @property
    def objectives(self) -> list[str]:
        """One or two metrics: "ndcg@20"."""
        return list(self.spec.get("objectives", []))

    @property
    def space(self) -> list[dict[str, Any]]:
        """What is searched: {"name", "label", "kind": "int" | "float" | "choice", "low", "high", "scale", "values", "default": what
        trial 0 takes, "moved": whether the model's own default lies outside}."""
        return list(self.manifest.get("space", []))

    def trials(self) -> list[dict[str, Any]]:
        """In order: {"number", "state": "running" | "complete" | "pruned" | "failed", "params": {name: value} (what was tried; what is
        not named stays as in the spec), "values": [one for each objective] or None, "seconds", "started", "curve": [{"epoch", "value"}],
        "reason": why it failed, "again": whether it was cut off and is tried again when the search goes on}. Trial 0 is the defaults."""
        return read_json_cached(self.path / "trials.json") or []

    @property
    def best(self) -> dict[str, Any] | None:
        """The complete trial with the best first objective (worked out by the worker: "best" of summary.json); None before one is."""
        number = self._summary.get("best")
        return None if number is None else next((t for t in self.trials() if t["number"] == number), None)

    @property
    def front(self) -> list[int]:
        """Numbers of the trials nothing beats in both objectives; the best alone where there is one objective."""
        return list(self._summary.get("front", []))

    @property
    def importance(self) -> dict[str, float]:
        """Share of the differences between trials each parameter explains, sum 1; {} before there are enough trials."""
        return self._summary.get("importance", {})

    @property
    def notes(self) -> list[str]:
        """Sentences: what the search could not do, what the budget bought."""
        return list(self._summary.get("notes", []))

    @property
    def seconds(self) -> float:
        """How long was searched, all starts together."""
        return float(self._summary.get("seconds") or 0.0)

    @property
    def _summary(self) -> dict[str, Any]:
        return read_json_cached(self.path / "summary.json") or {}


@dataclass(frozen=True)
class AnalysisEntry(Entry):
    """The result of a job that looked at runs: result.json and, where need be, arrays (npz) beside it."""

    @property
    def kind(self) -> str:
        """Which analysis: "diversity", "robustness", …"""
        return str(self.manifest.get("kind", ""))

    @property
    def dataset_id(self) -> str:
        return str(self.manifest.get("dataset", ""))

    @property
    def runs(self) -> list[str]:
        """Ids of the runs it is about; deleting one deletes the analysis."""
        return list(self.manifest.get("runs", []))

    @property
    def payload(self) -> dict[str, Any]:
        """What was asked."""
        return self.manifest.get("payload", {})

    def result(self) -> dict[str, Any]:
        return read_json_cached(self.path / "result.json") or {}

    def file(self, name: str) -> Path:
        return self.path / name
