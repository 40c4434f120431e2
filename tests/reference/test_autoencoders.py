"""Autoencoders and CFGAN: prior, alternation, masks and losses against slow references; what they learn on real data."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.errors import WorkbenchError
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models.deep import cfgan, recvae
from recsys_core.models.deep.cfgan import CFGAN
from recsys_core.models.deep.mult_dae import MultDAE
from recsys_core.models.deep.recvae import RecVAE
from recsys_core.nn.batches import SparseRows

MODELS = pytest.mark.parametrize("model", [MultDAE, RecVAE, CFGAN], ids=lambda cls: cls.key)


def context(seed: int = 42, **more) -> RunContext:
    return RunContext(seed=seed, threads=1, **more)


def tastes(n_users: int = 60, n_items: int = 30) -> Dataset:
    """Half of the users choose from the first half of the items, half from the second."""
    rng = np.random.default_rng(5)
    half = n_items // 2
    picks = np.argsort(rng.random((n_users, half)), axis=1)[:, :8] + half * (np.arange(n_users) % 2)[:, None]
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items)]
    return Dataset(*ids, np.repeat(np.arange(n_users), 8), picks.ravel(), np.ones(picks.size))


def prepared(model, data: Dataset, **values):
    """(model, its batches, its loss) as `fit` makes them, nothing learnt yet; in training mode."""
    one = model(**values)
    one.train, one.resolved = data, one.resolve(data.stats)
    torch.manual_seed(3)
    one.network = one._build(data.n_users, data.n_items)
    batches, loss = one._objective(data, torch.device("cpu"))
    one.network.train()
    return one, batches, loss


def learns(module: torch.nn.Module) -> set[bool]:
    return {p.requires_grad for p in module.parameters()}


# ---- all of them ---------------------------------------------------------------------------------
@MODELS
def test_loss_falls_on_50_events(model):
    pairs = np.random.default_rng(0).permutation(120)[:50]
    ids = [IdMap(np.arange(n).astype(str)) for n in (10, 12)]
    data = Dataset(*ids, pairs // 12, pairs % 12, np.ones(50, np.float32))
    said = []
    model(epochs=30, learning_rate=0.01).fit(data, context(on_progress=said.append))
    losses = [step.metrics["loss"] for step in said if "loss" in step.metrics]
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.97 * np.mean(losses[:3])


@MODELS
def test_scores_of_a_history_are_those_of_the_user_with_it(model):
    data = tastes()
    fitted = model(epochs=5).fit(data, context())
    users = np.arange(20)
    np.testing.assert_allclose(fitted.history_scores(data.histories(users)), fitted.scores(users), rtol=1e-5, atol=1e-6)
    assert not any(module.training for module in fitted.network.modules())


@MODELS
def test_new_users_get_lists_of_their_taste_and_reasons_from_it(model):
    fitted = model(epochs=60, learning_rate=0.01).fit(tastes(), context())
    top = fitted.recommend_for_history(Histories.from_lists([[0, 1, 2, 3], [20, 21, 22, 23]]), 6)
    assert (top.items[0] < 15).all() and (top.items[1] >= 15).all()
    reason = fitted.explain(0, history=Histories.from_lists([[1, 2, 3, 20]]), k=4)
    assert reason.refs[-1] == 20, "the item of the other taste speaks against"


@MODELS
def test_two_threads_give_the_same_weights_twice(model):
    n_users, n_items = 4, 1501
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items)]
    user, item = np.nonzero(np.random.default_rng(0).random((n_users, n_items)) < 0.7)
    data = Dataset(*ids, user, item, np.ones(len(user)))
    states = [model(epochs=4, batch_size=4, latent=16).fit(data, RunContext(seed=1, threads=2))._state() for _ in range(3)]
    for again in states[1:]:
        assert all(np.array_equal(np.asarray(states[0][name]), np.asarray(again[name])) for name in states[0])


@pytest.mark.parametrize("values", [{"network": "linear"}, {"network": "tanh"}], ids=str)
def test_mult_dae_is_two_matrices_and_a_softmax(values):
    model, _, loss = prepared(MultDAE, tastes(), latent=4, dropout=0.0, activity_damping=0.0, **values)
    x = torch.as_tensor(tastes().matrix("binary")[:5].toarray())
    net = model.network
    hidden = (x / x.norm(dim=1, keepdim=True)) @ net.read.weight + net.read.bias
    last = net.decoder.layers[-1]
    logits = (hidden.tanh() if values["network"] == "tanh" else hidden) @ last.weight.T + last.bias
    expected = -(logits.log_softmax(1) * x).sum(1).mean()
    torch.testing.assert_close(loss(torch.arange(5), 0), expected)


# ---- RecVAE --------------------------------------------------------------------------------------
def test_log_density_of_the_composite_prior():
    torch.manual_seed(0)
    z, mean, log_variance = torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4)
    weights = (0.15, 0.75, 0.1)
    centres = torch.stack([torch.zeros(3, 4), mean, torch.zeros(3, 4)], dim=-1)
    spreads = torch.stack([torch.ones(3, 4), (log_variance / 2).exp(), torch.full((3, 4), np.exp(5.0))], dim=-1)
    mixture = MixtureSameFamily(Categorical(torch.tensor(weights).expand(3, 4, 3)), Normal(centres, spreads))
    torch.testing.assert_close(recvae.composite_log_prior(z, mean, log_variance, weights), mixture.log_prob(z))
    torch.testing.assert_close(recvae.log_normal(z, mean, log_variance), Normal(mean, (log_variance / 2).exp()).log_prob(z))


def test_recvae_smooths_by_activity():
    """The loss of the encoder's passes, entry by entry: a user's divergence counts gamma times their interactions."""
    data = tastes()
    data = data.subset(np.arange(len(data)) % 8 < 2 + data.user % 5)  # two to six interactions
    model, _, loss = prepared(RecVAE, data, latent=4, dropout=0.0, activity_damping=0.5, gamma=0.3, memory=0.6)
    net = model.network
    with torch.no_grad():
        net.old.read.weight.mul_(1.5)
    rows = SparseRows(data.matrix("binary")).take(torch.arange(6))
    torch.manual_seed(9)
    got = loss(torch.arange(6), 0)
    torch.manual_seed(9)
    logits, z, mean, log_variance = net(rows)
    old_mean, old_log_variance = net.old(rows)
    n = data.user_counts.astype(float)
    say = n**-0.5 / (n**-0.5).mean()
    total = 0.0
    for user in range(6):
        nll = -logits[user].log_softmax(0)[data.item[data.user == user]].sum()
        log_q = Normal(mean[user], (log_variance[user] / 2).exp()).log_prob(z[user])
        parts = [(0.3, 0.0, 1.0), (0.6, old_mean[user], (old_log_variance[user] / 2).exp()), (0.1, 0.0, np.exp(5.0))]
        log_p = sum(weight * Normal(centre, spread).log_prob(z[user]).exp() for weight, centre, spread in parts).log()
        total += say[user] * (nll + 0.3 * n[user] * (log_q - log_p).sum())
    assert got.item() == pytest.approx(total.item() / 6, rel=1e-4)


def test_recvae_learns_one_half_at_a_time():
    """Three passes of the encoder, one of the decoder, before which the prior remembers the encoder."""
    model, batches, loss = prepared(RecVAE, tastes(), encoder_passes=3, latent=8)
    net = model.network
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.01)
    assert learns(net.old) == {False}
    for epoch in range(1, 9):
        before = copy.deepcopy(net.state_dict())
        model._before_epoch(epoch)
        for step, index in enumerate(batches):
            optimizer.zero_grad()
            loss(index, step).backward()
            optimizer.step()
        changed = {name.split(".")[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == ({"decoder", "old"} if epoch % 4 == 0 else {"encoder"}), f"pass {epoch}"
        if epoch % 4 == 0:
            assert all(torch.equal(value, net.old.state_dict()[name]) for name, value in net.encoder.state_dict().items())


def test_recvae_decoder_learns_from_whole_histories():
    model, _, loss = prepared(RecVAE, tastes(), encoder_passes=1, latent=8, dropout=0.9)
    seen = []
    model.network.encoder.register_forward_hook(lambda module, rows, out: seen.append(out[0].detach()))
    for epoch, same in ((1, False), (2, True)):
        model._before_epoch(epoch)
        seen.clear()
        for _ in range(2):
            loss(torch.arange(8), 0)
        assert torch.equal(*seen) == same, "dropout belongs to the encoder's passes only"
    assert model.network.training, "the taste is still drawn by chance"


def test_recvae_can_learn_both_halves_together():
    model, _, _ = prepared(RecVAE, tastes(), encoder_passes=0, latent=8)
    model._before_epoch(1)
    assert learns(model.network.encoder) == learns(model.network.decoder) == {True} and learns(model.network.old) == {False}


@pytest.mark.parametrize("values", [{"network": "linear"}, {"network": "dense", "hidden": 16}], ids=str)
def test_recvae_is_saved_without_the_remembered_encoder(values):
    data = tastes()
    fitted = RecVAE(epochs=7, latent=8, encoder_passes=2, **values).fit(data, context())
    state = fitted._state()
    assert not any("old" in name for name in state)
    loaded = RecVAE(fitted.params)
    loaded.train, loaded.resolved = data, fitted.resolved
    loaded._restore(state)
    np.testing.assert_array_equal(loaded.scores(np.arange(10)), fitted.scores(np.arange(10)))


def test_recvae_dense_encoder_layer_by_layer():
    model, _, _ = prepared(RecVAE, tastes(), network="dense", hidden=6, latent=3)
    encoder = model.network.encoder.eval()
    rows = SparseRows(tastes().matrix("binary")[:4]).all()
    outs = []
    for number in range(5):
        x = encoder.read(rows) if number == 0 else encoder.layers[number - 1](outs[-1]) + sum(outs)
        swish = x * torch.sigmoid(x)
        centred = swish - swish.mean(1, keepdim=True)
        outs.append(centred / (centred.square().mean(1, keepdim=True) + 0.1).sqrt())
    expected = encoder.taste(outs[-1])
    torch.testing.assert_close(torch.cat(encoder(rows), dim=1), expected)


@pytest.mark.parametrize("model, values", [(RecVAE, {"encoder_passes": 2}), (CFGAN, {"judge_steps": 2})], ids=["recvae", "cfgan"])
def test_a_killed_training_ends_where_the_whole_one_would(model, values, tmp_path):
    """The half that rests, and the remembered encoder, come back with the checkpoint."""
    data = tastes()
    whole = model(epochs=7, batch_size=16, **values).fit(data, context(workdir=tmp_path / "whole"))

    class Killed(Exception):
        pass

    def kill(progress) -> None:
        if progress.epoch == 5:
            raise Killed

    with pytest.raises(Killed):
        model(epochs=7, batch_size=16, **values).fit(data, context(workdir=tmp_path / "part", on_progress=kill))
    resumed = model(epochs=7, batch_size=16, **values).fit(data, context(workdir=tmp_path / "part"))
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, msg=name)


# ---- CFGAN ---------------------------------------------------------------------------------------
def test_drawn_zeros_are_never_purchases_and_as_many_as_asked_for():
    torch.manual_seed(0)
    real = (torch.rand(40, 500) < 0.2).float()
    drawn = cfgan.drawn_zeros(real, 0.3)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and not (drawn * real).any()
    zeros = float((real == 0).sum())
    assert float(drawn.sum()) == pytest.approx(0.3 * zeros, abs=5 * (zeros * 0.3 * 0.7) ** 0.5)
    assert torch.equal(cfgan.drawn_zeros(real, 1.0), 1 - real)


def test_purchase_vectors():
    matrix = tastes().matrix("binary")[:7]
    rows = SparseRows(matrix).all()
    np.testing.assert_array_equal(cfgan.purchase_vectors(rows, 30).numpy(), matrix.toarray())


def verdict(net, vector: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The discriminator with dense inputs."""
    judge, scale = net.discriminator, real.sum(1, keepdim=True).sqrt()
    hidden = ((vector / scale) @ judge.vector.weight.T + (real / scale) @ judge.condition.weight + judge.condition.bias).relu()
    return (hidden @ judge.verdict.weight.T + judge.verdict.bias)[:, 0]


