"""The models on the Train page: one card each, grouped by family, with what it needs and what it will cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.jobs.memory import fits_in_memory, needed_bytes
from recsys_core.params import Params

from .text import duration, md, size

FAMILIES = {
    "Baseline": "What every other model must beat.",
    "Neighbourhood": "Recommend what goes together with what the user already has.",
    "Linear": "One weight for every pair of items, learnt from all users at once.",
    "Graph": "Walk from user to item to user; good on sparse data.",
    "Matrix factorisation": "Describe users and items by a few hidden tastes.",
    "Deep": "Neural networks; slower to train, they follow their progress on validation data.",
    "Fused": "Combine several models into one.",
}


@dataclass(frozen=True)
class Offer:
    """A model as this dataset sees it. why_not: the reason it cannot be trained here, "" when it can."""

    key: str
    label: str
    family: str
    summary: str
    needs: tuple[str, ...]
    why_not: str
    seconds: float
    memory_bytes: int
    citation: str
    url: str

    @property
    def cost(self) -> str:
        return cost_text(self.seconds, self.memory_bytes)


def time_text(seconds: float) -> str:
    if seconds < 2:
        return "under 2 s"
    return f"about {round(seconds)} s" if seconds < 10 else f"about {duration(seconds)}"


def cost_text(seconds: float, memory_bytes: int) -> str:
    return f"{time_text(seconds)} · {size(memory_bytes)} of memory"


def expected(model: Any, params: Params, stats: Any, n_folds: int = 1) -> tuple[float, int]:
    """(seconds, bytes) a run is expected to take."""
    return model(params).cost(stats).seconds * n_folds, needed_bytes(model, params, stats)


@st.cache_data(ttl=30, max_entries=32, show_spinner=False)
def offers(dataset_id: str, n_folds: int, _stats: Any) -> list[Offer]:
    """Every registered model in the order of the families; what free memory allows is asked anew every 30 seconds."""
    found = [_offer(cls, _stats, n_folds) for cls in registry.all_of("model").values()]
    order = list(FAMILIES)
    rank = {family: order.index(family) if family in order else len(order) - 1.5 for family in {o.family for o in found}}
    return sorted(found, key=lambda o: (rank[o.family], o.family, o.seconds))


def _offer(cls: Any, stats: Any, n_folds: int) -> Offer:
    card = cls.card()
    reason = ""
    seconds, memory = 0.0, 0
    missing = [need for need in card.needs if not need.met_by(stats)]
    if missing:
        reason = f"Needs {' and '.join(need.value for need in missing)}; this dataset has none."
    else:
        try:
            fits, sentence = fits_in_memory(cls, cls.Params(), stats)
            seconds, memory = expected(cls, cls.Params(), stats, n_folds)
            reason = "" if fits else sentence
        except WorkbenchError as error:
            reason = str(error)
    return Offer(
        key=card.key,
        label=card.label,
        family=card.family,
        summary=card.summary,
        needs=tuple(need.value for need in card.needs),
        why_not=reason,
        seconds=seconds,
        memory_bytes=memory,
        citation=card.source.citation if card.source else "",
        url=card.source.url if card.source else "",
    )


def model_cards(found: list[Offer]) -> list[str]:
    """Cards to tick; the chosen keys in the order of the page."""
    chosen: list[str] = []
    families: dict[str, list[Offer]] = {}
    for offer in found:
        families.setdefault(offer.family, []).append(offer)
    for family, members in families.items():
        st.markdown(f"##### {md(family)}", help=FAMILIES.get(family))
        with st.grid(3, min_column_width=270, gap="small"):
            for offer in members:
                if _card(offer):
                    chosen.append(offer.key)
    return chosen


def _card(offer: Offer) -> bool:
    with st.container(border=True, height="stretch", gap="xsmall", key=f"model-{offer.key}"):
        if offer.why_not:
            st.checkbox(f"**{md(offer.label)}**", value=False, disabled=True, key=f"off-{offer.key}")
            ticked = False
        else:
            ticked = st.checkbox(f"**{md(offer.label)}**", key=f"pick-{offer.key}", persist_state="session", help=_source(offer))
        st.caption(md(offer.summary))
        st.space("stretch")
        if offer.why_not:
            st.markdown(f":orange[:material/block: {md(offer.why_not)}]")
        else:
            st.caption(f":material/schedule: {md(offer.cost)}" + (f" · needs {md(', '.join(offer.needs))}" if offer.needs else ""))
    return ticked


def _source(offer: Offer) -> str | None:
    if not offer.citation:
        return None
    return f"[{md(offer.citation)}]({offer.url})" if offer.url.startswith("https://") else md(offer.citation)


def clear_choice(found: Mapping[str, Any] | list[Offer]) -> None:
    """Untick every card (a callback)."""
    for offer in found:
        st.session_state[f"pick-{offer.key}"] = False
