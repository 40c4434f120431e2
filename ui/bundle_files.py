"""The bundles that are kept in the workspace: download, report, rename, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from . import state
from .bundle_report import parity_report
from .components import card, confirm_delete, download, rename_dialog
from .live_data import services
from .text import ago, md, size

SHOWN = 6


def bundles_card(runs: Sequence[Any], run_id: str) -> None:
    """The bundles of these runs, those of the chosen one first, newest first; the first report lies open."""
    ids = {run.id for run in runs}
    found = [entry for entry in state.workspace().bundles() if entry.run_id in ids]
    found.sort(key=lambda entry: entry.run_id != run_id)
    with card("Bundles", "Bundles of this dataset's results, kept in the workspace."):
        if not found:
            st.caption("No bundle yet.")
            return
        everything = len(found) <= SHOWN or st.toggle(f"Show all {len(found)} bundles", key="bundle-all")
        for place, entry in enumerate(found if everything else found[:SHOWN]):
            _entry(entry, unfolded=place == 0)


def _entry(entry: Any, *, unfolded: bool) -> None:
    with st.container(border=True, key=f"bundle-{entry.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{md(entry.name, 80)}**", width="stretch")
            if entry.file.exists():
                read = entry.file.read_bytes
                download("Download", read, entry.file_name, key=f"bundle-download-{entry.id}", mime="application/zip", primary=unfolded)
            else:
                st.caption("Its file is gone.")
            if st.button("Rename", key=f"bundle-rename-{entry.id}", icon=":material/edit:", type="tertiary"):
                rename_dialog("bundle", entry.name, lambda name: state.workspace().rename(entry.id, name))
            if st.button("Delete", key=f"bundle-delete-{entry.id}", icon=":material/delete:", type="tertiary"):
                confirm_delete("bundle", entry.name, _lost_with(entry), lambda: state.workspace().delete(entry.id))
        users = "with users' histories" if entry.request.get("with_users", True) else "without users"
        facts = [str(entry.manifest.get("run_name", "a deleted run")), users, size(entry.manifest.get("bytes")), ago(entry.created)]
        st.caption(md(" · ".join(facts)))
        with st.expander(
            "What it keeps of the trained model", expanded=unfolded, key=f"bundle-report-{entry.id}", icon=":material/fact_check:"
        ):
            if entry.report:
                parity_report(entry.report, entry.id)
            else:  # a bundle with newer events: the lists are meant to differ from the trained model's
                st.markdown(md(str((entry.manifest.get("updated") or {}).get("sentence", ""))))
                st.caption("Its lists are not held against those of the trained model: it knows what happened since.")
            st.caption(f"Fingerprint `{md(entry.fingerprint)}`. Who opens the file elsewhere can ask for exactly this one.")
            st.code(f"python -m recsys_core serve --bundle {entry.file_name}", language="bash")


def _lost_with(entry: Any) -> list[str]:
    """What goes with it."""
    return ["Its service on the page Live, with all events it was told"] if services().find(entry.id) is not None else []
