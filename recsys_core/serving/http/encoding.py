"""Answers as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def plain(answer: Any) -> dict[str, Any]:
    """The fields of a dataclass; what they hold is JSON already."""
    return {name: getattr(answer, name) for name in answer.__dataclass_fields__}


def encode(value: Any) -> bytes:
    """JSON; what is no finite number becomes null."""
    try:
        return to_json(value, inf_nan_mode="null", fallback=_simple)
    except (PydanticSerializationError, UnicodeEncodeError):  # an id with half a surrogate pair: only the slow way can write it
        return json.dumps(value, default=_simple).encode()


def _simple(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) else value.item() if hasattr(value, "item") else str(value)
