"""How a dataset is cut into what a model may see and what it is judged on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .. import params as params_module
from ..context import RunContext
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..errors import Unsupported
from ..params import Params

PARTS = {
    "warm": "Known users, known items",
    "new_items": "Known users, new items",
    "new_users": "New users, known items",
    "new_both": "New users, new items",
}


@dataclass(frozen=True)
class Split:
    """train: what models learn from; test: what they are judged on. fold: number from 0 of k-fold.

    notes: sentences for the protocol card (what was skipped, how many, why). skipped: reason -> number of
    interactions that are neither in train nor in test; train + test (+ given) + skipped = all.
    parts: what is measured apart, each with its own truth, given and candidates; keys are those of `PARTS`. `test` drives the
    headline figures and may be one of them (the same object). An interaction is the truth of one part at most.
    """

    train: Dataset
    test: Holdout
    fold: int = 0
    notes: tuple[str, ...] = field(default=())
    skipped: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Holdout] = field(default_factory=dict)


class Splitter(ABC):
    """A rule. `splits` yields one Split, or several for k-fold. Validation is cut by the same rule:
    `validation(train, ctx)` applies it to the training part."""

    key: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]  # one sentence an analyst understands, with when to use it
    needs_time: ClassVar[bool] = False
    needs_test_file: ClassVar[bool] = False  # the test comes from a second file (`own_test`), not from `splits`
    seeded: ClassVar[bool] = True  # another seed holds out other interactions; False: the rule leaves nothing to chance
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Params | None = None, **values: Any) -> None:
        self.params = params or params_module.build(self.Params, values, owner=self.label)

    def splits(self, data: Dataset, ctx: RunContext) -> Iterator[Split]:
        """Cut `data`. Raises Unsupported when the data lacks what the rule needs or a part would be empty."""
        if self.needs_time and data.time is None:
            raise Unsupported(f"The split '{self.label}' needs a time column; this dataset has none.", "Choose 'Random per user'.")
        for split in self._splits(data, ctx.rng(f"split/{self.key}")):
            if len(split.train) == 0 or len(split.test.users) == 0:
                raise Unsupported(
                    f"The split '{self.label}' leaves {len(split.train):,} training interactions and {len(split.test.users):,} test users.",
                    "Use a smaller test part or another split.",
                )
            yield split

    def validation(self, train: Dataset, ctx: RunContext) -> tuple[Dataset, Holdout]:
        """(what to fit on, validation), cut from the training part by the same rule."""
        first = next(iter(self._splits(train, ctx.rng(f"validation/{self.key}"))))
        return first.train, first.test

    def validation_for(self, train: Dataset, ctx: RunContext, *, reads_features: bool) -> tuple[Dataset, Holdout]:
        """`validation`, for a model that reads features of items and users or one that does not. The same, unless the rule
        asks for what a model without features cannot know."""
        return self.validation(train, ctx)

    @abstractmethod
    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        """Yours."""

    def describe(self) -> str:
        """The rule with its numbers, in one sentence, for the protocol card."""
        return self.summary
