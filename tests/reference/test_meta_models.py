"""Models that adapt: what they reach on planted tastes, their adaptation beside a plain loop, their tasks by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.func import functional_call

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import top_k
from recsys_core.errors import Cancelled
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models.meta._losses import TaskLosses
from recsys_core.models.meta._network import Task, World
from recsys_core.models.meta._objective import Objective
from recsys_core.models.meta._tasks import Tasks, of_histories
from recsys_core.models.meta._validation import FewShots, judged_users
from recsys_core.testing.shots import planted_directions

ONE = RunContext(threads=1)
SMALL = {"factors": 16, "hidden": 16, "inner_steps": 3, "averaging": 0.9, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
SHOWN = (0, 1, 3, 8)
LEARNERS = ("maml", "fomaml", "anil", "melu", "reptile", "proximal_meta")


@pytest.fixture(scope="module")
def case():
    return planted_directions()


@pytest.fixture(scope="module")
def anil(case):
    return registry.get("model", "anil")(**SMALL, epochs=3, encoder="transformer").fit(case.train, ONE)


def curve(case, score) -> np.ndarray:
    """Mean NDCG@10 of the same items to be found, with 0, 1, 3 and 8 items of every new user shown."""
    few = FewShots(case.new, (max(SHOWN),), np.random.default_rng(0))
    out = []
    for n in SHOWN:
        keep = few.place < n
        scores = np.array(score(Histories.from_rows(len(few.pool), few.pool.row[keep], few.pool.items[keep], few.pool.values[keep])))
        scores[few.pool.row, few.pool.items] = -np.inf
        out.append(ndcg_at(top_k(scores, 10)[0], few.found, 10).mean())
    return np.array(out)


@pytest.mark.slow
def test_every_learner_knows_planted_tastes_after_a_click_and_the_best_as_well_as_fold_in(case) -> None:
    popular, ease = (curve(case, registry.get("model", key)().fit(case.train, ONE).history_scores) for key in ("popular", "ease"))
    reached = {}
    for key in LEARNERS:
        model = registry.get("model", key)(**SMALL, epochs=20).fit(case.train, ONE)
        reached[key] = adapted = curve(case, model.history_scores)
        unadapted = curve(case, lambda histories, model=model: model.scores_after(histories, steps=0))
        np.testing.assert_allclose(adapted[0], unadapted[0])
        assert (adapted[1:] > unadapted[1:] + 0.1).all(), f"{key}: {adapted} after adapting, {unadapted} before"
        assert (adapted[1:] > popular[1:] + 0.1).all() and (np.diff(adapted) > 0).all(), f"{key}: {adapted}, popular {popular}"
    assert max(one[1] for one in reached.values()) >= ease[1], f"{reached}, EASE {ease}"


# ---- adaptation ------------------------------------------------------------------------------------
HISTORIES = Histories.from_lists([[3, 17, 40], [], [8], [5, 90, 33, 2, 61]])


@pytest.mark.parametrize("key", ["anil", "proximal_meta"])
def test_adapting_equals_plain_steps_user_by_user(case, anil, key) -> None:
    """Autograd on copies of the weights, one user and one item at a time, no vmap, no padding."""
    model = anil if key == "anil" else registry.get("model", key)(**SMALL, epochs=1).fit(case.train, ONE)
    network, losses, world = model.network, model._losses, model._world
    rate, anchor = float(model.resolved.inner_rate * network.log_rate.detach().exp()[0]), getattr(model.resolved, "anchor", 0.0)
    trust = float(network.log_trust.detach().exp())
    found = model.adapted_vectors(HISTORIES)
    for row in range(len(HISTORIES)):
        items = HISTORIES.take(np.array([row])).items.tolist()

        def vector(weights, read) -> torch.Tensor:
            roles = world.roles[torch.tensor(read or [0])]
            there = torch.full((len(roles),), bool(read))
            return functional_call(network.core, losses.fixed | weights, (roles, there, torch.zeros(network.size)))

        start = {name: weight.detach().clone() for name, weight in losses.start.items()}
        weights = dict(start)
        np.testing.assert_allclose(found[row, 0], vector(weights, items).detach(), rtol=1e-4, atol=1e-5)
        for step in range(1, model.resolved.inner_steps + 1):
            weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
            loss = sum((0 * weight).sum() for weight in weights.values())
            for item in items:
                scores = world.vectors @ vector(weights, [other for other in items if other != item]) + world.biases
                loss = loss - torch.log_softmax(scores, 0)[item] / (len(items) + trust)
            for name, weight in start.items():
                loss = loss + anchor / 2 * (weights[name] - weight).square().sum()
            slopes = torch.autograd.grad(loss, list(weights.values()))
            weights = {name: weight.detach() - rate * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
            np.testing.assert_allclose(found[row, step], vector(weights, items).detach(), rtol=1e-3, atol=1e-4)


def test_users_adapt_alone_as_in_a_batch_and_the_scores_are_products(anil) -> None:
    whole = anil.adapted_vectors(HISTORIES)
    alone = [anil.adapted_vectors(HISTORIES.take(np.array([n]))) for n in range(len(HISTORIES))]
    np.testing.assert_allclose(whole, np.concatenate(alone), rtol=1e-4, atol=1e-5)
    for steps, at in ((0, 0), (1, 1), (None, -1)):
        told = whole[:, at] @ anil.item_vectors.T + anil._world.biases.numpy()
        np.testing.assert_allclose(anil.scores_after(HISTORIES, steps=steps), told, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(anil.history_scores(HISTORIES), anil.scores_after(HISTORIES), rtol=1e-4, atol=1e-5)
    assert np.abs(np.diff(whole[1], axis=0)).max() < 1e-6, "nothing shown, and yet it moved"
    assert np.abs(np.diff(whole[0], axis=0)).max() > 1e-3


def test_no_item_shown_is_read_where_it_is_to_be_told(anil) -> None:
    """With another role an item that stands alone costs the same; beside another one it changes what that one costs."""
    world = anil._world
    roles = world.roles.clone()
    roles[17] = torch.linspace(-2, 3, anil.network.size).sin()
    other = World(world.vectors, roles, world.biases, world.more)
    before, after = (TaskLosses(anil.network, one, anil.resolved) for one in (world, other))
    for items, changes in (([17], False), ([17, 3], True)):
        batch = of_histories(Histories.from_lists([items]), torch.zeros(1, anil.network.size), 0.0, 1.0, False)
        task = Task(*(part[0] for part in batch))
        assert (abs((before.support(before.start, task) - after.support(after.start, task)).item()) > 1e-4) == changes
        alone = task._replace(there=~torch.eye(len(items), dtype=torch.bool)[0])  # what the item told is told from
        np.testing.assert_array_equal(*(one.user(one.start, task, alone.there).detach() for one in (before, after)))


# ---- tasks -----------------------------------------------------------------------------------------
def drawn_tasks(lists: list[list[int]], domains: np.ndarray | None = None, **settings) -> tuple[list[int], list[list[int]]]:
    """(how many of each user are shown, the items of each user's task, ascending)."""
    user = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    ids = IdMap([f"u{n}" for n in range(len(lists))]), IdMap([f"i{n}" for n in range(10)])
    data = Dataset(*ids, user, np.concatenate(lists), np.ones(len(user)), np.arange(len(user)))
    params = SimpleNamespace(**({"batch_size": 4, "mixing": 0.0, "shots": 3, "query_size": 0} | settings))
    _, drawn = Tasks(data, params, False, "cpu", domains).draw(torch.arange(len(lists)))
    items, row = drawn.items.numpy(), drawn.row.numpy()
    return drawn.shown.tolist(), [sorted(items[row == n].tolist()) for n in range(len(lists))]


def test_mixing_joins_two_users_each_item_once() -> None:
    torch.manual_seed(0)
    lists = [[0, 1, 2], [2, 3], [4, 5, 6]]
    assert drawn_tasks(lists)[1] == lists
    assert drawn_tasks(lists, mixing=1.0)[1] == [[0, 1, 2, 3], [2, 3, 4, 5, 6], [0, 1, 2, 4, 5, 6]]


def test_tasks_of_one_domain_hold_no_other_and_leave_one_to_be_found() -> None:
    torch.manual_seed(0)
    domains = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    lists, seen = [[0, 1, 2, 3, 4], [0, 5], [6, 7, 8]], set()
    for _ in range(30):
        shown, (first, second, third) = drawn_tasks(lists, domains)
        assert first in ([0, 1, 2], [3, 4]), "items of two domains"
        assert second == [0, 5], "one item of a domain makes no task, so all are kept"
        assert third == [6, 7, 8] and all(0 <= n < len(task) for n, task in zip(shown, (first, second, third), strict=True))
        seen.add(tuple(first))
    assert len(seen) == 2


def test_no_more_is_to_be_found_than_asked_for() -> None:
    torch.manual_seed(0)
    for _ in range(10):
        shown, tasks = drawn_tasks([[0, 1, 2, 3, 4, 5]] * 3, query_size=2)
        assert all(len(task) == n + 2 for n, task in zip(shown, tasks, strict=True))


def test_sampled_items_stand_for_the_whole_catalogue(case) -> None:
    """Σ exp(more) over the items met is, on the mean, the sum over all."""
    model = registry.get("model", "fomaml")(**SMALL, epochs=1).fit(case.train, ONE)
    params = model.resolved.with_(negatives=30)
    made = Objective(model.network, model.inputs, case.train, params, "cpu", model._lesson)
    assert not made.whole
    torch.manual_seed(0)
    weight, sums = torch.linspace(0.1, 2, case.train.n_items), []
    for _ in range(400):
        _, drawn = made.tasks.draw(torch.randint(len(made.tasks.active), (2,)))
        codes, more = made._met(drawn.items, 2)
        sums.append(float((weight[codes] * more.exp()).sum()))
    whole, error = float(weight.sum()), np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - whole) < max(4 * error, 0.05 * whole), f"{np.mean(sums)} ± {error}, all: {whole}"


