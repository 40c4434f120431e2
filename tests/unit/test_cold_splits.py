"""New items and new users: nothing of them reaches training, each interaction counts once, parts are what their names say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.splitting._base import PARTS, Split

LOOSE = {
    "cold_items": {"min_interactions": 1, "warm_share": 0.3},
    "cold_both": {"min_interactions": 1, "min_history": 2, "users_share": 0.3},
}


def table(rows: list[tuple], *, threshold: float | None = None, time: bool = True) -> Dataset:
    """Rows (user, item, value, time)."""
    frame = {name: [row[n] for row in rows] for n, name in enumerate(("user", "item", "value", "time"))}
    feedback = "implicit" if threshold is None else "explicit"
    import pandas as pd

    return from_frame(pd.DataFrame(frame), value="value", time="time" if time else None, feedback=feedback, threshold=threshold)


def random_table(seed: int = 0, n: int = 1500, n_users: int = 40, n_items: int = 50, **more) -> Dataset:
    rng = np.random.default_rng(seed)
    columns = (rng.integers(0, top, n).tolist() for top in (n_users, n_items, 5, 900))
    return table([(f"u{u}", f"i{i}", v + 1.0, t) for u, i, v, t in zip(*columns, strict=True)], **more)


def cut(key: str, data: Dataset, seed: int = 1, **values) -> Split:
    return next(iter(registry.get("splitter", key)(**values).splits(data, RunContext(seed=seed))))


def rows(data: Dataset) -> Counter:
    return Counter(zip(data.user.tolist(), data.item.tolist(), data.value.tolist(), data.time.tolist(), strict=True))


def truths(split: Split) -> list[Dataset]:
    return [one.truth for one in {id(h): h for h in (split.test, *split.parts.values())}.values()]


def givens(split: Split) -> list[Dataset]:
    found = {id(h.given): h.given for h in (split.test, *split.parts.values()) if h.given is not None}
    return list(found.values())


def items_of(data: Dataset) -> set[int]:
    return set(data.item.tolist())


def users_of(data: Dataset) -> set[int]:
    return set(data.user.tolist())


# ---- every interaction once, no leak -------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 8), st.integers(1, 5), st.integers(0, 9)), min_size=5, max_size=90),
    key=st.sampled_from(["cold_items", "cold_both"]),
    candidates=st.sampled_from(["new", "all"]),
    which=st.sampled_from(["random", "newest"]),
    threshold=st.sampled_from([None, 3.0]),
)
def test_every_interaction_is_in_one_place(lines, key, candidates, which, threshold):
    data = table(lines, threshold=threshold)
    try:
        split = cut(key, data, candidates=candidates, which=which, **LOOSE[key])
    except Unsupported:
        return
    everything = [split.train, *truths(split), *givens(split)]
    used = sum((rows(part) for part in everything), Counter())
    assert not used - rows(data) and sum(used.values()) + sum(split.skipped.values()) == len(data)
    keys = [set((part.user.astype(np.int64) * data.n_items + part.item).tolist()) for part in everything]
    assert sum(map(len, keys)) == len(set.union(*keys)), "a user and item pair is in two places"
    _nothing_leaks(split, candidates)


def _nothing_leaks(split: Split, candidates: str) -> None:
    new = set.union(set(), *(items_of(split.parts[key].truth) for key in ("new_items", "new_both") if key in split.parts))
    assert not new & items_of(split.train)
    for data in givens(split):
        assert not new & items_of(data)
        assert not users_of(data) & users_of(split.train)
    for key, holdout in split.parts.items():
        assert key in PARTS and len(holdout.users)
        if key in ("new_users", "new_both"):
            assert holdout.cold and not users_of(holdout.truth) & users_of(split.train)
        else:
            assert not holdout.cold and users_of(holdout.truth) <= users_of(split.train)
        if candidates == "all":
            assert holdout.candidates is None
        else:
            assert items_of(holdout.truth) <= set(holdout.candidates.tolist())
            assert bool(set(holdout.candidates.tolist()) & items_of(split.train)) == (key in ("warm", "new_users"))
    if "warm" in split.parts:
        assert items_of(split.parts["warm"].truth) <= items_of(split.train)


@pytest.mark.parametrize("candidates", ["new", "all"])
@pytest.mark.parametrize("key", ["cold_items", "cold_both"])
def test_validation_has_new_items_of_its_own_and_none_of_the_test(key, candidates):
    data, rule = random_table(), registry.get("splitter", key)(candidates=candidates)
    split = next(iter(rule.splits(data, RunContext(seed=3))))
    fit, validation = rule.validation(split.train, RunContext(seed=3))
    of_test = items_of(split.parts["new_items"].truth)
    assert not of_test & items_of(validation.truth) and not of_test & items_of(fit)
    assert not items_of(validation.truth) & items_of(fit) and len(validation.users)
    if candidates == "all":
        assert validation.candidates is None
    else:
        assert not of_test & set(validation.candidates.tolist()) and items_of(validation.truth) <= set(validation.candidates.tolist())
    held = len(fit) + len(validation.truth) + (0 if validation.given is None else len(validation.given))
    assert held <= len(split.train)
    if key == "cold_items":
        assert held == len(split.train)  # known items are held out for the test only


# ---- what the settings say -----------------------------------------------------------------------
def test_share_of_items_and_of_known_interactions():
    data = table([(f"u{u}", f"i{i}", 1, i) for u in range(20) for i in range(50)])
    split = cut("cold_items", data, items_share=0.2, warm_share=0.25)
    assert len(split.test.candidates) == 10 and split.parts["new_items"] is split.test
    assert (split.test.truth.user_counts == 10).all() and (split.parts["warm"].truth.user_counts == 10).all()
    assert (split.train.user_counts == 30).all() and not split.skipped
    assert "10 of 50 items" in split.notes[0]


def test_newest_items_are_those_that_came_last():
    data = table([(f"u{u}", f"i{i}", 1, 100 * i + u) for u in range(10) for i in range(20)])
    split = cut("cold_items", data, n_items=4, which="newest")
    assert set(data.items.decode(split.test.candidates)) == {"i16", "i17", "i18", "i19"}
    without = table([(f"u{u}", f"i{i}", 1, 0) for i in range(20) for u in range(10)], time=False)
    without_split = cut("cold_items", without, n_items=4, which="newest")
    assert set(without.items.decode(without_split.test.candidates)) == {"i16", "i17", "i18", "i19"}
    assert any("'newest' means last to appear" in note for note in without_split.notes)


def test_only_items_with_an_audience_are_kept_out_and_never_more_than_half():
    data = table([(f"u{u}", f"i{i}", 1, 0) for i in range(12) for u in range(12 if i < 8 else 3)])
    split = cut("cold_items", data, n_items=100, min_interactions=5)
    assert len(split.test.candidates) == 6 and set(data.items.decode(split.test.candidates)) <= {f"i{i}" for i in range(8)}
    assert any("100 were asked for" in note for note in split.notes)


def test_users_left_without_training_are_not_judged_and_told():
    rest = [(f"u{u}", f"i{i}", 1, i) for u in range(10) for i in range(9)]
    data = table([*rest, *((f"u{u}", "new", 1, 50) for u in range(6)), ("only", "new", 1, 50)])
    split = cut("cold_items", data, n_items=1, which="newest", warm_share=0)
    assert list(split.parts) == ["new_items"] and set(data.users.decode(split.test.users)) == {f"u{u}" for u in range(6)}
    assert split.skipped == {"new items of users without a training interaction": 1}
    assert any("1 user chose new items only" in note for note in split.notes)


def test_four_quarters_of_a_full_table():
    data = table([(f"u{u}", f"i{i}", 1, i) for u in range(20) for i in range(50)])
    split = cut("cold_both", data, users_share=0.2, items_share=0.2, given_share=0.75, warm_share=0.1)
    assert list(split.parts) == list(PARTS) and split.test is split.parts["new_both"]
    sizes = {key: (len(h.users), len(h.truth)) for key, h in split.parts.items()}
    assert sizes == {"warm": (16, 64), "new_items": (16, 160), "new_users": (4, 40), "new_both": (4, 40)}
    assert len(split.test.given) == 4 * 30 and len(split.train) == 16 * 36


def test_a_rule_for_new_users_names_its_part():
    split = cut("cold_users", random_table())
    assert list(split.parts) == ["new_users"] and split.parts["new_users"] is split.test


def test_a_recommender_without_features_is_validated_on_known_items():
    data = random_table()
    for key in ("cold_items", "cold_both"):
        rule = registry.get("splitter", key)()
        split = next(iter(rule.splits(data, RunContext(seed=3))))
        fit, validation = rule.validation_for(split.train, RunContext(seed=3), reads_features=False)
        assert items_of(validation.truth) <= items_of(fit) and len(fit) + len(validation.truth) == len(split.train)
        assert validation.candidates is None and validation.given is None and len(validation.users) > 30
        same = rule.validation_for(split.train, RunContext(seed=3), reads_features=True)[1]
        assert rows(same.truth) == rows(rule.validation(split.train, RunContext(seed=3))[1].truth)


def test_items_of_the_table_alone_are_no_candidates_of_either_kind():
    """Nobody has chosen them: they are not known, and none of them can be right."""
    data = random_table()
    ids = IdMap(np.concatenate([np.asarray(data.items.ids, dtype=object), ["only in the table"]]))
    split = cut("cold_items", replace(data, items=ids), warm_share=0.2)
    for part in split.parts.values():
        assert data.n_items not in part.candidates and items_of(part.truth) <= set(part.candidates.tolist())
    assert sum(len(part.candidates) for part in split.parts.values()) == data.n_items
