"""What goes along with the model in a bundle: columns of the item table, what the manifest says of the run, and its proof lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data.ingest import open_source
from ..data.ingest.tables import column_hints, join_table
from ..errors import BadInput
from ..models._base import Recommender
from ..portable.bundle import Bundle
from ..portable.history import History
from ..store.entries import RunEntry

N_PROBES, PROBE_ITEMS, PROBE_K = 20, 50, 10


@dataclass(frozen=True, eq=False)
class ItemColumns:
    """table: the columns that go along, row i = item code i, or None. title: the one that names items."""

    table: pd.DataFrame | None
    title: str | None


def item_columns(model: Recommender, columns: Sequence[str] | None, table: pd.DataFrame | None = None) -> ItemColumns:
    """columns: names of columns of the item table; None takes the one that names items and the one that classifies them. table: another
    item table than that of the data, row i = item code i.

    Categories parted by another mark than "|" are stored with "|", which is what filters part cells by."""
    table = model.fitted.item_table if table is None else table
    if table is None or not len(table.columns):
        if columns:
            raise BadInput(f"The data has no item table, so there is no column '{columns[0]}'.", "Leave the columns out.")
        return ItemColumns(None, None)
    hints = column_hints(table)
    if columns is None:
        chosen = [hints[role] for role in ("title", "categories") if hints[role]]
    else:
        missing = [name for name in columns if name not in table.columns]
        if missing:
            raise BadInput(f"The item table has no column '{missing[0]}'.", f"It has: {', '.join(map(str, table.columns))}.")
        chosen = list(dict.fromkeys(columns))
    if not chosen:
        return ItemColumns(None, None)
    out = table[chosen].reindex(range(model.fitted.n_items)).copy()
    separator = hints["separator"]
    if hints["categories"] in chosen and separator and separator != "|":
        name = hints["categories"]
        parts = out[name].str.split(separator)
        out[name] = parts.map(lambda cell: "|".join(p.strip() for p in cell if p.strip()) if isinstance(cell, list) else None)
    return ItemColumns(out, hints["title"] if hints["title"] in chosen else None)


def table_of(file: Path, model: Recommender) -> pd.DataFrame:
    """A file of items, row i = item code i."""
    table, report, _, _ = join_table(open_source(file), model.fitted.items, "item", None)
    if not report.rows_joined:
        raise BadInput(f"No row of '{file.name}' is an item of this run.", "Give the table that describes its items.")
    return table


def said_of_run(run: RunEntry, licence: str) -> dict[str, Any]:
    """run, protocol, metrics and licence, as the manifest gives them."""
    dataset, told = run.dataset, run.card().get("dataset") or {}
    name = dataset.name if dataset is not None else str(told.get("name", "") if isinstance(told, dict) else told)
    return {
        "run": {
            "id": run.id, "name": run.name, "dataset": name, "split": run.spec.get("split"), "split_params": run.spec.get("split_params"),
            "seed": run.spec.get("seed"), "created": run.created,
        },
        "protocol": run.card(),
        "metrics": run.metrics | {key: {"mean": value} for key, value in run.overall.items()},
        "licence": licence.strip() or _licence(run, name),
    }  # fmt: skip


def _licence(run: RunEntry, name: str) -> str:
    dataset = run.dataset
    meta = dataset.manifest.get("meta") if dataset is not None else None
    known = str((meta or {}).get("licence") or (meta or {}).get("license") or "").strip()
    if known:
        return known
    data = f" '{name}'" if name else ""
    return f"No licence is known of the data{data} this was trained on. Ask whoever owns the data before you pass the bundle on."


def probe_histories(model: Recommender, with_users: bool, rng: np.random.Generator) -> list[History]:
    """Of 20 training users, their newest 50 items at most; without users made up of popular items, so that nobody's past goes along."""
    data = model.fitted
    if with_users:
        active = np.flatnonzero(data.user_counts)
        chosen = np.sort(rng.choice(active, min(N_PROBES, len(active)), replace=False))
        rows = data.histories(chosen).last(PROBE_ITEMS)
        return [History(rows.items[a:b], rows.values[a:b]) for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)]
    popular = np.argsort(-data.item_counts, kind="stable")[:200]
    sizes = rng.integers(1, max(2, min(15, len(popular))), N_PROBES)
    return [History.of(rng.choice(popular, size, replace=False)) for size in sizes]


def probes(bundle: Bundle, histories: Sequence[History]) -> list[dict[str, list[Any]]]:
    """Histories and the lists of 10 this bundle gives them: whoever opens it can see that it still does."""
    return [
        {
            "items": history.items.tolist(),
            "values": [float(value) for value in history.values],
            "top": bundle.best(history, PROBE_K)[0].tolist(),
        }
        for history in histories
    ]