def test_data_without_tables_and_a_single_user(case) -> None:
    bare = replace(case.train, item_table=None)
    for data in (bare, bare.subset(bare.user == 0)):
        model = registry.get("model", "melu")(**SMALL, epochs=1).fit(data, ONE)
        assert np.isfinite(model.scores_after(HISTORIES)).all()


def test_reasons_read_the_user_table_as_the_list_does(case) -> None:
    told = pd.DataFrame({"group": [f"group {n % 3}" for n in range(case.train.n_users)]})
    model = registry.get("model", "anil")(**SMALL, epochs=2, user_dropout=0.0).fit(replace(case.train, user_table=told), ONE)
    why, listed = model.explain(4, user=1), model.scores(np.array([1]))[0, 4]
    history = model.fitted.histories(np.array([1]))
    assert why.total == pytest.approx(listed, abs=1e-5)
    assert abs(model.explain(4, history=history).total - listed) > 1e-4, "the table makes a difference"


def test_threads_do_not_disturb_each_other(case, anil) -> None:
    lists = [Histories.from_lists([[item, item + 1, item + 2]]) for item in range(4)]
    alone = [anil.history_scores(one) for one in lists]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(anil.history_scores, lists * 8))
    assert all(np.array_equal(a, b) for a, b in zip(found, alone * 8, strict=True))


