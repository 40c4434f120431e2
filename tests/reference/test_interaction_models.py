"""GMF, MLP, NeuMF, DeepFM against slow loops and hand-made data: joined branches, fields, ratings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.models._io import load_model, save_model
from recsys_core.models.deep.deepfm import DeepFM
from recsys_core.models.deep.gmf import GMF
from recsys_core.models.deep.mlp import MLP
from recsys_core.models.deep.neumf import NeuMF
from recsys_core.nn.fields import FieldNet, SideFields
from recsys_core.nn.interaction import InteractionNet, PairNet
from recsys_core.testing.datasets import tastes

ONE = RunContext(threads=1)
MODELS = (GMF, MLP, NeuMF, DeepFM)
SIZES = {"factors": 8, "hidden": 8}
EVERY = pytest.mark.parametrize("model", MODELS, ids=lambda cls: cls.key)


def small(model: type) -> dict:
    """Small sizes; NeuMF in one go."""
    sizes = {name: size for name, size in SIZES.items() if name in model.Params.model_fields}
    return sizes | ({"pretraining": False} if model is NeuMF else {})


def shaken(network: PairNet) -> PairNet:
    """Its weights drawn anew, so that no part of it is zero or one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network.eval()


def side(n: int, fields: list[int], seed: int) -> SideFields:
    """n rows; fields: features in each. Two entries of a row in some fields, none in others."""
    rng = np.random.default_rng(seed)
    matrix = sparse.csr_matrix(np.where(rng.random((n, sum(fields))) < 0.5, rng.normal(size=(n, sum(fields))), 0).astype(np.float32))
    known = np.ones(n, bool)
    known[-1] = False
    return SideFields(known, matrix, np.repeat(np.arange(len(fields)), fields))


def field_net() -> FieldNet:
    return shaken(FieldNet(side(4, [3], 0), side(5, [2, 3], 1), 3, 8, 2, 0.4, 0.5))


def embeddings(net: FieldNet, name: str, row: int) -> tuple[list[np.ndarray], float]:
    """(embedding of each field of a row, its linear term), entry by entry."""
    of, numbers = getattr(net, name), lambda table: table.weight.detach().numpy().astype(np.float64)
    known = float(of.known[row])
    fields, linear = [numbers(of.id)[row] * known], float(numbers(of.id_weight)[row, 0]) * known
    given = side(4, [3], 0) if name == "user" else side(5, [2, 3], 1)
    fields += [np.zeros(3) for _ in range(given.n_fields)]
    for column in range(given.matrix.shape[1]):
        amount = float(given.matrix[row, column])
        fields[1 + given.field[column]] += amount * numbers(of.value)[column]
        linear += amount * float(numbers(of.value_weight)[column, 0])
    return fields, linear


