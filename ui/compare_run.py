"""One result on the Compare page: what "auto" became, what was learnt, rename, delete, the ways on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.params import fields

from . import navigation, state
from .components import rename_dialog, run_picker
from .feature_findings import feature_findings
from .fusion_findings import RUN, fusion_findings, title_of
from .home_parts import delete_entry
from .new_users_shots_note import pays_line
from .text import ago, duration, md, number, size
from .train_features import trained_otherwise


def run_card(runs: Sequence[Any]) -> None:
    """A card about one of the chosen results."""
    with st.container(border=True, key="one-result"):
        st.subheader("About one result", anchor=False)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            run_id = run_picker(runs, key="about-run", label="Result")
            run = next(run for run in runs if run.id == run_id)
            rename = st.button("Rename", key="rename-run", icon=":material/edit:")
            delete = st.button("Delete", key="delete-run", icon=":material/delete:")
        facts = [
            f"{run.manifest.get('label', run.model_key)}",
            f"trained {ago(run.created)} in {duration(run.manifest.get('fit_seconds'))}",
            f"seed {run.spec.get('seed')}",
            f"{size(run.size_bytes)} on disk",
        ]
        st.caption(md(" · ".join(facts)))
        if said := trained_otherwise(run):
            st.caption(f":material/history: {md(said)}")
        steps = run.findings.get("steps") or []
        for note in run.notes:
            if note not in steps:  # said below, as steps
                st.markdown(f":material/info: {md(note)}")
        pays_line(run)
        fusion_findings(run)
        feature_findings(run)
        frame = settings_table(run)
        if len(frame):
            st.dataframe(
                frame,
                hide_index=True,
                key=f"settings-{run.id}",
                height="auto" if len(frame) <= 12 else 440,
                alt="Settings of this result, as asked and as used",
                column_config={
                    "setting": st.column_config.TextColumn("Setting", width="medium"),
                    "asked": st.column_config.TextColumn("Asked for", width="small"),
                    "used": st.column_config.TextColumn("Used", width="medium", help="What 'choose for me' became on this data."),
                },
            )
        with st.container(horizontal=True):
            navigation.link("inspect", "Look at single users", icon=":material/person_search:", dataset=run.dataset_id, runs=[run.id])
            icon = navigation.PAGES["diversity"][1]
            navigation.link("diversity", "Shape its lists", icon=icon, dataset=run.dataset_id, run=run.id)
            navigation.link("export", "Export its lists", icon=":material/download:", dataset=run.dataset_id, run=run.id)
    if rename:
        rename_dialog("result", run.name, lambda name: state.workspace().rename(run.id, name))
    if delete:
        delete_entry("result", run)


def settings_table(run: Any) -> pd.DataFrame:
    """Rows setting, asked, used; parameters a model no longer knows are shown by their key."""
    asked, used = run.spec.get("params") or {}, run.resolved
    try:
        described = {f.name: f for f in fields(registry.get("model", run.model_key).Params)}
    except NotFound:
        described = {}
    rows = []
    for name in [*described, *(n for n in used if n not in described)]:
        field = described.get(name)
        label = field.label if field else name
        rows.append((label, _text(asked.get(name, field.default if field else "")), _text(used.get(name, ""))))
    return pd.DataFrame(rows, columns=["setting", "asked", "used"])


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if value == "auto":
        return "choose for me"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value, 4)
    if isinstance(value, str) and value.startswith(RUN):
        return title_of(value)
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{_text(name)}: {_text(part)}" for name, part in value.items()) or "defaults"
    return str(value)
