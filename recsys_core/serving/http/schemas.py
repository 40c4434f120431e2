"""What may be asked and what is answered: the requests are checked by these models, the OpenAPI document shows both."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import from_json

from .limits import MOST_BATCH, MOST_HISTORY, MOST_IDS, MOST_K
from .problems import Problem, from_validation

EVENTS = ("click", "view", "like", "purchase", "dislike", "skip", "rating")

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Seconds = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e11)]
Text = Annotated[str, StringConstraints(max_length=2_000)]
Cell = Text | bool | Number
Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Length = Annotated[int, Field(ge=1, le=MOST_K)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Filters(Strict):
    """What may be in the list. Columns are those of the item table that went along with the bundle."""

    include: dict[Column, Annotated[list[Cell], Field(max_length=1_000)]] = Field(
        default_factory=dict, max_length=20, description="Column: allowed values."
    )
    at_least: dict[Column, Number] = Field(default_factory=dict, max_length=20, description="Column: smallest value allowed.")
    at_most: dict[Column, Number] = Field(default_factory=dict, max_length=20, description="Column: largest value allowed.")
    exclude: list[Id] = Field(default_factory=list, max_length=MOST_IDS, description="Items to leave out.")
    only: list[Id] | None = Field(None, max_length=MOST_IDS, description="Nothing but these items.")


class Context(Strict):
    """The moment of the request."""

    time: Seconds | None = Field(None, description="Unix seconds; now when left out.")
    item: Id | None = Field(None, description="What is looked at right now: the newest entry of the history, for this answer only.")


def _paired(request: RecommendRequest | ExplainRequest) -> None:
    given, items = request.values, request.history or ()
    if given is not None and len(given) != len(items):
        raise ValueError(f"'values' has one number for each item of 'history'; got {len(given)} for {len(items)}.")


class RecommendRequest(Strict):
    """A list for a user, or for a history given with the request. Neither: what is popular."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "u17", "k": 5}, {"history": ["b0042", "b0007"], "k": 5}]})

    user: Id | None = Field(None, description="Whose list it is. Their own history is used, with every event since.")
    history: list[Id] | None = Field(
        None,
        max_length=MOST_HISTORY,
        description="Items, oldest first, used instead of what is known of the user (who then only says which variant answers).",
    )
    values: list[Number] | None = Field(None, max_length=MOST_HISTORY, description="A value (a rating) for each item of the history.")
    k: Length = Field(10, description="Length of the list.")
    filters: Filters | None = None
    context: Context | None = None

    @model_validator(mode="after")
    def _values(self) -> RecommendRequest:
        _paired(self)
        return self


class RecommendBatch(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"requests": [{"user": "u17"}, {"user": "u18", "k": 3}]}]})

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MOST_BATCH)


class FeedbackRequest(Strict):
    """Something a user did with an item. The next list of that user knows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "u17", "item": "b0042", "event": "click"}]})

    user: Id
    item: Id
    event: Literal["click", "view", "like", "purchase", "dislike", "skip", "rating"] = Field(
        "click", description="skip: shown and passed over, kept off this user's next lists. rating: needs a value."
    )
    value: Number | None = Field(None, description="The rating, or the weight of the event.")
    time: Seconds | None = Field(None, description="Unix seconds; now when left out.")
    features: dict[Column, Cell | None] | None = Field(
        None, max_length=50, description="Columns of an item the service has never seen, so that it can be recommended."
    )

    @model_validator(mode="after")
    def _rated(self) -> FeedbackRequest:
        if self.event == "rating" and self.value is None:
            raise ValueError("An event 'rating' needs a 'value'; got none.")
        return self


class FeedbackBatch(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [{"user": "u17", "item": "b0042", "event": "like"}]}]})

    events: list[FeedbackRequest] = Field(min_length=1, max_length=MOST_BATCH)


class SimilarRequest(Strict):
    """Items like one item."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "b0042", "k": 5}]})

    item: Id
    k: Length = 10
    filters: Filters | None = None


class ExplainRequest(Strict):
    """Which items of a history carried an item into the list."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "u17", "item": "b0042", "k": 3}]})

    user: Id | None = None
    history: list[Id] | None = Field(None, max_length=MOST_HISTORY)
    values: list[Number] | None = Field(None, max_length=MOST_HISTORY, description="A value (a rating) for each item of the history.")
    item: Id
    k: Length = Field(5, description="How many reasons.")

    @model_validator(mode="after")
    def _somebody(self) -> ExplainRequest:
        _paired(self)
        if self.user is None and self.history is None:
            raise ValueError("An explanation needs a 'user' or a 'history'; got neither.")
        return self


# ---- answers: for the document ---------------------------------------------------------------------
class ListAnswer(BaseModel):
    items: list[str]
    scores: list[float | None]
    path: Literal["model", "fold-in", "content", "popular"] = Field(
        description="model: a training user with nothing new; fold-in: from a history; content: from features; popular: nothing is known."
    )
    model_ms: float
    bundle: str = Field(description="First digits of the bundle's fingerprint.")
    notes: list[str]
    unknown: list[str] = Field(description="Items of the request that nothing is known of.")
    variant: str = Field(description="Which bundle of the experiment answered.")
    cached: bool


class ErrorBody(BaseModel):
    message: str
    hint: str


class ErrorAnswer(BaseModel):
    error: ErrorBody


class ListAnswers(BaseModel):
    answers: list[ListAnswer | ErrorAnswer]


class ReceiptAnswer(BaseModel):
    stored: bool = Field(description="Whether the event is in the file of events; false: in memory, and tried again.")
    note: str
    offset: int
    variant: str


class ReceiptAnswers(BaseModel):
    receipts: list[ReceiptAnswer | ErrorAnswer]


class Reason(BaseModel):
    item: str
    contribution: float | None


class Part(BaseModel):
    model: str
    contribution: float | None


class ReasonsAnswer(BaseModel):
    item: str
    parts: list[Reason]
    total: float | None
    exact: bool = Field(description="Whether what all of the history contributes adds up to `total`; the k that weigh most are given.")
    method: str
    path: str
    models: list[Part] = Field(description="Of a fused model: what each of its parts brought.")
    variant: str


class HealthAnswer(BaseModel):
    status: Literal["ok", "degraded"]
    problems: list[str] | None = None
    bundle: dict[str, Any] | None = None
    stats: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    variants: list[dict[str, Any]] | None = None


class ReadyAnswer(BaseModel):
    ready: bool


class ReloadAnswer(BaseModel):
    variants: list[dict[str, Any]]


REQUESTS = (RecommendRequest, RecommendBatch, FeedbackRequest, FeedbackBatch, SimilarRequest, ExplainRequest)


def read_json(body: bytes) -> dict[str, Any]:
    """The object of a body. NaN, infinities, lone surrogates, bytes that are no UTF-8 and nesting beyond reason are refused as no JSON."""
    try:
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"The body is not JSON: {str(error)[:120]}.", "Send one JSON object in UTF-8.") from None
    if not isinstance(found, dict):
        raise Problem(422, f"The body must be a JSON object; got {type(found).__name__}.", "The fields are described at /docs.")
    return found


def check(model: type[Strict], value: Any, *, strict: bool = True) -> Any:
    """`value` as this model. Raises Problem 422 with one sentence. strict: text is no number (false for what stands in an address)."""
    try:
        return model.model_validate(value, strict=strict)
    except ValidationError as error:
        raise from_validation(error) from None
