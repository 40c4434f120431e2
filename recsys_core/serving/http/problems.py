"""Every refusal of the service: a status, one sentence and what to do, as {"error": {"message", "hint"}}."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from ...errors import BadInput, NotFound, TooLarge, Unsupported, WorkbenchError

LONGEST = 300


class Problem(Exception):
    """Ends a request with this status. headers: beside the usual ones."""

    def __init__(self, status: int, message: str, hint: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers = status, message, hint, headers or {}

    def body(self) -> bytes:
        return json.dumps(error_json(self.message, self.hint)).encode()


def error_json(message: str, hint: str = "") -> dict[str, Any]:
    return {"error": {"message": message[:LONGEST], "hint": hint[:LONGEST]}}


def from_workbench(error: WorkbenchError) -> Problem:
    """What the predictor refuses. What is no fault of whoever asks is 503: never a page of internals."""
    status = 404 if isinstance(error, NotFound) else 413 if isinstance(error, TooLarge) else 422
    if not isinstance(error, (BadInput, Unsupported)):
        return Problem(503, "This cannot be answered right now.", error.message, {"Retry-After": "1"})
    return Problem(status, error.message, error.hint)


def from_validation(error: ValidationError) -> Problem:
    """The first thing that is wrong, where it is, and what was found there."""
    errors = error.errors(include_url=False, include_context=False)
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"]) or "the body"
    kind, given = first["type"], first.get("input")
    if kind == "extra_forbidden":
        sentence = f"There is no field '{_short(place)}' here."
    elif kind == "missing":
        sentence = f"The field '{_short(place)}' is missing."
    elif kind == "value_error":
        sentence = first["msg"].removeprefix("Value error, ")
    else:
        said = first["msg"][:1].lower() + first["msg"][1:]
        sentence = f"'{_short(place)}' {said.replace('input should', 'must', 1)}; got {_short(_shown(given))}."
    more = len(errors) - 1
    return Problem(422, sentence, f"And {more} more of such." if more else "The fields are described at /docs.")


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a very large number"
    return json.dumps(value) if value is None or isinstance(value, (bool, int, float)) else repr(value)[:80]


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
