"""What the workspace holds, as read-only handles: a dataset, a run, an export. Each reads files only when asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import NotFound
from .files import read_json_cached, size_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd

    from ..data.dataset import Dataset, DatasetStats
    from ..data.holdout import Holdout
    from ..data.ids import IdMap
    from ..data.topk import TopK
    from ..models._base import Recommender


@dataclass(frozen=True)
class Entry:
    """A folder with a manifest.json."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Self:
        """The entry in a folder. Raises NotFound when there is none."""
        manifest = read_json_cached(path / "manifest.json")
        if not isinstance(manifest, dict):
            raise NotFound(f"There is nothing saved in '{path}'.", "It has no readable manifest.json.")
        return cls(path, manifest)

    @property
    def id(self) -> str:
        return str(self.manifest.get("id") or self.path.name)

    @property
    def name(self) -> str:
        return str(self.manifest.get("name") or self.id)

    @property
    def created(self) -> str:
        """ISO time, UTC."""
        return str(self.manifest.get("created", ""))

    @property
    def size_bytes(self) -> int:
        return size_bytes(self.path)


@dataclass(frozen=True)
class DatasetEntry(Entry):
    """A saved dataset: immutable, known by the hash of its content. already: it was there before it was added."""

    already: bool = False

    @property
    def stats(self) -> DatasetStats:
        """Sizes and what the data has; no arrays are read."""
        from ..data.dataset import DatasetStats

        return DatasetStats(**{name: self.manifest["stats"][name] for name in DatasetStats.__dataclass_fields__})

    @property
    def report(self) -> dict[str, Any]:
        """The ingest report as plain values (empty for data that did not come from a file)."""
        return (read_json_cached(self.path / "ingest.json") or {}).get("report") or {}

    @property
    def plan(self) -> dict[str, Any]:
        """How the file was read, as plain values (empty for data that did not come from a file)."""
        return (read_json_cached(self.path / "ingest.json") or {}).get("plan") or {}

    @property
    def rejects_path(self) -> Path | None:
        """The downloadable file of rejected rows, or None when none was rejected."""
        return next(iter(sorted(self.path.glob("rejects*"))), None)

    def load(self, features: str = "") -> Dataset:
        """Read it all, looked at with a feature set ("" = as guessed). Keep the result; ids and arrays are read-only."""
        from ..data.storage import load_dataset
        from .feature_sets import with_features

        return with_features(self, load_dataset(self.path), features)

    def ids(self) -> tuple[IdMap, IdMap]:
        """(users, items) without the interactions."""
        from ..data.ids import IdMap

        return IdMap.load(self.path / "users.parquet"), IdMap.load(self.path / "items.parquet")

    def table(self, side: Literal["user", "item"]) -> pd.DataFrame | None:
        """The user or item table (row = code), or None."""
        import pandas as pd

        path = self.path / f"{side}_table.parquet"
        return pd.read_parquet(path) if path.exists() else None

    def tests(self) -> list[dict[str, Any]]:
        """Test files saved beside the dataset, newest first: {"id", "name", "created", "stats"}."""
        manifests = [read_json_cached(path / "manifest.json") for path in (self.path / "tests").glob("*")]
        return sorted((m for m in manifests if isinstance(m, dict)), key=lambda m: str(m.get("created", "")), reverse=True)

    def load_test(self, test_id: str) -> Dataset:
        """A saved test file, with ids of its own. Raises NotFound."""
        from ..data.storage import load_dataset

        known = {str(m["id"]): m for m in self.tests()}
        if test_id not in known:
            raise NotFound(f"The dataset '{self.name}' has no saved test file '{test_id}'.", "Upload it again.")
        return load_dataset(self.path / "tests" / test_id)

    def quality(self) -> dict[str, Any]:
        """The quality report as plain values; computed once, then read from disk."""
        cached = read_json_cached(self.path / "quality.json")
        if cached is None:
            from ..data.quality import quality_report

            write_json(self.path / "quality.json", quality_report(self.load()))
            cached = read_json_cached(self.path / "quality.json")
        return cached


