"""High-level features: hand-worked cases, slow loops, nothing from held-out data, what is missing, restoring."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.data.dataset import Dataset
from recsys_core.data.features import encode_table
from recsys_core.data.features.derived_set import DerivedSet, describe
from recsys_core.data.histories import Histories
from recsys_core.data.ids import IdMap
from recsys_core.errors import NotFound, Unsupported

DAY, MINUTE = 86_400, 60
USER_KEYS = [key for key, one in registry.all_of("derived").items() if one.side == "user"]
ITEM_KEYS = [key for key, one in registry.all_of("derived").items() if one.side == "item"]


def dataset(rows, n_users, n_items, table=None, **more) -> Dataset:
    user, item, value, time = (np.array(column) for column in zip(*rows, strict=True))
    ids = [IdMap(np.array([f"{side}{code:04d}" for code in range(n)], dtype=object)) for side, n in (("u", n_users), ("i", n_items))]
    return Dataset(*ids, user, item, value, time, **{"feedback": "explicit"} | more, item_table=table)


def hand() -> Dataset:
    """Four users, the last without anything; five items, the last never chosen. 0 = Comedy and Drama, 1 and 4 Comedy, 2 Drama."""
    rows = [
        (0, 0, 4, 0),
        (0, 1, 5, 10 * MINUTE),
        (0, 2, 3, DAY),
        (1, 0, 2, 0),
        (1, 0, 5, 120 * MINUTE),
        (2, 3, 4, 3 * DAY),
        (2, 1, 5, 3 * DAY),
    ]
    return dataset(rows, 4, 5, pd.DataFrame({"genre": ["Comedy|Drama", "Comedy", "Drama", None, "Comedy|Drama"]}))


def made_up(seed=0, n_users=60, n_items=45, n=900, threshold=3.0) -> Dataset:
    """Repeated pairs, ties in time, users and items without anything, items without a category."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n_users - 3, n), np.minimum(rng.pareto(1.0, n) * 6, n_items - 4).astype(int)
    value, time = rng.integers(2, 11, n) / 2, rng.integers(0, 400, n) * 7 * MINUTE * rng.choice([1, 50], n)
    one, two = rng.integers(0, 6, n_items), rng.integers(0, 6, n_items)
    genre = [None if code % 11 == 5 else f"g{a}|g{b}" for code, (a, b) in enumerate(zip(one, two, strict=True))]
    table = pd.DataFrame(
        {"genre": genre, "maker": [f"m{a}" for a in rng.integers(0, 4, n_items)], "year": rng.integers(1960, 2020, n_items)}
    )
    rows = zip(user, item, value, time, strict=True)
    return dataset(list(rows), n_users, n_items, table, threshold=threshold)


def learnt(key: str, data: Dataset, seed=0):
    items = None if data.item_table is None else encode_table(data.item_table)
    return registry.get("derived", key).fit(data, items, np.random.default_rng(seed))


def of(key: str, data: Dataset) -> np.ndarray:
    one = learnt(key, data)
    return one.of_items() if one.side == "item" else one.of_histories(data.histories())


