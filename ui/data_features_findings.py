"""What the checks found in the tables, the gravest first, each with what to do about it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.data.features import FeatureSet, Guess

from . import data_features_state as chosen_features
from .components import card
from .errors import action
from .text import count, md

GROUPS = {
    "error": ("Would mislead", ":red[:material/error:]", "Figures may look better than they are."),
    "warning": ("Worth a look", ":orange[:material/warning:]", ""),
    "note": ("Good to know", ":gray[:material/info:]", ""),
}
FIRST = 5  # of a group that are shown at once


def findings_card(entry: Any, chosen: FeatureSet, report: dict[str, Any], guessed: dict[str, dict[str, Guess]]) -> None:
    found = [(side, one) for side, of_side in report.items() for one in _all(of_side)]
    if not found:
        if report:
            st.caption(":green[:material/check_circle:] The checks found nothing odd in the tables.")
        return
    with card("What the checks found", key="features-findings"):
        for severity, (title, icon, about) in GROUPS.items():
            group = [(side, one) for side, one in found if one["severity"] == severity]
            if not group:
                continue
            if severity == "note":
                with st.expander(f"{title} ({len(group)})", icon=":material/info:"):
                    _list(entry, group, icon, guessed, severity)
                continue
            st.markdown(f"**{title}** ({len(group)}){f'  :gray[{about}]' if about else ''}")
            _list(entry, group[:FIRST], icon, guessed, severity)
            if len(group) > FIRST:
                with st.expander(f"{count(len(group) - FIRST)} more"):
                    _list(entry, group[FIRST:], icon, guessed, f"{severity}-more")


def _all(of_side: dict[str, Any]) -> list[dict[str, str]]:
    return [*of_side["findings"], *(one for column in of_side["columns"] for one in column["findings"])]


def _list(entry: Any, group: list[tuple[str, dict[str, str]]], icon: str, guessed: dict[str, dict[str, Guess]], place: str) -> None:
    for number, (side, one) in enumerate(group):
        where = f"**{md(one['column'], 60)}** ({side} column)" if one["column"] else f"**{side.capitalize()} table**"
        todo = f" :gray[{md(one['todo'])}]" if one["todo"] else ""
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"{icon} {where}: {md(one['sentence'])}{todo}", width="stretch")
            if one["column"] and one["todo"].startswith("Leave"):
                st.button(
                    "Leave this column out", key=f"remedy-{place}-{number}-{entry.id}", icon=":material/visibility_off:",
                    on_click=_leave_out, args=(entry, side, one["column"], guessed[side]),
                )  # fmt: skip


@action
def _leave_out(entry: Any, side: str, name: str, guessed: dict[str, Guess]) -> None:
    chosen = chosen_features.draft(entry)
    what = {name: Guess(None, chosen_features.LEFT_OUT)}
    chosen_features.put(entry, chosen_features.with_columns(chosen, side, what, guessed))
