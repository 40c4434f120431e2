"""The parity report of a bundle: what it keeps of the trained model, and what it saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from recsys_core.serving.bundle_words import LEAST_OVERLAP, report_sentence

from .charts import MUTED, figure, plain, series_color, show
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
        note = f"Further left is smaller. Only variants above the line, at {LEAST_OVERLAP:.0%} of the items the same, may be shipped."
        show(sizes(variants), title, key=f"parity-chart-{key}", note=note, alt="Share of items kept over the size of each variant")


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
    """Share of the same items over the size of the file; the one that is shipped stands out."""
    fig = figure("Size of the file, MB", "Same items", height=260)
    fig.add_hline(y=LEAST_OVERLAP, line={"color": MUTED, "dash": "dash", "width": 1})
    for one in variants:
        color = series_color(5 if one["kept"] else 0)
        fig.add_scatter(
            x=[one["size_bytes"] / 2**20],
            y=[one["overlap"]],
            text=[plain(one["name"]) + (", shipped" if one["kept"] else "")],
            mode="markers+text",
            textposition="bottom center",
            cliponaxis=False,
            marker={"size": 14 if one["kept"] else 10, "symbol": "diamond" if one["kept"] else "circle", "color": color},
            hovertemplate="%{text}<br>%{y:.1%} of the items the same<br>%{x:.2f} MB<extra></extra>",
        )
    lowest = min(LEAST_OVERLAP, *(one["overlap"] for one in variants))
    largest = max(one["size_bytes"] for one in variants) / 2**20
    fig.update_yaxes(tickformat=".0%", range=[lowest - 0.25 * (1.005 - lowest), 1.005])
    return fig.update_xaxes(range=[0, 1.12 * largest])
