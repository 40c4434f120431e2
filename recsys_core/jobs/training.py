"""`train_run`: the one way a run comes into being, for the worker, the command line and the tests.

Fit (with validation where the model makes use of it, then again on all of train), recommend for every
test user, measure, write the run folder. The test is read once, after fitting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import registry
from ..context import RunContext
from ..data.dataset import Dataset
from ..data.topk import TopK
from ..errors import Unsupported
from ..evaluation.protocol import protocol_card
from ..metrics import Catalog, Evaluation, evaluate
from ..models._base import Recommender
from ..splitting._base import Split
from ..splitting._new_items import NewItemsRule
from ..store.entries import RunEntry
from ..store.files import now, plain, staged_folder, write_json
from ..store.sharing import share_files
from ..store.workspace import Workspace
from .equipped import equipped
from .figures import Part, figures, holdout_arrays, measure_parts, new_item_notes, part_figures, pooled, write_parts
from .job import epochs_of
from .machine import machine, peak_rss_bytes, versions
from .memory import require_memory
from .sources import FilesSource, Fold, RuleSource, SplitSource
from .spec import TrainSpec
from .starts import refuse_same_people, started_from

KNOWN_VALIDATION = (
    "A random share of each training user's known items: what learns here reads no features, so new items could not tell it when to stop. "
    "The test part was read once, at the end."
)
FIT_SHARE = 0.95  # of the progress bar; recommending and measuring are quick beside a fit that takes long


@dataclass
class Clock:
    """Seconds by stage, summed over folds, and the epochs seen on the way."""

    seconds: dict[str, float] = field(default_factory=lambda: {"fit": 0.0, "recommend": 0.0, "evaluate": 0.0})
    steps: list[dict[str, Any]] = field(default_factory=list)

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        """What `work()` gives; its seconds are added to the stage."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[stage] += time.perf_counter() - start


@dataclass
class Trained:
    """One fold: the model as used for its lists, as fitted beside validation (or None), lists, figures."""

    model: Recommender
    fit_model: Recommender | None
    split: Split
    top: TopK
    evaluation: Evaluation
    n_validation: int
    parts: dict[str, Part] = field(default_factory=dict)  # kinds of users and items measured apart


def train_in_workspace(workspace: Workspace, spec: TrainSpec, ctx: RunContext) -> RunEntry:
    """Train a spec on a dataset of the workspace, unless its run is there."""
    spec = spec.in_ids(workspace)  # what is not there is told of before anything is trained
    if workspace.has_run(spec.run_id):
        return workspace.run(spec.run_id)
    ctx = equipped(ctx, workspace, seed=spec.seed)
    ctx.report("Reading the data", 0.0)
    source = _source(workspace, spec)
    with staged_folder(workspace.run_folder(spec.run_id)) as folder:
        behind = started_from(workspace, spec)  # told now: a result it starts from may be deleted later
        manifest = train_run(spec, source, folder, ctx, run_id=spec.run_id) | ({"started_from": behind} if behind else {})
        for run in workspace.runs(spec.dataset):
            if run.split_id == spec.split_id:
                share_files(folder, run.path, ("model/data/*", "fit_model/data/*"))
        workspace.publish(folder, workspace.run_folder(spec.run_id), spec.title, manifest)
    return workspace.run(spec.run_id)


def _source(workspace: Workspace, spec: TrainSpec) -> SplitSource:
    """The dataset cut by the rule, or beside one of its saved test files, which is read after fitting."""
    entry, splitter = workspace.dataset(spec.dataset), spec.splitter()
    if not splitter.needs_test_file:
        return RuleSource(_of_others(workspace, spec, entry.load(spec.features)), splitter)
    test_id = splitter.params.test
    if test_id not in {test["id"] for test in entry.tests()}:
        raise Unsupported(f"'{splitter.label}' needs a test file saved beside '{entry.name}'; got '{test_id}'.", "Upload one on Train.")
    data = _of_others(workspace, spec, entry.load(spec.features))
    return FilesSource(data, lambda: _of_others(workspace, spec, entry.load_test(test_id)), splitter)


def _of_others(workspace: Workspace, spec: TrainSpec, data: Dataset) -> Dataset:
    """The data, unless what the model starts from was trained on these people."""
    refuse_same_people(workspace, spec, data)
    return data


