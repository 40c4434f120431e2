"""Charts of the page Live: rates as events come in, what learning adds, how fast the service answers, drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import plotly.graph_objects as go

from .charts import DASHES, MUTED, SYMBOLS, figure, plain, series_color
from .interval_charts import band

LONGEST_GAP = 15.0  # seconds between two samples that a line joins
MOST_MARKED = 40  # points of a line that has a mark at each
LINES = {"online": "Learns online", "frozen": "Frozen", "popular": "Popular just then"}


def rates(points: Sequence[Mapping[str, Any]], measured: str = "events") -> go.Figure:
    """The rolling share of hits of the three lists."""
    fig = figure("Held-out events, in order", "Hits, share of the last events", legend=True, height=320)
    for n, (name, label) in enumerate(LINES.items()):
        known = [point for point in points if name in point]
        fig.add_scatter(
            x=[point[measured] for point in known],
            y=[point[name] for point in known],
            name=label,
            mode="lines",
            line={"color": series_color(n), "width": 2.4 if name == "online" else 1.8, "dash": DASHES[n]},
            hovertemplate=f"{label}<br>after %{{x:,}} events<br>%{{y:.1%}}<extra></extra>",
        )
    fig.update_yaxes(tickformat=".0%", rangemode="tozero")
    return fig


def gained(points: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What learning adds so far, with its interval over users."""
    known = [point for point in points if "low" in point]
    known = known[:: max(1, len(known) // MOST_MARKED)]
    columns = ([100 * point[name] for point in known] for name in ("gap", "low", "high"))
    return band([point["events"] for point in known], *columns, "Held-out events, in order", "Percentage points")


def speed(samples: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Latencies of the last minute, as they were seen."""
    fig = figure("", "Milliseconds", legend=True, height=260)
    samples = [one for before, now in zip([None, *samples], samples, strict=False) for one in _apart(before, now)]
    times = [datetime.fromtimestamp(float(one["at"]), UTC) for one in samples]
    for n, (name, label) in enumerate((("p50_ms", "Half are faster (p50)"), ("p95_ms", "p95"), ("p99_ms", "p99"))):
        fig.add_scatter(
            x=times, y=[one.get(name) for one in samples], name=label, mode="lines+markers",
            line={"color": series_color(n), "width": 2, "dash": DASHES[n]}, marker={"symbol": SYMBOLS[n], "size": 5},
            hovertemplate=f"{label}<br>%{{x|%H:%M:%S}} UTC<br>%{{y:.2f}} ms<extra></extra>",
        )  # fmt: skip
    fig.update_yaxes(rangemode="tozero")
    return fig


def _apart(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """`now`, after a gap in the line where nobody looked for a while."""
    gap = before is not None and float(now["at"]) - float(before["at"]) > LONGEST_GAP
    return [{"at": now["at"]}, now] if gap else [now]


def drift(points: Sequence[Sequence[float]], reference: float | None) -> go.Figure:
    """The rolling share of hits with its interval, and what it was when the model was new."""
    xs, rate, low, high = zip(*points, strict=True)
    fig = band(xs, rate, low, high, "Liked items so far", "On the list of ten")
    fig.update_yaxes(tickformat=".0%", rangemode="tozero")
    if reference is not None:
        fig.add_hline(y=reference, line={"color": MUTED, "dash": "dot"}, annotation_text=plain("when it was new"))
    return fig
