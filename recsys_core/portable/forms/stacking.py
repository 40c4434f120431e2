"""A learnt combination: gates for every user over the parts, and a correction for what kind of item it is."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..lists import best_of
from ..normalise import normalise
from ..trees import Trees
from ._base import Stored
from ._fused import Fused
from .weighted_sum import WeightedSum


class Stacking(Fused):
    """score = Σ_p gate_p · z_p + correction for the items near the top of any part; the others by the fixed weights, behind them.

    settings: start (fixed weights), depth, scales ({"row", "pair"}: of the columns), mean_activity, user_width, networks (how many), trees
    ({"mix", "factor", "base", "n"} or None), gap, weights, labels. Matrices: groups csr (I, G), items (I, Fi), user_table (U, Tu) where
    there is one, space.<n> (I, d) unit rows, network.<n>.<layer>, trees.feature/threshold/leaf.
    Shapes: C candidates, at most depth × P; one user at a time.
    """

    key = "stacking"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.start = np.asarray(self.settings["start"], np.float32)
        self.weights = np.asarray(self.settings["weights"], np.float32)
        self.learnt = bool(self.settings["networks"] or self.settings["trees"])
        if not self.learnt:
            return
        self.groups, self.items = stored.matrix("groups"), stored.array("items").astype(np.float32)
        self.spaces = []
        while stored.has(f"space.{len(self.spaces)}"):
            self.spaces.append(stored.array(f"space.{len(self.spaces)}"))
        self.user_table = stored.matrix("user_table") if stored.has("user_table") else None
        self.user_width = int(self.settings["user_width"])
        names = ("gate.weight", "gate.bias", "in.weight", "in.bias", "out.weight", "out.bias")
        self.networks = [[stored.array(f"network.{n}.{name}") for name in names] for n in range(self.settings["networks"])]
        if self.settings["trees"]:
            n = self.settings["trees"]["n"]
            arrays = (stored.array(f"trees.{name}").reshape(n, -1) for name in ("feature", "threshold", "leaf"))
            self.trees = Trees(*arrays, base=self.settings["trees"]["base"])

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        return self._fused(self.raw(history, user), history, user)[0]

    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        return self._fused(raw, history, -1)[0]

    def _fused(self, raw: list[np.ndarray], history: History, user: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(scores (I,), candidates (C,), gates (P,), context (C,))."""
        had = self.had(history)
        scaled = np.concatenate([normalise(one, "z", had) for one in raw])  # (P, I)
        out = np.zeros(self.n_items, np.float32)
        for weight, one in zip(self.start, scaled, strict=True):
            out += weight * one
        tops = [best_of(np.where(had[0], -np.inf, one).astype(np.float32), self.settings["depth"])[0] for one in scaled]
        items = np.unique(np.concatenate(tops)) if tops else np.empty(0, np.int32)
        scores = scaled[:, items].T  # (C, P)
        gates, context = self._weigh(items, scores, history, user)
        fused = (scores @ gates + context).astype(np.float32)
        return self._behind(out, fused, items, had[0]), items, gates, context

    def _weigh(self, items: np.ndarray, scores: np.ndarray, history: History, user: int) -> tuple[np.ndarray, np.ndarray]:
        if not self.learnt or not len(items):
            return self.start, np.zeros(len(items), np.float32)
        row, pair = self._columns(items, scores, history, user)
        if self.settings["trees"]:
            fixed = scores @ self.start
            seen = np.concatenate([np.tile(row[:, None], len(items)), pair.T, fixed[None]]).astype(np.float64)
            (total,) = self.trees.stages(seen, [len(self.trees.leaf)])
            gates = np.float32(1 - self.settings["trees"]["mix"]) * self.start
            return gates, (self.settings["trees"]["factor"] * total).astype(np.float32)
        gates, context = np.zeros(len(self.start), np.float32), np.zeros(len(items), np.float32)
        wide = np.concatenate([np.tile(row, (len(items), 1)), pair], axis=1)
        for gate, gate_bias, first, first_bias, last, last_bias in self.networks:
            logits = gate @ row + gate_bias
            odds = np.exp(logits - logits.max())
            gates += (odds / odds.sum()).astype(np.float32) / len(self.networks)
            hidden = np.maximum(wide @ first.T + first_bias, 0)
            context += (hidden @ last.T + last_bias)[:, 0].astype(np.float32) / len(self.networks)
        return gates, context

    def _columns(self, items: np.ndarray, scores: np.ndarray, history: History, user: int) -> tuple[np.ndarray, np.ndarray]:
        """(row (R,), pair (C, F)) as the learner saw them, on its scales."""
        codes, _ = history.row(binary=True)
        ones = np.ones(len(codes), np.float32)
        shares = self.groups.weighted_sum(codes, ones).astype(np.float64)
        known = np.array([
            np.log((len(codes) + 1) / (self.settings["mean_activity"] + 1)), _entropy(shares),
            float(self.items[codes, 0].astype(np.float64).sum()) / max(len(codes), 1),
        ])  # fmt: skip
        if self.user_width:
            there = self.user_table is not None and user >= 0
            told = self.user_table.take(np.array([user]))[0] if there else np.zeros(self.user_width)
            known = np.concatenate([known, told])
        columns = [scores, self.items[items]]
        for vectors in self.spaces:
            mean = vectors[codes].sum(axis=0)
            length = np.linalg.norm(mean)
            columns.append((vectors[items] @ (mean / (length if length > 0 else 1)))[:, None])
        raw = np.concatenate(columns, axis=1).astype(np.float32)
        row = np.array([_scaled(np.float32(one), scale) for one, scale in zip(known, self.settings["scales"]["row"], strict=True)])
        pair = np.stack([_scaled(raw[:, n], scale) for n, scale in enumerate(self.settings["scales"]["pair"])], axis=1)
        return row.astype(np.float32), np.concatenate([pair, 2 * self._places(scores) - 1], axis=1).astype(np.float32)

    def _places(self, scores: np.ndarray) -> np.ndarray:
        """(C, P): 1 for a part's best candidate, 0 beyond its best `depth`, in steps of the logarithm."""
        order = np.argsort(-scores, axis=0, kind="stable")
        rank = np.empty(order.shape, np.float32)
        np.put_along_axis(rank, order, np.arange(len(order), dtype=np.float32)[:, None], axis=0)
        return np.maximum(0, 1 - np.log1p(rank) / np.log1p(self.settings["depth"])).astype(np.float32)

    def _behind(self, out: np.ndarray, fused: np.ndarray, items: np.ndarray, had: np.ndarray) -> np.ndarray:
        rest = ~had
        rest[items] = False
        if len(items) and rest.any():
            lowest = fused.min()
            out[rest] -= max(np.float32(0), out[rest].max() - lowest + np.float32(self.settings["gap"]) * (1 + abs(lowest)))
        out[items] = fused
        return out

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        """Gate times score of every part, and the correction; for an item that is no candidate the fixed weights."""
        raw = self.raw(history)
        _, items, gates, context = self._fused(raw, history, -1)
        each = [float(normalise(one, "z", self.had(history))[0, item]) for one in raw]
        at = np.flatnonzero(items == item)
        told = list(zip(self.labels, ((gates if len(at) else self.start) * np.array(each)).tolist(), strict=True))
        return [*told, ("Context", float(context[at[0]]))] if len(at) and self.learnt else told

    def similar(self, item: int) -> np.ndarray | None:
        return WeightedSum.similar(self, item)


def _entropy(weights: np.ndarray) -> float:
    """Of the shares in nats over log(columns): 0 all in one group, 1 the same in all."""
    total = weights.sum()
    share = weights[weights > 0] / total if total > 0 else np.empty(0)
    return float(-(share * np.log(share)).sum() / max(np.log(len(weights)), 1.0))


def _scaled(values: np.ndarray, scale: dict) -> np.ndarray:
    """As `data.features.Scale`, which is saved as these numbers."""
    values = np.asarray(values)
    if len(scale.get("points", ())):
        steps, first, times = np.unique(np.asarray(scale["points"]), return_index=True, return_counts=True)
        levelled = np.interp(values, steps, (first + (times - 1) / 2) / max(1, len(scale["points"]) - 1))
    else:
        clipped, unit = np.clip(values, scale["low"], scale["high"]), scale["log_unit"]
        levelled = np.sign(clipped) * np.log1p(np.abs(clipped) / unit) if unit > 0 else clipped
    return (levelled - scale["mean"]) / scale["deviation"]
