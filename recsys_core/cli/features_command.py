"""`features`: what the columns of a saved dataset's tables are, and what is odd about them."""

from __future__ import annotations

from typing import Any

import typer

from .output import JSON_OPTION, print_json, print_table, say


def register(app: typer.Typer) -> None:
    app.command("features")(features)


def features(dataset: str = typer.Argument(..., help="A dataset of the workspace, by name or id."), json: bool = JSON_OPTION) -> None:
    """Show what each column of the item and user tables is to a model, and findings."""
    from ..data.features.report import feature_report
    from ..store import Workspace
    from ..store.feature_sets import current_features, feature_set, joins

    entry = Workspace().dataset(dataset)
    current = current_features(entry)
    report = feature_report(entry.load(current), feature_set(entry, current), joins=joins(entry))
    if json:
        print_json({"dataset": entry.name, "id": entry.id, "features": current, "sides": report})
        return
    if not report:
        say(f"The dataset '{entry.name}' has no table of items or users. Give one when it is read: ingest --items FILE --users FILE.")
    for number, (side, told) in enumerate(report.items()):
        print(("\n" if number else "") + f"{side.capitalize()}s: {told['rows']:,} rows, {len(told['columns']):,} columns.")
        header = ["column", "taken for", "features", "missing", "different", "examples"]
        print_table(header, [_row(column) for column in told["columns"]])
        for column in told["columns"]:
            if column["chosen"]["kind"] in (None, "id"):
                say(f"'{column['name']}' is left out. {column['chosen']['reason']}")
        for finding in [*told["findings"], *(one for column in told["columns"] for one in column["findings"])]:
            about = f"'{finding['column']}': " if finding["column"] else ""
            say(f"{finding['severity'].capitalize()}: {about}{finding['sentence']} {finding['todo']}".rstrip())


def _row(column: dict[str, Any]) -> list[Any]:
    n_features = "by the text" if column["n_features"] is None else column["n_features"]
    examples = ", ".join(" ".join(example.split())[:24] for example in column["examples"][:2])
    changed = " (chosen)" if column["guessed"] is None or column["chosen"]["kind"] != column["guessed"]["kind"] else ""
    n_distinct = "" if column["n_distinct"] is None else column["n_distinct"]
    return [column["name"], column["chosen"]["label"] + changed, n_features, f"{column['share_missing']:.0%}", n_distinct, examples]
