"""The parts pages are made of. Each draws itself and returns a plain value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st

from . import navigation, state
from .errors import action, error_box, guard, guarded, notify
from .text import count, md, score, size

__all__ = [
    "action", "card", "confirm_delete", "dataset_picker", "disk_use", "download", "empty_state", "error_box", "guard", "guarded",
    "metric_row", "notify", "page_header", "protocol_card", "rename_dialog", "run_label", "run_picker", "runs_picker", "warnings_box",
]  # fmt: skip


def page_header(title: str, subtitle: str = "") -> None:
    """Every page starts with it: title and one sentence of what the page is for."""
    st.title(title, anchor=False)
    if subtitle:
        st.markdown(f":gray[{subtitle}]")


@contextmanager
def card(title: str = "", help: str = "", *, key: str | None = None, stretch: bool = False):
    """`with card("Title", "One sentence."): ...` - a bordered box."""
    with st.container(border=True, key=key, height="stretch" if stretch else "content"):
        if title:
            st.subheader(title, anchor=False)
        if help:
            st.caption(help)
        yield


def empty_state(
    title: str, text: str, button: str = "", page: str = "", *, key: str = "empty", icon: str = ":material/inbox:", **ids: str | None
) -> None:
    """What a page shows when there is nothing to show: why, and the button to what comes first."""
    with st.container(border=True, horizontal_alignment="center", key=f"{key}-box"):
        st.space("small")
        st.markdown(f"### {icon} {title}", width="content", text_alignment="center")
        st.markdown(text, width="content", text_alignment="center")
        if button:
            navigation.next_button(button, page, key=f"{key}-button", **ids)
        st.space("small")


def metric_row(figures: Mapping[str, Any] | Iterable[tuple], *, min_width: int = 130) -> None:
    """A row of figures that wraps on narrow screens: {"Users": "671"} or (label, value, help) tuples."""
    rows = [(k, v, None) for k, v in figures.items()] if isinstance(figures, Mapping) else [(*row, None)[:3] for row in figures]
    with st.grid(max(1, min(len(rows), 6)), min_column_width=min_width):
        for label, value, help_text in rows:
            st.metric(label, value, help=help_text, border=True, height="stretch")


def warnings_box(sentences: Sequence[str], *, intro: str = "") -> None:
    """Warnings of the core, in words."""
    if sentences:
        body = md(sentences[0]) if len(sentences) == 1 and not intro else "\n".join(f"- {md(s)}" for s in sentences)
        st.warning(f"{intro}\n\n{body}" if intro else body, icon=":material/warning:")


def download(
    label: str,
    data: bytes | str | Callable[[], bytes | str],
    file_name: str,
    *,
    key: str,
    mime: str = "text/csv",
    primary: bool = False,
    help: str | None = None,
) -> None:
    """A download button; give a function to build the file only when it is clicked."""
    st.download_button(
        label,
        data,
        file_name,
        mime,
        key=key,
        icon=":material/download:",
        on_click="ignore",
        type="primary" if primary else "secondary",
        help=help,
    )


# ---- choosing ------------------------------------------------------------------------------------
def dataset_picker(key: str = "dataset_picker", label: str = "Dataset", *, need: str = "") -> str | None:
    """Choose a dataset; kept in the URL. Draws the empty state and returns None when there is none."""
    records = state.workspace().datasets()
    if not records:
        text = need or "Bring in a file of interactions first, or try the sample data."
        empty_state("No datasets yet", text, "Go to Data", "data", key=f"{key}_empty", icon=":material/table_view:")
        return None
    names = {r.id: r.name for r in records}
    state.follow_url("dataset", key, list(names), records[0].id)
    chosen = st.selectbox(
        label, list(names), format_func=lambda i: names.get(i, i), key=key, help="Everything on this page is about this dataset."
    )
    state.remember(dataset=chosen)
    return chosen


def run_label(run: Any) -> str:
    """How a run is called everywhere: its name."""
    return run.name


def run_picker(runs: Sequence[Any], key: str = "run_picker", label: str = "Run") -> str | None:
    """Choose one of these runs; kept in the URL as `run`."""
    if not runs:
        return None
    names = {r.id: run_label(r) for r in runs}
    state.follow_url("run", key, list(names), next(iter(names)))
    chosen = st.selectbox(label, list(names), format_func=lambda i: names.get(i, i), key=key)
    state.remember(run=chosen)
    return chosen


def runs_picker(
    runs: Sequence[Any], key: str = "runs_picker", label: str = "Runs", *, most: int = 0, default: int = 4, help: str | None = None
) -> list[str]:
    """Choose several runs; kept in the URL as `runs`. most: how many at most (0: any)."""
    names = {r.id: run_label(r) for r in runs}
    wanted = state.current_list("runs", list(names)) or list(names)[:default]
    if most:
        wanted = wanted[:most]
    seen = f"_seen_{key}"
    kept = [r for r in st.session_state.get(key, []) if r in names]
    if key not in st.session_state or (wanted != st.session_state.get(seen) and state.current("runs")) or kept != st.session_state[key]:
        st.session_state[key] = wanted
    chosen = st.multiselect(label, list(names), format_func=lambda i: names.get(i, i), key=key, max_selections=most or None, help=help)
    st.session_state[seen] = list(chosen)
    state.remember(runs=chosen)
    return chosen


# ---- facts ---------------------------------------------------------------------------------------
def protocol_card(facts: Mapping[str, Any], notes: Sequence[str] = (), *, title: str = "How these figures were made") -> None:
    """The protocol beside every result table: what was held out, how, who was skipped and why."""
    with st.expander(title, icon=":material/fact_check:"):
        st.table({md(k): md(v) for k, v in facts.items()}, border="horizontal", width="content")
        for note in notes:
            st.caption(md(note))


def disk_use(sizes: Mapping[str, int]) -> None:
    """One line: how much the workspace takes and of what."""
    parts = ", ".join(f"{name} {size(n)}" for name, n in sizes.items() if n and name != "total")
    total = sizes.get("total", 0)
    st.caption(f":material/hard_drive: The workspace uses {size(total)}{f' ({parts})' if parts else ''}.")


def best_line(name: str, metric: str, value: float) -> str:
    """Markdown: the best run so far."""
    return f"Best so far: **{md(name, 60)}** with {md(metric)} {score(value)}"


# ---- changing ------------------------------------------------------------------------------------
@st.dialog("Rename")
def rename_dialog(what: str, name: str, save: Callable[[str], Any]) -> None:
    """Ask for a new name, then `save(name)`."""
    new = st.text_input(f"New name of this {what}", value=name, max_chars=120, key="rename-name")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="rename-cancel"):
            st.rerun()
        if st.button("Save", type="primary", key="rename-save"):
            with guard():
                save(new.strip())
                st.rerun()


@st.dialog("Delete")
def confirm_delete(what: str, name: str, dependents: Sequence[str], delete: Callable[[], Any]) -> None:
    """Name what goes with it, then `delete()`."""
    st.markdown(f"Delete the {what} **{md(name, 80)}**? This cannot be undone.")
    if dependents:
        st.warning(f"{count(len(dependents), 'thing depends', 'things depend')} on it and will be deleted too:", icon=":material/warning:")
        more = [f"- … and {len(dependents) - 12} more"] if len(dependents) > 12 else []
        st.markdown("\n".join([f"- {md(d, 80)}" for d in dependents[:12]] + more))
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it", key="delete-cancel"):
            st.rerun()
        if st.button("Delete", type="primary", key="delete-confirm", icon=":material/delete:"):
            with guard():
                delete()
                state.forget_cached()
                st.rerun()
