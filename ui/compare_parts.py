"""New items and users: what each recommender does for users and items it has never met, beside those it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from . import charts, compare_charts, navigation
from .compare_data import higher_is_better
from .compare_views import View, axis_of
from .text import count, listing, md

Figures = tuple[float, float, float]


def new_parts(view: View) -> None:
    """Every kind of users and items that the split keeps apart, with intervals, and what the lists were made of."""
    runs = [run for run in view.few() if run.parts]
    kinds = list(dict.fromkeys(key for run in runs for key in run.parts))
    if not runs:
        _nothing_yet(view)
        return
    drawn = {key: [_figures(run, key, view.name) for run in runs] for key in kinds}
    drawn = {key: found for key, found in drawn.items() if np.isfinite([f[0] for f in found]).any()}
    if not drawn:
        st.caption(f"{md(view.label)} was not measured apart for these kinds. Choose another measure above.")
        return
    groups = {
        f"{_label(runs, key)} · {count(_about(runs, key)['n_users'], 'user')}": tuple(zip(*found, strict=True))
        for key, found in drawn.items()
    }
    fig = compare_charts.dots([view.look(run) for run in runs], groups, axis_of(view.name))
    title = f"Who serves what nobody has touched yet? {_answer(view, runs, drawn)}"
    note = "Lines: 95 % intervals over users. Compare recommenders within a kind: kinds differ in users and candidates."
    charts.show(fig, title, key="new-parts", note=note)
    _table(view, runs, drawn)
    for sentence in _candidates(runs, list(drawn)):
        st.caption(sentence)
    arbitrary = [view.look(run).name for run in runs if any("knows nothing of the new items" in note for note in run.notes)]
    if arbitrary:
        who = "orders" if len(arbitrary) == 1 else "order"
        st.caption(
            f":material/info: {listing([md(name) for name in arbitrary], 6)} {who} the new items by chance: nothing is known of them."
        )


def _nothing_yet(view: View) -> None:
    st.markdown("**Who serves what nobody has touched yet?** These results hold no new items or users apart.")
    st.caption(
        "Train with the split 'New items', 'New users' or 'New users and items': some items or users are kept out of training, and the "
        "recommenders are judged on them."
    )
    navigation.link("train", "Train with another split", icon=":material/new_releases:", dataset=view.group.runs[0].dataset_id)


def _figures(run: Any, key: str, name: str) -> Figures:
    found = run.parts.get(key, {}).get("metrics", {}).get(name, {})
    return tuple(float("nan") if found.get(part) is None else float(found[part]) for part in ("mean", "low", "high"))


def _about(runs: Sequence[Any], key: str) -> dict[str, Any]:
    return next(run.parts[key] for run in runs if key in run.parts)


def _label(runs: Sequence[Any], key: str) -> str:
    return _about(runs, key)["label"]


def _answer(view: View, runs: Sequence[Any], drawn: dict[str, list[Figures]]) -> str:
    """Who leads where something is new: "Content kNN for new items, EASE for new users"."""
    said = {"new_items": "new items", "new_users": "new users", "new_both": "new users and items at once"}
    led: dict[tuple[str, ...], list[str]] = {}
    for key, words in said.items():
        values = np.array([f[0] for f in drawn.get(key, [])], dtype=np.float64)
        if not np.isfinite(values).any():
            continue
        best = np.nanmax(values) if higher_is_better(view.name) else np.nanmin(values)
        level = tuple(view.look(run).name for run, value in zip(runs, values, strict=True) if value == best)  # a bridge and its model, say
        led.setdefault(level, []).append(words)
    if len(runs) == 1:
        return f"{md(view.look(runs[0]).name)}, kind by kind"
    parts = []
    for n, (names, words) in enumerate(led.items()):
        ahead = "" if n else "is ahead " if len(names) == 1 else "are ahead "
        parts.append(f"{listing([md(name) for name in names], 3)} {ahead}for {listing(words, 3)}")
    return "; ".join(parts)


def _candidates(runs: Sequence[Any], kinds: Sequence[str]) -> list[str]:
    """What the lists were made of, once for all kinds of which the same is true."""
    shared: dict[str, list[str]] = {}
    for key in kinds:
        about = _about(runs, key)
        shared.setdefault(about["candidates"], []).append(f"{md(about['label'])} ({count(about['n_interactions'], 'interaction')})")
    return [f"**{listing(kinds, 4)}**: {md(sentence[:1].lower() + sentence[1:])}" for sentence, kinds in shared.items()]


def _table(view: View, runs: Sequence[Any], drawn: dict[str, list[Figures]]) -> None:
    frame = pd.DataFrame({"name": [view.look(run).name for run in runs]})
    columns: dict[str, Any] = {"name": st.column_config.TextColumn("Recommender", width="medium", pinned=True)}
    for key, found in drawn.items():
        frame[key] = [_said(*figures) for figures in found]
        help_text = f"Mean of {view.label} over these users, with its 95 % interval."
        columns[key] = st.column_config.TextColumn(_label(runs, key), width="medium", help=help_text)
    st.dataframe(
        frame, hide_index=True, key=f"parts-{view.name}-{len(frame)}", column_config=columns, alt="Figures by kind of users and items"
    )


def _said(mean: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return "not measured"
    return f"{mean:.4f}" + ("" if np.isnan(low) else f" ({low:.3f} to {high:.3f})")