@pytest.mark.parametrize("variant", ["zr", "pm", "zp"])
def test_cfgan_losses_by_hand(variant):
    """With shares of 1 every item not chosen is drawn: nothing is left to chance."""
    shares = {"zero_share": 1.0, "masked_share": 1.0, "dropout": 0.0, "activity_damping": 0.0}
    model, _, loss = prepared(CFGAN, tastes(), variant=variant, latent=4, judge=5, zero_weight=0.7, **shares)
    net = model.network
    with torch.no_grad():
        net.discriminator.vector.weight.add_(0.1 * torch.randn_like(net.discriminator.vector.weight))
    real = torch.as_tensor(tastes().matrix("binary")[:6].toarray())
    made = net(SparseRows(tastes().matrix("binary")[:6]).all())[0]
    fake = torch.sigmoid(verdict(net, made * real if variant == "zr" else made, real))
    honest = torch.sigmoid(verdict(net, real, real))
    judge = (-(1 - fake).log() - honest.log()).mean()
    generator = -fake.log() + (0 if variant == "pm" else 0.7 * (made * (1 - real)).square().sum(1))
    assert loss(torch.arange(6), 0).item() == pytest.approx(judge.item(), rel=1e-4)
    assert loss(torch.arange(6), 1).item() == pytest.approx(generator.mean().item(), rel=1e-4)