@dataclass(frozen=True)
class RunEntry(Entry):
    """A finished run. Pages read it; nothing is computed again."""

    @property
    def spec(self) -> dict[str, Any]:
        """dataset, split, split_params, model, params, ks, seed, refit as they were asked for."""
        return self.manifest.get("spec", {})

    @property
    def dataset_id(self) -> str:
        return str(self.spec.get("dataset", ""))

    @property
    def dataset(self) -> DatasetEntry | None:
        """Its dataset in the same workspace; None for a run of the command line, or when it was deleted."""
        try:
            return DatasetEntry.open(self.path.parents[1] / "datasets" / self.dataset_id) if self.dataset_id else None
        except NotFound:
            return None

    @property
    def model_key(self) -> str:
        return str(self.spec.get("model", ""))

    @property
    def split_id(self) -> str:
        """The same for runs that may be compared: same data, same split, same seed."""
        return str(self.manifest.get("split_id", ""))

    @property
    def resolved(self) -> dict[str, Any]:
        """The parameters after every "auto" was filled in."""
        return self.manifest.get("resolved", {})

    @property
    def notes(self) -> list[str]:
        return list(self.manifest.get("notes", []))

    @property
    def findings(self) -> dict[str, Any]:
        """What the fit found, for charts: of a fusion {"parts": [{"name", "label", "weight"}], …}; {} for most models."""
        return self.manifest.get("findings", {})

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Mean over users and its 95 % bootstrap interval: "ndcg@20" -> {"mean", "low", "high"}."""
        return self._measured.get("metrics", {})

    @property
    def overall(self) -> dict[str, float]:
        """Metrics of the whole set of lists: "coverage@20" -> value."""
        return self._measured.get("overall", {})

    @property
    def folds(self) -> list[dict[str, float]]:
        """k-fold: the means of each fold; else empty."""
        return self._measured.get("folds", [])

    @property
    def fold_spread(self) -> dict[str, float]:
        """k-fold: standard deviation of each mean between folds; else empty."""
        return self._measured.get("fold_spread", {})

    @property
    def _measured(self) -> dict[str, Any]:
        return read_json_cached(self.path / "metrics.json") or {}

    def per_user(self, part: str = "") -> pd.DataFrame:
        """One row a test user (index: user code), one column a metric@k; NaN where it is not defined. part: one of `parts`."""
        import pandas as pd

        return pd.read_parquet(self.path / (f"per_user_{part}.parquet" if part else "per_user.parquet"))

    def topk(self) -> TopK:
        """The lists of all test users."""
        from ..data.topk import TopK

        return TopK.load(self.path / "topk.npz")

    def candidates(self) -> TopK:
        """Deep lists of all test users, from which re-ranking chooses; those of `topk` until a job has made deeper ones."""
        from ..data.topk import TopK

        deep = self.path / "candidates.npz"
        return TopK.load(deep) if deep.exists() else self.topk()

    def training(self) -> Dataset:
        """What the model learnt from (fold 0 of k-fold), on the id maps of `ids`, with the dataset's tables. No model is loaded."""
        from ..data.storage import load_dataset, on_longer_ids

        entry = self.dataset
        tables = {side: entry.table(side) for side in ("user", "item")} if entry is not None else {}
        return on_longer_ids(load_dataset(self.path / "model" / "data"), *self.ids(), tables.get("user"), tables.get("item"))

    def ids(self) -> tuple[IdMap, IdMap]:
        """(users, items): the id maps that the codes of topk, holdout and per_user refer to."""
        from ..data.ids import IdMap

        folder = self.path / "ids" if (self.path / "ids").is_dir() else self.path / "model" / "data"
        return IdMap.load(folder / "users.parquet"), IdMap.load(folder / "items.parquet")

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Kinds of users and items measured apart (new items, new users): name -> {"label", "n_users", "n_interactions",
        "candidates": sentence, "metrics": as `metrics`}; {} for most splits, and for runs made before there were parts."""
        return self._measured.get("parts", {})

    def holdout(self, part: str = "") -> Holdout:
        """What the run, or one of its `parts`, was judged on (fold 0 of k-fold). Raises NotFound."""
        from .holdouts import read_holdout

        return read_holdout(self, part)

    def model(self, which: Literal["final", "fit"] = "final") -> Recommender:
        """The trained model. "fit": as it was before validation was added back (for learning fusion
        weights honestly); the same as "final" for models that never looked at validation."""
        from ..models._io import load_model

        folder = self.path / "fit_model" if which == "fit" and (self.path / "fit_model").is_dir() else self.path / "model"
        if not folder.is_dir():
            raise NotFound(f"The run '{self.name}' has no saved model.", "Train it again.")
        model = load_model(folder)
        dataset = self.dataset
        if dataset is not None and model.train is not None:  # a model is saved without the tables its dataset has
            tables = {f"{side}_table": dataset.table(side) for side in ("user", "item")}
            model.train = replace(model.train, **tables)
            for part in model._parts():
                part.train = model.train
        return model

    def history(self) -> list[dict[str, Any]]:
        """One entry an epoch: {"epoch", "seconds", …metrics}; empty for models without epochs."""
        return read_json_cached(self.path / "history.json") or []

    def card(self) -> dict[str, Any]:
        """The protocol card: how the figures were obtained."""
        return read_json_cached(self.path / "card.json") or {}


@dataclass(frozen=True)
class ExportEntry(Entry):
    """A written recommendation list."""

    @property
    def file(self) -> Path:
        return self.path / str(self.manifest.get("file", "recommendations.csv"))

    @property
    def rows(self) -> int:
        return int(self.manifest.get("rows", 0))

    @property
    def run_id(self) -> str:
        return str(self.manifest.get("run", ""))