def test_a_long_validation_can_be_stopped(case, anil) -> None:
    asked = iter([False, True])

    def check() -> None:
        if next(asked):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        FewShots(case.new, (1, 3), np.random.default_rng(0)).score(anil, check)
    assert judged_users(1_700) == 2_000 and judged_users(50_000) == 671 and judged_users(10**6) == 500


def test_a_model_of_ratings_stops_by_its_error_on_ratings() -> None:
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(40), 10), np.concatenate([rng.choice(30, 10, replace=False) for _ in range(40)])
    ids = IdMap([f"u{n}" for n in range(40)]), IdMap([f"i{n}" for n in range(30)])
    whole = Dataset(*ids, user, item, 1.0 + (user + item) % 5, np.arange(400), "explicit", 4.0)
    cold, late = user >= 30, np.arange(400) % 10 >= 7
    new = Holdout(whole.subset(cold & late), whole.subset(cold & ~late))
    known = Holdout(whole.subset(~cold & late))
    for key in ("anil", "fine_tuned"):
        for holdout in (new, known):
            train = whole.subset(~cold) if holdout is new else whole.subset(~cold & ~late)
            model = registry.get("model", key)(**SMALL | {"patience": 3}, epochs=4, loss="mse").fit(train, ONE, validation=holdout)
            at = holdout.truth
            everybody = np.arange(40)
            scores = model.scores_after((whole.subset(cold & ~late) if holdout is new else train).histories(everybody), everybody)
            error = [scores[u, i] - v for u, i, v in zip(at.user, at.item, at.value, strict=True)]
            assert model._validation_score(holdout) == pytest.approx(np.sqrt(np.mean(np.square(error))), rel=1e-4)
            assert any("validation RMSE" in note for note in model.notes)
