"""The tab "Try it": somebody clicks, skips, likes and dislikes; the list before and after stand side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.serving.services import LocalService

from . import live_data, state
from .errors import action, guarded, show_notices
from .inspect_items import Names, in_full, item_names, user_names
from .live_data import PATHS, WAYS, Person
from .live_service import service_bar, start_over
from .new_users_lists import mark_text
from .new_users_state import marks
from .text import both_ends, count, md, short

EVENTS = {
    "click": ("Click", ":material/ads_click:", "Clicked it: counts as a plain like"),
    "like": ("Like", ":material/thumb_up:", "Likes it"),
    "dislike": ("Dislike", ":material/thumb_down:", "Does not like it"),
    "skip": ("Skip", ":material/skip_next:", "Saw it and passed it over: it is kept off the next lists, the model is not told"),
}
DONE = {"": "First list", "click": "Clicked", "like": "Liked", "dislike": "Disliked", "skip": "Skipped"}


def try_tab(dataset_id: str, run: Any) -> None:
    """The whole tab."""
    user = _who(dataset_id)
    service = service_bar(dataset_id, run, user or "")
    if service is None:
        return
    if user is None:
        st.info("No persona yet. Save one on New users, or choose somebody else.", icon=":material/info:")
        return
    _panel(dataset_id, run, service, user)


def _who(dataset_id: str) -> str | None:
    """The id of who is simulated; kept in the URL as `as` and `who`."""
    with st.container(border=True, key="live-who"):
        state.follow_url("as", "live-as", list(WAYS), "user")
        way = st.segmented_control("Who is it?", list(WAYS), format_func=WAYS.get, key="live-as", required=True)
        state.remember(**{"as": way})
        if way == "new":
            return _somebody_new()
        if way == "persona":
            return _persona(dataset_id)
        return _training_user(dataset_id)


def _training_user(dataset_id: str) -> str:
    users = user_names(dataset_id)
    offered = [users.ids.ids[code] for code in (-users.counts).argsort(kind="stable")[: live_data.OFFERED].tolist()]
    offered = [str(user) for user in offered]
    linked = state.current("user")
    if linked and linked not in offered:
        offered.insert(0, linked)
    state.follow_url("user", f"live-user-{dataset_id}", offered, offered[0])
    user = st.selectbox(
        "User", offered, key=f"live-user-{dataset_id}", accept_new_options=True, format_func=lambda one: short(one, 60),
        help=f"The {live_data.OFFERED} most active ones. Any other id can be typed in; one that is not in the data is somebody new.",
    )  # fmt: skip
    state.remember(user=user)
    code = users.code(user)
    had = f"{count(int(users.counts[code]), 'interaction')} in the data." if code >= 0 else "Not in the data: somebody new."
    st.caption(had)
    return user


def _persona(dataset_id: str) -> str | None:
    personas = {one.id: one for one in state.workspace().personas(dataset_id)}
    if not personas:
        return None
    state.follow_url("persona", f"live-persona-{dataset_id}", list(personas), next(iter(personas)))
    names = {one.id: short(one.name, 60) for one in personas.values()}
    key = f"live-persona-{dataset_id}"
    chosen = st.selectbox("Persona", list(names), key=key, format_func=lambda one: names.get(one, one))
    state.remember(persona=chosen)
    st.caption(f"Begins with {count(len(personas[chosen].items), 'answer')}, which the service is told first.")
    return f"persona-{chosen}"


def _somebody_new() -> str:
    who = state.current("who") or live_data.new_id()
    state.remember(who=who)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Nothing is known of them. In the service they are called {md(who)}.", width="stretch")
        st.button("Another one", key="live-another", icon=":material/person_add:", on_click=_another)
    return who


@action
def _another() -> None:
    state.remember(who=live_data.new_id())


# ---- the lists -------------------------------------------------------------------------------------
def _panel(dataset_id: str, run: Any, service: LocalService, user: str) -> None:
    """All that a click changes, and nothing else, is drawn again."""

    @st.fragment(key="live-panel")
    @guarded
    def draw() -> None:
        if not service.alive:
            st.rerun(scope="app")  # the bar above says why, and starts it again
        show_notices()
        who = live_data.person(service, user)
        names = item_names(dataset_id)
        try:
            if user.startswith("persona-"):
                persona = state.workspace().persona(user.removeprefix("persona-"))
                rated = state.dataset(dataset_id).feedback == "explicit"
                live_data.introduce(service, user, persona, rated)
            now = live_data.listed(service, who)
        except WorkbenchError as error:
            if not service.alive:
                st.rerun(scope="app")  # above it is said that it ended, and why
            st.error(f"**{md(error.message)}** {md(error.hint)}", icon=":material/error:")
            return
        _said(who)
        before, after = st.columns(2, gap="medium")
        with before, st.container(border=True, height="stretch", gap="xsmall", key="live-before"):
            _before(who, now["items"], names)
        with after, st.container(border=True, height="stretch", gap="xsmall", key="live-now"):
            _now(service, who, now, names)
        if who.why:
            _why(service, who, names)
        _steps(run, who, names)

    draw()


def _said(who: Person) -> None:
    step = who.steps[-1]
    parts = [f"Model {step.model:.2f} ms"]
    parts += [] if step.service is None else [f"in the service {step.service:.1f} ms"]
    parts += [f"round trip {step.round_trip:.1f} ms"]
    parts += [] if step.feedback is None else [f"telling it {step.feedback:.1f} ms"]
    st.markdown(f"This list is **{PATHS.get(step.path, step.path)}**. :gray[:small[{' · '.join(parts)}]]")


def _before(who: Person, now: list[str], names: Names) -> None:
    st.markdown("**Before**")
    if who.before is None:
        st.caption("Click, like, dislike or skip something in the list: this is where the list of before will stand.")
        return
    for rank, item in enumerate(who.before, start=1):
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="xsmall", key=f"live-was-{rank}"):
            with st.container(width="stretch"):
                _title(f"live-was-why-{rank}", rank, item, who, names)
            if who.last is not None and item == who.last[1]:
                st.markdown(f":blue-badge[{DONE[who.last[0]].lower()}]", width="content")
            elif item not in now:
                st.markdown(":gray-badge[gone]", width="content")


def _now(service: LocalService, who: Person, now: Any, names: Names) -> None:
    st.markdown("**Now**" if who.before is not None else "**The list**")
    items = list(now["items"])
    if not items:
        st.caption("The list is empty: nothing is left to recommend.")
    for rank, (item, mark) in enumerate(zip(items, marks(items, who.before), strict=True), start=1):
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="xsmall", key=f"live-row-{rank}"):
            with st.container(width="stretch"):
                _title(f"live-why-{rank}", rank, item, who, names)
            if mark:
                st.markdown(mark_text(mark), width="content")
            for event, (name, icon, about) in EVENTS.items():
                st.button(
                    "", key=f"live-{event}-{rank}", icon=icon, type="tertiary", help=f"{name}. {about}.", on_click=_tell,
                    args=(service, who, item, event),
                )  # fmt: skip


def _title(key: str, rank: int, item: str, who: Person, names: Names) -> None:
    """The title, which tells why when it is clicked."""
    label = f"{rank}\\. {md(both_ends(names.title(item), 40))}"
    st.button(label, key=key, type="tertiary", wrap=False, help=in_full(names, item), on_click=_ask_why, args=(who, item))


@action
def _tell(service: LocalService, who: Person, item: str, event: str) -> None:
    live_data.tell(service, who, item, event)


@action
def _ask_why(who: Person, item: str) -> None:
    who.why = None if who.why == item else item


def _why(service: LocalService, who: Person, names: Names) -> None:
    item = who.why or ""
    with st.container(border=True, key="live-reasons", gap="xsmall"):
        st.markdown(f"**Why {md(names.title(item), 80)}?**")
        try:
            found = service.client.explain(item, user=who.user).data
        except WorkbenchError as error:
            st.caption(f"{md(error.message)} {md(error.hint)}".strip())
            return
        parts = [part for part in found.get("parts") or () if part.get("contribution")]
        if not parts:
            st.caption("It is popular. Nothing that was done speaks for it more than for others.")
        largest = max((abs(part["contribution"]) for part in parts), default=1.0)
        for part in parts:
            share = abs(part["contribution"]) / largest
            with st.container(horizontal=True, wrap=False, vertical_alignment="center"):
                st.markdown(md(names.title(part["item"]), 60), width="stretch", wrap=False)
                st.progress(min(1.0, share), width=140)
        if parts:
            st.caption(f"What they had that speaks for it, strongest first. {_how_sure(found, parts)}")


def _how_sure(found: dict[str, Any], parts: list[dict[str, Any]]) -> str:
    """What the reasons that are shown are of the whole score."""
    if not found.get("exact"):
        return "An estimate: what taking each one away would change."
    together, total = sum(part["contribution"] for part in parts), found.get("total") or 0.0
    if total > 0 and 0 <= together < 0.995 * total:
        return f"Together they are {together / total:.0%} of its score; the rest is from other items of the history.".replace("%", " %")
    return (
        "They add up to its score." if abs(together - total) <= 0.005 * abs(total) else "Other items of the history change its score too."
    )


def _steps(run: Any, who: Person, names: Names) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(":green-badge[new] and ▲ ▼: against the list before. Click a title to see why it is there.", width="stretch")
        st.button(
            "Start over", key="live-over", icon=":material/restart_alt:", type="tertiary", on_click=start_over, args=(run.id,),
            help="The service starts again and forgets what was clicked, by everybody. Takes a few seconds.",
        )  # fmt: skip
    if len(who.steps) < 2:
        return
    with st.expander(f"How long every step took ({len(who.steps)})", key="live-steps", icon=":material/timer:"):
        rows = [
            {
                "step": f"{DONE.get(one.what, one.what)} {short(names.title(one.item), 40) if one.item else ''}".strip(),
                "model": one.model, "service": one.service, "trip": one.round_trip, "told": one.feedback,
                "path": PATHS.get(one.path, one.path),
            }
            for one in reversed(who.steps)
        ]  # fmt: skip
        number = st.column_config.NumberColumn
        columns = {
            "step": st.column_config.TextColumn("Step", width=260),
            "model": number("Model (ms)", format="%.2f"),
            "service": number("In the service (ms)", format="%.1f"),
            "trip": number("Round trip (ms)", format="%.1f"),
            "told": number("Telling it (ms)", format="%.1f", help="The event itself: until it was written down."),
            "path": st.column_config.TextColumn("The list is"),
        }
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, key="live-steps-table")
