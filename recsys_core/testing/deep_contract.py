"""What a network trained by the loop must hold besides: that it learns, from nothing but its training data, and can be interrupted."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from ..context import Progress, RunContext
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.ids import IdMap
from ._checks import ONE, SOME, close, cut_validation, same
from .datasets import Case, tastes
from .model_contract import ModelContract


class Killed(BaseException):
    """As sudden as a kill: nothing on the way may catch it."""


def fifty_events() -> Dataset:
    """50 events of 10 users with 12 items, in random order."""
    pairs = np.random.default_rng(0).permutation(120)[:50]
    ids = [IdMap([f"{side}{n}" for n in range(size)]) for side, size in (("u", 10), ("i", 12))]
    return Dataset(*ids, pairs // 12, pairs % 12, np.ones(50, np.float32), np.random.default_rng(1).permutation(50) * 60)


class DeepContract(ModelContract):
    """The battery of `ModelContract`, and what follows, for models on `nn.loop.train`.

    by_heart: what to change, beside the learning rate, to learn 50 random events by heart.
    """

    by_heart: ClassVar[dict[str, Any]] = {}

    @classmethod
    def fit_epochs(cls, epochs: int, train: Dataset, ctx: RunContext = ONE, validation: Holdout | None = None, **settings: Any) -> Any:
        return cls.make(epochs=epochs, patience=0, **settings).fit(train, ctx, validation=validation)

    def test_the_loss_falls_on_50_events(self) -> None:
        said: list[Progress] = []
        self.fit_epochs(30, fifty_events(), RunContext(threads=1, on_progress=said.append), **({"learning_rate": 0.01} | self.by_heart))
        losses = [step.metrics["loss"] for step in said if "loss" in step.metrics]
        assert len(losses) >= 30 and np.isfinite(losses).all()
        assert np.mean(losses[-5:]) < np.mean(losses[:3]), f"from {losses[:3]} to {losses[-5:]}"

    def test_gradients_are_cleared_between_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ..nn.loop import _Training

        learn, left = _Training._gradients, []

        def watched(self: Any, *args: Any) -> Any:
            left.append(any(p.grad is not None for p in self.network.parameters()))
            return learn(self, *args)

        monkeypatch.setattr(_Training, "_gradients", watched)
        self.fit_epochs(2, fifty_events())
        assert left and not any(left), "a step began with gradients of the step before"

    def test_it_learns_in_bfloat16(self) -> None:
        """As it does by default on graphics cards and on processors made for it."""
        losses = []
        for precision in ("float32", "bfloat16"):
            said: list[Progress] = []
            model = self.fit_epochs(2, fifty_events(), RunContext(threads=1, on_progress=said.append), precision=precision)
            losses.append(next(step.metrics["loss"] for step in said if "loss" in step.metrics))
            assert np.isfinite(model.scores(np.arange(10))).all()
        assert abs(losses[0] - losses[1]) < 0.05 * abs(losses[0]), f"a loss of {losses[1]} in bfloat16, of {losses[0]} in float32"

    def test_all_of_it_learns_after_the_learning_rate_was_looked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ..nn import loop

        learnt: list[int] = []
        optimizer = loop.Optimizer
        count = lambda network: sum(p.numel() for p in network.parameters() if p.requires_grad)  # noqa: E731
        monkeypatch.setattr(loop, "Optimizer", lambda network, *more: learnt.append(count(network)) or optimizer(network, *more))
        for looked_for in (False, True):
            self.fit_epochs(1, fifty_events(), find_learning_rate=looked_for)
        half = len(learnt) // 2
        assert half and learnt[:half] == learnt[half:]

    def test_scoring_is_in_evaluation_mode_and_draws_no_chance(self, data: Case) -> None:
        import torch

        model = self.fit_epochs(2, data.train)
        assert not any(module.training for module in model.network.modules())
        histories, state = data.train.histories(SOME), torch.random.get_rng_state()
        np.testing.assert_array_equal(model.scores(SOME), model.scores(SOME))
        np.testing.assert_array_equal(model.history_scores(histories), model.history_scores(histories))
        assert torch.equal(torch.random.get_rng_state(), state)
        assert all(p.grad is None or not p.grad.any() for p in model.network.parameters()), "scoring left gradients"

    def test_padding_is_never_read(self, data: Case, fitted: Any) -> None:
        """A short history gets the same scores alone and beside a long one, which makes it padded."""
        rng = np.random.default_rng(0)
        short, long = [[3, 8], [4]], [rng.permutation(data.train.n_items)[:80].tolist()]
        close(fitted.history_scores(Histories.from_lists(short + long))[:2], fitted.history_scores(Histories.from_lists(short)))

    def test_validation_is_looked_at_and_never_learnt_from(self) -> None:
        """After one pass the weights are the same, whatever is held out, once "auto" is decided (which the kind of split may do)."""
        train, held = cut_validation(self.case().train)
        other = replace(held, truth=held.truth.subset(held.truth.user < 20))
        first = self.fit_epochs(1, train, validation=held)
        one = first.network.state_dict()
        two, three = (self.model(first.resolved).fit(train, ONE, validation=v).network.state_dict() for v in (other, None))
        for name, value in one.items():
            assert value.equal(two[name]) and value.equal(three[name]), f"{name} depends on what was held out"

    def test_the_test_part_is_not_read_while_training(self) -> None:
        """It is opened after the last fit, and what it holds changes no list."""
        from ..jobs.sources import FilesSource
        from ..jobs.spec import TrainSpec
        from ..jobs.training import train_run
        from ..splitting.own_test import OwnTest

        case = self.case()
        ids = case.train
        opened: list[str] = []
        stages: list[tuple[str, bool]] = []
        lists = []
        params = self.make(epochs=3, patience=0).params.model_dump()
        spec = TrainSpec(dataset="battery", split="own_test", model=self.model.key, params=params, ks=(5,))
        for truth in (case.held_out.truth, case.held_out.truth.subset(case.held_out.truth.item % 2 == 0)):
            frame = pd.DataFrame({"user": ids.users.ids[truth.user], "item": ids.items.ids[truth.item], "value": truth.value})
            source = FilesSource(case.train, lambda frame=frame: opened.append("test") or frame, OwnTest())
            ctx = RunContext(threads=1, on_progress=lambda step: stages.append((step.stage, bool(opened))))
            with tempfile.TemporaryDirectory() as folder:
                kept: list[Any] = []
                train_run(spec, source, Path(folder), ctx, keep=kept.append)
            lists.append(kept[0].model.recommend(SOME, 10))
            fitting = [early for stage, early in stages if stage.startswith("Fitting")]
            assert fitting and not any(fitting) and opened == ["test"]
            opened.clear()
            stages.clear()
        same(*lists)

    def test_a_fit_that_was_killed_ends_where_it_would_have(self, data: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever must outlast a pass lies in the network, where checkpoints find it."""
        monkeypatch.setattr("recsys_core.nn.checkpoint.SECONDS_AT_LEAST", 0.0)
        monkeypatch.setattr("recsys_core.nn.checkpoint.SECONDS_BETWEEN", 0.0)
        train, held = cut_validation(tastes().train)

        def kill(step: Progress) -> None:
            if step.epoch == 5 and "loss" in step.metrics:
                raise Killed

        whole = self.fit_epochs(9, train, validation=held)
        with pytest.raises(Killed):
            self.fit_epochs(9, train, RunContext(threads=1, workdir=tmp_path, on_progress=kill), validation=held)
        said: list[Progress] = []
        resumed = self.fit_epochs(9, train, RunContext(threads=1, workdir=tmp_path, on_progress=said.append), validation=held)
        assert any(step.replayed for step in said), "it began anew"
        assert resumed.best_epoch == whole.best_epoch
        same(resumed.recommend(SOME, 20), whole.recommend(SOME, 20))