NAN = float("nan")
LOG = np.log
U = (3 * LOG(4) + LOG(2) + 2 * LOG(3)) / 6  # mean activity over all six choices
H = [-(a * LOG(a) + (1 - a) * LOG(1 - a)) / LOG(2) for a in (0.54, 1.7 / 3, 2.2 / 3)]
WORKED = {
    "activity": [[LOG(4)], [LOG(2)], [LOG(3)], [NAN]],
    "recency": [[LOG(3)], [LOG(4 - 1 / 12)], [0], [NAN]],
    "tenure": [[LOG(2)], [LOG(1 + 1 / 12)], [0], [NAN]],
    # six choices: items 0 and 1 have two each (percentile (2 + 4/2) / 6), items 2 and 3 one each (percentile (2/2) / 6)
    "mainstream": [[0.5], [2 / 3], [5 / 12], [NAN]],
    # all ratings: mean 4, variance 8/7; two more of these for everybody
    "rating_style": [
        [(12 + 8) / 5, math.sqrt((2 + 16 / 7) / 5)],
        [(7 + 8) / 4, math.sqrt((4.5 + 16 / 7) / 4)],
        [(9 + 8) / 4, math.sqrt((0.5 + 16 / 7) / 4)],
        [NAN, NAN],
    ],
    # everybody: Comedy 2 · ½ + 2 = 3, Drama 2 · ½ + 1 = 2; two more items of 0.6 and 0.4; item 3 has no category
    "taste_profile": [[2.7 / 5, 2.3 / 5], [1.7 / 3, 1.3 / 3], [2.2 / 3, 0.8 / 3], [NAN, NAN]],
    "taste_entropy": [[h] for h in H] + [[NAN]],
    "session_statistics": [
        [LOG(2), LOG(1.5), LOG(1 + 24 - 1 / 6)],
        [LOG(2), 0, LOG(3)],
        [0, LOG(2), NAN],
        [NAN, NAN, NAN],
    ],
    "item_popularity": [[LOG(3)], [LOG(3)], [LOG(2)], [LOG(2)], [NAN]],
    "item_age": [[LOG(4)], [LOG(4 - 10 / 1440)], [LOG(3)], [0], [NAN]],
    # two of the seven interactions are in the last quarter; five more with that share for every item
    "item_trend": [[LOG(10 / 16)], [LOG(17 / 14)], [LOG(5 / 6)], [LOG(17 / 12)], [NAN]],
    "item_rating": [
        [31 / 8, math.sqrt((14 / 3 + 40 / 7) / 8)],
        [30 / 7, math.sqrt((40 / 7) / 7)],
        [23 / 6, math.sqrt((40 / 7) / 6)],
        [4, math.sqrt((40 / 7) / 6)],
        [NAN, NAN],
    ],
    "item_audience": [
        [(LOG(4) + LOG(2) + 5 * U) / 7, (0.5 + 2 / 3 + 2.5) / 7],
        [(LOG(4) + LOG(3) + 5 * U) / 7, (0.5 + 5 / 12 + 2.5) / 7],
        [(LOG(4) + 5 * U) / 6, 0.5],
        [(LOG(3) + 5 * U) / 6, (5 / 12 + 2.5) / 6],
        [NAN, NAN],
    ],
}


@pytest.mark.parametrize("key", WORKED)
def test_by_hand(key):
    found = of(key, hand())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WORKED[key], rtol=1e-6, atol=1e-7)


def slow_user(key: str, data: Dataset, categories) -> list[list[float]]:
    """Row by row, from the definitions."""
    out, rows = [], list(zip(data.user, data.item, data.value, data.time, strict=True))
    good = {(u, i) for u, i, v, _ in rows if data.threshold is None or v >= data.threshold}
    count = [sum(i == item for _, i in good) for item in range(data.n_items)]
    percentile = [(sum(c for c in count if c < mine) + sum(c for c in count if c == mine) / 2) / len(good) for mine in count]
    mean, variance = np.mean(data.value, dtype=float), np.var(data.value.astype(float))
    for user in range(data.n_users):
        own = sorted([(int(t), int(i), float(v)) for u, i, v, t in rows if u == user])
        had, times, values = {i for _, i, _ in own}, [t for t, _, _ in own], [v for _, _, v in own]
        liked = {i for _, i, v in own if data.threshold is None or v >= data.threshold} or had
        if not own:
            width = {"rating_style": 2, "session_statistics": 3, "taste_profile": len(categories[1])}.get(key, 1)
            out.append([NAN] * width)
        elif key == "activity":
            out.append([math.log(1 + len(had))])
        elif key == "recency":
            out.append([math.log(1 + (int(data.time.max()) - times[-1]) / DAY)])
        elif key == "tenure":
            out.append([math.log(1 + (times[-1] - times[0]) / DAY)])
        elif key == "mainstream":
            out.append([sum(percentile[i] for i in liked) / len(liked)])
        elif key == "rating_style":
            m = np.mean(values)
            ss = sum((v - m) ** 2 for v in values) + 2 * variance
            out.append([(sum(values) + 2 * mean) / (len(values) + 2), math.sqrt(ss / (len(values) + 2))])
        elif key == "session_statistics":
            pauses = [b - a for a, b in zip(times, times[1:], strict=False) if b - a > 30 * MINUTE]
            hours = math.log(1 + np.median(pauses) / 3600) if pauses else NAN
            out.append([math.log(len(pauses) + 1), math.log(len(own) / (len(pauses) + 1)), hours])
        else:
            of_item, usual = categories
            with_one = [of_item[i] for i in liked if sum(of_item[i])]
            share = [(sum(row[c] for row in with_one) + 2 * usual[c]) / (len(with_one) + 2) for c in range(len(usual))]
            share = share if with_one else [NAN] * len(usual)
            out.append(share if key == "taste_profile" else [-sum(s * math.log(s) for s in share) / math.log(len(usual))])
    return out


