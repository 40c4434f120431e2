"""What lives as long as the server process: imports paid once, the job dispatcher, the warm scorer."""

from __future__ import annotations

import gc
import importlib
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from recsys_core.errors import WorkbenchError

log = logging.getLogger("workbench.ui")
# What pages need, imported before the first visitor (never torch, implicit or scikit-learn).
WARM = (
    *("pandas", "pyarrow.parquet", "plotly.graph_objects", "scipy.sparse", "scipy.special", "recsys_core.evaluation"),
    *("ui.components", "ui.charts", "ui.forms", "ui.jobs", "ui.train_submit", "ui.compare_tabs", "ui.compare_table"),
    *("recsys_core.tuning", "ui.tune_setup", "ui.tune_study", "ui.diversity_work", "ui.new_users_try", "ui.new_users_shots"),
)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Given to `st.App`. Streamlit collects all garbage after every run: freezing what is imported makes that cheap."""
    for name in WARM:
        importlib.import_module(name)
    from recsys_core import registry
    from ui import state

    for kind in ("model", "metric", "splitter", "reranker"):
        registry.all_of(kind)
    dispatcher = state.dispatcher()
    threading.Thread(target=_warm_scorer, args=(state.scorer(),), name="warm-scorer", daemon=True).start()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        dispatcher.stop()
        state.scorer().stop()


def _warm_scorer(client: Any) -> None:
    """Start the scorer process while the first page is read; pages start it themselves if this fails."""
    try:
        client.start()
    except WorkbenchError as error:
        log.warning("%s", error)
