"""An ablation of the workspace: train the variants of a recommender, keep what is finished, work out what each setting buys.

The figures of every variant are kept in cache/ablation/<dataset>/ by content: a job that was stopped goes on with what is missing, and
a further question (more settings, all combinations, one seed more) trains only what is new.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .. import registry
from ..context import Progress, RunContext
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..errors import BadInput, Cancelled, ParamError, Unsupported, WorkbenchError
from ..evaluation.ablation import Axis, Plan, Settings, axis_of, make_plan
from ..evaluation.ablation_words import settings_text
from ..params import Params, fields
from ..splitting._base import PARTS, Split
from ..store.findings import AnalysisEntry
from ..store.workspace import Workspace
from .ablation_result import WHOLE, result_of
from .ablation_spec import AblationSpec
from .equipped import equipped
from .machine import versions
from .memory import require_memory
from .sources import Fold
from .spec import digest

VARIED = ("int", "float", "bool", "choice", "text")  # kinds of parameters that can be an axis
FEW = 30  # users below which a part is not judged apart


@dataclass
class Trials:
    """What came of the variants. figures: (seed number, variant) -> (M, U); columns, users: what M and U stand for."""

    columns: tuple[str, ...] = ()
    users: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    figures: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    out_of_time: bool = False


@dataclass(frozen=True)
class Judge:
    """Fits a variant and measures it: float (M, U) with the names of its columns and its users."""

    fold: Fold
    spec: AblationSpec
    part: Dataset
    validation: Holdout | None

    @classmethod
    def of(cls, fold: Fold, spec: AblationSpec) -> Judge:
        if spec.part == "test":
            return cls(fold, spec, fold.train, None)
        part, validation = fold.validation(registry.get("model", spec.train.model).judged_on_new(spec.train.model_params()))
        if not len(part) or not len(validation.users):
            raise Unsupported(
                "No validation part could be cut from the training part.", "Use more data, another split, or judge on the test."
            )
        return cls(fold, spec, part, validation)

    def measure(self, model: Any, ctx: RunContext) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        from .training import fit, recommend_test

        if self.validation is not None:
            model.fit(self.part, ctx, validation=self.validation if model.wants_validation() else None)
            train, holdout, split = self.part, self.validation, None
            top = model.recommend_holdout(holdout, self.spec.k)
        else:
            model, _, _ = fit(model, self.fold, ctx, refit=self.spec.train.refit)
            split = self.fold.test()
            train, holdout = split.train, split.test
            top = recommend_test(model, split, self.spec.k)
        found = {"": self._figures(top, holdout, train)}
        for name, part in apart(train, holdout, split).items():
            lists = (
                model.recommend_holdout(part, self.spec.k)
                if split is None
                else recommend_test(model, replace(split, test=part), self.spec.k)
            )
            found[name] = self._figures(lists, part, train)
        users = np.unique(np.concatenate([frame.index.to_numpy(np.int64) for frame in found.values()]))
        columns = tuple(f"{where}/{name}" if where else name for where, frame in found.items() for name in frame.columns)
        return columns, users, np.concatenate([frame.reindex(users).to_numpy(np.float64).T for frame in found.values()])

    def about(self) -> str:
        """What the variants are judged on as a whole."""
        split = self.fold.test() if self.validation is None else None
        train, holdout = (self.part, self.validation) if split is None else (split.train, split.test)
        kind = [bool((np.bincount(train.item, minlength=holdout.truth.n_items) == 0)[holdout.truth.item].all()), holdout.cold]
        return {(True, False): PARTS["new_items"], (False, True): PARTS["new_users"], (True, True): PARTS["new_both"]}.get(
            tuple(kind), WHOLE
        )

    def _figures(self, top: Any, holdout: Holdout, train: Dataset) -> Any:
        from ..metrics import Catalog, evaluate

        return evaluate(top, holdout, Catalog.from_dataset(train), [self.spec.k], metrics=list(self.spec.metrics)).per_user


def apart(train: Dataset, holdout: Holdout, split: Split | None) -> dict[str, Holdout]:
    """What is judged besides the whole: the parts of the split, or else what is held out of items nobody has in `train`, which alone
    are candidates then. Parts with hardly any users are left aside."""
    parts = {name: part for name, part in (split.parts if split is not None else {}).items() if part is not holdout}
    unseen = np.bincount(train.item, minlength=holdout.truth.n_items) == 0
    is_new = unseen[holdout.truth.item]
    if not parts and is_new.any() and not is_new.all():
        allowed = np.flatnonzero(unseen) if holdout.candidates is None else np.intersect1d(np.flatnonzero(unseen), holdout.candidates)
        parts["new_items"] = Holdout(holdout.truth.subset(is_new), holdout.given, allowed.astype(np.int32))
    return {name: part for name, part in parts.items() if len(part.users) >= FEW}


def axes_of(model_cls: Any, params: Params, asked: dict[str, Any], data: Dataset) -> tuple[list[Axis], dict[str, str]]:
    """(axes, name -> why it is left out). asked: {} = those the model names. Raises ParamError for a name or value it does not have."""
    wanted = dict(asked or model_cls.ablation_axes)
    if not wanted:
        raise BadInput(f"{model_cls.label} names no parts that could be taken away.", "Name settings and values: layers=0,1,2")
    described, resolved = {f.name: f for f in fields(model_cls.Params)}, model_cls(params).resolve(data.stats)
    idle, axes, left_out = model_cls.without_effect(resolved, data), [], {}
    for name, values in wanted.items():
        if name in described and described[name].kind not in VARIED:
            raise ParamError(f"'{name}' of {model_cls.label} is {described[name].rule}; only single values can be varied.")
        ready = [getattr(resolved.with_(**{name: value}), name) for value in values]
        if name in idle:
            left_out[name] = idle[name]
        else:
            axes.append(axis_of(name, described[name].label, ready, getattr(resolved, name)))
    if not axes:
        raise BadInput(f"Nothing is left to vary: {' '.join(left_out.values())}", "Name other settings.")
    return axes, left_out


def plan_of(model_cls: Any, params: Params, axes: list[Axis], spec: AblationSpec, data: Dataset, rng: np.random.Generator) -> Plan:
    """The variants of a spec."""

    def same_as(settings: Settings) -> Settings:
        try:
            idle = model_cls.without_effect(model_cls(params.with_(**settings)).resolve(data.stats), data)
        except WorkbenchError:
            return settings  # refused: told when it is its turn
        return settings | {axis.name: axis.base for axis in axes if axis.name in idle}

    return make_plan(axes, spec.mode, same_as, rng)


def ablate(workspace: Workspace, spec: AblationSpec, ctx: RunContext) -> AnalysisEntry:
    """Train what is not known yet, and keep what came out as an analysis. Raises what is wrong with the base itself."""
    from .training import _source

    started = time.perf_counter()
    spec = spec.in_ids(workspace)
    train = spec.train
    ctx = equipped(ctx, workspace, seed=train.seed)
    ctx.report("Reading the data", 0.0)
    model_cls, params, source = registry.get("model", train.model), train.model_params(), _source(workspace, train)
    fold = next(iter(source.folds(ctx)))
    judge = Judge.of(fold, spec)
    axes, left_out = axes_of(model_cls, params, spec.axes, judge.part)
    plan = plan_of(model_cls, params, axes, spec, judge.part, ctx.rng("ablation"))
    require_memory(model_cls, params, judge.part.stats)
    order = list(range(len(plan.variants)))[: spec.most or None]

    def one(number: int, seed: int, part: RunContext) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        varied = params.with_(**plan.variants[number])
        if number:
            require_memory(model_cls, varied, judge.part.stats)
        return judge.measure(model_cls(varied), replace(part, seed=seed))

    same_task = [judge.part.fingerprint, judge.validation.truth.fingerprint if judge.validation is not None else "test"]

    def kept(number: int, seed: int) -> Path:
        varied = params.with_(**plan.variants[number]).model_dump(mode="json")
        told = {"split": train.split_id, "on": same_task, "features": train.features, "model": train.model, "params": varied, "seed": seed}
        told |= {"part": spec.part, "refit": train.refit, "metrics": spec.metrics, "k": spec.k, "code": versions()["recsys_core"]}
        return workspace.root / "cache" / "ablation" / train.dataset / f"{digest(told)}.npz"

    trials = _train(order, [train.seed + n for n in range(spec.seeds)], spec, one, kept, plan, ctx)
    ctx.report("Comparing", 0.99)
    result = result_of(spec, plan, left_out, trials, judge.part, source.n_folds, judge.about())
    result["seconds"] = time.perf_counter() - started
    return workspace.add_analysis(
        "ablation",
        result,
        runs=[spec.run] if spec.run else [],
        dataset=train.dataset,
        payload=spec.model_dump(mode="json"),
        name=spec.title,
        analysis_id=spec.analysis_id,
    )


def _train(
    order: list[int],
    seeds: list[int],
    spec: AblationSpec,
    one: Callable[[int, int, RunContext], tuple[tuple[str, ...], np.ndarray, np.ndarray]],
    kept: Callable[[int, int], Path],
    plan: Plan,
    ctx: RunContext,
) -> Trials:
    """Every variant with the first seed, then with the next, as long as there is time; the base always."""
    out, began, total = Trials(), time.monotonic(), len(order) * len(seeds)
    for s, seed in enumerate(seeds):
        for n, number in enumerate(order):
            at = (s * len(order) + n) / total
            name = f"Training {s * len(order) + n + 1} of {total} ({settings_text(plan.axes, plan.variants[number])})"
            if number in out.failed:
                continue
            try:
                file = kept(number, seed)
            except WorkbenchError as error:  # settings that do not go together
                out.failed[number] = str(error)
                continue
            found = _read(file)
            if found is not None:
                ctx.on_progress(Progress(name, at, replayed=True))
            elif spec.minutes and time.monotonic() - began > 60 * spec.minutes and (s or n):
                out.out_of_time = True
                continue
            else:
                part = ctx.part(name, at, at + 1 / total)
                part = replace(part, workdir=ctx.workdir / file.stem if ctx.workdir else None)
                start = time.perf_counter()
                try:
                    part.report("", 0.0)
                    found = (*one(number, seed, part), time.perf_counter() - start)
                except Cancelled:
                    raise
                except WorkbenchError as error:
                    if not number:
                        raise
                    out.failed[number] = str(error)
                    continue
                _write(file, *found)
            out.columns, out.users, out.figures[s, number], out.seconds[s, number] = found
    return out


def _read(file: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, float] | None:
    """What is kept of a variant; None where nothing is, or nothing that can be read: it is then trained again."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            return tuple(json.loads(str(saved["columns"]))), saved["users"], saved["figures"], float(saved["seconds"])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None


def _write(file: Path, columns: tuple[str, ...], users: np.ndarray, figures: np.ndarray, seconds: float) -> None:
    """Replaced as a whole, so that a killed process leaves nothing half written under the name."""
    import os
    import uuid

    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".tmp-{uuid.uuid4().hex[:8]}.npz")
    try:
        np.savez_compressed(temporary, columns=json.dumps(columns), users=users, figures=figures, seconds=seconds)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
