"""No page, fragment or callback ever shows a traceback: errors become one sentence and what to do."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from .text import md

log = logging.getLogger("workbench.ui")
UNEXPECTED = "Something went wrong while drawing this part of the page."
UNEXPECTED_HINT = "Nothing you saved is lost. Reload the page; if it happens again, the server log has the details."


def error_box(error: BaseException) -> None:
    """A WorkbenchError as its message and hint; anything else is logged and shown as one sentence."""
    if isinstance(error, WorkbenchError):
        hint = f"\n\n{md(error.hint)}" if error.hint else ""
        st.error(f"**{md(error.message)}**{hint}", icon=":material/error:")
        return
    log.error("unexpected error in a page", exc_info=error)
    st.error(f"**{UNEXPECTED}** {UNEXPECTED_HINT}", icon=":material/error:")


@contextmanager
def guard() -> Iterator[None]:
    """`with guard(): ...` draws an error box instead of raising. Streamlit's own rerun and stop pass through."""
    try:
        yield
    except Exception as error:  # the last net; rerun and stop signals are BaseException
        error_box(error)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same as a decorator, for fragments and dialogs."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with guard():
            return function(*args, **kwargs)

    return wrapper


def notify(text: str, kind: str = "success") -> None:
    """Leave a message for the top of the next page drawn: "success", "info", "warning" or "error"."""
    st.session_state.setdefault("_notices", []).append((kind, text))


def action(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for on_click / on_change callbacks: what goes wrong is shown at the top of the page."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except WorkbenchError as error:
            notify(f"**{md(error.message)}** {md(error.hint)}".strip(), "error")
        except Exception as error:
            log.error("unexpected error in a callback", exc_info=error)
            notify(f"**That did not work.** {UNEXPECTED_HINT}", "error")
        return None

    return wrapper


ICONS = {"success": ":material/check_circle:", "info": ":material/info:", "warning": ":material/warning:", "error": ":material/error:"}


def show_notices() -> None:
    """Draw and forget what `notify` left. The router calls it above every page."""
    for kind, text in st.session_state.pop("_notices", []):
        getattr(st, kind)(text, icon=ICONS[kind])


def on_script_error(error: BaseException) -> bool:
    """Last net, given to `st.App`: replaces Streamlit's traceback box."""
    error_box(error)
    return True
