"""`ab plan`, `ab read`, `ab interleave` and `robustness`: tests on real users, and what can be said before one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from .output import JSON_OPTION, ProgressLine, print_json, print_table, say

FILE = typer.Argument(..., help="Result file: who, which group, outcomes; any CSV, TSV or Parquet.")
OUTCOMES = typer.Option([], "--outcome", help="Column of an outcome; may be repeated.")
KINDS = typer.Option([], "--kind", help="noise, attack or loss; may be repeated. Default: all.")

ab = typer.Typer(help="A/B tests: how many users, what came out, two recommenders in one list.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(ab, name="ab")
    app.command("robustness")(robustness)


@ab.command("plan")
def plan(
    baseline: float = typer.Option(..., "--baseline", help="What control does: a share such as .05, or a mean with --spread."),
    lift: float = typer.Option(..., "--lift", help="The smallest difference worth finding, in the same unit (.005 for half a point)."),
    spread: float | None = typer.Option(None, "--spread", help="Standard deviation between users: the outcome is a number, not a share."),
    power: float = typer.Option(0.8, "--power", help="Chance to find a difference that large."),
    groups: int = typer.Option(2, "--groups", help="Groups, control included."),
    daily: float | None = typer.Option(None, "--daily-users", help="New users a day, to say how many days it takes."),
    json: bool = JSON_OPTION,
) -> None:
    """How many users a test needs, and for how long."""
    from ..evaluation.ab import plan_mean, plan_rate

    common = {"power": power, "n_groups": groups, "daily_users": daily}
    found = plan_rate(baseline, lift, **common) if spread is None else plan_mean(baseline, spread, lift, **common)
    print_json(asdict(found) | {"days": found.days, "sentence": found.sentence()}) if json else print(found.sentence())


@ab.command("read")
def read(
    file: Path = FILE,
    user: str | None = typer.Option(None, "--user", help="Column of the user; found out when not given, as the others."),
    variant: str | None = typer.Option(None, "--variant", help="Column of the group."),
    outcomes: list[str] = OUTCOMES,
    before: str | None = typer.Option(None, "--before", help="Column with a value from before the test (CUPED)."),
    control: str | None = typer.Option(None, "--control", help="The group the others are compared with."),
    json: bool = JSON_OPTION,
) -> None:
    """Is the split sound, and what came out?"""
    from ..data.ingest import open_source
    from ..data.ingest.tables import read_table
    from ..errors import DataError
    from ..evaluation.ab import experiment, guess_roles, readout, sample_ratio

    frame = read_table(open_source(file))[1]
    guess = guess_roles(frame)
    chosen = {"user": user or guess["user"], "variant": variant or guess["variant"]}
    for name, column in chosen.items():
        if column is None:
            raise DataError(
                f"No column of '{file.name}' looks like the {name}.", f"Name it with --{name}; columns: {', '.join(frame.columns)}."
            )
    found = experiment(frame, **chosen, outcomes=list(outcomes) or guess["outcomes"], before=before or guess["before"], control=control)
    split, effects = sample_ratio(found), readout(found)
    if json:
        print_json(
            {
                "groups": found.sizes,
                "split": asdict(split) | {"broken": split.broken, "sentence": split.sentence()},
                "effects": [asdict(effect) | {"clear": effect.clear, "sentence": effect.sentence()} for effect in effects],
                "notes": found.notes,
            }
        )
        return
    for note in found.notes:
        say(note)
    print(split.sentence())
    for effect in effects:
        print(effect.sentence())


@ab.command("interleave")
def interleave_runs(
    first: str = typer.Argument(..., help="Run A, by name or id."),
    second: str = typer.Argument(..., help="Run B, of the same split."),
    k: int = typer.Option(10, "--k", help="Length of the list both share."),
    json: bool = JSON_OPTION,
) -> None:
    """Whom do users prefer when both recommenders fill one list? Replayed on held-out interactions."""
    import numpy as np

    from ..errors import BadInput
    from ..evaluation.ab import interleave
    from ..store import Workspace

    a, b = (Workspace().run(name) for name in (first, second))
    if a.split_id != b.split_id:
        raise BadInput(f"'{a.name}' and '{b.name}' were judged on different splits.", "Choose two runs of one split.")
    holdout = a.holdout()
    tops = [top.take(np.argsort(top.users, kind="stable")) for top in (a.topk(), b.topk())]
    if not all(np.array_equal(top.users, holdout.users) for top in tops):
        raise BadInput(f"'{a.name}' and '{b.name}' kept lists for different users, so they cannot share a list.")
    found = interleave(*tops, holdout.relevant, k=k, names=(a.name, b.name))
    about = {name: value for name, value in vars(found).items() if name != "credit"}
    print_json(about | {"clear": found.clear, "sentence": found.sentence()}) if json else print(found.sentence())


def robustness(
    run: str = typer.Argument(..., help="A run of the workspace, by name or id."),
    kinds: list[str] = KINDS,
    k: int = typer.Option(10, "--k", help="Length of the lists."),
    json: bool = JSON_OPTION,
) -> None:
    """Train a run's recommender again on noisy, attacked and thinned data; what is left is kept in the workspace."""
    from .. import registry
    from ..context import RunContext
    from ..evaluation.robustness import DAMAGES
    from ..jobs.robustness_spec import RobustnessSpec
    from ..store import Workspace

    workspace = Workspace()
    entry = workspace.run(run)
    spec = RobustnessSpec.make(run=entry.id, k=k, **({"kinds": tuple(kinds)} if kinds else {}))
    if not any(analysis.id == spec.analysis_id for analysis in workspace.analyses("robustness", run=spec.run)):
        progress = ProgressLine()
        registry.get("job", "robustness")().run(spec.model_dump(mode="json"), workspace, RunContext(on_progress=progress))
        progress.done()
    result = workspace.analysis(spec.analysis_id).result()
    if json:
        print_json(result)
        return
    name = f"ndcg@{spec.k}"
    print_table(["what happens", "share", name, "kept", "change", "from", "to"], [_row(p, name, DAMAGES) for p in result["points"]])
    print(f"\n{entry.name}: {result['n_users']:,} test users, {name} {result['figures'][name]:.4f} on the data as they are.")


def _row(point: dict[str, Any], name: str, damages: dict[str, tuple[str, str]]) -> list[Any]:
    figure = point["metrics"][name]
    kept = "" if figure["kept"] is None else f"{100 * figure['kept']:.1f} %"
    change = [f"{figure[part]:+.4f}" for part in ("change", "low", "high")]
    return [damages[point["kind"]][0], f"{100 * point['share']:g} %", figure["mean"], kept, *change]
