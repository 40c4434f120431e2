"""Make the sample data: a fictional bookshop's event log, its books and its readers.

    python sample_data/make_sample.py --interactions 60000 --out sample_data --seed 7

Writes interactions.csv.gz (plain interactions.csv above 2 million rows), items.csv and users.csv. The
same arguments give the same bytes. Any size from 1 thousand to 50 million rows.

How a row comes about: session starts follow a daily and weekly rhythm over 18 months; each session
belongs to a reader who has already joined; the reader's mix of tastes (which drifts from an early to a
late mix) gives the mood of the session; a visit picks a book of that taste by a power law, sometimes a
new release, sometimes the next book of a series, sometimes what everybody buys; a visit is a view, and
may go on to a cart and a purchase; some purchases are rated. Cost: 10 million rows in some 10 seconds
and half a GB: arrays of one entry per session and per visit are held, rows only one chunk at a time.
"""

from __future__ import annotations

import argparse
import gzip
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from catalogue import AGE_BANDS, CATEGORIES, item_table, user_table
from pyarrow import csv

START, DAYS = np.datetime64("2024-07-01", "s"), 548
TASTES_PER_USER, TASTES_PER_ITEM, SERIES_LENGTH = 3, 2, 4
DEPTH_SHARE = (0.68, 0.17, 0.15)  # of visits: viewed only, put into the cart, bought
VISITS_PER_SESSION = 5
CHUNK_VISITS = 500_000
EVENTS = np.array(["view", "cart", "purchase"], dtype=object)
HOUR_WEIGHT = np.array([2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 5, 6, 8, 7, 6, 6, 7, 9, 12, 16, 19, 18, 12, 6], dtype=float)
DAY_WEIGHT = np.array([1.0, 0.9, 0.9, 0.95, 1.05, 1.35, 1.45])  # Monday first


@dataclass(frozen=True)
class World:
    """What the event log is drawn from. U users and I items are in order of arrival; T tastes, and one
    more "taste" T which holds every item: what is popular with everybody.

    Shelves: the items of every taste one after another, each taste in order of release. shelf_item,
    shelf_time (S,); shelf_cum: running sum of weights (S,); shelf_start: (T + 2,) where each begins.
    """

    user_ids: np.ndarray
    user_join: np.ndarray  # (U,) seconds from START, ascending
    user_cum: np.ndarray  # (U,) running sum of activity
    user_taste: np.ndarray  # (2, U, 3) early and late mix
    user_mix: np.ndarray  # (U, 3) running shares
    item_ids: np.ndarray
    item_quality: np.ndarray  # (I,)
    item_taste: np.ndarray  # (I, 2)
    item_next: np.ndarray  # (I,) next book of the series, or -1
    item_release: np.ndarray  # (I,) seconds from START, ascending
    shelf_item: np.ndarray
    shelf_time: np.ndarray
    shelf_cum: np.ndarray
    shelf_start: np.ndarray
    items: pd.DataFrame
    users: pd.DataFrame

    @property
    def n_tastes(self) -> int:
        return len(self.shelf_start) - 2


def sizes(n_interactions: int) -> tuple[int, int, int]:
    """(users, items, tastes) of a log of that many rows: 1,500, 1,000 and 14 for 60,000."""
    scale = n_interactions / 60_000
    return max(40, round(1500 * scale**0.9)), max(60, round(1000 * scale**0.5)), int(np.clip(round(14 * scale**0.2), 8, 48))


def _arrivals(rng: np.random.Generator, n: int, from_start: float, at_end: float) -> np.ndarray:
    """Ascending seconds: a share is there from the start (0), a share comes in the last 5 % of the time."""
    kind = rng.random(n)
    share = np.where(kind < from_start, 0.0, np.where(kind > 1 - at_end, rng.uniform(0.95, 0.999, n), rng.uniform(0, 0.95, n)))
    return np.sort(share) * DAYS * 86_400


