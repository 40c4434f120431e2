"""What a step of learning to adapt costs: 32 tasks at once, against the same in a Python loop over tasks, in the same run; and what
adapting to one user costs.

    python -m benchmarks.meta_speed [--tasks 32] [--shots 10] [--repeats 20] [--threads 1] [--json figures.json]
        [--users 30] [--models maml,anil] [--encoder transformer]

A step: a network of two hidden layers of 40 (that of the MAML paper) over 16 numbers an item, 10 items shown and 10 to be found a task,
5 steps. A user: every model that adapts, as it is by default but with 64 factors (what many users get), fitted for one pass on 200
users and 10,000 items; then `recommend_for_history` of one user with 5 items, which takes 5 steps and scores all 10,000, another user
every time.
Every figure is a median of the repeats (`--users` of them), in milliseconds: of the CPU (all threads) and of the clock. All take turns,
so that a busy machine is busy for all of them; the bars are for a machine with two free cores. A second thread helps such small
products little, and on a busy machine threads wait for one another at several times the cost. `--users 0` or `--repeats 0` leaves that
part out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.histories import Histories
from recsys_core.nn.meta.outer import implicit, post_adaptation, reptile

from .deep_speed import synthetic

STEP_BAR, LOOP_BAR = 100.0, 4.0  # milliseconds of the clock for second-order MAML; times faster than a loop
USER_BAR, ITEMS, SHOWN, FACTORS, USERS = 50.0, 10_000, 5, 64, 200  # milliseconds of the clock for the list of one user
STEPS, RATE, ANCHOR, SOLVER, NUMBERS = 5, 0.01, 1.0, 5, 16
Weights = dict[str, Tensor]
Figures = dict[str, dict[str, float]]


def methods(n_tasks: int, shots: int) -> dict[str, Callable[[], None]]:
    """One step of each by name: losses, adaptation and the gradient of the start."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(NUMBERS, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    weights = dict(network.named_parameters())
    tasks = tuple(torch.randn(n_tasks, shots, width) for width in (NUMBERS, 1, NUMBERS, 1))

    def error(moved: Weights, items: Tensor, values: Tensor) -> Tensor:
        return (functional_call(network, moved, (items,)) - values).square().mean()

    def support(moved: Weights, task: tuple[Tensor, ...]) -> Tensor:
        return error(moved, task[0], task[1])

    def query(moved: Weights, task: tuple[Tensor, ...]) -> Tensor:
        return error(moved, task[2], task[3])

    def loop(second_order: bool) -> Tensor:
        losses = []
        for task in zip(*tasks, strict=True):
            moved = weights
            for _ in range(STEPS):
                slopes = torch.autograd.grad(support(moved, task), list(moved.values()), create_graph=second_order)
                moved = {name: weight - RATE * slope for (name, weight), slope in zip(moved.items(), slopes, strict=True)}
            losses.append(query(moved, task))
        return torch.stack(losses).mean()

    def step(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            network.zero_grad()
            loss().backward()

        return run

    how = {"steps": STEPS, "rates": RATE}
    both = (support, query, weights, tasks)
    return {
        "maml": step(lambda: post_adaptation(*both, second_order=True, **how)[0].mean()),
        "maml, loop": step(lambda: loop(True)),
        "fomaml": step(lambda: post_adaptation(*both, second_order=False, **how)[0].mean()),
        "fomaml, loop": step(lambda: loop(False)),
        "reptile": step(lambda: reptile(support, weights, tasks, **how)[0]),
        "proximal": step(lambda: reptile(support, weights, tasks, anchor=ANCHOR, **how)[0]),
        "implicit": step(lambda: implicit(*both, anchor=ANCHOR, cg_steps=SOLVER, **how)[0].mean()),
    }


def measure(steps: dict[str, Callable[[], None]], repeats: int) -> Figures:
    """Medians of milliseconds of the CPU and of the clock, all methods in turn."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for number in range(repeats + 2):
        for name, step in steps.items():
            cpu, wall = time.process_time(), time.perf_counter()
            step()
            if number >= 2:  # the first ones warm up
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: {unit: 1000 * statistics.median(part) for unit, part in zip(("cpu_ms", "wall_ms"), zip(*pairs, strict=True), strict=True)}
        for name, pairs in taken.items()
    }


def users(keys: list[str], encoder: str | None, threads: int) -> dict[str, Callable[[], None]]:
    """The list of the next new user by model, each fitted for one pass."""
    data = synthetic(USERS, ITEMS, 100 * USERS)
    rng = np.random.default_rng(1)
    asked: dict[str, Callable[[], None]] = {}
    for key in keys:
        cls = registry.get("model", key)
        fields, own = cls.Params.model_fields, {"epochs": 1, "patience": 0, "factors": FACTORS}
        own |= {"encoder": encoder} if encoder else {}
        if "models" in fields:  # equal weights: learnt ones take the same time to use, and a second fit
            given = {"weights": "equal", "part_params": dict.fromkeys(cls.Params().models, own)}
        else:
            given = own | ({"inner_steps": STEPS} if "inner_steps" in fields else {})
        model = cls(**given).fit(data, RunContext(threads=threads))

        def one(model: Any = model) -> None:
            model.recommend_for_history(Histories.from_lists([rng.choice(ITEMS, SHOWN, replace=False)]), 10)

        asked[key] = one
        print(f"{key}: fitted", flush=True)
    return asked


def meta_models() -> list[str]:
    return [key for key in registry.keys("model") if registry.get("model", key).adapts]


def show_steps(figures: Figures, n_tasks: int) -> dict[str, float]:
    """Prints the bars of a step; how many times faster than a loop."""
    faster = {unit: figures["maml, loop"][unit] / figures["maml"][unit] for unit in ("cpu_ms", "wall_ms")}
    fast = figures["maml"]["wall_ms"] < STEP_BAR
    print(f"Second order, {n_tasks} tasks: {figures['maml']['wall_ms']:.1f} ms (bar {STEP_BAR:.0f}): {'met' if fast else 'NOT MET'}")
    held = "met" if min(faster.values()) >= LOOP_BAR else "NOT MET"
    print(f"Faster than a loop: {faster['cpu_ms']:.1f} times by CPU, {faster['wall_ms']:.1f} by the clock (bar {LOOP_BAR:.0f}): {held}")
    return faster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("--models", help="keys, commas between; all that adapt when left out")
    parser.add_argument("--encoder", choices=["mlp", "transformer"], help="of all models; each model's own when left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    said: dict[str, Any] = {"tasks": asked.tasks, "shots": asked.shots}
    if asked.repeats:
        said["figures"] = measure(methods(asked.tasks, asked.shots), asked.repeats)
        show(said["figures"])
        said["faster"] = show_steps(said["figures"], asked.tasks)
    if asked.users:
        keys = asked.models.split(",") if asked.models else meta_models()
        said["users"] = measure(users(keys, asked.encoder, asked.threads), asked.users)
        print(f"\nOne new user with {SHOWN} items, {STEPS} steps, {ITEMS:,} items scored:")
        show(said["users"])
        slow = [key for key, times in said["users"].items() if times["wall_ms"] >= USER_BAR]
        print(f"Bar {USER_BAR:.0f} ms of the clock: {'NOT MET by ' + ', '.join(slow) if slow else 'met by all'}")
    if asked.json:
        asked.json.write_text(json.dumps(said, indent=2))


def show(figures: Figures) -> None:
    for name, times in figures.items():
        print(f"{name:14} {times['cpu_ms']:8.1f} ms CPU {times['wall_ms']:8.1f} ms clock")


if __name__ == "__main__":
    main()
