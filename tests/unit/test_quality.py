"""The quality report against hand-worked cases and slow reference counts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import from_frame
from recsys_core.data.quality import lorenz, quality_report


def dataset(n=4000, users=60, items=40, seed=0, **more):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user": [f"u{k}" for k in rng.integers(0, users, n)],
            "item": [f"i{k}" for k in np.minimum(rng.geometric(0.1, n), items)],
            "value": rng.integers(1, 11, n) / 2,
            "time": rng.integers(1_500_000_000, 1_560_000_000, n),
        }
    )
    return frame, from_frame(frame, value="value", time="time", feedback="explicit", threshold=4.0, **more)


def test_counts_agree_with_pandas():
    frame, data = dataset()
    report = quality_report(data)
    per_user, per_item = frame.groupby("user").size(), frame.groupby("item").size()
    assert (report.users, report.items, report.interactions) == (len(per_user), len(per_item), len(frame))
    assert report.density == pytest.approx(len(frame) / (len(per_user) * len(per_item)))
    for side, counts in ((report.per_user, per_user), (report.per_item, per_item)):
        assert sum(side.bin_count) == side.n == len(counts)
        assert side.median == counts.median() and side.largest == counts.max()
        assert side.share_under_5 == pytest.approx((counts < 5).mean())
        for start, end, n in zip(side.bin_start, side.bin_end, side.bin_count, strict=True):
            assert n == ((counts >= start) & (counts < end)).sum()
        assert side.interactions[0] == counts.max() and side.interactions[-1] == counts.min()
    levels = frame["value"].value_counts().sort_index()
    assert report.values.levels and report.values.start == levels.index.tolist() and report.values.count == levels.tolist()
    assert report.share_relevant == pytest.approx((frame["value"] >= 4).mean())
    json.dumps(report.as_dict(), allow_nan=False)


def test_gini_and_lorenz_by_hand():
    shares, cumulated, gini = lorenz(np.array([1, 1, 1, 1]))
    assert gini == pytest.approx(0) and cumulated == pytest.approx(shares)
    # One of four has everything: Gini (n - 1) / n.
    assert lorenz(np.array([0, 0, 0, 8]))[2] == pytest.approx(0.75)
    # Mean absolute difference of 1, 2, 5 over all pairs is 16/9; half of it over the mean 8/3 is 1/3.
    shares, cumulated, gini = lorenz(np.array([5, 1, 2]))
    assert gini == pytest.approx(1 / 3) and cumulated == pytest.approx([0, 1 / 8, 3 / 8, 1])
    assert lorenz(np.array([], dtype=int))[2] == 0


@pytest.mark.parametrize(
    ("days", "bucket", "rule"), [(2, "hour", "h"), (60, "day", "D"), (700, "week", "W-SUN"), (3000, "month", "MS"), (20000, "year", "YS")]
)
def test_timeline_agrees_with_pandas(days, bucket, rule):
    rng = np.random.default_rng(1)
    first = 1_000_000_000
    time = np.sort(np.concatenate([[first, first + days * 86_400], rng.integers(first, first + days * 86_400, 500)]))
    frame = pd.DataFrame({"user": np.arange(len(time)) % 30, "item": np.arange(len(time)) % 17, "time": time})
    line = quality_report(from_frame(frame, time="time")).timeline
    stamps = pd.Series(1, index=pd.to_datetime(time, unit="s"))
    expected = stamps.groupby(stamps.index.to_period(rule)).sum() if bucket == "week" else stamps.resample(rule).sum()
    expected = expected[expected > 0]
    assert line.bucket == bucket and sum(line.count) == len(time)
    starts = expected.index.start_time if bucket == "week" else expected.index
    got = {pd.Timestamp(s): n for s, n in zip(line.start, line.count, strict=True) if n}
    assert got == dict(zip(starts, expected.tolist(), strict=True))


def test_counts_are_binned_on_a_log_scale():
    frame, _ = dataset()
    frame["value"] = np.random.default_rng(2).lognormal(3, 2, len(frame)).astype(np.float32)
    values = quality_report(from_frame(frame, value="value")).values
    assert not values.levels and len(values.count) == 40 and sum(values.count) == len(frame)
    ratios = np.array(values.end) / np.array(values.start)
    assert ratios == pytest.approx(np.full(40, ratios[0]))


def test_a_level_too_rare_for_the_sample_is_counted():
    n = 200_000
    frame = pd.DataFrame({"user": np.arange(n) % 100, "item": np.arange(n) % 77, "value": np.ones(n)})
    frame.loc[12_345, "value"] = 7.0
    assert quality_report(from_frame(frame, value="value")).values.count == [n - 1, 1]


def messages(frame, **more):
    return " ".join(quality_report(from_frame(frame, **more)).warnings)


def test_warnings_name_the_fault_and_the_figure():
    small = pd.DataFrame({"user": range(10), "item": range(10)})
    said = messages(small)
    assert said.count("Too little to learn from") == 2 and "10 interactions" in said and "0 users have two or more" in said
    big = pd.DataFrame(
        {"user": np.arange(3000) % 100, "item": np.where(np.arange(3000) % 2, 0, np.arange(3000) % 90), "value": 3.0, "time": 5}
    )
    said = messages(big, value="value", time="time", feedback="explicit", threshold=4.0)
    assert (
        "One item, '0', has" in said and "All ratings are 3" in said and "All times are equal" in said and "reach the threshold 4" in said
    )
    k = np.arange(3000)
    lone = pd.DataFrame({"user": np.where(k % 2, 9999, np.where(k < 400, k // 4, k)), "item": k % 90})
    said = messages(lone)
    assert "One user, '9999'" in said and "users have fewer than 5" in said and "of the users have two or more" in said
    _, sound = dataset()
    assert quality_report(sound).warnings == []


def test_an_empty_subset_has_a_report():
    _, data = dataset()
    report = quality_report(data.subset(np.zeros(len(data), bool)))
    assert report.interactions == 0 and report.timeline is None and report.values.count == []
