"""A fusion that finds its own parts: tries models while there is time, keeps those that help, and says what it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..context import RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.holdout import Holdout
from ..errors import Cancelled, Unsupported, WorkbenchError
from ..free_memory import available_bytes
from ..models._base import Cost, Recommender, Source
from ..models._card import block_bytes
from ..params import param
from ._base import LEARN_K, LEARN_USERS
from ._linear import LinearFusion
from ._normalise import Normalisation, normalise
from ._parts import RUN, FusionParams
from ._plan import FAMILIES, Plan, Trial, Watch, plan, words
from ._selection import HALVES, HEDGE, Choice, choose, stoppers_and_judges
from ._weights import Candidates, collect

DEPTH = 60  # how many items of each part may enter a held-out user's list


class AutoFusion(LinearFusion):
    """Tries the models this dataset's size and fields allow, drops what does not help, weighs the rest.

    Held-out users are parted: some say when networks stop, the others choose among the parts. Runs that are networks have stopped
    already, on all of these users, which is a little kind to them.
    Every part is fitted on an earlier part of train while there is time to fit it and what is kept once more on all of train;
    then forward selection on many halves of the held-out users says which parts stay and how much each counts
    (`_selection.choose`). Scores are added as in a weighted fusion. Time decides only which models are tried: with enough of it
    the same seed gives the same fusion.
    Source: Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble selection from libraries of models", ICML 2004.
    Differs: bags are halves of the users, a newcomer is judged on users its share was not chosen on, and the library is planned
    from the models' own cards within a budget.
    Cost: up to `minutes` by the clock, the fit on all of train included.
    """

    key = "auto_fusion"
    label = "Automatic fusion"
    summary = "Give it some minutes: it trains models of different kinds, keeps those that help one another, and says which and why."
    source = Source("Caruana et al., Ensemble selection from libraries of models, ICML 2004", "https://doi.org/10.1145/1015330.1015432")
    chooses_models: ClassVar[bool] = True

    class Params(FusionParams):
        models: list[str] = param(
            [],
            label="Models to choose from",
            help="Leave empty to let it choose by itself; or keys such as ease, or run:… for models that are trained already.",
        )
        minutes: float = param(
            5.0,
            label="Minutes",
            help="How long the whole training may take, by the clock. More minutes let more and larger models be tried.",
            gt=0,
            le=1440,
            fast=1.0,
            thorough=30.0,
        )
        normalization: Normalisation = param(
            "z",
            label="Score scale",
            help="How scores are made comparable. z: distance from the user's mean score; minmax: the lowest is 0, the "
            "highest 1; rank: the order alone.",
            advanced=True,
        )

    clock: Callable[[], float] = staticmethod(time.monotonic)
    spent: float = 0.0  # by the fusion this one is refitted for

    # ---- what is learnt --------------------------------------------------------------------------
    def learns(self) -> bool:
        return True

    def part_names(self) -> list[str]:
        return list(self.learnt.get("models") or self.params.models)

    def refit_params(self) -> Any:
        return super().refit_params().with_(models=self.part_names())

    def part_weights(self) -> np.ndarray:
        return np.asarray(self.learnt["weights"], dtype=float)

    def findings(self) -> dict[str, Any]:
        """Beside the parts, with what each reached alone: "steps", sentences on what was done and why, and "dropped"."""
        found = super().findings()
        for part, alone, helped in zip(found["parts"], self.learnt["alone"], self.learnt["helped"], strict=True):
            part |= {"alone": float(alone), "helped": float(helped)}
        return found | {name: self.learnt[name] for name in ("steps", "dropped", "judged")}

    def for_refit(self) -> Recommender:
        other = super().for_refit()
        other.spent = self.spent
        return other

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        start = self.clock()
        self.steps: list[str] = []
        self.dropped: list[dict[str, Any]] = []
        self._settled: tuple[str, ...] = ()
        super()._fit(data, ctx, validation)
        took = self.clock() - start
        if self.inherited:
            self.notes.append(
                f"The whole training took {words(self.spent + took)} of the {words(60 * self.params.minutes)} allowed, "
                f"{words(took)} of it to train what was chosen on all training data."
            )
        self.spent += took

    # ---- trying ----------------------------------------------------------------------------------
    def _fit_parts(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> list[Recommender]:
        if validation is None:
            return super()._fit_parts(data, ctx, None)
        planned = self._plan(data.stats, ctx, in_order=validation.comes_after(data))
        stop = any(not t.name.startswith(RUN) and self._part_model(t.name).wants_validation() for t in planned.tries)
        stopping, self._judges = stoppers_and_judges(validation, ctx) if stop else (validation, validation)
        watch = Watch(60 * self.params.minutes, 1 + len(validation.truth) / len(data), self.clock)
        self.parts, self.names = [], []
        self.dropped += [{"name": name, "label": label, "why": why} for name, label, why in planned.skipped]
        done, total = 0.0, sum(trial.seconds for trial in planned.tries) or 1.0
        for trial in planned.tries:
            end = min(1.0, done + trial.seconds / total)
            self._try(trial, data, ctx.part(trial.name, done, end), stopping, watch, limited=len(planned.tries) > 1)
            done = end
        if not self.parts:  # better late than nothing
            quickest = min(planned.tries, key=lambda trial: trial.seconds)
            self.dropped = [entry for entry in self.dropped if entry["name"] != quickest.name]
            self._try(quickest, data, ctx, stopping, watch, limited=False)
        if not self.parts:
            why = "; ".join(f"{entry['label']} {entry['why']}" for entry in self.dropped[-3:])
            raise Unsupported(f"{self.label} could train no model: {why}.", "Give it more minutes, or name models.")
        self._n_tried = len(watch.took)
        self.steps.insert(0, f"Tried {_listed(watch.told)} in {words(watch.spent)}, each trained without the held-out part.")
        if planned.skipped or len(watch.told) < len(planned.tries):
            untried = [entry for entry in self.dropped if entry["name"] not in watch.took]
            self.steps.append(f"Not tried: {_by_reason(untried)}.")
        return self.parts

    def _plan(self, stats: DatasetStats, ctx: RunContext | None, *, in_order: bool = True) -> Plan:
        """The models named, in their order; else those the cards speak for. Without a workspace at hand runs are taken to cost nothing."""
        if not self.params.models:
            return plan(stats, 60 * self.params.minutes, available_bytes(), in_order=in_order)
        parts = {name: self._part_model(name, ctx) for name in self.params.models if ctx is not None or not name.startswith(RUN)}
        costs = {name: part.cost(stats) for name, part in parts.items()}
        tries = [
            Trial(name, p.label, p.family, costs[name].seconds, costs[name].memory_bytes + 2 * block_bytes(stats))
            for name, p in parts.items()
        ]
        return Plan(tries, [], sum(trial.seconds for trial in tries))

    def _try(self, trial: Trial, data: Dataset, ctx: RunContext, validation: Holdout, watch: Watch, *, limited: bool) -> None:
        """Fit one part if there is time for it; give it up when it takes more than there is."""
        ctx.check()
        likely = watch.likely(trial)
        if limited and self.parts and likely > watch.room(self.names):
            self._make_room(ctx)
            if likely > watch.room(self.names):
                self._leave_out(trial, "too little time was left for it")
                return
        start = watch.clock()
        deadline = start + watch.room(self.names) if limited else float("inf")
        inner = replace(ctx, cancelled=lambda: ctx.cancelled() or watch.clock() > deadline)
        try:
            part = self._trained(trial.name, data, inner, validation)
            part = part or self._part_model(trial.name, ctx).fit(data, inner, validation=validation)
        except Cancelled:
            ctx.check()  # by the user
            self._leave_out(trial, f"stopped after {words(watch.clock() - start)}, when no time was left to train it again")
            return
        except WorkbenchError as error:
            if self.params.models:
                raise
            self._leave_out(trial, f"could not be trained: {error.message.rstrip('.')}")
            return
        watch.took[trial.name], watch.expected[trial.name] = watch.clock() - start, trial.seconds
        watch.told.append(f"{trial.label} ({words(watch.took[trial.name])})")
        self.parts.append(part)
        self.names.append(trial.name)

    def _make_room(self, ctx: RunContext) -> None:
        """Drop what does not help so far, so that it need not be trained again; once for every set of parts."""
        if len(self.names) > 1 and tuple(self.names) != self._settled:
            self._keep(choose(self._candidates(ctx), ctx))
            self._settled = tuple(self.names)

    def _leave_out(self, trial: Trial, why: str) -> None:
        self.dropped.append({"name": trial.name, "label": trial.label, "why": why})

    # ---- choosing --------------------------------------------------------------------------------
    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        n_users = min(LEARN_USERS, len(self._judges.users))
        families = [part.family if part.family in FAMILIES else "" for part in self.parts]
        choice = choose(self._candidates(ctx), ctx, families)
        hedge = [self.part_labels()[n] for n in choice.near]
        self._keep(choice)
        kept = choice.chosen
        order = np.argsort(-choice.weights[kept], kind="stable")
        self.parts, self.names = [self.parts[n] for n in order], [self.names[n] for n in order]
        kept = kept[order]
        if told := [entry for entry in self.dropped if "alone" in entry]:
            self.steps.append(f"Dropped, with the NDCG@{LEARN_K} each has alone: {_by_reason(told)}.")
        shares = [f"{label} {choice.weights[n]:.0%}" for label, n in zip(self.part_labels(), kept, strict=True)]
        self.steps.append(
            f"Kept {len(kept)} of {self._n_tried}, chosen and weighed on {HALVES} random halves of {n_users:,} held-out users: "
            f"{', '.join(shares)}."
        )
        if hedge:
            why = "what is best on a part of the data is not always best on all of it"
            self.steps.append(f"Of the weights {HEDGE:.0%} are shared evenly by {_listed(hedge)}, the best of their kinds: {why}.")
        self.steps.append(_verdict(choice))
        self.notes += self.steps
        return {
            "models": self.names,
            "weights": choice.weights[kept],
            "alone": [float(v) for v in choice.alone[kept]],
            "helped": [float(v) for v in choice.helped[kept]],
            "judged": {"together": choice.together, "best_alone": choice.best_alone, "gain": choice.gain, "error": choice.error},
            "steps": self.steps,
            "dropped": self.dropped,
        }

    def _candidates(self, ctx: RunContext) -> Candidates:
        blocks = []
        for rows, given, hidden, relevant, raw in self._held_out_blocks(self._judges, ctx):
            ignore = given.matrix(self.fitted.n_items).toarray().astype(bool)
            scaled = [normalise(scores, self.params.normalization, ignore) for scores in raw]
            blocks.append(collect(scaled, hidden, relevant, LEARN_K, DEPTH, self._order(self._judges, rows)))
        return Candidates.joined(blocks)

    def _keep(self, choice: Choice) -> None:
        """Only the parts that were chosen; why the others go is told."""
        labels = self.part_labels()
        for n in np.flatnonzero(choice.weights == 0):
            times = round(choice.helped[n] * HALVES)
            often = "helped in some halves of the held-out users, too few or too little" if times else "never helped beside the others"
            self.dropped.append(
                {
                    "name": self.names[n],
                    "label": labels[n],
                    "alone": float(choice.alone[n]),
                    "why": often,
                }
            )
        self.parts, self.names = [self.parts[n] for n in choice.chosen], [self.names[n] for n in choice.chosen]

    def cost(self, stats: DatasetStats) -> Cost:
        planned = self._plan(stats, None)
        n_parts = max(1, len(planned.tries) or len(self.params.models))
        quickest = min((trial.seconds for trial in planned.tries), default=0.0)
        learning = 8 * min(LEARN_USERS, stats.n_users) * min(DEPTH * n_parts, stats.n_items) * (n_parts + 1)
        return Cost(
            memory_bytes=sum(trial.memory_bytes for trial in planned.tries) + 4 * block_bytes(stats) + learning,
            seconds=max(min(60 * self.params.minutes, 2 * planned.seconds + 2), 2 * quickest),
            note=f"up to {self.params.minutes:g} minutes, as allowed",
        )


def _verdict(choice: Choice) -> str:
    """What the combination is worth on users it was not chosen on."""
    on = "On held-out users they were not chosen on"
    if len(choice.weights) == 1:
        return "Only one model stood when it came to choosing, so it is used alone."
    if len(choice.chosen) == 1:
        return "No combination was better than the best model by itself on users it was not chosen on, so that model is used alone."
    surely = "" if choice.gain > 2 * choice.error else ", which may be chance"
    return (
        f"{on}, together they reach NDCG@{LEARN_K} {choice.together:.4f} and the best of them alone {choice.best_alone:.4f}: "
        f"{choice.gain:.4f} more, give or take {choice.error:.4f}{surely}."
    )


def _by_reason(entries: list[dict[str, Any]]) -> str:
    """Those of one reason together: "A, B (too long); C (no room)"."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        name = f"{entry['label']} {entry['alone']:.3f}" if "alone" in entry else entry["label"]
        groups.setdefault(entry["why"], []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in groups.items())


def _listed(told: list[str]) -> str:
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
