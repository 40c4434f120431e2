"""The protocol on the Train page: how the data is split, which list lengths are measured, the seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import ParamError, WorkbenchError
from recsys_core.jobs import TrainSpec

from . import state
from .errors import error_box
from .forms import checked, params_form
from .text import md
from .train_features import says_of_items
from .train_own_test import OWN_TEST, own_test_picker

DEFAULT_KS = "5, 10, 20"
ORDER = ("random", "leave_last", "global_time", "cold_users", "cold_items", "cold_both", "kfold", OWN_TEST)
NEW_ITEMS = ("cold_items", "cold_both")
NOTHING_KNOWN = (
    "No column says anything of this dataset's items, so every recommender ranks new items by chance. "
    "Add the dataset again with an item table, or give it vectors on its tab Features."
)


@dataclass(frozen=True)
class Protocol:
    """What every model of one comparison shares. rule: the split in one sentence."""

    dataset: str
    split: str
    split_params: dict[str, Any]
    ks: tuple[int, ...]
    seed: int
    rule: str
    n_folds: int = 1

    def spec(self, model: str, params: dict[str, Any], **more: Any) -> TrainSpec:
        return TrainSpec.make(
            dataset=self.dataset,
            split=self.split,
            split_params=self.split_params,
            ks=self.ks,
            seed=self.seed,
            model=model,
            params=params,
            **more,
        ).with_features(state.workspace())

    @property
    def split_id(self) -> str:
        """The same for runs that may be compared."""
        return self.spec("popular", {}).split_id


def protocol_form(entry: Any) -> Protocol | None:
    """The card with the protocol; None after showing what is missing or wrong."""
    rules, not_offered = offered_rules(entry.stats)
    with st.container(border=True, key="protocol"):
        st.subheader("How results are measured", anchor=False)
        st.caption("A part of the data is held out. Recommenders learn from the rest and are judged on what they never saw.")
        with st.grid(3, min_column_width=230, gap="medium"):
            key = st.selectbox(
                "Split rule",
                list(rules),
                format_func=lambda k: rules[k].label if k in rules else str(k),
                key="split-rule",
                persist_state="session",
                help="Which interactions are held out. Only results of the same rule can be compared.",
            )
            st.session_state.setdefault("split-ks", DEFAULT_KS)  # not `value`: "Train again" sets it by the key
            ks_text = st.text_input(
                "List lengths k",
                key="split-ks",
                persist_state="session",
                help="Figures are measured on lists of these lengths: NDCG@10 judges the first 10 recommendations. Separate with commas.",
            )
            seed = st.number_input(
                "Seed",
                min_value=0,
                max_value=2**31 - 1,
                value=42,
                step=1,
                key="split-seed",
                persist_state="session",
                help="Fixes every random choice: the same seed gives the same split and the same result.",
            )
        key = key if key in rules else next(iter(rules))
        splitter = rules[key]
        st.markdown(md(splitter.summary))
        values, ready = _rule_settings(entry, key, splitter)
        for sentence in not_offered:
            st.caption(f":material/block: {md(sentence)}")
        protocol = _protocol(entry, key, splitter, values, ks_text, seed) if ready else None
        if protocol is not None:
            st.caption(f":material/fact_check: {md(protocol.rule)}")
            if key in NEW_ITEMS and not says_of_items(entry):
                st.warning(NOTHING_KNOWN, icon=":material/warning:")
        return protocol


def _rule_settings(entry: Any, key: str, splitter: Any) -> tuple[dict[str, Any], bool]:
    """The generated form of a rule, and whether all is there that it needs."""
    if key != OWN_TEST:
        return params_form(splitter.Params, f"split/{key}"), True
    values = params_form(splitter.Params, f"split/{key}", hide=("test",))
    chosen = own_test_picker(entry)
    return values | {"test": chosen or ""}, chosen is not None


def _protocol(entry: Any, key: str, splitter: Any, values: dict[str, Any], ks_text: str, seed: Any) -> Protocol | None:
    params = checked(splitter.Params, values, owner=splitter.label)
    if params is None:
        return None
    try:
        protocol = Protocol(
            dataset=entry.id,
            split=key,
            split_params=params.model_dump(mode="json"),
            ks=read_ks(ks_text),
            seed=int(seed or 0),
            rule=splitter(params).describe(),
            n_folds=int(getattr(params, "folds", 1)),
        )
        protocol.spec("popular", {})  # the core's own rules for k and seed
    except WorkbenchError as error:
        error_box(error)
        return None
    return protocol


def read_ks(text: str) -> tuple[int, ...]:
    """The text "5, 10, 20" as (5, 10, 20). Raises ParamError with the rule and what was given."""
    parts = [part for part in re.split(r"[,;\s]+", str(text).strip()) if part]
    if not parts or not all(part.isascii() and part.isdigit() and 1 <= int(part[:5]) <= 1000 for part in parts):
        raise ParamError(
            f"List lengths k must be whole numbers from 1 to 1000, separated by commas; got '{text}'.", "For example: 5, 10, 20."
        )
    return tuple(sorted({int(part) for part in parts}))


def offered_rules(stats: Any) -> tuple[dict[str, Any], list[str]]:
    """(key -> rule that this data allows, sentences on those it does not), the usual ones first."""
    known = registry.all_of("splitter")
    ordered = [key for key in ORDER if key in known] + [key for key in known if key not in ORDER]
    lacking = {key for key in ordered if known[key].needs_time and not stats.has_time}
    return (
        {key: known[key] for key in ordered if key not in lacking},
        [f"'{known[key].label}' is not offered: it needs a time column, and this dataset has none." for key in ordered if key in lacking],
    )