def slow_categories(data: Dataset, names: list[str]):
    """Each item's shares over the categories named, and everybody's."""
    labels = [
        [f"genre = {one}" for one in dict.fromkeys(genre.split("|"))] if isinstance(genre, str) else []
        for genre in data.item_table["genre"]
    ]
    labels = [
        [one for one in [*own, f"maker = {maker}"] if one in names] for own, maker in zip(labels, data.item_table["maker"], strict=True)
    ]
    of_item = [[(name in own) / max(1, len(own)) for name in names] for own in labels]
    good = {(u, i) for u, i, v in zip(data.user, data.item, data.value, strict=True) if data.threshold is None or v >= data.threshold}
    total = np.sum([of_item[i] for _, i in good], axis=0)
    return of_item, total / total.sum()


@pytest.mark.parametrize("threshold", [None, 3.0])
@pytest.mark.parametrize("key", [key for key in USER_KEYS if key != "cluster_profile"])
def test_users_against_a_slow_loop(key, threshold):
    data = made_up(threshold=threshold)
    names = learnt("taste_profile", data).names
    assert {name.split(" = ")[0] for name in names} == {"genre", "maker"}
    np.testing.assert_allclose(of(key, data), slow_user(key, data, slow_categories(data, names)), rtol=2e-5, atol=1e-6)


def slow_item(key: str, data: Dataset) -> list[list[float]]:
    out, rows = [], [(int(u), int(i), float(v), int(t)) for u, i, v, t in zip(data.user, data.item, data.value, data.time, strict=True)]
    good = {(u, i) for u, i, v, _ in rows if v >= data.threshold}
    chose = {u: {i for w, i in good if w == u} for u in range(data.n_users)}
    count = [sum(i == item for _, i in good) for item in range(data.n_items)]
    percentile = [(sum(c for c in count if c < mine) + sum(c for c in count if c == mine) / 2) / len(good) for mine in count]
    of_user = {u: np.array([math.log(1 + len(own)), np.mean([percentile[i] for i in own])]) for u, own in chose.items() if own}
    usual = np.mean([of_user[u] for u, _ in good], axis=0)
    start, end = min(t for *_, t in rows), max(t for *_, t in rows)
    late = [t >= end - (end - start) / 4 for *_, t in rows]
    values = [v for _, _, v, _ in rows]
    for item in range(data.n_items):
        at = [n for n, row in enumerate(rows) if row[1] == item]
        own = [rows[n][2] for n in at]
        if not at:
            out.append([NAN] * (2 if key in ("item_rating", "item_audience") else 1))
        elif key == "item_popularity":
            out.append([math.log(1 + count[item])])
        elif key == "item_age":
            out.append([math.log(1 + (end - min(rows[n][3] for n in at)) / DAY)])
        elif key == "item_trend":
            out.append([math.log((sum(late[n] for n in at) + 5 * np.mean(late)) / (len(at) + 5) / np.mean(late))])
        elif key == "item_rating":
            ss = sum((v - np.mean(own)) ** 2 for v in own) + 5 * np.var(values)
            out.append([(sum(own) + 5 * np.mean(values)) / (len(at) + 5), math.sqrt(ss / (len(at) + 5))])
        else:
            fans = [of_user[u] for u, i in good if i == item]
            out.append(list((np.sum(fans, axis=0) + 5 * usual) / (len(fans) + 5)))
    return out


@pytest.mark.parametrize("key", [key for key in ITEM_KEYS if key != "item_cluster"])
def test_items_against_a_slow_loop(key):
    data = made_up()
    np.testing.assert_allclose(of(key, data), slow_item(key, data), rtol=2e-5, atol=1e-6)


def two_camps() -> Dataset:
    """Twenty users of items 0-9, twenty of items 10-19; item 20 is never chosen."""
    rng = np.random.default_rng(0)
    rows = [(u, int(i) + 10 * (u % 2), 1, 0) for u in range(40) for i in rng.choice(10, 6, replace=False)]
    return dataset(rows, 40, 21, pd.DataFrame({"camp": ["left"] * 10 + ["right"] * 11}), feedback="implicit")


