"""`train`: one model on a dataset of the workspace, or on files, into a folder that explains itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput
from .output import JSON_OPTION, ProgressLine, metrics_table, print_json, print_table, say
from .settings import joined, pairs, start_setting

if TYPE_CHECKING:
    from ..context import RunContext
    from ..jobs.sources import SplitSource
    from ..jobs.spec import TrainSpec
    from ..jobs.training import Trained
    from ..store.entries import RunEntry

OPTIONAL_PARTS = ("fit_model", "ids")  # folders some runs have and others do not
SPLIT_SET = typer.Option([], "--split-set", help="A setting of the split, name=value; may be repeated.")
SET = typer.Option([], "--set", help="A parameter, name=value; may be repeated. Of a part of a fusion: ease.regularization=200.")
START_HELP = "Id or name of a result to start from, of another dataset with columns of the same names. For models that adapt to new users."


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    dataset: str | None = typer.Option(None, "--dataset", help="A dataset of the workspace, by name or id."),
    split: str | None = typer.Option(None, "--split", help="How it is split (default: random). With --test: how validation is cut."),
    split_set: list[str] = SPLIT_SET,
    train_file: str | None = typer.Option(None, "--train", help="A training file: user,item[,value][,time]."),
    test_file: str | None = typer.Option(None, "--test", help="A test file; without it the training file is split."),
    items: str | None = typer.Option(None, "--items", help="A table that describes the items."),
    users: str | None = typer.Option(None, "--users", help="A table that describes the users."),
    threshold: float | None = typer.Option(None, "--threshold", help="Files: ratings at or above it are relevant (default: every row is)."),
    model: str = typer.Option(..., "--model", help="Key of the model; see the command models."),
    settings: list[str] = SET,
    start_from: str = typer.Option("", "--start-from", help=START_HELP),
    k: int = typer.Option(20, "--k", help="Length of the lists that are written."),
    seed: int = typer.Option(42, "--seed", help="The same seed gives the same result."),
    seeds: str | None = typer.Option(None, "--seeds", help="Several seeds, 1,2,3: one training each, into OUT/seed-1, …; says the spread."),
    refit: bool = typer.Option(True, "--refit/--no-refit", help="After early stopping or learning weights, fit again on all of train."),
    threads: int = typer.Option(0, "--threads", help="CPU threads; 0 = all."),
    device: str = typer.Option("auto", "--device", help="Where networks learn: cpu, cuda, mps, or auto, the fastest there is."),
    checkpoints: str | None = typer.Option(None, "--checkpoints", help="Folder to keep networks in while they learn; go on from there."),
    out: str = typer.Option(..., "--out", help="Folder for manifest.json, metrics.json, recommendations.csv and model/."),
    json: bool = JSON_OPTION,
) -> None:
    """Train a model, measure it on held-out data, write its lists."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if threads > 0 else ():
        os.environ[name] = str(threads)  # read once, when numpy is imported: just below
    from .. import registry
    from ..jobs.spec import TrainSpec

    if (dataset is None) == (train_file is None):
        raise BadInput("Give either --dataset NAME or --train FILE.", "See: python -m recsys_core train --help")
    if dataset is not None and any((test_file, items, users)):
        raise BadInput("--test, --items and --users go with --train, not with --dataset.", "The dataset has its tables already.")
    if dataset is not None and threshold is not None:
        raise BadInput("--threshold goes with --train, not with --dataset.", "The dataset has the threshold it was ingested with.")
    if not out.strip():
        raise BadInput("--out is empty.", "Name a folder.")
    if not 1 <= k <= 1000:
        raise BadInput(f"--k must be from 1 to 1000; got {k}.")
    target = Path(out).expanduser()
    if target.exists() and not target.is_dir():
        raise BadInput(f"--out '{out}' is a file.", "Name a folder.")
    split_params = pairs(split_set, "--split-set") | ({"validation": split} if test_file and split else {})
    spec = TrainSpec.make(
        dataset=dataset or Path(str(train_file)).name,
        split="own_test" if test_file else split or "random",
        split_params=split_params,
        model=model,
        params=joined(registry.get("model", model), pairs([*settings, *start_setting(model, start_from)], "--set")),
        ks=(5, 10, 20, k),
        seed=seed,
        refit=refit,
        threads=threads,
        keep_top=max(100, k),
    )
    registry.get("model", model)(spec.model_params())  # parameters are checked before any file is read
    files = Files(train_file, test_file, items, users, threshold)
    place = Place(target, k, device, Path(checkpoints).expanduser() if checkpoints else None)
    if seeds is not None:
        _repeated([spec.model_copy(update={"seed": one}) for one in _seeds(seeds)], place, files, json)
        return
    done = _trained(spec, place, files)
    if done is None:
        return
    run, lists = done
    if json:
        told = {"metrics": run.metrics, "overall": run.overall, "lists": lists.summary(), "manifest": run.manifest}
        print_json({"run": str(target)} | told)
        return
    for note in [*run.notes, *run.card().get("notes", []), *lists.notes]:
        say(note)
    metrics_table(run.metrics, run.overall)
    seconds = ", ".join(f"{stage} {run.manifest[f'{stage}_seconds']:.1f} s" for stage in ("fit", "recommend", "evaluate"))
    print(f"\n{run.name}: {lists.n_rows:,} rows for {lists.n_users:,} users in {target / 'recommendations.csv'} ({seconds}).")


