"""The models on the Train page: one card each, grouped by family, with what it needs and what it will cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.jobs.memory import fits_in_memory, needed_bytes
from recsys_core.params import Params

from .text import duration, listing, md, size

FAMILIES = {  # in the order of the page: what they do, icon, colour
    "Baseline": ("What every other model must beat.", "horizontal_rule", "gray"),
    "Neighbourhood": ("Recommend what goes together with what the user already has.", "group", "green"),
    "Linear": ("One weight for every pair of items, learnt from all users at once.", "linear_scale", "blue"),
    "Graph": ("Walk from user to item to user; good on sparse data.", "share", "violet"),
    "Matrix factorisation": ("Describe users and items by a few hidden tastes.", "grid_view", "orange"),
    "Features": ("Read what the tables say of users and items, so that new items are served too.", "label", "green"),
    "Deep": ("Neural networks; slower to train, they follow their progress on validation data.", "neurology", "blue"),
    "Sequential": ("Neural networks that read a history in its order, to say what comes next.", "timeline", "violet"),
    "Meta-learning": ("Neural networks that adapt to a new user in a few learning steps.", "model_training", "orange"),
    "Fused": ("Combine several models into one.", "merge", "green"),
}
OTHER = ("", "category", "gray")
NOTHING_NEEDED = "Needs nothing but users and items"


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

    @property
    def needs_text(self) -> str:
        return f"Needs {listing(list(self.needs))}" if self.needs else NOTHING_NEEDED

    @property
    def cited(self) -> str:
        """ "Liang, Krishnan, Hoffman, Jebara: Variational … (2018)" -> "Liang et al. 2018"."""
        authors = re.split(r":| \(|, (?=[A-Z][a-z]+ [a-z])", self.citation, maxsplit=1)[0]
        names = re.split(r", | & | and ", authors)
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        years = re.findall(r"\b(?:19|20)\d\d\b", self.citation)
        return f"{who} {years[-1]}" if years else who

    def matches(self, words: Sequence[str], family: str | None) -> bool:
        """Whether it is of the family and says all the words somewhere on its card."""
        said = f"{self.label} {self.key} {self.family} {self.summary} {self.needs_text} {self.citation}".lower()
        return family in (None, self.family) and all(word in said for word in words)


def time_text(seconds: float) -> str:
    if seconds < 2:
        return "under 2 s"
    if seconds < 90:
        return f"about {round(seconds)} s" if seconds < 10 else f"about {round(seconds / 5) * 5} s"
    return f"about {round(seconds / 60)} min" if seconds < 3600 else f"about {duration(seconds)}"


def cost_text(seconds: float, memory_bytes: int) -> str:
    return f"{time_text(seconds)} and {size(memory_bytes)} of memory"


def expected(model: Any, params: Params, stats: Any, n_folds: int = 1) -> tuple[float, int]:
    """(seconds, bytes) a run is expected to take."""
    return model(params).cost(stats).seconds * n_folds, needed_bytes(model, params, stats)


@st.cache_data(ttl=30, max_entries=32, show_spinner=False)
def offers(dataset_id: str, n_folds: int, _stats: Any) -> list[Offer]:
    """Every registered model in the order of the families; what free memory allows is asked anew every 30 seconds."""
    found = [_offer(cls, _stats, n_folds) for cls in registry.all_of("model").values()]
    order = list(FAMILIES)
    rank = {family: order.index(family) if family in order else len(order) - 1.5 for family in {o.family for o in found}}
    return sorted(found, key=lambda o: (rank[o.family], o.family, bool(o.why_not), o.seconds))


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


def first_fitting(keys: Iterable[str], stats: Any) -> str | None:
    """The first of these models that this data and the memory allow; what a link to this page names."""
    known = registry.keys("model")
    return next((key for key in keys if key in known and not _offer(registry.get("model", key), stats, 1).why_not), None)


def picked_by_link(found: Sequence[Offer]) -> None:
    """A link may name a model, `model=anil`: it is ticked, once, beside what is ticked already; said is why where it cannot be."""
    asked = st.query_params.get("model")
    if not asked:
        return
    del st.query_params["model"]
    offer = next((offer for offer in found if offer.key == asked), None)
    if offer is None:
        st.info(f"There is no recommender '{md(asked, 60)}', which the link asks for.", icon=":material/info:")
    elif offer.why_not:
        st.info(f"{md(offer.label)} cannot be trained here. {md(offer.why_not)}", icon=":material/info:")
    else:
        st.session_state[f"pick-{offer.key}"] = True
        st.toast(f"{md(offer.label)} is chosen; its settings are below.", icon=":material/check:")


def model_cards(found: list[Offer], reads: Mapping[str, str] | None = None) -> list[str]:
    """Cards to tick, by family, with a search; the chosen keys in the order of the page. What is ticked stays chosen when
    the search hides its card. reads: model key -> which columns of the tables it reads."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Find a recommender",
            key="find-model",
            type="search",
            live="400ms",
            max_chars=60,
            placeholder="Name, paper or purpose, such as new users",
            width=320,
            persist_state="session",
        )
        kinds = list(dict.fromkeys(offer.family for offer in found))
        about = "None chosen: all of them."
        family = st.pills("Family", kinds, format_func=md, key="find-family", persist_state="session", wrap=True, help=about)
    words = (search or "").lower().split()
    shown = {offer.key for offer in found if offer.matches(words, family)}
    families: dict[str, list[Offer]] = {}
    for offer in found:
        if offer.key in shown:
            families.setdefault(offer.family, []).append(offer)
    ticked: set[str] = set()
    for name, members in families.items():
        about, icon, colour = FAMILIES.get(name, OTHER)
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"##### :{colour}[:material/{icon}:] {md(name)}", width="content")
            st.caption(md(about), width="content")
        with st.grid(3, min_column_width=270, gap="small"):
            ticked |= {offer.key for offer in members if _card(offer, (reads or {}).get(offer.key, ""))}
    hidden = [o for o in found if o.key not in shown and not o.why_not and st.session_state.get(f"pick-{o.key}")]
    if not shown:
        st.caption(f"No recommender here is described by '{md(search, 60)}'." if words else "There is none of this family.")
    if hidden:
        st.caption(f":material/check_box: Also chosen, not shown now: {md(listing([o.label for o in hidden], 8))}.")
    return [offer.key for offer in found if offer.key in ticked or offer in hidden]


