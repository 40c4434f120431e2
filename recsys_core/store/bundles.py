"""Bundles of runs, kept in workspace/bundles/<id>/: manifest.json and bundle.zip. The id says which run and what was asked for."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import BadInput
from .entries import Entry

MOST_PRUNED = 0.9
VERSION = 1  # of what a bundle of the same run and request holds; raised when it holds something else


class BundleRequest(BaseModel):
    """What to bundle. JSON-able, so that a job can carry it.

    quantize, float16: smaller numbers. prune: share of factors, units or heads to take out. with_users: users' histories go along.
    columns: of the item table; None = title and categories. licence: a note for whoever gets the file; "" = of the data. compare: the
    usual smaller variants are measured for the report though nobody asked for them; they are not shipped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantize: Literal["int8"] | None = None
    prune: float | None = None
    float16: bool = False
    with_users: bool = True
    columns: tuple[str, ...] | None = None
    licence: str = ""
    compare: bool = False

    @classmethod
    def make(cls, **values: Any) -> BundleRequest:
        """A request, with BadInput in words instead of pydantic's own error."""
        if values.get("quantize") not in (None, "int8"):
            raise BadInput(f"Numbers can be quantised to int8; got '{values['quantize']}'.", "Leave it out, or give int8.")
        try:
            request = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; got {first.get('input')!r}.") from None
        if request.prune is not None and not 0 < request.prune <= MOST_PRUNED:
            raise BadInput(f"The share to prune must be above 0 and at most {MOST_PRUNED:g}; got {request.prune:g}.", "0.3 takes out 30 %.")
        return request

    def bundle_id(self, run_id: str) -> str:
        """The same for the same run and request."""
        asked = json.dumps([VERSION, run_id, self.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class BundleEntry(Entry):
    """A run as one file that answers anywhere."""

    @property
    def file(self) -> Path:
        return self.path / "bundle.zip"

    @property
    def run_id(self) -> str:
        return str(self.manifest.get("run", ""))

    @property
    def fingerprint(self) -> str:
        """SHA-256 that covers every byte of the file."""
        return str(self.manifest.get("fingerprint", ""))

    @property
    def request(self) -> dict[str, Any]:
        """What was asked for: a `BundleRequest` as plain values."""
        return self.manifest.get("request", {})

    @property
    def report(self) -> dict[str, Any]:
        """What it keeps of the trained model: {"sample", "k", "variants", "shipped", "warnings"}."""
        return self.manifest.get("report", {})

    @property
    def file_name(self) -> str:
        """A name any file system takes."""
        plain = re.sub(r"[^\w.-]+", "-", self.name, flags=re.UNICODE).strip("-.")[:80]
        return f"{plain or 'bundle'}.zip"


class Bundles:
    """Mixed into `Workspace`."""

    root: Path

    if TYPE_CHECKING:

        def _all(self, kind: str) -> list[Any]: ...
        def _find(self, kind: str, wanted: str) -> Any: ...

    def bundles(self, run: str | None = None) -> list[BundleEntry]:
        """All bundles, newest first; of one run (id) when given."""
        return [one for one in self._all("bundles") if run is None or one.run_id == run]

    def bundle(self, id_or_name: str) -> BundleEntry:
        """By id, name, or the first 6 or more characters of an id."""
        return self._find("bundles", id_or_name)

    def bundle_folder(self, bundle_id: str) -> Path:
        """Where a bundle is kept, whether or not it is there yet."""
        return self.root / "bundles" / bundle_id
