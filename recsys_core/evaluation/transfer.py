"""What starting from a model of another dataset bought: the same new users, the same model from scratch beside it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .compare import Difference, differences


def bought(per_user: pd.DataFrame, started: str, scratch: str, shots: int, k: int = 10) -> Difference:
    """The paired difference of two runs after so many items shown, started − from scratch, with its 95 % interval.

    per_user: of a cold-start analysis (`cold_start_result.per_user`)."""
    name = f"ndcg@{k} after {shots}"
    rows = per_user[per_user["adapted"] & (per_user["shots"] == shots)]
    frames = {
        run: rows[rows["run"] == run].set_index("user")[["ndcg"]].rename(columns={"ndcg": name}).astype(float) for run in (scratch, started)
    }
    return differences(frames, scratch, [name], wilcoxon=False)[0]


def sentence(name: str, origin: str, scratch: str, shots: int, gap: Difference) -> str:
    """In words, with the interval in percent of the model from scratch."""
    items = "1 click" if shots == 1 else f"{shots} clicks"
    base = gap.difference / gap.relative if gap.relative else 0.0
    if not base:
        return f"{name}, from {origin}: no difference to {scratch} after {items}."
    low, high = sorted((gap.low / base, gap.high / base))
    between = f"({low:+.1%} to {high:+.1%})".replace("%", " %")
    if gap.low <= 0 <= gap.high:
        return f"{name}, from {origin}: no clear difference to {scratch} after {items} {between}."
    said = f"{abs(gap.relative):.1%}".replace("%", " %")
    return f"{name}, from {origin}: {said} {'better' if gap.difference > 0 else 'worse'} than {scratch} after {items} {between}."


def nearest(shots: list[int], wanted: int = 3) -> int:
    """The number of items shown that is nearest to `wanted`, of those above 0."""
    return min((s for s in shots if s > 0), key=lambda s: abs(s - wanted), default=0)


def pairs(runs: dict[str, Any], origins: dict[str, str]) -> list[tuple[str, str]]:
    """(started elsewhere, the same model from scratch) of the runs that are there. origins: run id -> "" for from scratch."""
    out = []
    for run_id, run in runs.items():
        alike = [other for other, one in runs.items() if one.model_key == run.model_key and not origins[other]]
        if origins[run_id] and alike:
            out.append((run_id, alike[0]))
    return out