@dataclass(frozen=True)
class Files:
    """Where the data come from: all None for a dataset of the workspace."""

    train: str | None
    test: str | None
    items: str | None
    users: str | None
    threshold: float | None


@dataclass(frozen=True)
class Place:
    """Where it is trained and written: a folder, the length of the lists, the device, a folder of checkpoints."""

    target: Path
    k: int
    device: str
    checkpoints: Path | None


def _trained(spec: TrainSpec, place: Place, files: Files) -> tuple[RunEntry, ListWriter] | None:
    """Train, measure, write into the folder; None in the other processes of one run."""
    from ..context import RunContext
    from ..jobs.training import train_run
    from ..store.entries import RunEntry

    first = int(os.environ.get("RANK", 0)) == 0  # of several processes started by torchrun, one tells and writes
    progress = ProgressLine(quiet=not first)
    ctx = RunContext(seed=spec.seed, threads=spec.threads, device=place.device, on_progress=progress, workdir=place.checkpoints)
    source, spec, ctx = _source(spec, ctx, files.train, files.test, files.items, files.users, files.threshold)
    if not first:
        with tempfile.TemporaryDirectory(prefix="recsys-") as scratch:
            train_run(spec, source, Path(scratch) / "run", ctx)
        return None
    lists, target = ListWriter(source, place.k), place.target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".recsys-") as scratch:
        folder = Path(scratch) / "run"
        manifest = train_run(spec, source, folder, ctx, name=spec.title, keep=lambda first: lists(first, folder))
        progress.done()
        move_into(folder, target)
    return RunEntry(target, manifest), lists


def _repeated(specs: list[TrainSpec], place: Place, files: Files, json: bool) -> None:
    """One training a seed, each in a folder of its own, and how far the figures spread."""
    from ..evaluation import Repeat

    runs = []
    for spec in specs:
        inner = None if place.checkpoints is None else place.checkpoints / f"seed-{spec.seed}"
        done = _trained(spec, replace(place, target=place.target / f"seed-{spec.seed}", checkpoints=inner), files)
        if done is not None:
            runs.append(done[0])
            say(f"Seed {spec.seed}: {done[0].path}")
    if not runs:
        return
    repeat = Repeat(tuple(runs), "seeds", specs[0].splitter().seeded)
    spreads = {name: repeat.spread(name) for name in [*runs[0].metrics, *runs[0].overall]}
    if json:
        print_json({"runs": [str(run.path) for run in runs], "seeds": repeat.seeds, "spread": {n: asdict(s) for n, s in spreads.items()}})
        return
    print_table(
        ["metric", "mean ± spread", "lowest", "highest"], [[n, s.text(), f"{s.lowest:.4f}", f"{s.highest:.4f}"] for n, s in spreads.items()]
    )
    drawn = "each seed also drew another split" if repeat.new_split else "the split was the same for each seed"
    print(f"\n{repeat.label} in {place.target}; {drawn}. ± is the standard deviation between seeds.")


