"""The result file of a test, one row a user or one row an event, made into one row a user."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ...data.features.columns import any_days, cells, looks_numeric, numbers
from ...errors import DataError

_NAMES = {
    "user": r"^(user|visitor|customer|member|account|person|client|uid|id)([ _-]?id)?$|user",
    "variant": r"variant|group|arm|bucket|treatment|experiment|^ab|condition|cell",
    "time": r"date|time|day|timestamp|^ts$",
    "before": r"^pre($|[ _-]|period|test|exp)|[ _-]pre($|[ _-])|before|baseline|prior|history",  # not premium, preview
}
WORDS = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0}
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
    start = {c: frame[c].dropna().head(1000) for c in frame.columns}
    few = [c for c in frame.columns if 2 <= frame[c].nunique(dropna=True) <= MOST_VARIANTS]
    numeric = [c for c in frame.columns if np.isfinite(read_numbers(start[c])).mean() > 0.9]
    dated = [c for c in frame.columns if np.isfinite(any_days(start[c])).mean() > 0.9]
    pools = {"variant": few, "user": list(frame.columns), "time": dated, "before": numeric}
    for role, pool in pools.items():
        named = [c for c in pool if c not in taken and re.search(_NAMES[role], str(c).strip().lower())]
        found[role] = named[0] if named else None
        taken.update(named[:1])
    if found["variant"] is None:  # a column of words; yes and no are rather an outcome
        words = sorted((c for c in few if c not in taken and c not in dated and not _is_number(start[c])), key=lambda c: c in numeric)
        named = [c for c in frame.columns if c not in taken and re.search(_NAMES["variant"], str(c).strip().lower())]
        if named and (not words or words[0] in numeric):  # too few or too many groups: better refused than an outcome taken for groups
            words = named
        found["variant"] = words[0] if words else None
        taken.update(words[:1])
    found["outcomes"] = [c for c in numeric if c not in taken and c not in dated]
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
    if frame.empty:
        raise DataError("The file has no rows.", "Upload one with a row for each user or each visit.")
    taken = sorted({"user", "variant", "day", FORMER} & {*outcomes})
    if taken:
        raise DataError(f"An outcome cannot be called '{taken[0]}' here.", "Rename that column in the file.")
    notes: list[str] = []
    rows = pd.DataFrame({"user": cells(frame[user]), "variant": cells(frame[variant])}, dtype="string")
    for name in outcomes:
        rows[name] = _numbers(frame[name], name, notes, empty=0.0)
    if before:
        rows[FORMER] = _numbers(frame[before], before, notes, empty=np.nan)
    if time:
        rows["day"] = _days(frame[time], time, notes)
    blank = rows["user"].isna() | rows["variant"].isna()
    if blank.any():
        n = int(blank.sum())
        notes.append(
            "1 row has no user or no group; it is left out." if n == 1 else f"{n:,} rows have no user or no group; they are left out."
        )
        rows = rows[~blank]
    groups = rows.groupby("user")["variant"].nunique()
    both = groups.index[groups > 1]
    if len(both):
        n = len(both)
        notes.append(
            "1 user was in more than one group and is left out."
            if n == 1
            else f"{n:,} users were in more than one group; they are left out."
        )
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
    chosen = (control or "").strip() or next(
        (n for n in names if re.fullmatch(r"control.*|a|0|off|base(line)?|old|false", n.lower())), names[0]
    )
    if chosen not in names:
        raise DataError(f"There is no group '{chosen}'.", f"Groups: {', '.join(names)}.")
    users["variant"] = users["variant"].astype(object)
    return Experiment(users, tuple(outcomes), str(chosen), has_former=bool(before), notes=notes)


def _numbers(column: pd.Series, name: str, notes: list[str], *, empty: float) -> np.ndarray:
    """float (n,); what is missing or no number becomes `empty`."""
    values, given = read_numbers(column), cells(column)
    bad = given.notna().to_numpy() & ~np.isfinite(values)
    if bad.sum() > 0.5 * given.notna().sum():
        raise DataError(f"The column '{name}' must hold numbers; it holds '{given[bad].iloc[0]}'.", "Choose another outcome.")
    if bad.any():
        notes.append(f"Not a number in '{name}': {int(bad.sum()):,} of its values (such as '{given[bad].iloc[0]}'); they count as empty.")
    return np.where(np.isfinite(values), values, empty)


def read_numbers(column: pd.Series) -> np.ndarray:
    """float (n,), NaN where there is none: 1,234.5 and 1.234,5 by what the column looks like, yes and no as 1 and 0."""
    if _is_number(column):
        return numbers(column)
    code, distinct = pd.factorize(cells(column))
    text = pd.Series(distinct, dtype=object).astype("str")
    either = np.isfinite(numbers(text, ".")) | np.isfinite(numbers(text, ","))
    decimal = (looks_numeric(text[either]) if either.any() else None) or "."
    found = text.str.lower().map(WORDS).astype("float64").fillna(pd.Series(numbers(text, decimal), text.index))
    return np.append(found.to_numpy(np.float64), np.nan)[code]  # code -1: nothing there


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not isinstance(column.dtype, pd.CategoricalDtype)


def _days(column: pd.Series, name: str, notes: list[str]) -> np.ndarray:
    """datetime64 (n,): midnight of each row's day, UTC."""
    found = np.floor(any_days(column))
    if np.isnan(found).all():
        raise DataError(f"The column '{name}' holds no dates; it holds '{column.iloc[0]}'.", "Choose another column, or none.")
    if np.isnan(found).any():
        notes.append(f"{int(np.isnan(found).sum()):,} rows have no readable date.")
    return np.where(np.isnan(found), np.datetime64("NaT"), np.nan_to_num(found).astype("int64").astype("datetime64[D]")).astype(
        "datetime64[s]"
    )
