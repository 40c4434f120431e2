"""One user of the dataset: find them, see what they had, and what each recommender offers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.evaluation import metric_label

from . import charts, state
from .inspect_data import Choice, about_scale, by_activity, history, hits_line, served, stored
from .inspect_items import attribute_table, item_names, user_names
from .inspect_lists import Shown, show_lists
from .text import count, day, md, number, short

LENGTHS = (5, 10, 20)
OFFERED = 100
MODES = {"most": "Most active", "least": "Least active", "best": "Best served", "worst": "Worst served", "search": "Search by id"}


def user_tab(choice: Choice) -> None:
    user = find_user(choice)
    if user is None:
        return
    data, names = state.dataset(choice.dataset_id), item_names(choice.dataset_id)
    first = stored(choice.runs[0])
    held_out = first.held_out(user)
    had = history(data, user, held_out)
    left, right = st.columns([5, 8], gap="medium")
    with right:
        k = _length(choice)
        lists = [_list_of(choice, run, user, k, held_out, had) for run in choice.runs]
        relevant = frozenset(item for item, counts in held_out.items() if counts)
        show_lists("user", lists, names, relevant)
        among = first.holdout.candidates
        if among is not None:
            st.caption(f"The split makes lists of {count(len(among), 'item')} alone: of other items none can be here.")
        st.caption(
            "Click an item to see why it is on the list. :green-badge[:material/check: hit] marks items that were held out: "
            "this user had them, and the model did not know."
        )
    with left:
        _about_user(choice, user, data, had, held_out)
        _history_table(choice, user, data, had, lists)


# ---- finding -----------------------------------------------------------------------------------------
def find_user(choice: Choice) -> str | None:
    """The chosen user, kept in the URL; None where there is none to show."""
    users = user_names(choice.dataset_id)
    modes = {key: label for key, label in MODES.items() if choice.name or key not in ("best", "worst")}
    with st.container(border=True, key="find-user"):
        mode = st.segmented_control(
            "Find a user", list(modes), format_func=modes.get, key="find-mode", default="most", required=True, on_change=_forget
        )
        judge, term = choice.runs[0], ""
        if mode in ("best", "worst"):
            labels = {run.id: run.name for run in choice.runs}
            about = f"Users are ordered by {metric_label(choice.name)} of this recommender."
            judged = st.selectbox(
                "Served by", list(labels), format_func=lambda i: labels.get(i, i), key="find-judge", help=about, on_change=_forget
            )
            judge = next((run for run in choice.runs if run.id == judged), judge)
        elif mode == "search":
            term = st.text_input(
                "User id", key="find-term", type="search", live="300ms", on_change=_forget, placeholder="Whole id or a part of it",
                help="An exact id comes first, then ids that begin with it, then ids that hold it.",
            )  # fmt: skip
        offered = _offered(mode, choice, users, judge, term)
        linked = state.current("user")
        if linked and users.code(linked) < 0:
            st.warning(f"There is no user '{md(linked, 60)}' in this dataset.", icon=":material/warning:")
        elif linked and linked not in offered:
            offered[linked] = _activity(users, linked)
            offered = {linked: offered[linked]} | offered
        if not offered:
            st.info(f"No user id holds '{md(term, 60)}'." if term else "No user to show.", icon=":material/info:")
            return None
        state.follow_url("user", "inspect-user", list(offered), next(iter(offered)))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            user = st.selectbox(
                "User", list(offered), format_func=lambda i: f"{short(i, 60)} · {offered[i]}" if i in offered else i, key="inspect-user",
                help=f"At most {OFFERED} users of the evaluation, in this order. Any other is found by its id.",
            )  # fmt: skip
            ids = list(offered)
            at = ids.index(user)
            for name, step, icon in (("Previous", -1, "chevron_left"), ("Next", 1, "chevron_right")):
                there = 0 <= at + step < len(ids)
                target = ids[at + step] if there else user
                st.button(name, key=f"user-{name}", icon=f":material/{icon}:", disabled=not there, on_click=_go_to, args=(target,))
        state.remember(user=user)
    return user


def _forget() -> None:
    state.remember(user=None)
    st.session_state.pop("inspect-user", None)


def _go_to(user: str) -> None:
    state.remember(user=user)


def _offered(mode: str | None, choice: Choice, users: Any, judge: Any, term: str) -> dict[str, str]:
    """id -> what is said beside it, in the order of the mode."""
    if mode in ("best", "worst"):
        figures = served(judge, choice.name)
        chosen = figures.head(OFFERED) if mode == "best" else figures.iloc[::-1].head(OFFERED)
        label = metric_label(choice.name)
        return {user: f"{label} {value:.2f}, {_activity(users, user)}" for user, value in chosen.items()}
    if mode == "search" and term.strip():
        return {user: _activity(users, user) for user in _matching(users, term.strip())}
    order = by_activity(choice.runs[0], choice.dataset_id)
    order = (order[::-1] if mode == "least" else order)[:OFFERED]
    return {user: count(users.counts[code], "interaction") for user, code in zip(users.ids.decode(order), order, strict=True)}


def _matching(users: Any, term: str) -> Sequence[str]:
    ids = pd.Series(users.ids.ids, dtype="str")
    holds = np.flatnonzero(ids.str.contains(term, case=False, regex=False).to_numpy(bool))
    exact = ids.iloc[holds] == term
    begins = ids.iloc[holds].str.casefold().str.startswith(term.casefold())
    order = np.lexsort((holds, ids.iloc[holds].str.len(), ~begins, ~exact))
    return list(ids.iloc[holds[order[:OFFERED]]])


def _activity(users: Any, user: str) -> str:
    return count(users.counts[users.code(user)], "interaction")


# ---- lists -------------------------------------------------------------------------------------------
def _length(choice: Choice) -> int:
    state.follow_url("k", "inspect-k", [str(k) for k in LENGTHS], "10")
    k = st.segmented_control("List length", [str(k) for k in LENGTHS], key="inspect-k", required=True)
    state.remember(k=k)
    return int(k or 10)


def _list_of(choice: Choice, run: Any, user: str, k: int, held_out: dict[str, bool], had: pd.DataFrame) -> Shown:
    """The stored list of an evaluated user; for others the scorer is asked."""
    kept = stored(run)
    found, given = kept.list_of(user, k), kept.given(user)
    ask: dict[str, Any] = {"user": user} if given is None else {"history": given}
    if found is None:
        try:
            with st.spinner("Asking the model …", show_time=False):
                answer = state.scorer().recommend([run.id], [user], k)[run.id]
            if answer.error is not None:
                raise answer.error
        except WorkbenchError as error:
            return Shown(run, error=error)
        return Shown(run, answer.rows[0].items, answer.rows[0].scores, "Not part of the evaluation; made just now by the model.", ask=ask)
    items, scores = found
    relevant = [item for item, counts in held_out.items() if counts]
    line = hits_line(len(set(items) & set(relevant)), k, len(relevant))
    return Shown(run, items, scores, line, ask=ask)


# ---- the user ----------------------------------------------------------------------------------------
def _about_user(choice: Choice, user: str, data: Any, had: pd.DataFrame, held_out: dict[str, bool]) -> None:
    with st.container(border=True, key="about-user"):
        st.subheader(f"User {md(user, 40)}", anchor=False)
        facts = [count(len(had), "interaction"), f"{int(had['held_out'].sum()):,} held out for the test"]
        if data.feedback == "explicit" and len(had):
            facts.append(f"mean rating {number(float(had['value'].mean()))}")
        if data.time is not None and len(had):
            facts.append(f"{day(had['time'].min().timestamp())} to {day(had['time'].max().timestamp())}")
        st.caption(" · ".join(facts))
        attribute_table(user_names(choice.dataset_id), user)
        if data.time is not None and len(had) and had["time"].max() - had["time"].min() > pd.Timedelta(days=2):
            _timeline(user, had)


def _timeline(user: str, had: pd.DataFrame) -> None:
    days = (had["time"].max() - had["time"].min()).days
    rule, unit = ("D", "day") if days < 60 else ("MS", "month") if days < 3000 else ("YS", "year")
    counts = had.set_index("time").resample(rule)["held_out"].agg(["size", "sum"])
    fig = charts.figure("", f"Per {unit}", height=170, legend=True)
    for column, name, color, pattern in (("rest", "Known to the models", 0, ""), ("sum", "Held out", 1, "/")):
        values = counts["size"] - counts["sum"] if column == "rest" else counts["sum"]
        fig.add_bar(
            x=counts.index, y=values, name=name, marker_color=charts.series_color(color), marker_pattern_shape=pattern,
            hovertemplate=f"%{{x|%-d %b %Y}}<br>{name} %{{y:,}}<extra></extra>",
        )  # fmt: skip
    fig.update_layout(barmode="stack")
    charts.show(fig, "Activity over time", key=f"timeline-{user}", alt="Interactions of this user over time, held-out ones hatched")


def _history_table(choice: Choice, user: str, data: Any, had: pd.DataFrame, lists: Sequence[Shown]) -> None:
    names, scale = item_names(choice.dataset_id), about_scale(data)
    items = list(had["item"])
    frame = pd.DataFrame({"title": names.titles(items)})
    found = {shown.run.id: set(shown.items) for shown in lists}
    by = [", ".join(shown.run.name for shown in lists if item in found[shown.run.id]) for item in items]
    frame["part"] = np.where(had["held_out"], "✓ held out", "")
    frame["found"] = np.where(had["held_out"], by, "")
    frame["when"] = had["time"]
    if names.hints.get("categories"):
        frame["categories"] = [names.categories(item) for item in items]
    if scale:
        frame["value"] = had["value"].astype(float)
    if names.has_titles:
        frame["id"] = items
    shown = ["when"] * (data.time is not None) + ["title", "part", "value", "found", "categories", "id"]
    with st.container(border=True, key="user-history"):
        st.markdown("**History**, newest first" if data.time is not None else "**History**")
        st.dataframe(
            frame[[c for c in shown if c in frame]],
            hide_index=True,
            key=f"history-{user}",
            height="auto" if len(frame) <= 12 else 460,
            alt="What this user had, with what was held out for the test",
            column_config={
                "when": st.column_config.DateColumn("Date", format="D MMM YYYY", width=92),
                "title": st.column_config.TextColumn("Title" if names.has_titles else "Item", width=175),
                "value": st.column_config.NumberColumn(scale, width=60),
                "part": st.column_config.TextColumn("Part", width=85, help="Held out: hidden from the models, used to judge them."),
                "found": st.column_config.TextColumn("Found by", help="The recommenders with this held-out item on the list shown."),
                "categories": st.column_config.TextColumn("Categories"),
                "id": st.column_config.TextColumn("Id", width=80),
            },
        )
