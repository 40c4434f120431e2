"""People made up once and looked at again: saved, loaded, renamed, deleted; their lists as a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.serving.persona_lists import persona_lists
from recsys_core.store.export import LINE_END
from recsys_core.store.spreadsheet import safe_frame

from . import new_users_state as answers_state
from . import state
from .components import confirm_delete, download, rename_dialog
from .errors import action, notify
from .inspect_items import Names
from .new_users_data import Listed, scale_of, values_of
from .new_users_state import Answers, skipped, told
from .text import ago, count, md

MOST_SHOWN = 6
_SAVED, _TIMES = "_persona_saved", "_personas_saved"


def personas_card(dataset_id: str, runs: Sequence[Any], names: Names, answers: Answers, shown: Sequence[tuple[Any, Listed]]) -> None:
    """shown: the lists on the page."""
    found = state.workspace().personas(dataset_id)
    saved = st.session_state.pop(_SAVED, None)
    if saved:
        st.toast(f"Saved: {md(saved, 60)}", icon=":material/check:")
    with st.container(border=True, key="new-users-personas", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Personas", anchor=False, width="stretch")
            with st.popover(
                "Save", icon=":material/save:", type="tertiary", disabled=not answers, key=f"save-persona-{st.session_state.get(_TIMES, 0)}"
            ):
                _save_form(dataset_id, runs[0], found, names)
        if not found:
            st.caption("Save these answers under a name to come back to them, or to export the lists of several people at once.")
        everything = len(found) <= MOST_SHOWN or st.toggle(f"Show all {count(len(found), 'persona')}", key="all-personas")
        with st.container(gap="xxsmall"):
            for persona in found if everything else found[:MOST_SHOWN]:
                _row(persona, runs[0], names)
        with st.container(horizontal=True, gap="small"):
            if shown:
                list_download(dataset_id, shown, names)
            if found:
                _download_all(dataset_id, runs, found)


def _save_form(dataset_id: str, run: Any, found: Sequence[Any], names: Names) -> None:
    loaded = next((one for one in found if one.id == state.current("persona")), None)
    if loaded is not None:
        st.button(f"Update {md(loaded.name, 40)}", key="update-persona", type="primary", on_click=_update, args=(loaded.id, run.id, names))
    st.text_input("Name", key="persona-name", max_chars=80, placeholder="For example: likes crime, reads French")
    st.button("Save as new", key="add-persona", type="secondary" if loaded else "primary", on_click=_add, args=(dataset_id, run.id, names))


@action
def _add(dataset_id: str, run_id: str, names: Names) -> None:
    name = (st.session_state.get("persona-name") or "").strip()
    if not name:
        notify("A persona needs a name.", "warning")
        return
    answers = answers_state.read(names)
    persona = state.workspace().add_persona(name, dataset_id, _as_values(run_id, answers), skipped(answers))
    st.session_state["persona-name"] = ""
    state.remember(persona=persona.id)
    _saved(persona)


@action
def _update(persona_id: str, run_id: str, names: Names) -> None:
    answers = answers_state.read(names)
    persona = state.workspace().change_persona(persona_id, _as_values(run_id, answers), skipped(answers))
    _saved(persona)


def _saved(persona: Any) -> None:
    """Told when the panel is drawn next; what was open is shut by then."""
    st.session_state[_SAVED] = persona.name
    st.session_state[_TIMES] = st.session_state.get(_TIMES, 0) + 1


def _as_values(run_id: str, answers: Answers) -> dict[str, float]:
    said = told(answers)
    return dict(zip((item for item, _ in said), values_of(run_id, said), strict=True))


@action
def _load(persona_id: str, run_id: str, names: Names) -> None:
    persona, scale = state.workspace().persona(persona_id), scale_of(run_id)
    least = scale.threshold if scale.has_ratings and scale.threshold is not None else 1e-9
    answers = {item: "like" if value >= least else "not" for item, value in persona.answers.items()} | dict.fromkeys(
        persona.skipped, "unknown"
    )
    kept = {item: said for item, said in answers.items() if names.code(item) >= 0}
    answers_state.replace(kept, persona.id)
    if len(kept) < len(answers):
        notify(f"{count(len(answers) - len(kept), 'answer')} of {md(persona.name, 60)} about items this dataset does not have.", "info")


def _row(persona: Any, run: Any, names: Names) -> None:
    loaded = persona.id == state.current("persona")
    with st.container(horizontal=True, vertical_alignment="center", wrap=False, gap="xsmall", key=f"persona-{persona.id}"):
        with st.container(width="stretch"):
            st.button(
                f"**{md(persona.name, 44)}**" if loaded else md(persona.name, 44), key=f"load-{persona.id}", type="tertiary", wrap=False,
                icon=":material/person_check:" if loaded else ":material/person:", on_click=_load, args=(persona.id, run.id, names),
                help=f"Load {md(persona.name, 120)}: {count(len(persona.items), 'answer')}, saved {ago(persona.created)}.",
            )  # fmt: skip
        chosen = st.menu_button(
            "More", ["Rename", "Delete"], key=f"more-{persona.id}", type="tertiary", help="Rename or delete this persona"
        )
    if chosen == "Rename":
        rename_dialog("persona", persona.name, lambda name: state.workspace().rename_persona(persona.id, name))
    elif chosen == "Delete":
        confirm_delete("persona", persona.name, [], lambda: state.workspace().delete_persona(persona.id))


# ---- files ---------------------------------------------------------------------------------------------
def file_name(*parts: str) -> str:
    """ "new user-Films" -> "new-user-Films.csv": a name any file system takes."""
    plain = "-".join(re.sub(r"[^\w.-]+", "-", part, flags=re.UNICODE).strip("-.") for part in parts)
    return f"{plain[:120] or 'lists'}.csv"


def list_download(dataset_id: str, shown: Sequence[tuple[Any, Listed]], names: Names) -> None:
    """The lists on the page, as they stand."""
    personas = {one.id: one.name for one in state.workspace().personas(dataset_id)}
    who = personas.get(state.current("persona") or "", "new user")
    download(
        "These lists as CSV", lambda: lists_csv(shown, names, who), file_name("lists", who, state.workspace().dataset(dataset_id).name),
        key="download-list", help="One row an item: who, recommender, rank, item, title, score.",
    )  # fmt: skip


def lists_csv(shown: Sequence[tuple[Any, Listed]], names: Names, who: str) -> str:
    """In the columns of `serving.persona_lists`."""
    rows = [
        (who, rank, item, names.title(item) if names.has_titles else "", score, run.name)
        for run, found in shown
        for rank, (item, score) in enumerate(zip(found.items, found.scores, strict=True), start=1)
    ]
    frame = pd.DataFrame(rows, columns=["persona", "rank", "item", "title", "score", "run"])
    return safe_frame(frame).to_csv(index=False, lineterminator=LINE_END)


def _download_all(dataset_id: str, runs: Sequence[Any], found: Sequence[Any]) -> None:
    client, workspace, ids = state.scorer(), state.workspace(), [run.id for run in runs]  # the click is answered outside of the page

    def build() -> str:
        try:
            return persona_lists(client, workspace, ids, found).csv()
        except WorkbenchError as error:
            return f"The lists could not be made: {error.message} {error.hint}\n"

    download(
        f"Lists of {count(len(found), 'persona')} as CSV", build, file_name("lists-of-personas", workspace.dataset(dataset_id).name),
        key="download-personas", help="The lists of all personas of this dataset by the recommenders chosen above, in one file.",
    )  # fmt: skip
