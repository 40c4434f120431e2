"""Items as tasks: the loss against the whole softmax, steps against a loop, and a planted world in which a new item's users place it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput, Unsupported
from recsys_core.evaluation.item_shots import OTHERS, make_item_tasks, measure_items
from recsys_core.models._io import load_model, save_model

QUIET = RunContext(seed=3, threads=1)
SETTINGS = {
    "epochs": 12,
    "patience": 0,
    "factors": 8,
    "hidden": 8,
    "encoder": "mlp",
    "inner_steps": 3,
    "averaging": 0.0,
    "learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def split():
    """160 users of four tastes choose 12 of the 25 items made for theirs; columns say nothing of it."""
    rng = np.random.default_rng(0)
    rows = [(f"u{user:03}", f"i{taste * 25 + item:03}") for user in range(160) for taste in [user % 4] for item in rng.permutation(25)[:12]]
    table = pd.DataFrame({"kind": rng.choice(["a", "b", "c"], 100)})
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]), item_table=table)
    splitter = registry.get("splitter", "cold_items")(items_share=0.15, warm_share=0.0)
    return next(iter(splitter.splits(data, QUIET)))


@pytest.fixture(scope="module")
def model(split):
    return registry.get("model", "fomaml")(tasks="users and items", **SETTINGS).fit(split.train, QUIET)


def test_the_loss_of_an_item_is_its_part_of_the_softmax_of_all_users():
    import torch

    from recsys_core.models.meta._item_tasks import Crowd, ItemLosses, ItemTask

    torch.manual_seed(0)
    users, items = torch.randn(6, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    chosen = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    vector, bias = items[0].clone().requires_grad_(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def whole():
        scores = users @ torch.cat([vector[None], items[1:]]).T
        scores = torch.cat([scores[:, :1] + bias, scores[:, 1:]], 1)
        return -(chosen * torch.log_softmax(scores, 1)).sum()

    class Net:
        new_item = {"log_rate": torch.zeros(2, dtype=torch.float64), "log_trust": torch.tensor(0.0, dtype=torch.float64)}

    crowd = Crowd(users, torch.logsumexp(users @ items[1:].T, 1), chosen.sum(1))
    losses = ItemLosses(Net(), crowd)
    own = chosen[:, 0] > 0
    task = ItemTask(vector, bias, torch.zeros(6, dtype=torch.bool), own, own.sum().double())
    theirs = torch.autograd.grad(whole(), [vector, bias])
    ours = torch.autograd.grad(losses.query(losses.start, task) * own.sum(), [vector, bias])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)

    shown = torch.tensor([True, False, True, False, False, False])
    task = ItemTask(vector.detach(), bias.detach(), shown, own, own.sum().double())
    at, lean, public = task.vector.clone(), task.bias.clone(), 0.0
    for step in range(4):  # the same by hand: slopes written out
        odds = users @ at + lean - crowd.others
        public = public if step else float((crowd.active * odds.sigmoid()).sum())
        slope = (crowd.active * odds.sigmoid() / public - shown.double() / 2) * (2 / 3)
        at, lean = at - (slope @ users) / users.square().sum(1).mean(), lean - slope.sum()
    found = losses.placed(ItemTask(*(part[None] for part in task)), 4)
    torch.testing.assert_close(found[0][0], at)
    torch.testing.assert_close(found[1][0], lean)


def test_a_pass_hides_items_from_the_users_that_meet_them(split, model):
    import torch

    from recsys_core.models.meta._objective import Objective

    torch.manual_seed(1)
    made = Objective(model.network, model.inputs, split.train, model.resolved, "cpu", model._lesson)
    now = made.item_lesson._draw(0)
    matrix = split.train.matrix("binary")
    assert len(now.items) and (now.chosen.sum(1) > 1).all()
    # Every user of the sample is there (160 < SAMPLE), so an item's column of `chosen` has all its users.
    np.testing.assert_array_equal(now.chosen.sum(1).numpy(), np.asarray(matrix[:, now.items.numpy()].sum(0)).ravel())
    model.network.zero_grad()
    made.item_lesson(0).backward()
    new = model.network.new_item
    assert all(new[name].grad is not None and new[name].grad.abs().sum() > 0 for name in ("vector", "bias", "log_rate", "log_trust"))
    assert model.network.item_fields.value.weight.grad.abs().sum() > 0, "how columns are read is learnt"
    assert not model.network.vector_id.weight.grad.any(), "the id of an item that is a task is hidden"
    assert all(weight.grad is None for weight in model.network.core.parameters()), "users are learnt by lessons of users"
    model.network.eval()


def test_first_users_place_a_new_item(split, model, tmp_path):
    tasks = make_item_tasks(split.train, split.parts["new_items"], (0, 1, 5), seed=1)
    chosen = split.parts["new_items"].truth.matrix("binary").toarray() > 0
    assert (split.train.item_counts[tasks.items] == 0).all() and tasks.others.shape == (len(tasks.user), OTHERS)
    assert chosen[tasks.user, tasks.items[tasks.of]].all() and chosen[tasks.pool, tasks.items[:, None]].all()
    assert not chosen[tasks.others, tasks.items[tasks.of][:, None]].any()
    pairs = set(zip(tasks.of.tolist(), tasks.user.tolist(), strict=True))
    assert not pairs & {(n, user) for n, row in enumerate(tasks.pool.tolist()) for user in row}, "who is shown has nothing to find"
    found = measure_items(model, tasks)
    apart = {s: found.interval("told_apart", s) for s in tasks.shots}
    gain = found.interval("ndcg", 5, gain=True)
    # By chance .5; who knew the tastes would reach .925, since some of a taste have not chosen the item.
    assert apart[0][0] < 0.65 < 0.7 < apart[5][0] and apart[1][0] > apart[0][0]
    assert gain[1] > 0, "an interval above zero"

    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model", split.train)
    np.testing.assert_allclose(measure_items(again, tasks).figures, found.figures, atol=1e-5)


def test_items_by_rows_of_the_table_and_what_is_refused(split, model):
    items = np.flatnonzero(split.train.item_counts == 0)[:2]
    rows = split.train.item_table.iloc[items]
    first, of = split.train.histories(np.array([0, 4, 1])), np.array([0, 0, 1])
    for one, other in zip(model.adapted_items(rows, first, of), model.adapted_items(items, first, of), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert [part.shape for part in model.adapted_items(items, first.take(np.array([], np.int64)), np.array([]))] == [(2, 8), (2,)]
    with pytest.raises(BadInput, match="belongs to one of 2 items"):
        model.adapted_items(items, first, np.array([0, 0, 2]))
    users_only = registry.get("model", "fomaml")(**SETTINGS | {"epochs": 1}).fit(split.train, QUIET)
    with pytest.raises(Unsupported, match="learnt from users only"):
        users_only.adapted_items(items, first, of)
    with pytest.raises(BadInput, match="lists only"):
        registry.get("model", "fomaml")(tasks="users and items", loss="mse", **SETTINGS).fit(split.train, QUIET)
