"""The protocol card: how figures were made, JSON-able, shown beside every result table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import registry
from ..data.dataset import Dataset
from ..splitting import Split, Splitter

TIES = "Items with equal scores are ordered by item code."
AMONG_CANDIDATES = (
    "Catalogue coverage, exposure Gini, AUC and serendipity are taken over the items lists are made of, not the whole catalogue."
)
FAIR_TIES = "Items with equal scores are ordered by chance, in another order for every user."


def protocol_card(
    split: Split,
    splitter: Splitter,
    data: Dataset,
    ks: Sequence[int],
    *,
    seed: int | None = None,
    exclude_seen: bool = True,
    uses_validation: bool | None = None,
    refitted: bool | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything needed to judge or repeat the figures.

    data: the dataset before it was cut. uses_validation: whether the model looked at validation. refitted:
    whether it was then fitted again on all of training. notes: more sentences, e.g. the evaluation's.
    """
    part = next((key for key, one in split.parts.items() if one is split.test), "")
    held_out = int((split.test.truth.user_counts > 0).sum())
    active = n_active_users(split)
    about = {"name": data.name, "fingerprint": data.fingerprint, "users": data.n_users, "items": data.n_items, "interactions": len(data)}
    return {
        "dataset": about,
        "split": {"key": splitter.key, "params": splitter.params.model_dump(mode="json"), "rule": splitter.describe(), "fold": split.fold},
        "seed": seed,
        "ks": [int(k) for k in ks],
        "candidates": candidates_sentence(split.test.candidates, split.train.n_items, exclude_seen, part=part),
        "relevance": _relevance(data),
        "validation": _validation(splitter, uses_validation, refitted),
        "interactions": _interactions(split),
        "users_evaluated": held_out,
        "users_not_evaluated": active - held_out,
        "definitions": {key: metric.formula for key, metric in registry.all_of("metric").items()},
        "intervals": "95 % bootstrap over users; two runs are compared on the same users.",
        "ties": TIES if split.test.candidates is None else FAIR_TIES,
        "notes": [*split.notes, *([] if split.test.candidates is None else [AMONG_CANDIDATES]), *notes],
    }


def card_facts(card: Mapping[str, Any]) -> dict[str, str]:
    """The card as label -> text rows for a table (its notes are shown beside it)."""
    interactions = card["interactions"]
    counts = ", ".join(f"{count:,} {name}" for name, count in interactions.items() if count and name != "skipped")
    skipped = sum(interactions.get("skipped", {}).values())
    facts = {
        "Split": card["split"]["rule"],
        "Interactions": counts + (f", {skipped:,} skipped" if skipped else ""),
        "Users evaluated": f"{card['users_evaluated']:,} (not evaluated: {card['users_not_evaluated']:,})",
        "Candidates": card["candidates"],
        "List lengths k": ", ".join(map(str, card["ks"])),
        "Relevant means": card["relevance"],
        "Validation": card["validation"],
        "Intervals": card["intervals"],
    }
    return facts | ({"Seed": str(card["seed"])} if card.get("seed") is not None else {})


def n_active_users(split: Split) -> int:
    """How many users have an interaction anywhere in the split."""
    parts = [split.train]
    for holdout in {id(one): one for one in (split.test, *split.parts.values())}.values():
        parts += [holdout.truth, *([] if holdout.given is None else [holdout.given])]
    return int(np.count_nonzero(sum(np.bincount(part.user, minlength=split.train.n_users) for part in parts)))


def _interactions(split: Split) -> dict[str, Any]:
    truth, given = split.test.truth, split.test.given
    return {
        "training": len(split.train),
        "test": len(truth),
        "relevant in test": int(truth.relevant.sum()),
        "given of new users": 0 if given is None else len(given),
        "skipped": dict(split.skipped),
    } | ({"measured apart": sum(apart)} if (apart := [len(one.truth) for one in split.parts.values() if one is not split.test]) else {})


def candidates_sentence(candidates: np.ndarray | None, n_items: int, exclude_seen: bool = True, *, part: str = "") -> str:
    """What the lists are made of: the whole catalogue, or the items of a holdout's `candidates`. part: its key in `Split.parts`."""
    seen = "without those the user already had" if exclude_seen else "including those the user already had"
    if candidates is not None:
        kind = {"new_items": "new ", "new_both": "new ", "warm": "known ", "new_users": "known "}.get(part, "")
        return f"Only {len(candidates):,} {kind}items of the catalogue's {n_items:,}, {seen}; nothing is sampled."
    return f"The full catalogue of {n_items:,} items, {seen}; nothing is sampled."


def _relevance(data: Dataset) -> str:
    if data.threshold is None:
        return "Every held-out interaction counts as relevant."
    return f"A held-out interaction is relevant when its value is at least {data.threshold:g}."


def _validation(splitter: Splitter, uses_validation: bool | None, refitted: bool | None) -> str:
    if uses_validation is False:
        return "Not used by this model; the test part was read once, at the end."
    text = "Cut from training as the training file's own rule says" if splitter.needs_test_file else "Cut from training by the same rule"
    after = " then the model was fitted again on all of training;" if refitted else ""
    return f"{text}, for early stopping and learnt weights;{after} the test part was read once, at the end."
