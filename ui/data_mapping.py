"""Step two of a new dataset: what the columns mean and how rows become interactions. Gives an `IngestPlan`."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.errors import ParamError
from recsys_core.params import build, fields

from . import uploads
from .errors import guard
from .text import count, md

ROLE_LABELS = {
    "user": ("User", "Who did it: one id for each person, customer or session."),
    "item": ("Item", "What it was about: one id for each film, product or article."),
    "value": ("Value", "A rating, a count or a price, if there is one."),
    "event": ("Event type", "What was done (view, cart, purchase), if rows differ in that."),
    "time": ("Time", "When it happened, if known. Needed for splits in time and for recent-first models."),
}
TIME_FORMATS = {
    "auto": "Find out", "s": "Seconds since 1970", "ms": "Milliseconds since 1970", "us": "Microseconds since 1970",
    "iso": "Year first (2024-05-31)", "dayfirst": "Day first (31/05/2024)", "monthfirst": "Month first (05/31/2024)",
}  # fmt: skip
FEEDBACK = {"explicit": "Ratings people gave", "implicit": "Things people did"}
VALUE_IS = {"rating": "A rating", "count": "A count (plays, pieces, minutes)", "price": "A price (not used)", "none": "Nothing to use"}
DUPLICATES = {"last": "Keep the last", "sum": "Add the values up", "max": "Keep the largest", "count": "Count the rows"}


def mapping(upload: uploads.Upload, source: Any, guess: Any) -> Any | None:
    """Draw the mapping and the settings; the plan they make, or None while they make none."""
    token = upload.token
    with st.container(border=True):
        st.subheader("What the columns mean", anchor=False)
        st.caption("Suggested from names and contents. Check the five sample values under each, and change what is wrong.")
        columns = _roles(token, source, guess)
        values: dict[str, Any] = {"columns": columns}
        if columns["time"]:
            values["time_format"] = _time(token, source, guess, columns["time"])
    with st.container(border=True):
        st.subheader("What counts as interest", anchor=False)
        values |= _feedback(token, source, guess, columns)
    values |= _more(token, values)
    values |= _tables(upload)
    if not columns["user"] or not columns["item"]:
        st.info("Choose a user column and an item column to go on.", icon=":material/info:")
        return None
    return _plan(values)


def _plan(values: dict[str, Any]) -> Any | None:
    from recsys_core.data.ingest import IngestPlan

    try:
        return build(IngestPlan, values)
    except ParamError as error:
        text = error.message.removeprefix("columns: ").removeprefix("This plan: ")
        st.error(f"{md(text[:1].upper() + text[1:])} {md(error.hint)}", icon=":material/error:")
        return None


def _roles(token: str, source: Any, guess: Any) -> dict[str, str | None]:
    options = [None, *source.columns]
    chosen: dict[str, str | None] = {}
    with st.grid(5, min_column_width=190):
        for role, (label, help_text) in ROLE_LABELS.items():
            suggested = guess.roles[role].column
            with st.container(gap="xsmall"):
                chosen[role] = st.selectbox(
                    f"{label}{'' if role in ('user', 'item') else ' (optional)'}",
                    options,
                    index=options.index(suggested) if suggested in options else 0,
                    format_func=lambda c: "—" if c is None else str(c),
                    key=f"role-{role}-{token}-{hash(source.columns)}",
                    help=help_text,
                    persist_state="session",
                )
                _samples(guess, role, chosen[role])
    return chosen


def _samples(guess: Any, role: str, column: str | None) -> None:
    if column is None:
        st.caption("not used")
        return
    shown = " · ".join(f"`{str(v).replace('`', ' ').strip()[:24] or ' '}`" for v in guess.samples.get(column, [])[:5])
    st.caption(shown or "no values")
    if column == guess.roles[role].column and guess.roles[role].reason and role != "time":  # of the time more is said below
        st.caption(f":gray[Suggested: {md(guess.roles[role].reason, 90)}.]")


@st.cache_data(max_entries=64, show_spinner=False)
def _times(_source: Any, source_key: str, column: str, time_format: str) -> tuple[str, str | None, str | None]:
    """(format, first, last) of the rows looked at."""
    from recsys_core.data.ingest.guess import time_range
    from recsys_core.data.ingest.values import guess_time

    texts = _source.spread_sample(2000)[column]
    if time_format == "auto":
        found = guess_time(texts)
        time_format = found.format if found else "s"
    return time_format, *time_range(texts, time_format)


def _time(token: str, source: Any, guess: Any, column: str) -> str:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Time is written as",
            list(TIME_FORMATS),
            format_func=TIME_FORMATS.get,
            key=f"time-format-{token}",
            width=260,
            persist_state="session",
        )
        with guard():
            found, first, last = _times(source, f"{source.content_hash}/{source.member}/{source.columns}", column, chosen)
            if first and last:
                label = TIME_FORMATS.get(found, found)
                assumed = f"Read as {label[:1].lower()}{label[1:]}. " if chosen == "auto" else ""
                st.markdown(f"{assumed}First **{md(first[:16])}**, last **{md(last[:16])}** (UTC), in the rows looked at.", width="stretch")
            else:
                st.markdown(":orange[No value of this column can be read that way.]", width="stretch")
    if column == guess.roles["time"].column and guess.time_note and chosen == "auto":
        st.caption(f":material/info: {md(guess.time_note)}")
    return chosen


def _feedback(token: str, source: Any, guess: Any, columns: dict[str, str | None]) -> dict[str, Any]:
    help_of = {f.name: f.help for f in _fields()}
    same_value = columns["value"] == guess.roles["value"].column
    start = guess.feedback if same_value else "implicit"
    scope = f"{token}-{columns['value']}-{columns['event']}"
    out: dict[str, Any] = {"feedback": "implicit", "value_is": "none", "threshold": None, "event_weights": {}}
    if columns["value"]:
        with st.grid(3, min_column_width=240):
            out["feedback"] = st.segmented_control(
                "The value column holds", list(FEEDBACK), default=start, required=True, format_func=FEEDBACK.get,
                key=f"feedback-{scope}", help=help_of["feedback"], persist_state="session",
            )  # fmt: skip
            kinds = ["rating", "count"] if out["feedback"] == "explicit" else list(VALUE_IS)
            likely = guess.value_is if same_value and guess.value_is in kinds else kinds[-1] if out["feedback"] == "implicit" else "rating"
            out["value_is"] = st.selectbox(
                "The value is", kinds, index=kinds.index(likely), format_func=VALUE_IS.get,
                key=f"value-is-{scope}-{out['feedback']}", help=help_of["value_is"], persist_state="session",
            )  # fmt: skip
            if out["feedback"] == "explicit" or out["value_is"] in ("rating", "count"):
                out["threshold"] = st.number_input(
                    "Counts as liked from" if out["feedback"] == "explicit" else "Leave out rows below",
                    value=guess.threshold if same_value and out["feedback"] == guess.feedback else None,
                    format="%g", step=0.5, placeholder="no limit", key=f"threshold-{scope}-{out['feedback']}", help=help_of["threshold"],
                    persist_state="session",
                )  # fmt: skip
    if same_value and guess.feedback_reason:
        st.caption(f":material/info: {md(guess.feedback_reason)}")
    if columns["event"]:
        out["event_weights"] = _weights(token, source, guess, columns["event"])
    return out


def _weights(token: str, source: Any, guess: Any, column: str) -> dict[str, float]:
    st.markdown("**What each event type is worth**")
    st.caption("How much an event of this type says about interest. 0 leaves these rows out.")
    counts, weights = (guess.events, guess.event_weights) if column == guess.roles["event"].column else _event_types(source, column)
    out = {}
    with st.grid("auto", min_column_width=170):
        for event, n in list(counts.items())[:60]:
            label = f"{md(event, 30)} ({count(n)})"
            out[event] = st.number_input(
                label,
                min_value=0.0,
                value=float(weights[event]),
                step=0.5,
                format="%g",
                key=f"w-{token}-{column}-{event}",
                persist_state="session",
            )
    return out


def _event_types(source: Any, column: str) -> tuple[dict[str, int], dict[str, float]]:
    """Types and suggested weights of a column that was not the suggested one, from the rows looked at."""
    from recsys_core.data.ingest.vocabulary import event_weight

    found = source.spread_sample()[column].dropna().value_counts().head(60)
    counts = {str(event): int(n) for event, n in found.items()}
    return counts, {event: 1.0 if event_weight(event) is None else float(event_weight(event)) for event in counts}


def _more(token: str, values: dict[str, Any]) -> dict[str, Any]:
    by_name = {f.name: f for f in _fields()}
    explicit = values["feedback"] == "explicit"
    out: dict[str, Any] = {}
    with st.expander("Duplicates, minimum activity, ageing", icon=":material/tune:"), st.grid(4, min_column_width=210):
        field = by_name["duplicates"]
        out["duplicates"] = st.selectbox(
            field.label, list(DUPLICATES), index=0 if explicit else 1, format_func=DUPLICATES.get, key=f"dup-{token}-{explicit}",
            help=field.help, persist_state="session",
        )  # fmt: skip
        for name in ("min_user", "min_item"):
            field = by_name[name]
            about = f"{field.help} Both limits are applied again and again until nobody falls below."
            out[name] = st.number_input(
                field.label, min_value=1, max_value=1000, value=1, step=1, key=f"{name}-{token}", help=about, persist_state="session"
            )
        if values["columns"]["time"]:
            field = by_name["half_life_days"]
            out["half_life_days"] = st.number_input(
                field.label, min_value=0.0, value=None, step=30.0, format="%g", placeholder="no ageing", key=f"half-{token}",
                help=field.help, persist_state="session",
            ) or None  # fmt: skip
    return out


def _tables(upload: uploads.Upload) -> dict[str, Any]:
    from .data_tables import side_table

    with st.expander("Item and user tables", icon=":material/join_inner:"):
        st.caption(
            "Optional: titles, categories or attributes, joined by id. They are shown beside the lists and used by some models and figures."
        )
        out: dict[str, Any] = {}
        with st.grid(2, min_column_width=300, gap="medium"):
            for part, label in (("items", "Item table"), ("users", "User table")):
                with st.container():
                    out |= side_table(upload, part, label)
    return out


def preview(source: Any, plan: Any) -> None:
    """The first rows as they will be understood."""
    columns = {role: name for role, name in plan.columns.model_dump().items() if name}
    frame = source.sample(20)[list(columns.values())]
    frame.columns = [ROLE_LABELS[role][0] for role in columns]
    if plan.columns.event and plan.event_weights:
        frame["Weight"] = frame["Event type"].map(lambda e: plan.event_weights.get(str(e))).astype("Float64")
    if plan.feedback == "explicit" and plan.threshold is not None:
        numbers = pd.to_numeric(frame["Value"].str.replace(",", "."), errors="coerce")
        frame["Liked"] = numbers >= plan.threshold
    st.dataframe(frame, hide_index=True, height=212, alt="First rows with the meaning of their columns")


def _fields() -> tuple[Any, ...]:
    from recsys_core.data.ingest import IngestPlan

    return fields(IngestPlan)
