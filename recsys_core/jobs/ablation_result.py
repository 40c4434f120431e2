"""What an ablation writes down: figures of the variants, what each setting buys, the best, and sentences about what was not done.

result.json: the spec, and
  axes [{"name", "label", "values", "base"}], left_out {name: why}, n_combinations, seeds_used [..], notes [..]
  where {"" (the whole) or a key of PARTS: {"label", "n_users"}}
  variants [{"number", "settings", "state": "done" | "failed" | "not done", "reason", "seconds", "figures": {where: {"ndcg@20": mean}},
             "to_base": {where: {"ndcg@20": Effect}}}]
  effects {where: {"ndcg@20": [Effect: every value against every other, that of the base first]}}
  best {where: {"ndcg@20": number of the variant with the best mean}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import Dataset
from ..evaluation.ablation import MODES, Plan
from ..evaluation.ablation_effects import effects, variants_to_base
from ..evaluation.compare import higher_is_better
from ..splitting._base import PARTS
from .ablation_spec import AblationSpec

if TYPE_CHECKING:
    from .ablation import Trials

WHOLE = "Everything held out"


def result_of(
    spec: AblationSpec, plan: Plan, left_out: dict[str, str], trials: Trials, part: Dataset, n_folds: int, whole: str
) -> dict[str, Any]:
    """See above. part: what the variants learnt from. whole: what they are judged on as a whole."""
    seeds, done = _used(spec, plan, trials)
    values = np.full((len(seeds), len(plan.variants), len(trials.columns), len(trials.users)), np.nan)
    for s, seed in enumerate(seeds):
        for number in done:
            values[s, number] = trials.figures[seed, number]
    where: dict[str, dict[str, Any]] = {}
    told: dict[str, dict[str, Any]] = {"figures": {}, "to_base": {}, "effects": {}, "best": {}}
    for column, name in enumerate(trials.columns):
        place, _, metric = name.rpartition("/")
        own = values[:, :, column]
        n_users = int(np.isfinite(own[:, sorted(done)]).all(axis=(0, 1)).sum())
        where.setdefault(place, {"label": PARTS[place] if place else whole, "n_users": n_users})
        means = {number: float(np.nanmean(own[:, number])) for number in done}
        better = max if higher_is_better(metric) else min
        told["figures"].setdefault(place, {})[metric] = means
        told["to_base"].setdefault(place, {})[metric] = variants_to_base(own, plan, done, metric)
        told["effects"].setdefault(place, {})[metric] = [effect.as_dict() for effect in effects(own, plan, done, metric)]
        told["best"].setdefault(place, {})[metric] = better(means, key=means.get)
    variants = [_variant(number, plan, trials, done, told) for number in range(len(plan.variants))]
    return spec.model_dump(mode="json") | {
        "label": spec.train.title,
        "axes": [axis.as_dict() for axis in plan.axes],
        "left_out": left_out,
        "n_combinations": plan.n_combinations,
        "seeds_used": [spec.train.seed + seed for seed in seeds],
        "where": where,
        "variants": variants,
        "effects": told["effects"],
        "best": told["best"],
        "notes": _notes(spec, plan, trials, seeds, done, part, n_folds),
    }


def _used(spec: AblationSpec, plan: Plan, trials: Trials) -> tuple[list[int], set[int]]:
    """(numbers of the seeds all of whose variants are there, the variants): the first seed as far as it came where none is."""
    wanted = {number for _, number in trials.figures}
    full = [s for s in range(spec.seeds) if all((s, number) in trials.figures for number in wanted)]
    return (full, wanted) if full else ([0], {number for s, number in trials.figures if s == 0})


def _variant(number: int, plan: Plan, trials: Trials, done: set[int], told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    state = "done" if number in done else "failed" if number in trials.failed else "not done"
    seconds = [took for (_, other), took in trials.seconds.items() if other == number]
    out = {
        "number": number,
        "settings": plan.variants[number],
        "state": state,
        "reason": trials.failed.get(number, ""),
        "seconds": float(np.mean(seconds)) if seconds else None,
    }
    if state != "done":
        return out
    out["figures"] = {place: {metric: means[number] for metric, means in of.items()} for place, of in told["figures"].items()}
    out["to_base"] = {
        place: {metric: found[number].as_dict() for metric, found in of.items() if number in found} for place, of in told["to_base"].items()
    }
    return out


def _notes(spec: AblationSpec, plan: Plan, trials: Trials, seeds: list[int], done: set[int], part: Dataset, n_folds: int) -> list[str]:
    n_users = len(trials.users)
    if spec.part == "validation":
        notes = [
            f"Every variant was fitted on {len(part):,} interactions and judged on {n_users:,} validation users cut from the training "
            "part; the test was not read, so choosing by these figures is honest. A variant that stops early does so on the same users."
        ]
    else:
        notes = [
            f"Judged on the test part ({n_users:,} users): a variant chosen by these figures looks a little better in them than it is. "
            "Judge on validation where you mean to choose."
        ]
    if len(seeds) > 1:
        told = ", ".join(str(spec.train.seed + s) for s in seeds)
        notes.append(
            f"Each variant was trained {len(seeds)} times (seeds {told}) on one and the same split; figures are means over them, and "
            "intervals hold the chance of training besides the chance of which users there were."
        )
    else:
        notes.append(
            "One training of each variant: intervals tell of the users only, and a small difference may be the luck of a training."
        )
    if len(seeds) < spec.seeds:
        notes.append(f"Of {spec.seeds} seeds only {len(seeds)} could be finished in the time given; the rest is not used.")
    if plan.mode == MODES[1]:
        notes.append("The effect of a value is averaged over the other settings: it tells nothing of how well two settings go together.")
    missing = [n for n in range(len(plan.variants)) if n not in done and n not in trials.failed]
    if missing:
        why = f"the {spec.minutes:g} minutes were over" if trials.out_of_time else f"at most {spec.most} were asked for"
        notes.append(
            f"{len(missing)} of {len(plan.variants)} variants were not trained: {why}. Those that were are a balanced random part."
            if plan.mode == MODES[1]
            else f"{len(missing)} of {len(plan.variants)} variants were not trained: {why}."
        )
    if trials.failed:
        first = next(iter(trials.failed.values()))
        notes.append(f"{len(trials.failed)} of {len(plan.variants)} variants could not be trained: {first}")
    if n_folds > 1:
        notes.append(f"Of the {n_folds} folds only the first was used.")
    return notes
