"""What the page of new users asks the scorer besides lists: what to ask next, the map of the items, the way of a user on it.

Mixed into `client.ScorerClient`; ids are external. Raises Unsupported, with a sentence to show, where a model has no vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .answers import ItemMap, Questions, Scale, UserPath


class Onboarding:
    """Verbs for a user who does not exist yet."""

    def _ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def scale(self, run: str) -> Scale:
        """The values of a plain like and dislike on the data of a run, for `values` and `answers`."""
        return Scale(**self._ask("scale", {"run": run}))

    def questions(self, run: str, answers: Mapping[str, float], skipped: Sequence[str] = (), n: int = 1) -> Questions:
        """The n items to ask next. answers: item -> value, oldest first; skipped: asked, and not known to the user."""
        body = {"run": run, "answers": list(map(str, answers)), "values": [float(v) for v in answers.values()]}
        got = self._ask("questions", body | {"skipped": list(map(str, skipped)), "n": int(n)})
        return Questions(**{name: tuple(v) if isinstance(v, list) else v for name, v in got.items()})

    def item_map(self, run: str, n: int = 400, *, history: Sequence[str] = ()) -> ItemMap:
        """The n most popular items, and those of the history, on the plane of the model's item vectors."""
        got = self._ask("item_map", {"run": run, "n": int(n), "history": list(map(str, history))})
        return ItemMap(**{name: tuple(v) if isinstance(v, list) else v for name, v in got.items()})

    def user_path(self, run: str, history: Sequence[str], values: Sequence[float] | None = None) -> UserPath:
        """Where the user is on that plane before and after every step of adaptation (one point where a model does not adapt)."""
        body = {"run": run, "history": list(map(str, history)), "values": None if values is None else list(map(float, values))}
        got = self._ask("user_path", body)
        return UserPath(**{name: tuple(v) if isinstance(v, list) else v for name, v in got.items()})
