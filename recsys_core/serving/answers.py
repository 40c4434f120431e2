"""What comes back from the scorer, as plain records: lists, reasons, questions, points of a map. In external ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import errors
from ..errors import WorkbenchError


@dataclass(frozen=True)
class Ranked:
    """One list, best first, in external ids. unknown: what was asked with and the run does not know."""

    items: tuple[str, ...]
    scores: tuple[float, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Of one run: a list for each user or history. seconds: the whole answer, without HTTP. error: why it could not answer (rows
    are empty then). model_ms: time inside the model alone: its lists, or for a model that adapts the adaptation and its lists."""

    run: str
    rows: tuple[Ranked, ...]
    seconds: float
    error: WorkbenchError | None = None
    model_ms: float = 0.0


@dataclass(frozen=True)
class Why:
    """models._base.Explanation in external ids: refs are item ids where kind (or the ref's own of `sorts`) is "history", else names."""

    kind: str
    refs: tuple[str, ...]
    contributions: tuple[float, ...]
    total: float
    exact: bool
    method: str
    sorts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preview:
    """store.export.ExportPreview with its frame as columns: name -> values."""

    columns: dict[str, list[Any]]
    n_rows: int
    n_users: int
    n_unknown: int
    n_items_allowed: int
    notes: list[str]


@dataclass(frozen=True)
class Health:
    """loaded: what is in memory, one dict a run ("run", "model", "memory_bytes", "load_seconds")."""

    pid: int
    version: str
    uptime_seconds: float
    memory_bytes: int
    budget_bytes: int
    loaded: tuple[dict[str, Any], ...] = field(default=())


@dataclass(frozen=True)
class Scale:
    """How answers are given on the data of a run. like, dislike: the values of a plain yes and no. threshold: values from here on
    count as liked (None: the data has no ratings, and every value above 0 does). low, high: of the ratings; None without."""

    has_ratings: bool
    like: float
    dislike: float
    threshold: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Questions:
    """What to ask next, best first. known, liked: share of the training users who know each item, and who like it.
    unknown: answered or skipped items the run does not know."""

    items: tuple[str, ...]
    known: tuple[float, ...]
    liked: tuple[float, ...]
    unknown: tuple[str, ...]
    model_ms: float


@dataclass(frozen=True)
class ItemMap:
    """Items on a plane, the most popular first. popularity: training users who like each. explained: share of the differences
    between the items' vectors that the two axes show."""

    items: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    popularity: tuple[int, ...]
    explained: float
    model_ms: float


@dataclass(frozen=True)
class UserPath:
    """Points of one user on the same plane: where they start, then after every step of adaptation; one point where a model does
    not adapt. unknown: items of the history the run does not know. left_out: disliked items that the model was not told of."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    adapts: bool
    unknown: tuple[str, ...]
    left_out: tuple[str, ...]
    model_ms: float


def error_of(about: dict[str, str]) -> WorkbenchError:
    """The error of the scorer, as the same class."""
    cls = getattr(errors, about["type"], WorkbenchError)
    known = isinstance(cls, type) and issubclass(cls, WorkbenchError)
    return (cls if known else WorkbenchError)(about["message"], about["hint"])


def answers_of(answer: dict[str, Any]) -> dict[str, Answer]:
    return {
        run: Answer(
            run,
            tuple(map(ranked, got["rows"])),
            got["seconds"],
            error_of(got["error"]) if "error" in got else None,
            got.get("model_ms", 0.0),
        )
        for run, got in answer["runs"].items()
    }


def ranked(row: dict[str, Any]) -> Ranked:
    return Ranked(tuple(row["items"]), tuple(row["scores"]), tuple(row.get("unknown", ())))
