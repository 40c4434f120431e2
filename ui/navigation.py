"""The pages and the ways between them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import streamlit as st

FOLDER = Path(__file__).resolve().parent.parent / "pages"
# name -> (title, icon, what the page is for)
PAGES: dict[str, tuple[str, str, str]] = {
    "home": ("Home", ":material/home:", "What is in this workspace and what to do next."),
    "data": ("Data", ":material/table_view:", "Bring in interaction files, check their quality, save them as datasets."),
    "train": ("Train", ":material/model_training:", "Choose recommenders and settings, train them, follow the jobs."),
    "tune": ("Tune", ":material/tune:", "Search for better settings of a recommender, use the best."),
    "compare": ("Compare", ":material/leaderboard:", "Which recommender is best on your data, and at what."),
    "inspect": ("Inspect", ":material/person_search:", "Look at the lists of single users and try out new ones."),
    "new_users": ("New users", ":material/person_add:", "Ask somebody new a few questions and watch the lists follow."),
    "diversity": ("Diversity", ":material/diversity_2:", "Shape lists for variety and see what it costs."),
    "live": ("Live", ":material/bolt:", "From a click to a changed list: a service to try, and how it does."),
    "export": ("Export", ":material/download:", "Download recommendations for your users."),
    "ab": ("A/B test", ":material/science:", "Plan a test on real users and read its result."),
}


def page(name: str) -> st.Page:
    """The page of a name of `PAGES`, for `st.switch_page` and `st.page_link`."""
    title, icon, purpose = PAGES[name]
    home = name == "home"
    return st.Page(FOLDER / f"{name}.py", title=title, icon=icon, url_path=None if home else name, default=home, help=purpose)


def pages() -> list[st.Page]:
    return [page(name) for name in PAGES]


def go(name: str, **ids: str | list[str] | None) -> NoReturn:
    """Open a page with ids in its URL: `go("compare", dataset=…, runs=[…])`."""
    st.switch_page(page(name), query_params=_query(ids))


def link(name: str, label: str | None = None, *, icon: str | None = None, **ids: str | list[str] | None) -> None:
    """A link to a page with ids in its URL."""
    st.page_link(page(name), label=label, icon=icon, query_params=_query(ids))


def next_button(label: str, name: str, *, key: str, primary: bool = True, icon: str | None = None, **ids: str | list[str] | None) -> None:
    """A button that opens a page."""
    if st.button(label, key=key, type="primary" if primary else "secondary", icon=icon):
        go(name, **ids)


def _query(ids: dict[str, str | list[str] | None]) -> dict[str, str]:
    return {name: ",".join(value) if isinstance(value, list | tuple) else str(value) for name, value in ids.items() if value}
