"""Settings as they are typed: name=value texts, those of a fusion's parts, and the result a model starts from."""

from __future__ import annotations

from typing import Any

from .. import registry
from ..errors import BadInput


def start_setting(model: str, start_from: str) -> list[str]:
    """--start-from as a setting; says which models have it where this one has not."""
    if start_from and "start_from" not in registry.get("model", model).Params.model_fields:
        able = [key for key, cls in registry.all_of("model").items() if "start_from" in cls.Params.model_fields]
        raise BadInput(f"--start-from goes with models that can start from another; got '{model}'.", f"These can: {', '.join(able)}.")
    return [f"start_from=run:{start_from}"] * bool(start_from)


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """name=value texts as a dict."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"{option} must be name=value; got '{text}'.")
        if name.strip() in found:
            raise BadInput(f"{option} gives '{name.strip()}' twice.")
        found[name.strip()] = value.strip()
    return found


def joined(model: Any, values: dict[str, str]) -> dict[str, Any]:
    """The parameters as the model reads them; `part.name=value` sets one of a part of a fusion."""
    out: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    parts: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        part, dot, inner = name.partition(".")
        if dot:
            parts.setdefault(part, {})[inner] = value
    if parts and "part_params" not in model.Params.model_fields:
        raise BadInput(f"{model.label} has no parts to set '{next(iter(parts))}.…' of.")
    return out | ({"part_params": parts} if parts else {})