def train_run(
    spec: TrainSpec,
    source: SplitSource,
    out_dir: Path,
    ctx: RunContext,
    *,
    run_id: str = "",
    name: str = "",
    keep: Callable[[Trained], None] | None = None,
) -> dict[str, Any]:
    """Train, recommend, measure; write the run into `out_dir` (made if need be); returns the manifest.

    k-fold trains every fold and pools the users' figures; model and lists kept are those of fold 0.
    keep: called with fold 0 while it is in memory (the command line writes its list from it).
    """
    model_cls = registry.get("model", spec.model)
    params = spec.model_params()
    started, clock = now(), Clock()
    require_memory(model_cls, params, source.stats)
    ctx = _recording(replace(ctx, seed=spec.seed), clock)
    out_dir.mkdir(parents=True, exist_ok=True)
    first: Trained | None = None
    evaluations: list[Evaluation] = []
    for fold in source.folds(ctx):
        low, high = fold.number / source.n_folds, (fold.number + 1) / source.n_folds
        label = f"Fold {fold.number + 1} of {source.n_folds}" if source.n_folds > 1 else ""
        trained = _train_fold(spec, model_cls(params), fold, ctx.part(label, low, high) if label else ctx, clock)
        evaluations.append(trained.evaluation)
        if first is None:
            first = trained
            _write_fold(first, source, out_dir)
            if keep is not None:
                keep(first)
        del trained
    if first is None:
        raise Unsupported(f"The split '{source.splitter.label}' gave no training part.", "Choose another split.")
    ctx.report("Writing the run", 0.99)
    measured, whole = figures(evaluations), pooled(evaluations)
    if first.parts:
        measured["parts"] = part_figures(first.parts, first.split.train.n_items)
        write_parts(first.parts, first.split.test, out_dir)
    whole.per_user.rename_axis("user").to_parquet(out_dir / "per_user.parquet")
    write_json(out_dir / "metrics.json", measured)
    write_json(out_dir / "history.json", epochs_of(clock.steps))
    write_json(out_dir / "card.json", _card(spec, source, first, whole))
    manifest = {
        "id": run_id or out_dir.name,
        "name": name or spec.title,
        "created": now(),
        "started": started,
        "spec": spec.model_dump(mode="json"),
        "split_id": spec.split_id if run_id else "",
        "label": model_cls.label,
        "family": model_cls.family,
        "resolved": first.model.resolved.model_dump(mode="json"),
        "notes": [*first.model.notes, *new_item_notes(first.model, first.parts, first.split.train)],
        "findings": first.model.findings(),
        "feedback": first.split.train.feedback,
        "threshold": first.split.train.threshold,
        "n_test_users": len(first.split.test.users),
        "n_folds": len(evaluations),
        "versions": versions(),
        "machine": machine(ctx.n_threads),
        "fit_seconds": clock.seconds["fit"],
        "recommend_seconds": clock.seconds["recommend"],
        "evaluate_seconds": clock.seconds["evaluate"],
        "peak_rss_bytes": peak_rss_bytes(),
    }
    write_json(out_dir / "manifest.json", manifest)
    return manifest


# ---- one fold ------------------------------------------------------------------------------------
def _train_fold(spec: TrainSpec, model: Recommender, fold: Fold, ctx: RunContext, clock: Clock) -> Trained:
    final, fit_model, n_validation = clock.timed("fit", lambda: fit(model, fold, ctx.part("Fitting", 0.0, FIT_SHARE), refit=spec.refit))
    split = fold.test()  # read here for the first time
    ctx.report("Recommending", FIT_SHARE)
    length = min(spec.length, max(max(spec.ks), split.train.n_items))
    top = clock.timed("recommend", lambda: recommend_test(final, split, length))
    ctx.report("Measuring", 0.98)
    evaluation = clock.timed(
        "evaluate", lambda: evaluate(top, split.test, Catalog.from_dataset(split.train), spec.ks, ratings=_ratings(final, split))
    )
    parts = clock.timed("evaluate", lambda: measure_parts(final, split, top, evaluation, spec.ks))
    return Trained(final, fit_model, split, top, evaluation, n_validation, parts)


