"""The leaderboard of the Compare page: the verdict in words, the table, its download."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.evaluation import Difference, metric_label

from .compare_data import differences_to, figure_of, higher_is_better, metric_class, ranked
from .components import download
from .text import md, number, score, size

BESIDE = ("ndcg", "recall", "precision", "hit_rate", "mrr", "coverage", "novelty", "intra_list_diversity", "rmse")
VERDICT_HELP = (
    "Both are measured on the same users. A verdict is given only when the 95 % interval of the difference does not hold 0 and a "
    "paired t-test, corrected for how many are compared (Holm), agrees; otherwise the difference may be chance."
)


def verdict(found: Difference | None) -> str:
    """One or three plain words."""
    if found is None:
        return "–"
    if not found.clear:
        return "No clear difference"
    return "Better" if found.better == found.name_b else "Worse"


def headline(runs: Sequence[Any], name: str, baseline: Any, found: Mapping[str, Difference]) -> str:
    """Who is best, by how much, and how sure that is; Markdown."""
    order = ranked(runs, name)
    best, (mean, low, high) = order[0], figure_of(order[0], name)
    label = metric_label(name)
    if math.isnan(mean):
        return f"None of the chosen results has {md(label)}."
    word = "highest" if higher_is_better(name) else "lowest"
    interval = "" if math.isnan(low) else f" (95 % interval {score(low)} to {score(high)})"
    text = f"**{md(best.name, 70)}** has the {word} {md(label)}: **{_shown(mean, name)}**{interval}."
    if best.id in found:
        text += f" {md(found[best.id].sentence())}"
    elif best.id == baseline.id and len(runs) > 1:
        text += " It is the baseline the others are compared with."
    runner_up = order[1] if len(order) > 1 else None
    if runner_up is not None and runner_up.id != baseline.id:
        second = differences_to(runs, runner_up, name).get(best.id)  # among all of them: which two are on top is known only afterwards
        if second is not None:
            text += f" {md(second.sentence())}"
    return text


def _shown(value: float, name: str) -> str:
    return score(value) if _bounded(name) else number(value, 4)


def _bounded(name: str) -> bool:
    cls = metric_class(name)
    return cls is None or cls.range[1] is not None


def leaderboard(runs: Sequence[Any], name: str, baseline: Any, found: Mapping[str, Difference]) -> pd.DataFrame:
    """One row a run, best first; columns as they are shown."""
    key, _, k = name.partition("@")
    beside = [f"{other}@{k}" if k else other for other in BESIDE if other != key]
    beside = [other for other in beside if any(not math.isnan(figure_of(run, other)[0]) for run in runs)]
    rows = []
    for place, run in enumerate(ranked(runs, name), start=1):
        mean, low, high = figure_of(run, name)
        gap = found.get(run.id)
        row: dict[str, Any] = {
            "place": place,
            "name": run.name,
            "value": mean,
            "interval": "" if math.isnan(low) else f"{score(low)} – {score(high)}",
            "difference": _relative(gap, mean, figure_of(baseline, name)[0], run.id == baseline.id),
            "difference_interval": _difference_interval(gap),
            "verdict": "Baseline" if run.id == baseline.id else verdict(gap),
        }
        if run.fold_spread:
            row["fold_spread"] = run.fold_spread.get(name)
        row |= {other: figure_of(run, other)[0] for other in beside}
        row |= {"fit": run.manifest.get("fit_seconds"), "recommend": run.manifest.get("recommend_seconds")}
        rows.append(row | {"memory": size(run.manifest.get("peak_rss_bytes"))})
    return pd.DataFrame(rows)


def _relative(gap: Difference | None, mean: float, base: float, is_baseline: bool) -> float | None:
    """Percent of the baseline."""
    if is_baseline or not base or math.isnan(base) or math.isnan(mean):
        return None
    relative = gap.relative if gap is not None else (mean - base) / base
    return 100 * relative if math.isfinite(relative) else None


def _difference_interval(gap: Difference | None) -> str:
    if gap is None or not gap.mean_a:
        return ""
    low, high = sorted((100 * gap.low / gap.mean_a, 100 * gap.high / gap.mean_a))
    return f"{low:+.1f} to {high:+.1f} %"


def show_table(frame: pd.DataFrame, name: str, baseline: Any, key: str) -> None:
    """The table with explained columns."""
    label = metric_label(name)
    number_column, text_column = st.column_config.NumberColumn, st.column_config.TextColumn
    about = metric_class(name)
    columns: dict[str, Any] = {
        "place": number_column("#", width=36, pinned=True),
        "name": text_column("Recommender", width="medium", pinned=True),
        "value": number_column(label, format=_format(name), help=about.help if about else None),
        "interval": text_column("95 % interval", help="Where the mean would lie with other users of the same kind, 95 times of 100."),
        "difference": number_column("Difference", format="%+.1f %%", help=f"To the baseline {baseline.name}, in percent of it."),
        "difference_interval": text_column("Its interval", help="95 % interval of the difference, worked out user by user."),
        "verdict": text_column("Verdict", help=VERDICT_HELP),
        "fold_spread": number_column("Spread over folds", format="%.4f", help="Standard deviation of the mean between the folds."),
        "fit": number_column("Training", format="%.1f s", help="Seconds to train, on the machine it ran on."),
        "recommend": number_column("Recommending", format="%.1f s", help="Seconds to make the lists of all test users."),
        "memory": text_column("Peak memory", help="The most memory the training process held."),
    }
    for other in frame.columns:
        cls = metric_class(other)
        if other not in columns and cls is not None:
            columns[other] = number_column(metric_label(other), format=_format(other), help=cls.help)
    if frame["difference"].isna().all():
        columns |= {"difference": None, "difference_interval": None, "verdict": None}
    elif (frame["difference_interval"] == "").all():
        columns |= {"difference_interval": None, "verdict": None}
    if (frame["interval"] == "").all():
        columns["interval"] = None
    st.dataframe(
        frame,
        placeholder="",
        key=key,
        hide_index=True,
        column_config=columns,
        height="auto" if len(frame) <= 12 else 460,
        alt=f"Leaderboard by {label}",
    )


def _format(name: str) -> str:
    return "%.4f" if _bounded(name) else "%.2f"


def download_table(runs: Sequence[Any], name: str, baseline: Any, found: Mapping[str, Difference], key: str) -> None:
    download(
        "Download as CSV",
        lambda: table_csv(runs, name, baseline, found),
        "comparison.csv",
        key=key,
        help="All figures at all list lengths with their intervals. Safe to open in a spreadsheet.",
    )


def table_csv(runs: Sequence[Any], name: str, baseline: Any, found: Mapping[str, Difference]) -> str:
    """Every figure of every chosen run, one row a run; no cell can become a formula."""
    from recsys_core.store.spreadsheet import safe_frame

    rows = []
    for run in ranked(runs, name):
        gap = found.get(run.id)
        row: dict[str, Any] = {
            "recommender": run.name,
            "model": run.model_key,
            "run": run.id,
            "split": run.spec.get("split"),
            "seed": run.spec.get("seed"),
            "settings": json.dumps(run.resolved, sort_keys=True),
            "test_users": run.manifest.get("n_test_users"),
            "baseline": baseline.name,
            f"{name} difference": None if gap is None else gap.difference,
            f"{name} difference low": None if gap is None else gap.low,
            f"{name} difference high": None if gap is None else gap.high,
            f"{name} p corrected": None if gap is None else gap.p_holm,
            f"{name} verdict": "Baseline" if run.id == baseline.id else verdict(gap),
        }
        for metric in run.metrics:
            row |= dict(zip((metric, f"{metric} low", f"{metric} high"), figure_of(run, metric), strict=True))
        row |= dict(run.overall)
        rows.append(row | {part: run.manifest.get(part) for part in ("fit_seconds", "recommend_seconds", "peak_rss_bytes")})
    return safe_frame(pd.DataFrame(rows)).to_csv(index=False)
