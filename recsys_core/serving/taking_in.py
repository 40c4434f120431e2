"""Events since training, joined to the training data: what an update and a new training read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.ids import IdMap
from ..evaluation.questions import AnswerScale
from .live.records import LIKES, cell_text

AGAIN = "said again later about the same item"
EVENT_COLUMNS = ("user", "item", "event", "value", "time", "features")


@dataclass(frozen=True)
class Taken:
    """What became of the events. left_out: reason in words -> how many; taken + all of left_out = events."""

    events: int
    taken: int
    left_out: dict[str, int] = field(default_factory=dict)
    new_users: int = 0
    new_items: int = 0
    changed_users: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For the person who asked for the update."""
        others = "; ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())
        came = " and ".join(_counted(n, what) for n, what in ((self.new_users, "new user"), (self.new_items, "new item")) if n)
        verb, users = "was" if self.taken == 1 else "were", _counted(self.changed_users, "user")
        said = f"{self.taken:,} of {self.events:,} events {verb} taken in, from {users}{f' ({came})' if came else ''}. "
        return said + (f"Left out: {others}." if others else "None was left out.")


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def with_events(data: Dataset, events: pd.DataFrame, *, new_items: bool = True) -> tuple[Dataset, Taken]:
    """`data` and after it the events, on id maps that go on where those of `data` end.

    events: columns user, item, event, value, time (UTC seconds, may be missing) and, where there are any, features (of an item that is
    new: column -> cell, or None), oldest first. A plain like or dislike gets the usual
    value of one (`AnswerScale`); skips are no interactions; where the data has no ratings, neither are dislikes. The last word on a pair
    counts, as it does while it is served: a rating takes the place of those before it and a dislike takes back what was chosen, in `data`
    too. new_items=False leaves events on items out that `data` does not have.
    """
    scale, n = AnswerScale.of(data), len(events)
    kind = events["event"].astype("str").to_numpy()
    given = pd.to_numeric(events["value"], errors="coerce").to_numpy(dtype=np.float64) if "value" in events else np.full(n, np.nan)
    plain = scale.like if scale.has_ratings else 1.0
    value = np.select([np.isin(kind, LIKES), kind == "dislike", kind == "rating"], [plain, scale.dislike, given], np.nan)
    user, item = events["user"].astype("str"), events["item"].astype("str")
    known_item = data.items.encode(item) >= 0 if n else np.empty(0, bool)
    reasons = np.full(n, "", dtype=object)
    reasons[np.isnan(value)] = "ratings without a value, or events of a kind that is not known"
    reasons[kind == "skip"] = "of the kind skip, which is no interaction"
    if not scale.has_ratings:
        disliked = (kind == "dislike") | ((kind == "rating") & ~np.isnan(value) & ~scale.liked(np.nan_to_num(value)))
        reasons[disliked] = "of the kind dislike, for which this data has no value"
        judged = disliked | ((kind == "rating") & ~np.isnan(value))
        reasons[(reasons == "") & (np.arange(n) < _last(user, item, disliked))] = "taken back by a dislike later"
        again = (reasons == "") & (_last(user, item, judged) >= 0)  # of what was judged, the last word stands alone
        reasons[again & (np.arange(n) < _last(user, item, again))] = AGAIN
    if not new_items:
        reasons[(reasons == "") & ~known_item] = "on items the model was not trained on"
    if scale.has_ratings:
        keep = np.flatnonzero(reasons == "")
        repeated = pd.DataFrame({"user": user.to_numpy()[keep], "item": item.to_numpy()[keep]}).duplicated(keep="last").to_numpy()
        reasons[keep[repeated]] = AGAIN
    keep = reasons == ""
    left_out = {reason: int(count) for reason, count in pd.Series(reasons[~keep]).value_counts().items()}
    users, items = _longer(data.users, user[keep]), _longer(data.items, item[keep])
    codes_user, codes_item = users.encode(user[keep]), items.encode(item[keep])
    spoken = keep if scale.has_ratings else judged
    stays = ~np.isin(_pairs(data.user, data.item), _pairs(data.users.encode(user[spoken]), data.items.encode(item[spoken])))
    times = None
    if data.time is not None:
        last = int(data.time.max(initial=0))
        said = (
            pd.to_numeric(events["time"], errors="coerce").to_numpy(dtype=np.float64)[keep]
            if "time" in events
            else np.full(keep.sum(), np.nan)
        )
        said = np.where(np.isnan(said), last, np.nan_to_num(said)).astype(np.int64)
        times = np.concatenate([data.time[stays], _in_order(said, codes_user, data, len(users))])
    joined = Dataset(
        users=users,
        items=items,
        user=np.concatenate([data.user[stays], codes_user]),
        item=np.concatenate([data.item[stays], codes_item]),
        value=np.concatenate([data.value[stays], value[keep].astype(np.float32)]),
        time=times,
        feedback=data.feedback,
        threshold=data.threshold,
        user_table=_padded(data.user_table, len(users)),
        item_table=described(data.item_table, items, data.n_items, events),
        name=data.name,
        meta=data.meta,
        features=data.features,
    )
    changed = len(np.union1d(codes_user, data.user[~stays]))
    return joined, Taken(n, int(keep.sum()), left_out, len(users) - data.n_users, len(items) - data.n_items, changed)


