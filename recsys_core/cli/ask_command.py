"""`ask`: try a bundle out, without a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import BadInput
from .output import JSON_OPTION, print_json, print_table, say

if TYPE_CHECKING:
    from ..portable.bundle import Bundle


def register(app: typer.Typer) -> None:
    app.command("ask")(ask)


def ask(
    bundle: str = typer.Option(..., "--bundle", help="A file that `bundle` made."),
    user: str | None = typer.Option(None, "--user", help="Whose list: a user of the training data, or a stranger."),
    history: str | None = typer.Option(None, "--history", help="Items instead of a user, oldest first: a,b,c."),
    k: int = typer.Option(10, "--k", help="Length of the list."),
    explain: str | None = typer.Option(None, "--explain", help="Also say what speaks for this item."),
    json: bool = JSON_OPTION,
) -> None:
    """One list from a bundle, with titles and how it came about."""
    from dataclasses import asdict

    from ..portable.bundle import Bundle
    from ..serving.live.predictor import Predictor
    from ..serving.live.records import PATHS

    if (user is None) == (history is None):
        raise BadInput("Ask for --user or with --history, one of them.", "For example: --history b05110,b01928")
    items = None if history is None else [item.strip() for item in history.split(",") if item.strip()]
    predictor = Predictor(Bundle.open(Path(bundle).expanduser()))
    answer = predictor.recommend(user, items, k)
    why = None if explain is None else predictor.explain(user, items, item=explain)
    if json:
        print_json(asdict(answer) | ({} if why is None else {"reasons": asdict(why)}))
        return
    titles = _titles(predictor.bundle)
    rows = [
        [rank, item, titles.get(item, ""), round(score, 4)]
        for rank, (item, score) in enumerate(zip(answer.items, answer.scores, strict=True), 1)
    ]
    print_table(["rank", "item", "title", "score"], rows)
    print(f"\nPath: {answer.path} ({PATHS[answer.path]}); {answer.model_ms:.1f} ms; bundle {answer.bundle}.")
    for note in answer.notes:
        say(note)
    if why is not None:
        print(f"\n{titles.get(why.item, why.item)}: score {why.total:.4f}. {why.method}")
        if why.parts:
            print_table(["item", "title", "adds"], [[item, titles.get(item, ""), round(part, 4)] for item, part in why.parts])


def _titles(bundle: Bundle) -> dict[str, str]:
    column = bundle.title_column
    cells = bundle.table.get(column, []) if column else []
    return {item: str(title) for item, title in zip(bundle.items.ids, cells, strict=False) if title is not None}
