"""Neural matrix factorisation: a product of user and item factors and a small network, added up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Source
from ._base import VALIDATION_USERS
from ._interaction import InteractionRecommender
from ._interaction_params import PRODUCT_PAIRS, InteractionParams, auto_negatives, factors_param, hidden_param, layers_param

SHARES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the product part, tried on validation
JOINED_PATIENCE = 5  # what is joined is trained already: it gets better soon or not at all
BRANCHES = {"product": "Product of factors alone", "tower": "Network alone"}


class NeuMFParams(InteractionParams):
    factors: int | Literal["auto"] = factors_param("How many numbers describe a user and an item in the product part.")
    hidden: int | Literal["auto"] = hidden_param()
    layers: int = layers_param()
    pretraining: bool = param(
        True,
        label="Train the two parts alone first",
        help="First learns the product of factors and the network each alone, then joins them and goes on, as in the paper.",
    )
    alpha: float | Literal["auto"] = param(
        "auto",
        ge=0,
        le=1,
        label="Share of the product part when joined",
        help="With the parts trained first: how much the product of factors counts in the joined score; the network counts the rest. "
        "The paper takes 0.5. Automatic: what gives the best validation result.",
        advanced=True,
    )
    pretraining_rate: float = param(
        0.02,
        ge=0,
        le=10,
        label="Learning rate after joining",
        help="With the parts trained first: the learning rate of the joined network, as a share of the learning rate above.",
        advanced=True,
    )
    product_negatives: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=100_000,
        label="Items the product part is compared with",
        help="For the product part when it is trained alone first. Automatic: all items where they are not too many.",
        advanced=True,
    )
    product_epochs: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=5000,
        label="Passes of the product part alone, at most",
        help="Used when the two parts are trained alone first. Automatic: as many as for the whole.",
        advanced=True,
    )
    tower_epochs: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=5000,
        label="Passes of the network part alone, at most",
        help="Used when the two parts are trained alone first. Automatic: as many as for the whole.",
        advanced=True,
    )


class _Branch(InteractionRecommender):
    """One branch trained alone; a stage of NeuMF's training, no model of its own."""

    label = "Neural matrix factorisation (NeuMF)"
    Params = NeuMFParams

    def __init__(self, params: Params, branch: str) -> None:
        super().__init__(params)
        self.branch = self.key = branch

    def _sizes(self, params: Params | None = None) -> tuple[int, int, int]:
        factors, hidden, layers = super()._sizes(params)
        return (factors, 0, 0) if self.branch == "product" else (0, hidden, layers)


class NeuMF(InteractionRecommender):
    """Neural matrix factorisation.

    Source: He et al. 2017, https://arxiv.org/abs/1708.05031, eq. 12; pretraining: section 3.4.1, eq. 13.
    Differs: sampled softmax over a user's choices by default instead of binary cross-entropy (which is
    an option); item bias; moving average of the weights; the share of each part in the joined
    score is found on validation (the paper halves); the joined network goes on with AdamW at a lower rate, not SGD.
    Shapes: users × (factors + hidden) and items × (factors + hidden) numbers.
    Cost: an epoch of softmax touches interactions + users × negatives pairs; see benchmarks/deep_speed.py.
    """

    key = "neumf"
    label = "Neural matrix factorisation (NeuMF)"
    summary = (
        "Matrix factorisation with a small network beside it, and able to predict ratings; little better than the factorisation alone "
        "(GMF), at several times its cost."
    )
    source = Source("He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering (2017)", "https://arxiv.org/abs/1708.05031")
    Params = NeuMFParams
    _stages: dict[str, _Branch] | None = None

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        own = super().auto_params(params, stats)
        alone = auto_negatives(params, stats, PRODUCT_PAIRS) if params.negatives == "auto" else params.negatives
        return own | {"product_epochs": params.epochs, "tower_epochs": params.epochs, "product_negatives": alone, "alpha": 0.5}

    def _pass_seconds(self, stats: DatasetStats, p: Params) -> float:
        joined = super()._pass_seconds(stats, p)
        if not p.pretraining:
            return joined
        product = _Branch(p.with_(negatives=p.product_negatives), "product")._pass_seconds(stats, p.with_(negatives=p.product_negatives))
        return product + _Branch(p, "tower")._pass_seconds(stats, p) + 0.2 * joined  # joined, a few passes are enough

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        if not self.resolved.pretraining:
            return super()._fit(data, ctx, validation)
        self._stages, p = {}, self.resolved
        for number, (branch, title) in enumerate(BRANCHES.items()):
            negatives = p.product_negatives if branch == "product" else p.negatives
            stage = _Branch(p.with_(epochs=getattr(p, f"{branch}_epochs"), negatives=negatives), branch)
            self._stages[branch] = stage.fit(data, ctx.part(title, number / 3, (number + 1) / 3), validation=validation)
            self.notes += [f"{title}: {note}" for note in stage.notes]
        if self.params.alpha == "auto" and validation is not None and len(validation.users):
            self.resolved = p.with_(alpha=self._best_alpha(data, ctx, validation))
            self.notes.append(f"Joined: the product of factors counts {self.resolved.alpha:.0%}, the network the rest (by validation).")
        self.resolved = self.resolved.with_(patience=min(p.patience, JOINED_PATIENCE))
        super()._fit(data, ctx.part("Both joined", 2 / 3, 1.0), validation)
        self.resolved = self.resolved.with_(patience=p.patience)

    def _best_alpha(self, data: Dataset, ctx: RunContext, validation: Holdout) -> float:
        """The share in `SHARES` whose joined score validates best."""
        from ...nn.runtime import seeded

        sample = validation.sample(VALIDATION_USERS, ctx.rng("validation users"))
        p, scores = self.resolved, []
        for share in SHARES:
            ctx.check()
            self.resolved = p.with_(alpha=share)
            with seeded(ctx.seed_for("weights")):
                self.network = self._build(data.n_users, data.n_items).eval()
            self._ready()
            scores.append(self._validation_score(sample))
        larger_is_better = self._validation_metric(validation)[1]
        return SHARES[int(np.argmax(scores) if larger_is_better else np.argmin(scores))]

    def _build(self, n_users: int, n_items: int) -> Any:
        network = super()._build(n_users, n_items)
        if self._stages:
            network.join(self._stages["product"].network, self._stages["tower"].network, self.resolved.alpha)
        return network

    def _settings(self, *arguments: Any) -> Any:
        settings = super()._settings(*arguments)
        if not self._stages:
            return settings
        return replace(settings, learning_rate=settings.learning_rate * self.resolved.pretraining_rate)

    def refit_params(self) -> Params:
        found = {f"{branch}_epochs": stage.best_epoch for branch, stage in (self._stages or {}).items() if stage.best_epoch}
        return super().refit_params().with_(**found)
