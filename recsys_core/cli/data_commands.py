"""`models`, `ingest`: what there is to train, and files into datasets."""

from __future__ import annotations

from typing import Any

import typer

from ..errors import BadInput
from .output import JSON_OPTION, ProgressLine, print_json, print_table, say


def register(app: typer.Typer) -> None:
    app.command("models")(models)
    app.command("ingest")(ingest)


def models(
    key: str | None = typer.Argument(None, help="Show one model with all its parameters."),
    json: bool = JSON_OPTION,
) -> None:
    """List the models: key, family, parameters."""
    from .. import registry

    chosen = {key: registry.get("model", key)} if key else registry.all_of("model")
    cards = [cls.card() for cls in chosen.values()]
    if json:
        listed = [_model(card) for card in cards]
        print_json(listed[0] if key else listed)
    elif key:
        print(f"{cards[0].label} ({cards[0].family}). {cards[0].summary}\n")
        print_table(
            ["parameter", "default", "rule", "what it does"], [(f.name, _default(f.default), f.rule, f.help) for f in cards[0].fields]
        )
    else:
        rows = [(c.key, c.family, ", ".join(f"{f.name}={_default(f.default)}" for f in c.fields if not f.advanced)) for c in cards]
        print_table(["key", "family", "parameters"], sorted(rows, key=lambda row: (row[1], row[0])))


def _model(card: Any) -> dict[str, Any]:
    fields = [
        {"name": f.name, "kind": f.kind, "default": f.default, "rule": f.rule, "help": f.help, "choices": list(f.choices), "auto": f.auto}
        for f in card.fields
    ]
    return {
        "key": card.key,
        "label": card.label,
        "family": card.family,
        "summary": card.summary,
        "needs": [need.value for need in card.needs],
        "source": card.source,
        "parameters": fields,
    }


def _default(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def ingest(
    file: str = typer.Argument(..., help="CSV, TSV, zip, gz or Parquet with one interaction a row."),
    name: str = typer.Option(..., "--name", help="Name of the dataset."),
    user: str | None = typer.Option(None, "--user", help="User column; guessed when left out, like the others."),
    item: str | None = typer.Option(None, "--item", help="Item column."),
    value: str | None = typer.Option(None, "--value", help="Rating, count or price column."),
    time: str | None = typer.Option(None, "--time", help="Time column."),
    event: str | None = typer.Option(None, "--event", help="Event type column."),
    items: str | None = typer.Option(None, "--items", help="A table that describes the items."),
    users: str | None = typer.Option(None, "--users", help="A table that describes the users."),
    keep_new_items: bool = typer.Option(False, "--keep-new-items", help="Keep items of the table that nobody has chosen yet."),
    keep_new_users: bool = typer.Option(False, "--keep-new-users", help="Keep users of the table without interactions."),
    threshold: float | None = typer.Option(None, "--threshold", help="Ratings at or above it count as liked; guessed when left out."),
    min_user: int = typer.Option(1, "--min-user", help="Fewest interactions per user."),
    min_item: int = typer.Option(1, "--min-item", help="Fewest interactions per item."),
    duplicates: str | None = typer.Option(None, "--duplicates", help="last, sum, max or count."),
    json: bool = JSON_OPTION,
) -> None:
    """Read a file into a saved dataset; no row is lost without being counted."""
    from ..context import RunContext
    from ..data.ingest import ingest as read
    from ..data.quality import quality_report
    from ..store import Workspace
    from ..store.files import clean_name
    from .read import existing, make_plan

    path = existing(file)
    clean_name(name, what="dataset name")
    for flag, wanted, table, option in (
        ("--keep-new-items", keep_new_items, items, "--items"),
        ("--keep-new-users", keep_new_users, users, "--users"),
    ):
        if wanted and not table:
            raise BadInput(f"{flag} keeps what only a table has, and none was given.", f"Add {option} FILE or leave {flag} out.")
    changes: dict[str, Any] = {"min_user": min_user, "min_item": min_item}
    changes |= {"keep_new_items": keep_new_items, "keep_new_users": keep_new_users}
    changes |= {"items_file": str(existing(items, "item file"))} if items else {}
    changes |= {"users_file": str(existing(users, "user file"))} if users else {}
    changes |= {"threshold": threshold} if threshold is not None else {}
    changes |= {"duplicates": duplicates} if duplicates else {}
    columns = {"user": user, "item": item, "value": value, "time": time, "event": event}
    source, plan = make_plan(path, changes=changes, columns=columns)
    progress = ProgressLine()
    result = read(source, plan, RunContext(on_progress=progress))
    progress.done()
    entry = Workspace().add_dataset(result, name, plan=plan)
    report = result.report
    warnings = [*report.warnings, *quality_report(result.dataset).warnings]
    if json:
        rejects = entry.rejects_path
        print_json(
            {
                "dataset": entry.name,
                "id": entry.id,
                "already_saved": entry.already,
                "columns": plan.columns,
                "feedback": plan.feedback,
                "threshold": result.dataset.threshold,
                "rows_read": report.rows_read,
                "rows_kept": report.rows_kept,
                "rows_merged": report.rows_merged,
                "rows_filtered": report.rows_filtered,
                "rows_rejected": report.rows_rejected,
                "users": report.users,
                "items": report.items,
                "rejects_file": None if rejects is None else str(rejects),
                "warnings": warnings,
                "notes": report.notes,
            }
        )
        return
    if entry.already:
        say(f"This data is saved already, as '{entry.name}'.")
    for sentence in [*report.notes, *warnings]:
        say(sentence)
    print_table(["rows", "number"], report.table())
    print(f"\nDataset '{entry.name}' ({entry.id}): {report.users:,} users, {report.items:,} items, {len(result.dataset):,} interactions.")
    if entry.rejects_path is not None:
        print(f"Rejected rows: {entry.rejects_path}")