def make_world(rng: np.random.Generator, n_interactions: int) -> World:
    n_users, n_items, n_tastes = sizes(n_interactions)
    n_categories = len(CATEGORIES)
    taste_main = np.arange(n_tastes) % n_categories
    taste_second = (taste_main + rng.integers(1, n_categories, n_tastes)) % n_categories

    release = _arrivals(rng, n_items, from_start=0.6, at_end=0.04)
    taste = rng.integers(0, n_tastes, (n_items, TASTES_PER_ITEM))
    taste[:, 1] = np.where(rng.random(n_items) < 0.6, taste[:, 0], taste[:, 1])  # most books have one taste
    quality = rng.normal(0, 1, n_items)
    weight = rng.permutation(np.arange(1, n_items + 1) ** -0.8) * np.exp(0.3 * quality)
    # A series: an early book and three later ones, of the same tastes.
    n_series = n_items // 12
    member = rng.permutation(n_items)[: n_series * SERIES_LENGTH].reshape(n_series, SERIES_LENGTH)
    member.sort(axis=1)
    taste[member] = taste[member[:, :1]]
    series, volume, following = np.full(n_items, -1), np.zeros(n_items, int), np.full(n_items, -1)
    series[member], volume[member] = np.arange(n_series)[:, None], np.arange(1, SERIES_LENGTH + 1)
    following[member[:, :-1]] = member[:, 1:]
    main = taste_main[taste[:, 0]]
    two = taste[:, 0] != taste[:, 1]
    second = np.where(two, taste_main[taste[:, 1]], np.where(rng.random(n_items) < 0.5, taste_second[taste[:, 0]], -1))
    second = np.where(second == main, -1, second)

    shelf_taste = np.concatenate([taste[:, 0], taste[two, 1], np.full(n_items, n_tastes)])
    shelf_item = np.concatenate([np.arange(n_items), np.flatnonzero(two), np.arange(n_items)])
    order = np.lexsort((shelf_item, shelf_taste))
    shelf_taste, shelf_item = shelf_taste[order], shelf_item[order]
    shelf_start = np.searchsorted(shelf_taste, np.arange(n_tastes + 2))

    join = _arrivals(rng, n_users, from_start=0.5, at_end=0.05)
    activity = rng.lognormal(0, 1.0, n_users)
    age = rng.choice(len(AGE_BANDS), n_users, p=[0.16, 0.24, 0.21, 0.17, 0.13, 0.09])
    # Tastes are not equally common, and each age band has its own favourites.
    appeal = rng.dirichlet(np.full(n_tastes, 2.0), len(AGE_BANDS)).cumsum(axis=1)
    early = (rng.random((n_users, TASTES_PER_USER, 1)) > appeal[age][:, None, :]).sum(axis=2).clip(max=n_tastes - 1)
    late = early.copy()
    late[:, -1] = rng.integers(0, n_tastes, n_users)
    mix = np.sort(rng.dirichlet((1.2, 0.6, 0.3), n_users), axis=1)[:, ::-1].cumsum(axis=1)

    user_ids = _ids(rng, "r", n_users)
    item_ids = _ids(rng, "b", n_items)
    return World(
        user_ids=user_ids, user_join=join, user_cum=activity.cumsum(), user_taste=np.stack([early, late]), user_mix=mix,
        item_ids=item_ids, item_quality=quality, item_taste=taste, item_next=following, item_release=release,
        shelf_item=shelf_item, shelf_time=release[shelf_item], shelf_cum=weight[shelf_item].cumsum(), shelf_start=shelf_start,
        items=item_table(rng, item_ids, main, second, series, volume, _stamp(release - (release == 0) * rng.uniform(0, 9e8, n_items))),
        users=user_table(rng, user_ids, age, activity, _stamp(join - (join == 0) * rng.uniform(0, 9e7, n_users))),
    )  # fmt: skip


def _stamp(seconds: np.ndarray) -> np.ndarray:
    return START + seconds.astype("timedelta64[s]")