def _seeds(text: str) -> list[int]:
    """The text "1,2,3" as numbers, each once."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or len(parts) > 20 or not all(part.isascii() and part.isdigit() and int(part) < 2**31 for part in parts):
        raise BadInput(f"--seeds must be 1 to 20 whole numbers from 0, separated by commas; got '{text}'.", "For example: 1,2,3.")
    return list(dict.fromkeys(map(int, parts)))


def _source(
    spec: Any, ctx: RunContext, train_file: str | None, test_file: str | None, items: str | None, users: str | None, threshold: float | None
) -> tuple[SplitSource, Any, RunContext]:
    """Where training and test come from; with a workspace behind it where there is one."""
    from ..jobs.equipped import equipped
    from ..jobs.sources import FilesSource, RuleSource
    from ..jobs.starts import refuse_same_people
    from ..store import Workspace
    from .read import existing, read_interactions

    splitter = spec.splitter()
    if train_file is None:
        workspace = Workspace()
        spec = spec.with_features(workspace).in_ids(workspace)
        data = workspace.dataset(spec.dataset).load(spec.features)
        refuse_same_people(workspace, spec, data)
        return RuleSource(data, splitter), spec, equipped(ctx, workspace)
    if test_file and existing(test_file, "test file").stat().st_size == 0:  # this much may be asked; it is opened after fitting
        raise BadInput(f"The test file '{test_file}' is empty.", "Check the path.")
    data, columns = read_interactions(train_file, ctx, items=items, users=users, threshold=threshold)
    if test_file is None:
        return RuleSource(data, splitter), spec, ctx
    return FilesSource(data, lambda: read_interactions(test_file, ctx, like=columns)[0], splitter), spec, ctx


class ListWriter:
    """Writes recommendations.csv: external ids, every user of the test file (known or not), best first."""

    def __init__(self, source: SplitSource, k: int) -> None:
        self.source, self.k = source, k
        self.n_rows = self.n_users = self.n_unknown = 0
        self.notes: list[str] = []

    def __call__(self, first: Trained, folder: Path) -> None:
        import numpy as np

        from ..data.topk import TopK
        from ..jobs.training import recommend_test

        top, ids = first.top.cut(self.k), first.split.train.users
        test = getattr(self.source, "test", None)
        if test is not None:
            asked = ids.encode(test.users.ids)
            rest = np.setdiff1d(asked[asked >= 0], top.users)
            if len(rest):
                more = recommend_test(first.model, first.split, self.k, users=rest)
                top = TopK(*(np.concatenate([getattr(top, name), getattr(more, name)]) for name in ("users", "items", "scores")))
        known = top.users < first.model.fitted.n_users
        seen = np.diff(first.model.fitted.matrix("seen").indptr)
        served = known & (seen[np.where(known, top.users, 0)] > 0)
        self.n_users = len(top)
        self.n_unknown = 0 if first.split.test.cold else int((~served).sum())
        if self.n_unknown:
            self.notes.append(
                f"{self.n_unknown:,} of {self.n_users:,} test users have no training history: they get {first.model.given_to_strangers}."
            )
        self.n_rows = write_csv(top, ids, first.split.train.items, folder / "recommendations.csv")

    def summary(self) -> dict[str, int]:
        return {"rows": self.n_rows, "users": self.n_users, "unknown_users": self.n_unknown}


def write_csv(top: Any, users: Any, items: Any, path: Path) -> int:
    """user,item,rank,score with ids exactly as they came in; the number of rows. In blocks, for memory."""
    import numpy as np

    rows = 0
    for start in range(0, max(1, len(top)), 50_000):
        block = np.arange(start, min(start + 50_000, len(top)))
        names = users if hasattr(users, "decode") else np.asarray(users, dtype=object)[block]
        frame = top.take(block).frame(names, items)
        frame.to_csv(path, mode="a" if start else "w", header=start == 0, index=False, float_format="%.7g", lineterminator="\n")
        rows += len(frame)
    return rows


def move_into(folder: Path, target: Path) -> None:
    """What was written replaces the parts of an earlier run in the target; other files there stay."""
    if not target.exists():
        os.replace(folder, target)
        return
    for name in OPTIONAL_PARTS:
        if not (folder / name).exists() and (target / name).is_dir():
            shutil.rmtree(target / name)
    for path in sorted(folder.iterdir(), key=lambda p: p.name == "manifest.json"):
        goal = target / path.name
        if goal.is_dir() and not goal.is_symlink():
            shutil.rmtree(goal)
        os.replace(path, goal)