def test_factorisation_machine_is_the_double_loop_over_fields():
    net = field_net()
    (users, items) = net.user_vectors(), net.item_vectors()
    scores = net.block(users, *items).detach().numpy()
    layers = [layer for layer in net.tower.layers if isinstance(layer, torch.nn.Linear)]
    for u in range(4):
        for i in range(5):
            (mine, linear_u), (its, linear_i) = embeddings(net, "user", u), embeddings(net, "item", i)
            fields = [*mine, *its]
            second = sum(fields[f] @ fields[g] for f in range(len(fields)) for g in range(f))
            first = np.concatenate([net.user.wide.weight.detach().numpy(), net.item.wide.weight.detach().numpy()], 1)
            x = np.maximum(first @ np.concatenate(fields) + net.hidden_bias.detach().numpy(), 0) ** 2
            for number, layer in enumerate(layers):
                x = layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()
                x = np.maximum(x, 0) if number + 1 < len(layers) else x
            assert scores[u, i] == pytest.approx(linear_u + linear_i + second + x[0], rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(
    "net",
    [
        InteractionNet(4, 5, 3, 0, 2, 0.3),
        InteractionNet(4, 5, 0, 8, 2, 0.3),
        InteractionNet(4, 5, 3, 8, 1, 0.3),
        InteractionNet(4, 5, 3, 8, 3, 0.3),
        field_net(),
    ],
    ids=["product", "tower", "one layer", "both", "fields"],
)
def test_a_block_holds_the_scores_of_its_pairs(net: PairNet):
    shaken(net)
    users, (items, bias) = net.user_vectors(), net.item_vectors()
    block = net.block(users, items, bias)
    u, i = torch.arange(4).repeat_interleave(5), torch.arange(5).repeat(4)
    assert block.shape == (4, 5)
    torch.testing.assert_close(net.pairs(users[u], items[i], bias[i]).view(4, 5), block, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(net.users(torch.arange(4)), users)
    torch.testing.assert_close(net.items(torch.tensor([3, 0, 3]))[0], items[[3, 0, 3]])


def test_joined_branches_score_their_weighted_sum():
    product, tower = InteractionNet(4, 5, 3, 0, 2, 0.3), InteractionNet(4, 5, 0, 8, 3, 0.3)
    both = InteractionNet(4, 5, 3, 8, 3, 0.3)
    for alpha in (0.5, 0.2):
        shaken(product), shaken(tower), shaken(both).join(product, tower, alpha)
        scores = [net.block(net.user_vectors(), *net.item_vectors()) for net in (product, tower, both)]
        torch.testing.assert_close(scores[2], alpha * scores[0] + (1 - alpha) * scores[1], rtol=1e-4, atol=1e-4)


def test_pretrained_neumf_starts_as_the_mean_of_its_two_parts():
    data = tastes().train
    settings = {"factors": 8, "hidden": 8, "learning_rate": 0.01, "batch_size": 16}
    model = NeuMF(**settings, pretraining=True, alpha=0.5, pretraining_rate=0.0, epochs=4, averaging=0.0, weight_decay=0.0, patience=0).fit(
        data, ONE
    )
    users = np.arange(20)
    parts = [model._stages[branch].scores(users) for branch in ("product", "tower")]
    np.testing.assert_allclose(model.scores(users), 0.5 * parts[0] + 0.5 * parts[1], rtol=1e-4, atol=1e-4)
    alone = {"epochs": 4, "averaging": 0.0, "weight_decay": 0.0, "patience": 0, "learning_rate": 0.01, "batch_size": 16}
    for part, other in zip(parts, (GMF(factors=8, **alone), MLP(hidden=8, **alone)), strict=True):
        np.testing.assert_allclose(part, other.fit(data, ONE).scores(users), rtol=1e-5, atol=1e-6)


def test_pretraining_tells_its_stages_and_its_refit_repeats_them():
    case = tastes()
    said: list[str] = []
    ctx = RunContext(threads=1, on_progress=lambda step: said.append(step.stage))
    model = NeuMF(factors=8, hidden=8, pretraining=True, epochs=8, product_epochs=6, tower_epochs=5, learning_rate=0.01)
    model.fit(case.train, ctx, validation=case.held_out)
    stages = list(dict.fromkeys(stage.split(":")[0] for stage in said))
    assert stages == ["Product of factors alone", "Network alone", "Both joined"]
    assert [note.split(":")[0] for note in model.notes[:2]] == stages[:2]
    again = model.refit_params()
    assert again.epochs == model.best_epoch and again.pretraining
    assert (again.product_epochs, again.tower_epochs) == tuple(model._stages[name].best_epoch for name in ("product", "tower"))
    refit = NeuMF(again).fit(case.train, ONE)
    np.testing.assert_array_equal(refit.recommend(np.arange(20), 5).items, model.recommend(np.arange(20), 5).items)


@EVERY
@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr"])
def test_every_loss_learns_to_rank(model: type, loss: str):
    case = tastes()
    settings = small(model) | {"sampler": "mixed" if loss == "bpr" else "uniform"}
    fitted = model(loss=loss, epochs=15, learning_rate=0.02, **settings).fit(case.train, ONE)
    users = case.held_out.users
    taste = fitted.recommend(users, 5).items % 5
    own = np.array([np.bincount(case.train.histories(np.array([user])).items % 5, minlength=5).argmax() for user in users])
    share = (taste == own[:, None]).mean()
    assert share > 0.6, f"{share:.0%} of the lists are of the users' taste; chance gives 20 %"


@EVERY
def test_rating_targets_come_near_the_truth(model: type):
    """Ratings are a user's mood plus an item's quality plus whether the tastes agree."""
    rng = np.random.default_rng(0)
    user, item = np.divmod(rng.permutation(60 * 40)[:1600], 40)
    value = 3 + 0.5 * np.sign(user % 3 - 1) + 0.5 * np.sign(item % 3 - 1) + 0.7 * np.where(user % 2 == item % 2, 1, -1)
    ids = [IdMap(np.arange(n).astype(str)) for n in (60, 40)]
    whole = Dataset(*ids, user, item, value, feedback="explicit")
    held = np.arange(1600) % 5 == 0
    train, validation = whole.subset(~held), Holdout(whole.subset(held))
    fitted = model(loss="mse", epochs=120, patience=20, learning_rate=0.02, weight_decay=0.01, dropout=0.1).fit(
        train, ONE, validation=validation
    )
    assert fitted.predicts_ratings()
    truth = validation.truth
    rmse = np.sqrt(np.mean((fitted.predict_ratings(truth.user, truth.item) - truth.value) ** 2))
    assert rmse < 0.5 * truth.value.std(), f"RMSE {rmse:.2f}, the mean alone gives {truth.value.std():.2f}"
    implicit = Dataset(*ids, user, item, np.ones(1600))
    with pytest.raises(Unsupported, match="predicts ratings"):
        model(loss="mse").resolve(implicit.stats)  # said before training
    with pytest.raises(Unsupported, match="predicts ratings"):
        model(loss="mse", epochs=1).fit(implicit, ONE)


# ---- columns of tables ---------------------------------------------------------------------------
def genres(n_users: int = 80, n_items: int = 40, n_new: int = 4) -> Dataset:
    """Items of four genres, users who choose from one; the last n_new items (one of each genre) nobody chose yet."""
    rng = np.random.default_rng(3)
    genre = np.arange(n_items + n_new) % 4
    own = np.flatnonzero(genre[:n_items] == 0)[:, None] + np.arange(4)  # (items of a genre, genre)
    picks = np.stack([rng.permutation(own[:, user % 4])[:6] for user in range(n_users)])
    items = pd.DataFrame({"genre": np.array(["crime", "comedy", "drama", "war"])[genre]})
    users = pd.DataFrame({"town": np.where(np.arange(n_users) % 2, "here", "there")})
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items + n_new)]
    return Dataset(*ids, np.repeat(np.arange(n_users), 6), picks.ravel(), np.ones(picks.size), user_table=users, item_table=items)


