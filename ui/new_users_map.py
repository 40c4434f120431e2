"""Which way the taste moved: the best known items on a plane, the new user on it with the way they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from recsys_core.errors import Unsupported, WorkbenchError

from . import charts
from .charts import MUTED, dark, figure, plain, series_color
from .inspect_items import Names
from .new_users_data import Listed, Plane, Told, plane, points_of, trail
from .text import count, md, share, short

Point = tuple[float, float]
HEIGHT = 460


def map_card(dataset_id: str, shown: Sequence[tuple[Any, Listed]], runs: Sequence[Any], names: Names, told: Told) -> None:
    """Of the first of the recommenders that has vectors; a sentence where none has."""
    lists = {run.id: found for run, found in shown}
    with st.container(border=True, key="new-users-map"):
        try:
            with st.spinner("Laying out the items …", show_time=False):
                run, laid = _first_with_vectors(runs, dataset_id, names)
            if run is None:
                st.markdown("**Which way did the taste move?**")
                st.caption(
                    "None of these recommenders places items and users in one space, so there is no map. ALS and those that adapt do."
                )
                return
            points, way = points_of(run.id, _items(lists.get(run.id), told), laid), trail(run.id, told)
        except WorkbenchError as error:
            st.markdown("**Which way did the taste move?**")
            st.caption(f"There is no map now: {md(error.message)} {md(error.hint)}")
            return
        answered = {item: liked for item, liked in told if item in points}
        ringed = [item for item in (lists[run.id].items if run.id in lists else ()) if item in points]
        titles = dict(zip(points, names.titles(list(points)), strict=True))
        fig = draw(laid, points, titles, answered, ringed, way)
        told_share = f"{share(laid.explained)} of what sets items apart is visible in two dimensions" if laid.explained else ""
        charts.show(
            fig, f"Which way did the taste move? {md(run.name, 40)}", key="new-users-map-figure",
            note=f"Items that the same people like lie close together. The {count(len(laid.items))} best known items; {told_share}. "
            "A user is drawn by direction, not by distance from the middle." if told_share else "",
            alt=f"Map of items; after {count(len(told), 'answer')} the new user has moved from the start to a new place",
        )  # fmt: skip


def _items(found: Listed | None, told: Told) -> list[str]:
    return list(dict.fromkeys([*(item for item, _ in told), *(found.items if found else ())]))


def _first_with_vectors(runs: Sequence[Any], dataset_id: str, names: Names) -> tuple[Any, Any]:
    for run in runs:  # three at most
        try:
            return run, plane(run.id, dataset_id, names)
        except Unsupported:
            continue
    return None, None


def ink() -> str:
    """What stands out on either background: the person."""
    return "#E6EAEE" if dark() else "#1C232B"


def draw(
    laid: Plane,
    points: Mapping[str, Point],
    titles: Mapping[str, str],
    answered: Mapping[str, bool],
    ringed: Sequence[str],
    way: Mapping[int, Point],
) -> go.Figure:
    """points, titles: of the answered and the recommended items. answered: item -> liked. way: number of answers -> where the user
    was then."""
    fig = figure("", "", height=HEIGHT, legend=True)
    xs, ys, hover = np.array(laid.x), np.array(laid.y), np.array([plain(short(title, 80)) for title in laid.titles], dtype=object)
    for n, name in enumerate(laid.names):
        mine = laid.groups == n
        color = MUTED if name in ("Other", "Items") else series_color(n)
        fig.add_scatter(
            x=xs[mine], y=ys[mine], text=hover[mine], name=plain(short(name, 24)), mode="markers",
            marker={"size": 6, "color": color, "opacity": 0.35 if name == "Other" else 0.5}, hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    _marked(fig, "Recommended", ringed, points, titles, {"symbol": "circle-open", "size": 14, "line": {"width": 2}})
    _marked(fig, "Liked", [item for item, liked in answered.items() if liked], points, titles, {"symbol": "star", "size": 13})
    _marked(
        fig,
        "Not for me",
        [item for item, liked in answered.items() if not liked],
        points,
        titles,
        {"symbol": "x-thin", "size": 10, "line": {"width": 3, "color": ink()}},
    )
    _person(fig, way)
    fig.update_layout(legend={"orientation": "h", "yanchor": "top", "y": -0.02, "x": 0, "itemsizing": "constant"})
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    return fig


def _marked(
    fig: go.Figure, name: str, items: Sequence[str], points: Mapping[str, Point], titles: Mapping[str, str], marker: Mapping[str, Any]
) -> None:
    if not items:
        return
    fig.add_scatter(
        x=[points[item][0] for item in items], y=[points[item][1] for item in items],
        text=[plain(short(titles[item], 80)) for item in items], name=name, mode="markers",
        marker={"color": ink()} | dict(marker), hovertemplate=f"%{{text}}<br>{name}<extra></extra>",
    )  # fmt: skip


def _person(fig: go.Figure, way: Mapping[int, Point]) -> None:
    """The way from the start to now; only its last point is large."""
    strong, behind = series_color(5), "#12161B" if dark() else "#FFFFFF"
    when = [f"After {count(n, 'answer')}" if n else "Before the first answer" for n in way]
    earlier = len(way) - 1
    marker = {"size": [7] * earlier + [16], "symbol": ["circle"] * earlier + ["diamond"], "color": strong, "opacity": 1}
    fig.add_scatter(
        x=[x for x, _ in way.values()],
        y=[y for _, y in way.values()],
        text=when,
        name="The new user",
        mode="lines+markers",
        line={"color": strong, "width": 2},
        marker=marker | {"line": {"width": 1.5, "color": behind}},
        hovertemplate="%{text}<extra></extra>",
    )
