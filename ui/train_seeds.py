"""Train the same with several seeds: how many, which, and what another seed changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.jobs import TrainSpec

from .text import listing, md
from .train_protocol import Protocol

TIMES = {1: "Once", 3: "3 seeds", 5: "5 seeds"}
LARGEST = 2**31 - 1


def repeat_choice(protocol: Protocol) -> int:
    """How many seeds, with what that means for this split in a sentence."""
    times = st.segmented_control(
        "Repeat with other seeds",
        list(TIMES),
        default=1,
        format_func=TIMES.__getitem__,
        key="repeat-seeds",
        required=True,
        persist_state="session",
        help="How far figures move by chance alone: Compare shows the mean and the spread of the same model over its seeds.",
    )
    if times and times > 1:
        st.caption(about(protocol.split, seeds_from(protocol.seed, times)))
    return times or 1


def seeds_from(first: int, times: int) -> list[int]:
    """The chosen seed and those after it; before it at the end of the range."""
    return [first + n if first + n <= LARGEST else first - n for n in range(times)]


def about(split: str, seeds: Sequence[int]) -> str:
    """What another seed changes under this split rule."""
    told = f":material/replay: Seeds {listing([str(seed) for seed in seeds])}."
    if registry.get("splitter", split).seeded:
        return (
            f"{told} The split is drawn by chance: another seed holds out other interactions too. Results of different seeds are "
            "therefore never in one table; the tab Stability of Compare puts them together."
        )
    return f"{told} This rule holds out the same interactions whatever the seed: only the start of the models differs."


def with_other_seeds(specs: Sequence[TrainSpec], times: int) -> list[TrainSpec]:
    """Every spec with its seed and the ones after it. Fusions of trained results only once: these belong to one split."""
    if times == 1:
        return list(specs)
    tied = [spec for spec in specs if uses_runs(spec.params)]
    if tied:
        names = listing([md(spec.title, 60) for spec in tied])
        st.caption(f":material/block: Only with the chosen seed: {names}. It combines trained results, and these belong to one split.")
    return [
        spec if n == 0 else spec.model_copy(update={"seed": seed, "name": f"{spec.title} (seed {seed})"})
        for spec in specs
        for n, seed in enumerate(seeds_from(spec.seed, 1 if uses_runs(spec.params) else times))
    ]


def uses_runs(params: dict[str, Any]) -> bool:
    """Whether a parameter names a trained result ("run:…")."""
    return '"run:' in json.dumps(params)
