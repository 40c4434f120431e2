"""Several meta-learners, adapted side by side, with weights for how many items somebody has shown."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..context import RunContext
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..errors import Unsupported
from ..models._base import Source
from ..models._portable import Portable
from ..params import param
from ._base import LEARN_K, LEARN_USERS, FusedModel
from ._few_shots import LEVELS, Few, Scale, learn, on_scale, weights_at
from ._normalise import finite
from ._parts import FusionParams
from ._weights import Candidates, collect

DEPTH = 100  # items of each part that may enter a list while weights are learnt


class MetaAverage(FusedModel):
    """Σ w_p(s) · f_p(item): f_p the adapted score of part p on a common scale, s the number of items shown.

    Learnt on few-shot tasks of held-out users, the same to be found at every s: the scale (z-scores, or log-probabilities: a geometric
    mean of what the parts find likely), and weights at 0, 1, 3, 5 and 10 items shown by direct search on NDCG@20, drawn to common
    weights as if 200 users more had those; between these numbers weights change evenly with log(1 + s).
    Source: Hinton 2002, Training products of experts, https://doi.org/10.1162/089976602760128018 (the log-probabilities); Fox & Shaw,
    TREC-2 1994 (weighted sums). Differs: parts are trained apart, and weights are functions of the size of the support set.
    Shapes: P × (B, I) -> (B, I). Cost: the parts' own, twice when weights are learnt; adapting takes the sum of the parts' times.
    """

    key = "meta_average"
    label = "Average of meta-learners"
    summary = "Several meta-learners adapt side by side, and each counts as it deserves after so many clicks; for a little more accuracy."
    source = Source(
        "Hinton: Training Products of Experts by Minimizing Contrastive Divergence (2002)", "https://doi.org/10.1162/089976602760128018"
    )
    adapts = True
    has_prior = True
    reads_user_table = True

    class Params(FusionParams):
        models: list[str] = param(
            ["fomaml", "anil", "proximal_meta"],
            label="Models to combine",
            help="The models that are combined: keys such as maml, or run:… for a model that is trained already.",
        )
        weights: Literal["learn", "equal"] = param(
            "learn",
            label="Weights",
            help="How much each model counts. learn: found on held-out users, for every number of items shown; equal: all the same.",
        )
        scale: Literal["choose", "z", "probability"] = param(
            "choose",
            label="Score scale",
            help="How scores are made comparable. z: distance from the user's mean score; probability: how likely each model finds an "
            "item; choose: what is better on held-out users (with equal weights: z).",
            advanced=True,
        )

    # ---- learning --------------------------------------------------------------------------------
    def learns(self) -> bool:
        return self.params.weights == "learn" and len(self.params.models) > 1

    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        if not len(validation.users):
            rule = f"{self.label} learns on held-out users, and not one could be held out."
            raise Unsupported(rule, "Use more data or another split, or set weights to equal.")
        few = Few(validation.sample(LEARN_USERS // 2, ctx.rng("fusion users")), self.fitted, ctx.rng("fusion items shown"))
        scales: tuple[Scale, ...] = ("z", "probability") if self.params.scale == "choose" else (self.params.scale,)
        levels: dict[Scale, list[Candidates]] = {scale: [] for scale in scales}
        for n in LEVELS:
            blocks: dict[Scale, list[Candidates]] = {scale: [] for scale in scales}
            for shown, users, hidden, found in few.blocks(n, self._batches(len(few.users))):
                ctx.check()
                raw, had = self._adapted(shown, users), self._had(shown)
                for scale in scales:
                    scaled = [on_scale(scores, scale, had) for scores in raw]
                    blocks[scale].append(collect(scaled, hidden, found, LEARN_K, DEPTH))
            for scale in scales:
                levels[scale].append(Candidates.joined(blocks[scale]))
        scale, weights, reached = learn(levels, ctx)
        few_said, many_said = (", ".join(f"{x} {w:.0%}" for x, w in zip(self.part_labels(), weights[at], strict=True)) for at in (0, -1))
        self.notes.append(
            f"Weights learnt on {len(few.users):,} held-out users (NDCG@20 {reached:.3f} on these same users): with nothing shown "
            f"{few_said}; with {LEVELS[-1]} items {many_said}."
        )
        return {"weights": weights, "scale": scale}

    @property
    def table(self) -> np.ndarray:
        """(L, P): weights at LEVELS items shown, rows add up to 1."""
        equal = np.full((len(LEVELS), len(self.params.models)), 1 / len(self.params.models))
        return np.asarray(self.learnt.get("weights", equal), float)

    @property
    def scale(self) -> Scale:
        return self.learnt.get("scale", "z" if self.params.scale == "choose" else self.params.scale)

    def weights(self, histories: Histories) -> np.ndarray:
        """(B, P): how much each part counts for these users."""
        shown = np.diff(histories.relevant(self.fitted.threshold).matrix(self.fitted.n_items).indptr)
        return weights_at(self.table, LEVELS, shown)

    def part_weights(self) -> np.ndarray:
        return self.table.mean(0)

    def findings(self) -> dict[str, Any]:
        """With "shown": [{"items", "weights": of every part}] and "scale"."""
        rows = [{"items": n, "weights": [float(w) for w in row]} for n, row in zip(LEVELS, self.table, strict=True)]
        return super().findings() | {"shown": rows, "scale": self.scale}

    # ---- scoring ---------------------------------------------------------------------------------
    def _had(self, histories: Histories) -> np.ndarray:
        return histories.matrix(self.fitted.n_items).toarray().astype(bool)

    def _adapted(self, histories: Histories, users: np.ndarray | None, steps: int | None = None) -> list[np.ndarray]:
        """Scores (B, I) of every part after so many steps, None: its own number. A part that does not adapt folds in."""
        return [
            finite(part.scores_after(histories, users, steps) if part.adapts else part.history_scores(histories, users))
            for part in self.parts
        ]

    def scores_after(self, histories: Histories, users: np.ndarray | None = None, steps: int | None = None) -> np.ndarray:
        """float32 (B, I): scores after so many adaptation steps of every part; 0: before any, None: each part's own number."""
        return self._combine(self._adapted(histories, users, steps), histories)

    def _table_scores(self, histories: Histories, users: np.ndarray) -> np.ndarray:
        return self.scores_after(histories, users)

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        had, weights = self._had(histories), self.weights(histories).astype(np.float32)
        total = np.zeros(scores[0].shape, np.float32)
        for weight, part in zip(weights.T, scores, strict=True):
            total += weight[:, None] * on_scale(part, self.scale, had)
        return total

    def _portable(self) -> Portable:
        about = {"threshold": self.fitted.threshold, "levels": list(LEVELS), "scale": self.scale}
        return self._packed("meta_average", {"table": self.table.ravel()}, **about)

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        had = self._had(history)
        shares = self.weights(history)[0] * np.array([float(on_scale(s, self.scale, had)[0, item]) for s in scores])
        what = "z-score" if self.scale == "z" else "log-probability"
        said = f"Each model's weight for this many items, times its {what} of this item; the shares add up to the fused score."
        return shares, float(shares.sum()), True, said