def _card(offer: Offer, reads: str) -> bool:
    """When to prefer it, what it needs, what it costs on this data, where it comes from."""
    with st.container(border=True, height="stretch", gap="xsmall", key=f"model-{offer.key}"):
        if offer.why_not:
            st.checkbox(f"**{md(offer.label)}**", value=False, disabled=True, key=f"off-{offer.key}")
            ticked = False
        else:
            ticked = st.checkbox(f"**{md(offer.label)}**", key=f"pick-{offer.key}", persist_state="session")
        st.caption(md(offer.summary))
        st.space("stretch")
        if offer.why_not:
            lines = [f":orange[:material/block: {md(offer.why_not)}]"]
        else:
            lines = [f":material/database: {md(offer.needs_text)}", f":material/schedule: {md(offer.cost[:1].upper() + offer.cost[1:])}"]
            lines += [f":material/dataset: {md(reads)}"] if reads else []
        if offer.citation:
            lines.append(f":material/menu_book: {_source(offer)}")
        st.caption("  \n".join(lines), help=md(offer.citation) or None)
    return ticked


def _source(offer: Offer) -> str:
    return f"[{md(offer.cited)}]({offer.url})" if offer.url.startswith("https://") else md(offer.cited)


def clear_choice(found: Mapping[str, Any] | list[Offer]) -> None:
    """Untick every card (a callback)."""
    for offer in found:
        st.session_state[f"pick-{offer.key}"] = False
