"""Estimate from a log: what a recommender's lists would have earned, where the log says how likely each item was to be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.errors import BadInput
from recsys_core.evaluation.ab import OffPolicy, off_policy, read_numbers

from . import charts, interval_charts, state
from .ab_file import chosen_file, column
from .compare_data import groups_of
from .components import card, dataset_picker, empty_state, metric_row, runs_picker, warnings_box
from .text import count, md

ABOUT = (
    "One row for each time an item was shown: who, what, what came of it (0 or 1, or an amount), and the propensity: "
    "the chance, between 0 and 1, with which the system showed that item."
)


def log_tab() -> None:
    """Runs, file, columns, estimate."""
    dataset_id = dataset_picker(key="ab-log-dataset", need="Bring in a file and train a recommender first.")
    if not dataset_id:
        return
    groups = groups_of(state.workspace().runs(dataset_id))
    if not groups:
        empty_state(
            "No results yet", "Train a recommender on this dataset first.", "Train recommenders", "train", dataset=dataset_id, key="ab-log"
        )
        return
    frame = chosen_file("ablog", "Log of what was shown", ABOUT)
    if frame is None:
        return
    names = [str(c) for c in frame.columns]
    guess = {role: next((c for c in names if any(word in c.lower() for word in words)), None) for role, words in _WORDS.items()}
    with card("What is in the columns?"), st.grid(4, min_column_width=180):
        user = column("User", "ab-log-user", names, guess["user"], help="As in the dataset.")
        item = column("Item shown", "ab-log-item", names, guess["item"], help="As in the dataset.")
        reward = column("What came of it", "ab-log-reward", names, guess["reward"], help="0 or 1, or an amount.")
        chance = column("Propensity", "ab-log-chance", names, guess["chance"], help="The chance with which this item was shown.")
    runs = groups[0].runs[::-1]
    with st.container(border=True, key="ab-log-runs"):
        chosen = runs_picker(runs, key="ab-log-picked", label="Recommenders", default=3)
        k = st.select_slider(
            "Length of the lists", [1, 3, 5, 10, 20], 5, key="ab-log-k", help="Each item of a list is taken to be shown equally often."
        )
    found = {run.name: _estimate(frame, run, int(k), user, item, reward, chance) for run in runs if run.id in chosen}
    if found:
        _show(found)


_WORDS = {
    "user": ("user", "visitor", "customer", "client"),
    "item": ("item", "product", "movie", "article", "action", "shown"),
    "reward": ("reward", "click", "outcome", "conver", "value", "rating"),
    "chance": ("propens", "prob", "chance", "pscore"),
}


def _estimate(frame: pd.DataFrame, run: Any, k: int, user: str, item: str, reward: str, chance: str) -> tuple[OffPolicy, int]:
    """(estimate, rows left out because the run kept no list for their user)."""
    users, items = run.ids()
    top = run.topk()
    row_of = np.full(len(users), -1, dtype=np.int64)
    row_of[top.users] = np.arange(len(top))
    code = users.encode(frame[user].astype("string").fillna(""))
    row = np.where(code >= 0, row_of[np.maximum(code, 0)], -1)
    keep = row >= 0
    if keep.sum() < 2:
        rule = f"Only {int(keep.sum())} rows of the log are about users this run kept lists for."
        raise BadInput(rule, "Check the column of the users; ids must be those of the dataset.")
    numbers = {name: read_numbers(frame[name])[keep] for name in (reward, chance)}
    shown = items.encode(frame[item].astype("string").fillna(""))[keep]
    return off_policy(shown, numbers[reward], numbers[chance], top.items[row[keep], :k], users=row[keep]), int((~keep).sum())


def _show(found: dict[str, tuple[OffPolicy, int]]) -> None:
    first, left_out = next(iter(found.values()))
    with card("What would their lists have earned?"):
        metric_row({"Rows used": f"{first.n_rows:,}", "Earned by the log": f"{first.logged:.4g}", "Rows left out": f"{left_out:,}"})
        names = [charts.plain(name) for name in found]
        low, high = ([getattr(e, f"snips_{side}") for e, _ in found.values()] for side in ("low", "high"))
        fig = interval_charts.intervals(names, [e.snips for e, _ in found.values()], low, high, "Earned for each item shown", zero=False)
        fig.add_vline(x=first.logged, line_dash="dot", line_color=charts.MUTED)
        note = "Self-normalised estimate with its 95 % interval; the dotted line is what the log itself earned."
        charts.show(fig, "Which recommender would have earned more?", key="ab-log-chart", note=note)
        table = pd.DataFrame(
            [
                {
                    "Recommender": name, "Rows matched": e.n_matched, "Plain estimate (IPS)": e.ips, "Self-normalised (SNIPS)": e.snips,
                    "From": e.snips_low, "To": e.snips_high, "Mean weight": e.mean_weight, "Effective rows": e.effective_rows,
                }
                for name, (e, _) in found.items()
            ]
        )  # fmt: skip
        shown = {name: st.column_config.NumberColumn(format="%.4g") for name in table.select_dtypes("float").columns}
        st.dataframe(table, hide_index=True, key="ab-log-table", alt="Estimates of every recommender", column_config=shown)
        if left_out:
            st.caption(f":material/info: {count(left_out, 'row')} of users without a kept list (not in the test part) are left out.")
        warnings_box([f"{md(name, 40)}: {warning}" for name, (e, _) in found.items() for warning in e.warnings()])
