"""A saved dataset: what became of the rows, how good the data are, and the way on."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from . import navigation, state
from .components import dataset_picker, download, guard, metric_row, rename_dialog, warnings_box
from .data_charts import quality_charts
from .home_parts import delete_entry
from .text import ago, count, day, md, number, share, size

ROLES = {"user": "User", "item": "Item", "value": "Value", "event": "Event type", "time": "Time"}


def saved_dataset() -> None:
    """Choose a dataset and show all of it."""
    dataset_id = dataset_picker(key="data-dataset")
    if dataset_id is None:
        return
    entry = state.workspace().dataset(dataset_id)
    head(entry)
    for tab, draw in zip(st.tabs(list(TABS), key="part", on_change="rerun", bind="query-params"), TABS.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw(entry)


def quality_tab(entry: Any) -> None:
    """What became of the rows, and what is in them."""
    report = entry.report
    if report:
        warnings_box(report.get("warnings", []))
        with st.container(border=True):
            rows_table(entry, report)
    with guard():
        quality = state.quality(entry.id)
        warnings_box([w for w in quality.get("warnings", []) if w not in report.get("warnings", [])])
        quality_charts(entry.id, quality)
    tables(entry, report)


def head(entry: Any) -> None:
    """Name, size, what to do with it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(md(entry.name, 80), anchor=False)
        st.space("stretch")
        if st.button("Rename", key="rename-dataset", icon=":material/edit:"):
            rename_dialog("dataset", entry.name, lambda name: state.workspace().rename(entry.id, name))
        if st.button("Delete", key="delete-dataset", icon=":material/delete:"):
            delete_entry("dataset", entry)
        navigation.next_button("Train recommenders", "train", key="train-next", icon=":material/arrow_forward:", dataset=entry.id)
    stats, report = entry.stats, entry.report
    explicit = entry.manifest.get("feedback") == "explicit"
    threshold = entry.manifest.get("threshold")
    kind = (
        f"Ratings; liked from {number(threshold)} up"
        if explicit and threshold is not None
        else "Ratings"
        if explicit
        else "Things people did"
    )
    st.caption(f"{kind} · saved {ago(entry.created)} · {size(entry.size_bytes)} on disk")
    figures = [
        ("Users", count(stats.n_users), None),
        ("Items", count(stats.n_items), None),
        ("Interactions", count(stats.n_interactions), "Rows kept, after duplicates were merged."),
        ("Density", share(stats.density), "Which share of all user and item pairs occurs. The lower, the harder it is to learn."),
    ]
    if report.get("first_time"):
        figures += [
            ("First", day(report["first_time"]), "Time of the oldest interaction (UTC)."),
            ("Last", day(report["last_time"]), "Of the newest."),
        ]
    metric_row(figures)


def rows_table(entry: Any, report: dict[str, Any]) -> None:
    """Read = kept + merged + left out + rejected, with reasons and the rejects to download."""
    st.subheader("What became of the rows", anchor=False)
    left, right = st.columns([3, 2], gap="medium")
    reasons = [("Left out", r, n) for r, n in (report.get("filter_reasons") or {}).items()]
    reasons += [("Rejected", r, n) for r, n in sorted((report.get("reject_reasons") or {}).items(), key=lambda pair: -pair[1])]
    with left:
        rows = [
            ("Kept", report["rows_kept"], "in the dataset"),
            ("Merged", report["rows_merged"], "same user and item as another row"),
            ("Left out", report["rows_filtered"], "by the weights and limits you chose"),
            ("Rejected", report["rows_rejected"], "could not be read"),
        ]
        total = {"Rows": "Read", "Number": report["rows_read"], "Meaning": f"data rows of {report.get('source', 'the file')}"}
        table = pd.DataFrame([total] + [dict(zip(("Rows", "Number", "Meaning"), row, strict=True)) for row in rows])
        config = {"Number": st.column_config.NumberColumn(format="localized"), "Rows": st.column_config.TextColumn(width="small")}
        st.dataframe(table, hide_index=True, column_config=config, alt="Rows read, kept, merged, left out and rejected")
        if report.get("blank_lines"):
            st.caption(f"{count(report['blank_lines'], 'blank line')} not counted.")
    with right:
        if reasons:
            st.dataframe(
                pd.DataFrame(reasons, columns=["What", "Why", "Rows"]), hide_index=True, alt="Reasons for rows left out or rejected"
            )
        else:
            st.markdown(":green[No row was left out or rejected.]")
        if entry.rejects_path is not None:
            about = "A CSV with file, line, column, value and reason of every rejected row."
            download("Download rejected rows", _rejects(entry.rejects_path), f"{entry.name}-rejected.csv", key="rejects", help=about)
    with st.expander("How the file was read", icon=":material/fact_check:"):
        facts = {ROLES[role]: column for role, column in (report.get("columns") or {}).items() if column}
        st.table({f"{label} column": md(column) for label, column in facts.items()}, border="horizontal", width="content")
        for sentence in [report.get("time_note"), *(report.get("notes") or [])]:
            if sentence:
                st.caption(md(sentence))
        core = report.get("kcore")
        if core:
            gone = f"{count(core['rows'], 'row')}, {count(core['users'], 'user')} and {count(core['items'], 'item')}"
            st.caption(f"At least {core['min_user']} per user and {core['min_item']} per item: removed {gone}.")


def _rejects(path: Path):
    """Builds the plain CSV when the button is clicked."""
    return lambda: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def tables(entry: Any, report: dict[str, Any]) -> None:
    """What the item and user tables brought, and their first rows."""
    for side in ("item", "user"):
        joined, frame = report.get(f"{side}_join"), entry.table(side)
        if frame is None:
            continue
        with st.expander(f"{side.capitalize()} table", icon=":material/table_rows:"):
            if joined:
                missing = joined["ids_without_row"]
                st.markdown(
                    f"{count(joined['rows_joined'])} of {count(joined['rows_read'], 'row')} joined by {md(joined['id_column'])}. "
                    + (f"{count(missing, side)} without a row. " if missing else f"Every {side} has a row. ")
                    + (
                        f"{count(joined['rows_matching_nothing'], 'row')} matched no {side} of the interactions. "
                        if joined["rows_matching_nothing"]
                        else ""
                    )
                    + (f"{count(joined['rows_duplicated'], 'row')} repeated an id. " if joined["rows_duplicated"] else "")
                )
            st.dataframe(
                frame.head(200), hide_index=True, height=240, key=f"table-{side}-{entry.id}", alt=f"First rows of the {side} table"
            )


def features_part(entry: Any) -> None:
    from .data_features import features_tab

    features_tab(entry)


TABS = {"Quality": quality_tab, "Features": features_part}
