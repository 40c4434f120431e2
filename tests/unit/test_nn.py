"""Losses by hand, samplers by their distribution, and a training loop that knows no model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recsys_core.context import RunContext
from recsys_core.errors import Cancelled, Unsupported, WorkbenchError
from recsys_core.nn.batches import IndexBatches, Ragged, SparseRows
from recsys_core.nn.blocks import MLP, BagOfItems
from recsys_core.nn.fold_in import descend
from recsys_core.nn.interaction import InteractionNet
from recsys_core.nn.loop import TrainSettings, train
from recsys_core.nn.losses import bce, gaussian_kl, mse, multinomial_nll, sampled_logsumexp, softmax_against
from recsys_core.nn.optimizers import Optimizer
from recsys_core.nn.runtime import cpu_threads, find_device, seeded
from recsys_core.nn.samplers import NegativeSampler, PairTable, popularity_weights

ONE = RunContext(threads=1)


# ---- batches -------------------------------------------------------------------------------------
def test_batches_cover_every_index_once_in_a_new_order_each_epoch():
    batches = IndexBatches(10, 4)
    with seeded(3):
        first, second = list(batches), list(batches)
    with seeded(3):
        again = list(batches)
    assert [len(b) for b in first] == [4, 4, 2] and len(batches) == 3
    assert torch.cat(first).sort().values.tolist() == list(range(10))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    assert torch.cat(first).tolist() == torch.cat(again).tolist()


def test_rows_of_a_sparse_matrix_are_taken_in_the_order_asked_for():
    matrix = sparse.csr_matrix(np.array([[0, 1, 1], [0, 0, 0], [1, 0, 1]], np.float32))
    taken = SparseRows(matrix).take(torch.tensor([2, 1, 2, 0]))
    assert taken.columns.tolist() == [0, 2, 0, 2, 1, 2]
    assert taken.lengths.tolist() == [2, 0, 2, 2]
    assert taken.rows.tolist() == [0, 0, 2, 2, 3, 3]


# ---- losses --------------------------------------------------------------------------------------
def test_multinomial_nll_by_hand():
    logits = torch.tensor([[0.0, math.log(3), 0.0], [1.0, 1.0, 1.0]])  # softmax: .2 .6 .2 and thirds
    chosen = Ragged(torch.tensor([1, 2, 0]), torch.tensor([0, 2, 3]))
    by_hand = (-math.log(0.6) - math.log(0.2) + math.log(3)) / 2
    assert multinomial_nll(logits, chosen).item() == pytest.approx(by_hand, rel=1e-6)
    weighted = (0.5 * (-math.log(0.6) - math.log(0.2)) + 2 * math.log(3)) / 2
    assert multinomial_nll(logits, chosen, torch.tensor([0.5, 2.0])).item() == pytest.approx(weighted, rel=1e-6)


def test_kl_agrees_with_torch_distributions():
    mean, log_variance = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)), torch.linspace(-2, 2, 35).view(5, 7)
    other = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(gaussian_kl(mean, log_variance), other.sum(1).mean())


def test_bce_by_hand_and_excluded_negatives_do_not_count():
    positive, negative = torch.tensor([0.0, math.log(3)]), torch.tensor([[0.0, 5.0], [0.0, math.log(3)]])
    excluded = torch.tensor([[False, True], [False, False]])
    by_hand = ((math.log(2) + math.log(2)) + (math.log(4 / 3) + math.log(2) + math.log(4))) / 2
    assert bce(positive, negative, excluded).item() == pytest.approx(by_hand, rel=1e-6)


def test_softmax_against_is_the_cross_entropy_when_every_item_is_given():
    scores = torch.tensor([[2.0, -1.0, 0.5, 0.1]])
    rest = sampled_logsumexp(scores, excluded=torch.tensor([[False, False, True, False]]))
    expected = nn.functional.cross_entropy(scores, torch.tensor([2]))
    torch.testing.assert_close(softmax_against(scores[:, 2], rest), expected)
    nothing_left = sampled_logsumexp(scores, excluded=torch.ones(1, 4, dtype=torch.bool))
    assert softmax_against(scores[:, 2], nothing_left).item() == 0


def test_log_q_makes_the_sampled_sum_an_estimate_of_the_whole():
    scores = torch.linspace(-1, 1, 50)
    sampler = NegativeSampler(50, weights=np.arange(1, 51))
    with seeded(0):
        drawn = sampler.draw((200_000,))
    estimate = sampled_logsumexp(scores[drawn][None], sampler.log_q[drawn])
    assert estimate.item() == pytest.approx(scores.logsumexp(0).item(), abs=0.02)


def test_mse_by_hand():
    assert mse(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])).item() == pytest.approx(2.5)


# ---- samplers ------------------------------------------------------------------------------------
@pytest.mark.parametrize("bitmap", [True, False], ids=["table", "search"])
def test_pairs_are_found(bitmap, monkeypatch):
    if not bitmap:
        monkeypatch.setattr("recsys_core.nn.samplers.BITMAP_BYTES", 0)
    dense = np.random.default_rng(0).random((30, 40)) < 0.3
    table = PairTable(sparse.csr_matrix(dense.astype(np.float32)))
    assert (table.bitmap is not None) == bitmap
    found = table.contains(torch.arange(30)[:, None], torch.arange(40))
    np.testing.assert_array_equal(found.numpy(), dense)
    nothing = PairTable(sparse.csr_matrix((3, 3), dtype=np.float32))
    assert not nothing.contains(torch.tensor([0, 2]), torch.tensor([1, 2])).any()


def test_draws_follow_the_weights():
    weights = popularity_weights(np.array([0, 8, 26, 80]), 0.5)
    np.testing.assert_allclose(weights, [1, 3, 27**0.5, 9])
    sampler = NegativeSampler(4, weights=weights)
    with seeded(1):
        share = torch.bincount(sampler.draw((100_000,)), minlength=4) / 100_000
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.006)
    np.testing.assert_allclose(sampler.log_q.exp(), weights / weights.sum(), rtol=1e-5)
    with seeded(1):
        uniform = torch.bincount(NegativeSampler(4).draw((100_000,)), minlength=4) / 100_000
    np.testing.assert_allclose(uniform, 0.25, atol=0.006)


def test_negatives_are_never_positives_and_keep_their_distribution():
    positives = np.zeros((3, 50), np.float32)
    positives[0, :25] = 1
    positives[1, :49] = 1  # one item left: redrawing alone would seldom find it
    positives[2, :] = 1  # nothing left
    sampler = NegativeSampler(50, PairTable(sparse.csr_matrix(positives)), np.arange(1, 51))
    with seeded(2):
        drawn = sampler.negatives(torch.tensor([0, 1, 2, 0]), 5_000)
    assert (drawn[1] == 49).all() and (drawn[2] == -1).all()
    share = torch.bincount(drawn[[0, 3]].flatten(), minlength=50).numpy() / 10_000
    assert share[:25].sum() == 0
    np.testing.assert_allclose(share[25:], np.arange(26, 51) / np.arange(26, 51).sum(), atol=0.012)


# ---- blocks --------------------------------------------------------------------------------------
def test_a_bag_of_items_is_a_linear_layer_of_the_normalised_dense_row():
    dense = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], np.float32)
    bag = BagOfItems(4, 3)
    x = nn.functional.normalize(torch.from_numpy(dense))
    torch.testing.assert_close(bag(SparseRows(sparse.csr_matrix(dense)).all()), x @ bag.weight + bag.bias)


def test_a_block_scores_as_its_pairs_do():
    net = InteractionNet(5, 7, factors=3, hidden=8, layers=2, dropout=0.5).eval()
    block = net.block(net.users(torch.arange(5)), *net.items(torch.arange(7)))
    user, item = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    pairs = net.pairs(net.users(user.flatten()), *net.items(item.flatten()))
    torch.testing.assert_close(block.flatten(), pairs)


def test_mlp_has_no_activation_after_its_last_layer():
    kinds = [type(layer) for layer in MLP([4, 8, 1], dropout=0.2).layers]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


# ---- the loop ------------------------------------------------------------------------------------
def line(n: int = 64):
    """(network, batches, loss): y = 2x - 1 seen through dropout-free weights; the loss falls to 0."""
    x = torch.linspace(-1, 1, n)[:, None]
    with seeded(0):
        network = nn.Linear(1, 1)
    return network, IndexBatches(n, 16), lambda index, step: mse(network(x[index]), 2 * x[index] - 1)


def test_the_loss_falls_and_progress_tells_it():
    network, batches, loss = line()
    said = []
    result = train(network, batches, loss, TrainSettings(epochs=60, learning_rate=0.05), RunContext(threads=1, on_progress=said.append))
    assert result.history[-1]["loss"] < 0.01 < result.history[0]["loss"]
    assert network.weight.item() == pytest.approx(2, abs=0.1) and network.bias.item() == pytest.approx(-1, abs=0.1)
    epochs = [step for step in said if step.metrics]
    assert [step.epoch for step in epochs] == list(range(1, 61)) and epochs[-1].fraction == 1 and epochs[-1].seconds_left == 0
    assert {"loss", "learning_rate", "samples_per_second"} <= set(epochs[0].metrics)
    assert not network.training


def test_gradients_are_cleared_between_steps():
    """With plain SGD and one batch, each step must be the gradient of that step alone."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    train(network, IndexBatches(1, 1), lambda index, step: 3 * network.weight.sum(), TrainSettings(4, 0.1, optimizer="sgd"), ONE)
    assert network.weight.item() == pytest.approx(-4 * 0.1 * 3)  # accumulated gradients would give -3.0


