"""What every fused model shares: its parts, how a combination is learnt without leakage, how it is explained.

A fusion writes `_combine` (raw scores of the parts -> one score) and, when it learns something, `_learn`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from .. import registry
from ..context import RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..errors import Unsupported
from ..models._base import Cost, Explanation, Recommender
from ..models._card import block_bytes
from ..models._masking import allowed_mask, fair_order
from ..models._portable import Portable
from ._normalise import finite, normalise
from ._parts import RUN, FusionParams, check_parts, load_part, new_part

ONCE_MORE = " trained once more without the held-out part that the combination is learnt on."
LEARN_USERS = 1500  # validation users that a combination is learnt on, at most
LEARN_K, LEARN_DEPTH = 20, 200  # NDCG@k aimed at; how many items of each part may enter a list


class FusedModel(Recommender):
    """Several models, one score.

    Learning: the parts are fitted on an earlier part of train and the combination is learnt on the later part
    (`validation`), which they have not seen; then `for_refit()` hands what was learnt to a fresh fusion, whose parts are
    fitted on all of train. Without `validation` it cuts one from train itself. `learnt`: what `_learn` gave, the
    model's saved state (arrays, csr matrices, JSON values); {} where nothing is learnt.
    """

    family = "Fused"
    reads_features = True  # a part may
    uses_validation = True
    chooses_models: ClassVar[bool] = False  # no models need be named: it finds its own
    Params = FusionParams

    def __init__(self, params: Any = None, **values: Any) -> None:
        super().__init__(params, **values)
        check_parts(self.params, self.label, may_choose=self.chooses_models)
        self.parts: list[Recommender] = []
        self.learnt: dict[str, Any] = {}
        self._again: list[str] = []  # parts that are trained already, but had to be trained once more to learn from
        self.inherited: dict[str, Any] = {}  # from the fusion this one is refitted for: nothing is learnt anew

    @classmethod
    def reads(cls, params: Any) -> bool:
        """Whether a part does; runs, and parts that it will choose by itself, may."""
        parts = params.models
        return not parts or any(name.startswith(RUN) or registry.get("model", name).reads_features for name in parts)

    # ---- what a fusion writes --------------------------------------------------------------------
    def learns(self) -> bool:
        """Whether the combination, with these params, is learnt on held-out data."""
        return False

    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        """What is learnt from the fitted `self.parts` on users and items they have not seen. Only if `learns()`."""
        raise NotImplementedError

    @abstractmethod
    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        """float32 (B, I): the fused score. scores: raw float (B, I) of every part, yours to change; histories: of the
        B users; what they hold may be scored anyhow, it is left out later."""

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        """(share of every part (P,), total, exact, method in one sentence) of one item for one user.

        Default: how far the fused score falls when a part is made to say nothing (its scores all equal)."""
        total = float(self._combine([s.copy() for s in scores], history)[0, item])
        shares = np.empty(len(scores))
        for number in range(len(scores)):
            without = [np.zeros_like(s) if other == number else s.copy() for other, s in enumerate(scores)]
            shares[number] = total - float(self._combine(without, history)[0, item])
        return shares, total, False, "How far the fused score falls when the model has no say; shares need not add up."

    # ---- fitting ---------------------------------------------------------------------------------
    def wants_validation(self) -> bool:
        own = self.learns() and not self.inherited
        return own or any(not m.startswith(RUN) and self._part_model(m).wants_validation() for m in self.params.models)

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        learn = self.learns() and not self.inherited
        self.learnt, self._again = dict(self.inherited), []
        if learn and validation is None:
            self._learn_on_own_cut(data, ctx)
            return
        self.parts = self._fit_parts(data, ctx.part("parts", 0.0, 0.9) if learn else ctx, validation)
        if learn:
            self.learnt = self._learn(validation, ctx.part("combination", 0.9, 1.0))

    def _learn_on_own_cut(self, data: Dataset, ctx: RunContext) -> None:
        """No validation was given: cut one from the training data, learn there, fit again on all of it."""
        splitter = registry.get("splitter", "random")()
        part, holdout = splitter.validation(data, ctx)
        learner = type(self)(self.params).fit(part, ctx.part("learning the combination", 0.0, 0.5), validation=holdout)
        final = learner.for_refit().fit(data, ctx.part("final fit", 0.5, 1.0))
        self.parts, self.learnt, self.notes = final.parts, final.learnt, [*learner.notes, *final.notes]

    def for_refit(self) -> Recommender:
        """A fresh fusion of the same parts that already knows the combination."""
        other = super().for_refit()
        other.inherited = self.learnt
        return other

    def refit_params(self) -> Any:
        settings = {
            name: part.refit_params().model_dump()
            for name, part in zip(self.part_names(), self.parts, strict=True)
            if not name.startswith(RUN)
        }
        return self.params.with_(part_params=settings)

    def _fit_parts(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> list[Recommender]:
        names = self.params.models
        parts = []
        for number, name in enumerate(names):
            inner = ctx.part(name, number / len(names), (number + 1) / len(names))
            parts.append(self._trained(name, data, ctx, validation) or self._fitted_part(name, data, inner, validation))
        return parts

    def _fitted_part(self, name: str, data: Dataset, ctx: RunContext, validation: Holdout | None) -> Recommender:
        """A part fitted here, or by an earlier trial of a search on the same data with the same settings."""
        kept = {} if ctx.parts is None else ctx.parts
        settings = json.dumps(self.params.part_params.get(name, {}), sort_keys=True, default=str)
        key = (name, settings, data.fingerprint if ctx.parts is not None else "", validation is not None, ctx.seed)
        if key not in kept:
            kept[key] = self._part_model(name, ctx).fit(data, ctx, validation=validation)
        return kept[key]

    def _trained(self, name: str, data: Dataset, ctx: RunContext, validation: Holdout | None) -> Recommender | None:
        """The model of a run, if it was fitted on exactly this training set; else None: it is fitted anew."""
        if not name.startswith(RUN):
            return None
        found = load_part(ctx, name, "final" if validation is None else "fit")
        if found is not None and found.fitted.fingerprint == data.fingerprint:
            return found
        if validation is None:
            self.notes.append(
                f"{found.label} ({name}) was trained on other data than this fusion, so it was trained again with its settings."
            )
        else:
            self._again.append(found.label)
            who = " and ".join(filter(None, [", ".join(self._again[:-1]), self._again[-1]]))
            said = f"{who} {'was' if len(self._again) == 1 else 'were'}{ONCE_MORE}"
            self.notes = [*(note for note in self.notes if not note.endswith(ONCE_MORE)), said]  # one sentence for all of them
        return None

    def _part_model(self, name: str, ctx: RunContext | None = None) -> Recommender:
        if name.startswith(RUN):
            return load_part(ctx, name, "final").for_refit()
        return new_part(name, self.params.part_params.get(name, {}), self.label)

    def _held_out_blocks(self, validation: Holdout, ctx: RunContext, n_users: int = LEARN_USERS):
        """(rows, histories, hidden csr (b, I), relevant csr (b, I), raw scores of every part [(b, I)]) for blocks of at most
        `n_users` held-out users: scores of all items stand in memory for one block only. hidden: what the lists may not hold, the
        users' histories and whatever is not among the candidates of `validation`."""
        if not len(validation.users):
            rule = f"{self.label} learns on held-out users, and not one could be held out."
            raise Unsupported(rule, "Use more data or another split, or set the combination by hand.")
        some = validation.sample(n_users, ctx.rng("fusion users"))
        histories = some.histories if some.cold else self.fitted.histories(some.users)
        allowed = allowed_mask(some.candidates, self.fitted.n_items)
        for rows in self._batches(len(some.users)):
            ctx.check()
            given = histories.take(np.arange(rows.start, rows.stop))
            raw = self._raw(given, None if some.cold else some.users[rows])
            yield rows, given, _hidden(given.matrix(self.fitted.n_items), allowed), some.relevant[rows], raw

    def _order(self, validation: Holdout, rows: slice) -> np.ndarray | None:
        """int32 (b, C): the candidates of held-out users in orders of chance, as their lists break ties; None where all items are.

        By code, a part that gives all new items one score would look better than chance, and be trusted for it."""
        allowed = allowed_mask(validation.candidates, self.fitted.n_items)
        return None if allowed is None else fair_order(allowed, np.arange(rows.start, rows.stop))

    # ---- scoring ---------------------------------------------------------------------------------
    def _raw(self, histories: Histories, users: np.ndarray | None) -> list[np.ndarray]:
        """Scores (B, I) of every part, all numbers finite. users: training codes; None for users from outside."""
        return [finite(part.history_scores(histories) if users is None else part.scores(users)) for part in self.parts]

    def _scores(self, users: np.ndarray) -> np.ndarray:
        histories = self.fitted.histories(users)
        return self._combine(self._raw(histories, users), histories)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._combine(self._raw(histories, None), histories)

    def part_names(self) -> list[str]:
        """The key, or run:…, of every part."""
        return self.params.models

    def part_labels(self) -> list[str]:
        """What the parts are called; those of one kind (two runs of ALS) are numbered, so that they can be told apart."""
        labels = [part.label for part in self.parts]
        return [f"{x} {labels[: n + 1].count(x)}" if labels.count(x) > 1 else x for n, x in enumerate(labels)]

    def part_weights(self) -> np.ndarray:
        """(P,) how much each part counts on the whole, sum 1; equal where the fusion knows no weights."""
        return np.full(len(self.parts), 1 / max(1, len(self.parts)))

    def findings(self) -> dict[str, Any]:
        """{"parts": [{"name": key or run:…, "label", "weight"}]}; a fusion that knows more adds to it."""
        named = zip(self.part_names(), self.part_labels(), self.part_weights(), strict=True)
        return {"parts": [{"name": name, "label": label, "weight": float(weight)} for name, label, weight in named]}

    def _similar(self, items: np.ndarray) -> np.ndarray:
        able = [(w, part) for w, part in zip(self.part_weights(), self.parts, strict=True) if part.card().has_similar and w > 0]
        if not able:
            raise Unsupported("None of the fused models can find similar items.", "Fuse one that can, such as item_knn or ease.")
        # A neighbour model says -inf of items it knows no link to: that is no similarity, not an endless distance.
        return sum(np.float32(w) * normalise(np.nan_to_num(part._similar(items), neginf=0.0), "z") for w, part in able)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        own = self._raw(history, None if user is None else np.array([user]))
        shares, total, exact, method = self._shares(own, history, item)
        order, labels = np.argsort(-np.asarray(shares), kind="stable"), self.part_labels()
        return Explanation(
            kind="models",
            refs=tuple(labels[i] for i in order),
            contributions=tuple(float(shares[i]) for i in order),
            total=float(total),
            exact=exact,
            method=method,
        )

    def cost(self, stats: DatasetStats) -> Cost:
        costs = [self._part_model(m).cost(stats) for m in self.params.models if not m.startswith(RUN)]
        n_parts = len(self.params.models)
        times = 2 if self.learns() else 1
        learning = 8 * min(LEARN_USERS, stats.n_users) * min(LEARN_DEPTH * n_parts, stats.n_items) * (n_parts + 1) if times == 2 else 0
        return Cost(
            memory_bytes=sum(c.memory_bytes for c in costs) + (2 * n_parts + 4) * block_bytes(stats) + learning,
            seconds=times * sum(c.seconds for c in costs) + 2 * times,
            note="the sum of its models"
            + (", fitted twice to learn how to combine them" if times == 2 else "")
            + (", without those that are trained already" if len(costs) < n_parts else ""),
        )

    def _state(self) -> dict[str, Any]:
        return dict(self.learnt)

    def _restore(self, state: dict[str, Any]) -> None:
        self.parts = state["parts"]
        self.learnt = {name: value for name, value in state.items() if name != "parts"}

    def _parts(self) -> list[Recommender]:
        return self.parts

    def _packed(self, form: str, matrices: dict[str, Any] | None = None, **about: Any) -> Portable:
        """For `_portable` of a fusion: its form, with the parts in theirs. about: settings of the form, or fields of `Portable`."""
        parts = []
        for part, label in zip(self.parts, self.part_labels(), strict=True):
            try:
                parts.append(part.portable())
            except Unsupported as error:
                raise Unsupported(f"{self.label} cannot be bundled with {label} in it: {error.message}", "Fuse others.") from None
        users = about.pop("user_matrices", {})
        settings = {"labels": self.part_labels(), "weights": [float(weight) for weight in self.part_weights()]} | about
        made_of_users = any(part.made_of_users for part in parts)
        return Portable(form, matrices or {}, settings, parts=tuple(parts), user_matrices=users, made_of_users=made_of_users)

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        """Every part takes in what came since; how they are combined stays as it was learnt."""
        self.parts = [part.updated(self.fitted, ctx) for part in self.parts]


def _hidden(seen: sparse.csr_matrix, allowed: np.ndarray | None) -> sparse.csr_matrix:
    """csr (b, I): what was seen, and what is not allowed in any list."""
    if allowed is None:
        return seen
    hidden = seen.toarray() != 0
    hidden[:, ~allowed] = True
    return sparse.csr_matrix(hidden.astype(np.float32))
