"""One column: whether it is used, what it is taken for and how it is read, beside a picture of what becomes of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.data.features import KINDS, Guess
from recsys_core.data.features.settings import checked
from recsys_core.errors import WorkbenchError

from . import data_features_state as chosen_features
from .data_features_data import Row, preview_of, settings_of
from .data_features_preview import draw_preview
from .data_features_text import DEFAULT, encoders
from .data_features_words import kind_label
from .errors import action, error_box, guard
from .forms import params_form
from .text import listing, md

NOT_SET_HERE = ("columns", "encoder")  # which columns are one vector is found out; encoders are chosen by their names


def one_column(entry: Any, side: str, row: Row, guessed: dict[str, Guess]) -> None:
    guess = guessed.get(row.name, Guess(None))
    with st.grid(2, min_column_width=340, gap="medium"):
        with st.container(key="feature-settings"):
            st.markdown(f"##### {md(row.name, 80)}")
            _switch(entry, side, row, guess)
            if chosen_features.is_used(row.what):
                _kind(entry, side, row, guess)
                _settings(entry, side, row, guess)
            _told(row, guess)
        with st.container(key="feature-preview"), guard():
            # what is left out is shown as it would be read, where that was guessed
            shown = row.what if chosen_features.is_used(row.what) or guess.kind is None else guess
            key = f"preview-{entry.id}-{side}-{row.name}-{shown.kind}"
            draw_preview(row.name, shown, preview_of(entry, side, row.name, shown), key)


def _switch(entry: Any, side: str, row: Row, guess: Guess) -> None:
    key = f"use-{entry.id}-{side}-{row.name}"
    st.session_state[key] = chosen_features.is_used(row.what)
    st.toggle("Use this column", key=key, on_change=_switched, args=(entry, side, row, guess, key))


def _kind(entry: Any, side: str, row: Row, guess: Guess) -> None:
    kinds = [kind for kind in KINDS if kind not in chosen_features.GIVES_NOTHING] if not row.members else ["vector"]
    key = f"kind-{entry.id}-{side}-{row.name}"
    st.session_state[key] = row.what.kind
    about = "\n".join(f"- **{KINDS[kind].label}**: {KINDS[kind].summary}" for kind in kinds)
    st.selectbox(
        "Taken for", kinds, format_func=kind_label, key=key, help=about, on_change=_taken_for, args=(entry, side, row, guess, key)
    )  # fmt: skip


def _encoder(entry: Any, side: str, row: Row, guess: Guess) -> list[str]:
    """Which encoder reads the texts; gives the settings that do not concern it."""
    known = encoders()
    now = (row.what.settings or {}).get("encoder") or DEFAULT
    key = f"encoder-{entry.id}-{side}-{row.name}"
    st.session_state[key] = now
    labels = {name: f"{one.label}{' (not installed)' if one.unavailable() else ''}" for name, one in known.items()}
    options = list(dict.fromkeys([*labels, now]))
    st.selectbox(
        "Text encoder", options, format_func=lambda name: labels.get(name, name), key=key, on_change=_read_with,
        args=(entry, side, row, guess, key),
    )  # fmt: skip
    return [] if now in known and known[now].pretrained else ["model"]


def _settings(entry: Any, side: str, row: Row, guess: Guess) -> None:
    """The form of the kind; what is changed in it goes into the draft."""
    hidden = [*NOT_SET_HERE, *(_encoder(entry, side, row, guess) if row.what.kind == "text" else [])]
    fields = [field for field in KINDS[row.what.kind].settings_fields() if field.name not in hidden]
    if not fields:
        return
    base = settings_of(entry, side, row.name, Guess(row.what.kind, settings=guess.settings if row.what.kind == guess.kind else {}))
    start = {field.name: (base | (row.what.settings or {})).get(field.name, field.default) for field in fields}
    key = f"settings-{entry.id}-{side}-{row.name}-{row.what.kind}-{chosen_features.turn(entry)}"
    values = params_form(fields, key, values=start)
    if values == start:
        return
    try:
        values = checked(row.what.kind, values, f"the column '{row.name}'")
    except WorkbenchError as error:
        error_box(error)
        return
    changed = {field.name: values[field.name] for field in fields if values[field.name] != base.get(field.name, field.default)}
    changed |= {name: value for name, value in (row.what.settings or {}).items() if name in hidden}
    _put(entry, side, row.name, Guess(row.what.kind, row.what.reason, changed), guess, anew=False)
    st.rerun()


def _told(row: Row, guess: Guess) -> None:
    """Why it is what it is, and what it was guessed to be where that was changed."""
    if row.why:
        st.caption(f":material/info: {md(row.why)}")
    if not chosen_features.same(row.what, guess):
        reason = f": {md(guess.reason[:1].lower() + guess.reason[1:])}" if guess.reason else "."
        st.caption(f":material/history: Guessed: {md(kind_label(guess.kind).lower())}{reason}")
    if row.members:
        st.caption(f":material/view_column: Together one vector: {md(listing(list(row.members), 6))}.")


@action
def _switched(entry: Any, side: str, row: Row, guess: Guess, key: str) -> None:
    _put(entry, side, row.name, chosen_features.switched(row.what, guess, bool(st.session_state[key])), guess)


@action
def _taken_for(entry: Any, side: str, row: Row, guess: Guess, key: str) -> None:
    kind = st.session_state[key]
    _put(entry, side, row.name, guess if kind == guess.kind else Guess(kind, "", {}), guess)


@action
def _read_with(entry: Any, side: str, row: Row, guess: Guess, key: str) -> None:
    settings = {name: value for name, value in (row.what.settings or {}).items() if name != "model"}
    _put(entry, side, row.name, Guess("text", row.what.reason, settings | {"encoder": st.session_state[key]}), guess)


def _put(entry: Any, side: str, name: str, what: Guess, guess: Guess, *, anew: bool = True) -> None:
    chosen = chosen_features.draft(entry)
    chosen_features.put(entry, chosen_features.with_columns(chosen, side, {name: what}, {name: guess}), anew=anew)
