"""Starts the workbench: `streamlit run app.py`.

A thin ASGI launcher: the screens live in `ui/router.py` and `pages/`. Once a process it imports what
the pages need, freezes it out of the garbage collector (Streamlit collects after every click), starts
the job dispatcher and warms the scorer.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ui.background import lifespan
from ui.errors import on_script_error


async def health(_: Request) -> JSONResponse:
    """For scripts that wait until the app is up."""
    return JSONResponse({"status": "ok"})


app = st.App(
    Path(__file__).with_name("ui") / "router.py",
    routes=[Route("/api/health", health)],
    lifespan=lifespan,
    on_script_error=on_script_error,
)

if __name__ == "__main__":
    app.run()