def test_groups_find_two_camps():
    data = two_camps()
    one = learnt("item_cluster", data)
    flags = one.of_items()
    assert flags.shape == (21, 2) and np.isnan(flags[20]).all()
    assert (flags[:20].sum(1) == 1).all()
    assert len({tuple(row) for row in flags[:10]}) == 1 and (flags[:10] == 1 - flags[10:20]).all()
    left = int(flags[0, 1])
    assert one.names[left].endswith("(left)") and one.names[1 - left].endswith("(right)")
    shares = of("cluster_profile", data)
    # six items of the own camp and two more, half of them from either: (6 + 1) / 8
    np.testing.assert_allclose(shares[0, left], 7 / 8, rtol=1e-6)
    np.testing.assert_allclose(shares[1, left], 1 / 8, rtol=1e-6)


def test_groups_are_the_same_for_the_same_seed():
    data = made_up()
    for key in ("item_cluster", "cluster_profile"):
        assert np.array_equal(of(key, data), of(key, data), equal_nan=True)


def both(data: Dataset, keys=None, seed=0) -> tuple[DerivedSet, DerivedSet]:
    items = None if data.item_table is None else encode_table(data.item_table)
    return tuple(DerivedSet.fit(data, keys, items, np.random.default_rng(seed), side) for side in ("user", "item"))


def values(data: Dataset, keys=None) -> tuple[np.ndarray, np.ndarray]:
    users, items = both(data, keys)
    return users.of_histories(data.histories()), items.item_table().matrix.toarray()


ALL = [*USER_KEYS, *ITEM_KEYS]


def test_held_out_interactions_change_nothing():
    data = made_up()
    rng = np.random.default_rng(1)
    train = rng.random(len(data)) < 0.7
    changed = replace(
        data,
        item=np.where(train, data.item, 3),
        value=np.where(train, data.value, 5),
        time=np.where(train, data.time, data.time.max() + 100 * DAY),
    )
    shown = made_up(7).histories()
    for a, b in zip(both(data.subset(train), ALL), both(changed.subset(train), ALL), strict=True):
        assert a.plain() == b.plain() and a.arrays().keys() == b.arrays().keys()
        for name, array in a.arrays().items():
            same = array if isinstance(array, np.ndarray) else array.toarray()
            other = b.arrays()[name] if isinstance(array, np.ndarray) else b.arrays()[name].toarray()
            assert np.array_equal(same, other, equal_nan=True), name
        if a.side == "user":
            assert np.array_equal(a.of_histories(shown), b.of_histories(shown))


