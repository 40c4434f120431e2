"""Some models say what comes into question, another puts it in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..context import RunContext
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.topk import top_k
from ..errors import ParamError
from ..models._base import Source
from ..models._portable import Portable
from ..params import param
from ._base import FusedModel
from ._parts import FusionParams

LAST = "last"


class Cascade(FusedModel):
    """The union of the candidate models' top N, in the order of another model's scores.

    Source: Covington, Adams, Sargin: Deep neural networks for YouTube recommendations (2016), section 2: candidates, then ranking.
    Differs: several candidate models, all items scored by the ordering model and the others put behind, in its order too, so
    that a list never ends early. Items beyond the N that tie with the last candidate stay out, lower item codes first.
    Shapes: P × (B, I) -> (B, I). Cost: the parts' own, and a partial sort of B × I a candidate model; fitted twice where the
    recall of the candidates is measured.
    """

    key = "cascade"
    label = "Cascade"
    summary = "Takes candidates from sturdy models and lets a sharper one order them, so that it cannot go astray in the long tail."
    source = Source(
        "Covington, Adams, Sargin: Deep Neural Networks for YouTube Recommendations (2016)", "https://doi.org/10.1145/2959100.2959190"
    )

    class Params(FusionParams):
        order_by: str = param(
            LAST,
            label="Put in order by",
            help="The model that orders the candidates; the others find them. last: the last of the models to combine.",
        )
        candidates: int = param(
            100,
            label="Candidates of each model",
            help="How many items each of the other models puts forward for a user.",
            ge=1,
            le=100_000,
            tune=(20, 1000, "log"),
        )
        measure: bool = param(
            True,
            label="Measure the candidates",
            help="Tell which share of what held-out users took is among the candidates. The models are fitted once more for it.",
            advanced=True,
        )

    def __init__(self, params: Any = None, **values: Any) -> None:
        super().__init__(params, **values)
        models, order_by = self.params.models, self.params.order_by
        if len(models) < 2:
            rule = f"models for {self.label} must be two at least: one to find candidates, one to order them; got {', '.join(models)}."
            raise ParamError(rule)
        if order_by not in (LAST, *models):
            raise ParamError(f"order_by for {self.label} must be 'last' or one of {', '.join(models)}; got {order_by!r}.")

    @property
    def _orders(self) -> int:
        """The part that orders."""
        models, name = self.params.models, self.params.order_by
        return len(models) - 1 if name == LAST else models.index(name)

    @property
    def _finders(self) -> list[int]:
        return [number for number in range(len(self.params.models)) if number != self._orders]

    # ---- how good the candidates are -------------------------------------------------------------
    def learns(self) -> bool:
        return self.params.measure

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        super()._fit(data, ctx, validation)
        if validation is not None and not self.learnt:  # there all the same, for the sake of a part
            self.learnt = self._learn(validation, ctx)

    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        """Recall of the candidates, of all and of each model's alone: the mean over held-out users; how many there are."""
        found, sizes = [], []
        for _, given, _, relevant, raw in self._held_out_blocks(validation, ctx):
            hidden, wanted = given.matrix(self.fitted.n_items).toarray().astype(bool), relevant.toarray().astype(bool)
            each = self._candidates(raw, hidden)
            masks = [np.any(each, axis=0), *each]
            n_wanted = wanted.sum(axis=1)
            found.append(np.stack([(mask & wanted).sum(axis=1) / np.maximum(n_wanted, 1) for mask in masks], axis=1)[n_wanted > 0])
            sizes.append(masks[0].sum(axis=1))
        recalls, size = np.concatenate(found).mean(axis=0), float(np.concatenate(sizes).mean())
        n, labels = self.params.candidates, self.part_labels()
        labels = [labels[number] for number in self._finders]
        alone = ", ".join(f"{label} {recall:.0%}" for label, recall in zip(labels, recalls[1:], strict=True))
        told = f" (alone: {alone})" if len(labels) > 1 else ""
        self.notes.append(
            f"On {len(np.concatenate(found)):,} held-out users the first {n:,} of {' and '.join(labels)}, {size:,.0f} items on average, "
            f"hold {recalls[0]:.0%} of what was held out{told}."
        )
        return {"recall": float(recalls[0]), "recalls": recalls[1:], "n_candidates": size}

    def findings(self) -> dict[str, Any]:
        """With "order": the label of the part that orders, and "candidates": {"depth", "parts": labels; where measured "mean",
        "recall" of all, "recalls" of each}. The weights of the parts say nothing here: "weighs" is False."""
        labels = self.part_labels()
        about: dict[str, Any] = {"depth": self.params.candidates, "parts": [labels[number] for number in self._finders]}
        if self.learnt:
            about |= {"mean": self.learnt["n_candidates"], "recall": self.learnt["recall"]}
            about |= {"recalls": [float(value) for value in self.learnt["recalls"]]}
        return super().findings() | {"order": labels[self._orders], "candidates": about, "weighs": False}

    # ---- scoring ---------------------------------------------------------------------------------
    def _candidates(self, scores: list[np.ndarray], hidden: np.ndarray) -> list[np.ndarray]:
        """bool (B, I) of every candidate model: its top N of what the user has not had."""
        masks = []
        for number in self._finders:
            items, _ = top_k(np.where(hidden, -np.inf, np.asarray(scores[number], dtype=np.float32)), self.params.candidates)
            mask = np.zeros(hidden.shape, dtype=bool)
            row, place = np.nonzero(items >= 0)
            mask[row, items[row, place]] = True
            masks.append(mask)
        return masks

    def _portable(self) -> Portable:
        return self._packed("cascade", order=self._orders, candidates=self.params.candidates)

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        hidden = histories.matrix(self.fitted.n_items).toarray().astype(bool)
        inside = np.any(self._candidates(scores, hidden), axis=0)
        own = np.asarray(scores[self._orders], dtype=np.float32)
        low, high = own.min(axis=1, keepdims=True), own.max(axis=1, keepdims=True)
        behind = 1.001 * (high - low) + 1e-3 * np.maximum(1, np.abs(high))  # a little more than the whole span
        return np.where(inside | hidden, own, own - behind).astype(np.float32)

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        hidden = history.matrix(self.fitted.n_items).toarray().astype(bool)
        each = [bool(mask[0, item]) for mask in self._candidates(scores, hidden)]
        labels, n = self.part_labels(), self.params.candidates
        by = " and ".join(labels[number] for number, has in zip(self._finders, each, strict=True) if has)
        orders = labels[self._orders]
        if by:
            said = f"A candidate, for it is among the first {n:,} of {by}; its place is decided by {orders} alone."
        else:
            said = f"No candidate of any model, so it stands behind all candidates; its place there is decided by {orders} alone."
        return np.eye(len(scores))[self._orders], 1.0, False, said
