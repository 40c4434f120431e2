"""What a fused model found, drawn from the findings of its run: how much each part counts, for whom, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from recsys_core.errors import WorkbenchError

from . import charts, state
from .text import count, listing, md, short

RUN = "run:"
LONGEST = 34  # characters of a name beside a bar
ALIKE = 0.005  # weights closer than this count as equal


def fusion_findings(run: Any) -> None:
    """The part of a run card that is about a fusion; nothing for other models."""
    found = run.findings
    parts = [part for part in found.get("parts") or [] if isinstance(part, dict)]
    if not parts:
        return
    titles = part_titles(found)
    names = [titles[part["label"]] for part in parts]
    _steps(found.get("steps") or [])
    with st.grid(2, min_column_width=340, gap="medium"):
        _weights(parts, names, found, key=run.id)
        _alone(parts, names, key=run.id)
        _gates(found.get("gates") or {}, names, key=run.id)
        _segments(found.get("segments") or [], parts, names, key=run.id)
        _evidence(found.get("evidence") or [], names, key=run.id)
        _candidates(found.get("candidates") or {}, titles, found.get("order", ""), key=run.id)


def part_titles(found: Mapping[str, Any]) -> dict[str, str]:
    """Label of a part -> what it is called in this workspace: the name of its result, where it is one and can be told apart."""
    out: dict[str, str] = {}
    for part in found.get("parts") or []:
        label, name = str(part["label"]), str(part.get("name", ""))
        title = title_of(name, label) if name.startswith(RUN) else label
        out[label] = label if short(title, LONGEST) in {short(t, LONGEST) for t in out.values()} else title
    return out


def title_of(part: str, otherwise: str = "") -> str:
    """The name of the result "run:<id>"; where it is deleted, `otherwise` or the id itself."""
    try:
        return state.workspace().run(part.removeprefix(RUN)).name
    except WorkbenchError:
        return otherwise or part


def _steps(steps: Sequence[str]) -> None:
    if steps:
        st.markdown("**How it was put together**")
        st.markdown("\n".join(f"{n}. {md(step)}" for n, step in enumerate(steps, start=1)))


def _weights(parts: Sequence[Mapping[str, Any]], names: Sequence[str], found: Mapping[str, Any], key: str) -> None:
    weights = [float(part.get("weight", 0.0)) for part in parts]
    if found.get("weighs") is False or (found.get("segments") and "gates" not in found):
        return  # said better by the chart of segments, or of candidates
    if len(parts) == 1:
        st.markdown(f":material/info: {md(names[0])} is used alone.")
    elif max(weights) - min(weights) < ALIKE and "gates" not in found:
        st.markdown(f":material/balance: {md(listing(names, 12))} count the same.")
    else:
        fig = charts.bars(_cut(names), [100 * weight for weight in weights], "Share of the say, %", digits=".0f")
        fig.update_traces(text=[f"{100 * weight:.0f} %" for weight in weights], textposition="auto", cliponaxis=False)
        if "gates" in found:  # the colours of the chart beside it
            fig.update_traces(marker_color=[charts.series_color(n) for n in range(len(names))])
        _show(fig, "What each part counts", key=f"weights-{key}")


def _alone(parts: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> None:
    """How good each part is by itself, where the fusion measured it."""
    if len(parts) > 1 and all("alone" in part for part in parts):
        fig = charts.bars(_cut(names), [float(part["alone"]) for part in parts], "NDCG@20 on held-out users")
        _show(fig, "How good is each part by itself?", key=f"alone-{key}", note="Measured on validation data, never on the test part.")


def _gates(gates: Mapping[str, Any], names: Sequence[str], key: str) -> None:
    """One bar a user segment, cut by how much each part counts for it."""
    segments, values = gates.get("segments") or [], gates.get("values") or []
    if not segments or len(values) != len(segments) or len(names) < 2:
        return
    if all(max(column) - min(column) < ALIKE for column in zip(*values, strict=True)):
        return  # the same for everybody: said by the chart of the weights
    fig = _stacked(segments, "Share of the say, %", len(names))
    for n, name in enumerate(names):
        shares = [100 * float(row[n]) for row in values]
        fig.add_bar(
            x=shares,
            y=[charts.plain(segment) for segment in segments],
            name=charts.plain(short(name, LONGEST)),
            orientation="h",
            marker_color=charts.series_color(n),
            text=[f"{value:.0f} %" if value >= 8 else "" for value in shares],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate=f"{charts.plain(name)}<br>%{{y}}: %{{x:.0f}} %<extra></extra>",
        )
    fig.update_xaxes(range=[0, 100])
    _show(
        fig,
        "For whom does each part count?",
        key=f"gates-{key}",
        note="The mean over the users of a segment; each user has weights of their own.",
    )


def _segments(segments: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> None:
    """Who serves whom."""
    if len(segments) < 2:
        return  # one part serves all users: a note of the run says so
    labels = [str(part["label"]) for part in parts]
    serving = [labels.index(segment["part"]) if segment["part"] in labels else 0 for segment in segments]
    fig = _stacked([segment["label"] for segment in segments], "Users", len(set(serving)))
    for part in sorted(set(serving)):
        of = [segment for segment, by in zip(segments, serving, strict=True) if by == part]
        fig.add_bar(
            x=[int(segment["n_users"]) for segment in of],
            y=[charts.plain(segment["label"]) for segment in of],
            name=charts.plain(short(names[part], LONGEST)),
            orientation="h",
            marker_color=charts.series_color(part),
            text=[f"{int(segment['n_users']):,}" for segment in of],
            hovertemplate=f"{charts.plain(names[part])}<br>%{{y}}: %{{x:,}} users<extra></extra>",
        )
    _show(fig, "Which part serves whom?", key=f"segments-{key}", note="Users by how many items their history holds.")


def _evidence(rows: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> None:
    """How good every part is for each segment of held-out users, where it was looked at."""
    if not rows or len(names) < 2 or any(len(row.get("ndcg") or []) != len(names) for row in rows):
        return
    fig = _stacked([row["label"] for row in rows], "NDCG@20 on held-out users", len(names), "group")
    for n, name in enumerate(names):
        fig.add_bar(
            x=[float(row["ndcg"][n]) for row in rows],
            y=[charts.plain(row["label"]) for row in rows],
            name=charts.plain(short(name, LONGEST)),
            orientation="h",
            marker_color=charts.series_color(n),
            customdata=[int(row["n_held_out"]) for row in rows],
            hovertemplate=f"{charts.plain(name)}<br>%{{y}}: %{{x:.4f}}<br>%{{customdata:,}} held-out users<extra></extra>",
        )
    n_users = sum(int(row["n_held_out"]) for row in rows)
    note = f"Measured on {count(n_users, 'held-out user')}. A part takes over a segment only with a lead that is hardly chance."
    _show(fig, "Which part is best for whom?", key=f"evidence-{key}", note=note)


def _candidates(about: Mapping[str, Any], titles: Mapping[str, str], order: str, key: str) -> None:
    """What the candidates of each part hold of what was held out; where nothing was measured, who they come from."""
    finders, recalls = [titles.get(label, label) for label in about.get("parts") or []], about.get("recalls") or []
    if not finders:
        return  # all parts give candidates: a note of the run says how many
    by = f" {md(titles.get(order, order))} puts them in order." if order else ""
    said = f"The first {count(about['depth'])} of {md(listing(finders, 6))}"
    if len(finders) < 2 or len(recalls) != len(finders):
        st.markdown(f":material/filter_alt: {said} are the candidates.{by}")
        return
    values = [100 * float(value) for value in [*recalls, about["recall"]]]
    fig = charts.bars([*_cut(finders), "Together"], values, "Share of what was held out, %", digits=".1f")
    note = f"{said}, {about['mean']:,.0f} items for a user on average.{by}"
    _show(fig, "How much of what users took do the candidates hold?", key=f"candidates-{key}", note=note)


def _stacked(rows: Sequence[Any], x: str, n_series: int, mode: str = "stack") -> go.Figure:
    """An empty chart of horizontal bars, first row on top."""
    thick = 34 if mode == "stack" else 16 * n_series + 10
    fig = charts.figure(x, "", legend=True, height=120 + thick * len(rows))
    fig.update_layout(barmode=mode, bargap=0.25, legend={"traceorder": "normal"})
    order = {"categoryorder": "array", "categoryarray": [charts.plain(row) for row in rows], "autorange": "reversed"}
    fig.update_yaxes(**order, showgrid=False, title=None)
    fig.update_xaxes(showgrid=True)
    return fig


def _cut(names: Sequence[str]) -> list[str]:
    return [short(name, LONGEST) for name in names]


def _show(fig: go.Figure, title: str, *, key: str, note: str = "") -> None:
    with st.container():
        charts.show(fig, title, key=f"fusion-{key}", note=note)
