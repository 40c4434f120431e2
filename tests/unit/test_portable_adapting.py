"""Models that find a new user's vector by gradient steps do the same steps without torch: the gradients, the steps and the lists."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.histories import Histories
from recsys_core.errors import Unsupported
from recsys_core.models.meta._losses import TaskLosses
from recsys_core.models.meta._network import Core as TorchCore
from recsys_core.models.meta._network import World
from recsys_core.models.meta._tasks import of_histories
from recsys_core.nn.fold_in import descend as torch_descend
from recsys_core.nn.interaction import InteractionNet
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.forms._core import Adaptation, Core, Shown
from recsys_core.portable.forms._descent import descend
from recsys_core.portable.forms._pair_network import PairNetwork
from recsys_core.portable.history import History
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing.datasets import tastes

META = {"epochs": 1, "factors": 8, "hidden": 8, "inner_steps": 3, "patience": 0, "batch_size": 20}
TINY = {"epochs": 3, "patience": 0}
READS = {"encoder": "transformer", "history": 9}
# (model, settings, ratings, tables of users and items)
CASES: dict[str, tuple[str, dict[str, Any], bool, bool]] = {
    "maml tables": ("maml", META | {"step_sizes": "each"}, False, True),
    "maml ratings": ("maml", META | {"loss": "mse"}, True, False),
    "maml reads": ("maml", META | READS | {"blocks": 2, "step_sizes": "each"}, False, True),
    "melu reads ratings": ("melu", META | READS | {"loss": "mse"}, True, True),
    "proximal": ("proximal_meta", META, False, False),
    "gmf ratings": ("gmf", TINY | {"loss": "mse"}, True, False),
    "neumf": ("neumf", TINY | {"pretraining": False}, False, False),
    "deepfm tables": ("deepfm", TINY, True, True),
    "deepfm ratings": ("deepfm", TINY | {"loss": "mse"}, True, True),
    "lightgcn pairs": ("lightgcn", TINY | {"loss": "bpr", "layers": 0}, True, False),
    "lightgcn angles": ("lightgcn", TINY | {"loss": "cosine_contrastive"}, False, False),
    "m6 tables": ("m6_rec", TINY | {"levels": 1, "generator": 8, "pooling": "attention", "user_ids": True, "history": 5}, False, True),
    "m6 ratings": ("m6_rec", TINY | {"loss": "mse", "item_history": "users"}, True, True),
}  # fmt: skip
HISTORIES = ([7], [3, 1, 30], list(range(5, 16)), list(range(39, 0, -1)), [4, 4, 9])
NOBODY_YET = 61  # a user without any history


@cache
def _model(case: str) -> Any:
    key, params, ratings, tables = CASES[case]
    data = tastes(60, 40, ratings=ratings).train
    if tables:
        groups = [pd.DataFrame({"group": [f"group {code % 5}" for code in range(n)]}) for n in (data.n_users, data.n_items)]
        data = replace(data, user_table=groups[0], item_table=groups[1])
    return registry.get("model", key)(**params).fit(data, RunContext(threads=1))


def _bundle(case: str, folder: Path, **options: Any) -> Bundle:
    write_bundle(_model(case), folder / "bundle.zip", **options)
    return Bundle.open(folder / "bundle.zip")


def _same(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert np.abs(found - wanted).max() <= 1e-4 * np.ptp(wanted), what


@pytest.mark.parametrize("case", CASES)
def test_every_click_changes_the_list_as_it_does_the_models(case: str, tmp_path: Path) -> None:
    model, bundle = _model(case), _bundle(case, tmp_path)
    ratings = model.fitted.stats.has_ratings
    for items in HISTORIES:
        values = [item % 3 + 3 for item in items] if ratings else [1] * len(items)
        wanted = model.history_scores(Histories.from_lists([items], [values]))[0]
        _same(bundle.form.scores(History.of(items, values)), wanted, f"{len(items)} items")
    lists = []
    for n in range(5):
        codes, _ = bundle.best(History.of([3, 17, 9, 22][:n], [5] * n), 10)
        wanted = model.recommend_for_history(Histories.from_lists([[3, 17, 9, 22][:n]], [[5] * n]), 10)
        scores = dict(zip(wanted.items[0].tolist(), wanted.scores[0].tolist(), strict=True))
        told = bundle.scores(History.of([3, 17, 9, 22][:n], [5] * n))
        assert [scores.get(int(code), float(told[code])) for code in codes] == pytest.approx(wanted.scores[0].tolist(), rel=1e-3, abs=1e-4)
        lists.append(codes.tolist())
    assert lists[0] != lists[1] and lists[1] != lists[3], "the lists do change"


@pytest.mark.parametrize("case", CASES)
def test_training_users_get_what_was_learnt_of_them(case: str, tmp_path: Path) -> None:
    model, bundle = _model(case), _bundle(case, tmp_path)
    users = np.array([0, 5, 33, NOBODY_YET])
    for user, wanted in zip(users.tolist(), model.scores(users), strict=True):
        _same(bundle.scores(bundle.history(user), user), wanted, f"user {user}")


@pytest.mark.parametrize("case", ["maml tables", "maml reads", "melu reads ratings"])
def test_nobody_known_gets_the_prior_and_it_is_no_popularity_list(case: str, tmp_path: Path) -> None:
    model, bundle = _model(case), _bundle(case, tmp_path)
    _same(bundle.scores(History.of([])), model.history_scores(Histories.from_lists([[]]))[0], "nothing shown")
    assert bundle.form.serves_nothing and np.abs(bundle.scores(History.of([])) - bundle.popularity).max() > 1e-3


@pytest.mark.parametrize("case", ["maml reads", "neumf", "lightgcn angles", "m6 tables"])
def test_half_precision_keeps_the_lists(case: str, tmp_path: Path) -> None:
    model, bundle = _model(case), _bundle(case, tmp_path, codec="float16")
    for items in HISTORIES[:3]:
        wanted = model.history_scores(Histories.from_lists([items], [[5] * len(items)]))[0]
        assert np.abs(bundle.form.scores(History.of(items, [5] * len(items))) - wanted).max() <= 0.02 * np.ptp(wanted)


@pytest.mark.parametrize("scale", ["z", "probability"])
def test_an_average_weighs_its_parts_by_how_many_items_are_shown(scale: str, tmp_path: Path) -> None:
    """One fitted model with weights that differ at every level, and between levels."""
    model = _average()
    model.learnt = {"weights": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.0, 1.0], [0.3, 0.7]]), "scale": scale}
    write_bundle(model, tmp_path / "bundle.zip")
    bundle = Bundle.open(tmp_path / "bundle.zip")
    np.testing.assert_allclose(bundle.form.weights(History.of([5])), [0.2, 0.8])
    np.testing.assert_allclose(bundle.form.weights(History.of([5, 5, 2])), model.weights(Histories.from_lists([[5, 5, 2]]))[0])
    for items in ([], *HISTORIES):
        wanted = model.history_scores(Histories.from_lists([items]))[0]
        history = History.of(items)
        _same(bundle.scores(history), wanted, f"{len(items)} items")
        parts = bundle.form.part_shares(8, history)
        assert sum(share for _, share in parts) == pytest.approx(float(wanted[8]), abs=1e-4 * float(np.ptp(wanted)))
    _same(bundle.form.similar(8), model._similar(np.array([8]))[0], "similar items")


@cache
def _average() -> Any:
    parts = {"maml": META, "reptile": META}
    model = registry.get("model", "meta_average")(models=list(parts), part_params=parts, weights="equal")
    return model.fit(tastes(60, 40).train, RunContext(threads=1))


# ---- gradients and steps, against torch ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("blocks", "ratings", "anchor"), [(0, False, 0.0), (0, True, 0.3), (1, False, 0.0), (3, True, 0.0), (2, False, 0.5)]
)
def test_steps_of_a_network_far_from_its_start_are_torchs(blocks: int, ratings: bool, anchor: float) -> None:
    """Weights and step sizes drawn at random: every gradient counts, none is near 0."""
    torch.manual_seed(blocks)
    size, n_items, steps = 6, 23, 4
    core = TorchCore(size, "transformer" if blocks else "mlp", blocks, 7, 0.1).eval()
    with torch.no_grad():
        for weight in core.parameters():
            weight.normal_(0, 0.6)
    vectors, biases, values = torch.randn(n_items, size), torch.randn(n_items), torch.tensor([3.0, 1.0, 5.0, 4.0])
    world = World(vectors, torch.randn(n_items, size), biases, torch.zeros(n_items))
    adapted = [name for name, _ in core.named_parameters()]
    rating, trust = torch.nn.Linear(1, size, bias=False), torch.tensor(0.4)
    network = SimpleNamespace(core=core, log_trust=trust, adapted=adapted, log_rate=torch.rand(len(adapted)) - 2, rating=rating, size=size)
    params = SimpleNamespace(loss="mse" if ratings else "softmax", inner_rate=0.02 if ratings else 0.5, anchor=anchor)
    losses = TaskLosses(network, world, params)
    read, user = Histories.from_lists([[4, 19, 2, 7]], [values.tolist()]), torch.randn(1, size)
    with torch.no_grad():
        wanted = losses.vectors(of_histories(read, user, 3.0, 2.0, ratings), steps)[0].numpy()
        tokens = world.roles[[4, 19, 2, 7]] + (rating((values[:, None] - 3) / 2) if ratings else 0)
        rates = {name: float(size) for name, size in losses.rates().items()}
    weights = {name: weight.detach().numpy() for name, weight in core.named_parameters()}
    heads = core.blocks[0].heads if blocks else 1
    plain = Adaptation(
        Core(blocks, heads, tuple(adapted)), weights, rates, vectors.numpy(), biases.numpy(), float(trust.exp()), steps, anchor, ratings
    )
    standard = ((values - 3) / 2).numpy() if ratings else np.zeros(4, np.float32)
    shown = Shown(np.array([4, 19, 2, 7]), standard, tokens.numpy(), user[0].numpy())
    for n in range(steps + 1):
        np.testing.assert_allclose(plain.vector(shown, n), wanted[n], rtol=2e-3, atol=2e-3 * np.abs(wanted[n]).max(), err_msg=f"{n} steps")
    assert np.abs(wanted[-1] - wanted[0]).max() > 0.1, "the steps do move the user"


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_slope_of_a_pair_network_is_torchs(layers: int) -> None:
    torch.manual_seed(layers)
    net = InteractionNet(3, 11, 4, 8, layers, 0.0).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, 0.7)
    own, each = torch.randn(1, 12, requires_grad=True), torch.randn(11)
    items, bias = net.item_vectors()
    wanted = net.block(own, items, bias)[0]
    (slope,) = torch.autograd.grad((wanted * each).sum(), own)
    plain = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in net.tower.layers if hasattr(layer, "weight")]
    tall = (items[:, 4:] + net.hidden_bias.detach()).numpy()
    network = PairNetwork((items[:, :4] * net.product.detach()).numpy(), tall, bias.numpy(), tuple(plain))
    user = own[0].detach().numpy()
    scores, read = network.scores_kept(user)
    np.testing.assert_allclose(scores, wanted.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(network.scores(user), scores, atol=1e-6)
    np.testing.assert_allclose(network.slope(each.numpy(), read), slope[0].numpy(), rtol=1e-4, atol=1e-5)
    some = np.array([9, 2])
    np.testing.assert_allclose(network.of(some).scores(user), scores[some], atol=1e-6)


def test_descent_takes_adams_steps() -> None:
    curve = np.diag([4.0, 1.0, 0.01]).astype(np.float32)
    start = np.array([1.0, -2.0, 3.0], np.float32)
    wanted = torch_descend(torch.as_tensor(start[None]), lambda x: (x @ torch.as_tensor(curve) * x).sum(), 30, 0.1)[0].numpy()
    np.testing.assert_allclose(descend(start, lambda x: 2 * curve @ x, 30, 0.1), wanted, atol=1e-5)
    assert descend(start, lambda x: 2 * curve @ x, 0, 0.1).tolist() == start.tolist()
    still = descend(start, lambda x: np.array([1.0, 0.0, -1e-3], np.float32), 1, 0.1)
    np.testing.assert_allclose(still, [0.9, -2.0, 3.1], atol=1e-4)  # a first step is as long as the rate, whatever the slope


def test_what_cannot_be_worked_out_without_the_data_layer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("m6 tables")
    monkeypatch.setitem(model.inputs.derived, "user", object())  # as with "Use high-level features"
    with pytest.raises(Unsupported, match="high-level features of users cannot be bundled") as told:
        model.portable()
    assert "train it again" in told.value.hint
