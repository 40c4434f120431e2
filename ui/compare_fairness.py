"""Fairness: are all groups of users served equally well, is every group of items shown as it deserves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.evaluation import ExposureFairness, QualityFairness

from . import charts, compare_intervals
from .compare_groups import choices, exposure, grouping_of, quality, telling_column
from .compare_verdicts import p_text
from .compare_views import View
from .text import md, share

EXPOSURE_NOTE = (
    "A place counts 1 / log2(1 + place), so the first of a list counts most (Singh and Joachims, 2018). The circle is what each group "
    "gets, with its 95 % interval; the diamond its share of what people chose in training, the square its share of the catalogue."
)


def fairness(view: View) -> None:
    """Across one column of the users or of the items."""
    options = choices(view.group, "item") | choices(view.group, "user")
    columns = [key for key in options if "/column/" in key]
    sides, telling = {"item": "Items", "user": "Users"}, telling_column(view.group)
    keys = [*columns, *(key for key in options if key not in columns)]
    key = st.selectbox(
        "Across",
        keys,
        index=keys.index(telling) if telling in keys else 0,
        format_func=lambda k: f"{sides[k.partition('/')[0]]}: {options.get(k, k)}",
        key="fair-across",
        persist_state="session",
        help="Groups of users: is each served equally well? Groups of items: is each shown as often as it deserves?",
    )
    if key.startswith("user"):
        _quality(view, key)
    else:
        _exposure(view, key)


def _quality(view: View, key: str) -> None:
    found = [(run, q) for run in view.few() if (q := quality(view.group, run, key, view.name)) is not None]
    if not found:
        st.caption(f"{md(view.label)} has no value for each user. Choose another measure above.")
        return
    told = [(run, q) for run, q in found if q.best is not None]
    if not told:
        st.caption(found[0][1].sentence())
        return
    even, least = min(told, key=lambda pair: abs(pair[1].relative) if np.isfinite(pair[1].relative) else np.inf)
    amount = f"{share(least.relative)} of its mean" if np.isfinite(least.relative) else f"{least.gap:.4f}"
    title = f"Are all served equally well? {md(view.look(even).name)} has the smallest gap for how good it is: {amount}"
    rows = [(view.look(run).label, q.gap, q.low, q.high, q.clear) for run, q in told]
    note = (
        f"Gap between the groups served best and worst in {md(view.label)}, with its 95 % interval. Filled: clear, by a test corrected "
        f"for having picked the two furthest apart. {md(grouping_of(view.group, key).note)}"
    )
    charts.show(compare_intervals.gaps(rows, f"Gap in {view.label}"), title, key=f"fair-{key}", note=note)
    st.markdown(md(told[0][1].sentence(told[0][0].name)))
    _quality_table(found, key)


def _quality_table(found: list[tuple[Any, QualityFairness]], key: str) -> None:
    rows = []
    for run, q in found:
        row: dict[str, Any] = {
            "name": run.name,
            "gap": q.gap,
            "relative": 100 * q.relative,
            "verdict": "Clear" if q.clear else "No clear gap",
            "p": p_text(q.p_holm),
        }
        sized = zip(q.table["group"], q.table["n_users"], q.table["mean"], q.table["enough"], strict=True)
        rows.append(row | {f"{name} ({n:,})": mean if enough else np.nan for name, n, mean, enough in sized})
    frame = pd.DataFrame(rows)
    text, figure = st.column_config.TextColumn, st.column_config.NumberColumn
    columns = {
        name: figure(name, format="%.4f", help="Mean over the users of this group; empty: too few to tell.") for name in frame.columns[5:]
    }
    st.dataframe(
        frame,
        hide_index=True,
        key=f"fair-table-{key}",
        placeholder="too few",
        alt="The measure for each group of users",
        column_config={
            "name": text("Recommender", width="medium", pinned=True),
            "gap": figure("Gap", format="%.4f", help="Mean of the group served best minus that of the group served worst."),
            "relative": figure("Of its mean", format="%.1f %%"),
            "verdict": text("Verdict"),
            "p": text("p, corrected", help="Welch's t-test between the two groups, corrected by Holm's method for all pairs of groups."),
        }
        | columns,
    )


def _exposure(view: View, key: str) -> None:
    found = [(run, exposure(view.group, run, key, view.k)) for run in view.few()]
    by_id = {run.id: (run, e) for run, e in found}
    if st.session_state.get("fair-run") not in by_id:
        st.session_state.pop("fair-run", None)
    chosen = st.selectbox("Look closer at", list(by_id), format_func=lambda i: by_id[i][0].name if i in by_id else str(i), key="fair-run")
    run, closer = by_id[chosen]
    title = f"Is each group shown as often as people choose it? {_most(closer, view.look(run).name)}"
    fig = compare_intervals.proportions(closer.table, view.look(run))
    grouping = grouping_of(view.group, key)
    divided = " An item of several groups counts in equal parts in each." if grouping.overlapping else ""
    charts.show(fig, title, key=f"shown-{key}", note=f"{EXPOSURE_NOTE} {md(grouping.note)}{divided}")
    st.markdown(md(closer.sentence(run.name)))
    _exposure_table(found, key, view.k)


def _most(found: ExposureFairness, name: str) -> str:
    table = found.table
    over = (table["exposure"] - table["interactions"]).abs()
    at = int(over.to_numpy().argmax())
    shown, chosen = share(table["exposure"][at]), share(table["interactions"][at])
    return f"{md(name)} gives {md(found.said[at])} {shown} of the exposure for {chosen} of the choices"


def _exposure_table(found: list[tuple[Any, ExposureFairness]], key: str, k: int) -> None:
    rows = [
        {
            "name": run.name,
            "moved": 100 * e.distance_interactions,
            "ratio": e.ratio_interactions if np.isfinite(e.ratio_interactions) else None,
            "moved_catalogue": 100 * e.distance_catalogue,
            "ratio_catalogue": e.ratio_catalogue if np.isfinite(e.ratio_catalogue) else None,
        }
        for run, e in found
    ]
    text, figure = st.column_config.TextColumn, st.column_config.NumberColumn
    moved = "Total variation distance: the share of the exposure that would have to go to other groups."
    ratio = "Exposure for each {} of the group treated best, over that of the one treated worst; 1 is in proportion."
    st.dataframe(
        pd.DataFrame(rows).sort_values("moved", ignore_index=True),
        hide_index=True,
        key=f"shown-table-{key}-{k}",
        placeholder="one group is never shown",
        alt="How far the exposure of each result is from proportion",
        column_config={
            "name": text("Recommender", width="medium", pinned=True),
            "moved": figure("Off the choices", format="%.1f %%", help=f"{moved} Against the training interactions."),
            "ratio": figure("Most to least favoured", format="%.1f", help=ratio.format("interaction")),
            "moved_catalogue": figure("Off the catalogue", format="%.1f %%", help=f"{moved} Against the number of items."),
            "ratio_catalogue": figure("Most to least, by item", format="%.1f", help=ratio.format("item")),
        },
    )
    st.caption(f"In the first {k} of all lists. Proportion is one idea of what is fair; which one fits is for you to say.")
