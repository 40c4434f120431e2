"""What every sequence model shares: settings, training on what comes next, scoring from the last items."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import ParamError, Unsupported
from ...params import param
from .._base import Cost, Need
from .._card import block_bytes
from .._vectors import cosines
from ..deep._base import DeepRecommender, TrainingParams

if TYPE_CHECKING:
    from torch import Tensor

    from ...nn.batches import IndexBatches
    from ...nn.sequences import SequenceNet, Windows
    from .._portable import Portable

LONGEST = 50  # of what "auto" reads: older items rarely say what comes next
SCORE_BLOCK_ENTRIES = 2**14  # history entries read at once when scoring: fits the CPU's cache


def dropout_param(default: float) -> Any:
    """The field `dropout` of a model."""
    return param(
        default,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the numbers switched off at each learning step, against learning by heart. Small data needs more.",
        tune=(0.0, 0.7, "linear"),
    )


def popularity_param(default: float) -> Any:
    """The field `popularity` of a model."""
    return param(
        default,
        ge=0,
        le=2,
        label="Compare with popular items",
        help="0: all items are equally likely to be compared with. 1: in proportion to their popularity. Not for full_softmax.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
    )


def tied_param() -> Any:
    """The field `tied` of a model."""
    return param(
        True,
        label="Same item vectors in and out",
        help="Whether an item is told by the vector it is read with. Off: two vectors an item, which needs more data.",
        advanced=True,
    )


class SequenceParams(TrainingParams):
    max_len: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=2000,
        label="Items looked at",
        help="How many of the most recent items the model looks at. Automatic: up to 50, fewer where histories are shorter.",
        tune=(10, 200, "log"),
    )
    dim: int | Literal["auto"] = param(
        "auto",
        ge=4,
        le=1024,
        label="Width",
        help="How many numbers describe an item and a state. Automatic: by the size of the data.",
        tune=(16, 128, "log"),
    )
    dropout: float = dropout_param(0.3)
    loss: Literal["full_softmax", "sampled_softmax", "gbce", "bce"] | Literal["auto"] = param(
        "auto",
        label="What it learns",
        help="full_softmax: the next item above all others (best lists). sampled_softmax: above a sample of them, for large catalogues. "
        "gbce and bce: chosen or not, against a few items each; bce is the original way and clearly weaker. "
        "Automatic: over all items of a small catalogue, else over a sample.",
    )
    negatives: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=100_000,
        label="Items compared with",
        help="How many items each next item is compared with: shared by a whole step for sampled_softmax, its own for gbce and bce.",
        tune=(16, 2048, "log"),
        advanced=True,
    )
    popularity: float = popularity_param(0.5)
    asked: Literal["next", "any"] | Literal["auto"] = param(
        "auto",
        label="What is asked",
        help="next: what comes next, from the order of a history. any: what else belongs to a history, in whatever order. "
        "Automatic: as the validation part asks; the next where what is held out came after the history.",
        advanced=True,
    )


def sequences_a_step(params: Any, stats: DatasetStats, steps: int = 32) -> int:
    """Batch size for networks that want so many steps a pass, where there is little data."""
    max_len = LONGEST if params.max_len == "auto" else params.max_len
    pieces = stats.n_users + stats.n_interactions / max_len
    return int(np.clip(2 ** np.round(np.log2(pieces / steps)), 8, 128))


def dropout_for(stats: DatasetStats) -> float:
    """0.4 where an item has some 15 interactions, 0.2 where it has 200."""
    per_item = stats.n_interactions / max(1, stats.n_items)
    return float(np.clip(np.round(0.55 - 0.15 * np.log10(max(1.0, per_item)), 1), 0.1, 0.5))


def sequence_cost(stats: DatasetStats, p: Any, weights: int, multiplications: float, floats: float, passes: int) -> Cost:
    """Of a network with `weights` numbers besides the items' vectors: multiplications and floats kept for each history entry.

    passes: how many it usually takes before it stops; it is then fitted again for as many.
    """
    compared = stats.n_items if p.loss == "full_softmax" else p.negatives
    step = 4 * p.batch_size * p.max_len * (4 * compared * (1 if "softmax" in p.loss else p.dim) + floats)
    memory = 24 * (weights + stats.n_items * p.dim) + step + 48 * stats.n_interactions + block_bytes(stats)
    each = stats.n_interactions * 6.0 * (multiplications + compared * (p.dim + 32))
    return Cost(
        int(memory), 3 + 2.2 * min(p.epochs, passes) * each / 3e10, "passes × interactions × (width² + width × items compared with)"
    )


class SequentialRecommender(DeepRecommender):
    """`network` is a `nn.sequences.SequenceNet`, `Params` a `SequenceParams`. A model writes `_build`, seldom more.

    Learns to say the next item at every place of every history (padding is no place); only interactions at or above the
    threshold are part of a history. Scores come from the state after the last `max_len` of them.
    """

    family = "Sequential"
    needs = frozenset({Need.TIME})
    Params = SequenceParams

    left_out_at_most = 100
    full_softmax_items: ClassVar[int] = 5_000  # up to so many, "auto" compares with all of them
    network: SequenceNet

    @classmethod
    def auto_params(cls, params: Any, stats: DatasetStats) -> dict[str, Any]:
        max_len = params.max_len if params.max_len != "auto" else int(np.clip(stats.longest_history - 1, 2, LONGEST))
        heads = getattr(params, "heads", 1)
        pieces = stats.n_users + stats.n_interactions // max_len
        loss = params.loss if params.loss != "auto" else ("full_softmax" if stats.n_items <= cls.full_softmax_items else "sampled_softmax")
        return {
            "max_len": max_len,
            "dim": int(np.clip(2 ** np.round(np.log2(max(1.0, stats.n_interactions) ** 0.5 / 4)), 16, 64) // heads * heads),
            "batch_size": int(np.clip(2 ** np.round(np.log2(pieces / 16)), 8, 128)),
            "loss": loss,
            "asked": "next",
            "negatives": min(512 if loss == "sampled_softmax" else 16, stats.n_items),
        }

    def resolve(self, stats: DatasetStats) -> Any:
        p = super().resolve(stats)
        heads = getattr(p, "heads", 1)
        if p.dim % heads:
            raise ParamError(f"The width of {self.label} must be a multiple of its heads; got width {p.dim} and {heads} heads.")
        return p

    # ---- learning --------------------------------------------------------------------------------
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        if self.params.asked == "auto" and validation is not None and not validation.comes_after(data):
            self.resolved = self.resolved.with_(asked="any")
            self.notes.append(
                "What is held out lies among the items of the histories, not after them: learnt what belongs to a history, in any order."
            )
        super()._fit(data, ctx, validation)

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        from ...nn.sequences import LengthBatches, SequenceRows, shuffled

        p, network = self.resolved, self.network
        pieces = self._pieces(data, p.max_len + 1)
        rows = SequenceRows(pieces, device)
        targets_a_row = float((pieces.lengths - 1).mean())
        choice = self._choice_loss(data, device)

        def loss(index: Tensor, step: int) -> Tensor:
            items = shuffled(rows.take(index), network.pad) if p.asked == "any" else rows.take(index)
            read, following = items[:, :-1], items[:, 1:]  # (B, L) each
            place = (read != network.pad).flatten().nonzero().squeeze(1)  # what follows padding is nobody's next item
            states = network.encode(read).flatten(0, 1).index_select(0, place)
            # Every place counts the same, whatever batch it fell into: a mean over rows of constant weight, not over places.
            return choice(states, following.flatten()[place]) * (len(place) / (len(index) * targets_a_row))

        return LengthBatches(pieces.lengths, p.batch_size), loss

    def _sequences(self, data: Dataset) -> Histories:
        """What is learnt from, one row a sequence: the users' histories; in random order where order is not asked for."""
        histories = data.histories(relevant_only=True)
        if self.resolved.asked == "next":
            return histories
        order = np.lexsort((np.random.default_rng(0).random(len(histories.items)), histories.row))
        return Histories(histories.indptr, histories.items[order], histories.values[order])

    def _pieces(self, data: Dataset, length: int, overlap: int = 1) -> Windows:
        """The training histories cut into windows, see `nn.sequences.windows`."""
        from ...nn.sequences import windows

        pieces = windows(self._sequences(data), length, data.n_items, overlap)
        if not len(pieces):
            raise Unsupported(f"{self.label} learns what follows what; no user has two relevant interactions.", "Use more data.")
        return pieces

    def _choice_loss(self, data: Dataset, device: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """loss(states (n, d), targets (n,)) -> scalar, mean over n: the target against the other items, by `loss`.

        Only the target itself is kept out of what it is compared with: other items of the user are no
        answers at this place.
        """
        from ...nn.losses import full_softmax, ranking_loss, sampled_softmax
        from ...nn.samplers import NegativeSampler, popularity_weights

        p, network = self.resolved, self.network
        if p.loss == "full_softmax":
            return lambda states, targets: full_softmax(network.scores(states), targets)
        weights = popularity_weights(data.item_counts, p.popularity) if p.popularity else None
        sampler = NegativeSampler(data.n_items, None, weights, device)

        def with_the_same(states: Tensor, targets: Tensor) -> Tensor:
            drawn = sampler.draw((p.negatives,))
            log_expected = sampler.log_q[drawn] + math.log(p.negatives)  # how often each is drawn: the logQ correction
            positive, negative = network.scores_of(states, targets), network.scores_with(states, drawn, log_expected)
            return sampled_softmax(positive, negative, None, targets[:, None] == drawn)

        def one_by_one(states: Tensor, targets: Tensor) -> Tensor:
            drawn = sampler.draw((len(targets), p.negatives))
            positive, negative = network.scores_of(states, targets), network.scores_of(states, drawn)
            return ranking_loss(p.loss, positive, negative, excluded=targets[:, None] == drawn, n_items=data.n_items)

        return with_the_same if p.loss == "sampled_softmax" else one_by_one

    # ---- scoring ---------------------------------------------------------------------------------
    def _history_scores(self, histories: Histories) -> np.ndarray:
        import torch

        network = self.network
        with torch.inference_mode():
            return network.scores(self._states(histories)).cpu().numpy()

    def _states(self, histories: Histories) -> Tensor:
        """(B, d) after each history's last items, in blocks of histories of like length."""
        import torch

        network = self.network
        device = next(network.parameters()).device
        recent = histories.relevant(self.fitted.threshold).last(self.resolved.max_len)
        rows, lengths = recent.padded(self.resolved.max_len, network.pad), recent.lengths
        order = np.argsort(lengths, kind="stable")
        out = torch.empty(len(rows), network.dim, device=device)
        for block in np.array_split(order, max(1, -(-rows.size // SCORE_BLOCK_ENTRIES))):
            if len(block):
                items = rows[block, rows.shape[1] - max(1, int(lengths[block].max())) :]
                out[torch.as_tensor(block, device=device)] = network.last_state(torch.as_tensor(items, device=device))
        return out

    # ---- for a bundle ----------------------------------------------------------------------------
    def _portable(self) -> Portable:
        from ._bundle import pack

        return pack(self.network, self._reading(), thinner=self._thinner())

    def _thinner(self) -> Callable[[float], SequenceNet] | None:
        """share -> the network with so much of it taken out; None where it has nothing that could be."""
        from ._thinner import thinner_of

        return thinner_of(
            self.network, lambda: self._with_end(self._sequences(self.fitted).padded(self.resolved.max_len, self.network.pad))
        )

    def _with_end(self, items: np.ndarray) -> np.ndarray:
        """int64 (B, L): histories as the network reads them to tell what comes next."""
        return items

    def _reading(self) -> dict[str, Any]:
        """What is read of a history: see `portable.forms._sequence.LastItems`."""
        return {"threshold": self.fitted.threshold, "max_len": self.resolved.max_len}

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' vectors as scores use them."""
        return cosines(self.network.output_table.detach().numpy(), items)
