"""The columns of the item and user table: what each is taken for, and one of them in detail, to be changed."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.data.features import FeatureSet, Guess

from . import data_features_state as chosen_features
from . import state
from .components import card, empty_state
from .data_features_data import Row, rows_of
from .data_features_one import one_column
from .data_features_words import kind_label
from .errors import action
from .text import count, listing

SIDES = {"item": "Items", "user": "Users"}
ABOUT = (
    "What every column is taken for was guessed from its values. Choose a row to look at a column and to change it; choose several "
    "to switch them together."
)
TALLEST = 14  # rows of the table that are seen without scrolling


def columns_card(entry: Any, chosen: FeatureSet, report: dict[str, Any], guessed: dict[str, dict[str, Guess]]) -> None:
    sides = [side for side in SIDES if guessed[side]]
    if not sides:
        _nothing(entry)
        return
    title = f"What describes your {' and '.join(f'{side}s' for side in sides)}"
    with card(title, ABOUT, key="features-columns"):
        side = _side(entry, sides, chosen, guessed)
        rows = rows_of(report, side)
        picked = _table(entry, side, rows)
        if len(picked) > 1:
            _several(entry, side, picked, guessed[side])
        names = [row.name for row in rows]
        key = f"column-{entry.id}-{side}"
        state.follow_url("column", key, names, names[0])
        name = st.selectbox("Column", names, key=key, help="The column shown below; or choose its row above.")
        state.remember(column=name)
        one_column(entry, side, next(row for row in rows if row.name == name), guessed[side])


def _nothing(entry: Any) -> None:
    text = (
        "With a table of items (title, category, price, date) or of users (age, country), recommenders that read features can place "
        "new items and new users. A saved dataset never changes: add it again together with its tables, or add vectors below."
    )
    empty_state("Nothing describes the items and users yet", text, "Add a dataset", "data", key="features-none", view="new")


def _side(entry: Any, sides: list[str], chosen: FeatureSet, guessed: dict[str, dict[str, Guess]]) -> str:
    if len(sides) == 1:
        return sides[0]
    used = {side: sum(chosen_features.is_used(what) for what in chosen.schema(side, guessed[side]).values()) for side in sides}
    labels = {side: f"{SIDES[side]}: {used[side]} of {count(len(guessed[side]), 'column')} used" for side in sides}
    key = f"features-side-{entry.id}"
    state.follow_url("side", key, sides, sides[0])
    side = st.segmented_control("Side", sides, format_func=labels.get, required=True, key=key, label_visibility="collapsed")
    state.remember(side=side)
    return side


def _table(entry: Any, side: str, rows: list[Row]) -> list[str]:
    """The overview; gives the columns whose rows are chosen."""
    frame = pd.DataFrame(
        {
            "Column": [row.name for row in rows],
            "Used": [chosen_features.is_used(row.what) for row in rows],
            "Taken for": [kind_label(row.what.kind) for row in rows],
            "Examples": [" · ".join(row.examples) for row in rows],
            "Missing": [100 * row.missing for row in rows],
            "Values": [row.n_values for row in rows],
            "Features": [row.n_features for row in rows],
            "What becomes of it": [row.why for row in rows],
        }
    )
    config = {
        "Column": st.column_config.TextColumn(width=140, pinned=True),
        "Used": st.column_config.CheckboxColumn(width=60),
        "Taken for": st.column_config.TextColumn(width=150),
        "Examples": st.column_config.TextColumn(width="medium"),
        "Missing": st.column_config.NumberColumn(format="%.3g %%", width=80, help="Share of the rows that say nothing."),
        "Values": st.column_config.NumberColumn(format="localized", width=80, help="How many different values there are."),
        "Features": st.column_config.NumberColumn(format="localized", width=80, help="Numbers that models get from it."),
        "What becomes of it": st.column_config.TextColumn(width="large"),
    }
    key = f"columns-{entry.id}-{side}"
    event = st.dataframe(
        frame,
        hide_index=True,
        key=key,
        column_config=config,
        height="auto" if len(rows) <= TALLEST else 38 * TALLEST,
        on_select=lambda: _pick(entry, side, key, [row.name for row in rows]),
        selection_mode="multi-row",
        alt=f"Columns of the {side} table and what they are taken for",
    )
    return [rows[n].name for n in event.selection.rows if n < len(rows)]


@action
def _pick(entry: Any, side: str, key: str, names: list[str]) -> None:
    """The row chosen last is the column shown."""
    chosen = [names[n] for n in st.session_state[key].selection.rows if n < len(names)]
    if chosen:
        state.remember(column=chosen[-1])


def _several(entry: Any, side: str, names: list[str], guessed: dict[str, Guess]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{count(len(names), 'column')}** chosen", width="content")
        for on, label, icon in ((False, "Leave them out", "visibility_off"), (True, "Use them", "visibility")):
            st.button(
                label, key=f"several-{on}", icon=f":material/{icon}:", on_click=switch, args=(entry, side, names, guessed, on)
            )  # fmt: skip


@action
def switch(entry: Any, side: str, names: list[str], guessed: dict[str, Guess], on: bool) -> None:
    """Use columns, or leave them out."""
    chosen = chosen_features.draft(entry)
    now = chosen.schema(side, guessed)
    what = {name: chosen_features.switched(now[name], guessed[name], on) for name in names if name in now}
    chosen_features.put(entry, chosen_features.with_columns(chosen, side, what, guessed))
    if not on:
        st.toast(f"Left out: {listing(names, 4)}.", icon=":material/visibility_off:")
