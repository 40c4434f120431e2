"""Getting to know somebody: one question after another, or a search; and the answers so far as chips that can be taken out."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from . import new_users_state as answers_state
from .errors import error_box
from .inspect_items import Names, described, in_full
from .new_users_data import next_question
from .new_users_state import MOST, Answers, give, skipped, told
from .text import both_ends, md, share, short

MODES = {"ask": "Ask me", "choose": "I choose"}
ICONS = {"like": ":material/thumb_up:", "not": ":material/thumb_down:", "unknown": ":material/question_mark:"}
WORDS = {"like": "Like", "not": "Not for me", "unknown": "Don't know it"}
FACTS, FACT_LENGTH, TITLE = 3, 60, 80
CHIP = 26  # characters of a title
FITS = 34  # in a line of the search
TALL = 12  # chips, from which on they scroll
FOUND = 6


def ask_card(run: Any, names: Names, answers: Answers) -> None:
    with st.container(border=True, key="new-users-ask", gap="small"):
        mode = st.segmented_control(
            "How to get to know them", list(MODES), format_func=MODES.get, key="new-users-mode", default="ask", required=True,
            label_visibility="collapsed", width="stretch", persist_state="session",
        )  # fmt: skip
        if len(answers) >= MOST:
            st.info(f"At most {MOST} answers are taken. Take one out to go on.", icon=":material/info:")
        elif mode == "choose":
            _search(names, answers)
        else:
            _question(run, names, answers)


def _question(run: Any, names: Names, answers: Answers) -> None:
    try:
        with st.spinner("Finding a good question …", show_time=False):
            asked = next_question(run.id, told(answers), skipped(answers))
    except WorkbenchError as error:
        error_box(error)
        return
    if asked is None:
        st.markdown("**Nothing is left to ask.** Every item was answered: the lists stand.", width="stretch")
        return
    item, known = asked
    title, rows = names.title(item), 0 if names.table is None else min(FACTS, max(1, len(names.table.columns) - names.has_titles))
    with st.container(height=66 + 27 * rows, border=False, gap="xxsmall", key="new-users-question"):  # of one height: buttons stay
        st.markdown(f"#### {md(title, TITLE)}", help=in_full(names, item) if len(title) > TITLE else None, anchors=False)
        for fact in facts(names, item):
            st.caption(fact)
    with st.container(horizontal=True, gap="small", key="new-users-say"):
        for said, word in WORDS.items():
            st.button(
                word, key=f"say-{said}", icon=ICONS[said], on_click=give, args=(item, said, names),
                type="secondary" if said != "unknown" else "tertiary", width="stretch" if said != "unknown" else "content",
            )  # fmt: skip
    st.caption(f"{share(known)} of the users know it." if known > 0 else "Hardly anybody knows it.")


def facts(names: Names, item: str) -> list[str]:
    """A few short columns of the item table, in Markdown; the categories first. Links and long texts are no help here."""
    categories = names.categories(item)
    found = [md(categories, FACT_LENGTH)] if categories else []
    for column, value in names.attributes(item).items():
        plain = " ".join(str(value).split())
        listed = column == names.hints.get("categories") or "://" in plain or not plain or len(plain) > FACT_LENGTH
        if not listed and len(found) < FACTS:
            found.append(f"{md(short(column.replace('_', ' ').capitalize(), 30))}: {md(plain)}")
    return found


def _search(names: Names, answers: Answers) -> None:
    what = "title" if names.has_titles else "id"
    term = st.text_input(
        f"Search items by {what}", key="new-users-term", type="search", live="300ms", placeholder=f"Words of the {what}",
        label_visibility="collapsed",
    )  # fmt: skip
    if not names.has_titles:
        st.caption("This dataset has no table of titles, so items are shown by their ids.")
    found = names.find(term or "", FOUND, leave_out=list(answers))
    if not found:
        st.caption(f"No item holds '{md(term, 60)}'." if (term or "").strip() else "Every item was answered.")
    elif not (term or "").strip():
        st.caption("The most popular items:")
    with st.container(gap="xxsmall"):
        for item in found:
            with st.container(horizontal=True, vertical_alignment="center", wrap=False, gap="xsmall", key=f"found-{item}"):
                long = in_full(names, item) if len(names.title(item)) > FITS else None
                st.markdown(described(names, item, 60), width="stretch", wrap=False, help=long)
                for said in ("like", "not"):
                    st.button(ICONS[said], key=f"{said}-{item}", type="tertiary", on_click=give, args=(item, said, names), help=WORDS[said])


# ---- what was said -------------------------------------------------------------------------------------
def answers_card(names: Names, answers: Answers) -> None:
    """The answers in their order, each a chip; what was last said stands last."""
    with st.container(border=True, key="new-users-answers", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.subheader("Answers", anchor=False, width="stretch")
            st.button(
                "Undo", key="undo", icon=":material/undo:", type="tertiary", on_click=answers_state.undo, args=(names,),
                disabled=not answers_state.can_undo(), help="Take back the last change.",
            )  # fmt: skip
            st.button(
                "Start over", key="start-over", icon=":material/restart_alt:", type="tertiary", on_click=answers_state.start_over,
                disabled=not answers,
            )  # fmt: skip
        if not answers:
            st.caption("None yet. The lists are what anybody gets of whom nothing is known.")
            return
        tall = {"height": 260, "autoscroll": True} if len(answers) > TALL else {}
        with st.container(horizontal=True, gap="xsmall", key="new-users-chips", border=False, **tall):
            for item, said in answers.items():
                title = md(both_ends(names.title(item), CHIP))
                st.button(
                    f"{ICONS[said]} {title if said == 'like' else f':gray[{title}]'} :material/close:",
                    key=f"chip-{item}", on_click=answers_state.remove, args=(item, names),
                    help=f"{WORDS[said]}: {in_full(names, item)}  \nClick to take it out.",
                )  # fmt: skip
