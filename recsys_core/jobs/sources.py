"""Where training and test come from: one dataset cut by a rule, or two files. Both give folds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..context import RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.holdout import Holdout
from ..splitting._base import Split, Splitter


@dataclass(frozen=True)
class Fold:
    """train: what the model learns from. test(): the split with the holdout, called once, after fitting;
    its id maps begin with those of `train`. validation(reads_features): (what to fit on, validation), cut from train, for a
    model that reads features (the default) or one that does not."""

    train: Dataset
    test: Callable[[], Split]
    validation: Callable[..., tuple[Dataset, Holdout]]
    number: int = 0


class SplitSource(ABC):
    """Gives the folds of a run. n_folds: how many there will be. splitter: the rule, for the protocol card."""

    splitter: Splitter
    n_folds: int = 1

    @property
    @abstractmethod
    def stats(self) -> DatasetStats:
        """Of the data before it is cut, for memory and time estimates."""

    @property
    @abstractmethod
    def data(self) -> Dataset:
        """What the protocol card describes."""

    @abstractmethod
    def folds(self, ctx: RunContext) -> Iterator[Fold]:
        """One after the other; the same for the same `ctx.seed`."""


@dataclass
class RuleSource(SplitSource):
    """A dataset cut by a splitter."""

    whole: Dataset
    splitter: Splitter

    def __post_init__(self) -> None:
        self.n_folds = int(getattr(self.splitter.params, "folds", 1))

    @property
    def stats(self) -> DatasetStats:
        return self.whole.stats

    @property
    def data(self) -> Dataset:
        return self.whole

    def folds(self, ctx: RunContext) -> Iterator[Fold]:
        for split in self.splitter.splits(self.whole, ctx):

            def validation(reads_features: bool = True, split: Split = split) -> tuple[Dataset, Holdout]:
                return self.splitter.validation_for(split.train, ctx, reads_features=reads_features)

            yield Fold(split.train, lambda split=split: split, validation, split.fold)


@dataclass
class FilesSource(SplitSource):
    """A training set and a function that reads the test file: it is not opened before the model is fitted."""

    train: Dataset
    read_test: Callable[[], Any]  # -> Dataset or frame with user, item[, value][, time]
    splitter: Splitter
    test: Any = field(default=None, init=False)  # what `read_test` gave, once it was opened

    @property
    def stats(self) -> DatasetStats:
        return self.train.stats

    @property
    def data(self) -> Dataset:
        return self.train

    def folds(self, ctx: RunContext) -> Iterator[Fold]:
        yield Fold(self.train, self._open, lambda reads_features=True: self.splitter.validation(self.train, ctx))

    def _open(self) -> Split:
        from ..splitting.own_test import own_test

        self.test = self.read_test()
        return own_test(self.train, self.test)
