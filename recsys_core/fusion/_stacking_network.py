"""The gated network of a stacking fusion: taught on held-out users, saved as arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import Progress, RunContext
from ._stacking_inputs import FOLDS, Lesson, Taught, best_step, sharpness

if TYPE_CHECKING:
    from ..nn.gates import GatedSum

CHUNK = 256  # users scored at once
BATCH = 128  # users an update
LEAST_GATE = 0.02  # a gate at 0 could never open
WEIGHT_DECAY = 0.01


def learn_network(
    lesson: Lesson, start: np.ndarray, ctx: RunContext, *, hidden: int, epochs: int, learning_rate: float, networks: int
) -> Taught:
    """The networks as arrays, and what they are worth; {} where nothing better than `start` was found.

    How many passes: each fifth of the users judges fixed weights found on the others, and a network that starts there and is
    taught by them, after every pass; the passes whose mean over all users is best are taken (`best_step`). Then `networks`
    networks, each with other chance, are taught by all users for as many passes, and their answers averaged.
    """
    curve = np.zeros((epochs + 1, len(lesson.hits)))
    for fold in range(FOLDS):
        told, others = lesson.parted(fold)
        rows = np.intersect1d(others, lesson.teachers)
        if not len(told) or not len(rows):
            continue
        sizes = _sizes(lesson, lesson.best_fixed(ctx, others)[0], hidden)
        curve[:, told] = _taught(lesson, rows, told, sizes, epochs, learning_rate, _quiet(ctx, fold / (FOLDS + 1), f"fifth {fold + 1}"))[1]
    passes, gain = best_step(curve)
    arrays: dict[str, Any] = {}
    sizes = _sizes(lesson, start, hidden)
    for number in range(networks if passes else 0):
        inner = _quiet(ctx, FOLDS / (FOLDS + 1), f"network {number + 1}")
        # The learning rate goes down over all passes, as it did when their number was chosen.
        network, _ = _taught(lesson, lesson.teachers, None, sizes, passes, learning_rate, inner, horizon=epochs)
        arrays |= {f"network.{number}.{name}": value.numpy() for name, value in network.state_dict().items()}
    return Taught(arrays, float(curve[0].mean()), gain)


def _sizes(lesson: Lesson, start: np.ndarray, hidden: int) -> dict[str, Any]:
    start = np.maximum(start, LEAST_GATE) / np.maximum(start, LEAST_GATE).sum()
    return {"start": start, "hidden": hidden, "sharp": sharpness(lesson, lesson.block.scores @ start)}


def _taught(
    lesson: Lesson,
    rows: np.ndarray,
    told: np.ndarray | None,
    sizes: dict[str, Any],
    epochs: int,
    learning_rate: float,
    ctx: RunContext,
    horizon: int = 0,
) -> tuple[GatedSum, np.ndarray]:
    """(a network taught by the users `rows`, NDCG (1 + epochs, len(told)) of the users `told` before and after every pass)."""
    import torch
    from scipy import sparse

    from ..nn.batches import IndexBatches, SparseRows
    from ..nn.gates import GatedSum
    from ..nn.loop import TrainSettings, train
    from ..nn.losses import full_softmax
    from ..nn.runtime import seeded

    seen, scores, real = lesson.seen, torch.as_tensor(lesson.block.scores), torch.as_tensor(lesson.block.real)
    user, pair = torch.as_tensor(seen.row), torch.as_tensor(seen.pair)
    with seeded(ctx.seed_for("weights")):
        network = GatedSum(torch.as_tensor(sizes["start"], dtype=torch.float32), user.shape[1], pair.shape[2], sizes["hidden"])
    with torch.no_grad():
        network.sharpness.fill_(float(np.log(sizes["sharp"])))
    chosen, hits = torch.as_tensor(rows), SparseRows(sparse.csr_matrix(lesson.hits))

    def loss(index: torch.Tensor, step: int) -> torch.Tensor:
        at = chosen[index]
        out = network(user[at], scores[at], pair[at])
        logits = (out.score * network.sharpness.exp()).masked_fill(~real[at], torch.finfo(torch.float32).min)
        return full_softmax(logits, hits.take(at))

    after: list[np.ndarray] = []

    def validate() -> float:
        at = torch.as_tensor(told)
        after.append(lesson.ndcg(network(user[at], scores[at], pair[at]).score.numpy(), told))
        return float(after[-1].mean())

    judged = told is not None
    if judged:
        with torch.no_grad():
            validate()
    settings = TrainSettings(
        epochs=epochs, learning_rate=learning_rate, weight_decay=WEIGHT_DECAY, optimizer="adamw", schedule="cosine", horizon=horizon
    )
    batches = IndexBatches(len(rows), BATCH)
    train(network, batches, loss, settings, ctx, validate=validate if judged else None)
    return network, np.array(after)


def _quiet(ctx: RunContext, start: float, name: str) -> RunContext:
    """Chance and progress of one of several small trainings: no curves of their own, no checkpoints."""

    def forward(step: Progress) -> None:
        ctx.on_progress(Progress("learning how to combine", min(1.0, start + (step.fraction or 0.0) / (FOLDS + 1))))

    return replace(ctx, seed=ctx.seed_for(name), on_progress=forward, workdir=None)


class Networks:
    """Several gated networks whose answers are averaged. Rebuilt from arrays; nothing is run on loading."""

    def __init__(self, arrays: dict[str, Any], n_parts: int) -> None:
        import torch

        from ..nn.gates import GatedSum

        count = len({name.split(".")[1] for name in arrays if name.startswith("network.")})
        self.networks = []
        for number in range(count):
            prefix = f"network.{number}."
            mine = {name.removeprefix(prefix): torch.as_tensor(value) for name, value in arrays.items() if name.startswith(prefix)}
            row, (hidden, width) = mine["gate.weight"].shape[1], mine["correction.layers.0.weight"].shape
            network = GatedSum(torch.full((n_parts,), 1 / n_parts), row, width - row, hidden)
            network.load_state_dict(mine)
            self.networks.append(network.eval())

    def score(self, row: np.ndarray, scores: np.ndarray, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(gates (B, P), context (B, C)), means over the networks."""
        import torch

        gates, context = np.zeros((len(row), scores.shape[2]), np.float32), np.zeros(scores.shape[:2], np.float32)
        with torch.no_grad():
            for first in range(0, len(row), CHUNK):
                at = slice(first, first + CHUNK)
                given = [torch.as_tensor(one[at]) for one in (row, scores, pair)]
                for network in self.networks:
                    out = network(*given)
                    gates[at] += out.gates.numpy() / len(self.networks)
                    context[at] += out.context.numpy() / len(self.networks)
        return gates, context