def test_the_best_epoch_is_restored_and_patience_stops():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    modes = []

    def validate() -> float:
        modes.append((network.training, torch.is_grad_enabled()))
        return next(scores)

    settings = TrainSettings(epochs=6, learning_rate=1.0, optimizer="sgd", patience=3)
    result = train(network, IndexBatches(1, 1), lambda index, step: -network.weight.sum(), settings, ONE, validate=validate)
    assert (result.best_epoch, result.best_score, result.stopped_early, len(result.history)) == (2, 0.5, True, 5)
    assert network.weight.item() == pytest.approx(2.0)  # one up each epoch: the weights of epoch 2
    assert set(modes) == {(False, False)}


def test_for_errors_smaller_is_better():
    network, batches, loss = line()
    scores = iter([0.9, 0.4, 0.6])
    result = train(network, batches, loss, TrainSettings(3), ONE, validate=lambda: next(scores), metric="rmse", larger_is_better=False)
    assert result.best_epoch == 2 and result.history[1]["rmse"] == 0.4


def test_cancel_comes_within_a_batch():
    network, batches, loss = line()
    steps = []

    def counted(index, step):
        steps.append(step)
        return loss(index, step)

    with pytest.raises(Cancelled):
        train(network, batches, counted, TrainSettings(100), RunContext(threads=1, cancelled=lambda: len(steps) >= 6))
    assert steps == list(range(6))


