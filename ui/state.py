"""Where the app stands: the workspace on disk and the ids in the URL. Nothing else is state.

A link holds `dataset`, `run`, `runs` (comma separated) and `user`; opening it shows the same thing
again. The last ids of a session are remembered, so that moving between pages keeps them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

IDS = ("dataset", "run", "runs", "user")


def root() -> Path:
    """The workspace folder: environment variable RECSYS_WORKSPACE, else ./workspace."""
    return Path(os.environ.get("RECSYS_WORKSPACE") or "workspace").resolve()


def workspace() -> Any:
    """The `Workspace` all pages share."""
    return _workspace(str(root()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _workspace(folder: str) -> Any:
    from recsys_core.store.workspace import Workspace

    return Workspace(Path(folder))


def queue() -> Any:
    """The `JobQueue` all pages share."""
    return _queue(str(root()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _queue(folder: str) -> Any:
    from recsys_core.jobs import JobQueue

    return JobQueue(_workspace(folder))


def dispatcher() -> Any:
    """The thread that starts and reaps jobs; started by the app's lifespan, never by a page."""
    return _dispatcher(str(root()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _dispatcher(folder: str) -> Any:
    from recsys_core.jobs import Dispatcher

    return Dispatcher(_queue(folder)).start()


def scorer() -> Any:
    """The `ScorerClient` all pages share: live lists, explanations, similar items."""
    return _scorer(str(root()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _scorer(folder: str) -> Any:
    from recsys_core.serving.client import ScorerClient

    return ScorerClient(_workspace(folder))


# ---- ids in the URL ------------------------------------------------------------------------------
def current(name: str, allowed: Sequence[str] | None = None, default: str | None = None) -> str | None:
    """The id in the URL, else the last one of this session, else `default`. Unknown ids are passed over."""
    for value in (st.query_params.get(name), st.session_state.get(f"_id_{name}")):
        if value and (allowed is None or value in allowed):
            return value
    return default


def current_list(name: str, allowed: Sequence[str] | None = None) -> list[str]:
    """The ids of a comma-separated URL parameter that exist, in order, each once."""
    value = current(name) or ""
    return list(dict.fromkeys(part for part in value.split(",") if part and (allowed is None or part in allowed)))


def remember(**ids: str | Sequence[str] | None) -> None:
    """Put ids into the URL (and the session): `remember(dataset=…, runs=[…])`; None takes one out."""
    for name, value in ids.items():
        text = value if isinstance(value, str) or value is None else ",".join(value)
        if not text:
            st.session_state.pop(f"_id_{name}", None)
            if name in st.query_params:
                del st.query_params[name]
            continue
        st.session_state[f"_id_{name}"] = text
        if st.query_params.get(name) != text:
            st.query_params[name] = text


def follow_url(name: str, key: str, allowed: Sequence[str], default: Any = None) -> None:
    """Before drawing a selectbox with `key`: let it show the id of the URL when that changed (a link, Back)."""
    wanted = current(name, allowed, default)
    seen = f"_seen_{key}"
    if key not in st.session_state or st.session_state[key] not in allowed or (wanted != st.session_state.get(seen) and wanted in allowed):
        st.session_state[key] = wanted
    st.session_state[seen] = st.session_state[key]


# ---- cached reads --------------------------------------------------------------------------------
def dataset(dataset_id: str) -> Any:
    """The `Dataset` of an id: shared, read-only, at most four kept in memory."""
    return _dataset(str(root()), dataset_id)


@st.cache_resource(max_entries=4, show_spinner="Reading the dataset …")
def _dataset(folder: str, dataset_id: str) -> Any:
    return _workspace(folder).dataset(dataset_id).load()


def quality(dataset_id: str) -> dict[str, Any]:
    """The quality report of a dataset as plain values, for its charts; computed once, then read from disk."""
    with st.spinner("Measuring the dataset …", show_time=False):
        return workspace().dataset(dataset_id).quality()


def forget_cached() -> None:
    """After a deletion: drop cached datasets."""
    _dataset.clear()
