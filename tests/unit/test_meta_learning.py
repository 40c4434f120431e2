"""Meta-learning: gradients against finite differences and against plain loops with autograd, all tasks at once against one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from recsys_core.nn.meta.inner import adapt, adaptation, rate_parameters, rates_from
from recsys_core.nn.meta.outer import adapted_weights, conjugate_gradients, implicit, post_adaptation, reptile, towards

TASKS, SHOTS, WIDTH, STEPS, RATE, ANCHOR = 5, 6, 4, 3, 0.1, 0.7
Weights = dict[str, Tensor]


class Net(nn.Module):
    """Rows through a table all tasks share (as item vectors are) and a small network with a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 3)
        self.body, self.head = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(vectors))).squeeze(-1)


class Problem:
    """A network, tasks on rows of its table, and the losses; the support is masked, as unequal supports are."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.net = Net().double()
        every = dict(self.net.named_parameters())
        self.table = every.pop("table.weight")
        self.weights: Weights = every
        draw = torch.Generator().manual_seed(seed)
        rows = torch.randint(0, 9, (2, TASKS, SHOTS), generator=draw)
        values = torch.randn(2, TASKS, SHOTS, generator=draw, dtype=torch.float64)
        shown = torch.arange(SHOTS) < torch.tensor([6, 3, 1, 5, 4])[:, None]
        self.tasks = {"support": (rows[0], values[0], shown), "query": [rows[1], values[1]]}

    def support(self, weights: Weights, task: dict) -> Tensor:
        rows, values, shown = task["support"]
        scores = functional_call(self.net, weights, (self.table[rows],))
        return ((scores - values).square() * shown).sum() / shown.sum()

    def query(self, weights: Weights, task: dict) -> Tensor:
        rows, values = task["query"]
        return (functional_call(self.net, weights, (self.table[rows],)) - values).square().mean()

    def task(self, number: int) -> dict:
        return {name: [part[number] for part in parts] for name, parts in self.tasks.items()}

    def split(self, names: tuple[str, ...]) -> tuple[Weights, Weights]:
        """Weights to adapt, by the beginnings of their names, and the others."""
        chosen = {name: weight for name, weight in self.weights.items() if name.startswith(names)}
        return chosen, {name: weight for name, weight in self.weights.items() if name not in chosen}

    def gradients(self, loss: Tensor) -> list[Tensor]:
        asked = [*self.weights.values(), self.table]
        found = torch.autograd.grad(loss, asked, allow_unused=True)
        return [torch.zeros_like(one) if slope is None else slope for one, slope in zip(asked, found, strict=True)]


# ---- slow references: one task after the other, with autograd and no vmap ---------------------------
def loop_adapt(loss: Callable, start: Weights, steps: int, rates, anchor: float, second_order: bool) -> Weights:
    now = dict(start)
    for _ in range(steps):
        slopes = torch.autograd.grad(loss(now), list(now.values()), create_graph=second_order)
        following = {}
        for (name, weight), slope in zip(now.items(), slopes, strict=True):
            rate = rates[name] if isinstance(rates, dict) else rates
            following[name] = weight - rate * (slope + anchor * (weight - start[name]))
        now = following
    return now


def loop_post_adaptation(problem: Problem, steps: int, rates, second_order: bool, anchor: float, names=("",)) -> tuple[Tensor, Tensor]:
    weights, frozen = problem.split(names)
    queries, supports = [], []
    for number in range(TASKS):
        task = problem.task(number)
        support = lambda moved, task=task: problem.support({**frozen, **moved}, task)  # noqa: E731
        adapted = loop_adapt(support, weights, steps, rates, anchor, second_order)
        queries.append(problem.query({**frozen, **adapted}, task))
        supports.append(support(adapted))
    return torch.stack(queries), torch.stack(supports)


def loop_adapted(problem: Problem, number: int, steps: int, anchor: float, start: Weights | None = None) -> Weights:
    task = problem.task(number)
    start = {name: weight.detach().clone().requires_grad_() for name, weight in (start or problem.weights).items()}
    adapted = loop_adapt(lambda moved: problem.support(moved, task), start, steps, RATE, anchor, False)
    return {name: weight.detach() for name, weight in adapted.items()}


def close(left: list[Tensor], right: list[Tensor], tolerance: float = 1e-10) -> None:
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


# ---- the inner loop --------------------------------------------------------------------------------
def test_one_step_by_hand() -> None:
    """(w − 1)² at w = 3 has slope 4; the anchor is at w₀ and adds nothing to the first step, 2 · (w₁ − w₀) to the second."""
    start = {"w": torch.tensor(3.0)}
    loss = lambda weights: (weights["w"] - 1).square()  # noqa: E731
    path = adaptation(loss, start, steps=2, rates=0.25, anchor=2.0)
    assert [float(weights["w"]) for weights in path] == [3.0, 2.0, 2.0]  # 2 − .25 · (2 − 2)
    assert float(adapt(loss, start, steps=2, rates=0.25)["w"]) == 1.5
    assert float(adapt(loss, start, steps=1, rates={"w": torch.tensor(0.5)})["w"]) == 1.0
    assert float(adapt(loss, start, steps=0, rates=0.25)["w"]) == 3.0


def test_adapting_works_where_gradients_are_off() -> None:
    problem = Problem()
    expected = adapted_weights(problem.support, problem.weights, problem.tasks, steps=STEPS, rates=RATE)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            found = adapted_weights(problem.support, problem.weights, problem.tasks, steps=STEPS, rates=RATE)
        close([value.clone() for value in found.values()], list(expected.values()))
    assert all(not value.requires_grad for value in expected.values())


def test_the_derivative_of_first_order_takes_slopes_as_given() -> None:
    """w₁ = w₀ − .1 · 3 w₀²: the derivative is 1 − .6 w₀ through the slope and 1 without."""
    for second_order, expected in ((True, 1 - 0.6 * 2.0), (False, 1.0)):
        start = torch.tensor(2.0, requires_grad=True)
        moved = adapt(lambda weights: weights["w"] ** 3, {"w": start}, steps=1, rates=0.1, second_order=second_order)["w"]
        assert float(torch.autograd.grad(moved, start)[0]) == pytest.approx(expected)


# ---- a start for every task, and the way to where tasks end ---------------------------------------------
@pytest.mark.parametrize("anchor", [0.0, ANCHOR])
def test_a_start_for_every_task_equals_a_loop(anchor: float) -> None:
    """The anchor is where the task itself began."""
    problem = Problem()
    draw = torch.Generator().manual_seed(8)
    starts = {
        name: weight.detach() + 0.3 * torch.randn(TASKS, *weight.shape, generator=draw, dtype=torch.float64)
        for name, weight in problem.weights.items()
    }
    found = adapted_weights(problem.support, starts, problem.tasks, steps=STEPS, rates=RATE, anchor=anchor, each=True)
    slow = [
        loop_adapted(problem, number, STEPS, anchor, {name: start[number] for name, start in starts.items()}) for number in range(TASKS)
    ]
    assert list(found) == list(starts)
    for name, moved in found.items():
        torch.testing.assert_close(moved, torch.stack([weights[name] for weights in slow]))
        assert not moved.requires_grad
        assert (moved - starts[name]).abs().max() > 0.01


def test_steps_taken_in_two_goes_are_those_taken_in_one() -> None:
    problem = Problem()
    weights, frozen = problem.split(("head",))
    options = {"rates": RATE, "frozen": frozen}
    halfway = adapted_weights(problem.support, weights, problem.tasks, steps=2, **options)
    found = adapted_weights(problem.support, halfway, problem.tasks, steps=3, each=True, **options)
    close(list(found.values()), list(adapted_weights(problem.support, weights, problem.tasks, steps=5, **options).values()))


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_towards_is_nothing_but_the_way_to_the_mean(strength: float) -> None:
    """By hand: the mean of (1, 5) and (3, 1) is (2, 3); from (4, 3) the way back is (2, 0). What has not moved gets no gradient."""
    start, other = torch.tensor([4.0, 3.0], requires_grad=True), torch.tensor(7.0, requires_grad=True)
    adapted = torch.tensor([[1.0, 5.0], [3.0, 1.0]], requires_grad=True)
    value = towards({"w": start, "b": other}, {"w": adapted}, strength)
    assert value.item() == 0
    (value + start.sum()).backward()  # adds to what else the loss says
    assert start.grad.tolist() == [1 + 2 * strength, 1.0]
    assert adapted.grad is None and other.grad is None


# ---- gradients -------------------------------------------------------------------------------------
@pytest.mark.parametrize("anchor", [0.0, ANCHOR])
def test_second_order_gradients_equal_finite_differences(anchor: float) -> None:
    """Of the network's weights, of the shared table and of learnt rates, in double precision."""
    problem = Problem()
    logs = rate_parameters(problem.weights, 0.05)
    asked = [*problem.weights.values(), problem.table, *logs.values()]

    def objective(*values: Tensor) -> Tensor:
        problem.table = values[len(problem.weights)]
        moved = dict(zip(problem.weights, values, strict=False))
        rates = {name: log.exp() for name, log in zip(problem.weights, values[len(problem.weights) + 1 :], strict=True)}
        options = {"steps": STEPS, "rates": rates, "second_order": True, "anchor": anchor}
        queries, supports = post_adaptation(problem.support, problem.query, moved, problem.tasks, **options)
        return queries.mean() + 0.3 * supports.mean()

    doubles = [value.detach().double().requires_grad_() for value in asked]
    assert torch.autograd.gradcheck(objective, doubles, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("names", [("",), ("head",)], ids=["all", "head only"])
@pytest.mark.parametrize("anchor", [0.0, ANCHOR])
@pytest.mark.parametrize("second_order", [True, False])
def test_all_tasks_at_once_equal_one_after_the_other(second_order: bool, anchor: float, names: tuple[str, ...]) -> None:
    problem = Problem()
    weights, frozen = problem.split(names)
    options = {"steps": STEPS, "rates": RATE, "second_order": second_order, "anchor": anchor}
    queries, supports = post_adaptation(problem.support, problem.query, weights, problem.tasks, frozen=frozen, **options)
    slow = loop_post_adaptation(problem, STEPS, RATE, second_order, anchor, names)
    close([queries, supports], list(slow))
    assert queries.shape == supports.shape == (TASKS,)
    close(problem.gradients(queries.mean() + 0.5 * supports.sum()), problem.gradients(slow[0].mean() + 0.5 * slow[1].sum()))


def test_first_order_differs_from_second() -> None:
    problem = Problem()
    pair = [
        post_adaptation(problem.support, problem.query, problem.weights, problem.tasks, steps=STEPS, rates=RATE, second_order=order)[0]
        for order in (True, False)
    ]
    close([pair[0]], [pair[1]])
    first, second = (torch.cat([slope.flatten() for slope in problem.gradients(losses.mean())]) for losses in pair)
    assert (first - second).norm() > 0.05 * first.norm()


@pytest.mark.parametrize("anchor", [0.0, ANCHOR])
def test_reptile_and_the_proximal_step_equal_a_loop(anchor: float) -> None:
    problem = Problem()
    value, adapted = reptile(problem.support, problem.weights, problem.tasks, steps=STEPS, rates=RATE, anchor=anchor)
    slow = [loop_adapted(problem, number, STEPS, anchor) for number in range(TASKS)]
    for name, found in adapted.items():
        torch.testing.assert_close(found, torch.stack([weights[name] for weights in slow]))
        assert not found.requires_grad
    losses = torch.stack([problem.support(slow[number], problem.task(number)) for number in range(TASKS)])
    assert value.item() == pytest.approx(losses.mean().item(), abs=1e-12)
    *gradients, of_table = problem.gradients(value)
    for gradient, (name, start) in zip(gradients, problem.weights.items(), strict=True):
        way = start - torch.stack([weights[name] for weights in slow]).mean(0)
        torch.testing.assert_close(gradient, (anchor or 1.0) * way)
    torch.testing.assert_close(of_table, torch.autograd.grad(losses.mean(), problem.table)[0])


def test_a_plain_optimiser_step_of_one_lands_on_the_mean_of_the_adapted_weights() -> None:
    problem = Problem()
    optimizer = torch.optim.SGD(problem.weights.values(), lr=1.0)
    value, adapted = reptile(problem.support, problem.weights, problem.tasks, steps=STEPS, rates=RATE)
    value.backward()
    optimizer.step()
    close([weight.detach() for weight in problem.weights.values()], [moved.mean(0) for moved in adapted.values()])


def test_reptile_leaves_frozen_weights_a_plain_gradient() -> None:
    problem = Problem()
    weights, frozen = problem.split(("head",))
    value, adapted = reptile(problem.support, weights, problem.tasks, steps=STEPS, rates=RATE, frozen=frozen)
    assert list(adapted) == list(weights)
    final = [
        problem.support({**frozen, **{name: moved[number] for name, moved in adapted.items()}}, problem.task(number))
        for number in range(TASKS)
    ]
    found = torch.autograd.grad(value, list(frozen.values()))
    close(list(found), list(torch.autograd.grad(torch.stack(final).mean(), list(frozen.values()))))


# ---- the implicit gradient ---------------------------------------------------------------------------
def test_implicit_gradient_equals_a_dense_solve_of_every_task() -> None:
    """(I + H / anchor)⁻¹ · slope of the query loss, with the Hessian written out and solved, task by task."""
    problem = Problem()
    anchor, size = 20.0, sum(weight.numel() for weight in problem.weights.values())
    options = {"steps": 6, "rates": 0.02, "anchor": anchor}
    queries, supports = implicit(problem.support, problem.query, problem.weights, problem.tasks, cg_steps=size, **options)
    found = torch.cat([slope.flatten() for slope in problem.gradients(queries.sum())[:-1]])
    slow = torch.zeros(size, dtype=torch.float64)
    for number in range(TASKS):
        task = problem.task(number)
        adapted = loop_adapt(lambda moved, task=task: problem.support(moved, task), problem.weights, 6, 0.02, anchor, False)
        sizes = [weight.numel() for weight in adapted.values()]

        def unflat(flat: Tensor, adapted: Weights = adapted, sizes: list[int] = sizes) -> Weights:
            return {name: part.view(weight.shape) for (name, weight), part in zip(adapted.items(), flat.split(sizes), strict=True)}

        flat = torch.cat([weight.detach().flatten() for weight in adapted.values()]).requires_grad_()
        hessian = torch.autograd.functional.hessian(lambda flat, task=task: problem.support(unflat(flat), task), flat)
        uphill = torch.autograd.grad(problem.query(unflat(flat), task), flat)[0]
        slow += torch.linalg.solve(torch.eye(size, dtype=torch.float64) + hessian / anchor, uphill)
        assert queries[number].item() == pytest.approx(problem.query(unflat(flat), task).item(), abs=1e-12)
        assert supports[number].item() == pytest.approx(problem.support(unflat(flat), task).item(), abs=1e-12)
    torch.testing.assert_close(found, slow, atol=1e-8, rtol=1e-7)


class Quadratic:
    """Linear regression with a shared linear map of the features and an offset that is not adapted; the minimum is in closed form."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(3)
        normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
        self.tasks = tuple(normal(TASKS, SHOTS, 3) for _ in range(2)) + tuple(normal(TASKS, SHOTS) for _ in range(2))
        self.shared = (torch.eye(3, dtype=torch.float64) + 0.3 * normal(3, 3)).requires_grad_()
        self.weights = {"w": normal(3).requires_grad_()}
        self.frozen = {"b": normal(1).requires_grad_()}

    def support(self, weights: Weights, task: tuple[Tensor, ...]) -> Tensor:
        return (task[0] @ self.shared @ weights["w"] + weights["b"] - task[2]).square().mean()

    def query(self, weights: Weights, task: tuple[Tensor, ...]) -> Tensor:
        return (task[1] @ self.shared @ weights["w"] + weights["b"] - task[3]).square().mean()

    def gradients(self, losses: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(losses.mean(), [self.weights["w"], self.frozen["b"], self.shared], retain_graph=True))


def test_implicit_gradient_equals_the_unrolled_one_on_a_quadratic_solved_to_the_end() -> None:
    """For the start, for a weight that is not adapted and for what the losses close over."""
    problem = Quadratic()
    arguments = (problem.support, problem.query, problem.weights, problem.tasks)
    options = {"steps": 400, "rates": 0.08, "anchor": ANCHOR, "frozen": problem.frozen}
    unrolled, _ = post_adaptation(*arguments, second_order=True, **options)
    found, _ = implicit(*arguments, cg_steps=3, **options)  # three unknowns: three steps of conjugate gradients are exact
    close([found], [unrolled])
    close(problem.gradients(found), problem.gradients(unrolled), 1e-8)
    first_order, _ = post_adaptation(*arguments, second_order=False, **options)
    assert (problem.gradients(first_order)[0] - problem.gradients(unrolled)[0]).abs().max() > 0.1


def test_the_proximal_gradient_is_that_of_the_smallest_anchored_loss() -> None:
    """d/dw₀ of min_w loss(w) + anchor / 2 · ‖w − w₀‖²: finite differences of the minimum itself, in closed form."""
    problem = Quadratic()

    def smallest(start: Tensor, offset: Tensor, shared: Tensor) -> Tensor:
        features, targets = problem.tasks[0] @ shared, problem.tasks[2] - offset
        gram = 2 / SHOTS * features.mT @ features + ANCHOR * torch.eye(3, dtype=torch.float64)
        right = 2 / SHOTS * (features.mT @ targets[..., None]) + ANCHOR * start[:, None]
        best = torch.linalg.solve(gram, right)
        fit = (features @ best - targets[..., None]).square().mean((1, 2))
        return (fit + ANCHOR / 2 * (best[..., 0] - start).square().sum(-1)).mean()

    value, _ = reptile(problem.support, problem.weights, problem.tasks, steps=400, rates=0.08, anchor=ANCHOR, frozen=problem.frozen)
    asked = [problem.weights["w"], problem.frozen["b"], problem.shared]
    close(problem.gradients(value), list(torch.autograd.grad(smallest(*asked), asked)), 1e-8)
    assert torch.autograd.gradcheck(smallest, asked)


def test_conjugate_gradients_solve_and_stop() -> None:
    draw = torch.Generator().manual_seed(1)
    matrix = torch.randn(4, 4, generator=draw, dtype=torch.float64)
    matrix, right = matrix @ matrix.T + torch.eye(4), {"a": torch.arange(1.0, 5.0, dtype=torch.float64)}
    times = lambda of: lambda vector: {"a": of @ vector["a"]}  # noqa: E731
    found = conjugate_gradients(times(matrix), right, 12)["a"]  # eight steps more than needed divide nothing by zero
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right["a"]))
    assert conjugate_gradients(times(matrix), {"a": torch.zeros_like(right["a"])}, 3)["a"].abs().sum() == 0
    assert conjugate_gradients(times(-matrix), right, 5)["a"].abs().sum() == 0  # no direction in which it is positive
    saddle = torch.diag(torch.tensor([1.0, 2.0, 3.0, -40.0], dtype=torch.float64))
    assert conjugate_gradients(times(saddle), right, 9)["a"].isfinite().all()


def test_implicit_without_an_anchor_is_refused() -> None:
    problem = Problem()
    with pytest.raises(ValueError, match="anchor above 0, but it is 0"):
        implicit(problem.support, problem.query, problem.weights, problem.tasks, steps=1, rates=0.1, anchor=0.0, cg_steps=1)


# ---- learnt rates, chance, memory ------------------------------------------------------------------
def test_rates_have_the_names_of_the_weights_and_stay_positive() -> None:
    problem = Problem()
    single, every = rate_parameters(problem.weights, 0.2), rate_parameters(problem.weights, 0.2, elementwise=True)
    for rates, numbers in ((single, 1), (every, None)):
        read = rates_from(rates)
        assert set(read) == set(problem.weights)
        assert all(value.numel() == (numbers or problem.weights[name].numel()) for name, value in read.items())
        assert all(torch.allclose(value, torch.tensor(0.2, dtype=torch.float64)) for value in read.values())
    module = nn.Module()
    module.rates = single
    assert {"rates.head/bias", "rates.body/weight"} <= set(module.state_dict())
    with torch.no_grad():
        single["head/bias"] -= 50
    assert 0 < rates_from(single)["head.bias"].item() < 1e-20
    with pytest.raises(ValueError, match="above 0, but it is 0"):
        rate_parameters(problem.weights, 0.0)


@pytest.mark.parametrize("second_order", [True, False])
def test_learnt_rates_equal_a_loop(second_order: bool) -> None:
    problem = Problem()
    logs = rate_parameters(problem.weights, 0.1)
    options = {"steps": STEPS, "rates": rates_from(logs), "second_order": second_order}
    queries, _ = post_adaptation(problem.support, problem.query, problem.weights, problem.tasks, **options)
    slow, _ = loop_post_adaptation(problem, STEPS, rates_from(logs), second_order, 0.0)
    found, expected = (torch.autograd.grad(losses.sum(), list(logs.values())) for losses in (queries, slow))
    close(list(found), list(expected))
    assert all(slope.abs() > 0 for slope in found)


def test_every_task_has_chance_of_its_own() -> None:
    dropout = nn.Dropout(0.5)
    weights = {"w": torch.ones(200)}
    loss = lambda weights, task: dropout(weights["w"]).sum() + 0 * task.sum()  # noqa: E731
    adapted = adapted_weights(loss, weights, torch.zeros(3, 1), steps=1, rates=0.1)["w"]
    kept = (adapted < 1).double()
    assert kept.shape == (3, 200) and not torch.equal(kept[0], kept[1])
    assert 0.3 < float(kept.mean()) < 0.7


def test_with_no_steps_nothing_is_adapted() -> None:
    problem = Problem()
    queries, supports = post_adaptation(
        problem.support, problem.query, problem.weights, problem.tasks, steps=0, rates=RATE, second_order=True
    )
    expected = [problem.query(problem.weights, problem.task(number)) for number in range(TASKS)]
    torch.testing.assert_close(queries, torch.stack(expected))
    value, _ = reptile(problem.support, problem.weights, problem.tasks, steps=0, rates=RATE)
    assert value.item() == pytest.approx(supports.mean().item())
    assert all(slope.abs().max() < 1e-14 for slope in problem.gradients(value)[:-1])