def described(table: pd.DataFrame | None, items: IdMap, known: int, events: pd.DataFrame) -> pd.DataFrame | None:
    """`table` with a row for every one of `items`: those from code `known` on get the columns that came with the first event that told
    any, where the table has such a column and no cell yet; text in a column of numbers is left out."""
    table = _padded(table, len(items))
    if table is None or "features" not in events or len(items) == known:
        return table
    told = events[events["features"].map(bool, na_action="ignore").fillna(False).astype(bool)]
    codes = items.encode(told["item"].astype("str"))
    first = ~pd.Series(codes).duplicated().to_numpy() & (codes >= known)
    cells = pd.DataFrame(list(told["features"][first]), index=codes[first])
    table = table.reset_index(drop=True)
    for name in [name for name in table.columns if name in cells]:
        came, numbers = cells[name].dropna(), pd.api.types.is_numeric_dtype(table[name])
        came = pd.to_numeric(came, errors="coerce").astype("float64") if numbers else came.map(cell_text)
        table[name] = table[name].astype("float64" if numbers else "object").fillna(came)
    return table


def _in_order(times: np.ndarray, users: np.ndarray, data: Dataset, n_users: int) -> np.ndarray:
    """int64 (n,): times of events so that nobody's run backwards: they stand in the order in which they came, as while they were served."""
    before = np.full(n_users, np.iinfo(np.int64).min)
    np.maximum.at(before, data.user, data.time)
    return pd.Series(np.maximum(times, before[users])).groupby(users).cummax().to_numpy(dtype=np.int64)


def _pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """int64 (n,): one number a pair of codes; -1 where one of them is not known."""
    return np.where((users >= 0) & (items >= 0), users.astype(np.int64) << 32 | items.astype(np.int64), -1)


def _last(users: pd.Series, items: pd.Series, which: np.ndarray) -> np.ndarray:
    """int64 (n,): the place of the last of `which` (bool) with the same user and item, -1 where there is none."""
    pair = pd.DataFrame({"user": users, "item": items}).groupby(["user", "item"], sort=False).ngroup().to_numpy()
    last = np.full(pair.max(initial=-1) + 1, -1)
    last[pair[which]] = np.flatnonzero(which)  # of several the last stays
    return last[pair]


def _longer(ids: IdMap, more: pd.Series) -> IdMap:
    new = pd.unique(more[ids.encode(more) < 0]) if len(more) else []
    return IdMap([*ids.ids, *new]) if len(new) else ids


def _padded(table: pd.DataFrame | None, n: int) -> pd.DataFrame | None:
    return table if table is None or len(table) == n else table.reset_index(drop=True).reindex(range(n))
