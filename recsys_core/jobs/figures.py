"""What a run measured, as written beside it: means with intervals, folds, and the kinds of users and items measured apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..data.topk import TIED_SHARE, TopK
from ..evaluation.protocol import candidates_sentence
from ..metrics import Catalog, Evaluation, evaluate
from ..models._base import Recommender
from ..splitting._base import PARTS, Split
from ..store.files import plain


@dataclass
class Part:
    """One kind of users and items: the holdout, its lists (k as wanted) and figures."""

    holdout: Holdout
    top: TopK
    evaluation: Evaluation


def measure_parts(model: Recommender, split: Split, top: TopK, of_test: Evaluation, ks: Sequence[int]) -> dict[str, Part]:
    """Every part of the split; one that is the test itself is not listed and measured a second time."""
    from .training import recommend_test

    out, catalog = {}, Catalog.from_dataset(split.train)
    for key, holdout in split.parts.items():
        if holdout is split.test:
            out[key] = Part(holdout, top, of_test)
            continue
        lists = recommend_test(model, replace(split, test=holdout), max(ks))
        out[key] = Part(holdout, lists, evaluate(lists, holdout, catalog, ks))
    return out


def part_figures(parts: dict[str, Part], n_items: int) -> dict[str, Any]:
    """{name: {"label", "n_users", "n_interactions", "candidates", "metrics": {"ndcg@10": {"mean", "low", "high"}}}}."""
    return plain(
        {
            key: {
                "label": PARTS[key],
                "n_users": part.evaluation.n_users,
                "n_interactions": len(part.holdout.truth),
                "candidates": candidates_sentence(part.holdout.candidates, n_items, part=key),
                "metrics": _metrics(part.evaluation),
            }
            for key, part in parts.items()
        }
    )


def write_parts(parts: dict[str, Part], test: Holdout, folder: Path) -> None:
    """per_user_<part>.parquet of every part, and parts.npz with the holdouts that are not the test itself."""
    arrays: dict[str, np.ndarray] = {}
    for key, part in parts.items():
        part.evaluation.per_user.rename_axis("user").to_parquet(folder / f"per_user_{key}.parquet")
        if part.holdout is not test:
            arrays |= holdout_arrays(part.holdout, f"{key}.")
    if arrays:
        np.savez_compressed(folder / "parts.npz", **arrays)


def holdout_arrays(holdout: Holdout, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of a holdout, as `RunEntry.holdout` reads them back."""
    out = {}
    for name, data in (("truth", holdout.truth), ("given", holdout.given)):
        if data is not None:
            columns = {column: getattr(data, column) for column in ("user", "item", "value", "time")}
            out |= {f"{prefix}{name}_{column}": values for column, values in columns.items() if values is not None}
    return out | ({} if holdout.candidates is None else {f"{prefix}candidates": np.asarray(holdout.candidates, dtype=np.int32)})


def new_item_notes(model: Recommender, parts: dict[str, Part], train: Dataset) -> list[str]:
    """Whether the order of the new items means anything: a sentence where it does not."""
    counts = np.bincount(train.item, minlength=train.n_items)
    told = [part for part in parts.values() if _only_untrained(part.holdout.candidates, counts) and len(part.top)]
    if not told:
        return []
    tied = np.concatenate([part.top.tied for part in told]).mean() >= TIED_SHARE
    if model.reads(model.params) and train.item_table is not None and not tied:
        return []
    why = "it gives all of them the same score" if tied else "it knows nothing of an item but who chose it"
    return [f"This recommender knows nothing of the new items ({why}): its order among them is arbitrary, no better than chance."]


def _only_untrained(candidates: np.ndarray | None, train_counts: np.ndarray) -> bool:
    return candidates is not None and len(candidates) > 0 and not train_counts[candidates].any()


def pooled(evaluations: list[Evaluation]) -> Evaluation:
    """One evaluation of all folds: a user's figure is the mean over the folds it is tested in."""
    if len(evaluations) == 1:
        return evaluations[0]
    per_user = pd.concat([e.per_user for e in evaluations]).groupby(level=0).mean()
    overall = pd.DataFrame([e.overall for e in evaluations]).mean().to_dict()
    notes = tuple(dict.fromkeys(note for e in evaluations for note in e.notes))
    return replace(evaluations[0], per_user=per_user, overall=overall, notes=notes)


def figures(evaluations: list[Evaluation]) -> dict[str, Any]:
    """metrics.json: means with intervals, overall figures; for k-fold each fold's means and their spread."""
    whole = pooled(evaluations)
    out: dict[str, Any] = {
        "ks": list(whole.ks),
        "n_users": whole.n_users,
        "metrics": _metrics(whole),
        "overall": whole.overall,
        "notes": list(whole.notes),
    }
    if len(evaluations) > 1:
        folds = [e.means() for e in evaluations]
        out["folds"] = folds
        out["fold_spread"] = pd.DataFrame(folds).std(ddof=1).to_dict()
    return plain(out)


def _metrics(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    means = evaluation.means()
    return {name: {"mean": means[name], "low": low, "high": high} for name, (low, high) in evaluation.intervals().items()}