def test_entries_that_are_not_shown_or_drawn_get_no_gradient(monkeypatch):
    model, _, loss = prepared(CFGAN, tastes(), variant="zp", latent=4, dropout=0.0)
    last = model.network.generator.decoder.layers[-1]
    blank = torch.zeros(6, 30)
    blank[:, 7] = 1  # only item 7 is drawn
    monkeypatch.setattr(cfgan, "drawn_zeros", lambda chosen, share: blank * (1 - chosen))
    loss(torch.arange(6), 1).backward()
    chosen = tastes().matrix("binary")[:6].toarray().any(axis=0)
    chosen[7] = True
    np.testing.assert_array_equal((last.weight.grad != 0).any(dim=1).numpy(), chosen)


def test_cfgan_sides_take_turns():
    model, batches, loss = prepared(CFGAN, tastes(), judge_steps=2, latent=8)
    net = model.network
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    index = next(iter(batches))
    for step in range(6):
        before = copy.deepcopy(net.state_dict())
        optimizer.zero_grad()
        loss(index, step).backward()
        optimizer.step()
        changed = {name.split(".")[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == ({"generator"} if step % 3 == 2 else {"discriminator"}), f"step {step}"


@pytest.mark.parametrize("variant", ["zr", "zp"])
def test_cfgan_scores_are_high_where_chosen_and_near_zero_elsewhere(variant):
    data = tastes()
    fitted = CFGAN(variant=variant, epochs=100, learning_rate=0.01).fit(data, context())
    scores, half = fitted.scores(np.arange(60)), np.arange(30) < 15
    own = (np.arange(60) % 2 == 0)[:, None] == half[None, :]
    assert scores[own].mean() > 0.3 and abs(scores[~own].mean()) < 0.15


# ---- real data -----------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    "model, values, least",
    [(MultDAE, {"epochs": 30}, 0.27), (RecVAE, {"epochs": 30}, 0.26), (CFGAN, {"epochs": 30}, 0.25)],
    ids=["mult_dae", "recvae", "cfgan"],
)
def test_learns_real_data_in_a_few_passes(real_data, model, values, least):
    """A validation cut of the training file; the most popular items reach .17 there."""
    data = from_frame(pd.read_csv(real_data("ml-100k") / "train.csv.gz"))
    held = np.random.default_rng(0).random(len(data)) < 0.2
    validation = Holdout(data.subset(held))
    fitted = model(**values).fit(data.subset(~held), context())
    ndcg = ndcg_at(fitted.recommend_holdout(validation, 20).items, validation.relevant, 20).mean()
    assert ndcg >= least


def test_weights_of_another_network_are_refused_in_one_sentence():
    data = tastes()
    fitted = RecVAE(epochs=1, latent=8).fit(data, context())
    loaded = RecVAE(fitted.params)
    loaded.train, loaded.resolved = data, fitted.resolved.with_(latent=6)
    with pytest.raises(WorkbenchError, match="trained by another version"):
        loaded._restore(fitted._state())
