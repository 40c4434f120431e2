"""For whom: which kinds of users are served well, and which kinds of items are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.evaluation import Grouping

from . import charts, compare_charts
from .compare_data import higher_is_better
from .compare_groups import by_item_group, by_user_group, grouping_of, picker
from .compare_views import View, axis_of
from .text import count, listing, md

LEADERS = 3  # named in a title
Figures = list[tuple[Any, pd.DataFrame]]


def for_whom(view: View) -> None:
    """By a kind of user and by a kind of item, both to be chosen."""
    _users(view)
    st.space("small")
    _items(view)


def _users(view: View) -> None:
    key = picker(view.group, "user", "Part users by", "for-whom-users")
    served = [(run, frame.set_index("group")) for run in view.few() if len(frame := by_user_group(view.group, run, key, view.name))]
    if not served:
        st.caption(f"{md(view.label)} has no value for each user, so it cannot be split by kind of user. Choose another measure above.")
        return
    first = served[0][1]
    told = [name for name in first.index if first["enough"][name]]
    if not told:
        st.caption(f"None of these groups has enough users to tell: {_small(first, 'n_users', 'user', 'users')}.")
        return
    groups = {
        f"{name} · {count(first['n_users'][name], 'user')}": tuple(_row(served, name, part) for part in ("mean", "low", "high"))
        for name in told
    }
    best = {name: served[_best(_row(served, name, "mean"), higher_is_better(view.name))][0] for name in told}
    grouping = grouping_of(view.group, key)
    said = {grouping.said(list(grouping.names).index(name)): run for name, run in best.items()}
    few = [name for name in first.index if not first["enough"][name]]
    note = f"{md(grouping.note)} Lines: 95 % intervals.{_several(grouping)}".strip()
    note += f" Too few to tell: {_small(first.loc[few], 'n_users', 'user', 'users')}." if few else ""
    fig = compare_charts.dots([view.look(run) for run, _ in served], groups, axis_of(view.name))
    charts.show(fig, f"Who is served well? {_leaders(said, view)}", key=f"whom-{key}", note=note)


def _items(view: View) -> None:
    key = picker(view.group, "item", "Part items by", "for-whom-items")
    found = [(run, by_item_group(view.group, run, key, view.k).set_index("group")) for run in view.few()]
    first = found[0][1]
    told = [name for name in first.index if first["enough"][name]]
    if not told:
        st.caption(f"None of these groups has enough held-out interactions to tell: {_small(first, 'n_relevant', 'interaction', '')}.")
        return
    groups = {
        f"{name} · {count(first['n_items'][name], 'item')}": tuple(_row(found, name, part) for part in ("recall", "low", "high"))
        for name in told
    }
    grouping = grouping_of(view.group, key)
    best = {grouping.said(list(grouping.names).index(name)): found[_best(_row(found, name, "recall"), True)][0] for name in told}
    few = [name for name in first.index if not first["enough"][name]]
    note = f"Share of the held-out interactions with items of each kind found in the first {view.k}, with 95 % intervals. "
    note += f"{md(grouping.note)}{_several(grouping)}"
    note += f" Too few held-out interactions to tell: {_small(first.loc[few], 'n_relevant', 'interaction', '')}." if few else ""
    fig = compare_charts.dots([view.look(run) for run, _ in found], groups, f"Found within {view.k}")
    charts.show(fig, f"Which items are found? {_leaders(best, view)}", key=f"items-{key}", note=note)


def _several(grouping: Grouping) -> str:
    return f" {'An item' if grouping.side == 'item' else 'A user'} with several values counts in each." if grouping.overlapping else ""


def _row(served: Figures, name: str, part: str) -> list[float]:
    return [float(frame[part].get(name, np.nan)) for _, frame in served]


def _small(frame: pd.DataFrame, what: str, noun: str, plural: str) -> str:
    return listing([f"{md(name)} ({count(n, noun, plural)})" for name, n in frame[what].items()])


def _best(values: Sequence[float], higher: bool) -> int:
    return int(np.nanargmax(values) if higher else np.nanargmin(values)) if np.isfinite(values).any() else 0


def _leaders(best: dict[str, Any], view: Any) -> str:
    """{"light users": run, …} -> "EASE is ahead for light users and medium users; ALS for heavy users"."""
    led: dict[str, list[str]] = {}
    for said, run in best.items():
        led.setdefault(run.id, []).append(md(said))
    if len(led) == 1 and len(best) > 1:
        return f"{md(view.looks[next(iter(led))].name)} is ahead for all of them"
    parts = [
        f"{md(view.looks[run_id].name)}{'' if n else ' is ahead'} for {listing(said, 3)}" for n, (run_id, said) in enumerate(led.items())
    ]
    return "; ".join(parts[:LEADERS] + (["others for the rest"] if len(parts) > LEADERS else []))
