"""The verdict on two runs, in one sentence: who is better, by how much, how sure that is, and for which users it is otherwise.

What decides is the rule of `compare`: interval without 0 and corrected p-value below 1 - level. The groups of users are a
family of comparisons of their own, corrected by Holm's method among themselves; only those that stay clear are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import Unsupported
from .compare import Difference, compare, corrected, metric_label
from .groups import FEW, Grouping

NAMED = 4  # groups in one half of the sentence


@dataclass(frozen=True)
class GroupVerdict:
    """One group of users. difference: None where fewer than `FEW` users were measured by both. said: "light users"."""

    name: str
    said: str
    n_users: int
    difference: Difference | None


@dataclass(frozen=True)
class Verdict:
    """B against A over all users, and in every group of one grouping ("" and none without one)."""

    overall: Difference
    groups: tuple[GroupVerdict, ...] = ()
    grouping: str = ""

    @property
    def wins(self) -> list[GroupVerdict]:
        """Groups in which B is clearly better."""
        return [g for g in self.groups if g.difference is not None and g.difference.better == self.overall.name_b]

    @property
    def losses(self) -> list[GroupVerdict]:
        """Groups in which B is clearly worse."""
        return [g for g in self.groups if g.difference is not None and g.difference.better == self.overall.name_a]

    @property
    def too_few(self) -> list[GroupVerdict]:
        return [g for g in self.groups if g.difference is None]

    def sentence(self) -> str:
        """ "B is better than A in NDCG@20 by 3.1 % (2.0 to 4.2), 95 %; it wins for light users and loses for new users."""
        text = f"{overall_words(self.overall)}{self._by_group()}."
        if self.too_few and len(self.too_few) < len(self.groups):
            text += f" Too few to tell: {_listed([f'{g.said} ({g.n_users:,})' for g in self.too_few])}."
        return text

    def _by_group(self) -> str:
        told = [g for g in self.groups if g.difference is not None]
        if not told:
            return ""
        won, lost = self.wins, self.losses
        if len(told) > 1 and len(won) == len(told):
            return "; it wins in every group"
        if len(told) > 1 and len(lost) == len(told):
            return "; it loses in every group"
        parts = [f"wins for {_listed([g.said for g in won])}"] if won else []
        parts += [f"loses for {_listed([g.said for g in lost])}"] if lost else []
        if parts:
            return f"; it {' and '.join(parts)}"
        return "; no single group shows it clearly" if self.overall.clear else "; nor in any group"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with the sentence."""
        groups = [
            {"name": g.name, "said": g.said, "n_users": g.n_users} | ({} if g.difference is None else g.difference.as_dict())
            for g in self.groups
        ]
        return {"overall": self.overall.as_dict(), "grouping": self.grouping, "groups": groups, "sentence": self.sentence()}


def verdict(
    a: pd.DataFrame,
    b: pd.DataFrame,
    metric: str,
    grouping: Grouping | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    level: float = 0.95,
    n: int = 1000,
    seed: int = 0,
    overall: Difference | None = None,
) -> Verdict:
    """From two per-user frames (index user code). overall: the difference over all users where it was worked out already,
    perhaps corrected for other runs compared beside it. Cost: a bootstrap of the users, twice when they are in one group each.
    """
    found = overall or compare(a, b, metric, names=names, level=level, n=n, seed=seed)
    if grouping is None:
        return Verdict(found)
    if grouping.side != "user":
        raise Unsupported(f"A verdict for groups needs groups of users; '{grouping.label}' has groups of items.", "See by_item_group.")
    a, b = a[[metric]].dropna(), b[[metric]].dropna()
    users = np.intersect1d(a.index, b.index)
    member = grouping.member[users].tocsc()
    told: dict[int, Difference] = {}
    sizes = np.diff(member.indptr)
    for g in np.flatnonzero(sizes >= FEW):
        own = users[member.indices[member.indptr[g] : member.indptr[g + 1]]]
        told[int(g)] = compare(a.loc[own], b.loc[own], metric, names=(found.name_a, found.name_b), level=level, n=n, seed=seed)
    told = dict(zip(told, corrected(list(told.values())), strict=True))
    groups = [GroupVerdict(name, grouping.said(g), int(sizes[g]), told.get(g)) for g, name in enumerate(grouping.names)]
    return Verdict(found, tuple(g for g in groups if g.n_users), grouping.label)


def overall_words(found: Difference) -> str:
    """ "B is better than A in NDCG@20 by 3.1 % (2.0 to 4.2), 95 %": the start of the sentence, without its end."""
    label, level = metric_label(found.metric), f"{100 * found.level:g} %"
    if not found.clear:
        return (
            f"No clear difference between {found.name_b} and {found.name_a} in {label}: {found.amount(signed=True)}, {level}{found.why_not}"
        )
    word = "better" if (found.difference > 0) == found.higher_is_better else "worse"
    return f"{found.name_b} is {word} than {found.name_a} in {label} by {found.amount(signed=False)}, {level}"


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:NAMED], *([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
