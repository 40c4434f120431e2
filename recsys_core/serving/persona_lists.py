"""Lists of personas, as rows for a spreadsheet: what the recommenders would show people who exist only by a few answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ..data.ingest.tables import column_hints
from ..errors import BadInput
from ..store.export import LINE_END
from ..store.spreadsheet import safe_frame

if TYPE_CHECKING:
    from ..store.personas import Persona
    from ..store.workspace import Workspace
    from .client import ScorerClient

COLUMNS = ["persona", "rank", "item", "title", "score", "run"]


@dataclass(frozen=True)
class PersonaLists:
    """frame: one row a persona, run and rank. notes: what could not be answered, in sentences."""

    frame: pd.DataFrame
    notes: list[str]

    def csv(self) -> str:
        """The rows as a file that a spreadsheet can open without running anything in it."""
        return safe_frame(self.frame).to_csv(index=False, lineterminator=LINE_END)


def persona_lists(
    client: ScorerClient, workspace: Workspace, runs: Sequence[str], personas: Sequence[Persona], k: int = 10
) -> PersonaLists:
    """The k best items of each run (ids or names) for each persona, by the scorer. Items a persona answered are not on its list."""
    if not runs or not personas:
        raise BadInput("Lists of personas need at least one run and one persona.", "Choose some.")
    entries = {run.id: run for run in (workspace.run(one) for one in runs)}
    answers = client.recommend_for_history(
        list(entries), [list(one.items) for one in personas], k, values=[list(one.values) for one in personas]
    )
    rows: list[tuple] = []
    notes = [f"{entries[run].name}: {answer.error.message}" for run, answer in answers.items() if answer.error is not None]
    for run, answer in answers.items():
        name, lost = entries[run].name, sum(len(row.unknown) for row in answer.rows)
        if lost:
            notes.append(f"{name} does not know {lost:,} of the answered items: they were left aside.")
        for persona, row in zip(personas, answer.rows, strict=False):
            rows += [
                (persona.name, rank, item, score, name) for rank, (item, score) in enumerate(zip(row.items, row.scores, strict=True), 1)
            ]
    frame = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "title"])
    titles: dict[str, str] = {}
    for dataset in {run.dataset_id: run.dataset for run in entries.values()}.values():
        titles |= _titles(dataset, set(frame["item"]))
    frame["title"] = [titles.get(item, "") for item in frame["item"]]
    order = {persona.name: place for place, persona in enumerate(personas)}
    return PersonaLists(
        frame.sort_values("persona", key=lambda names: names.map(order), kind="stable")[COLUMNS].reset_index(drop=True), notes
    )


def _titles(dataset, wanted: set[str]) -> dict[str, str]:
    """item -> title, where the item table has a column of titles."""
    table = None if dataset is None else dataset.table("item")
    title = None if table is None else column_hints(table).get("title")
    if title is None:
        return {}
    ids = dataset.ids()[1]
    codes = ids.encode(sorted(wanted)) if wanted else []
    return {str(ids.ids[code]): str(table[title].iloc[code]) for code in codes if code >= 0 and pd.notna(table[title].iloc[code])}