def fit(model: Recommender, fold: Fold, ctx: RunContext, *, refit: bool = True) -> tuple[Recommender, Recommender | None, int]:
    """(final model, the one fitted beside validation or None, number of validation users)."""
    if not model.wants_validation():
        return model.fit(fold.train, ctx), None, 0
    part, validation = fold.validation(model.judged_on_new(model.params))
    if len(part) == 0 or len(validation.users) == 0:
        raise Unsupported(
            f"{model.label} needs a validation part, and none could be cut from the training part.", "Use more data or another split."
        )
    fitted = model.fit(part, ctx.part("with validation", 0.0, 0.5 if refit else 1.0), validation=validation)
    if not refit:
        return fitted, None, len(validation.users)
    final = fitted.for_refit()
    final.fit(fold.train, ctx.part("on all training data", 0.5, 1.0))
    final.notes = [*fitted.notes, *(note for note in final.notes if note not in fitted.notes)]
    return final, fitted, len(validation.users)


def recommend_test(model: Recommender, split: Split, k: int, users: np.ndarray | None = None) -> TopK:
    """Lists for the test users (or the given codes); users the model has never met get the fallback."""
    if split.test.cold:
        return model.recommend_holdout(split.test, k)
    among = {"candidates": split.test.candidates, "fair_ties": split.test.candidates is not None}
    codes = np.asarray(split.test.users if users is None else users, dtype=np.int32)
    known = np.where(codes < model.fitted.n_users, codes, -1)
    if len(split.train) == len(model.fitted):
        return replace(model.recommend(known, k, **among), users=codes)
    # Not fitted again after validation: it would list the validation part, which is training too.
    seen = split.train.matrix("seen")[codes]
    longest = int(np.diff(seen.indptr).max(initial=0))
    return replace(model.recommend(known, min(k + longest, 10_000), **among), users=codes).without(seen, k)


def _ratings(model: Recommender, split: Split) -> np.ndarray | None:
    """A predicted rating for every held-out interaction, where the model can; the training mean for what it has never met."""
    truth = split.test.truth
    if not model.predicts_ratings() or split.train.feedback != "explicit" or split.test.cold:
        return None
    known = (truth.user < model.fitted.n_users) & (truth.item < model.fitted.n_items)
    out = np.full(len(truth), float(split.train.value.mean()), dtype=np.float32)
    if known.any():
        out[known] = model.predict_ratings(truth.user[known], truth.item[known])
    return out


def _write_fold(trained: Trained, source: SplitSource, folder: Path) -> None:
    from ..models._io import save_model

    save_model(trained.model, folder / "model")
    if trained.fit_model is not None:
        save_model(trained.fit_model, folder / "fit_model")
    trained.top.save(folder / "topk.npz")
    np.savez_compressed(folder / "test.npz", **holdout_arrays(trained.split.test))
    if isinstance(source, FilesSource):
        (folder / "ids").mkdir(exist_ok=True)
        trained.split.train.users.save(folder / "ids" / "users.parquet")
        trained.split.train.items.save(folder / "ids" / "items.parquet")


def _card(spec: TrainSpec, source: SplitSource, first: Trained, whole: Evaluation) -> dict[str, Any]:
    """The protocol card of the run; for k-fold of its first fold, with what was pooled said in words."""
    notes = list(whole.notes)
    if source.n_folds > 1:
        notes.append(
            f"All {source.n_folds} folds were trained; figures are pooled over them, the model and the lists kept are those of the first."
        )
    validated = first.n_validation > 0
    refitted = first.fit_model is not None
    card = protocol_card(
        first.split, source.splitter, source.data, spec.ks, seed=spec.seed, uses_validation=validated, refitted=refitted, notes=notes
    )
    if validated and isinstance(source.splitter, NewItemsRule) and not first.model.judged_on_new(first.model.params):
        card["validation"] = KNOWN_VALIDATION + (" Then the model was fitted again on all of training." if refitted else "")
    return plain(card | {"validation_users": first.n_validation})


def _recording(ctx: RunContext, clock: Clock) -> RunContext:
    def record(step: Any) -> None:
        if step.epoch is not None and step.metrics:
            clock.steps.append(plain(step) | {"at": now()})
        ctx.on_progress(step)

    return replace(ctx, on_progress=record)


__all__ = ["Trained", "fit", "recommend_test", "train_in_workspace", "train_run"]
