"""Charts of the quality report of a dataset. All numbers come from `recsys_core.data.quality`."""

from __future__ import annotations

from typing import Any

import streamlit as st

from . import charts
from .text import count, number, share

BUCKETS = {"hour": "hour", "day": "day", "week": "week", "month": "month", "year": "year"}


def quality_charts(dataset_id: str, quality: dict[str, Any]) -> None:
    """Activity over time, activity per user and item, concentration on few items, values."""
    if not quality.get("interactions"):
        return
    st.subheader("What the data look like", anchor=False)
    if quality.get("timeline"):
        with st.container(border=True):
            _timeline(dataset_id, quality["timeline"])
    with st.grid(2, min_column_width=380, gap="medium"):
        for side in ("user", "item"):
            with st.container(border=True, height="stretch"):
                _activity(dataset_id, side, quality[f"per_{side}"])
        with st.container(border=True, height="stretch"):
            _concentration(dataset_id, quality)
        with st.container(border=True, height="stretch"):
            _values(dataset_id, quality)


def _timeline(dataset_id: str, timeline: dict[str, Any]) -> None:
    bucket = BUCKETS[timeline["bucket"]]
    busiest = max(range(len(timeline["count"])), key=timeline["count"].__getitem__)
    title = (
        f"The busiest {bucket} was {_moment(timeline['start'][busiest], bucket)} with {count(timeline['count'][busiest], 'interaction')}"
    )
    fig = charts.area(timeline["start"], timeline["count"], "Time (UTC)", f"Interactions per {bucket}")
    fig.update_layout(height=240)
    charts.show(fig, title, key=f"timeline-{dataset_id}")


def _moment(start: str, bucket: str) -> str:
    from .text import day, moment

    when = moment(start)
    if when is None:
        return start
    return {"hour": f"{day(start)} {when:%H:%M}", "month": f"{when:%B %Y}", "year": f"{when:%Y}", "week": f"that of {day(start)}"}.get(
        bucket, day(start)
    )


def _activity(dataset_id: str, side: str, activity: dict[str, Any]) -> None:
    starts, ends = activity["bin_start"], [end - 1 for end in activity["bin_end"]]
    counts = activity["bin_count"]
    used = [k for k, n in enumerate(counts) if n]
    middle = [(starts[k] * max(ends[k], 1)) ** 0.5 for k in used]
    labels = [f"{starts[k]:,}" if starts[k] == ends[k] else f"{starts[k]:,} to {ends[k]:,}" for k in used]
    texts = [f"{label} interactions: {count(counts[k], side)}" for label, k in zip(labels, used, strict=True)]
    title = f"Half of the {side}s have at most {number(activity['median'])} interactions, the most active {count(activity['largest'])}"
    if side == "item":
        title = title.replace("the most active", "the most popular")
    fig = charts.loglog(
        {f"{side.capitalize()}s": (middle, [counts[k] for k in used])}, f"Interactions per {side}", f"Number of {side}s", texts=[texts]
    )
    note = f"{share(activity['share_under_5'])} of the {side}s have fewer than 5 interactions. Both axes are logarithmic."
    charts.show(fig, title, key=f"activity-{side}-{dataset_id}", note=note)


def _concentration(dataset_id: str, quality: dict[str, Any]) -> None:
    xs, ys = quality["lorenz_items"], quality["lorenz_interactions"]
    below = max((y for x, y in zip(xs, ys, strict=True) if x <= 0.9), default=0.0)
    title = f"The most popular tenth of the items has {share(1 - below)} of the interactions"
    note = (
        f"Gini {quality['gini']:.2f}: 0 would mean that all items are equally popular (dotted line), 1 that one item has everything. "
        f"The top item alone has {share(quality['top_item_share'])}."
    )
    charts.show(charts.lorenz({"Items": (xs, ys)}), title, key=f"lorenz-{dataset_id}", note=note)


def _values(dataset_id: str, quality: dict[str, Any]) -> None:
    values, name = quality["values"], quality["value_name"]
    label = "Rating" if name == "rating" else "Strength of the interaction"
    if len(values["count"]) <= 1:
        only = number(values["start"][0]) if values["start"] else "–"
        st.markdown("**Every interaction counts the same**" if name != "rating" else f"**All ratings are {only}**")
        st.caption(f"There is one value only ({only}), so there is nothing to draw.")
        return
    most = max(range(len(values["count"])), key=values["count"].__getitem__)
    low, high = number(values["start"][most]), number(values["end"][most])
    noun = "rating" if name == "rating" else "strength"
    title = f"Most frequent {noun}: {low if values['levels'] else f'{low} to {high}'}; mean {number(quality['value_mean'])}"
    if values["levels"]:
        fig = charts.categories([number(v) for v in values["start"]], values["count"], label, "Interactions")
    else:
        edges = [*values["start"], values["end"][-1]]
        wide = values["start"][0] > 0 and edges[-1] / edges[0] > 1000
        steep = max(values["count"]) >= 100 * min(n for n in values["count"] if n)
        fig = charts.columns(edges, values["count"], label, "Interactions", log_x=wide, log_y=steep)
    note = f"{share(quality['share_relevant'])} of the interactions count as liked." if name == "rating" else ""
    charts.show(fig, title, key=f"values-{dataset_id}", note=note)
