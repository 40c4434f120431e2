"""Pages without a browser: an empty workspace a test, and a way to open a page in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest


@pytest.fixture
def workspace_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace folder of its own, which the pages opened in this test use."""
    root = tmp_path / "workspace"
    monkeypatch.setenv("RECSYS_WORKSPACE", str(root))
    monkeypatch.setenv("RECSYS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("RECSYS_DATA_DIR", raising=False)
    return root


@pytest.fixture
def open_page(workspace_root: Path, repo: Path) -> Callable[..., AppTest]:
    """open_page("data", dataset=…) -> the page, drawn; ids go into its URL."""

    def open_(name: str = "home", **query: str) -> AppTest:
        at = AppTest.from_file(str(repo / "ui" / "router.py"), default_timeout=30)
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        if name != "home":
            at.switch_page(f"../pages/{name}.py")
            for key, value in query.items():
                at.query_params[key] = value
            at.run()
        assert not at.exception, at.exception
        return at

    return open_


@pytest.fixture
def text_of() -> Callable[[AppTest], str]:
    """text_of(at) -> all words on the page, for "is it said?" checks."""
    kinds = ("title", "subheader", "markdown", "caption", "error", "warning", "info", "success")
    return lambda at: "\n".join(str(element.value) for kind in kinds for element in getattr(at, kind))
