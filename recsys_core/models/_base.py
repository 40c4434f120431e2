"""The contract every model keeps.

Public verbs are final: they check, mask, batch and fall back. A model writes `_fit`, and `_history_scores` or `_scores` or both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse

from .. import params as params_module
from ..context import QUIET, RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.topk import TopK, top_k
from ..errors import ParamError, Unsupported
from ..params import Params
from ._card import Card, Cost, Explanation, Need, Source, block_bytes
from ._masking import allowed_mask, check_k, masked, rows_or_empty, top_k_fair
from ._portable import Packing
from ._reading import Reading
from ._scoring import Scoring
from ._updating import Updating


class Recommender(Reading, Scoring, Packing, Updating, ABC):
    """One model. Class attributes describe it; an instance holds params, then what was learnt.

    `params` is what was asked, `resolved` what "auto" became (after fit). `train` is the training set.
    """

    key: ClassVar[str]
    label: ClassVar[str]
    family: ClassVar[str]  # "Baseline", "Neighbourhood", "Linear", "Matrix factorisation", "Deep", "Fused", …
    summary: ClassVar[str]  # one sentence: when to prefer it
    source: ClassVar[Source | None] = None
    needs: ClassVar[frozenset[Need]] = frozenset()
    uses_validation: ClassVar[bool] = False  # early stopping or learnt weights: wants `validation` in fit
    personalised: ClassVar[bool] = True  # False: the same list for everybody, no fallback needed
    ablation_axes: ClassVar[dict[str, tuple[Any, ...]]] = {}  # parts of the architecture: parameter -> values an ablation tries
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Params | None = None, **values: Any) -> None:
        if params is None:
            params = params_module.build(self.Params, values, owner=self.label)
        elif values or not isinstance(params, self.Params):
            raise ParamError(f"{self.label} takes either a {self.Params.__qualname__} or keyword values, not both.")
        self.params = params
        self.resolved: Params = params
        self.train: Dataset | None = None
        self.notes: list[str] = []  # sentences for the user about what the fit decided or could not do

    # ---- describing ------------------------------------------------------------------------------
    @classmethod
    def card(cls) -> Card:
        """The description everything outside the core reads."""
        return Card(
            key=cls.key,
            label=cls.label,
            family=cls.family,
            summary=cls.summary,
            needs=tuple(sorted(cls.needs)),
            source=cls.source,
            fields=params_module.fields(cls.Params),
            can_explain=cls._explain is not Recommender._explain,
            can_rate=cls._rating is not Recommender._rating,
            has_similar=cls._similar is not Recommender._similar,
            is_fused=cls.family == "Fused",
            adapts=cls.adapts,
            can_bundle=cls.can_bundle(),
        )

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        """Values for the parameters that are "auto", from the data's size. Override with the model."""
        return {}

    @classmethod
    def without_effect(cls, params: Params, data: Dataset) -> dict[str, str]:
        """Parameters that change nothing beside the others (resolved) on this data, each with the reason in a sentence: an ablation
        leaves them out. Override with the model."""
        return {}

    def resolve(self, stats: DatasetStats) -> Params:
        """`params` with every "auto" replaced; raises if `auto_params` left one out."""
        wanted = [f.name for f in params_module.fields(self.Params) if f.auto and getattr(self.params, f.name) == "auto"]
        values = self.auto_params(self.params, stats) if wanted else {}
        return self.params.with_(**{name: values[name] for name in wanted}) if wanted else self.params

    def cost(self, stats: DatasetStats) -> Cost:
        """Memory and seconds expected. Default: a pass over the data and a block of scores."""
        return Cost(24 * stats.n_interactions + block_bytes(stats), 0.1 + 1e-7 * stats.n_interactions)

    def wants_validation(self) -> bool:
        """Whether this instance makes use of `validation` in `fit`."""
        return self.uses_validation

    def predicts_ratings(self) -> bool:
        """Whether this instance, with these params, predicts ratings (the card's `can_rate`: with some params)."""
        return type(self)._rating is not Recommender._rating

    def refit_params(self) -> Params:
        """The params to fit again with on train + validation, without validation (best epoch, learnt weights)."""
        return self.params

    def for_refit(self) -> Recommender:
        """A fresh model of the same kind, to be fitted again on train + validation with what validation taught."""
        return type(self)(self.refit_params())

    def findings(self) -> dict[str, Any]:
        """JSON-able facts about what the fit found, kept with the run for the app to draw (parts, weights, gates)."""
        return {}

    # ---- fitting ---------------------------------------------------------------------------------
    def fit(self, data: Dataset, ctx: RunContext = QUIET, *, validation: Holdout | None = None) -> Self:
        """Learn from `data`. `validation` is used only where `uses_validation`, for stopping and weights."""
        missing = [need for need in sorted(self.needs) if not need.met_by(data.stats)]
        if missing:
            raise Unsupported(f"{self.label} needs {', '.join(missing)}; this dataset has none.", "Choose another model or add it.")
        if len(data) == 0 or not data.relevant.any():
            rule = f"{self.label} cannot learn: the training part has no relevant interactions."
            raise Unsupported(rule, "Lower the threshold or use more data.")
        ctx.check()
        self.train = data
        self.notes = []
        self.resolved = self.resolve(data.stats)
        self._fit(data, ctx, validation)
        ctx.check()
        return self

    @property
    def fitted(self) -> Dataset:
        """The training set; raises if there is none yet."""
        if self.train is None:
            raise Unsupported(f"{self.label} has not been fitted.", "Call fit(data) first.")
        return self.train

    # ---- recommending ----------------------------------------------------------------------------
    def recommend(
        self, users: np.ndarray, k: int, *, exclude_seen: bool = True, candidates: np.ndarray | None = None, fair_ties: bool = False
    ) -> TopK:
        """Top k for training users.

        users: codes (B,); -1 or a user without training history gets the most popular items, the latter what the row of the user
        table suggests where the model reads it.
        candidates: item codes that may appear (others never do); None = all. Lists shorter than k end
        in -1 / NaN. fair_ties: candidates with equal scores come in an order of chance, not by code. Memory: blocks of
        `_scoring.BATCH_BYTES`.
        """
        train = self.fitted
        users = np.asarray(users, dtype=np.int64).reshape(-1)
        check_k(k)
        if len(users) and (users.max() >= train.n_users or users.min() < -1):
            raise Unsupported(f"User codes must be from 0 to {train.n_users - 1} (or -1 for unknown); got {users.min()} to {users.max()}.")
        allowed = allowed_mask(candidates, train.n_items)
        seen = train.matrix("seen")
        known = (users >= 0) & (self._history_sizes()[np.maximum(users, 0)] > 0)
        items, best = np.full((len(users), k), -1, np.int32), np.full((len(users), k), np.nan, np.float32)
        rest = np.arange(len(users))
        fair = fair_ties and allowed is not None
        fast = None if fair or not known.any() else self._topk(users[known], k, seen[users[known]] if exclude_seen else None, allowed)
        if fast is not None:
            items[known], best[known] = fast
            rest = np.flatnonzero(~known)
        for rows in self._batches(len(rest)):
            part = rest[rows]
            mask = rows_or_empty(seen, users[part]) if exclude_seen else None
            scores = masked(self._with_fallback(users[part], known[part]), mask, allowed)
            items[part], best[part] = top_k_fair(scores, k, allowed, users[part]) if fair else top_k(scores, k)
        return TopK(users.astype(np.int32), items, best)

    def recommend_for_history(
        self,
        histories: Histories,
        k: int,
        *,
        users: np.ndarray | None = None,
        exclude_seen: bool = True,
        candidates: np.ndarray | None = None,
        fair_ties: bool = False,
    ) -> TopK:
        """Top k for users the model has never seen, from their histories alone (fold-in); an empty history gets the most
        popular items. users: codes whose rows of the user table may be read too, by models that read tables (-1: none).
        `users` of the result are row numbers."""
        train = self.fitted
        check_k(k)
        if len(histories.items) and (histories.items.max() >= train.n_items or histories.items.min() < 0):
            raise Unsupported(f"History items must be codes from 0 to {train.n_items - 1}.")
        allowed = allowed_mask(candidates, train.n_items)
        items, best = np.full((len(histories), k), -1, np.int32), np.full((len(histories), k), np.nan, np.float32)
        for rows in self._batches(len(histories)):
            part = histories.take(np.arange(rows.start, rows.stop))
            scores = self._from_histories(part, None if users is None else np.asarray(users)[rows])
            scores = masked(scores, part.matrix(train.n_items) if exclude_seen else None, allowed)
            who = np.arange(rows.start, rows.stop) if users is None else np.asarray(users)[rows]
            items[rows], best[rows] = top_k_fair(scores, k, allowed, who) if fair_ties and allowed is not None else top_k(scores, k)
        return TopK(np.arange(len(histories), dtype=np.int32), items, best)

    def recommend_holdout(self, holdout: Holdout, k: int) -> TopK:
        """Top k for the users of a holdout, by code or, when they are cold, by the history they are given (and their row of the
        user table), among the holdout's candidates, where equal scores come in an order of chance."""
        among = {"candidates": holdout.candidates, "fair_ties": holdout.candidates is not None}
        if holdout.histories is None:
            return self.recommend(holdout.users, k, **among)
        top = self.recommend_for_history(holdout.histories, k, users=holdout.users, **among)
        return TopK(holdout.users, top.items, top.scores)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """float32 (B, I): raw scores of training users, nothing masked; fallback rows as in `recommend`."""
        users = np.asarray(users, dtype=np.int64)
        known = (users >= 0) & (self._history_sizes()[np.maximum(users, 0)] > 0)
        return self._with_fallback(users, known)

    def history_scores(self, histories: Histories, users: np.ndarray | None = None) -> np.ndarray:
        """float32 (B, I): raw scores from histories, nothing masked. users: as in `recommend_for_history`."""
        return self._from_histories(histories, users)

    def predict_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float32 (n,): expected rating of each (user, item) code pair, clipped to the training scale."""
        self._capable(self._rating, Recommender._rating, "predict ratings")
        values = self.fitted.value
        return np.clip(self._rating(np.asarray(users), np.asarray(items)), values.min(), values.max()).astype(np.float32)

    def similar_items(self, items: np.ndarray, k: int) -> TopK:
        """The k items most similar to each item, itself left out. `users` of the result are the items."""
        self._capable(self._similar, Recommender._similar, "find similar items")
        check_k(k)
        items = np.asarray(items, dtype=np.int32).reshape(-1)
        if len(items) and (items.min() < 0 or items.max() >= self.fitted.n_items):
            raise Unsupported(f"Items must be codes from 0 to {self.fitted.n_items - 1}; got {items.min()} to {items.max()}.")
        found, best = np.full((len(items), k), -1, np.int32), np.full((len(items), k), np.nan, np.float32)
        for rows in self._batches(len(items)):
            scores = np.array(self._similar(items[rows]), dtype=np.float32)
            scores[np.arange(len(scores)), items[rows]] = -np.inf
            found[rows], best[rows] = top_k(scores, k)
        return TopK(items, found, best)

    def explain(self, item: int, *, user: int | None = None, history: Histories | None = None, k: int = 5) -> Explanation:
        """Why `item` for a training user, or for a history (exactly one of the two)."""
        self._capable(self._explain, Recommender._explain, "explain its lists")
        if (user is None) == (history is None):
            raise Unsupported("Give either a user or a history to explain.")
        one = self.fitted.histories(np.array([user])) if history is None else history
        return self._explain(int(item), one, user, k)

    # ---- what a model writes ---------------------------------------------------------------------
    @abstractmethod
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        """Learn. Use `self.resolved` for parameters, `ctx.rng(name)` for chance, `ctx.check()` often."""

    def _scores(self, users: np.ndarray) -> np.ndarray:
        """float (B, I) for training users. Default: from their training history."""
        return self._history_scores(self.fitted.histories(users))

    def _history_scores(self, histories: Histories) -> np.ndarray:
        """float (B, I) from histories (fold-in). Required."""
        raise NotImplementedError(f"{type(self).__name__} must define _history_scores")

    def _table_scores(self, histories: Histories, users: np.ndarray) -> np.ndarray:
        """Optional: float (B, I) from histories, empty ones too, and the users' rows of the user table (codes; -1: none)."""
        return self._history_scores(histories)

    def _topk(
        self, users: np.ndarray, k: int, seen: sparse.csr_matrix | None, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Optional faster (items, scores) for training users; None = use `_scores`."""
        return None

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Optional: float (B, I) similarity of each item to all."""
        raise NotImplementedError

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        """Optional: `history` has one row."""
        raise NotImplementedError

    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Optional: expected rating of code pairs."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """What was learnt: arrays, csr matrices, tensors, JSON values."""
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of `_state`; `self.train`, `params` and `resolved` are already set."""

    def _parts(self) -> list[Recommender]:
        """Models inside this one; saved beside it."""
        return []

    def _capable(self, method: Any, default: Any, verb: str) -> None:
        if getattr(method, "__func__", method) is default:
            raise Unsupported(f"{self.label} cannot {verb}.", "Choose a model that can.")
