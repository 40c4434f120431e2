"""What a new user has answered so far: in the URL, in the order of the answers, with a way back.

An answer is an item and what was said of it: "like", "not" or "unknown". Nothing else is state; lists, marks and the trail on
the map follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote, unquote

import streamlit as st

from . import state
from .errors import action

SAID = ("like", "not", "unknown")
MOST = 50  # answers: the address of the page stays within what browsers take
_BEFORE, _DATASET = "_answers_before", "_answers_dataset"
_STEPS = 30  # that can be undone

Answers = dict[str, str]  # item -> one of SAID, oldest first


class Known(Protocol):
    """What tells the items of the dataset: `inspect_items.Names`."""

    def code(self, item: str) -> int: ...


def read(names: Known) -> Answers:
    """The answers of the URL; items this dataset does not have, and words that are none of `SAID`, are passed over."""
    found: Answers = {}
    for part in (state.current("answers") or "").split(","):
        item, _, said = part.partition(":")
        item = unquote(item)
        if said in SAID and len(found) < MOST and names.code(item) >= 0:
            found[item] = said
    return found


def write(answers: Mapping[str, str]) -> None:
    state.remember(answers=",".join(f"{quote(item, safe='')}:{said}" for item, said in answers.items()) or None)


def start_anew_on_another(dataset_id: str) -> None:
    """Answers are about the items of one dataset: another one begins without. Those of a link stay."""
    before = st.session_state.get(_DATASET)
    st.session_state[_DATASET] = dataset_id
    if before not in (None, dataset_id):
        state.remember(answers=None, persona=None)
        st.session_state.pop(_BEFORE, None)


def told(answers: Mapping[str, str]) -> tuple[tuple[str, bool], ...]:
    """(item, whether it was liked) of the answers that say something, oldest first."""
    return tuple((item, said == "like") for item, said in answers.items() if said != "unknown")


def skipped(answers: Mapping[str, str]) -> list[str]:
    return [item for item, said in answers.items() if said == "unknown"]


def can_undo() -> bool:
    return bool(st.session_state.get(_BEFORE) or state.current("answers"))


# ---- what buttons do ---------------------------------------------------------------------------------
@action
def give(item: str, said: str, names: Any) -> None:
    """Answer a question, or change an earlier answer; the item comes last then."""
    answers = read(names)
    if len(answers) < MOST or item in answers:
        _change({kept: what for kept, what in answers.items() if kept != item} | {item: said})


@action
def remove(item: str, names: Any) -> None:
    _change({kept: said for kept, said in read(names).items() if kept != item})


@action
def start_over() -> None:
    _change({})
    state.remember(persona=None)


@action
def undo(names: Any) -> None:
    """Back to before the last change; after a reload, when that is forgotten, the last answer goes."""
    before = st.session_state.get(_BEFORE) or []
    if before:
        state.remember(answers=before.pop() or None)
        return
    answers = read(names)
    if answers:
        answers.popitem()
        write(answers)


def replace(answers: Mapping[str, str], persona: str | None = None) -> None:
    """All answers at once: a saved persona."""
    _change(dict(answers))
    state.remember(persona=persona)


def _change(answers: Mapping[str, str]) -> None:
    kept: list[str] = st.session_state.setdefault(_BEFORE, [])
    kept.append(state.current("answers") or "")
    del kept[:-_STEPS]
    write(answers)


def marks(now: Sequence[str], before: Sequence[str] | None) -> list[str]:
    """Of every item of a list, how it stands against the list before: "new", "+3" (three places up), "-2", or "" where
    nothing changed or there is no list before."""
    if before is None:
        return [""] * len(now)
    place = {item: rank for rank, item in enumerate(before)}
    return ["new" if item not in place else f"{place[item] - rank:+d}" if place[item] != rank else "" for rank, item in enumerate(now)]
