"""Splits: nothing leaks, nothing is lost, and each rule does what its sentence says."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.ids import IdMap
from recsys_core.errors import DataError, ParamError, Unsupported
from recsys_core.splitting import Split
from recsys_core.splitting.own_test import own_test

CTX = RunContext(seed=7)
RULES = [key for key in registry.keys("splitter") if not registry.get("splitter", key).needs_test_file]


def dataset(rows: list[tuple], *, time: bool = True, threshold: float | None = None) -> Dataset:
    """Rows (user, item, value, time)."""
    frame = pd.DataFrame(rows, columns=["user", "item", "value", "time"])
    feedback = "implicit" if threshold is None else "explicit"
    return from_frame(frame, value="value", time="time" if time else None, feedback=feedback, threshold=threshold)


def random_data(seed: int, n: int = 400, n_users: int = 25, n_items: int = 30, **more) -> Dataset:
    """Repeats included; user 'u_one' has a single interaction."""
    rng = np.random.default_rng(seed)
    columns = (rng.integers(0, top, n).tolist() for top in (n_users, n_items, 5, 300))
    rows = [(f"u{u}", f"i{i}", v + 1.0, t) for u, i, v, t in zip(*columns, strict=True)]
    return dataset([*rows, ("u_one", "i0", 5.0, 299)], **more)


def rows_of(data: Dataset) -> Counter:
    times = np.zeros(len(data)) if data.time is None else data.time
    return Counter(zip(data.user.tolist(), data.item.tolist(), data.value.tolist(), times.tolist(), strict=True))


def pairs_of(data: Dataset) -> set[tuple[int, int]]:
    return set(zip(data.user.tolist(), data.item.tolist(), strict=True))


def make(key: str, **values):
    return registry.get("splitter", key)(**values)


def splits(key: str, data: Dataset, **values) -> list[Split]:
    return list(make(key, **values).splits(data, CTX))


def held_rows(split: Split) -> Counter:
    """Rows of every truth, each holdout once, and what is given of new users."""
    holdouts = {id(one): one for one in (split.test, *split.parts.values())}.values()
    given = {id(one.given): one.given for one in holdouts if one.given is not None}.values()
    return sum((rows_of(data) for data in (*(one.truth for one in holdouts), *given)), Counter())


# ---- what every rule owes ------------------------------------------------------------------------
@pytest.mark.parametrize("key", RULES)
@pytest.mark.parametrize("threshold", [None, 3.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_pair_is_on_both_sides_and_every_row_is_accounted_for(key, threshold, seed):
    data = random_data(seed, threshold=threshold)
    for split in splits(key, data):
        used = rows_of(split.train) + held_rows(split)
        assert not used - rows_of(data), "a row appears more often than in the data"
        assert sum(used.values()) + sum(split.skipped.values()) == len(data)
        assert not pairs_of(split.train) & pairs_of(split.test.truth)
        if split.test.given is not None:
            assert not pairs_of(split.test.given) & pairs_of(split.test.truth)
            assert not set(split.train.user.tolist()) & set(split.test.truth.user.tolist())
            assert not set(split.train.user.tolist()) & set(split.test.given.user.tolist())
        assert split.train.users is data.users and split.test.truth.items is data.items


@pytest.mark.parametrize("key", [key for key in RULES if key not in ("global_time", "cold_items", "cold_both")])
def test_a_user_with_one_interaction_stays_in_training(key):
    data = random_data(4)
    lonely = data.users.encode(["u_one"])[0]
    for split in splits(key, data):
        assert lonely in split.train.user and lonely not in split.test.truth.user


@pytest.mark.parametrize("key", RULES)
def test_same_seed_same_split_other_seed_other_split(key):
    data = random_data(5)
    first, again = splits(key, data)[0], splits(key, data)[0]
    assert rows_of(first.train) == rows_of(again.train)
    other = next(iter(make(key).splits(data, RunContext(seed=8))))
    assert (rows_of(first.test.truth) == rows_of(other.test.truth)) == (key in ("leave_last", "global_time"))


@pytest.mark.parametrize("key", RULES)
def test_validation_comes_from_training_only(key):
    data = random_data(6)
    split = splits(key, data)[0]
    fit, validation = make(key).validation(split.train, CTX)
    parts = rows_of(fit) + rows_of(validation.truth) + (rows_of(validation.given) if validation.given is not None else Counter())
    assert not parts - rows_of(split.train)
    assert len(validation.users) > 0
    assert not pairs_of(fit) & pairs_of(validation.truth)
    assert (validation.given is None) == (split.test.given is None)


@pytest.mark.parametrize("key", RULES)
def test_describe_says_its_numbers_in_one_sentence(key):
    cls = registry.get("splitter", key)
    text = cls().describe()
    assert text.endswith(".") and "\n" not in text
    assert text[0].isupper() or text[0].isdigit()
    assert cls.summary != text


@pytest.mark.parametrize("key", RULES)
def test_data_that_leaves_nothing_to_test_is_refused_in_words(key):
    data = dataset([("a", "x", 1, 1), ("b", "y", 1, 2), ("c", "z", 1, 3)])
    with pytest.raises(Unsupported, match="leaves"):
        splits(key, data)


@pytest.mark.parametrize("key", RULES)
def test_an_empty_dataset_is_refused_in_words(key):
    with pytest.raises(Unsupported, match="leaves 0 training interactions"):
        splits(key, random_data(1).subset(np.empty(0, dtype=int)))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=60),
    key=st.sampled_from(RULES),
    threshold=st.sampled_from([None, 3.0]),
)
def test_any_table_splits_cleanly_or_is_refused(rows, key, threshold):
    data = dataset(rows, threshold=threshold)
    try:
        found = splits(key, data)
    except Unsupported:
        return
    for split in found:
        assert len(split.train) + sum(held_rows(split).values()) + sum(split.skipped.values()) == len(data)
        assert not pairs_of(split.train) & pairs_of(split.test.truth)


# ---- random --------------------------------------------------------------------------------------
def test_random_holds_out_the_share_of_every_user():
    data = dataset([(f"u{u}", f"i{i}", 1, 0) for u in range(20) for i in range(10)])
    split = splits("random", data, test_share=0.3)[0]
    assert (split.test.truth.user_counts == 3).all() and (split.train.user_counts == 7).all()


def test_random_chooses_items_evenly():
    data = dataset([(f"u{u:03}", f"i{i}", 1, 0) for u in range(600) for i in range(5)])
    split = splits("random", data, test_share=0.2)[0]
    assert np.abs(split.test.truth.item_counts - 120).max() < 45  # five standard deviations of Binomial(600, 1/5)


def test_random_keeps_small_histories_in_training_and_says_so():
    data = dataset([("a", f"i{i}", 1, 0) for i in range(3)] + [("b", f"i{i}", 1, 0) for i in range(10)])
    split = splits("random", data, min_interactions=5)[0]
    assert split.test.users.tolist() == data.users.encode(["b"]).tolist()
    assert "1 user stays entirely in training: fewer than 5 different items." in split.notes


# ---- leave last ----------------------------------------------------------------------------------
def test_leave_last_takes_the_latest_by_time_not_by_file_order():
    data = dataset([("a", "x", 1, 30), ("a", "y", 1, 10), ("a", "z", 1, 20), ("b", "x", 1, 1), ("b", "y", 1, 2)])
    split = splits("leave_last", data)[0]
    assert sorted(split.test.truth.items.decode(split.test.truth.item)) == ["x", "y"]
    assert pairs_of(split.test.truth) == {(0, 0), (1, 1)}


def test_leave_last_without_times_uses_file_order_and_says_so():
    data = dataset([("a", "x", 1, 30), ("a", "y", 1, 10), ("a", "z", 1, 20)], time=False)
    split = splits("leave_last", data)[0]
    assert split.test.truth.items.decode(split.test.truth.item).tolist() == ["z"]
    assert any("last in the file" in note for note in split.notes)


def test_leave_last_counts_relevant_items_and_moves_what_came_after():
    rows = [("a", "i1", 5, 1), ("a", "i2", 5, 2), ("a", "i3", 1, 3), ("a", "i4", 5, 4), ("a", "i5", 1, 5)]
    split = splits("leave_last", dataset(rows, threshold=4))[0]
    assert sorted(split.test.truth.items.decode(split.test.truth.item)) == ["i4", "i5"]
    split = splits("leave_last", dataset(rows, threshold=4), n=5)[0]  # one relevant item must stay
    assert split.train.items.decode(split.train.item).tolist() == ["i1"]


def test_leave_last_puts_a_repeated_item_on_the_side_of_its_latest_time():
    data = dataset([("a", "x", 1, 1), ("a", "y", 1, 2), ("a", "x", 1, 3)])
    split = splits("leave_last", data)[0]
    assert pairs_of(split.test.truth) == {(0, 0)} and len(split.test.truth) == 2


@pytest.mark.parametrize("n", [1, 3])
def test_leave_last_leaves_no_future_of_the_same_user_in_training(n):
    split = splits("leave_last", random_data(9, threshold=3.0), n=n)[0]
    last_train = pd.Series(split.train.time).groupby(split.train.user).max()
    truth = split.test.truth
    latest_of_pair = pd.DataFrame({"u": truth.user, "i": truth.item, "t": truth.time}).groupby(["u", "i"]).t.max()
    first_test = latest_of_pair.groupby("u").min()
    both = last_train.index.intersection(first_test.index)
    assert len(both) > 10 and (last_train[both] <= first_test[both]).all()
    assert split.test.truth.user_counts.max() <= n


# ---- global time ---------------------------------------------------------------------------------
@pytest.mark.parametrize("new_users", ["skip", "fallback"])
def test_global_time_has_no_future_in_training(new_users):
    data = random_data(10)
    split = splits("global_time", data, test_share=0.25, new_users=new_users)[0]
    assert split.train.time.max() < split.test.truth.time.min()
    assert 0.7 <= len(split.train) / len(data) <= 0.8


def test_global_time_skips_users_without_training_history_or_keeps_them():
    data = dataset([("a", "x", 1, 1), ("a", "y", 1, 9), ("b", "x", 1, 2), ("b", "z", 1, 9), ("new", "x", 1, 9), ("new", "y", 1, 9)])
    skip = splits("global_time", data, test_share=0.6)[0]
    assert skip.test.users.tolist() == [0, 1] and sum(skip.skipped.values()) == 2
    assert any("1 user without training history" in note for note in skip.notes)
    keep = splits("global_time", data, test_share=0.6, new_users="fallback")[0]
    assert keep.test.users.tolist() == [0, 1, 2] and not keep.skipped


def test_global_time_leaves_repeats_of_training_items_out_of_the_test_and_counts_them():
    data = dataset([("a", "x", 1, 1), ("a", "x", 1, 8), ("a", "y", 1, 9), ("b", "x", 1, 1)])
    split = splits("global_time", data, test_share=0.5)[0]
    assert pairs_of(split.test.truth) == {(0, 1)} and sum(split.skipped.values()) == 1


def test_global_time_at_a_date_and_its_validation_before_it():
    day = 86_400
    data = dataset([("a", f"i{t}", 1, t * day) for t in range(10)] + [("b", f"i{t}", 1, t * day) for t in range(10)])
    rule = make("global_time", date="1970-01-08")
    split = next(iter(rule.splits(data, CTX)))
    assert split.test.truth.time.min() == 7 * day and len(split.test.truth) == 6
    fit, validation = rule.validation(split.train, CTX)
    assert len(validation.users) == 2 and fit.time.max() < validation.truth.time.min()


def test_global_time_refuses_data_without_times_and_a_bad_date():
    with pytest.raises(Unsupported, match="needs a time column"):
        splits("global_time", random_data(1, time=False))
    with pytest.raises(ParamError, match="YYYY-MM-DD"):
        make("global_time", date="31.12.2020")


# ---- cold users ----------------------------------------------------------------------------------
def test_cold_users_gives_the_share_of_their_items():
    data = dataset([(f"u{u}", f"i{i}", 1, i) for u in range(20) for i in range(10)])
    split = splits("cold_users", data, users_share=0.25, given_share=0.7)[0]
    assert len(split.test.users) == 5 and split.test.cold
    assert (split.test.given.user_counts[split.test.users] == 7).all()
    assert (split.test.truth.user_counts[split.test.users] == 3).all()
    assert (split.test.histories.lengths == 7).all()


def test_cold_users_earliest_given_first():
    data = dataset([(f"u{u}", f"i{i}", 1, i) for u in range(20) for i in range(10)])
    split = splits("cold_users", data, n_users=4, given_share=0.5, given_first="earliest")[0]
    assert len(split.test.users) == 4
    assert split.test.given.time.max() == 4 and split.test.truth.time.min() == 5


def test_cold_users_never_takes_more_than_half_and_says_so():
    data = dataset([(f"u{u}", f"i{i}", 1, i) for u in range(10) for i in range(6)])
    split = splits("cold_users", data, n_users=100)[0]
    assert len(split.test.users) == 5 and any("100 were asked for" in note for note in split.notes)


# ---- k-fold --------------------------------------------------------------------------------------
def test_kfold_tests_every_row_once():
    data = random_data(11)
    found = splits("kfold", data, folds=4)
    assert [split.fold for split in found] == [0, 1, 2, 3]
    tested = sum((rows_of(split.test.truth) for split in found), Counter())
    left = rows_of(data) - tested
    assert not tested - rows_of(data)
    per_user = defaultdict(set)
    for user, item in pairs_of(data):
        per_user[user].add(item)
    assert all(len(per_user[user]) == 1 for user, *_ in left)


def test_kfold_always_leaves_a_user_something_to_learn_from():
    data = dataset([(f"u{u}", f"i{(u + j) % 7}", 1, 0) for u in range(40) for j in range(2)])
    for split in splits("kfold", data, folds=5):
        assert set(split.test.truth.user.tolist()) <= set(split.train.user.tolist())
        assert len(split.test.truth) >= 5


# ---- own test file -------------------------------------------------------------------------------
def test_own_test_appends_unknown_ids_and_keeps_the_known_codes():
    train = dataset([("a", "x", 1, 1), ("a", "y", 1, 2), ("b", "x", 1, 3)])
    split = own_test(train, pd.DataFrame({"user": ["a", "zed", "b"], "item": ["new", "x", "y"]}))
    assert list(split.train.users.ids) == ["a", "b", "zed"] and list(split.train.items.ids) == ["x", "y", "new"]
    assert np.array_equal(split.train.item, train.item) and np.array_equal(split.train.user, train.user)
    assert split.train.user_counts.tolist() == [2, 1, 0]
    assert split.test.users.tolist() == [0, 1, 2]
    assert split.test.relevant.toarray().tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    text = " ".join(split.notes)
    assert "1 test user not in the training file" in text and "1 of the catalogue's items appear in the test part only" in text


def test_own_test_leaves_out_pairs_already_in_training():
    train = dataset([("a", "x", 1, 1), ("b", "y", 1, 2)])
    split = own_test(train, pd.DataFrame({"user": ["a", "a"], "item": ["x", "y"]}))
    assert pairs_of(split.test.truth) == {(0, 1)} and sum(split.skipped.values()) == 1


def test_own_test_takes_a_dataset_with_its_own_id_maps_and_uses_the_training_threshold():
    train = dataset([("a", "x", 5, 1), ("b", "y", 5, 2), ("b", "z", 2, 2)], threshold=4)
    test = dataset([("b", "x", 3, 9), ("a", "y", 5, 8)])
    split = own_test(train, test)
    assert split.test.users.tolist() == [0] and len(split.test.truth) == 2
    assert any("none of them relevant" in note for note in split.notes)


def test_own_test_extends_the_item_table_from_the_test_files_table():
    train = dataset([("a", "x", 1, 1), ("a", "y", 1, 2)])
    train = Dataset(train.users, train.items, train.user, train.item, train.value, item_table=pd.DataFrame({"title": ["X", "Y"]}))
    items = IdMap(["q", "x", "r"])
    test = Dataset(IdMap(["a", "b"]), items, [0, 1, 1], [0, 1, 2], [1, 1, 1], item_table=pd.DataFrame({"title": ["Q", "X", "R"]}))
    split = own_test(train, test)
    assert list(split.train.items.ids) == ["x", "y", "q", "r"]
    assert split.train.item_table["title"].tolist() == ["X", "Y", "Q", "R"]


def test_own_test_refuses_files_that_do_not_fit():
    train = dataset([("a", "x", 1, 1), ("b", "y", 1, 2)])
    with pytest.raises(DataError, match="no item in common"):
        own_test(train, pd.DataFrame({"user": ["a"], "item": ["other"]}))
    with pytest.raises(DataError, match="already in the training file"):
        own_test(train, pd.DataFrame({"user": ["a"], "item": ["x"]}))
    with pytest.raises(DataError, match="no item"):
        own_test(train, pd.DataFrame({"user": ["a"], "thing": ["x"]}))
    with pytest.raises(Unsupported, match="second file"):
        make("own_test").splits(train, CTX)


@pytest.mark.parametrize("rule", ["random", "leave_last", "global_time"])
def test_own_test_cuts_validation_from_training_by_the_chosen_rule(rule):
    data = random_data(12)
    fit, validation = make("own_test", validation=rule, validation_share=0.2).validation(data, CTX)
    assert len(fit) + len(validation.truth) <= len(data) and len(validation.users) > 5
    if rule == "global_time":
        assert fit.time.max() < validation.truth.time.min()


# ---- real data -----------------------------------------------------------------------------------
def test_the_fixed_pair_keeps_every_row(real_data):
    folder = real_data("ml-100k")
    train, test = (pd.read_csv(folder / f"{name}.csv.gz").set_axis(["user", "item", "value", "time"], axis=1) for name in ("train", "test"))
    split = own_test(from_frame(train, value="value", time="time"), test)
    assert len(split.train) == 80_000 and len(split.test.truth) == 20_000 and len(split.test.users) == 943 and not split.skipped
