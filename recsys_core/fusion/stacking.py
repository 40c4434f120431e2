"""Stacking: a small learner, taught on held-out data, decides for every user how much each model counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..context import RunContext
from ..data.dataset import DatasetStats
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..models._base import Cost, Explanation, Source
from ..models._portable import Portable
from ._base import LEARN_K, FusedModel
from ._candidates import Block, Surroundings, block_of
from ._normalise import normalise
from ._stacking_inputs import FOLDS, MIN_TEACHERS, Inputs, Lesson, Taught, lesson_of
from ._stacking_params import StackingParams

TEACH_USERS = 3000  # validation users it is taught on, at most
SEGMENTS = ("few interactions", "some interactions", "many interactions")
CONTEXT = "Context"  # the share of the correction in a reason
GAP = 1e-3  # between the last candidate and what is no candidate


class Stacking(FusedModel):
    """score = Σ_p g_p(user) z_p + c(user, item) over the parts' normalised scores z, for the items near the top of any part.

    g: gates, a softmax over the parts of the user's activity, taste entropy and taste for the popular (`nn.gates.GatedSum`).
    c: a small network of these, of every part's score and place, of the item's popularity and age, where asked for of
    the tables and of how near the item is to the history in the parts' own spaces; or gradient-boosted trees of the same.
    Source: Wolpert, "Stacked generalization", Neural Networks 1992, https://doi.org/10.1016/S0893-6080(05)80023-1; gates: Jacobs
    et al. 1991; features of users and items beside the scores: Sill et al., "Feature-weighted linear stacking", 2009.
    Differs: starts as the best fixed weights (found as in Weighted fusion) and leaves them only where that is ahead on
    held-out users by more than its standard error; the loss is a softmax over a user's candidates. Parts' embeddings
    enter as closeness to the history, which a second fit of the part does not turn around.
    Items no part has near its top come behind all others, by the fixed weights.
    Shapes: V users × C candidates × P parts; C at most depth × P.
    Cost: the parts' own, twice (once without validation, once with); teaching 943 users × 180 candidates takes about 5 CPU-s. Lists
    for 1,000 users × 10,000 items from three parts: 1.2 CPU-s, the parts' scores alone 0.2, Weighted fusion 0.8.
    """

    key = "stacking"
    label = "Stacking fusion"
    summary = "Learns from held-out data how much each model counts for which user, with a small correction for what kind of item it is."
    source = Source("Wolpert, Stacked generalization, Neural Networks 1992", "https://doi.org/10.1016/S0893-6080(05)80023-1")

    Params = StackingParams
    _made: tuple[Any, Inputs, Any] | None = None

    @classmethod
    def reads(cls, params: Any) -> bool:
        return params.tables or super().reads(params)

    @classmethod
    def judged_on_new(cls, params: Any) -> bool:
        """Its parts': what it reads of the tables corrects their scores."""
        return super().reads(params)

    def learns(self) -> bool:
        return True

    # ---- learning --------------------------------------------------------------------------------
    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        p = self.resolved
        learnt: dict[str, Any] = Surroundings.learn(self.fitted, ctx, tables=p.tables)
        if not len(validation.users):
            self.notes.append("There were no held-out users to learn from: all models count the same.")
            return learnt | self._told(np.full(len(self.parts), 1 / len(self.parts)), None)
        inputs = Inputs(self.fitted, self.parts, learnt, embeddings=p.embeddings)
        lesson = self._lesson(validation, inputs, ctx)
        learnt["scales"] = inputs.scales
        start, _ = lesson.best_fixed(ctx)
        teaches = len(lesson.teachers) >= MIN_TEACHERS and (lesson.block.real & ~lesson.hits).any()
        taught = self._learner(lesson, start, ctx) if teaches else Taught({}, 0.0, 0.0)
        learnt |= taught.arrays | self._told(start, lesson)
        learnt |= self._gates_told(start, lesson, taught.arrays)
        self._note(learnt, lesson, taught)
        return learnt

    def _lesson(self, validation: Holdout, inputs: Inputs, ctx: RunContext) -> Lesson:
        """Candidates of the teaching users, and what is known of them on one scale."""
        some = validation.sample(TEACH_USERS, ctx.rng("fusion users"))
        blocks, seen, truth = [], [], []
        for rows, given, taken, relevant, raw in self._held_out_blocks(some, ctx, TEACH_USERS):
            block, _ = self._block(raw, given.matrix(self.fitted.n_items).toarray().astype(bool), taken.toarray().astype(bool))
            blocks.append(block)
            seen.append(inputs.raw(block, given, None if some.cold else some.users[rows]))
            truth.append(relevant)
        lesson = lesson_of(blocks, seen, truth, LEARN_K, ctx.rng("teaching fifths"))
        inputs.learn_scales(lesson.seen, lesson.block.real)
        return replace(lesson, seen=inputs.scaled(lesson.seen, lesson.block))

    def _learner(self, lesson: Lesson, start: np.ndarray, ctx: RunContext) -> Taught:
        p = self.resolved
        if p.learner == "trees":
            from ._stacking_trees import learn_trees

            return learn_trees(lesson, start, ctx, n_trees=p.n_trees, depth=p.tree_depth, learning_rate=p.tree_rate)
        from ._stacking_network import learn_network

        sizes = {"hidden": p.hidden, "epochs": p.epochs, "learning_rate": p.learning_rate, "networks": p.networks}
        return learn_network(lesson, start, ctx, **sizes)

    def _told(self, start: np.ndarray, lesson: Lesson | None) -> dict[str, Any]:
        """What is said of the fit, and the fixed weights."""
        found = {"depth": self.resolved.depth, "recall": None, "mean": None}
        if lesson is not None:
            found |= {"recall": lesson.recall, "mean": float(lesson.block.real.sum(axis=1).mean())}
            found |= {"parts": self.part_labels(), "recalls": lesson.recalls}
        return {"start": np.asarray(start, dtype=float), "mean_gates": np.asarray(start, dtype=float), "told": {"candidates": found}}

    def _gates_told(self, start: np.ndarray, lesson: Lesson, arrays: dict[str, Any]) -> dict[str, Any]:
        """Mean gates of all teaching users, and of thirds of them by activity."""
        if "trees.leaf" in arrays or len(lesson.teachers) < len(SEGMENTS):
            return {}
        gates = np.tile(start, (len(lesson.hits), 1))
        if arrays:
            gates = _scorer(arrays, len(start)).score(lesson.seen.row, lesson.block.scores, lesson.seen.pair)[0]
        thirds = np.array_split(np.argsort(lesson.seen.row[:, 0], kind="stable"), len(SEGMENTS))
        values = [gates[rows].mean(axis=0).astype(float).tolist() for rows in thirds]
        told = self._told(start, lesson)["told"] | {"gates": {"segments": list(SEGMENTS), "values": values}}
        return {"mean_gates": gates.mean(axis=0).astype(float), "told": told}

    def _note(self, learnt: dict[str, Any], lesson: Lesson, taught: Taught) -> None:
        found = learnt["told"]["candidates"]
        self.notes.append(
            f"Candidates are the best {found['depth']} items of each model, {found['mean']:.0f} for a user on average; "
            f"they hold {found['recall']:.0%} of the held-out items."
        )
        n_users, what = len(lesson.hits), "trees" if self.resolved.learner == "trees" else "a network"
        weights = ", ".join(f"{label} {weight:.0%}" for label, weight in zip(self.part_labels(), learnt["mean_gates"], strict=True))
        if len(lesson.teachers) < MIN_TEACHERS:
            why = (
                f"Only {len(lesson.teachers)} held-out users could teach, fewer than {MIN_TEACHERS}: the weights are the same for everybody"
            )
        elif taught.gain > 0:
            gains = f"NDCG@20 {taught.fixed:.4f} with the best fixed weights, {taught.gain:.4f} more with {what}"
            why = f"On {n_users:,} held-out users, each judged by what the others taught: {gains}"
        else:
            stayed = f"the best fixed weights (NDCG@20 {taught.fixed:.4f}), which are used"
            why = f"On {n_users:,} held-out users {what} did not do clearly better than {stayed}"
        self.notes.append(f"{why}. Weights on average: {weights}.")

    # ---- scoring ---------------------------------------------------------------------------------
    def _scores(self, users: np.ndarray) -> np.ndarray:
        histories = self.fitted.histories(users)
        return self._fused(self._raw(histories, users), histories, users)[0]

    def _portable(self) -> Portable:
        from ._stacking_bundle import arrays_of

        inputs, scorer = self._ready()
        arrays, users, about = arrays_of(inputs, self.learnt) if scorer is not None else ({}, {}, {"networks": 0, "trees": None})
        start = [float(weight) for weight in self.learnt["start"]]
        return self._packed("stacking", arrays, start=start, depth=self.resolved.depth, gap=GAP, user_matrices=users, **about)

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        return self._fused(scores, histories, None)[0]

    def _block(self, raw: list[np.ndarray], had: np.ndarray, hidden: np.ndarray | None = None) -> tuple[Block, list[np.ndarray]]:
        """(candidates, every part's normalised scores (B, I)); had: bool (B, I), what a user has had; hidden: bool (B, I), what
        may not be a candidate, that and perhaps more."""
        scaled = [normalise(scores, "z", had) for scores in raw]
        return block_of(scaled, had if hidden is None else hidden, self.resolved.depth), scaled

    def _fused(
        self, raw: list[np.ndarray], histories: Histories, users: np.ndarray | None
    ) -> tuple[np.ndarray, Block, np.ndarray, np.ndarray, list[np.ndarray]]:
        """(score (B, I), candidates, gates (B, P), context (B, C), normalised scores of the parts)."""
        hidden = histories.matrix(self.fitted.n_items).toarray().astype(bool)
        block, scaled = self._block(raw, hidden)
        out = np.zeros_like(scaled[0])
        for weight, scores in zip(self.learnt["start"], scaled, strict=True):
            out += np.float32(weight) * scores
        gates, context = self._weigh(block, histories, users)
        fused = np.einsum("bcp,bp->bc", block.scores, gates) + context
        return self._behind(out, fused.astype(np.float32), block, hidden), block, gates, context, scaled

    def _weigh(self, block: Block, histories: Histories, users: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(gates (B, P), context (B, C)) of the candidates."""
        start = self.learnt["start"].astype(np.float32)
        inputs, scorer = self._ready()
        if scorer is None:
            return np.tile(start, (len(block.items), 1)), np.zeros(block.items.shape, np.float32)
        seen = inputs.scaled(inputs.raw(block, histories, users), block)
        return scorer.score(seen.row, block.scores, seen.pair)

    def _ready(self) -> tuple[Inputs, Any]:
        """What scoring needs beside the arrays, made once they are there."""
        if self._made is None or self._made[0] is not self.learnt:
            inputs = Inputs(self.fitted, self.parts, self.learnt, embeddings=self.resolved.embeddings)
            self._made = (self.learnt, inputs, _scorer(self.learnt, len(self.parts)))
        return self._made[1:]

    @staticmethod
    def _behind(out: np.ndarray, fused: np.ndarray, block: Block, hidden: np.ndarray) -> np.ndarray:
        """`out` (B, I) with the candidates' scores in place, and what is neither candidate nor hidden moved behind them."""
        row, column = np.nonzero(block.real)
        rest = ~hidden
        rest[row, block.items[row, column]] = False
        highest = np.where(rest, out, -np.inf).max(axis=1, initial=-np.inf)
        lowest = np.where(block.real, fused, np.inf).min(axis=1, initial=np.inf)
        with np.errstate(invalid="ignore"):
            move = np.maximum(0, highest - lowest + GAP * (1 + np.abs(lowest)))
        move[~np.isfinite(move)] = 0  # no candidates, or nothing else
        out -= np.where(rest, move[:, None], 0)
        out[row, block.items[row, column]] = fused[row, column]
        return out

    # ---- what is said of it ----------------------------------------------------------------------
    def part_weights(self) -> np.ndarray:
        return np.asarray(self.learnt["mean_gates"], dtype=float)

    def findings(self) -> dict[str, Any]:
        """Beside the parts, whose weight is their mean gate: {"candidates": {"depth", "recall", "mean", "parts", "recalls"}}
        (mean: how many a user has; recalls: of each part's alone) and, for a network, {"gates": {"segments": […],
        "values": [[a gate for each part] for each segment]}}."""
        return super().findings() | self.learnt["told"]

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        """Gate times score of every part, and what the correction adds; they add up to the score."""
        users = None if user is None else np.array([user])
        out, block, gates, context, scaled = self._fused(self._raw(history, users), history, users)
        total, at = float(out[0, item]), np.flatnonzero(block.items[0] == item)
        names, each = self.part_labels(), np.array([float(scores[0, item]) for scores in scaled])
        method = "The weight of each model for this user times its normalised score"
        if not len(at):
            shares, exact = self.learnt["start"] * each, False
            method += "; the item is no candidate (near the top of no model, or in the history), so the weights are those of everybody."
        else:
            shares, exact, method = gates[0] * each, True, method + "; the shares add up to the fused score."
            if self._ready()[1] is not None:
                names, shares = [*names, CONTEXT], np.append(shares, context[0, at[0]])
                method = method.replace("; the", f"; {CONTEXT.lower()} is what the kind of user and item change; the")
        order = np.argsort(-shares, kind="stable")
        refs, contributions = tuple(names[n] for n in order), tuple(float(shares[n]) for n in order)
        return Explanation("models", refs, contributions, total, exact, method)

    def cost(self, stats: DatasetStats) -> Cost:
        base, p = super().cost(stats), self.params
        n_users, width = min(TEACH_USERS, stats.n_users), min(p.depth * len(p.models), stats.n_items)
        cells, n_columns = n_users * width, 2 * len(p.models) + 8
        steps = FOLDS * cells * (p.epochs * p.hidden if p.learner == "network" else 2 * p.n_trees * p.tree_depth)
        wide = min(stats.n_users, 4096) * width
        memory = base.memory_bytes + 4 * n_columns * (6 * cells + 2 * wide)
        return Cost(memory, base.seconds + 1e-9 * steps * n_columns, base.note + ", and a learner taught on held-out users")


def _scorer(learnt: dict[str, Any], n_parts: int) -> Any:
    """What has `score(row, scores, pair) -> (gates, context)`; None where the fixed weights stayed."""
    if "trees.leaf" in learnt:
        from ._stacking_trees import TreesOverSum

        return TreesOverSum(learnt)
    if "network.0.gate.weight" in learnt:
        from ._stacking_network import Networks

        return Networks(learnt, n_parts)
    return None
