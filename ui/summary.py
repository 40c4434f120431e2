"""Where a dataset stands: its runs, the best of them, what to do next. Numbers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

METRICS = ("ndcg@10", "ndcg@20", "ndcg@5")


@dataclass(frozen=True)
class Best:
    """The best run among those judged on the same split. metric: "ndcg@10"; n_runs: how many were compared."""

    run_id: str
    name: str
    metric: str
    value: float
    n_runs: int


def best_run(runs: Sequence[Any]) -> Best | None:
    """The run with the highest NDCG on the split most runs share (the newest such split); None without figures."""
    measured = [run for run in runs if run.metrics]
    if not measured:
        return None
    sizes = Counter(run.split_id for run in measured)
    most = max(sizes.values())
    split = next(run.split_id for run in measured if sizes[run.split_id] == most)  # newest first
    same = [run for run in measured if run.split_id == split]
    for metric in (*METRICS, *(name for name in same[0].metrics if name.startswith("ndcg"))):
        scored = [(run.metrics[metric]["mean"], run) for run in same if run.metrics.get(metric, {}).get("mean") is not None]
        if scored:
            value, run = max(scored, key=lambda pair: pair[0])
            return Best(run.id, run.name, metric, float(value), len(scored))
    return None
