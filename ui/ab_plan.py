"""Plan a test: how many users, how many days, what a smaller difference would cost."""

from __future__ import annotations

import numpy as np
import streamlit as st

from recsys_core.evaluation.ab import Plan, plan_mean, plan_rate

from . import charts
from .components import metric_row
from .text import md

KINDS = {"rate": "A share of users, such as how many click", "mean": "A number for each user, such as what they spend"}


def plan_tab() -> None:
    """The form beside what it comes to."""
    form, outcome = st.columns([5, 7], gap="large")
    with form, st.container(border=True, key="ab-plan"):
        st.subheader("What do you want to find?", anchor=False)
        kind = st.radio("Outcome", list(KINDS), format_func=KINDS.get, key="ab-kind", persist_state="session")
        plan = _rate() if kind == "rate" else _mean()
    with outcome:
        metric_row(
            {
                "Users a group": f"{plan.users_per_group:,}",
                "Users in all": f"{plan.users:,}",
                "Days": "–" if plan.days is None else f"{plan.days:,}",
            }
        )
        st.markdown(md(plan.sentence()))
        lifts, users = plan.curve()
        scale = 100 if plan.kind == "rate" else 1
        label = "Smallest difference worth finding" + (" (percentage points)" if plan.kind == "rate" else "")
        fig = charts.lines({"Users a group": (scale * lifts, users)}, label, "Users a group", markers=False, digits=",.0f")
        fig.update_yaxes(type="log", dtick=1)
        fig.add_scatter(
            x=[scale * plan.lift],
            y=[plan.users_per_group],
            mode="markers",
            marker={"size": 12, "color": charts.accent(), "symbol": "circle"},
            hovertemplate="This plan<br>%{y:,} users a group<extra></extra>",
        )
        note = "Half the difference takes four times the users. Fix this number before the start and read the result once, at the end."
        charts.show(fig, "What would it take to find a smaller difference?", key="ab-plan-curve", note=note)


def _rate() -> Plan:
    baseline = _number("Share of users today (%)", "ab-rate", 5.0, 0.001, 99.9, help="What the control group does now: 5 % of users click.")
    lift = _number(
        "Smallest change worth finding (% of that)",
        "ab-lift",
        10.0,
        -99.9,
        900.0,
        help="10 % of a share of 5 % is half a percentage point; -10 % is a fall by as much.",
    )
    return plan_rate(baseline / 100, min(baseline * lift / 1e4, 0.9 * (1 - baseline / 100)), **_common())


def _mean() -> Plan:
    baseline = _number("Mean of a user today", "ab-mean", 20.0, None, None, help="What a user of the control group spends, on average.")
    spread = _number(
        "Standard deviation between users", "ab-spread", 30.0, 1e-9, None, help="How much users differ. A past export of the outcome tells."
    )
    lift = _number("Smallest change worth finding", "ab-mean-lift", 1.0, None, None, help="In the unit of the outcome; a fall has a minus.")
    return plan_mean(baseline, spread, lift, **_common())


def _common() -> dict[str, float | int | None]:
    groups = int(
        _number("Groups, control included", "ab-groups", 2, 2, 20, help="More groups need more users: each is compared with control.")
    )
    daily = _number("Users a day", "ab-daily", 1000.0, 0.0, None, help="New users that come by in a day. 0: not known.")
    share = st.slider("Share of them in the test (%)", 1, 100, 100, key="ab-share", persist_state="session")
    with st.expander("More settings", icon=":material/settings:"):
        power = st.slider(
            "Chance to find it (%)",
            50,
            99,
            80,
            key="ab-power",
            persist_state="session",
            help="Also called power: of tests of a difference this large.",
        )
        level = st.select_slider(
            "Certainty (%)",
            [80, 90, 95, 99],
            95,
            key="ab-level",
            persist_state="session",
            help="95: a test of nothing looks clear once in 20.",
        )
    return {"power": power / 100, "level": level / 100, "n_groups": groups, "daily_users": daily or None, "share": share / 100}


def _number(label: str, key: str, value: float, low: float | None, high: float | None, *, help: str) -> float:
    whole = isinstance(value, int)
    given = st.number_input(
        label, low, high, value, key=key, help=help, format="%d" if whole else "%g", persist_state="session", step=1 if whole else None
    )
    return float(np.float64(given if given is not None else value))
