"""The result file of a test, one row a user or one row an event, made into one row a user."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ...errors import DataError

_NAMES = {
    "user": r"^(user|visitor|customer|member|account|person|client|uid|id)([ _-]?id)?$|user",
    "variant": r"variant|group|arm|bucket|treatment|experiment|^ab|condition|cell",
    "time": r"date|time|day|timestamp|^ts$",
    "before": r"pre[ _-]|^pre|before|baseline|prior|history",
}
MOST_VARIANTS = 20
FORMER = "pre_period"  # the column of `Experiment.users` that holds the pre-period value


@dataclass(frozen=True)
class Experiment:
    """users: one row a user: "variant" (text), each outcome (float), FORMER (float, when given) and "day" of the first row (when
    given). control: name of the control group. notes: what was left out, in sentences."""

    users: pd.DataFrame
    outcomes: tuple[str, ...]
    control: str
    has_former: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def variants(self) -> list[str]:
        """Control first, the others by name."""
        names = sorted(self.users["variant"].unique())
        return [self.control, *(name for name in names if name != self.control)]

    @property
    def sizes(self) -> dict[str, int]:
        """Users by variant, control first."""
        counts = self.users["variant"].value_counts()
        return {name: int(counts[name]) for name in self.variants}


def guess_roles(frame: pd.DataFrame) -> dict[str, list[str] | str | None]:
    """{"user", "variant", "time", "before": column or None, "outcomes": columns}, by name and content."""
    found: dict[str, list[str] | str | None] = {}
    taken: set[str] = set()
    few = [c for c in frame.columns if 2 <= frame[c].nunique(dropna=True) <= MOST_VARIANTS]
    numeric = [c for c in frame.columns if pd.to_numeric(frame[c].dropna().head(1000), errors="coerce").notna().mean() > 0.9]
    pools = {"variant": few, "user": list(frame.columns), "time": list(frame.columns), "before": numeric}
    for role, pool in pools.items():
        named = [c for c in pool if c not in taken and re.search(_NAMES[role], str(c).strip().lower())]
        found[role] = named[0] if named else None
        taken.update(named[:1])
    if found["variant"] is None:
        words = [c for c in few if c not in taken and c not in numeric]
        found["variant"] = words[0] if words else None
        taken.update(words[:1])
    found["outcomes"] = [c for c in numeric if c not in taken]
    return found


def experiment(
    frame: pd.DataFrame,
    *,
    user: str,
    variant: str,
    outcomes: list[str],
    control: str | None = None,
    before: str | None = None,
    time: str | None = None,
) -> Experiment:
    """One row a user from a file. Outcomes of several rows of a user are added up, the pre-period value is their mean.

    Users met in more than one variant are left out (they saw both), so are rows without user or variant; an empty outcome
    counts as 0. control: default the group called control, A, 0, off or the like, else the first by name.
    Raises DataError for missing columns, fewer than two groups, and outcomes that are not numbers.
    """
    columns = [user, variant, *outcomes, *filter(None, [before, time])]
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise DataError(f"The file has no column '{missing[0]}'.", f"It has: {', '.join(map(str, frame.columns))}.")
    if not outcomes:
        raise DataError("Choose at least one outcome: a column of numbers, such as clicked or revenue.")
    notes: list[str] = []
    rows = pd.DataFrame({"user": frame[user].astype("string").str.strip(), "variant": frame[variant].astype("string").str.strip()})
    for name in outcomes:
        rows[name] = _numbers(frame[name], name, notes, empty=0.0)
    if before:
        rows[FORMER] = _numbers(frame[before], before, notes, empty=np.nan)
    if time:
        rows["day"] = _days(frame[time], time, notes)
    blank = rows["user"].isna() | (rows["user"] == "") | rows["variant"].isna() | (rows["variant"] == "")
    if blank.any():
        notes.append(f"{int(blank.sum()):,} rows have no user or no group; they are left out.")
        rows = rows[~blank]
    groups = rows.groupby("user")["variant"].nunique()
    both = groups.index[groups > 1]
    if len(both):
        notes.append(f"{len(both):,} users were in more than one group; they are left out.")
        rows = rows[~rows["user"].isin(both)]
    how = {"variant": "first"} | dict.fromkeys(outcomes, "sum")
    how |= ({FORMER: "mean"} if before else {}) | ({"day": "min"} if time else {})
    users = rows.groupby("user", sort=True).agg(how)
    if len(rows) > len(users):
        notes.append(f"{len(rows):,} rows were added up to {len(users):,} users.")
    names = sorted(users["variant"].unique())
    if not 2 <= len(names) <= MOST_VARIANTS:
        raise DataError(
            f"'{variant}' must have from 2 to {MOST_VARIANTS} groups; it has {len(names):,}.", "Choose the column of the groups."
        )
    chosen = control or next((n for n in names if re.fullmatch(r"control.*|a|0|off|base(line)?|old|false", n.lower())), names[0])
    if chosen not in names:
        raise DataError(f"There is no group '{chosen}'.", f"Groups: {', '.join(names)}.")
    users["variant"] = users["variant"].astype(object)
    return Experiment(users, tuple(outcomes), str(chosen), has_former=bool(before), notes=notes)


def _numbers(column: pd.Series, name: str, notes: list[str], *, empty: float) -> np.ndarray:
    words = column.astype("string").str.strip().str.lower().map({"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0})
    numbers = pd.to_numeric(column, errors="coerce").astype("float64").fillna(words.astype("float64")).to_numpy()
    given = column.notna().to_numpy() & (column.astype("string").str.strip().fillna("") != "").to_numpy()
    bad = given & ~np.isfinite(numbers)
    if bad.all() or bad.sum() > 0.5 * max(1, given.sum()):
        raise DataError(f"The column '{name}' must hold numbers; it holds '{column[bad].iloc[0]}'.", "Choose another outcome.")
    if bad.any():
        notes.append(f"{int(bad.sum()):,} values of '{name}' are no numbers (such as '{column[bad].iloc[0]}'); they count as empty.")
    return np.where(np.isfinite(numbers), numbers, empty)


def _days(column: pd.Series, name: str, notes: list[str]) -> pd.Series:
    """Midnight of each row's day; numbers are seconds since 1970."""
    dates = pd.api.types.is_datetime64_any_dtype(column)
    numbers = pd.Series(np.nan, column.index) if dates else pd.to_numeric(column, errors="coerce")
    seconds = numbers.notna().mean() > 0.9 and numbers.median() > 1e8
    times = pd.to_datetime(numbers if seconds else column, errors="coerce", unit="s" if seconds else None, utc=True)
    if times.isna().all():
        raise DataError(f"The column '{name}' holds no dates; it holds '{column.iloc[0]}'.", "Choose another column, or none.")
    if times.isna().any():
        notes.append(f"{int(times.isna().sum()):,} rows have no readable date.")
    return times.dt.tz_localize(None).dt.normalize()