def test_the_same_seed_gives_the_same_weights_and_global_chance_is_untouched():
    def fit(seed: int) -> torch.Tensor:
        ctx = RunContext(seed=seed, threads=1)
        with seeded(ctx.seed_for("weights")):
            network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        x = torch.arange(40.0).view(10, 4) / 40
        train(network, IndexBatches(10, 3), lambda index, step: mse(network(x[index]), x[index, :1]), TrainSettings(3), ctx)
        return torch.cat([p.flatten() for p in network.parameters()]).detach()

    before = torch.random.get_rng_state()
    first, again, other = fit(1), fit(1), fit(2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_loss_that_is_no_number_ends_with_a_sentence():
    network, batches, _ = line()
    with pytest.raises(WorkbenchError, match="diverged") as caught:
        train(network, batches, lambda index, step: network.weight.sum() * float("nan"), TrainSettings(2), ONE)
    assert "learning rate" in caught.value.hint


def test_warm_up_raises_the_learning_rate_step_by_step():
    network, batches, loss = line()
    result = train(network, batches, loss, TrainSettings(3, 0.08, warmup_steps=8), ONE)
    assert [round(e["learning_rate"], 6) for e in result.history] == [0.04, 0.08, 0.08]


def test_clipping_bounds_the_step():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    train(network, IndexBatches(1, 1), lambda i, s: 100 * network.weight.sum(), TrainSettings(1, 1.0, optimizer="sgd", clip_norm=0.5), ONE)
    assert network.weight.item() == pytest.approx(-0.5, rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "sgd"])
def test_every_optimizer_steps(name):
    network, batches, loss = line()
    assert [type(part).__name__.lower() for part in Optimizer(network, name, 0.1, 0.0).parts] == [name]
    result = train(network, batches, loss, TrainSettings(20, 0.02, optimizer=name), ONE)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


# ---- fold-in, runtime ----------------------------------------------------------------------------
def test_descend_treats_rows_one_by_one_and_reaches_nothing_else():
    weight = nn.Parameter(torch.ones(3))
    target = torch.tensor([[1.0, 0, 0], [0, 50.0, 0]])
    start = torch.zeros(2, 3)
    with torch.no_grad():  # as during validation
        both = descend(start, lambda v: ((v * weight - target) ** 2).sum(), 200, 0.05)
        alone = descend(start[:1], lambda v: ((v * weight - target[:1]) ** 2).sum(), 200, 0.05)
    torch.testing.assert_close(both[:1], alone)
    torch.testing.assert_close(both[0], target[0], atol=0.02, rtol=0)
    assert weight.grad is None and not both.requires_grad and start.sum() == 0


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with cpu_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_device_that_is_not_there_is_refused_in_words():
    assert find_device("cpu").type == "cpu"
    with pytest.raises(Unsupported, match="toaster"):
        find_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(Unsupported, match="not available"):
            find_device("cuda")


def test_each_of_several_processes_takes_a_card_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("cuda") == find_device("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert find_device("cuda") == find_device("auto") == torch.device("cuda", 3)
    assert find_device("cuda:1") == torch.device("cuda", 1) and find_device("cpu") == torch.device("cpu")


def test_averaged_weights_by_hand_and_put_back():
    from recsys_core.nn.averaging import AveragedWeights

    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
    averaged = AveragedWeights(network, 0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0), start=1):
        with torch.no_grad():
            network.weight.fill_(value)
        averaged.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with averaged.applied():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 3.0


def test_training_validates_and_keeps_the_average():
    """With plain gradient steps of -1 the weight walks 0, -1, -2 …; what is kept lags behind it."""
    seen, kept = [], []
    for validate in (True, False):
        network = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            network.weight.fill_(0.0)
        score = (lambda n=network: seen.append(n.weight.item()) or -n.weight.item()) if validate else None
        settings = TrainSettings(5, 1.0, optimizer="sgd", averaging=0.9)
        train(network, IndexBatches(1, 1), lambda index, step, n=network: n.weight.sum(), settings, ONE, validate=score)
        assert -5 < network.weight.item() < 0
        kept.append(network.weight.item())
    assert kept[0] == pytest.approx(kept[1]) == pytest.approx(seen[-1]), "validated or not, the last average is the best here"
