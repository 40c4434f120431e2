"""What every model that learns from drawn negatives declares: where they come from, how many, how popular."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ...data.dataset import Dataset, DatasetStats
from ...params import Params, param
from ._base import TrainingParams

if TYPE_CHECKING:
    import torch

    from ...nn.samplers import PairTable, Sampler

POPULARITY = 0.75  # word2vec's power, when items are drawn by popularity and nothing else is asked for
MOST_NEGATIVES = 100_000
SHARED, OWN = 512, 4  # negatives by default: shared by a batch, or of each choice


class SampledParams(TrainingParams):
    """Settings of the draw; `auto_sampling` fills in what is "auto", `build_sampler` gives the sampler."""

    sampler: Literal["uniform", "popularity", "in_batch", "hard", "mixed"] = param(
        "uniform",
        label="How the items compared with are found",
        help="uniform: all are as likely. popularity: by how often they were chosen. in_batch: what others in the same step chose. "
        "hard: those the model now ranks highest of several times as many (slower). mixed: half of what others chose, half any item.",
        advanced=True,
    )
    negatives: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=MOST_NEGATIVES,
        label="Items compared with",
        help="How many items nobody chose each step compares with: shared by the users of a step for softmax, for each choice otherwise.",
        tune=(1, 1024, "log"),
        advanced=True,
    )
    popularity: float | Literal["auto"] = param(
        "auto",
        ge=0,
        le=2,
        label="Compare with popular items",
        help="0: all items are equally likely to be compared with. 1: in proportion to their popularity. "
        "Automatic: 0.75 when they are found by popularity, otherwise 0.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
    )


def auto_sampling(params: Params, stats: DatasetStats, *, shared: bool) -> dict[str, Any]:
    """Values of `negatives` and `popularity` where they are "auto"; shared: one lot for the whole batch."""
    return {
        "negatives": min(SHARED, stats.n_items) if shared else OWN,
        "popularity": POPULARITY if params.sampler == "popularity" else 0.0,
    }


def build_sampler(params: Params, data: Dataset, device: torch.device | str, positives: PairTable | None = None) -> Sampler:
    """The sampler of resolved params; known positives are those of `data` (liked items) unless a table is given.

    Cost: the table, see `nn.samplers.PairTable`.
    """
    from ...nn.samplers import PairTable, make_sampler

    if positives is None:
        positives = PairTable(data.matrix("binary"), device)
    return make_sampler(params.sampler, data.n_items, positives, data.item_counts, alpha=params.popularity, device=device)
