"""The search: which point is tried next, and what becomes of it. Any number of processes may work on one study.

Everything that decides is done under the study's one lock: so no point is given out twice, the budget is met exactly, and with
one process the same seed tries the same points. A trial whose process died is marked failed and its point given out again.
"""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from ..context import RunContext
from ..errors import Cancelled, Unsupported, WorkbenchError
from ..params import Params
from .journal import Journal
from .objective import Objective
from .outcome import ABOUT, CURVE, END, POINT
from .pruning import TimeUp, Watch, make_pruner
from .space import Space
from .trial import Task

NAME = "study"
STARTUP = 8  # trials drawn at random before the sampler has something to learn from
DRAWS = 50  # how often a point that was tried already, or cannot be, is drawn again
DEATHS = 2  # processes a point may cost before it is left alone
CURVE_SECONDS = 2.0  # between two writings of a curve that Optuna does not keep
HOPELESS = 3  # trials that fail before any succeeds: the search ends with their reason

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass
class Search:
    """folder: where journal.log is. who: what this process is known by; alive(who): whether one that was noted still runs.

    too_large(params): whether there is no memory for these settings; such points are not tried (`n_too_large` drawn so far).
    tell(at_once): called when there is something to show: a trial that began (at once), or a pass that ended. seed: of the points
    that are tried.
    """

    folder: Path
    space: Space
    task: Task
    sampler: str
    pruner: str
    seed: int
    who: dict[str, Any] = field(default_factory=dict)
    alive: Callable[[dict[str, Any]], bool] = bool
    tell: Callable[[bool], None] = lambda at_once: None
    too_large: Callable[[Params], bool] = lambda params: False

    def __post_init__(self) -> None:
        journal = Journal(self.folder / "journal.log")
        self.lock = journal.guard
        with self.lock:
            self.study = optuna.create_study(
                storage=optuna.storages.JournalStorage(journal),
                study_name=NAME,
                load_if_exists=True,
                directions=[o.direction for o in self.objectives],
                pruner=make_pruner(self.pruner),
            )
        self.n_too_large = 0
        self.exhausted = False  # whether there was nothing left that had not been tried
        self.distributions = {d.name: _distribution(d) for d in self.space.dimensions}
        if self.sampler == "grid":
            self.space.require_grid()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.task.objectives

    def trials(self) -> list[FrozenTrial]:
        """All so far, of every process."""
        return self.study.get_trials(deepcopy=False)

    # ---- which point -----------------------------------------------------------------------------
    def next(self, n_trials: int) -> optuna.Trial | None:
        """The next trial, its point given out to nobody else; None when the budget (0 = none) or the space is used up."""
        with self.lock:
            self._bury()
            trials = self.trials()
            if not any(t.state == TrialState.WAITING for t in trials):
                if n_trials and sum(counts(t) for t in trials) >= n_trials:
                    return None
                found = self._point(trials)
                if found is None:
                    self.exhausted = True
                    return None
                tokens = {d.name: d.encode(found["params"][d.name]) for d in self.space.dimensions}
                self.study.enqueue_trial(tokens, user_attrs={POINT: found})
            trial = self.study.ask(self.distributions)
            trial.set_user_attr(ABOUT, {"process": self.who, "started": _now()})
        return trial

    def again(self) -> bool:
        """Whether a trial was left behind by a process that died: there is work although the budget was given out."""
        with self.lock:
            self._bury()
            return _to_repeat(self.trials()) is not None

    def _bury(self) -> None:
        """Mark the running trials of dead processes as failed."""
        for t in self.trials():
            about = t.user_attrs.get(ABOUT)
            if t.state == TrialState.RUNNING and (about is None or not self.alive(about.get("process", {}))):
                point = t.user_attrs.get(POINT, {})
                deaths = int(point.get("deaths", 0)) + 1
                again = deaths < DEATHS
                reason = "Its process ended before it was done" + ("; its settings are tried again." if again else ", twice.")
                self._finish(t.number, TrialState.FAIL, {"reason": reason, "again": again, "deaths": deaths})

    def _point(self, trials: list[FrozenTrial]) -> dict[str, Any] | None:
        """{"params": …} and why: the defaults first, then what was cut off, then what the sampler says; None = nothing is left."""
        if not trials:
            return {"params": self.space.start}
        cut = _to_repeat(trials)
        if cut is not None:
            deaths = cut.user_attrs[END].get("deaths", 0)
            return {"params": cut.user_attrs[POINT]["params"], "of": cut.number, "deaths": deaths}
        tried = {_key(t.user_attrs[POINT]["params"]) for t in trials if POINT in t.user_attrs}
        return self._grid_point(tried) if self.sampler == "grid" else self._sampled(trials, tried)

    def _grid_point(self, tried: set[str]) -> dict[str, Any] | None:
        """The grid in a random order, so that a budget that ends early has seen all of it thinly."""
        for number in np.random.default_rng(self.seed).permutation(self.space.n_combinations).tolist():
            point = self.space.grid_point(number)
            if _key(point) not in tried and self._possible(point):
                return {"params": point}
        return None

    def _sampled(self, trials: list[FrozenTrial], tried: set[str]) -> dict[str, Any] | None:
        """A point the sampler draws, on a copy of the study, until one comes that is new and can be tried."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            copy = optuna.create_study(directions=[o.direction for o in self.objectives], sampler=self._sampler(len(trials)))
        copy.add_trials([t for t in trials if t.state != TrialState.FAIL and t.params])
        for _ in range(DRAWS):
            drawn = copy.ask(self.distributions)
            point = {d.name: d.decode(drawn.params[d.name]) for d in self.space.dimensions}
            if _key(point) not in tried and self._possible(point):
                return {"params": point}
        return None

    def _possible(self, point: dict[str, Any]) -> bool:
        """Whether these values go together, and into memory."""
        if self.space.problem(point):
            return False
        large = self.too_large(self.space.params(point))
        self.n_too_large += large
        return not large

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Seeded anew for each trial: what was drawn before, here or elsewhere, changes nothing."""
        seed = RunContext(seed=self.seed).seed_for(f"trial {number}") % 2**32
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)

    # ---- one trial -------------------------------------------------------------------------------
    def run(self, trial: optuna.Trial, ctx: RunContext, until: float | None = None) -> None:
        """Fit, measure and write down. Raises TimeUp or Cancelled where it was cut off (its point is tried again when the study
        goes on); what goes wrong with the trial itself is its reason for failing, and the search goes on."""
        started = time.monotonic()
        last = [started]
        watch = self._watch(trial, until)

        def on_epoch(curve: list[dict[str, float]]) -> None:
            if not watch.reported and time.monotonic() - last[0] > CURVE_SECONDS:
                last[0] = time.monotonic()
                trial.set_user_attr(CURVE, curve)
            self.tell(False)

        watch.on_epoch = on_epoch
        self.tell(True)
        state, values, end = TrialState.FAIL, None, {}
        try:
            point = trial.user_attrs[POINT]["params"]
            values = self.task.measure(self.space.params(point), watch.context(ctx))
            state = TrialState.COMPLETE
        except optuna.TrialPruned as error:
            state, end = TrialState.PRUNED, {"reason": str(error)}
        except TimeUp:
            end = {"reason": "The time was up before it was done; it is tried again when the search goes on.", "again": True}
            raise
        except (Cancelled, KeyboardInterrupt, SystemExit):
            end = {"reason": "It was stopped before it was done; it is tried again when the search goes on.", "again": True}
            raise
        except WorkbenchError as error:
            end = {"reason": str(error)}
        except MemoryError:
            end = {"reason": "It ran out of memory."}
        except Exception as error:  # one trial's fault ends that trial; the log has where
            traceback.print_exc()
            end = {"reason": f"It stopped with an unexpected error ({type(error).__name__}: {str(error)[:200]})."}
        finally:
            curve = watch.curve if watch.curve and not watch.reported else None
            self._finish(trial.number, state, end | {"seconds": time.monotonic() - started}, values, curve)

    def _watch(self, trial: optuna.Trial, until: float | None) -> Watch:
        single = self.space.model.family != "Fused"
        prunes = single and self.pruner != "none" and len(self.objectives) == 1
        return Watch(
            self.objectives[0], trial if len(self.objectives) == 1 and single else None, single, prunes and trial.number > 0, until
        )

    def _finish(
        self, number: int, state: TrialState, end: dict[str, Any], values: list[float] | None = None, curve: list[Any] | None = None
    ) -> None:
        """Write down how a trial ended, unless another process gave it up meanwhile."""
        with self.lock:
            frozen = self.trials()[number]
            if frozen.state.is_finished():
                return
            for name, value in ({END: end} | ({CURVE: curve} if curve else {})).items():
                self.study._storage.set_trial_user_attr(frozen._trial_id, name, value)
            self.study.tell(number, values if state == TrialState.COMPLETE else None, state=state)

    # ---- all of them -----------------------------------------------------------------------------
    def loop(self, n_trials: int, ctx: RunContext, until: float | None = None) -> None:
        """Trials until the budget is used up. Raises Unsupported when none can succeed."""
        try:
            while not self._too_late(until):
                ctx.check()
                self.require_hope()
                trial = self.next(n_trials)
                if trial is None:
                    return
                self.run(trial, ctx, until)
        except TimeUp:
            return
        finally:
            self.tell(True)

    def require_hope(self) -> None:
        """Raise Unsupported, with the reason of the first, when the first trials all failed by themselves."""
        ended = [t for t in self.trials() if t.state.is_finished() and counts(t)]
        if len(ended) >= HOPELESS and all(t.state == TrialState.FAIL for t in ended):
            raise Unsupported(f"The first {len(ended)} trials failed. {ended[0].user_attrs.get(END, {}).get('reason', '')}")

    def _too_late(self, until: float | None) -> bool:
        """Whether the time is up, or what is left is too short for half of what a trial usually takes."""
        if until is None:
            return False
        took = [t.user_attrs[END]["seconds"] for t in self.trials() if t.state == TrialState.COMPLETE and END in t.user_attrs]
        return time.time() + (0.5 * float(np.median(took)) if took else 0.0) >= until


def counts(trial: FrozenTrial) -> bool:
    """Whether it uses up budget: one that was cut off and is tried again does not."""
    return not (trial.state == TrialState.FAIL and trial.user_attrs.get(END, {}).get("again"))


def _to_repeat(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The first trial that was cut off and has not been tried again."""
    done = {t.user_attrs.get(POINT, {}).get("of") for t in trials}
    return next((t for t in trials if not counts(t) and t.number not in done and POINT in t.user_attrs), None)


def _distribution(d: Any) -> optuna.distributions.BaseDistribution:
    if d.kind == "choice":
        return optuna.distributions.CategoricalDistribution(d.tokens)
    log = d.scale == "log" and math.isfinite(d.low) and d.low > 0
    if d.kind == "int":
        return optuna.distributions.IntDistribution(int(d.low), int(d.high), log=log)
    return optuna.distributions.FloatDistribution(float(d.low), float(d.high), log=log)


def _key(point: dict[str, Any]) -> str:
    import json

    return json.dumps(point, sort_keys=True)


def _now() -> str:
    import datetime as dt

    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
