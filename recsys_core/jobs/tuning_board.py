"""What a search writes for pages while it goes on, and how far it says it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..context import Progress
from ..store.files import read_json, write_json
from ..tuning import Objective, Space
from .tune_spec import TuneSpec

if TYPE_CHECKING:
    from ..tuning.study import Search

WRITE_SECONDS = 0.7  # between two writings while nothing but a pass ended
IMPORTANCE_EVERY = 5  # complete trials


@dataclass
class Board:
    """Writes what pages read, and says how far the search is."""

    folder: Path
    spec: TuneSpec
    space: Space
    objectives: tuple[Objective, ...]
    began: float
    before: float
    on_progress: Callable[[Progress], None] = lambda step: None
    weighs: bool = True  # importance is worked out by one process only
    extra: list[str] = field(default_factory=list)
    headline: str = ""
    fraction: float = 0.0
    written: float = 0.0
    spent: float = 0.0  # seconds of writing
    importance: dict[str, float] | None = None
    weighed: int = 0

    def write(self, search: Search, *, at_once: bool = False, final: bool = False) -> None:
        """trials.json and summary.json: when a trial began, else at most every 0.7 s; a search of thousands of quick trials
        writes less often, so that it does not spend more than a fifth of its time on that."""
        from ..tuning import outcome

        begin = time.monotonic()
        busy = self.spent > 0.2 * (time.time() - self.began) + 1.0
        if not final and (busy or (not at_once and begin - self.written < WRITE_SECONDS)):
            return
        if self.weighs:
            complete = sum(t.state.name == "COMPLETE" for t in search.trials())
            if complete != self.weighed and (final or complete >= self.weighed + max(IMPORTANCE_EVERY, self.weighed // 5)):
                self.importance, self.weighed = outcome.importance(search.study, self.spec.train.seed), complete
        with search.lock:  # read and written in one go: nothing older replaces what another process wrote
            found = outcome.rows(search.trials())
            best = outcome.best(found, self.objectives)
            known = (read_json(self.folder / "summary.json") or {}).get("importance") or {}
            summary = {
                "best": best,
                "front": outcome.front(found, self.objectives),
                "importance": self.importance or known,
                "notes": self._notes(found, search),
                "seconds": self.before + time.time() - self.began,
            }
            write_json(self.folder / "trials.json", found)
            write_json(self.folder / "summary.json", summary)
        self.written = time.monotonic()
        self.spent += self.written - begin
        self._say(found, best)

    def hear(self, step: Progress) -> None:
        """Progress of the trial in hand, as progress of the search."""
        if step.fraction is not None and self.spec.n_trials and not self.spec.minutes:
            inner = min(1.0, max(0.0, step.fraction)) / self.spec.n_trials
            self.on_progress(Progress(self.headline, min(0.99, self.fraction + inner), step.stage))
        else:
            self.on_progress(Progress(self.headline, self._fraction(), step.stage))

    def _say(self, found: list[dict[str, Any]], best: int | None) -> None:
        ended = sum(t["state"] != "running" and not t["again"] for t in found)
        running = sum(t["state"] == "running" for t in found)
        of = f" of {self.spec.n_trials}" if self.spec.n_trials else ""
        told = f", best {self.objectives[0].label} {found[best]['values'][0]:.3f}" if best is not None else ""
        self.headline = f"Trial {max(1, ended + running)}{of}{told}"
        self.fraction = ended / self.spec.n_trials if self.spec.n_trials else 0.0
        self.on_progress(Progress(self.headline, self._fraction()))

    def _fraction(self) -> float:
        """Of the budget that is nearer its end."""
        spent = (self.before + time.time() - self.began) / (60 * self.spec.minutes) if self.spec.minutes else 0.0
        return min(0.99, max(self.fraction, spent))

    def _notes(self, found: list[dict[str, Any]], search: Search) -> list[str]:
        """What the search could not do, and what the budget bought."""
        notes = [*((read_json(self.folder / "manifest.json") or {}).get("notes") or []), *self.extra]
        count = {state: sum(t["state"] == state for t in found) for state in ("complete", "pruned", "failed")}
        told = [f"{count['complete']:,} finished", f"{count['pruned']:,} ended early", f"{count['failed']:,} failed or cut off"]
        seconds = self.before + time.time() - self.began
        kept = [text for text in told if not text.startswith("0 ")]
        if kept:
            trials = "1 trial" if len(found) == 1 else f"{len(found):,} trials"
            notes.append(f"{trials} in {_duration(seconds)}: {', '.join(kept)}.")
        finished = [t for t in found if t["state"] == "complete"]
        if self.spec.pruner != "none" and finished and not any(t["curve"] for t in finished):
            notes.append(self._why_not_pruned())
        elif self.spec.pruner != "none" and len(self.objectives) > 1:
            notes.append("With two objectives no trial is ended early: one pass cannot tell which side of the trade it will be on.")
        if self.spec.minutes and not finished and count["failed"]:
            notes.append(f"Not one trial was done in {self.spec.minutes:g} minutes: allow more, or search a lighter model.")
        if search.n_too_large:
            notes.append("Settings that need more memory than is free were not tried.")
        if search.exhausted and self.spec.sampler == "grid":
            n = self.space.n_combinations
            notes.append("The one combination of the grid was tried." if n == 1 else f"All {n:,} combinations of the grid were tried.")
        elif search.exhausted:
            notes.append("The search ended when no settings were left that had not been tried.")
        return notes

    def _why_not_pruned(self) -> str:
        label = self.space.model.label
        if self.space.model.family == "Fused":
            return f"No trial was ended early: {label} is measured once it is whole, not while its parts learn."
        return f"No trial was ended early: {label} tells no {self.objectives[0].label} or the like while it is being fitted."


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
