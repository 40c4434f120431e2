"""The sample data: what make_sample.py promises, and that what is shipped is what it makes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.sample import COLUMNS, EVENT_WEIGHTS, sample_paths
from recsys_core.errors import NotFound

FOLDER = Path(__file__).resolve().parents[2] / "sample_data"


def _script(name: str):
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location(f"sample_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def maker():
    return _script("make_sample")


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    return pd.read_csv(sample_paths().interactions, parse_dates=["timestamp"])


def test_shipped_files_are_what_the_script_makes(maker, tmp_path, events):
    made = pd.read_csv(maker.make(60_000, tmp_path, 7), parse_dates=["timestamp"])
    pd.testing.assert_frame_equal(made, events)
    for name in ("items.csv", "users.csv"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
    assert sample_paths().interactions.stat().st_size < 2_000_000


def test_same_seed_same_bytes_and_another_seed_other_data(maker, tmp_path):
    one, two, other = (maker.make(3_000, tmp_path / name, seed).read_bytes() for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert one == two
    assert one != other


@pytest.mark.parametrize("n", [1_000, 1_001, 54_321])
def test_exactly_as_many_rows_as_asked_for(maker, tmp_path, n):
    frame = pd.read_csv(maker.make(n, tmp_path, 5))
    assert len(frame) == n
    assert frame["user_id"].nunique() >= 25
    assert frame[["user_id", "item_id", "event", "timestamp"]].notna().all().all()


def test_chunks_join_without_a_seam(maker, tmp_path, monkeypatch):
    monkeypatch.setattr(maker, "CHUNK_VISITS", 700)
    frame = pd.read_csv(maker.make(20_000, tmp_path, 5), parse_dates=["timestamp"])
    assert len(frame) == 20_000
    steps = frame["timestamp"].diff().dt.total_seconds().iloc[1:]
    assert steps.min() > -3_600  # only sessions that overlap at a seam may be out of order


@pytest.mark.parametrize("n", [999, 50_000_001])
def test_sizes_outside_the_range_are_refused(maker, tmp_path, n):
    with pytest.raises(SystemExit, match=str(n)):
        maker.make(n, tmp_path, 1)


def test_events_are_a_funnel_and_only_purchases_are_rated(events):
    counts = events["event"].value_counts()
    assert list(counts.index) == ["view", "cart", "purchase"]
    assert set(counts.index) == set(EVENT_WEIGHTS)
    assert set(COLUMNS.values()) <= set(events.columns)
    rated = events["rating"].notna()
    assert set(events.loc[rated, "event"]) == {"purchase"}
    assert set(events.loc[rated, "rating"]) == {1, 2, 3, 4, 5}
    bought = events[events["event"] == "purchase"][["user_id", "item_id"]].merge(
        events[events["event"] == "view"][["user_id", "item_id"]].drop_duplicates(), how="left", indicator=True
    )
    assert (bought["_merge"] == "both").all()  # nobody buys unseen


def test_popularity_follows_a_power_law(events):
    counts = events["item_id"].value_counts().to_numpy()
    ranks = np.arange(1, len(counts) + 1)
    middle = slice(5, len(counts) // 2)
    slope = np.polyfit(np.log(ranks[middle]), np.log(counts[middle]), 1)[0]
    assert -1.5 < slope < -0.4
    assert counts[: len(counts) // 10].sum() > 0.35 * counts.sum()


def test_time_has_evenings_weekends_and_arrivals(events):
    hour = events["timestamp"].dt.hour
    assert (hour.between(19, 22)).mean() > 4 * (hour.between(2, 5)).mean()
    weekday = events["timestamp"].dt.day_of_week.value_counts()
    assert weekday[[5, 6]].mean() > 1.2 * weekday[[0, 1, 2, 3]].mean()
    last = events["timestamp"].max() - pd.Timedelta(days=28)
    for column in ("user_id", "item_id"):
        first = events.groupby(column)["timestamp"].min()
        assert (first > last).sum() >= 10


def test_tables_join_and_titles_are_distinct(events):
    items, users = (pd.read_csv(path) for path in (sample_paths().items, sample_paths().users))
    assert set(events["item_id"]) <= set(items["item_id"]) and items["item_id"].is_unique
    assert set(events["user_id"]) <= set(users["user_id"]) and users["user_id"].is_unique
    assert items["title"].is_unique
    assert items["categories"].str.contains("|", regex=False).mean() > 0.2
    assert users.groupby("age_band").size().min() > 50
    released = items.set_index("item_id")["released"].reindex(events["item_id"]).to_numpy()
    early = events["timestamp"].dt.strftime("%Y-%m-%d").to_numpy() < released
    assert early.mean() < 0.01  # all but nothing is looked at before it is out


def test_tastes_can_be_learnt(events):
    """EASE in numpy finds at least twice of what popularity finds."""
    pairs = events.drop_duplicates(["user_id", "item_id"])
    user, item = (pd.factorize(pairs[column])[0] for column in ("user_id", "item_id"))
    held = np.random.default_rng(0).random(len(pairs)) < 0.2
    shape = (user.max() + 1, item.max() + 1)
    train, truth = np.zeros(shape), np.zeros(shape, bool)
    train[user[~held], item[~held]] = 1
    truth[user[held], item[held]] = True
    inverse = np.linalg.inv(train.T @ train + 200 * np.eye(shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)

    def recall(scores: np.ndarray) -> float:
        top = np.argpartition(np.where(train > 0, -np.inf, scores), -20, axis=1)[:, -20:]
        some = truth.any(axis=1)
        return float((np.take_along_axis(truth, top, axis=1).sum(axis=1)[some] / truth.sum(axis=1)[some]).mean())

    assert recall(train @ weights) > 2 * recall(np.tile(train.sum(axis=0), (shape[0], 1)))


def test_missing_files_are_named(tmp_path):
    (tmp_path / "items.csv").write_text("item_id\n")
    with pytest.raises(NotFound, match=r"interactions\.csv\.gz, users\.csv"):
        sample_paths(tmp_path)


def test_messy_file_is_what_its_script_makes_and_is_dirty():
    text = sample_paths().messy.read_bytes()
    made = ("\r\n".join(_script("make_messy").rows(11)) + "\r\n").encode("utf-8-sig")
    assert text == made
    assert 250 < len(text.splitlines()) < 350
