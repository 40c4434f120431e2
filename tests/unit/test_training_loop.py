"""The techniques of the training loop: each against a hand-worked case or the plain way of doing the same."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recsys_core.context import RunContext
from recsys_core.errors import Cancelled
from recsys_core.nn.averaging import AveragedWeights
from recsys_core.nn.batches import IndexBatches
from recsys_core.nn.checkpoint import Checkpoint
from recsys_core.nn.compiling import compiled
from recsys_core.nn.distributed import Group
from recsys_core.nn.loop import TrainSettings, train
from recsys_core.nn.lr_finder import find_learning_rate
from recsys_core.nn.optimizers import Optimizer, clip_gradients
from recsys_core.nn.runtime import autocast, seeded
from recsys_core.nn.schedules import Schedule

ONE = RunContext(threads=1)


class Regression:
    """y = X w with noise: a convex problem every technique must solve. dropout makes chance matter."""

    def __init__(self, n: int = 96, width: int = 5, batch: int = 16, dropout: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(n, width, generator=generator)
        self.y = self.x @ torch.arange(1.0, width + 1) + 0.1 * torch.randn(n, generator=generator)
        with seeded(5):
            self.network = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 1))
        self.batches = IndexBatches(n, batch)

    def loss(self, index: torch.Tensor, step: int) -> torch.Tensor:
        return (self.network(self.x[index]).squeeze(1) - self.y[index]).square().mean()

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.network.parameters()])

    def fit(self, settings: TrainSettings, ctx: RunContext = ONE, **more):
        return train(self.network, self.batches, self.loss, settings, ctx, **more)


# ---- optimisers ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["adam", "adagrad", "sgd"])
def test_a_lazy_table_moves_only_the_rows_looked_up_and_as_the_dense_one_does(name):
    def one_step(lazy: tuple[str, ...]) -> torch.Tensor:
        with seeded(1):
            network = nn.ModuleDict({"table": nn.Embedding(6, 3), "out": nn.Linear(3, 1)})
        optimizer = Optimizer(network, name, 0.1, 0.0, lazy)
        network["out"](network["table"](torch.tensor([4, 1, 4]))).square().sum().backward()
        assert network["table"].weight.grad.is_sparse == bool(lazy)
        optimizer.step()
        return network["table"].weight.detach()

    with seeded(1):
        start = nn.Embedding(6, 3).weight.detach()
    lazy, dense = one_step(("table",)), one_step(())
    torch.testing.assert_close(lazy, dense, atol=1e-6, rtol=1e-5)  # in the first step Adam has no moments to decay
    assert (lazy[[0, 2, 3, 5]] == start[[0, 2, 3, 5]]).all() and (lazy[[1, 4]] != start[[1, 4]]).all()


def test_clipping_counts_sparse_and_dense_gradients_together():
    dense, table = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(4, 1))
    dense.grad = torch.tensor([3.0, 0.0])
    table.grad = torch.sparse_coo_tensor([[2, 2]], [[1.0], [3.0]], (4, 1))  # one row twice: it counts as 4
    clip_gradients([dense, table], 1.0)
    torch.testing.assert_close(dense.grad, torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(table.grad.to_dense()[2], torch.tensor([0.8]))
    clip_gradients([dense, table], 10.0)
    torch.testing.assert_close(dense.grad, torch.tensor([0.6, 0.0]))  # short ones stay


def test_state_of_the_optimiser_survives_being_kept():
    first, second = Regression(), Regression()
    one = Optimizer(first.network, "adam", 0.1, 0.0)
    first.loss(torch.arange(8), 0).backward()
    one.step()
    other = Optimizer(second.network, "adam", 0.1, 0.0)
    second.network.load_state_dict(first.network.state_dict())
    other.restore(one.state())
    for problem, optimizer in ((first, one), (second, other)):
        optimizer.zero_grad()
        problem.loss(torch.arange(8, 16), 1).backward()
        optimizer.step()
    torch.testing.assert_close(first.weights(), second.weights(), atol=0, rtol=0)


# ---- schedules -----------------------------------------------------------------------------------
def test_warm_up_and_cosine_by_hand():
    schedule = Schedule("cosine", 2.0, warmup=4, horizon=104)
    assert [schedule.rate(n) for n in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert schedule.rate(4) == 2.0
    assert schedule.rate(54) == pytest.approx(2.0 * (0.01 + 0.99 / 2))  # half way
    assert schedule.rate(104) == schedule.rate(500) == pytest.approx(0.02)


def test_plateau_halves_after_patience_and_a_better_result_resets_it():
    schedule = Schedule("plateau", 1.0, 0, 0, patience=2)
    for result, expected in ((0.1, 1.0), (0.1, 1.0), (0.2, 1.0), (0.1, 1.0), (0.2, 0.5), (0.1, 0.5), (0.1, 0.25)):
        schedule.hear(result)
        assert schedule.rate(10) == expected
    again = Schedule("plateau", 1.0, 0, 0, patience=2)
    again.restore(schedule.state())
    assert (again.rate(0), again.best, again.misses) == (0.25, 0.2, 0)


def test_the_loop_follows_the_schedule():
    rates = [e["learning_rate"] for e in Regression().fit(TrainSettings(10, 0.1, schedule="cosine")).history]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.01
    flat = TrainSettings(16, 0.1, schedule="plateau")
    rates = [e["learning_rate"] for e in Regression().fit(flat, validate=lambda: 1.0).history]
    assert rates[0] == 0.1 and rates[-1] == pytest.approx(0.1 / 4)  # no better from the second on, patience 5
    impatient = replace(flat, patience=4)  # the rate is halved before training ends, or the setting would do nothing
    rates = [e["learning_rate"] for e in Regression().fit(impatient, validate=lambda: 1.0).history]
    assert rates == [0.1, 0.1, 0.1, 0.05, 0.05]


# ---- accumulation, precision, averages -----------------------------------------------------------
def test_accumulated_batches_make_the_step_of_one_large_batch():
    large, small = Regression(batch=96), Regression(batch=32)
    large.fit(TrainSettings(5, 0.1))
    small.fit(TrainSettings(5, 0.1, accumulate=3))
    torch.testing.assert_close(large.weights(), small.weights(), atol=1e-5, rtol=1e-4)
    uneven = Regression(batch=16)
    before = uneven.weights()
    uneven.fit(TrainSettings(1, 0.1, accumulate=4))  # 6 batches: an update of 4, one of 2
    assert (uneven.weights() - before).abs().max() == pytest.approx(0.2, abs=0.02)  # Adam moves by about its rate an update


def test_bfloat16_computes_in_it_and_keeps_weights_in_float32():
    problem = Regression()
    with autocast(torch.device("cpu"), "bfloat16"):
        assert problem.network(problem.x).dtype == torch.bfloat16
    result = problem.fit(TrainSettings(60, 0.1, precision="bfloat16"))
    assert problem.weights().dtype == torch.float32
    assert result.history[-1]["loss"] < 0.05 * result.history[0]["loss"]


def test_fastest_is_bfloat16_only_where_the_card_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert isinstance(autocast(torch.device("cuda"), "fastest"), nullcontext), "bfloat16 that is only emulated is slow"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    with autocast(torch.device("cpu"), "fastest"):
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def test_stochastic_weight_averaging_keeps_the_mean_of_the_last_epochs():
    plain, ends = Regression(), []
    plain.fit(TrainSettings(8, 0.1), validate=lambda: ends.append(plain.weights()) or 0.0, metric="none")
    averaged = Regression()
    averaged.fit(TrainSettings(8, 0.1, swa_from=0.5))  # epochs 4 to 8
    torch.testing.assert_close(averaged.weights(), torch.stack(ends[3:]).mean(0), atol=1e-5, rtol=1e-4)


def test_a_plain_mean_of_weights():
    network = nn.Linear(1, 1, bias=False)
    average = AveragedWeights(network, None)
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(network.weight, value)
        average.update()
    assert average.average[0].item() == pytest.approx(3.0)


# ---- learning rate ---------------------------------------------------------------------------------
def test_the_rate_found_learns_fast_and_the_network_is_put_back():
    problem = Regression(dropout=0.1)
    before = problem.weights()
    found = find_learning_rate(problem.network, problem.batches, problem.loss, "sgd", 0.0, ONE)
    torch.testing.assert_close(problem.weights(), before, atol=0, rtol=0)
    assert found.rates[0] == pytest.approx(1e-5) and (np.diff(found.rates) > 0).all() and len(found.rates) == len(found.changes)

    def after_5(rate: float) -> float:
        return Regression().fit(TrainSettings(5, rate, optimizer="sgd")).history[-1]["loss"]

    assert after_5(found.rate) < 0.2 * after_5(1e-3), "far too small a rate learns as fast"
    again = find_learning_rate(problem.network, problem.batches, problem.loss, "sgd", 0.0, ONE)
    assert again.rate == found.rate


def test_batches_that_differ_more_than_steps_teach_do_not_mislead():
    """Losses of batches wander by much more than is learnt; compared with itself each batch still tells."""
    problem = Regression(batch=8)
    wander = 400 * torch.rand(96, generator=torch.Generator().manual_seed(0))

    def noisy(index: torch.Tensor, step: int) -> torch.Tensor:
        return problem.loss(index, step) + wander[index[0]]

    def flat(index: torch.Tensor, step: int) -> torch.Tensor:
        return 0 * problem.loss(index, step) + wander[index[0]]

    plain, noisily, never = (
        find_learning_rate(problem.network, problem.batches, loss, "adam", 0.0, ONE).rate for loss in (problem.loss, noisy, flat)
    )
    assert plain > 0.005 and noisily == pytest.approx(plain, rel=0.5)
    assert never is None


# ---- compile ---------------------------------------------------------------------------------------
def test_what_cannot_be_compiled_is_trained_without_and_said(monkeypatch):
    def broken(function, **_):
        def call(*args):
            raise RuntimeError("no C++ compiler\nand a long trace")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    problem, plain = Regression(dropout=0.3), Regression(dropout=0.3)
    result = problem.fit(TrainSettings(5, 0.1, compile=True))
    plain.fit(TrainSettings(5, 0.1))
    assert result.notes == ["The network could not be compiled (no C++ compiler); it was trained without."]
    torch.testing.assert_close(problem.weights(), plain.weights(), atol=0, rtol=0)


def test_a_compiled_loss_is_taken_where_it_works(monkeypatch):
    called = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *args: called.append(1) or function(*args))
    problem = Regression()
    fast, problem_text = compiled(problem.loss, problem.batches)
    assert problem_text == "" and called
    assert fast(torch.arange(4), 0).item() == pytest.approx(problem.loss(torch.arange(4), 0).item())


# ---- checkpoints -----------------------------------------------------------------------------------
class Killed(BaseException):
    """As sudden as a kill: nothing in the loop may catch it."""


EVERYTHING = TrainSettings(14, 0.05, schedule="cosine", warmup_steps=4, averaging=0.9, patience=9, accumulate=2)


@pytest.mark.parametrize(
    "settings",
    [
        EVERYTHING,
        replace(EVERYTHING, schedule="plateau", averaging=0.0, swa_from=0.3),
        replace(EVERYTHING, optimizer="adagrad"),
        replace(EVERYTHING, optimizer="sgd"),
    ],
    ids=["ema", "swa", "adagrad", "sgd"],
)
def test_a_training_that_was_killed_ends_where_it_would_have(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("recsys_core.nn.checkpoint.SECONDS_AT_LEAST", 0.0)
    monkeypatch.setattr("recsys_core.nn.checkpoint.SECONDS_BETWEEN", 0.0)
    scores = [0.1, 0.3, 0.2, 0.25, 0.5, 0.4, 0.45, 0.49, 0.48, 0.1, 0.2, 0.3, 0.45, 0.42]

    def run(ctx: RunContext, kill_in: int = 0):
        problem, told = Regression(dropout=0.2), []

        def validate() -> float:
            epoch = int(told[-1].epoch if told else 0) + 1
            if epoch == kill_in:
                raise Killed
            return scores[epoch - 1]

        ctx = replace(ctx, on_progress=told.append)
        try:
            return problem.fit(settings, ctx, validate=validate), problem, told
        except Killed:
            return None, problem, told

    whole, uninterrupted, told_whole = run(ONE)
    ctx = RunContext(threads=1, workdir=tmp_path)
    assert run(ctx, kill_in=4)[0] is None and run(ctx, kill_in=9)[0] is None
    resumed, problem, told = run(ctx)
    assert resumed.resumed_after == 8
    torch.testing.assert_close(problem.weights(), uninterrupted.weights(), atol=0, rtol=0)
    assert (resumed.best_epoch, resumed.best_score, resumed.stopped_early) == (whole.best_epoch, whole.best_score, whole.stopped_early)
    assert [e["loss"] for e in resumed.history] == [e["loss"] for e in whole.history]
    assert [(p.epoch, p.replayed) for p in told] == [(e, e <= 8) for e in range(1, len(whole.history) + 1)]
    assert len(told) == len(told_whole)
    finished, problem, told = run(ctx)  # once more: it is over, and told again without training
    assert finished.resumed_after == len(whole.history) and all(p.replayed for p in told)
    torch.testing.assert_close(problem.weights(), uninterrupted.weights(), atol=0, rtol=0)


def test_a_checkpoint_of_another_training_or_half_of_one_is_left_alone(tmp_path):
    ctx = RunContext(threads=1, workdir=tmp_path)
    Regression().fit(TrainSettings(3, 0.1), ctx, identity="these data")
    for changed, identity in ((TrainSettings(3, 0.2), "these data"), (TrainSettings(3, 0.1), "other data")):
        assert Regression().fit(changed, ctx, identity=identity).resumed_after == 0
    assert Regression().fit(TrainSettings(3, 0.1), replace(ctx, seed=1), identity="other data").resumed_after == 0
    path = next(tmp_path.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:100])
    assert Regression().fit(TrainSettings(3, 0.1), replace(ctx, seed=1), identity="other data").resumed_after == 0


def test_checkpoints_are_written_at_improvements_and_not_more_than_once_a_second(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("recsys_core.nn.checkpoint.time.monotonic", lambda: clock[0])
    checkpoint = Checkpoint(Path("somewhere"), "")
    due = []
    for clock[0], improved in ((0.5, True), (0.9, False), (1.1, False), (29.0, False), (31.0, False)):
        due.append(checkpoint.due(improved))
    assert due == [False, False, True, True, True]  # the improvement at 0.5 waits until a second has gone by
    checkpoint.wanted = False
    assert [checkpoint.due(False) for clock[0] in (29.0, 31.0)] == [False, True]
    assert not Checkpoint(None, "").due(True)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Regression().fit(TrainSettings(3, 0.1), ONE)
    assert not list(tmp_path.iterdir())


def test_parts_of_a_run_have_folders_of_their_own(tmp_path):
    part = RunContext(workdir=tmp_path).part("Fold 1 of 3", 0, 1).part("with validation", 0, 1)
    assert part.workdir == tmp_path / "fold-1-of-3" / "with-validation"


def test_cancel_leaves_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("recsys_core.nn.checkpoint.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("recsys_core.nn.checkpoint.SECONDS_AT_LEAST", 0.0)
    asked = []
    ctx = RunContext(threads=1, workdir=tmp_path, cancelled=lambda: asked.append(1) or len(asked) > 30)
    with pytest.raises(Cancelled):
        Regression().fit(TrainSettings(50, 0.1), ctx)
    assert Regression().fit(TrainSettings(50, 0.1), replace(ctx, cancelled=lambda: False)).resumed_after > 0


# ---- several processes -----------------------------------------------------------------------------
def test_shares_are_a_partition():
    index = torch.arange(7)
    shares = [Group(rank, 3).share(index) for rank in range(3)]
    assert torch.cat(shares).sort().values.tolist() == index.tolist() and [len(s) for s in shares] == [3, 2, 2]
    assert Group().share(index) is index


class TheOtherHasNone(Group):
    """This process, beside one on a host of its own that found no checkpoint there; gradients are left as they are."""

    def share(self, index: torch.Tensor) -> torch.Tensor:
        return index

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def agree(self, value: float, device: torch.device | str = "cpu") -> float:
        return value

    def sum_gradients(self, parameters) -> None:
        pass


def test_a_checkpoint_that_only_one_host_has_is_not_taken_up(tmp_path, monkeypatch):
    ctx = RunContext(threads=1, workdir=tmp_path)
    assert Regression().fit(TrainSettings(3, 0.1), ctx).resumed_after == 0
    assert Regression().fit(TrainSettings(3, 0.1), ctx).resumed_after == 3
    monkeypatch.setattr("recsys_core.nn.loop.join", lambda device: TheOtherHasNone(0, 2))
    assert Regression().fit(TrainSettings(3, 0.1), ctx).resumed_after == 0


SCRIPT = """
import json, sys
sys.path[:0] = sys.argv[2:4]
from pathlib import Path
from recsys_core.nn.distributed import processes
from recsys_core.nn.loop import TrainSettings
from test_training_loop import ONE, Regression
problem = Regression(n=97, batch=16)  # the last batch has one row: one process has none
scores = iter([.1, .4, .2, .3, .1, .1, .1, .1])
settings = TrainSettings(8, 0.05, patience=4, averaging=.5, clip_norm=2.0)
result = problem.fit(settings, validate=lambda: next(scores))
out = {"weights": problem.weights().tolist(), "loss": [e["loss"] for e in result.history], "best": result.best_epoch}
Path(sys.argv[1], f"{processes()[0]}.json").write_text(json.dumps(out))
"""


def test_two_processes_give_what_one_gives(tmp_path):
    import json

    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    here = Path(__file__).resolve()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path), str(here.parent), str(here.parents[2])],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    problem, scores = Regression(n=97, batch=16), iter([0.1, 0.4, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1])
    alone = problem.fit(TrainSettings(8, 0.05, patience=4, averaging=0.5, clip_norm=2.0), validate=lambda: next(scores))
    np.testing.assert_allclose(first["weights"], problem.weights().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first["loss"], [e["loss"] for e in alone.history], rtol=1e-4)
    assert first["best"] == alone.best_epoch == 2
