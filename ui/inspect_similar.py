"""Items like an item, as each of the chosen recommenders sees it."""

from __future__ import annotations

import streamlit as st

from recsys_core.errors import WorkbenchError

from . import state
from .inspect_data import Choice
from .inspect_items import attribute_table, in_full, item_names
from .inspect_lists import Shown, show_lists
from .text import count, md, short

LENGTH = 10
OFFERED = 50


def similar_tab(choice: Choice) -> None:
    names = item_names(choice.dataset_id)
    with st.container(border=True, key="find-item"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            what = "title" if names.has_titles else "id"
            term = st.text_input(
                f"Search items by {what}", key="item-term", type="search", live="300ms", on_change=_forget,
                placeholder=f"Words of the {what}", help="Without words, the most popular items are offered.",
            )  # fmt: skip
            offered = names.find(term or "", OFFERED)
            linked = state.current("item")
            if linked and names.code(linked) >= 0 and linked not in offered:
                offered = [linked, *offered]
            if offered:
                state.follow_url("item", "similar-item", offered, offered[0])
                item = st.selectbox("Item", offered, format_func=lambda i: short(names.title(i), 90), key="similar-item")
        if linked and names.code(linked) < 0:
            st.warning(f"There is no item '{md(linked, 60)}' in this dataset.", icon=":material/warning:")
        if not offered:
            st.info(f"No item holds '{md(term, 60)}'.", icon=":material/info:")
            return
        state.remember(item=item)
        st.markdown(in_full(names, item))
        st.caption(count(names.counts[names.code(item)], "interaction"))
        with st.expander("All that is known of it", icon=":material/info:"):
            attribute_table(names, item)
            if not names.attributes(item):
                st.caption("There is no item table, or its row is empty.")
    lists = []
    for run in choice.runs:
        try:
            with st.spinner("Asking the models …", show_time=False):
                (row,) = state.scorer().similar_items(run.id, [item], LENGTH)
            lists.append(Shown(run, row.items, row.scores))
        except WorkbenchError as error:
            lists.append(Shown(run, error=error))
    st.markdown("**Most similar items** :gray[by what the recommenders learnt, not by their titles]")
    show_lists("similar", lists, names)


def _forget() -> None:
    state.remember(item=None)
    st.session_state.pop("similar-item", None)
