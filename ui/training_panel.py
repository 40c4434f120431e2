"""The training panel: how a training goes, or went, in a few figures and three small charts. Live in the job list, later on Compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from . import charts
from .text import count, duration, md, score
from .training_data import (
    ALL,
    ONLY,
    SAID,
    VALIDATED,
    Phase,
    Story,
    is_number,
    lists_better,
    measure_label,
    place,
    step_sizes,
    still_learning,
    stories,
    went_on,
)

HEIGHT = 190
MARKED = 12  # with at most so many passes each of them is a dot
WHAT = {
    VALIDATED: "**First of two trainings, with validation:** a part of the training data is kept aside, to see after which pass the "
    "results are best.",
    ALL: "**Second of two trainings, on all training data:** from the start again, for as many passes as were best in the first.",
    ONLY: "**One training on all training data:** nothing is kept aside, so only the loss is known.",
}
WENT = "**Two trainings:** the first with a part of the training data kept aside, to find the best pass; the second on all of it."
LEFT_HELP = "Of the whole job. It often ends sooner: training stops when results have not become better for some passes."
SPEED_HELP = "How many examples the network learns from in a second."


def live_panel(steps: Sequence[Mapping[str, Any]], now: Mapping[str, Any], key: str) -> None:
    """Of a running training. steps: `job.curve()`; now: `job.progress()`, its newest step."""
    part, kind = place(str(now.get("stage") or ""))
    found = stories(steps)
    story = next((story for story in found if story.part == part), None) or (found[-1] if found else Story(part))
    phase = next((phase for phase in story.phases if phase.kind == kind), None) or (story.phases[-1] if story.phases else Phase(kind))
    st.markdown((f"{md(story.part)} · " if story.part else "") + WHAT[phase.kind])
    done, most = now.get("epoch") or (phase.passes[-1] if phase.passes else None), now.get("epochs")
    speeds = phase.series("samples_per_second")[1]
    left = now.get("seconds_left")
    _figures(
        [
            ("Pass", f"{done} of {most}" if done and most else str(done or "–"), "", None),
            _best(story, "so far"),
            ("Samples a second", count(speeds[-1]) if speeds else "–", "", SPEED_HELP),
            ("Time left, about", _about(left) if is_number(left) else "–", "", LEFT_HELP),
        ]
    )
    _charts(story, key)


def past_panel(steps: Sequence[Mapping[str, Any]], key: str, seconds: float | None = None) -> None:
    """Of a training that ended, well or not. seconds: what all of it took."""
    found = stories(steps)
    if not found:
        return
    story = found[0]
    if len(found) > 1:
        names = [story.part or "The model" for story in found]
        chosen = st.selectbox("Training of", range(len(found)), format_func=lambda n: names[n], key=f"{key}-part", persist_state="page")
        story = found[chosen or 0]
    kinds = {phase.kind for phase in story.phases}
    st.markdown(WENT if len(kinds) > 1 else WHAT[story.phases[0].kind])
    passes = ", then ".join(str(max(phase.passes)) for phase in story.phases)
    speed = story.speed
    _figures(
        [
            ("Passes", passes, "", None),
            _best(story),
            ("Samples a second", count(speed), "in the usual pass", SPEED_HELP) if speed is not None else None,
            ("Time taken", duration(seconds), "", "Of the whole fit, both trainings where there are two.") if seconds is not None else None,
        ]
    )
    _charts(story, key, over=True)


# ---- figures ---------------------------------------------------------------------------------------
Figure = tuple[str, str, str, str | None]  # label, value, a few words below, help


def _best(story: Story, when: str = "") -> Figure | None:
    if not story.metric:
        return None
    label = f"Best {measure_label(story.metric)} {when}".strip()
    about = "On the validation data, never on the test part. The network is kept as it was after this pass."
    if story.best is None:
        return label, "–", "", about
    return label, score(story.best[1]), f"at pass {story.best[0]}", about


def _about(seconds: float) -> str:
    """Seconds, as few words as a narrow figure has room for."""
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _figures(rows: Sequence[Figure | None]) -> None:
    with st.grid(4, min_column_width=140, gap="small"):
        for row in rows:
            if row is not None:
                label, value, below, about = row
                with st.container(gap="xxsmall"):
                    st.metric(md(label), value, help=about)
                    if below:
                        st.caption(md(below))


# ---- charts ----------------------------------------------------------------------------------------
def _charts(story: Story, key: str, *, over: bool = False) -> None:
    """Loss, validation measure, learning rate; a word where there is nothing to draw yet."""
    told = went_on(story)
    if told:
        st.caption(f":material/history: {md(told)}")
    longest = max((len(phase.passes) for phase in story.phases), default=0)
    if longest < 2:
        when = "after the second" if longest else "when the first is done"
        st.caption(f"{count(longest, 'pass', 'passes')} so far: the curves begin {when}." if longest else f"The curves begin {when}.")
        return
    phases = [phase for phase in story.phases if phase.passes]
    shown = [("Did it learn to the end?" if over else "Is it still learning?", story.loss, "Loss", still_learning(story))]
    if len(story.validated[0]) > 1:
        what = "lists" if "@" in story.metric else "predictions"
        shown.append((f"{'Did' if over else 'Do'} the {what} get better?", story.metric, measure_label(story.metric), lists_better(story)))
    if any(len(phase.series("learning_rate")[1]) > 1 for phase in phases):
        shown.append((f"How large {'were' if over else 'are'} the steps?", "learning_rate", "Learning rate", step_sizes(story)))
    with st.grid(3, min_column_width=260, gap="medium"):
        for title, name, axis, note in shown:
            with st.container(gap="xsmall"):
                best = story.best if name == story.metric else None
                label = measure_label(name) if name.startswith("train_") else axis
                charts.show(curves(phases, name, label, best=best), title, key=f"{key}-{name}", note=md(note), alt=f"{title} {note}")


def curves(phases: Sequence[Phase], name: str, label: str, *, best: tuple[int, float] | None = None) -> go.Figure:
    """One line a phase, told apart by dash and colour; the best pass marked; a dotted line where a stopped training went on."""
    drawn = [(phase, *phase.series(name)) for phase in phases if phase.series(name)[0]]
    fig = charts.figure("Pass", label, height=HEIGHT, legend=len(drawn) > 1)
    for phase, xs, ys in drawn:
        n = 1 if phase.kind == ALL else 0
        said = SAID[phase.kind]
        fig.add_scatter(
            x=xs,
            y=ys,
            name=said,
            mode="lines+markers" if len(xs) <= MARKED else "lines",
            line={"color": charts.series_color(n), "width": 2, "dash": charts.DASHES[n]},
            marker={"size": 5, "symbol": charts.SYMBOLS[n]},
            hovertemplate=f"{said}, pass %{{x}}<br>{charts.plain(label)} %{{y:.4g}}<extra></extra>",
        )
        if phase.went_on and phase.went_on < max(phase.passes):
            fig.add_vline(x=phase.went_on + 0.5, line={"color": charts.MUTED, "dash": "dot", "width": 1.5})
    if best is not None:
        hover = f"Best: pass %{{x}}<br>{charts.plain(label)} %{{y:.4f}}<extra></extra>"
        marker = {"symbol": "star", "size": 13, "color": charts.series_color(1)}
        fig.add_scatter(x=[best[0]], y=[best[1]], mode="markers", marker=marker, hovertemplate=hover, showlegend=False, cliponaxis=False)
    last = max((x for _, xs, _ in drawn for x in xs), default=0)
    fig.update_xaxes(tickformat="d", **({"dtick": 1} if last <= 6 else {"nticks": 6}))  # no ticks between two passes
    fig.update_yaxes(nticks=5, title_standoff=16)
    values = [y for _, _, ys in drawn for y in ys]
    if name == "learning_rate":
        fig.update_yaxes(range=[0, 1.15 * max(values)], tickformat="~g", exponentformat="none")
    return fig
