"""`cold-start`: how far a few items of a new user go with each of several recommenders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ..errors import BadInput
from .output import JSON_OPTION, ProgressLine, print_json, print_table, say

RUNS = typer.Argument(..., help="Runs of the workspace, by name or id, all with the same split by new users (cold_users).")
OUT = typer.Option(None, "--out", help="Write the whole result to this JSON file.")


def register(app: typer.Typer) -> None:
    app.command("cold-start")(cold_start)


def cold_start(
    runs: list[str] = RUNS,
    shots: str = typer.Option("0,1,2,3,5,10", "--shots", help="How many items are shown, separated by commas."),
    k: int = typer.Option(10, "--k", help="Length of the lists."),
    order: str = typer.Option("random", "--order", help="Which items are shown first: random or earliest."),
    draws: int = typer.Option(3, "--draws", help="With --order random: lots a user, averaged; from 1 to 5."),
    seed: int = typer.Option(42, "--seed", help="Of the lots."),
    most_users: int = typer.Option(2000, "--most-users", help="Test users measured at most, a random part; 0 = all."),
    out: Path | None = OUT,
    threads: int = typer.Option(0, "--threads", help="CPU threads; 0 = all."),
    json: bool = JSON_OPTION,
) -> None:
    """Compare recommenders on new users after 0, 1, 2, 3, … of their items; kept in the workspace."""
    from .. import registry
    from ..context import RunContext
    from ..jobs.cold_start_spec import ColdStartSpec
    from ..store import Workspace
    from ..store.files import write_json

    workspace = Workspace()
    asked = {"shots": _shots(shots), "k": k, "order": order, "draws": draws, "seed": seed, "most_users": most_users}
    spec = ColdStartSpec.make(runs=tuple(runs), **asked).in_ids(workspace)
    if not any(entry.id == spec.analysis_id for entry in workspace.analyses("cold_start", run=spec.runs[0])):
        progress = ProgressLine()
        ctx = RunContext(threads=threads, on_progress=progress)
        registry.get("job", "cold_start")().run(spec.model_dump(mode="json"), workspace, ctx)
        progress.done()
    entry = workspace.analysis(spec.analysis_id)
    result = entry.result()
    if out is not None:
        write_json(out, {"analysis": entry.id} | result)
        say(f"Written to {out}.")
    print_json({"analysis": entry.id} | result) if json else _tell(result)


def _tell(result: dict[str, Any]) -> None:
    """A table of the curves, one of the ranking of own items, and the sentences."""
    for note in result["notes"]:
        say(note)
    print(f"NDCG@{result['k']} of {result['n_users']:,} new users after so many items, with 95 % intervals")
    _curves(result, [(one["name"], one["curve"], one["unadapted"], one["ms_per_user"]) for one in result["models"]])
    rating = result["rating"]
    if rating is not None:
        print(f"\n{rating['name']}: precision@{rating['k']} of {rating['n_users']:,} users")
        header = ["recommender", *(str(s) for s in result["shots"])]
        rows = [[one["name"], *(f"{point['mean']:.3f}" for point in one["precision"])] for one in rating["models"]]
        chance = ["chance", *(f"{rating['chance']['precision']:.3f}" for _ in result["shots"])]
        print_table(header, [*rows, chance])
    print()
    for sentence in result["verdicts"]:
        print(sentence)
    print(f"\nHow it was measured: {' '.join(result['protocol'])}")


def _curves(result: dict[str, Any], models: list[tuple[str, list[Any], list[Any] | None, float | None]]) -> None:
    rows: list[list[Any]] = []
    for name, curve, unadapted, ms in models:
        cells = [f"{point['mean']:.4f} [{point['low']:.3f}, {point['high']:.3f}]" for point in curve]
        rows.append([name, *cells, "" if ms is None else f"{ms:.2f}"])
        if unadapted is not None:
            rows.append([f"{name}, not adapted", *(f"{point['mean']:.4f}" for point in unadapted), ""])
    print_table(["recommender", *(str(s) for s in result["shots"]), "ms a user"], rows)


def _shots(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadInput(f"--shots must be whole numbers separated by commas; got '{text}'.") from None