def test_row_order_changes_nothing():
    data = made_up()
    order = np.random.default_rng(2).permutation(len(data))
    for a, b in zip(values(data, ALL), values(data.subset(order), ALL), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_what_is_learnt_survives_json_and_arrays_to_the_bit():
    data = made_up()
    for one in both(data, ALL):
        assert one.keys == sorted(USER_KEYS if one.side == "user" else ITEM_KEYS)
        again = DerivedSet.restore(json.loads(json.dumps(one.plain())), one.arrays())
        assert (again.names, again.fields, again.left_out) == (one.names, one.fields, one.left_out)
        if one.side == "user":
            assert np.array_equal(one.of_histories(data.histories()), again.of_histories(data.histories()))
        else:
            assert (one.item_table().matrix != again.item_table().matrix).nnz == 0


def test_quantities_are_scaled_over_those_who_have_them_and_missing_is_flagged():
    data = made_up()
    for one, found in zip(both(data, ALL), values(data, ALL), strict=True):
        assert found.shape[1] == len(one.names) == len(one.field) == one.n_features and found.dtype == np.float32
        for number, feature in enumerate(one.features):
            span = np.flatnonzero(one.field == number)
            assert one.names[span[-1]] == f"{feature.label}=(missing)" and one.fields[number] == (feature.label, "derived")
            raw = feature.of_items() if one.side == "item" else feature.of_histories(data.histories())
            assert np.array_equal(found[:, span[-1]] == 1, np.isnan(raw).any(1)) and np.isnan(raw).any()
            for column, own in zip(span[:-1], raw.T, strict=True):
                has = ~np.isnan(own)
                assert (found[~has, column] == 0).all()
                if feature.categorical:
                    assert np.array_equal(found[has, column], own[has])
                else:
                    assert abs(found[has, column].mean()) < 1e-4 and abs(found[has, column].std() - 1) < 1e-4


def test_shares_add_up_to_one():
    data = made_up()
    for key in ("taste_profile", "cluster_profile"):
        total = of(key, data).sum(1)
        np.testing.assert_allclose(total[~np.isnan(total)], 1, rtol=1e-5)


def test_names_are_for_people():
    users, items = both(hand(), ["activity", "taste_profile", "item_popularity"])
    assert users.names == ["Activity", "Activity=(missing)", "Taste: Comedy", "Taste: Drama", "Taste=(missing)"]
    table = items.item_table()
    assert table.names == ["Popularity", "Popularity=(missing)"] and table.fields == [("Popularity", "derived")]
    assert encode_table(hand().item_table).beside(table).names[-2:] == table.names
    assert users.notes() == ["High-level features of users used: activity, taste."]


def test_a_new_user_without_a_history_is_missing_everywhere():
    data = made_up()
    users, items = both(data, ALL)
    found = users.of_histories(Histories.from_lists([[], [3, 1], []]))
    flags = np.array([name.endswith("=(missing)") for name in users.names])
    for row in (0, 2):
        assert np.array_equal(found[row], flags.astype(np.float32))
    assert np.array_equal(users.of_unknown(2), found[[0, 2]])
    by_hand = {users.fields[number][0] for number in users.field[flags & (found[1] == 1)]}
    assert by_hand == {"Recency", "Tenure", "Sessions", "Rating style"}  # items picked by hand have no time and no rating
    assert np.array_equal(items.of_unknown(1), items.item_table().matrix[-1].toarray())  # the last item was never chosen
    assert users.of_histories(Histories.from_lists([])).shape == (0, users.n_features)


def test_a_history_is_described_the_same_alone_and_among_others():
    data = made_up()
    users, _ = both(data, ALL)
    together = users.of_histories(data.histories())
    for user in (0, 7, data.n_users - 1):
        assert np.array_equal(users.of_histories(data.histories(np.array([user])))[0], together[user])


def test_what_the_data_lacks_is_said():
    data = replace(made_up(), time=None, feedback="implicit", threshold=None, item_table=None)
    users, items = both(data, ALL)
    assert users.keys == ["activity", "cluster_profile", "mainstream"]
    assert items.keys == ["item_audience", "item_cluster", "item_popularity"]
    assert users.left_out["recency"] == "It needs a time for every interaction."
    assert users.left_out["taste_profile"] == "It needs an item table." and items.left_out["item_rating"] == "It needs explicit ratings."
    said = {row["key"]: row for row in describe(data.stats)}
    assert set(said) == set(ALL)
    for key, row in said.items():
        assert row["available"] == (key in users.keys + items.keys) == (not row["why_not"])
        assert row["label"] and row["help"].endswith(".") and row["default"] is registry.get("derived", key).default


def test_an_item_table_without_categories_is_said():
    data = replace(made_up(), item_table=pd.DataFrame({"weight": np.random.default_rng(0).uniform(1, 900, 45)}))
    users, items = both(data, ALL)
    assert users.left_out == dict.fromkeys(("taste_profile", "taste_entropy"), "The item table has no column of categories.")
    assert items.names[-1] == "Trend=(missing)" and any(name.startswith("Group: 1") for name in items.names)


def test_too_little_data_is_said_and_does_not_break():
    small = dataset([(0, 0, 4.0, 5)], 2, 3, pd.DataFrame({"genre": ["a", "a", "b"]}))
    users, items = both(small, ALL)
    assert "cluster_profile" in users.left_out and "item_cluster" in items.left_out
    assert np.isfinite(users.of_histories(small.histories())).all() and np.isfinite(items.item_table().matrix.toarray()).all()
    empty = small.subset(np.zeros(1, dtype=bool))
    for one in both(empty, ALL):
        assert one.keys == [] and set(one.left_out.values()) == {"There are no interactions to learn it from."}
    assert both(empty, ALL)[1].item_table().matrix.shape == (3, 0)


def test_default_and_chosen_keys():
    users, items = both(made_up())
    assert users.keys == [key for key in USER_KEYS if registry.get("derived", key).default]
    assert items.keys == [key for key in ITEM_KEYS if registry.get("derived", key).default]
    users, items = both(made_up(), ["item_age"])
    assert users.keys == [] and items.keys == ["item_age"]
    assert users.of_histories(made_up().histories()).shape == (60, 0)
    with pytest.raises(NotFound, match="Did you mean 'item_age'"):
        both(made_up(), ["item_agee"])
    with pytest.raises(Unsupported):
        items.of_histories(made_up().histories())


def test_items_that_came_after_training_say_nothing_of_a_user():
    users, _ = both(made_up(), ["activity", "mainstream", "taste_profile", "taste_entropy", "cluster_profile"])
    with_new = users.of_histories(Histories.from_lists([[3, 45, 1, 99], [45]]))
    assert np.array_equal(with_new, users.of_histories(Histories.from_lists([[3, 1], []])))
