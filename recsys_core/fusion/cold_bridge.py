"""Cold-item bridge: any model gets items nobody has chosen yet into its lists, by what the item table says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..context import RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..errors import Unsupported
from ..models._base import Cost, Explanation, Need, Recommender, Source
from ..models._features import SideFeatures
from ..models._portable import Portable
from ..models.features._content import READ, UNREAD, WIDEST, ItemVectors, item_table
from ..params import param
from ._base import FusedModel
from ._bridge import (
    FOLDS,
    LANDMARKS,
    NETWORK_STRENGTHS,
    SAMPLE,
    STRENGTHS,
    Bridge,
    Trial,
    kernel_features,
    network_bridge,
    ridge_bridge,
    shift_for,
    strongest_as_good,
)
from ._parts import FusionParams

EXPLAINED = 300  # warm items whose own reasons are asked for


class BridgeParams(FusionParams):
    most_parts: ClassVar[int | None] = 1
    models: list[str] = param(
        ["ease"],
        label="Model",
        help="The one model that gets new items into its lists: a key such as ease, or run:… for a model that is trained already.",
    )
    method: Literal["ridge", "kernel", "network"] = param(
        "ridge",
        label="Way from columns to scores",
        help="Ridge: a weighted sum of the columns. Kernel: items alike in all columns at once. Network: a small neural network, "
        "worth a try on large catalogues.",
    )
    regularization: float | Literal["auto"] = param(
        "auto",
        label="Regularization",
        help="How strongly it is held back from fitting chance. Auto tries several on items that are left out in turn.",
        gt=0,
        le=1_000,
        tune=(0.0003, 1, "log"),
    )
    fields: Literal["categories and text", "categories", "everything"] = param(
        "everything", label="Columns read", help="Which kinds of columns of the item table place a new item."
    )
    popularity: float = param(
        0.25,
        label="Say of popular items",
        help="0: all items with interactions teach alike. 1: each as much as it has interactions, for scores of rare items are noisy.",
        ge=0,
        le=2,
        tune=(0, 1, "linear"),
        advanced=True,
    )
    fewer_than: int = param(
        1,
        label="New below",
        help="Items with fewer relevant interactions than this count as new; 1 means those without any.",
        ge=1,
        le=1_000,
        advanced=True,
    )
    new_item_share: float | None = param(
        None,
        label="Share of new items",
        help="How much of the first 20 places new items take on the whole. Without a number: as well as they fit each user.",
        ge=0,
        le=1,
        advanced=True,
    )
    factors: int = param(
        64,
        label="Factors",
        help="Only for network: how many numbers the scores of an item are reduced to.",
        ge=1,
        le=512,
        tune=(16, 128, "log"),
        advanced=True,
    )


class ColdBridge(FusedModel):
    """One model's lists with new items in them; its scores of all other items stay as they are.

    Source: Gantner, Drumond, Freudenthaler, Rendle, Schmidt-Thieme (2010), "Learning Attribute-to-Feature Mappings for Cold-Start
    Recommendations", ICDM, https://doi.org/10.1109/ICDM.2010.129; network: after Volkovs, Yu, Poutanen (2017), "DropoutNet", NeurIPS.
    Differs: item vectors need not be known: a ridge regression of them on the features is a fixed weighted sum of the items that
    have interactions, so the same sum over the model's scores serves any model (`_bridge`). The network learns the singular vectors
    of the scores instead of being trained with the model, and sees features only.
    Choice of the regularisation: warm items are left out in five groups, also of the users' histories; NDCG@20 among them decides.
    Shapes: base (n,), left (n, m), right (m, new).
    Cost: the model's own; 8 × n × m² for the regression; a list costs n × m + m × new more.
    """

    key = "cold_bridge"
    label = "Cold-item bridge"
    summary = "Gives a model you already like the items nobody has chosen yet, placed by their columns; needs an item table."
    source = Source(
        "Gantner, Drumond, Freudenthaler, Rendle, Schmidt-Thieme: Learning Attribute-to-Feature Mappings for Cold-Start "
        "Recommendations, ICDM 2010",
        "https://doi.org/10.1109/ICDM.2010.129",
    )
    needs = frozenset({Need.ITEM_TABLE})
    Params = BridgeParams

    @classmethod
    def auto_params(cls, params: BridgeParams, stats: DatasetStats) -> dict[str, Any]:
        return {"regularization": 0.03}

    def cost(self, stats: DatasetStats) -> Cost:
        plain, width = super().cost(stats), min(LANDMARKS if self.params.method == "kernel" else 300, stats.n_items)
        memory = 8 * stats.n_items * (2 * max(width, WIDEST) + 200) + FOLDS * 4 * min(SAMPLE, stats.n_users) * stats.n_items
        network = self.params.method == "network"
        tried = len(NETWORK_STRENGTHS if network else STRENGTHS) * FOLDS if self.params.regularization == "auto" else 1
        of_one = 1.5e-6 * stats.n_items * (width + self.params.factors) if network else 2e-10 * stats.n_items * width**2
        seconds = of_one * tried + 1e-8 * min(SAMPLE, stats.n_users) * stats.n_items * FOLDS
        return replace(plain, memory_bytes=plain.memory_bytes + memory, seconds=plain.seconds + 0.5 + seconds)

    @classmethod
    def reads(cls, params: Any) -> bool:
        return True

    @classmethod
    def judged_on_new(cls, params: Any) -> bool:
        """Its model's: the bridge itself learns from training items that are left out in turn."""
        return super().reads(params)

    # ---- fitting ---------------------------------------------------------------------------------
    def for_refit(self) -> Recommender:
        """Fitted anew on all of train: other items are new then, so nothing but the settings is handed on."""
        return Recommender.for_refit(self)

    def refit_params(self) -> Any:
        return super().refit_params().with_(regularization=self.resolved.regularization)

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        self.learnt, self._again = {}, []
        part = ctx.part("Reading the item table", 0.0, 0.1)
        read = SideFeatures.fit(data, part, sides=("item",), without=UNREAD[self.params.fields])
        vectors = ItemVectors.of(item_table(read), READ[self.params.fields])
        self.parts = self._fit_parts(data, ctx.part("", 0.1, 0.7), validation)
        is_new = data.item_counts < self.params.fewer_than
        new, warm = np.flatnonzero(is_new), np.flatnonzero(~is_new)
        if not len(warm):
            rule = f"Every item has fewer than {self.params.fewer_than} interactions, so there is none to learn from."
            raise Unsupported(rule, "Lower the number below which an item is new.")
        self.learnt = self._learnt_bridge(vectors, warm, new, ctx.part("bridge", 0.7, 1.0))
        few = "without interactions" if self.params.fewer_than == 1 else f"with fewer than {self.params.fewer_than} interactions"
        said = f"{len(new):,} items {few} were placed by their columns" if len(new) else f"No item is {few}, so nothing was added"
        self.notes.append(f"{said}. Regularization: {self.resolved.regularization:g}.")

    def _learnt_bridge(self, vectors: ItemVectors, warm: np.ndarray, new: np.ndarray, ctx: RunContext) -> dict[str, Any]:
        data, chosen = self.fitted, self.resolved
        rng, kernel = ctx.rng("bridge features"), chosen.method == "kernel"
        features = kernel_features(vectors, warm, 0.7, rng) if kernel else vectors.short(rng)
        users = np.flatnonzero(data.user_counts)
        users = np.sort(ctx.rng("bridge users").choice(users, min(SAMPLE, len(users)), replace=False))
        say = np.maximum(data.item_counts, 1).astype(np.float64) ** chosen.popularity

        def build(kept: np.ndarray, asked: np.ndarray, scores: np.ndarray, strength: float) -> Bridge:
            if chosen.method == "network":
                return network_bridge(features[kept], features[asked], say[kept], strength, scores, chosen.factors, ctx)
            return ridge_bridge(features[kept], features[asked], say[kept], strength)

        if self.params.regularization == "auto":
            trial = Trial(self._of_histories, data.histories(users), data.n_items, data.threshold, warm, ctx).prepare()
            strengths = NETWORK_STRENGTHS if chosen.method == "network" else STRENGTHS
            tried = {strength: trial.quality(lambda *a, s=strength: build(*a, s)) for strength in strengths}
            self.resolved = self.resolved.with_(regularization=strongest_as_good(tried))
        own = self._raw(data.histories(users), users)[0]
        bridge = build(warm, new, own[:, warm], self.resolved.regularization)
        learnt = {"warm": warm, "new": new, "base": bridge.base, "left": bridge.left, "right": bridge.right, "shift": 0.0}
        if chosen.new_item_share is not None and len(new):
            seen = data.matrix("seen")[users][:, warm].toarray() > 0
            learnt["shift"] = shift_for(chosen.new_item_share, own[:, warm], bridge.scores(own[:, warm]), seen)
        return learnt

    def _of_histories(self, histories: Histories) -> np.ndarray:
        return self._raw(histories, None)[0]

    # ---- scoring ---------------------------------------------------------------------------------
    @property
    def bridge(self) -> Bridge:
        return Bridge(*(np.asarray(self.learnt[name]) for name in ("base", "left", "right")))

    def _portable(self) -> Portable:
        arrays = {name: np.asarray(self.learnt[name]) for name in ("warm", "new", "base", "left", "right")}
        return self._packed("cold_bridge", arrays, shift=float(self.learnt["shift"]), explained=EXPLAINED)

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        out = np.array(scores[0], dtype=np.float32)
        warm = out[:, self.learnt["warm"]]
        out[:, self.learnt["new"]] = self.bridge.scores(warm)
        if shift := float(self.learnt["shift"]):
            out[:, self.learnt["new"]] += shift * warm.std(axis=1, keepdims=True)
        return out

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """A new item is like what the items that stand for it are like."""
        part, new = self.parts[0], np.asarray(self.learnt["new"])
        if not part.card().has_similar:
            raise Unsupported(f"{part.label} cannot find similar items.", "Build the bridge on one that can, such as item_knn or ease.")
        warm, out = np.asarray(self.learnt["warm"]), np.empty((len(items), self.fitted.n_items), np.float32)
        place = np.searchsorted(new, items)
        is_new = np.isin(items, new)
        for row in np.flatnonzero(is_new):
            said = self.bridge.weights(place[row])
            strongest = np.argsort(-said, kind="stable")[:EXPLAINED]
            out[row] = said[strongest] @ np.nan_to_num(part._similar(warm[strongest]), neginf=0.0)
        if not is_new.all():
            out[~is_new] = np.nan_to_num(part._similar(items[~is_new]), neginf=0.0)
        return self._combine([out], None)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        part = self.parts[0]
        if not part.card().can_explain:
            return super()._explain(item, history, user, k)
        place = int(np.searchsorted(self.learnt["new"], item))
        if place == len(self.learnt["new"]) or self.learnt["new"][place] != item:
            return part._explain(item, history, user, k)
        raw = self._raw(history, None if user is None else np.array([user]))
        total, warm = float(self._combine(raw, history)[0, item]), np.asarray(self.learnt["warm"])
        said = self.bridge.weights(place)
        stand_ins = np.argsort(-np.abs(said * raw[0][0, warm]), kind="stable")[:EXPLAINED]
        parts = np.zeros(self.fitted.n_items)
        for number in stand_ins:
            told = part._explain(int(warm[number]), history, user, self.fitted.n_items)
            if told.kind != "history":
                return super()._explain(item, history, user, k)
            np.add.at(parts, np.asarray(told.refs, dtype=np.int64), said[number] * np.asarray(told.contributions))
        exact = bool(np.isclose(parts.sum(), total, rtol=1e-3, atol=1e-5))
        method = "Items like this one by their columns stand for it; what the history says for them, weighted and added up."
        told = Explanation.of_history(np.flatnonzero(parts), parts[parts != 0], self.fitted.n_items, method)
        best = replace(told, refs=told.refs[:k], contributions=told.contributions[:k])  # what speaks for it comes first
        # Mixed: parts of a sum even where they fall short of it, and no falls of the score as reasons of other models are.
        return best if exact else replace(best, kind="mixed", sorts=("history",) * len(best.refs), total=total, exact=False)
