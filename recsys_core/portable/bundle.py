"""An opened bundle: one trained model with all that answering takes. numpy alone, onnxruntime where a network is in it.

bundle = Bundle.open("als.zip")
codes, scores = bundle.best(History.of(bundle.items.encode(["b0042"])), k=10)
bundle.items.decode(codes)
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import registry
from ..errors import BadInput, WorkbenchError
from .archive import Archive
from .forms._base import Form, Network
from .history import History
from .ids import ItemIds, UserCodes
from .lists import best_of
from .matrix import Dense, Matrix, Sparse
from .scale import Scale

__all__ = ["Bundle", "best_of", "load_form"]


class Index(Protocol):
    """Finds the items whose vectors have the largest products with a user's; `serving.live.near.Near` is one."""

    def best(self, bundle: Bundle, vector: np.ndarray, k: int, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None: ...


class Bundle:
    """manifest: what the bundle says of itself. form: the model. counts: float32 (I,) interactions of every item in training.

    The model's catalogue is the first `n_items` codes of `items`; what was added to `items` later is not its business.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive, self.manifest = archive, archive.manifest
        try:
            self.items = ItemIds(list(archive.json("items.json")))
            self.n_items = len(self.items)
            self.counts = np.asarray(archive.array("counts"), np.float32)
            self.users = UserCodes(*(archive.array(f"users/{name}") if f"users/{name}.npy" in archive else np.empty(0, kind)
                                     for name, kind in (("hashes", np.uint64), ("codes", np.int32))))  # fmt: skip
            self.scale = Scale(**self.manifest["scale"])
            self.form = load_form(archive, archive.json("model.json"), "model", self.counts)
        except WorkbenchError:
            raise
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            said = f"{type(error).__name__}: {str(error)[:120]}"
            raise BadInput(f"'{archive.path.name}' cannot be used ({said}).", "Make the bundle again from its run.") from error

    @classmethod
    def open(cls, path: Path | str, *, fingerprint: str | None = None) -> Bundle:
        """Check and open a bundle file. Raises BadInput with the reason when it cannot be trusted or read."""
        return cls(Archive.open(path, fingerprint=fingerprint))

    @property
    def fingerprint(self) -> str:
        return self.archive.fingerprint

    @property
    def label(self) -> str:
        return str(self.manifest["model"]["label"])

    # ---- who ---------------------------------------------------------------------------------------
    @property
    def has_histories(self) -> bool:
        """Whether it was made with its users."""
        return "users/indptr.npy" in self.archive

    def history(self, user: int) -> History:
        """All a training user did (code), oldest first; empty where the bundle was made without users."""
        if user < 0 or not self.has_histories:
            return History.of([])
        indptr = self._histories["indptr"]
        at = slice(int(indptr[user]), int(indptr[user + 1]))
        times = self._histories.get("times")
        items, values = self._histories["items"][at], self._histories["values"][at]
        return History(items.astype(np.int32), values.astype(np.float32), None if times is None else times[at].astype(np.int64))

    @cached_property
    def _histories(self) -> dict[str, np.ndarray]:
        names = [name for name in ("indptr", "items", "values", "times") if f"users/{name}.npy" in self.archive]
        return {name: self.archive.array(f"users/{name}") for name in names}

    # ---- what --------------------------------------------------------------------------------------
    @cached_property
    def popularity(self) -> np.ndarray:
        """float32 (I,), in [0, 1]: what is served where the model has nothing to go by."""
        return self.counts / max(1.0, float(self.counts.max(initial=0)))

    def scores(self, history: History, user: int = -1, trained: int = 0) -> np.ndarray:
        """float32 (I,), a fresh array. history: as it happened; dislikes are kept from models of choices (`Scale.told`, and its `trained`).
        user: see `Form.scores`."""
        told = history if user >= 0 else self.scale.told(history, trained)
        if not len(told) and not self.form.serves_nothing:
            return self.popularity.copy()
        return np.asarray(self.form.scores(told, user), np.float32)

    def best(
        self, history: History, k: int, *, user: int = -1, seen: np.ndarray | None = None, near: Index | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(codes, scores) of the k best items, best first, ties by code; `seen` codes (default: the history) left out. near: an index of
        the item vectors, searched where the user's vector is found from the history (`user` -1) and the index has enough to offer."""
        gone = history.items if seen is None else seen
        if near is not None and user < 0 and len(told := self.scale.told(history)):
            vector = self.form.vector(told)
            found = None if vector is None else near.best(self, vector, k, gone)
            if found is not None:
                return found
        scores = self.scores(history, user)
        scores[gone] = -np.inf
        return best_of(scores, k)

    @cached_property
    def table(self) -> dict[str, list[Any]]:
        """Columns of the item table that were chosen: name -> one value an item (None: not known)."""
        return self.archive.json("item_table.json") if "item_table.json" in self.archive else {}

    @property
    def title_column(self) -> str | None:
        return self.manifest.get("title_column")


class _Stored:
    """`forms._base.Stored` out of an archive."""

    def __init__(self, archive: Archive, about: dict[str, Any], prefix: str, counts: np.ndarray, parts: tuple[Form, ...]) -> None:
        self._archive, self._about, self._prefix = archive, about, prefix
        self.settings: dict[str, Any] = about.get("settings", {})
        self.parts, self.counts = parts, counts

    def has(self, name: str) -> bool:
        return name in self._about["matrices"] or name in self._about.get("networks", ())

    def matrix(self, name: str) -> Matrix:
        about, at = self._about["matrices"][name], f"{self._prefix}/{name}"
        if about["kind"] == "sparse":
            parts = (self._archive.array(f"{at}.{part}") for part in ("indptr", "indices", "data"))
            return Sparse(*parts, n_columns=int(about["shape"][1]))
        values = self._archive.array(at)
        scales = self._archive.array(f"{at}.scales") if about["codec"] == "int8" else None
        return Dense(values.reshape(len(values), -1) if values.ndim != 2 else values, scales)

    def array(self, name: str) -> np.ndarray:
        about = self._about["matrices"][name]
        if about["kind"] == "sparse":
            return self.matrix(name).take(np.arange(about["shape"][0]))
        if about["codec"] == "raw":
            return self._archive.array(f"{self._prefix}/{name}")
        return self.matrix(name).take(slice(None)).reshape(about["shape"])

    def network(self, name: str) -> Network:
        from .network import OnnxNetwork

        return OnnxNetwork(self._archive.read(f"{self._prefix}/{name}.onnx"))


def load_form(archive: Archive, about: dict[str, Any], prefix: str, counts: np.ndarray) -> Form:
    """The form a model.json describes, parts first."""
    parts = tuple(load_form(archive, part, f"{prefix}.{n}", counts) for n, part in enumerate(about.get("parts", ())))
    return registry.get("form", about["form"])(_Stored(archive, about, prefix, counts, parts))
