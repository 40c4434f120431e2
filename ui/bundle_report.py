"""The parity report of a bundle: what it keeps of the trained model, and what it saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from recsys_core.serving.bundle_words import LEAST_OVERLAP, MOST_LOSS, WHOLE, report_sentence

from .charts import figure, plain, series_color, show
from .components import warnings_box
from .text import md


def parity_report(report: Mapping[str, Any], key: str) -> None:
    """The sentence, what to know, the table, and a chart where there is more than one variant."""
    st.markdown(md(report_sentence(report)))
    warnings_box(report["warnings"])
    variants, k = report["variants"], report["k"]
    st.dataframe(
        table(variants),
        hide_index=True,
        key=f"parity-{key}",
        alt="What each variant keeps of the trained model and what it takes",
        column_config={
            "variant": st.column_config.TextColumn("Variant", width="medium"),
            "shipped": st.column_config.CheckboxColumn("Shipped", width="small"),
            "overlap": st.column_config.NumberColumn(
                "Same items", format="percent", help=f"Share of the trained model's lists of {k} that is on this one's lists."
            ),
            "ndcg": st.column_config.NumberColumn(f"NDCG@{k}", format="%.4f", help="Of its lists, on the test users looked at."),
            "loss": st.column_config.NumberColumn("NDCG lost", format="percent", help="Share of the trained model's NDCG that is lost."),
            "error": st.column_config.NumberColumn(
                "Score error", format="%.2g", help="The largest difference of a score, in standard deviations of that user's scores."
            ),
            "size": st.column_config.NumberColumn("Size, MB", format="%.1f"),
            "p50": st.column_config.NumberColumn("Usual, ms", format="%.2f", help="Half of the lists take less, on one thread."),
            "p99": st.column_config.NumberColumn("Slowest, ms", format="%.2f", help="One list in a hundred takes longer, on one thread."),
            "memory": st.column_config.NumberColumn("Memory, MB", format="%.0f", help="Of a process that does nothing but answer."),
            "why": st.column_config.TextColumn("Why", width="large"),
        },
    )
    if len(variants) > 1:
        title = "Which variant keeps the lists, and what does it save?"
        note = f"Variants may be shipped from {LEAST_OVERLAP:.0%} of the items the same and with at most {MOST_LOSS:.0%} of NDCG@{k} lost."
        show(
            sizes(variants),
            title,
            key=f"parity-chart-{key}",
            note=note,
            alt="Size of each variant, and the share of items of its lists that are the same",
        )


def table(variants: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a variant, numbers in the units of the headings."""
    return pd.DataFrame(
        {
            "variant": [one["name"] for one in variants],
            "shipped": [bool(one["kept"]) for one in variants],
            "overlap": [one["overlap"] for one in variants],
            "ndcg": pd.array([one["ndcg"] for one in variants], dtype="Float64"),
            "loss": pd.array([one["ndcg_loss"] for one in variants], dtype="Float64"),
            "error": [one["score_error"] for one in variants],
            "size": [one["size_bytes"] / 2**20 for one in variants],
            "p50": [one["p50_ms"] for one in variants],
            "p99": [one["p99_ms"] for one in variants],
            "memory": [one["memory_mb"] for one in variants],
            "why": [one["why"] for one in variants],
        }
    )


def sizes(variants: Sequence[Mapping[str, Any]]) -> go.Figure:
    """A bar a variant, as long as its file is large, with the share of the same items at its end; colours say what became of it."""
    fig = figure("Size of the file, MB", "", height=90 + 32 * len(variants), legend=True)
    for name, place in (("Shipped", 2), ("The same lists", 0), ("Too different", 5)):
        chosen = [one for one in variants if verdict(one) == name]
        fig.add_bar(
            name=name,
            orientation="h",
            x=[one["size_bytes"] / 2**20 for one in chosen],
            y=[plain(one["name"]) for one in chosen],
            text=[f"{one['overlap']:.1%} the same" for one in chosen],
            textposition="auto",
            marker={"color": series_color(place)},
            hovertemplate="%{y}<br>%{text}<br>%{x:.2f} MB<extra></extra>",
        )
    fig.update_layout(barmode="overlay", uniformtext={"minsize": 9, "mode": "hide"})
    fig.update_yaxes(categoryorder="array", categoryarray=[plain(one["name"]) for one in variants][::-1])
    return fig


def verdict(one: Mapping[str, Any]) -> str:
    """What became of a variant; the whole model is what the others are held against, and never too different."""
    if one["kept"]:
        return "Shipped"
    whole = one["name"] == WHOLE
    return "The same lists" if whole or (one["overlap"] >= LEAST_OVERLAP and (one["ndcg_loss"] or 0.0) <= MOST_LOSS) else "Too different"