def _ids(rng: np.random.Generator, letter: str, n: int) -> np.ndarray:
    """Ids in no order that tells anything: a letter and a number of fixed width."""
    width = max(4, len(str(10 * n)))
    numbers = rng.permutation(10 * n)[:n].astype(str)
    return np.char.add(letter, np.char.zfill(numbers, width)).astype(object)


def session_starts(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ascending seconds from START: evenings, weekends, and a shop that doubles its traffic over the time."""
    hours = np.arange(DAYS * 24)
    day = hours // 24
    weekday = (day + (START.astype("datetime64[D]").astype(int) + 3) % 7) % 7
    cumulative = (HOUR_WEIGHT[hours % 24] * DAY_WEIGHT[weekday] * (1 + day / DAYS)).cumsum()
    drawn = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return np.sort(drawn * 3600.0 + rng.random(n) * 3600)


def _pick(rng: np.random.Generator, world: World, shelf: np.ndarray, when: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Item codes: from each visit's shelf, among what is out by then, by weight; `fresh` from its newest 15."""
    span = 2.0 * DAYS * 86_400
    keys = np.repeat(np.arange(world.n_tastes + 1), np.diff(world.shelf_start)) * span + world.shelf_time
    end = np.searchsorted(keys, shelf * span + when, side="right")
    start = world.shelf_start[shelf]
    start = np.where(fresh, np.maximum(start, end - 15), start)
    empty = end <= start  # nothing of that taste is out yet: the first of the shelf
    end = np.where(empty, start + 1, end)
    before = np.where(start > 0, world.shelf_cum[start - 1], 0.0)
    drawn = before + rng.random(len(shelf)) * (world.shelf_cum[end - 1] - before)
    return world.shelf_item[np.clip(np.searchsorted(world.shelf_cum, drawn, side="right"), start, end - 1)]


def visits(
    rng: np.random.Generator, world: World, session: np.ndarray, first: np.ndarray, start: np.ndarray, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(user, item, seconds, rating or 0) of each visit of some whole sessions.

    session: (n,) number from 0, ascending; first: (n,) whether it opens its session; start: (n_sessions,)
    seconds; depth: (n,) 1 viewed, 2 put into the cart, 3 bought.
    """
    n, n_sessions = len(session), len(start)
    joined = np.maximum(np.searchsorted(world.user_join, start, side="right"), 1)
    who = np.searchsorted(world.user_cum, rng.random(n_sessions) * world.user_cum[joined - 1], side="right")
    user = who[session]
    when = start[session]

    def moods(of: np.ndarray, progress: np.ndarray) -> np.ndarray:
        slot = (rng.random(len(of))[:, None] > world.user_mix[of]).sum(axis=1).clip(max=TASTES_PER_USER - 1)
        return world.user_taste[(rng.random(len(of)) < progress).astype(int), of, slot]

    progress = when / (DAYS * 86_400)
    shelf = np.where(rng.random(n) < 0.75, moods(who, start / (DAYS * 86_400))[session], moods(user, progress))
    # Readers look at what everybody looks at, but buy more by their own taste.
    shelf = np.where(rng.random(n) < np.array([0, 0.22, 0.12, 0.08])[depth], world.n_tastes, shelf)
    item = _pick(rng, world, shelf, when, rng.random(n) < 0.12)
    # The next of the series of what they have just looked at, once it is out.
    previous = np.concatenate([[-1], item[:-1]])
    following = np.where(first | (previous < 0), -1, world.item_next[previous])
    follows = (following >= 0) & (world.item_release[np.maximum(following, 0)] <= when) & (rng.random(n) < 0.6)
    item = np.where(follows, following, item)

    gap = rng.exponential(70, n) + 8
    elapsed = gap.cumsum()
    seconds = when + elapsed - elapsed[np.flatnonzero(first)][session]
    liked = (world.item_taste[item][:, :, None] == world.user_taste[0, user][:, None, :]).any(axis=(1, 2))
    stars = np.rint(3.2 + 0.7 * liked + 0.5 * world.item_quality[item] + rng.normal(0, 0.7, n)).clip(1, 5).astype(np.int8)
    return user, item, seconds, np.where((depth == 3) & (rng.random(n) < 0.45), stars, 0)


def event_tables(rng: np.random.Generator, world: World, n_interactions: int):
    """Yield arrow tables user_id, item_id, event, rating, timestamp: exactly n_interactions rows in all, by time in each."""
    mean_depth = float(np.dot(DEPTH_SHARE, (1, 2, 3)))
    n_visits = int(n_interactions / mean_depth * 1.02) + 400
    depth = rng.choice(np.array([1, 2, 3], np.int8), n_visits, p=DEPTH_SHARE)
    rows_after = depth.cumsum(dtype=np.int64)
    n_visits = int(np.searchsorted(rows_after, n_interactions)) + 1
    depth = depth[:n_visits]
    depth[-1] -= rows_after[n_visits - 1] - n_interactions
    lengths = rng.geometric(1 / VISITS_PER_SESSION, int(n_visits / VISITS_PER_SESSION * 1.1) + 200).astype(np.int32)
    ends = lengths.cumsum(dtype=np.int64)
    while ends[-1] < n_visits:  # all but impossible: the margin is many standard deviations
        lengths = np.concatenate([lengths, lengths])
        ends = lengths.cumsum(dtype=np.int64)
    n_sessions = int(np.searchsorted(ends, n_visits)) + 1
    ends = np.minimum(ends[:n_sessions], n_visits)
    start = session_starts(rng, n_sessions)
    users, items, events = (pa.array(values, pa.string()) for values in (world.user_ids, world.item_ids, EVENTS))
    done = 0
    while done < n_sessions:
        begin = int(ends[done - 1]) if done else 0
        stop = min(n_sessions, max(done + 1, int(np.searchsorted(ends, begin + CHUNK_VISITS, side="right"))))
        opens = np.concatenate([[begin], ends[done : stop - 1]]) - begin
        count = int(ends[stop - 1]) - begin
        first = np.zeros(count, bool)
        first[opens] = True
        deep = depth[begin : begin + count]
        user, item, seconds, rating = visits(rng, world, first.cumsum() - 1, first, start[done:stop], deep)
        visit = np.repeat(np.arange(count), deep)
        step = np.arange(len(visit)) - np.repeat(deep.cumsum(dtype=np.int64) - deep, deep)
        stamp = seconds[visit] + step * 25.0
        order = np.argsort(stamp, kind="stable")
        visit, step, stamp = visit[order], step[order], stamp[order]
        rated = (step == 2) & (rating[visit] > 0)
        yield pa.table(
            {
                "user_id": users.take(pa.array(user[visit])),
                "item_id": items.take(pa.array(item[visit])),
                "event": events.take(pa.array(step)),
                "rating": pa.array(rating[visit], mask=~rated),
                "timestamp": pa.array(_stamp(stamp), pa.timestamp("s")),
            }
        )
        done = stop


def make(n_interactions: int, out: Path, seed: int) -> Path:
    """Write the three files into `out`; the path of the event log."""
    if not 1_000 <= n_interactions <= 50_000_000:
        raise SystemExit(f"--interactions must be from 1000 to 50000000; got {n_interactions}.")
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    world = make_world(rng, n_interactions)
    world.items.to_csv(out / "items.csv", index=False)
    world.users.to_csv(out / "users.csv", index=False)
    small = n_interactions <= 2_000_000
    path = out / ("interactions.csv.gz" if small else "interactions.csv")
    # No name and no date in the gzip header: the same arguments give the same bytes.
    with open(path, "wb") as raw, closing(gzip.GzipFile("", "wb", 9, raw, mtime=0) if small else raw) as file:
        header = True
        for table in event_tables(rng, world, n_interactions):
            csv.write_csv(table, file, csv.WriteOptions(include_header=header, quoting_style="none", quoting_header="none"))
            header = False
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=60_000, help="rows of the event log, from 1000 to 50000000")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    path = make(args.interactions, args.out, args.seed)
    print(f"{args.interactions:,} interactions written to {path}")


if __name__ == "__main__":
    main()
