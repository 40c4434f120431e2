"""Events joined to training data, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import from_frame
from recsys_core.models._updating import changed_items, changed_users
from recsys_core.serving.taking_in import with_events


@pytest.fixture
def ratings():
    frame = pd.DataFrame({"user": list("aabb"), "item": list("xyxz"), "value": [5, 2, 4, 1], "time": [10, 20, 30, 40]})
    return from_frame(frame, value="value", time="time", feedback="explicit", threshold=4)


def events(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "event", "value", "time"])


def test_ratings_get_values_and_every_event_is_accounted_for(ratings) -> None:
    given = events(
        ("a", "z", "click", None, 50),
        ("a", "z", "dislike", None, 60),  # said again: counts instead of the click
        ("c", "x", "rating", 3.5, None),
        ("c", "new", "like", None, 70),
        ("b", "y", "skip", None, 80),
        ("b", "y", "rating", None, 90),
    )
    joined, taken = with_events(ratings, given)
    rows = list(zip(joined.users.decode(joined.user), joined.items.decode(joined.item), joined.value, joined.time, strict=True))[4:]
    assert rows == [("a", "z", 1.0, 60), ("c", "x", 3.5, 40), ("c", "new", 4.0, 70)]  # dislike: the middle of 2 and 1 that occurs
    assert (taken.events, taken.taken, taken.new_users, taken.new_items, taken.changed_users) == (6, 3, 1, 1, 2)
    assert sum(taken.left_out.values()) == 3 and taken.left_out["of the kind skip, which is no interaction"] == 1
    assert list(joined.users.ids[:2]) == list(ratings.users.ids)
    assert "3 of 6 events were taken in, from 2 users (1 new user and 1 new item)." in taken.sentence


def test_items_of_no_place_are_left_out_and_said(ratings) -> None:
    joined, taken = with_events(ratings, events(("a", "new", "like", None, 50), ("a", "z", "like", None, 51)), new_items=False)
    assert joined.n_items == 3 and taken.left_out == {"on items the model was not trained on": 1}
    assert taken.sentence == "1 of 2 events was taken in, from 1 user. Left out: 1 on items the model was not trained on."


def test_clicks_add_up_and_dislikes_have_no_value() -> None:
    data = from_frame(pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]}))
    joined, taken = with_events(data, events(("a", "y", "click", None, 1), ("a", "y", "view", None, 2), ("b", "x", "dislike", None, 3)))
    assert np.array_equal(joined.value[2:], [1, 1]) and joined.time is None
    assert taken.left_out == {"of the kind dislike, for which this data has no value": 1}


def test_no_events_change_nothing(ratings) -> None:
    joined, taken = with_events(ratings, events())
    assert joined.fingerprint == ratings.fingerprint and taken.taken == 0


def test_the_last_word_on_a_pair_counts_against_training_too(ratings) -> None:
    joined, taken = with_events(ratings, events(("a", "x", "rating", 1, 50), ("b", "z", "rating", 5, 60)))
    assert joined.matrix("value").toarray().tolist() == [[1, 2, 0], [4, 0, 5]]  # a: x was 5, b: z was 1
    assert taken.taken == 2 and taken.changed_users == 2 and len(joined) == 4
    assert changed_users(ratings, joined).tolist() == [0, 1] and changed_items(ratings, joined).tolist() == [0, 2]


def test_a_dislike_takes_back_what_was_chosen_before_it_and_not_after() -> None:
    data = from_frame(pd.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "y"]}))
    given = events(("b", "x", "like", None, 1), ("b", "x", "dislike", None, 2), ("a", "x", "dislike", None, 3), ("a", "y", "like", None, 4))
    joined, taken = with_events(data, given)
    assert joined.matrix("binary").toarray().tolist() == [[0, 1], [0, 1]]
    assert taken.left_out == {"of the kind dislike, for which this data has no value": 2, "taken back by a dislike later": 1}
    later, _ = with_events(data, events(("a", "x", "dislike", None, 1), ("a", "x", "like", None, 2)))
    assert later.matrix("binary").toarray().tolist() == [[1, 1], [0, 1]]


def test_columns_that_came_with_new_items_are_in_the_item_table(ratings) -> None:
    table = pd.DataFrame({"genre": ["Drama", "War|Drama", None], "year": [1990, 1991, 1992], "kept": pd.Categorical(["a", "b", "a"])})
    given = events(*[("a", item, "like", None, 50) for item in ("new", "new", "newer", "x", "plain")])
    given["features"] = [None, {"genre": "War", "year": 2001, "other": 1}, {"year": "long ago", "kept": 7.0}, {"genre": "Other"}, None]
    given.loc[5] = ["b", "new", "skip", None, 60, {"genre": "Second word"}]
    joined, _ = with_events(replace(ratings, item_table=table), given)
    found = joined.item_table.set_axis(list(joined.items.ids))
    assert list(found["genre"][["x", "new"]]) == ["Drama", "War"] and found["genre"][["newer", "plain"]].isna().all()
    assert found["year"].tolist()[:4] == [1990, 1991, 1992, 2001] and found["year"][["newer", "plain"]].isna().all()
    assert found.loc["newer", "kept"] == "7" and list(found.columns) == ["genre", "year", "kept"]
    assert list(table.columns) == ["genre", "year", "kept"] and len(table) == 3, "what was given stays as it was"
    assert with_events(ratings, given)[0].item_table is None
