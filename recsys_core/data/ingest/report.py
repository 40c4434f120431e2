"""What ingest did, in numbers that add up and sentences: JSON-able, saved beside the dataset."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, computed_field

REASONS: dict[int, tuple[str, str]] = {  # code of the reading pass -> (role, reason)
    1: ("user", "empty user id"),
    2: ("item", "empty item id"),
    3: ("value", "empty value"),
    4: ("value", "value is not a number"),
    5: ("value", "negative or zero count"),
    6: ("time", "empty time"),
    7: ("time", "unreadable time"),
    8: ("event", "empty event type"),
    9: ("event", "event type has no weight"),
}
FILTERS: dict[int, str] = {20: "event types with weight 0", 21: "values below the threshold"}


class JoinReport(BaseModel):
    """How a table of items or users met the ids of the interactions. ids: those of the interactions."""

    model_config = ConfigDict(frozen=True)

    table: str
    id_column: str
    rows_read: int
    rows_joined: int
    rows_matching_nothing: int
    rows_duplicated: int
    rows_without_id: int
    rows_rejected: int
    ids: int
    ids_without_row: int
    columns: list[str]
    rows_kept_as_new: int = 0  # ids that no interaction has, kept because the plan asks for it


class KCoreReport(BaseModel):
    """What the filter on the fewest interactions removed, over all its rounds."""

    model_config = ConfigDict(frozen=True)

    min_user: int
    min_item: int
    rounds: int
    users: int
    items: int
    rows: int


class IngestReport(BaseModel):
    """rows_read = rows_kept + rows_merged + rows_filtered + rows_rejected, always.

    rows_read counts data rows: the header, lines above it and blank lines (blank_lines) are none.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    content_hash: str
    rows_read: int
    rows_kept: int
    rows_merged: int
    rows_filtered: int
    rows_rejected: int
    blank_lines: int = 0
    reject_reasons: dict[str, int] = Field(default_factory=dict)
    filter_reasons: dict[str, int] = Field(default_factory=dict)
    kcore: KCoreReport | None = None
    users: int
    items: int
    columns: dict[str, str | None]
    time_format: str | None = None
    time_note: str = ""
    first_time: str | None = None
    last_time: str | None = None
    item_join: JoinReport | None = None
    user_join: JoinReport | None = None
    notes: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0

    @computed_field
    @property
    def adds_up(self) -> bool:
        return self.rows_read == self.rows_kept + self.rows_merged + self.rows_filtered + self.rows_rejected

    def table(self) -> list[tuple[str, int]]:
        """The small table shown after reading: (what, rows)."""
        return [
            ("Read", self.rows_read),
            ("Kept", self.rows_kept),
            ("Merged with an earlier row of the same user and item", self.rows_merged),
            ("Left out by a filter", self.rows_filtered),
            ("Rejected", self.rows_rejected),
        ]
