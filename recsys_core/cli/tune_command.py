"""`tune`: search for better settings of a model, on a dataset of the workspace or on a file."""

from __future__ import annotations

import json as json_module
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput
from .output import JSON_OPTION, ProgressLine, metrics_table, print_json, print_table, say
from .settings import joined, pairs
from .train_command import SPLIT_SET

if TYPE_CHECKING:
    from ..store import Workspace
    from ..store.findings import StudyEntry

SET = typer.Option([], "--set", help="A parameter that stays as it is, name=value; may be repeated.")
SEARCH = typer.Option(
    [], "--search", help="What is searched, name=low,high or name=value,value,value; may be repeated. Else the main settings."
)
METRIC = typer.Option(["ndcg@20"], "--metric", help="What is aimed at, measured on validation; twice for a trade-off of two.")


def register(app: typer.Typer) -> None:
    app.command("tune")(tune)


def tune(
    dataset: str | None = typer.Option(None, "--dataset", "--data", help="A dataset of the workspace, by name or id."),
    train_file: str | None = typer.Option(None, "--train", help="Instead, a training file: user,item[,value][,time]. Nothing is kept."),
    items: str | None = typer.Option(None, "--items", help="A table that describes the items of the file."),
    users: str | None = typer.Option(None, "--users", help="A table that describes the users of the file."),
    threshold: float | None = typer.Option(None, "--threshold", help="File: ratings at or above it are relevant (default: every row is)."),
    split: str = typer.Option("random", "--split", help="How the data are split; validation is cut from training by the same rule."),
    split_set: list[str] = SPLIT_SET,
    model: str = typer.Option(..., "--model", help="Key of the model; see the command models."),
    settings: list[str] = SET,
    search: list[str] = SEARCH,
    trials: int = typer.Option(20, "--trials", help="Settings that are tried; 0 = as many as the minutes allow."),
    minutes: float = typer.Option(0.0, "--minutes", help="Time there is; 0 = no limit."),
    sampler: str = typer.Option("tpe", "--sampler", help="tpe (learns from what was tried), random or grid."),
    pruner: str = typer.Option("median", "--pruner", help="Which trials of networks end early: median, halving or none."),
    metric: list[str] = METRIC,
    workers: int = typer.Option(1, "--workers", help="Processes that try settings at the same time."),
    seed: int = typer.Option(42, "--seed", help="The same seed tries the same settings."),
    threads: int = typer.Option(0, "--threads", help="CPU threads of all processes together; 0 = all."),
    device: str = typer.Option("auto", "--device", help="Where networks learn: cpu, cuda, mps, or auto, the fastest there is."),
    train_best: bool = typer.Option(False, "--train-best", help="Train the winner and measure it on the test, once."),
    json: bool = JSON_OPTION,
) -> None:
    """Search for better settings of a model on validation data; asked again with a larger budget it goes on."""
    from .. import registry
    from ..context import RunContext
    from ..jobs.spec import TrainSpec
    from ..jobs.tune_spec import TuneSpec
    from ..store import Workspace

    if (dataset is None) == (train_file is None):
        raise BadInput("Give either --dataset NAME or --train FILE.", "See: python -m recsys_core tune --help")
    if dataset is not None and any((items, users, threshold is not None)):
        raise BadInput("--items, --users and --threshold go with --train, not with --dataset.")
    spec = TuneSpec.make(
        train=TrainSpec.make(
            dataset=dataset or Path(str(train_file)).name,
            split=split,
            split_params=pairs(split_set, "--split-set"),
            model=model,
            params=joined(registry.get("model", model), pairs(settings, "--set")),
            seed=seed,
            threads=threads,
        ),
        space={name: [_value(part.strip()) for part in text.split(",")] for name, text in pairs(search, "--search").items()},
        sampler=sampler,
        pruner=pruner,
        objectives=tuple(metric),
        n_trials=trials,
        minutes=minutes,
        workers=workers,
    )
    progress = ProgressLine()
    ctx = RunContext(seed=seed, threads=threads, device=device, on_progress=progress)
    if train_file is None:
        _search(Workspace(), spec, ctx, progress, train_best, json)
        return
    from .read import read_interactions

    data, _ = read_interactions(train_file, ctx, items=items, users=users, threshold=threshold)
    with tempfile.TemporaryDirectory(prefix="recsys-") as scratch:
        workspace = Workspace(scratch)
        entry = workspace.add_dataset(data, Path(train_file).stem)
        spec = spec.model_copy(update={"train": spec.train.model_copy(update={"dataset": entry.id})})
        _search(workspace, spec, ctx, progress, train_best, json)


def _search(workspace: Workspace, spec: Any, ctx: Any, progress: ProgressLine, train_best: bool, json: bool) -> None:
    """Search, print, and train the winner where that was asked for."""
    from ..jobs.training import train_in_workspace
    from ..jobs.tune_spec import best_spec
    from ..jobs.tuning import tune_in_workspace

    spec = spec.model_copy(update={"train": spec.train.with_features(workspace)})
    study = tune_in_workspace(workspace, spec, ctx)
    progress.done()
    run = None
    if train_best:
        run = train_in_workspace(workspace, best_spec(study), replace(ctx, workdir=None))
        progress.done()
    if json:
        found = {"study": study.id, "best": study.best, "front": study.front, "importance": study.importance, "notes": study.notes}
        trained = {} if run is None else {"run": run.id, "metrics": run.metrics, "overall": run.overall}
        print_json(found | {"trials": study.trials(), "spec": study.spec} | trained)
        return
    for note in study.notes:
        say(note)
    _table(study)
    print(f"\n{gain(study)}")
    if len(study.objectives) > 1:
        print("No trial is better in both than one marked *.")
    if run is not None:
        print(f"\n{run.name}, trained on all of the training part and measured on the test:")
        metrics_table(run.metrics, run.overall)


def _value(text: str) -> Any:
    """A number or a switch where it reads as one, so that the same search asked for here and in the app is the same study."""
    try:
        value = json_module.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _table(study: StudyEntry) -> None:
    """One line a trial."""
    from ..evaluation import metric_label

    names = [row["name"] for row in study.space]
    front = set(study.front)
    header = ["trial", *names, *map(metric_label, study.objectives), "seconds", "", "state"]
    rows = [
        (
            t["number"],
            *(t["params"].get(name) for name in names),
            *(t["values"] or [None] * len(study.objectives)),
            t["seconds"],
            "*" if t["number"] in front else "",
            t["state"],
        )
        for t in study.trials()
    ]
    print_table(header, rows)


def gain(study: StudyEntry) -> str:
    """What the best trial gained over the defaults, in a sentence."""
    from ..evaluation import metric_label

    best, first = study.best, next((t for t in study.trials() if t["number"] == 0), None)
    if best is None:
        return "No trial has finished."
    start = "the first trial" if any(row["moved"] for row in study.space) else "the defaults"
    label = f"validation {metric_label(study.objectives[0])}"
    told = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in best["params"].items())
    if first is None or first["values"] is None:
        return f"Best: trial {best['number']} ({told}), {label} {best['values'][0]:.4f}; {start} did not finish."
    if best["number"] == 0 or best["values"][0] == first["values"][0]:
        return f"Nothing tried was better than {start}: {label} {first['values'][0]:.4f}."
    return f"Best: trial {best['number']} ({told}), {label} {best['values'][0]:.4f} against {first['values'][0]:.4f} with {start}."
