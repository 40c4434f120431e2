"""Three users' lists before and after: what moved in, what fell out, and what each list is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from . import charts, navigation
from .diversity_charts import shares
from .diversity_controls import Choice
from .diversity_data import Bench, group_shares, lists_of, row_of, sample_users
from .inspect_items import Names, item_names
from .text import count, md, short

MOST_GROUPS = 5
LINE, TITLE, CATEGORIES, BADGE = 54, 42, 30, 8  # characters: of a line that does not wrap, at most of its parts
NEW, GONE = ":green-badge[:material/add: new]", ":gray-badge[:material/remove: out]"


def users_card(dataset_id: str, of: Bench, choice: Choice) -> None:
    """The sample users, or one by id; redrawn with every move of the slider."""
    with st.container(horizontal=True, vertical_alignment="center", key="diversity-whom"):
        st.subheader("What changes for single users?", anchor=False, width="stretch")
        wanted = st.text_input(
            "User id",
            key="diversity-user",
            placeholder="Any test user by id",
            label_visibility="collapsed",
            persist_state="session",
            width=200,
        )
        st.button("Show others", key="diversity-others", icon=":material/shuffle:", on_click=_others, disabled=bool(wanted.strip()))
    users = _chosen(of, wanted.strip())
    if not users:
        return
    before, after = lists_of(of, choice.setting, choice.strength, list(users.values()))
    names = item_names(dataset_id)
    for n, (kind, row) in enumerate(users.items()):
        with st.container(border=True, key=f"diversity-user-{n}"):
            _user(of, names, dataset_id, kind, row, before.items[n], after.items[n])


def _others() -> None:
    st.session_state["_diversity_turn"] = st.session_state.get("_diversity_turn", 0) + 1


def _chosen(of: Bench, wanted: str) -> dict[str, int]:
    if not wanted:
        found = sample_users(of, st.session_state.get("_diversity_turn", 0))
        if not found:
            st.info("No test user has a list.", icon=":material/info:")
        return found
    row = row_of(of, wanted)
    if row < 0:
        st.info(f"'{md(wanted, 60)}' is none of the {count(len(of.candidates), 'user')} of this test.", icon=":material/info:")
        return {}
    return {"User": row}


def _user(of: Bench, names: Names, dataset_id: str, kind: str, row: int, before: np.ndarray, after: np.ndarray) -> None:
    user = str(of.users.decode(of.candidates.users[[row]])[0])
    n_new, k = int((~np.isin(after, before) & (after >= 0)).sum()), int((after >= 0).sum())
    history = of.histories.take(np.array([row])).items
    with st.container(horizontal=True, vertical_alignment="center"):
        told = f"{n_new} of {k} new" if n_new else "nothing changes" if np.array_equal(before, after) else "the same items in another order"
        st.markdown(f"**{kind}: {md(user, 40)}** :gray[{count(len(history), 'known interaction')} · {told}]", width="stretch")
        navigation.link("inspect", "Inspect", icon=navigation.PAGES["inspect"][1], dataset=dataset_id, user=user)
    left, middle, right = st.columns([5, 5, 4], gap="medium")
    with left:
        st.markdown(_lines("Before", of, names, before, GONE, set(after.tolist())))
    with middle:
        st.markdown(_lines("After", of, names, after, NEW, set(before.tolist())))
    with right:
        _made_of(of, f"{row}", history, before, after)


def _lines(title: str, of: Bench, names: Names, codes: np.ndarray, badge: str, other: set[int]) -> str:
    """A list in Markdown; `badge` before what the other list does not have."""
    kept = codes[codes >= 0]
    lines = [f"**{title}**", ""]
    if not len(kept):
        return f"**{title}**\n\n:gray[The list is empty.]"
    for rank, (code, item) in enumerate(zip(kept.tolist(), of.items.decode(kept), strict=True), start=1):
        mark, room = ("", LINE) if code in other else (f"{badge} ", LINE - BADGE)
        label = short(names.title(item), TITLE)
        room = min(CATEGORIES, room - len(label))
        categories = md(names.categories(item), room) if room > 8 else ""
        lines.append(f"{rank}. {mark}{md(label)}" + (f" :gray[:small[{categories}]]" if categories else ""))
    return "\n".join(lines)


def _made_of(of: Bench, key: str, history: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    parts: dict[str, Any] = {"History": history, "Before": before, "After": after}
    found = {name: group_shares(of, np.asarray(items)) for name, items in parts.items()}
    weight = np.max(list(found.values()), axis=0)
    top = np.argsort(-weight, kind="stable")[:MOST_GROUPS]
    top = top[weight[top] > 0]
    if not len(top):
        st.caption("Nothing is known of what these items have in common.")
        return
    names = [of.shelf.group_names[g] for g in top]
    fig = shares([short(name, 18) for name in names], {name: values[top] for name, values in found.items()})
    title = "Which categories?" if of.shelf.has_categories else "Which groups of items?"
    charts.show(
        fig, title, key=f"diversity-shares-{key}",
        alt="Shares of the most frequent categories in the history and in the list before and after",
        note="" if of.shelf.has_categories else "Without categories: groups of items that the same users had.",
    )  # fmt: skip
