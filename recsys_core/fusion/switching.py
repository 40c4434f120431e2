"""One model for users with short histories, another for those with long ones."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..context import RunContext
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..errors import ParamError
from ..models._base import Source
from ..models._portable import Portable
from ..params import param
from ._base import LEARN_K, LEARN_USERS, FusedModel
from ._parts import FusionParams
from ._ranks import ndcg_rows

CLEAR = 2.0  # standard errors a lead must have: with one, parts that tie take over segments by luck and lose them on the test


class Switching(FusedModel):
    """Each user is served by one part alone, chosen by how many items their history holds.

    Learnt: the held-out users are cut into `segments` of about equal size by history length. d_sp is how much better part p
    is in segment s than the part b that is best overall (mean difference in NDCG@20 on the same users, n_s of them). It is
    drawn to the overall difference d_p by `shrinkage` users with it: (n_s d_sp + λ d_p) / (n_s + λ), with standard error
    σ_p / √(n_s + λ). A part takes over a segment only where this is more than two standard errors above 0; the surest lead wins.
    Source: Burke, Hybrid recommender systems: survey and experiments (2002), section 3.2, "Switching".
    Differs: the rule is a threshold on history length, learnt as above; Burke's is any.
    Shapes: P × (B, I) -> (B, I). Cost: the parts' own, twice when the rule is learnt; a user is scored by one part only.
    """

    key = "switching"
    label = "Switching by activity"
    summary = "Serves newcomers with one model and active users with another, where no model is best for both."
    source = Source("Burke: Hybrid Recommender Systems: Survey and Experiments (2002)", "https://doi.org/10.1023/A:1021240730564")

    class Params(FusionParams):
        limits: Literal["learn"] | list[int] = param(
            "learn",
            label="Switch at",
            help="Where one model hands over to the next, in items of the history. learn: found on held-out data. "
            "By hand: one number fewer than models; the first model serves users with at most that many items, and so on.",
        )
        segments: int = param(
            4,
            label="Segments",
            help="When learnt: how many groups of users by history length are looked at. Neighbours that one model serves are joined.",
            ge=1,
            le=50,
            tune=(2, 8, "linear"),
        )
        shrinkage: float = param(
            30.0,
            label="Doubt in small segments",
            help="When learnt: how many users with the overall result are added to each segment, so that a few users do not decide.",
            ge=0,
            le=1_000_000,
            tune=(5, 200, "log"),
            advanced=True,
        )

    def __init__(self, params: Any = None, **values: Any) -> None:
        super().__init__(params, **values)
        limits, n = self.params.limits, len(self.params.models)
        if limits == "learn":
            return
        if len(limits) != n - 1:
            rule = f"limits for {self.label} must be one number fewer than the {n} models; got {', '.join(map(str, limits)) or 'none'}."
            raise ParamError(rule, "With two models: one number, such as 20.")
        if any(b <= a for a, b in zip([-1, *limits], limits, strict=False)):
            raise ParamError(f"limits for {self.label} must rise and be 0 or more; got {', '.join(map(str, limits))}.")

    # ---- the rule --------------------------------------------------------------------------------
    @property
    def rule(self) -> tuple[np.ndarray, np.ndarray]:
        """(limits (S - 1,): the most items of each segment but the last, serves (S,): the part of each segment)."""
        if "serves" in self.learnt:
            return np.asarray(self.learnt["limits"], dtype=np.int64), np.asarray(self.learnt["serves"], dtype=np.int64)
        limits = [] if self.params.limits == "learn" else self.params.limits
        return np.asarray(limits, dtype=np.int64), np.arange(len(limits) + 1)

    def learns(self) -> bool:
        return self.params.limits == "learn" and len(self.params.models) > 1

    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        sizes, quality = [], []
        for rows, given, unlisted, relevant, raw in self._held_out_blocks(validation, ctx, 4 * LEARN_USERS):
            hidden = unlisted.toarray().astype(bool)
            sizes.append(_items(given, self.fitted.n_items))
            order = self._order(validation, rows)
            quality.append(np.stack([ndcg_rows(scores, hidden, relevant, LEARN_K, order) for scores in raw], axis=1))
        found = choose(np.concatenate(sizes), np.concatenate(quality), self.params.segments, self.params.shrinkage)
        best = self.part_labels()[found.pop("best")]
        told = "; ".join(f"{s['part']} serves users with {s['label']}" for s in self._segments(found["limits"], found["serves"]))
        n_users = int(np.sum(found["n_held_out"]))
        if len(found["serves"]) == 1:
            self.notes.append(
                f"Nothing is switched: on {n_users:,} held-out users no model was clearly better than {best} for any segment."
            )
        else:
            self.notes.append(f"Learnt on {n_users:,} held-out users (best overall: {best}): {told}.")
        return found

    def _serving(self, histories: Histories) -> np.ndarray:
        """(B,) the part that serves each user."""
        limits, serves = self.rule
        return serves[np.searchsorted(limits, _items(histories, self.fitted.n_items), side="left")]

    # ---- scoring ---------------------------------------------------------------------------------
    def _portable(self) -> Portable:
        limits, serves = self.rule
        return self._packed("switching", limits=limits.tolist(), serves=serves.tolist())

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        serving = self._serving(histories)
        out = np.empty(scores[0].shape, dtype=np.float32)
        for number, part in enumerate(scores):
            out[serving == number] = part[serving == number]
        return out

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._by_part(self.fitted.histories(users), lambda part, rows: part.scores(users[rows]))

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._by_part(histories, lambda part, rows: part.history_scores(histories.take(rows)))

    def _by_part(self, histories: Histories, score: Any) -> np.ndarray:
        """Every user scored by the one part that serves them."""
        serving = self._serving(histories)
        out = np.empty((len(histories), self.fitted.n_items), dtype=np.float32)
        for number in np.unique(serving):
            rows = np.flatnonzero(serving == number)
            out[rows] = score(self.parts[number], rows)
        return out

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        limits, _ = self.rule
        n_items = int(_items(history, self.fitted.n_items)[0])
        number = int(self._serving(history)[0])
        low, high = _ends(limits, int(np.searchsorted(limits, n_items, side="left")))
        told = f"This history holds {n_items:,} item{'s' * (n_items != 1)}"
        said = f"{told}; users with {_label(low, high)} are served by {self.part_labels()[number]} alone."
        return np.eye(len(scores))[number], 1.0, False, said

    # ---- what was found --------------------------------------------------------------------------
    def _segments(self, limits: np.ndarray, serves: np.ndarray) -> list[dict[str, Any]]:
        labels = self.part_labels()
        return [{"label": _label(*_ends(limits, s)), "part": labels[p]} for s, p in enumerate(serves)]

    def part_weights(self) -> np.ndarray:
        """The share of all training users that each part serves."""
        limits, serves = self.rule
        sizes = self._history_sizes()
        segment = np.searchsorted(limits, sizes[sizes > 0], side="left")
        return np.bincount(serves[segment], minlength=len(self.parts)) / max(1, len(segment))

    def findings(self) -> dict[str, Any]:
        """With "segments": [{"label", "part", "n_users": training users it serves}]; where learnt also "evidence": [{"label",
        "n_held_out", "ndcg": mean NDCG@20 of every part on these held-out users}] of the segments that were looked at."""
        limits, serves = self.rule
        sizes = self._history_sizes()
        counts = np.bincount(np.searchsorted(limits, sizes[sizes > 0], side="left"), minlength=len(serves))
        segments = self._segments(limits, serves)
        for segment, n_users in zip(segments, counts, strict=True):
            segment["n_users"] = int(n_users)
        found = super().findings() | {"segments": segments}
        if "ndcg" in self.learnt:
            cuts = np.asarray(self.learnt["cuts"], dtype=np.int64)
            rows = zip(self.learnt["n_held_out"], self.learnt["ndcg"], strict=True)
            found["evidence"] = [
                {"label": _label(*_ends(cuts, s)), "n_held_out": int(n), "ndcg": [float(value) for value in values]}
                for s, (n, values) in enumerate(rows)
            ]
        return found


def choose(sizes: np.ndarray, quality: np.ndarray, n_segments: int, shrinkage: float) -> dict[str, Any]:
    """The rule, from held-out users. sizes (V,): items in their histories; quality (V, P): NDCG of every part.

    {"limits" (S - 1,), "serves" (S,): the rule, neighbouring segments of one part joined; "cuts" (L - 1,), "n_held_out" (L,),
    "ndcg" (L, P): the segments looked at and how good each part is there; "best": the part that is best overall}.
    """
    cuts = np.quantile(sizes, np.arange(1, n_segments) / n_segments, method="inverted_cdf") if n_segments > 1 else []
    limits = np.unique(np.asarray(cuts, dtype=np.int64))
    limits = limits[limits < sizes.max()]
    segment = np.searchsorted(limits, sizes, side="left")
    best = int(quality.mean(axis=0).argmax())
    lead = quality - quality[:, [best]]
    n = np.bincount(segment, minlength=len(limits) + 1)[:, None]
    sums = np.stack([np.bincount(segment, weights=column, minlength=len(limits) + 1) for column in lead.T], axis=1)
    weight = np.maximum(n + shrinkage, 1)
    sure = (sums + shrinkage * lead.mean(axis=0)) / weight - CLEAR * lead.std(axis=0) / np.sqrt(weight)
    sure[:, best] = 0
    serves = np.where(sure.max(axis=1) > 0, sure.argmax(axis=1), best)

    first = np.flatnonzero(np.append(True, serves[1:] != serves[:-1]))
    means = np.stack([np.bincount(segment, weights=column, minlength=len(n)) for column in quality.T], axis=1) / np.maximum(n, 1)
    told = {"cuts": limits, "n_held_out": n[:, 0], "ndcg": means, "best": best}
    return {"limits": limits[first[1:] - 1], "serves": serves[first]} | told


def _items(histories: Histories, n_items: int) -> np.ndarray:
    """(B,) different items in each history."""
    return np.diff(histories.matrix(n_items).indptr)


def _ends(limits: np.ndarray, segment: int) -> tuple[int, int | None]:
    low = int(limits[segment - 1]) + 1 if segment else 0
    return low, int(limits[segment]) if segment < len(limits) else None


def _label(low: int, high: int | None) -> str:
    """ "up to 12 items", "13 to 40 items", "41 items or more"."""
    if high is None:
        return f"{low:,} items or more" if low else "any number of items"
    if not low:
        return f"up to {high:,} items"
    return f"{low:,} to {high:,} items" if low < high else f"{low:,} items"
