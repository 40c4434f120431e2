"""Verdicts: every pair of results on the same users, corrected for their number, in words and as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.evaluation import Difference, GroupVerdict

from . import charts, compare_intervals
from .compare_data import differences_to
from .compare_groups import pairs, picker, verdict_of
from .compare_views import View
from .components import download
from .text import count, listing, md

RULE = (
    "Clear means both: the 95 % interval of the difference does not hold 0, and the p-value of the paired t-test, corrected by "
    "Holm's method for all comparisons made here, is below 0.05."
)

EFFECT_HELP = "The mean difference beside how much users differ in it (Cohen's d): below 0.2 very small, 0.5 small, 0.8 medium."
WILCOXON_HELP = (
    "Signed-rank test, users without a difference handled as Pratt proposed; not corrected. It decides nothing: it asks about the "
    "typical user, not about the mean."
)


def verdicts(view: View) -> None:
    """Against the baseline, every pair, and two results by kind of user."""
    if len(view.runs) < 2:
        st.caption("Choose two or more results to compare them.")
        return
    found = pairs(view.runs, view.name)
    if not found:
        st.caption(f"{md(view.label)} has no value for each user, so that nothing can be said of chance. Choose another measure above.")
        return
    _forest(view)
    st.space("small")
    _table(view, found)
    st.space("small")
    _closer(view)


def _forest(view: View) -> None:
    """Every result against the baseline: the family of comparisons of the leaderboard."""
    baseline = view.baseline or view.runs[-1]
    gaps = differences_to(view.runs, baseline, view.name)
    shown = [(run, gaps[run.id]) for run in view.runs if run.id in gaps]
    if not shown:
        return
    better = [view.look(run).name for run, gap in shown if gap.better == gap.name_b]
    worse = [view.look(run).name for run, gap in shown if gap.better == gap.name_a]
    who = (
        f"{md(listing(better, 3))} {'is' if len(better) == 1 else 'are'} clearly better than {md(view.look(baseline).name)}"
        if better
        else f"none is clearly better than {md(baseline.name)}"
    )
    who += f", {count(len(worse), 'other')} worse" if worse else ""
    fig = compare_intervals.forest([view.look(run).label for run, _ in shown], [gap for _, gap in shown], view.label)
    note = (
        f"Difference to the baseline with its 95 % interval, user by user. Filled: clear, corrected for {count(len(shown), 'comparison')}."
    )
    charts.show(fig, f"Who is better, and by how much? {who}", key="forest", note=note)


def _table(view: View, found: Sequence[Difference]) -> None:
    names = {run.id: run.name for run in view.runs}
    frame = pairs_frame(found, names)
    clear = int(frame["clear"].sum())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Which differences are more than chance? {clear} of {count(len(frame), 'pair')}**", width="stretch")
        download("Download as CSV", lambda: pairs_csv(frame), "verdicts.csv", key="download-verdicts", help="All pairs with all figures.")
    text, figure = st.column_config.TextColumn, st.column_config.NumberColumn
    st.dataframe(
        frame,
        hide_index=True,
        key=f"pairs-{view.name}-{len(frame)}",
        height="auto" if len(frame) <= 12 else 460,
        alt="Every pair of results with the difference, its interval and its tests",
        column_config={
            "better": text("Ahead", width=150, pinned=True),
            "worse": text("Behind", width=150),
            "verdict": text("Verdict", help=RULE),
            "relative": figure("Difference", format="%+.1f %%", help="In percent of the one that is behind."),
            "interval": text("Its interval", help="95 % bootstrap interval, worked out user by user; not corrected."),
            "effect": text("Effect", help=EFFECT_HELP),
            "wins": text("Users won, lost, tied", help="For how many users each of the two is better."),
            "p_holm": text("p, corrected", help="Paired t-test, corrected by Holm's method for all pairs of this table."),
            "p_value": text("p, t-test", help="Paired t-test, not corrected."),
            "p_wilcoxon": text("p, Wilcoxon", help=WILCOXON_HELP),
            "clear": None,
        },
    )
    st.caption(f"{RULE} More comparisons at once need stronger evidence: a pair may be clear against the baseline and not clear here.")


def pairs_frame(found: Sequence[Difference], names: Mapping[str, str]) -> pd.DataFrame:
    """One row a pair, the clearest first."""
    rows = [
        {
            "better": names[d.name_b if _b_ahead(d) else d.name_a],
            "worse": names[d.name_a if _b_ahead(d) else d.name_b],
            "verdict": "Clear" if d.clear else "No clear difference",
            "relative": 100 * d.relative if np.isfinite(d.relative) else None,
            "interval": d.amount(signed=False).partition(" (")[2].rstrip(")"),
            "effect": f"{d.effect} ({d.effect_size:+.2f})",
            "wins": " / ".join(f"{n:,}" for n in ((d.wins, d.losses, d.ties) if _b_ahead(d) else (d.losses, d.wins, d.ties))),
            "p_holm": p_text(d.p_holm),
            "p_value": p_text(d.p_value),
            "p_wilcoxon": p_text(d.p_wilcoxon),
            "clear": d.clear,
        }
        for d in sorted(found, key=lambda d: (not d.clear, d.p_holm if np.isfinite(d.p_holm) else 2.0))
    ]
    return pd.DataFrame(rows)


def _b_ahead(d: Difference) -> bool:
    """As pairs are given best first, it is but for users only one of the two was measured on."""
    return d.difference == 0 or (d.difference > 0) == d.higher_is_better


def pairs_csv(frame: pd.DataFrame) -> str:
    from recsys_core.store.spreadsheet import safe_frame

    return safe_frame(frame).to_csv(index=False)


def p_text(p: float) -> str:
    if not np.isfinite(p):
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def _closer(view: View) -> None:
    """Two results, by kind of user."""
    st.markdown("**Is it so for all users?**")
    by_id = {run.id: run for run in view.runs}
    with st.grid(3, min_column_width=230, gap="medium"):
        b = _pick("Result", by_id, 0, "verdict-b")
        rest = {run_id: run for run_id, run in by_id.items() if run_id != b}
        a = _pick("Held against", rest, 0, "verdict-a")
        key = picker(view.group, "user", "Part users by", "verdict-by")
    found = verdict_of(view.group, by_id[a], by_id[b], key, view.name)
    st.markdown(md(found.sentence()))
    told = [group for group in found.groups if group.difference is not None]
    if not told:
        st.caption("No group has enough users to tell.")
        return
    title = f"Where is {md(view.looks[b].name)} ahead? {_where(told, view.looks[b].name)}"
    names = [charts.plain(f"{group.name} · {count(group.n_users, 'user')}") for group in told]
    fig = compare_intervals.forest(names, [group.difference for group in told], view.label)
    note = f"Filled: clear after correction for {count(len(told), 'group')}. The sentence over all users is one comparison."
    charts.show(fig, title, key="forest-groups", note=note)


def _pick(label: str, runs: Mapping[str, Any], at: int, key: str) -> str:
    options = list(runs)
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    return st.selectbox(label, options, index=at, format_func=lambda i: runs[i].name if i in runs else str(i), key=key)


def _where(told: Sequence[GroupVerdict], name: str) -> str:
    won = [md(g.said) for g in told if g.difference.clear and g.difference.better == g.difference.name_b]
    lost = [md(g.said) for g in told if g.difference.clear and g.difference.better == g.difference.name_a]
    if not won and not lost:
        return "In no group is it clear"
    if len(won) == len(told):
        return "In every group"
    parts = [f"for {listing(won, 3)}"] if won else []
    parts += [f"behind for {listing(lost, 3)}"] if lost else []
    return "; ".join(parts)[:1].upper() + "; ".join(parts)[1:]
