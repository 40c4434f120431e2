"""Personas: people made up by answering questions, kept in workspace/personas/<id>.json, one small file each.

A persona outlives its dataset: it is a few item ids, typed by hand, and serves as well with tomorrow's file of the same catalogue,
which is another dataset. `dataset_there` says whether the one it was made with is still here.
"""

from __future__ import annotations

import difflib
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, NotFound
from .files import clean, clean_name, now, read_json_cached, unique_name, write_json

if TYPE_CHECKING:
    from .entries import DatasetEntry

MOST_ANSWERS, MOST_ID_LENGTH = 1_000, 2_000


@dataclass(frozen=True)
class Persona:
    """items, values: what was answered, in the order of the answers, values on the scale of the dataset. skipped: asked, not known."""

    id: str
    name: str
    dataset: str
    dataset_name: str
    items: tuple[str, ...]
    values: tuple[float, ...]
    skipped: tuple[str, ...]
    created: str
    dataset_there: bool = True

    @property
    def answers(self) -> dict[str, float]:
        """item -> value, oldest first."""
        return dict(zip(self.items, self.values, strict=True))


class Personas:
    """Mixed into `Workspace`."""

    root: Path

    if TYPE_CHECKING:

        def locked(self) -> AbstractContextManager[None]: ...
        def dataset(self, id_or_name: str) -> DatasetEntry: ...

    def personas(self, dataset: str | None = None) -> list[Persona]:
        """All, newest first; those made with one dataset (id or name, deleted or not) when given."""
        found = [one for path in self._persona_folder().glob("*.json") if (one := _read(self.root, path)) is not None]
        found.sort(key=lambda one: (one.created, one.id), reverse=True)
        if dataset is None:
            return found
        try:
            wanted = self.dataset(dataset).id
        except NotFound:
            wanted = str(dataset)
        return [one for one in found if one.dataset == wanted]

    def persona(self, id_or_name: str) -> Persona:
        """By id or name (case does not count)."""
        wanted, every = str(id_or_name).strip(), self.personas()
        hits = [one for one in every if wanted in (one.id, one.name)] or [o for o in every if o.name.casefold() == wanted.casefold()]
        if hits:
            return hits[0]
        close = difflib.get_close_matches(wanted, [one.name for one in every], n=1)
        raise NotFound(
            f"There is no persona '{wanted}' in this workspace.", f"Did you mean '{close[0]}'?" if close else "Save one on New users."
        )

    def add_persona(self, name: str, dataset: str, answers: Mapping[str, float], skipped: Sequence[str] = ()) -> Persona:
        """Keep a person's answers (item -> value, oldest first) under a name that is made unique."""
        entry, content = self.dataset(dataset), _content(answers, skipped)
        persona_id = f"{time.time_ns() // 1_000_000:x}{uuid.uuid4().hex[:5]}"
        about = {"id": persona_id, "dataset": entry.id, "dataset_name": entry.name, "created": now()} | content
        clean(self._persona_folder())
        return self._keep(persona_id, about | {"name": clean_name(name, what="persona's name")})

    def change_persona(self, id_or_name: str, answers: Mapping[str, float], skipped: Sequence[str] = ()) -> Persona:
        """Other answers under the same name."""
        return self._changed(id_or_name, _content(answers, skipped))

    def rename_persona(self, id_or_name: str, name: str) -> Persona:
        """Another name, made unique."""
        return self._changed(id_or_name, {"name": clean_name(name, what="persona's name")})

    def delete_persona(self, id_or_name: str) -> None:
        """Take it away; one that is gone already is no error when named by its id."""
        wanted = str(id_or_name).strip()
        path = self._persona_folder() / f"{wanted}.json"
        if not (wanted.isalnum() and path.exists()):
            path = self._persona_folder() / f"{self.persona(wanted).id}.json"
        path.unlink(missing_ok=True)

    # ---- inside ----------------------------------------------------------------------------------
    def _persona_folder(self) -> Path:
        folder = self.root / "personas"
        folder.mkdir(exist_ok=True)
        return folder

    def _changed(self, id_or_name: str, new: dict[str, Any]) -> Persona:
        return self._keep(self.persona(id_or_name).id, new, there=True)

    def _keep(self, persona_id: str, about: dict[str, Any], *, there: bool = False) -> Persona:
        """Write what is new over what is there, under a unique name. there: it must be there still."""
        path = self._persona_folder() / f"{persona_id}.json"
        with self.locked():
            before = read_json_cached(path)
            if there and before is None:
                raise NotFound(f"The persona '{persona_id}' was deleted meanwhile.", "Save it anew.")
            about = (before or {}) | about
            name = unique_name(about["name"], (one.name for one in self.personas() if one.id != persona_id))
            write_json(path, about | {"name": name})
        return self.persona(persona_id)


def _content(answers: Mapping[str, float], skipped: Sequence[str]) -> dict[str, Any]:
    items, values, out = [str(item) for item in answers], [float(value) for value in answers.values()], [str(item) for item in skipped]
    if len(items) + len(out) > MOST_ANSWERS:
        raise BadInput(f"A persona has at most {MOST_ANSWERS:,} answers; got {len(items) + len(out):,}.", "Leave some out.")
    if not all(map(math.isfinite, values)):
        raise BadInput(f"An answer must be a number; got {next(v for v in values if not math.isfinite(v))}.")
    if any(len(item) > MOST_ID_LENGTH for item in (*items, *out)):
        raise BadInput(f"An item id has at most {MOST_ID_LENGTH:,} characters.")
    return {"items": items, "values": values, "skipped": out}


def _read(root: Path, path: Path) -> Persona | None:
    """A persona, or None where the file is no persona (foreign or broken)."""
    about = read_json_cached(path)
    if not isinstance(about, dict) or about.get("id") != path.stem or not isinstance(about.get("name"), str):
        return None
    parts = [about.get(part) for part in ("items", "values", "skipped")]
    if not all(isinstance(part, list) for part in parts):
        return None
    items, values, skipped = parts
    numbers = all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    if len(items) != len(values) or len(set(map(str, items))) != len(items) or not numbers:
        return None
    dataset = str(about.get("dataset", ""))
    return Persona(
        id=path.stem,
        name=about["name"],
        dataset=dataset,
        dataset_name=str(about.get("dataset_name", "")),
        items=tuple(map(str, items)),
        values=tuple(map(float, values)),
        skipped=tuple(map(str, skipped)),
        created=str(about.get("created", "")),
        dataset_there=dataset.isalnum() and (root / "datasets" / dataset / "manifest.json").exists(),
    )
