"""Replay of held-out events: the same as a slow loop; helps where tastes drift, tells nothing where they cannot be foretold; jobs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import Progress, RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput, Cancelled, ParamError
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
from recsys_core.registry import get
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.live.event_log import EventLog
from recsys_core.serving.replay import Events, Replayed, replay, rolling
from recsys_core.serving.replay_result import points, result_of
from recsys_core.serving.replay_run import ReplaySpec, replay_run
from recsys_core.store import Workspace

DAY = 86_400
N_USERS, TASTES, SIZE = 60, 4, 10  # items of taste t: t * 10 … t * 10 + 9


def _training() -> pd.DataFrame:
    """Everybody chose 6 items of one taste."""
    rng = np.random.default_rng(3)
    rows = [(f"u{u:02}", f"i{u % TASTES * SIZE + i:02}", DAY * n) for u in range(N_USERS) for n, i in enumerate(rng.choice(SIZE, 6, False))]
    return pd.DataFrame(rows, columns=["user", "item", "time"])


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "ease.zip"
    write_bundle(get("model", "ease")(regularization=5.0).fit(from_frame(_training(), time="time"), RunContext(threads=1)), path)
    return path


def _events(pairs: list[tuple[str, str]], **more) -> Events:
    users, items = zip(*pairs, strict=True)
    n = len(pairs)
    times = 100.0 * DAY + 60.0 * np.arange(n)
    return Events(list(users), list(items), np.ones(n), times, **{"counts": np.ones(n, bool)} | more)


def _drifting() -> Events:
    """Everybody goes over to the next taste."""
    rng = np.random.default_rng(4)
    return _events(
        [(f"u{u:02}", f"i{(u + 1) % TASTES * SIZE + i:02}") for i in rng.permutation(SIZE)[:6] for u in rng.permutation(N_USERS)]
    )


def _by_chance() -> Events:
    """What is chosen has nothing to do with anything: every item is as likely as every other."""
    rng = np.random.default_rng(5)
    pairs = {(f"u{u:02}", f"i{i:02}") for u, i in zip(rng.integers(N_USERS, size=300), rng.integers(TASTES * SIZE, size=300), strict=True)}
    return _events(sorted(pairs, key=lambda pair: hash_of(pair)))


def hash_of(pair: tuple[str, str]) -> int:
    return int(np.random.default_rng(int(pair[0][1:]) * 100 + int(pair[1][1:])).integers(2**31))


def _slowly(file: Path, events: Events, k: int) -> list[tuple[bool, bool]]:
    """(online, frozen) of every event that is measured."""
    bundle, out = Bundle.open(file), []
    since: dict[str, list[int]] = {}
    for user, item in zip(events.users, events.items, strict=True):
        code, trained, target = bundle.users.code(user), bundle.history(bundle.users.code(user)), bundle.items.code(item)
        newer = History.of(since.get(user, []), times=[0] * len(since.get(user, [])))
        now = trained.and_then(newer)
        if target not in now.items:
            online = bundle.best(now, k, user=-1 if len(newer) else code)[0]
            frozen = bundle.best(trained, k, user=code, seen=now.items)[0]
            out.append((target in online, target in frozen))
        since.setdefault(user, []).append(target)
    return out


@pytest.mark.parametrize("make", [_drifting, _by_chance])
def test_it_is_what_a_slow_loop_gives(file: Path, tmp_path: Path, make) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    found = replay(Bundle.open(file), make(), log, k=5)
    log.close()
    expected = np.array(_slowly(file, make(), 5))
    np.testing.assert_array_equal(found.hits["online"], expected[:, 0])
    np.testing.assert_array_equal(found.hits["frozen"], expected[:, 1])
    assert found.had + len(found.at) == len(make()) and found.disliked == 0


def test_learning_online_helps_where_tastes_drift(file: Path) -> None:
    result = result_of(replay(Bundle.open(file), _drifting(), None, k=10), 10)
    assert result["helps"] == "helps" and result["verdict"][0].startswith("Learning online helps on this data")
    assert result["rates"]["online"]["mean"] > result["rates"]["frozen"]["mean"] + 0.2
    assert result["difference"]["low"] > 0 and result["points"][-1]["low"] > 0
    assert result["points"][-1]["events"] == result["measured"] == 360 and result["users"] == N_USERS


def test_it_says_that_it_cannot_tell(file: Path) -> None:
    result = result_of(replay(Bundle.open(file), _by_chance(), None, k=5), 5)
    assert result["helps"] == "unclear" and result["verdict"][0].startswith("It cannot be told")
    assert result["difference"]["low"] < 0 < result["difference"]["high"]
    pairs = {user: (user, item) for user, item in zip(_by_chance().users, _by_chance().items, strict=True)}
    one_each = result_of(replay(Bundle.open(file), _events(list(pairs.values())), None, k=5), 5)
    assert one_each["measured"] == one_each["users"] and "every user has one held-out event" in one_each["verdict"][0]
    none = np.empty(0, int)
    nothing = Replayed(dict.fromkeys(("online", "frozen", "popular"), none > 0), none, [], none, none / 1.0, 1, 2, 0, 0, 0.0)
    empty = result_of(nothing, 5)
    assert empty["measured"] == 0 and empty["points"] == [] and "none of the held-out events" in empty["verdict"][0]


def test_what_people_had_or_did_not_like_is_not_measured_and_new_people_and_items_are(file: Path) -> None:
    had = Bundle.open(file).history(Bundle.open(file).users.code("u00")).items[0]
    mine = Bundle.open(file).items.ids[had]
    events = _events(
        [("u00", mine), ("u00", "i39"), ("anna", "never-seen"), ("anna", "i11"), ("anna", "i11"), ("anna", "i12")],
        counts=np.array([True, False, True, True, True, True]), given=[("anna", "i10", 1.0, 99.0 * DAY)],
    )  # fmt: skip
    found = replay(Bundle.open(file), events, None, k=10)
    assert (found.had, found.disliked, len(found.at), found.new_items, found.new_users) == (2, 1, 3, 1, 1)
    assert not found.hits["online"][0], "nobody can foretell an item that nobody has heard of"
    assert found.hits["frozen"][1] and found.hits["online"][1], "both know what she came with"


def test_speed_cancel_and_progress(file: Path) -> None:
    began = time.monotonic()
    replay(Bundle.open(file), _events([("u00", "i10"), ("u01", "i21"), ("u02", "i32")]), None, speed=20.0)
    assert time.monotonic() - began >= 3 / 20 * 0.9
    steps: list[Progress] = []
    replay(Bundle.open(file), _drifting(), None, ctx=RunContext(on_progress=steps.append))
    assert steps[-1].fraction == 1.0 and {"events", "measured", "online", "frozen", "popular"} <= set(steps[-1].metrics)
    with pytest.raises(Cancelled):
        replay(Bundle.open(file), _drifting(), None, speed=1.0, ctx=RunContext(cancelled=lambda: True))


def test_rolling_by_hand_and_points() -> None:
    np.testing.assert_allclose(rolling(np.array([1, 0, 1, 1]), 2), [1, 0.5, 0.5, 1])
    hits = {"online": np.arange(60) % 2 == 0, "frozen": np.zeros(60, bool), "popular": np.zeros(60, bool)}
    found = Replayed(hits, np.arange(60) % 3, ["a", "b", "c"], np.arange(60), np.arange(60.0), 0, 0, 0, 0, 0.1)
    drawn = points(found, 500)
    assert [drawn[0]["events"], drawn[-1]["events"]] == [50, 60] and drawn[-1]["online"] == 0.5 == drawn[-1]["gap"]


def test_intervals_are_those_of_a_share_of_events_of_users_who_have_few_or_many() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), rng.integers(1, 60, 60))
    chance = rng.beta(4, 8, 60)[users]
    hits = {
        "online": rng.random(len(users)) < chance,
        "frozen": rng.random(len(users)) < chance / 2,
        "popular": rng.random(len(users)) < 0.1,
    }
    order = rng.permutation(len(users))
    hits = {name: line[order] for name, line in hits.items()}
    at = np.arange(len(users))
    result = result_of(Replayed(hits, users[order], [f"u{n}" for n in range(60)], at, at / 1.0, 0, 0, 0, 0, 0.1), 10)

    sums = {name: np.bincount(users[order], line, 60) for name, line in hits.items()}
    drawn = rng.integers(60, size=(4000, 60))  # users drawn again, the share of their events taken anew: what an interval is of
    n_events = np.bincount(users)[drawn].sum(axis=1)
    slow = np.quantile(sums["online"][drawn].sum(axis=1) / n_events, [0.025, 0.975])
    gap = np.quantile((sums["online"] - sums["frozen"])[drawn].sum(axis=1) / n_events, [0.025, 0.975])
    found, between, last = result["rates"]["online"], result["difference"], result["points"][-1]
    assert found["mean"] == pytest.approx(hits["online"].mean())
    assert [found["low"], found["high"]] == pytest.approx(slow, abs=0.15 * np.ptp(slow))
    assert [between["low"], between["high"]] == pytest.approx(gap, abs=0.15 * np.ptp(gap))
    assert [last["low"], last["high"]] == pytest.approx(gap, abs=0.15 * np.ptp(gap)) and last["gap"] == pytest.approx(between["difference"])


def test_a_run_of_the_workspace_with_and_without_times(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    for times in (True, False):
        frame = pd.concat([_training(), pd.DataFrame({"user": _drifting().users, "item": _drifting().items, "time": _drifting().times})])
        data = from_frame(frame if times else frame.drop(columns="time"), **({"time": "time"} if times else {}))
        entry = workspace.add_dataset(data, "Tastes")
        split = "leave_last" if times else "cold_users"
        run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="item_knn", split=split, ks=(5,)), RunContext(threads=1))
        spec = ReplaySpec.make(run=run.id, k=5)
        made = replay_run(workspace, spec, RunContext(threads=1))
        result = made.result()
        assert made.id == spec.analysis_id(run) and made.runs == [run.id] and result["by_time"] is times
        assert result["measured"] > 0 and ("by chance" in " ".join(result["notes"])) is not times
        assert (result["new_users"] > 0) is not times
        assert replay_run(workspace, ReplaySpec.make(run=run.id, k=5, speed=1e5), RunContext()).id == made.id
    with pytest.raises(ParamError, match="speed must be from"):
        ReplaySpec.make(run=run.id, speed=-1)
    with pytest.raises(BadInput):
        replay_run(workspace, ReplaySpec.make(run="none"), RunContext())
