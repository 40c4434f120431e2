"""Which models are worth trying on a dataset, in which order, within a budget of seconds and bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .. import registry
from ..data.dataset import DatasetStats
from ..models._card import block_bytes

log = logging.getLogger(__name__)

# Models that see the data in different ways first: the ways that did well on the data sets of the benchmarks.
FAMILIES = ("Linear", "Neighbourhood", "Matrix factorisation", "Deep")
ORDER = "Sequential"  # the family that only pays where the order of a history says what comes next
# Within a family those that did well come first; what is not named here follows, the quickest first.
PROVEN = ("ease", "item_knn", "als", "mult_vae", "slim", "biased_mf", "lightgcn", "recvae", "user_knn", "bpr", "gmf", "two_tower")
ONE_PART = 0.25  # of the time, at most, is planned for one model
MEMORY = 0.5  # of what is free, at most, is planned for all models together
LEARNING = 0.05  # of the time is kept for choosing among what was tried
SPEED = (0.2, 10.0)  # bounds of how this machine is taken to differ from what the cards expect


@dataclass(frozen=True)
class Trial:
    """A model that may be tried, and what its card expects; memory with its scores, raw and normalised. name: a key, or run:…"""

    name: str
    label: str
    family: str
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Plan:
    """tries: in the order they are tried. skipped: (name, label, why) of models that are not. seconds: of all that could be tried,
    had there been time."""

    tries: list[Trial]
    skipped: list[tuple[str, str, str]]
    seconds: float


def plan(stats: DatasetStats, seconds: float, memory_bytes: int, *, in_order: bool = True) -> Plan:
    """Models of every family in turn, as far as the data have what they need and time and memory allow.

    in_order: whether what is held out came after what is not; else models of what comes next have nothing to say.

    The first of each family comes before the second of any: parts that see the data alike add little to each other.
    """
    able, skipped = _able(stats)
    total = sum(trial.seconds for trial in able)
    tries: list[Trial] = []
    room = MEMORY * memory_bytes
    for trial in in_turn(able):
        if trial.family == ORDER and not in_order:
            skipped.append((trial.name, trial.label, "for what comes next, and the held-out items are not the latest"))
        elif trial.seconds > ONE_PART * seconds:
            skipped.append((trial.name, trial.label, "too long for this budget"))
        elif trial.memory_bytes > room:
            skipped.append((trial.name, trial.label, "no room in memory beside the others"))
        else:
            room -= trial.memory_bytes
            tries.append(trial)
    if not tries and able:  # better late than nothing
        quickest = min(able, key=lambda trial: (trial.seconds, trial.name))
        tries, skipped = [quickest], [s for s in skipped if s[0] != quickest.name]
    return Plan(tries, skipped, total)


def in_turn(trials: list[Trial]) -> list[Trial]:
    """The first of each family, then the second of each, and so on; families that are not in `FAMILIES` after those, quickest first."""
    by_family: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: (PROVEN.index(t.name) if t.name in PROVEN else len(PROVEN), t.seconds, t.name)):
        by_family.setdefault(trial.family, []).append(trial)
    ranks = {family: place for place, family in enumerate(FAMILIES)}
    order = sorted(by_family, key=lambda family: (ranks.get(family, len(ranks)), by_family[family][0].seconds, family))
    rounds = max(map(len, by_family.values()), default=0)
    return [by_family[family][n] for n in range(rounds) for family in order if n < len(by_family[family])]


def _able(stats: DatasetStats) -> tuple[list[Trial], list[tuple[str, str, str]]]:
    """(personal models that can run on such data, what cannot and why). Fusions are none of its models."""
    able, unable = [], []
    for key in registry.keys("model"):
        cls = registry.get("model", key)
        if cls.family == "Fused" or not cls.personalised:
            continue
        if missing := cls.card().missing(stats):
            unable.append((key, cls.label, " and ".join(missing)))
            continue
        try:
            cost = cls().cost(stats)
        except Exception as error:  # a plug-in from outside that cannot say what it costs must not stop the others
            log.warning("%s cannot say what it costs and is not tried: %s", key, error)
            unable.append((key, cls.label, "cannot say how long it takes"))
            continue
        able.append(Trial(key, cls.label, cls.family, cost.seconds, cost.memory_bytes + 2 * block_bytes(stats)))
    return able, unable


@dataclass
class Watch:
    """The budget of a fit, in seconds by the clock, and what the parts tried have taken of it.

    after: how many times larger the whole training set is than the part learnt on: a part will be fitted again on all of it.
    """

    budget: float
    after: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    took: dict[str, float] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # what was tried, with its seconds, in words

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def spent(self) -> float:
        return self.clock() - self.started

    def room(self, kept: list[str]) -> float:
        """Seconds another fit may take so that all kept parts and it can be fitted again within the budget."""
        left = self.budget * (1 - LEARNING) - self.spent - self.after * sum(self.took[name] for name in kept)
        return left / (1 + self.after)

    def likely(self, trial: Trial) -> float:
        """What a trial is likely to take here: what its card expects, times how the others did against theirs."""
        done = [name for name in self.took if self.expected.get(name, 0) > 0]
        speed = (sum(self.took[n] for n in done) + 1) / (sum(self.expected[n] for n in done) + 1)
        return trial.seconds * float(np.clip(speed, *SPEED))


def words(seconds: float) -> str:
    """90 -> '1.5 minutes'."""
    if seconds < 0.05:
        return "under 0.1 seconds"
    if seconds < 10:
        return f"{seconds:.1f} seconds"
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"


__all__ = ["Plan", "Trial", "Watch", "in_turn", "plan", "words"]
