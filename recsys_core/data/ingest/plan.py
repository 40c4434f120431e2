"""What the user decided: how a file becomes a dataset. Plain values, saved beside the dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from ...errors import ParamError
from ...params import Params, fields, param

if TYPE_CHECKING:
    from .guess import Guess

TimeFormat = Literal["auto", "s", "ms", "us", "iso", "dayfirst", "monthfirst"]


def _in_words(error: ValidationError, what: str) -> ParamError:
    """The first fault of a validation as the rule and the value."""
    first = error.errors()[0]
    said = str(first.get("ctx", {}).get("error", first["msg"]))
    where = ".".join(map(str, first["loc"]))
    return ParamError(f"{where or what}: {said[:1].lower()}{said[1:]} (got {str(first['input'])[:80]!r})." if where else f"{what}: {said}.")


class Columns(BaseModel):
    """Which column of the file plays which role; None where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    item: str
    value: str | None = None
    event: str | None = None
    time: str | None = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _in_words(error, "Columns") from None

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.user == self.item:
            raise ValueError(f"the user and the item column must differ; both are '{self.user}'")
        return self


class IngestPlan(Params):
    """How to read a file into a dataset. `IngestPlan.from_guess(guess)` gives the suggested one."""

    columns: Columns
    time_format: TimeFormat = param(
        "auto", label="Time format", help="How the time column is written; 'auto' decides from the data and says so."
    )
    feedback: Literal["explicit", "implicit"] = param(
        "implicit", label="Feedback", help="Explicit: people gave ratings. Implicit: people did something (bought, watched, clicked)."
    )
    value_is: Literal["rating", "count", "price", "none"] = param(
        "none",
        label="What the value means",
        help="A rating is kept as it is, a count becomes the strength of the interaction, a price is not used.",
    )
    threshold: float | None = param(
        None,
        label="Counts as liked from",
        help="Ratings at or above this count as liked. With implicit feedback, rows below it are left out.",
    )
    event_weights: dict[str, float] = param(
        {}, label="Weight per event type", help="How much each event type says about interest; 0 leaves it out."
    )
    half_life_days: float | None = param(
        None,
        gt=0,
        label="Half-life in days",
        help="An interaction this much older than the newest counts half. Empty: all ages count the same.",
    )
    duplicates: Literal["last", "sum", "max", "count"] = param(
        "last", label="Same user and item twice", help="Keep the last, add the values up, keep the largest, or count the rows."
    )
    min_user: int = param(1, ge=1, le=1000, label="Fewest interactions per user", help="Users with fewer are removed.")
    min_item: int = param(1, ge=1, le=1000, label="Fewest interactions per item", help="Items with fewer are removed.")
    items_file: str | None = param(None, label="Item table", help="A file that describes the items.")
    items_id: str | None = param(None, label="Id column of the item table", help="Empty: found by comparing its values with the item ids.")
    keep_new_items: bool = param(
        False,
        label="Keep items nobody has chosen yet",
        help="Items of the table that no interaction has stay in the catalogue, so that models which read the table can recommend them.",
    )
    users_file: str | None = param(None, label="User table", help="A file that describes the users.")
    users_id: str | None = param(None, label="Id column of the user table", help="Empty: found by comparing its values with the user ids.")
    keep_new_users: bool = param(
        False,
        label="Keep users without interactions",
        help="Users of the table that no interaction has stay in the data, so that models which read the table can serve them.",
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            name = str((error.errors()[0]["loc"] or ("",))[0])
            described = {f.name: f for f in fields(type(self))}
            if name in described and name not in ("columns", "event_weights"):
                raise ParamError(f"{name} must be {described[name].rule}; got {values.get(name)!r}.") from None
            raise _in_words(error, "The reading plan") from None

    @field_validator("event_weights")
    @classmethod
    def _not_negative(cls, weights: dict[str, float]) -> dict[str, float]:
        for event, weight in weights.items():
            if weight < 0:
                raise ValueError(f"the weight of an event type must be 0 or more; '{event}' has {weight:g}")
        return weights

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.feedback == "explicit" and self.columns.value is None:
            raise ValueError("explicit feedback needs a value column with the ratings")
        if self.feedback == "explicit" and self.value_is in ("price", "none"):
            raise ValueError(f"explicit feedback needs the value to be a rating or a count; got '{self.value_is}'")
        return self

    @property
    def uses_value(self) -> bool:
        """Is the value column read at all?"""
        if self.columns.value is None:
            return False
        return self.feedback == "explicit" or self.value_is == "count" or (self.value_is == "rating" and self.threshold is not None)

    @property
    def counts(self) -> bool:
        """Is the value a strength that adds up, so that it must be above 0?"""
        return self.feedback == "implicit" and self.value_is == "count" and self.columns.value is not None

    @classmethod
    def from_guess(cls, guess: Guess, **changes: Any) -> IngestPlan:
        """The plan a guess suggests, with some values changed. Raises DataError when no user or item column was found."""
        from ...errors import DataError

        missing = [role for role in ("user", "item") if guess.roles[role].column is None]
        if missing and "columns" not in changes:
            raise DataError(f"No column looks like the {' or the '.join(missing)} id.", "Choose the columns by hand.")
        values: dict[str, Any] = {
            "columns": changes.get("columns") or guess.columns,
            "time_format": guess.time_format,
            "feedback": guess.feedback,
            "value_is": guess.value_is,
            "threshold": guess.threshold,
            "event_weights": guess.event_weights,
            "duplicates": "last" if guess.feedback == "explicit" else "sum",
        }
        return cls(**(values | changes))
