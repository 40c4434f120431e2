"""Deep models: what they learn, when they stop, what they say; and their figures on real data where it is."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models.deep.mult_vae import MultVAE
from recsys_core.models.deep.neumf import NeuMF

SMALL = {
    MultVAE: {"hidden": 32, "latent": 16, "batch_size": 16, "learning_rate": 0.005},
    NeuMF: {"factors": 8, "hidden": 8, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.0, "pretraining": False},
}
MODELS = pytest.mark.parametrize("model", SMALL, ids=lambda cls: cls.key)


def context(seed: int = 42, **more) -> RunContext:
    return RunContext(seed=seed, threads=1, **more)


def two_tastes(n_users: int = 60, n_items: int = 30, ratings: bool = False) -> tuple[Dataset, Holdout]:
    """Half of the users choose from the first half of the items, half from the second; three each are held out."""
    rng = np.random.default_rng(5)
    half = n_items // 2
    picks = np.argsort(rng.random((n_users, half)), axis=1)[:, :11] + half * (np.arange(n_users) % 2)[:, None]
    user = np.repeat(np.arange(n_users), 11)
    value = 2.0 + 2 * (picks % 2) + np.repeat(np.arange(n_users) % 3 == 0, 11).reshape(n_users, 11) if ratings else np.ones_like(picks)
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items)]
    whole = Dataset(*ids, user, picks.ravel(), value.ravel(), feedback="explicit" if ratings else "implicit")
    held = np.arange(len(user)) % 11 < 3
    return whole.subset(~held), Holdout(whole.subset(held))


@MODELS
def test_two_threads_give_the_same_weights_twice(model):
    """Long histories: the rows of one user fall to both threads, whose sums must not depend on who is first."""
    n_users, n_items = 4, 3001
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items)]
    user, item = np.nonzero(np.random.default_rng(0).random((n_users, n_items)) < 0.7)
    data = Dataset(*ids, user, item, np.ones(len(user)))
    settings = {"epochs": 8, "batch_size": 4} | (
        {"factors": 32, "hidden": 32, "layers": 1, "pretraining": False} if model is NeuMF else {"hidden": 32, "latent": 16}
    )
    states = [model(**settings).fit(data, RunContext(seed=1, threads=2))._state() for _ in range(3)]
    for again in states[1:]:
        assert all(np.array_equal(np.asarray(states[0][name]), np.asarray(again[name])) for name in states[0])


@MODELS
def test_validation_picks_the_epoch_and_the_refit_takes_it_over(model):
    data, held = two_tastes()
    said = []
    fitted = model(**SMALL[model], epochs=60, patience=12).fit(data, context(on_progress=said.append), validation=held)
    scores = [step.metrics["ndcg@20"] for step in said if "ndcg@20" in step.metrics]
    assert fitted.best_epoch == int(np.argmax(scores)) + 1
    kept = ndcg_at(fitted.recommend_holdout(held, 20).items, held.relevant, 20).mean()
    assert kept == pytest.approx(max(scores)), "the weights kept are not those of the best epoch"
    assert kept > 0.62, "knowing the half of a user gives .73 (3 of its 7 unseen items, in any order); chance gives .45"
    again = fitted.refit_params()
    assert (again.epochs, again.patience) == (fitted.best_epoch, 0) and "auto" not in again.model_dump().values()
    refit = model(again).fit(data, context())
    np.testing.assert_array_equal(refit.recommend(held.users, 5).items, fitted.recommend(held.users, 5).items)


@MODELS
def test_new_users_get_lists_of_their_taste(model):
    data, _ = two_tastes()
    fitted = model(**SMALL[model], epochs=40).fit(data, context())
    top = fitted.recommend_for_history(Histories.from_lists([[0, 1, 2, 3], [20, 21, 22, 23]]), 6)
    assert (top.items[0] < 15).all() and (top.items[1] >= 15).all()


@MODELS
def test_explanation_names_the_items_of_the_same_taste(model):
    data, _ = two_tastes()
    fitted = model(**SMALL[model], epochs=40).fit(data, context())
    history = Histories.from_lists([[1, 2, 3, 20]])
    reason = fitted.explain(0, history=history, k=4)
    assert set(reason.refs) == {1, 2, 3, 20} and reason.refs[-1] == 20 and not reason.exact and "left out" in reason.method
    assert list(reason.contributions) == sorted(reason.contributions, reverse=True)
    assert reason.total == pytest.approx(fitted.history_scores(history)[0, 0], abs=1e-4)
    without = fitted.history_scores(Histories.from_lists([[1, 2, 3]]))[0, 0]
    assert reason.contributions[-1] == pytest.approx(reason.total - without, abs=1e-4)


@MODELS
def test_a_history_of_one_item_can_be_explained(model):
    data, _ = two_tastes()
    fitted = model(**SMALL[model], epochs=2).fit(data, context())
    reason = fitted.explain(4, history=Histories.from_lists([[2]]))
    assert reason.refs == (2,) and np.isfinite(reason.contributions).all()


@MODELS
def test_similar_items_share_a_taste(model):
    data, _ = two_tastes()
    fitted = model(**SMALL[model], epochs=60).fit(data, context())
    alike = fitted.similar_items(np.arange(30), 5).items
    assert ((alike < 15) == (np.arange(30) < 15)[:, None]).mean() > 0.8


def test_items_below_the_threshold_are_no_part_of_a_taste():
    data, _ = two_tastes(ratings=True)
    data = Dataset(data.users, data.items, data.user, data.item, data.value, feedback="explicit", threshold=3.5)
    fitted = MultVAE(**SMALL[MultVAE], epochs=2).fit(data, context())
    liked = Histories.from_lists([[1, 3]], [[5, 4]])
    mixed = Histories.from_lists([[1, 0, 3]], [[5, 2, 4]])
    np.testing.assert_allclose(fitted.history_scores(liked), fitted.history_scores(mixed), rtol=1e-5)
    picked = Histories.from_lists([[1, 3]])  # picks carry no ratings: all count
    np.testing.assert_allclose(fitted.history_scores(picked), fitted.history_scores(liked), rtol=1e-5)


def test_mult_vae_gives_log_probabilities():
    data, _ = two_tastes()
    fitted = MultVAE(**SMALL[MultVAE], epochs=3).fit(data, context())
    np.testing.assert_allclose(np.exp(fitted.scores(np.arange(20))).sum(axis=1), 1, rtol=1e-4)


def test_neumf_losses_all_learn_to_rank():
    data, held = two_tastes()
    for loss in ("softmax", "bce"):
        fitted = NeuMF(**(SMALL[NeuMF] | {"batch_size": "auto"}), loss=loss, epochs=30).fit(data, context())
        top = fitted.recommend_holdout(held, 3).items
        hits = np.mean([np.isin(row, held.relevant[b].indices).mean() for b, row in enumerate(top)])
        assert hits > 0.33, f"{loss}: precision@3 {hits:.2f}; knowing the half of a user gives .43, chance .14"


def test_neumf_predicts_ratings():
    data, held = two_tastes(ratings=True)
    said = []
    model = NeuMF(**(SMALL[NeuMF] | {"batch_size": 32, "dropout": 0.0}), loss="mse", epochs=60, patience=8)
    model.fit(data, context(on_progress=said.append), validation=held)
    truth = held.truth
    errors = [step.metrics["rmse"] for step in said if "rmse" in step.metrics]
    rmse = np.sqrt(np.mean((model._rating(truth.user, truth.item) - truth.value) ** 2))
    assert rmse == pytest.approx(min(errors), rel=1e-5) and rmse < 0.3 * truth.value.std()
    rated = model.predict_ratings(truth.user, truth.item)
    assert rated.min() >= data.value.min() and rated.max() <= data.value.max()
    user, item = truth.user[:5], truth.item[:5]
    np.testing.assert_allclose(model.scores(user)[np.arange(5), item], model._rating(user, item), rtol=1e-4)
    assert model.predicts_ratings() and not NeuMF().predicts_ratings()


def test_neumf_says_when_it_cannot_predict_ratings():
    explicit, _ = two_tastes(ratings=True)
    implicit, _ = two_tastes()
    with pytest.raises(Unsupported, match="loss=softmax"):
        NeuMF(epochs=1).fit(explicit, context()).predict_ratings(np.array([0]), np.array([0]))
    with pytest.raises(Unsupported, match="predicts ratings"):
        NeuMF(loss="mse", epochs=1).fit(implicit, context())


def test_fold_in_leaves_the_model_as_it_was():
    data, _ = two_tastes()
    fitted = NeuMF(**SMALL[NeuMF], epochs=3).fit(data, context())
    before = copy.deepcopy(fitted.network.state_dict())
    fitted.history_scores(data.histories(np.arange(20)))
    assert all(torch.equal(value, fitted.network.state_dict()[name]) for name, value in before.items())


@pytest.mark.slow
def test_mult_vae_on_real_data_at_its_defaults(real_data):
    """The fixed pair, full ranking: ALS of a known library reaches .4177, RecBole's Mult-VAE .4235."""
    folder = real_data("ml-100k")
    train, test = (pd.read_csv(folder / f"{name}.csv.gz") for name in ("train", "test"))
    data = from_frame(train)
    rng = np.random.default_rng(0)
    held = rng.random(len(data)) < 0.2
    model = MultVAE().fit(data.subset(~held), context(), validation=Holdout(data.subset(held)))
    final = MultVAE(model.refit_params()).fit(data, context())
    items = IdMap([*data.items.ids, *sorted(set(test["item"].astype(str)) - set(data.items.ids))])
    truth = Holdout(from_frame(test, users=data.users, items=items))
    ndcg = ndcg_at(final.recommend(truth.users, 20).items, truth.relevant, 20).mean()
    assert len(truth.users) == 943 and ndcg >= 0.42
