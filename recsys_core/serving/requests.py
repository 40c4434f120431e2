"""The questions the scorer understands, as checked JSON: external ids in. One class per verb."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ..errors import BadInput
from ..store.shaping import Rerank

Id = Annotated[str, Field(max_length=2_000)]
Count = Annotated[int, Field(ge=1, le=1_000)]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Lists(Request):
    runs: Annotated[list[Id], Field(min_length=1, max_length=20)]
    k: Count = 10
    exclude_seen: bool = True
    candidates: Annotated[list[Id], Field(max_length=1_000_000)] | None = None  # only these items may appear
    rerank: Rerank | None = None  # how the lists are shaped


class HistoryRequest(_Lists):
    """Lists for users described by their histories, oldest item first; values: a weight for each item."""

    histories: Annotated[list[Annotated[list[Id], Field(max_length=10_000)]], Field(min_length=1, max_length=4_096)]
    values: list[list[FiniteFloat]] | None = None


class UsersRequest(_Lists):
    """Lists for users of the training set; one it does not know gets what is most popular."""

    users: Annotated[list[Id], Field(min_length=1, max_length=4_096)]


class SimilarRequest(Request):
    """The items most similar to each of `items`."""

    run: Id
    items: Annotated[list[Id], Field(min_length=1, max_length=1_000)]
    k: Count = 10


class ExplainRequest(Request):
    """Why `item`, for a user of the training set or for a history (exactly one of the two)."""

    run: Id
    item: Id
    user: Id | None = None
    history: Annotated[list[Id], Field(max_length=10_000)] | None = None
    k: Count = 5


class RunsRequest(Request):
    """Runs to load, or to let go (None: all)."""

    runs: Annotated[list[Id], Field(max_length=100)] | None = None


class ExportListsRequest(Request):
    """`request` (an ExportRequest as plain values): its first lists, or with `write` the file in the workspace."""

    run: Id
    request: dict[str, Any]
    n_users: Count = 5
    write: bool = False


class ScaleRequest(Request):
    """How answers are given on the data of a run."""

    run: Id


class QuestionsRequest(Request):
    """What to ask a new user next; values: one for each answer."""

    run: Id
    answers: Annotated[list[Id], Field(max_length=1_000)] = []
    values: Annotated[list[FiniteFloat], Field(max_length=1_000)] = []
    skipped: Annotated[list[Id], Field(max_length=1_000)] = []
    n: Annotated[int, Field(ge=1, le=100)] = 1


class MapRequest(Request):
    """The n most popular items, and those of `history`, on the plane."""

    run: Id
    n: Annotated[int, Field(ge=1, le=5_000)] = 400
    history: Annotated[list[Id], Field(max_length=1_000)] = []


class PathRequest(Request):
    """A user on the plane, described by a history; values: one for each item."""

    run: Id
    history: Annotated[list[Id], Field(max_length=1_000)] = []
    values: Annotated[list[FiniteFloat], Field(max_length=1_000)] | None = None


class HealthRequest(Request):
    """Nothing to say."""


def read(cls: type[Request], body: Any) -> Any:
    """Raises BadInput naming the field, the rule and the value."""
    try:
        return cls.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the request"
        raise BadInput(f"{where}: {first['msg']}; got {str(first.get('input'))[:80]!r}.") from None
