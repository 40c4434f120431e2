"""Read a result: is the split sound, what came out, was it looked at too early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.evaluation.ab import Effect, Experiment, experiment, former_differs, guess_roles, looks, readout, sample_ratio

from . import charts, interval_charts
from .ab_file import chosen_file, column
from .components import card, download, metric_row, warnings_box
from .text import md

ABOUT = (
    "One row for each user, or for each visit: who, which group, and what they did (columns of numbers: 0 and 1, counts or amounts). "
    "If you have them, a value from before the test makes the result sharper, and a date shows how it came about."
)


def read_tab() -> None:
    """From the file to the verdict."""
    frame = chosen_file("abfile", "Result file of a test", ABOUT)
    if frame is None:
        return
    chosen = _columns(frame)
    if chosen is None:
        return
    found: Experiment = _experiment(frame, **chosen)
    _split(found)
    level = 0.95
    effects = readout(found, level=level)
    _verdicts(effects, found)
    if "day" in found.users:
        _by_day(found, level)


def _columns(frame: pd.DataFrame) -> dict[str, Any] | None:
    guess, names = guess_roles(frame), [str(c) for c in frame.columns]
    with card("What is in the columns?"):
        with st.grid(4, min_column_width=190):
            user = column("User", "ab-user", names, guess["user"], help="Who: a user's rows are added up.")
            variant = column("Group", "ab-variant", names, guess["variant"], help="Which version the user saw.")
            before = column(
                "Value before the test",
                "ab-before",
                names,
                guess["before"],
                optional=True,
                help="The same kind of figure from before the test (CUPED).",
            )
            time = column("Date", "ab-time", names, guess["time"], optional=True, help="Days the result is shown by.")
        rest = [n for n in names if n not in (user, variant, before, time)]
        outcomes = st.multiselect(
            "Outcomes", rest, default=[c for c in guess["outcomes"] if c in rest][:4], key=f"ab-outcomes-{hash(tuple(names)) & 0xFFFF}",
            help="What the groups are compared in. Several are corrected for (Holm).",
        )  # fmt: skip
        if not outcomes:
            st.info("Choose at least one outcome.", icon=":material/info:")
            return None
        groups = sorted({str(v).strip() for v in frame[variant].dropna().unique()[:50]} - {""})
        if st.session_state.get("ab-control", "") not in ("", *groups):  # of another file or column
            st.session_state["ab-control"] = ""
        control = st.selectbox(
            "Control group",
            ["", *groups],
            format_func=lambda v: v or "Find out",
            key="ab-control",
            help="What the others are compared with.",
        )
    return {"user": user, "variant": variant, "outcomes": outcomes, "before": before, "time": time, "control": control or None}


def _experiment(frame: pd.DataFrame, **chosen: Any) -> Experiment:
    return experiment(frame, **chosen)


def _split(found: Experiment) -> None:
    with st.container(border=True, key="ab-split"):
        st.subheader("Is the split sound?", anchor=False)
        metric_row({f"Users in '{md(name, 40)}'": f"{n:,}" for name, n in found.sizes.items()})
        with st.expander("The groups were not meant to be equal", icon=":material/percent:"), st.grid(4, min_column_width=140):
            shares = {
                name: st.number_input(
                    md(name, 40),
                    0.1,
                    100.0,
                    100.0 / len(found.sizes),
                    key=f"ab-planned-{name}",
                    format="%g",
                    help="Planned share in percent.",
                )
                for name in found.sizes
            }
        check = sample_ratio(found, shares)
        (st.error if check.broken else st.success)(
            md(check.sentence()), icon=":material/error:" if check.broken else ":material/check_circle:"
        )
        warnings_box([former_differs(found)] if former_differs(found) else [])
        for note in found.notes:
            st.caption(f":material/info: {md(note)}")


def _verdicts(effects: list[Effect], found: Experiment) -> None:
    with st.container(border=True, key="ab-verdicts"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("What came out?", anchor=False, width="stretch")
            download("Download the table", lambda: _table(effects).to_csv(index=False), "ab-result.csv", key="ab-download")
        for effect in effects:
            icon = (
                ":material/trending_flat:"
                if not effect.clear
                else ":material/trending_up:"
                if effect.difference > 0
                else ":material/trending_down:"
            )
            st.markdown(f"{icon} {md(effect.sentence())}")
        percent = [e for e in effects if np.isfinite(e.relative[0])]
        if percent:
            names = [f"{e.variant}: {e.outcome}" if len(found.variants) > 2 else e.outcome for e in percent]
            values, low, high = (100 * np.array([e.relative[i] for e in percent]) for i in range(3))
            fig = interval_charts.intervals([charts.plain(n) for n in names], values, low, high, "Difference to control (%)")
            charts.show(
                fig, "By how much do the groups differ?", key="ab-forest", note="Lines are 95 % intervals; one that crosses 0 is not clear."
            )
        st.dataframe(
            _table(effects),
            hide_index=True,
            key="ab-table",
            alt="Every outcome and group with interval and p-value",
            column_config={name: st.column_config.NumberColumn(format="%.3g") for name in _table(effects).select_dtypes("number").columns},
        )
        cut = [e.variance_cut for e in effects if e.variance_cut is not None]
        if cut:
            st.caption(
                f":material/compress: The value from before the test explains up to {100 * max(cut):.0f} % of how users differ; "
                "taking it out makes the intervals narrower (CUPED), and the difference is what is left between the means without it."
            )


def _table(effects: list[Effect]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Outcome": e.outcome, "Group": e.variant, "Mean": e.mean_variant, f"Mean of {e.control}": e.mean_control,
                "Difference": e.difference, "From": e.low, "To": e.high, "p": e.p_value, "p (Holm)": e.p_adjusted, "Test": e.method,
            }
            for e in effects
        ]
    )  # fmt: skip


def _by_day(found: Experiment, level: float) -> None:
    with st.container(border=True, key="ab-days"):
        st.subheader("Was it looked at too early?", anchor=False)
        with st.grid(3, min_column_width=200):
            outcome = st.selectbox("Outcome", found.outcomes, key="ab-day-outcome")
            variant = st.selectbox("Group", found.variants[1:], key="ab-day-variant")
            planned = st.number_input("Users planned in all", 0, None, 0, key="ab-day-planned", help="From your plan; 0: there was none.")
        running = looks(found, outcome, variant, level=level, planned=int(planned) or None)
        if len(running.days) < 2:
            st.caption("All users came on one day: there is nothing to see by day.")
            return
        warnings_box([running.warning()] if running.warning() else [])
        fig = interval_charts.band(running.days, running.difference, running.low, running.high, "Day", f"Difference in {outcome} so far")
        note = "As it would have read at the end of each day. Early intervals wander; only the last one, at the planned end, counts."
        note += " The value from before the test is not taken out here." if found.has_former else ""
        charts.show(fig, "How did the difference settle?", key="ab-days-chart", note=note)
