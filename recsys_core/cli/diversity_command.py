"""`diversity`: what shaping a run's lists would gain and cost, at several strengths."""

from __future__ import annotations

from typing import Any

import typer

from ..errors import BadInput
from .output import JSON_OPTION, ProgressLine, print_json, print_table, say

SET = typer.Option([], "--set", help="A setting of the method, name=value; may be repeated.")
SHOWN = ("ndcg", "recall", "intra_list_diversity", "novelty", "long_tail_share", "miscalibration", "coverage")


def diversity(
    run: str = typer.Argument(..., help="A run of the workspace, by name or id."),
    method: str = typer.Option("mmr", "--method", help="mmr, dpp, xquad, calibrated, popularity_discount, long_tail_quota or rules."),
    settings: list[str] = SET,
    k: int = typer.Option(10, "--k", help="Length of the lists."),
    depth: int = typer.Option(200, "--depth", help="Candidates every list is chosen from."),
    strengths: str = typer.Option(
        "0,0.1,0.2,0.3,0.5,0.7,0.9,1", "--strengths", help="Points of the curve, from 0 to 1, separated by commas."
    ),
    json: bool = JSON_OPTION,
) -> None:
    """Work out the accuracy-diversity curve of a run; it is kept in the workspace."""
    from .. import registry
    from ..context import RunContext
    from ..jobs.diversity_spec import DiversitySpec
    from ..store import Workspace
    from .settings import pairs

    workspace = Workspace()
    cls = registry.get("reranker", method)
    asked = _strengths(strengths) if cls.has_strength() else (0.0, 1.0)
    spec = DiversitySpec.make(run=workspace.run(run).id, method=method, params=pairs(settings, "--set"), k=k, depth=depth, strengths=asked)
    if not any(entry.id == spec.analysis_id for entry in workspace.analyses("diversity", run=spec.run)):
        progress = ProgressLine()
        registry.get("job", "diversity")().run(spec.model_dump(mode="json"), workspace, RunContext(on_progress=progress))
        progress.done()
    result = workspace.analysis(spec.analysis_id).result()
    if json:
        print_json(result)
        return
    for note in result["notes"]:
        say(note)
    print_table(["strength", *(f"{name}@{k}" for name in SHOWN)], [_row(point, k) for point in result["points"]])
    print(f"\n{cls.label} on {workspace.run(run).name}: {result['n_users']:,} test users, lists of {k} from {depth} candidates.")


def _row(point: dict[str, Any], k: int) -> list[Any]:
    means = {name: figure["mean"] for name, figure in point["metrics"].items()} | point["overall"]
    return [f"{point['strength']:g}", *(means.get(f"{name}@{k}") for name in SHOWN)]


def _strengths(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadInput(f"--strengths must be numbers from 0 to 1, separated by commas; got '{text}'.") from None