@pytest.fixture(scope="module")
def told() -> DeepFM:
    return DeepFM(epochs=60, learning_rate=0.01, id_dropout=0.3, factors=8, hidden=8).fit(genres(), ONE)


def test_deepfm_places_new_items_by_their_columns(told: DeepFM):
    data = told.fitted
    scores = told.scores(np.arange(80))[:, 40:]
    assert (scores.argmax(1) == np.arange(80) % 4).mean() > 0.9, "the new item of a user's genre must come before the other new items"
    history = Histories.from_lists([[0, 4, 8], [1, 5, 9]])
    assert (told.history_scores(history)[:, 40:].argmax(1) == [0, 1]).all()
    bare = DeepFM(use_tables=False, epochs=60, learning_rate=0.01, factors=8, hidden=8).fit(data, ONE)
    assert (bare.scores(np.arange(80))[:, 40:].argmax(1) == np.arange(80) % 4).mean() < 0.6, "ids alone cannot know"


def test_deepfm_finds_items_of_the_same_genre_alike(told: DeepFM):
    alike = told.similar_items(np.arange(44), 5).items
    assert (alike % 4 == np.arange(44)[:, None] % 4).mean() > 0.8


def test_deepfm_says_which_columns_it_used_and_keeps_them_when_saved(told: DeepFM, tmp_path):
    assert any("genre (item)" in note and "town (user)" in note for note in told.notes)
    save_model(told, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.fitted.item_table is None, "the training set is saved without its tables"
    np.testing.assert_array_equal(loaded.scores(np.arange(20)), told.scores(np.arange(20)))


def test_new_items_are_no_negatives_where_their_columns_tell_them(told: DeepFM):
    np.testing.assert_array_equal(told._unlearnt(told.fitted, "cpu").numpy(), np.arange(44) >= 40)
    assert DeepFM(use_tables=False, epochs=1).fit(genres(), ONE)._unlearnt(genres(), "cpu") is None
