"""Weighted sum of the normalised scores of several models."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .. import params as params_module
from .. import registry
from ..context import RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..errors import ParamError, Unsupported
from ..models._base import Cost, Explanation, Recommender, Source
from ..models._card import block_bytes
from ..params import Params, param
from ._normalise import Normalisation, normalise
from ._weights import Candidates, collect, search

RUN = "run:"  # a part that is an already trained run: "run:<id>"
LEARN_USERS = 1500  # validation users that weights are learnt on, at most
LEARN_K, LEARN_DEPTH = 20, 200  # NDCG@k aimed at; how many items of each part may enter a list


class WeightedFusion(Recommender):
    """(λ1·R1 + λ2·R2 + …) / Σλ over the parts' normalised scores.

    Source: Fox & Shaw, "Combination of multiple searches", TREC-2 1994 (CombSUM and its weighted form).
    Differs: λ may be learnt by direct search on validation NDCG@20, on parts that have not seen it.
    Cost: the parts' own, twice when weights are learnt (once without validation, once with).
    """

    key = "weighted_fusion"
    label = "Weighted fusion"
    family = "Fused"
    summary = "Adds up the scores of several models, so that one covers for the weak spots of another; usually the most accurate choice."
    source = Source("Fox & Shaw, Combination of multiple searches, TREC-2 1994", "https://trec.nist.gov/pubs/trec2/papers/ps/vpi.ps.gz")
    uses_validation = True

    class Params(Params):
        models: list[str] = param(
            ["ease", "als", "item_knn"],
            label="Models to combine",
            help="The models whose scores are added up: keys such as ease, or run:… for a model that is trained already.",
        )
        weights: Literal["learn", "equal"] | list[float] = param(
            "learn",
            label="Weights",
            help="How much each model counts. learn: found on held-out validation data; equal: all the same; or one number for each model.",
        )
        normalization: Normalisation = param(
            "z",
            label="Score scale",
            help="How scores are made comparable. z: distance from the user's mean score; minmax: 0 to 1; rank: order only.",
        )
        part_params: dict[str, dict[str, Any]] = param(
            {},
            label="Settings of the models",
            help="Settings of single models, by key; what is not given stays at its default.",
            advanced=True,
        )

    def __init__(self, params: Params | None = None, **values: Any) -> None:
        super().__init__(params, **values)
        chosen = self.params
        if not chosen.models:
            raise ParamError("models for Weighted fusion must name at least one model; got none.", "For example: ease, als, item_knn.")
        if len(set(chosen.models)) < len(chosen.models):
            raise ParamError(f"models for Weighted fusion must differ; got {', '.join(chosen.models)}.")
        if isinstance(chosen.weights, list):
            self._check_weights(chosen.weights, chosen.models)
        for name, values in chosen.part_params.items():
            if name not in chosen.models:
                raise ParamError(
                    f"part_params for Weighted fusion names '{name}', which is not among its models.",
                    f"Models: {', '.join(chosen.models)}.",
                )
            _new_part(name, values)
        for name in chosen.models:
            if not name.startswith(RUN):
                _new_part(name, {})
        self.parts: list[Recommender] = []
        self.weights = np.empty(0)

    @staticmethod
    def _check_weights(weights: list[float], models: list[str]) -> None:
        if len(weights) != len(models):
            raise ParamError(f"weights for Weighted fusion must be one number for each of the {len(models)} models; got {len(weights)}.")
        if min(weights) < 0 or sum(weights) <= 0:
            raise ParamError(f"weights for Weighted fusion must be 0 or more and not all 0; got {weights}.")

    # ---- fitting ---------------------------------------------------------------------------------
    def wants_validation(self) -> bool:
        learnable = self.params.weights == "learn" and len(self.params.models) > 1
        return learnable or any(not m.startswith(RUN) and self._part_model(m).wants_validation() for m in self.params.models)

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        names, weights = self.params.models, self.params.weights
        learn = weights == "learn" and len(names) > 1
        if learn and validation is None:
            self._learn_on_own_cut(data, ctx)
            return
        self.parts = self._fit_parts(data, ctx, validation)
        if learn:
            self.weights, reached = self._learn(validation, ctx)
            shares = ", ".join(f"{part.label} {weight:.0%}" for part, weight in zip(self.parts, self.weights, strict=True))
            self.notes.append(f"Weights learnt on {len(validation.users):,} validation users (NDCG@20 {reached:.3f}): {shares}.")
        else:
            given = np.asarray(weights if isinstance(weights, list) else [1.0] * len(names), dtype=float)
            self.weights = given / given.sum()

    def _learn_on_own_cut(self, data: Dataset, ctx: RunContext) -> None:
        """No validation was given: cut one from the training data, learn there, fit again on all of it."""
        splitter = registry.get("splitter", "random")()
        part, holdout = splitter.validation(data, ctx)
        learner = type(self)(self.params).fit(part, ctx.part("learning weights", 0.0, 0.5), validation=holdout)
        final = type(self)(learner.refit_params()).fit(data, ctx.part("final fit", 0.5, 1.0))
        self.parts, self.weights, self.notes = final.parts, final.weights, learner.notes

    def _fit_parts(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> list[Recommender]:
        names = self.params.models
        parts = []
        for number, name in enumerate(names):
            inner = ctx.part(name, number / len(names), (number + 1) / len(names))
            parts.append(self._trained(name, data, ctx, validation) or self._part_model(name, ctx).fit(data, inner, validation=validation))
        return parts

    def _trained(self, name: str, data: Dataset, ctx: RunContext, validation: Holdout | None) -> Recommender | None:
        """The model of a run, if it was fitted on exactly this training set; else None: it is fitted anew."""
        if not name.startswith(RUN):
            return None
        found = _load(ctx, name, "final" if validation is None else "fit")
        if found is not None and found.fitted.fingerprint == data.fingerprint:
            return found
        self.notes.append(f"{name} was trained on other data than this fusion sees here, so it was trained again with its settings.")
        return None

    def _part_model(self, name: str, ctx: RunContext | None = None) -> Recommender:
        if name.startswith(RUN):
            final = _load(ctx, name, "final")
            return type(final)(final.refit_params())
        return _new_part(name, self.params.part_params.get(name, {}))

    def _learn(self, validation: Holdout, ctx: RunContext) -> tuple[np.ndarray, float]:
        ctx.report("learning weights", 0.95)
        some = validation.sample(LEARN_USERS, ctx.rng("fusion users"))
        histories = some.histories if some.cold else self.fitted.histories(some.users)
        blocks = []
        for rows in self._batches(len(some.users)):  # scores of all items stand in memory for one block of users only
            ctx.check()
            given = histories.take(np.arange(rows.start, rows.stop))
            seen = given.matrix(self.fitted.n_items)
            ignore = seen.toarray().astype(bool)
            raw = [part.history_scores(given) if some.cold else part.scores(some.users[rows]) for part in self.parts]
            scaled = [normalise(scores, self.params.normalization, ignore) for scores in raw]
            blocks.append(collect(scaled, seen, some.relevant[rows], k=LEARN_K, depth=LEARN_DEPTH))
        return search(Candidates.joined(blocks), ctx)

    def refit_params(self) -> Params:
        settings = {
            name: part.refit_params().model_dump()
            for name, part in zip(self.params.models, self.parts, strict=True)
            if not name.startswith(RUN)
        }
        return self.params.with_(weights=[float(w) for w in self.weights], part_params=settings)

    # ---- scoring ---------------------------------------------------------------------------------
    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._fused([part.scores(users) for part in self.parts], self.fitted.histories(users))

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._fused([part.history_scores(histories) for part in self.parts], histories)

    def _fused(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        ignore = histories.matrix(self.fitted.n_items).toarray().astype(bool)
        total = np.zeros_like(scores[0], dtype=np.float32)
        for weight, part in zip(self.weights, scores, strict=True):
            total += np.float32(weight) * normalise(part, self.params.normalization, ignore)
        return total

    def _similar(self, items: np.ndarray) -> np.ndarray:
        able = [(w, part) for w, part in zip(self.weights, self.parts, strict=True) if part.card().has_similar and w > 0]
        if not able:
            raise Unsupported("None of the fused models can find similar items.", "Fuse one that can, such as item_knn or ease.")
        # A neighbour model says -inf of items it knows no link to: that is no similarity, not an endless distance.
        return sum(np.float32(w) * normalise(np.nan_to_num(part._similar(items), neginf=0.0), "z") for w, part in able)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        ignore = history.matrix(self.fitted.n_items).toarray().astype(bool)
        own = [part.history_scores(history) if user is None else part.scores(np.array([user])) for part in self.parts]
        shares = [w * float(normalise(s, self.params.normalization, ignore)[0, item]) for w, s in zip(self.weights, own, strict=True)]
        order = np.argsort(-np.array(shares), kind="stable")
        return Explanation(
            kind="models",
            refs=tuple(self.parts[i].label for i in order),
            contributions=tuple(shares[i] for i in order),
            total=float(sum(shares)),
            exact=True,
            method="Each model's weight times its normalised score for this item; the shares add up to the fused score.",
        )

    def cost(self, stats: DatasetStats) -> Cost:
        costs = [self._part_model(m).cost(stats) for m in self.params.models if not m.startswith(RUN)]
        times = 2 if self.params.weights == "learn" else 1
        n_parts = len(self.params.models)
        learning = 8 * min(LEARN_USERS, stats.n_users) * min(LEARN_DEPTH * n_parts, stats.n_items) * (n_parts + 1) if times == 2 else 0
        return Cost(
            memory_bytes=sum(c.memory_bytes for c in costs) + (2 * n_parts + 4) * block_bytes(stats) + learning,
            seconds=times * sum(c.seconds for c in costs) + 2 * times,
            note="the sum of its models" + (", fitted twice to learn the weights" if times == 2 else ""),
        )

    def _state(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def _restore(self, state: dict[str, Any]) -> None:
        self.weights, self.parts = state["weights"], state["parts"]

    def _parts(self) -> list[Recommender]:
        return self.parts


def _new_part(name: str, values: dict[str, Any]) -> Recommender:
    if name == WeightedFusion.key:
        raise ParamError("models for Weighted fusion must not contain weighted_fusion itself.", "Name its models directly.")
    if name.startswith(RUN):
        raise ParamError(f"part_params for Weighted fusion cannot change '{name}': it is trained already.")
    cls = registry.get("model", name)
    return cls(params_module.build(cls.Params, values, owner=cls.label))


def _load(ctx: RunContext | None, name: str, which: str) -> Recommender | None:
    if ctx is None or ctx.load_run is None:
        raise Unsupported(f"'{name}' is a run of a workspace, and there is no workspace here.", "Name the model by its key instead.")
    return ctx.load_run(name.removeprefix(RUN), which)
