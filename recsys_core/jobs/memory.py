"""Whether a fit would fit in memory, asked before it starts; and what would, when it does not."""

from __future__ import annotations

import logging
from typing import Any

from .. import params as params_module
from .. import registry
from ..data.dataset import DatasetStats
from ..errors import TooLarge, WorkbenchError
from ..free_memory import available_bytes
from ..params import Params

log = logging.getLogger(__name__)
RESERVE = 0.10  # of what is free is left for the app and the system
PROCESS_BYTES = 350 * 2**20  # a worker with numpy, scipy, pandas and torch imported


def data_bytes(stats: DatasetStats) -> int:
    """The dataset itself in memory: train and test arrays, two matrices, ids."""
    row = 12 + (8 if stats.has_time else 0)
    return stats.n_interactions * (2 * row + 2 * 8) + 120 * (stats.n_users + stats.n_items)


def needed_bytes(model_cls: Any, params: Params, stats: DatasetStats) -> int:
    """Peak of the whole worker, estimated by the model's own `cost`."""
    return int(model_cls(params).cost(stats).memory_bytes) + data_bytes(stats) + PROCESS_BYTES


def fits_in_memory(
    model_cls: Any, params: Params | dict[str, Any] | None, stats: DatasetStats, *, available: int | None = None
) -> tuple[bool, str]:
    """(fits, a sentence for the user). The sentence of a misfit says what would fit."""
    if not isinstance(params, Params):
        params = params_module.build(model_cls.Params, params, owner=model_cls.label)
    free = available_bytes() if available is None else available
    usable = int(free * (1 - RESERVE))
    needed = needed_bytes(model_cls, params, stats)
    if needed <= usable:
        return True, f"{model_cls.label} needs about {human(needed)} of memory; {human(free)} is free."
    what = f"{model_cls.label} on {stats.n_items:,} items and {stats.n_interactions:,} interactions needs about {human(needed)} of memory"
    return False, f"{what}; {human(free)} is free. {what_would_fit(model_cls, params, stats, usable)}"


def require_memory(model_cls: Any, params: Params, stats: DatasetStats) -> None:
    """Raise TooLarge, saying what would fit."""
    fits, sentence = fits_in_memory(model_cls, params, stats)
    if not fits:
        rule, _, hint = sentence.partition("is free. ")
        raise TooLarge(f"{rule}is free.", hint)


def what_would_fit(model_cls: Any, params: Params, stats: DatasetStats, usable: int) -> str:
    """One sentence: smaller settings of this model that fit, and lighter models that do."""
    settings = [s for f in params_module.fields(model_cls.Params) if (s := _smaller(model_cls, params, stats, usable, f)) is not None]
    others = []
    for key in registry.keys("model"):
        try:
            other = registry.get("model", key)
            if key != model_cls.key and other.personalised and not other.card().missing(stats):
                cost = other(other.Params()).cost(stats)
                if cost.memory_bytes + data_bytes(stats) + PROCESS_BYTES <= usable:
                    others.append((cost.seconds, other.label))
        except Exception as error:  # an outside plug-in that breaks here must not hide why this model is refused
            log.debug("No suggestion: %s could not be asked (%s)", key, error)
    parts = []
    if settings:
        parts.append("with " + " or ".join(settings[:2]) + " it would fit")
    if others:
        parts.append("these models would fit: " + ", ".join(label for _, label in sorted(others)[:4]))
    if not parts:
        return "No model fits: use a smaller dataset (a higher k-core filter) or a machine with more memory."
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _smaller(model_cls: Any, params: Params, stats: DatasetStats, usable: int, field: params_module.ParamField) -> str | None:
    """The largest value of one numeric parameter (or another choice) with which it fits, in words."""

    def fits(value: Any) -> bool:
        try:
            return needed_bytes(model_cls, params.with_(**{field.name: value}), stats) <= usable
        except WorkbenchError:
            return False

    now = getattr(params, field.name)
    if now == "auto" and field.kind == "int":
        now = getattr(model_cls(params).resolve(stats), field.name)
    if field.kind in ("choice", "bool"):
        choices = field.choices if field.kind == "choice" else (True, False)
        other = next((c for c in choices if c != now and fits(c)), None)
        return None if other is None else f"{field.label.lower()} set to {other}"
    if field.kind != "int":
        return None
    low = int(field.tune[0] if field.tune else field.ge if field.ge is not None else 1)
    high = now if isinstance(now, int) and not isinstance(now, bool) and now > low else int(field.tune[1]) if field.tune else 0
    if high <= low or not fits(low) or fits(high) and now == high:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return f"{field.label.lower()} at most {low:,}"


def human(n_bytes: float) -> str:
    """1536 -> '1.5 KB' (powers of 1024)."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if n_bytes < 1024 or unit == "TB":
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" or n_bytes >= 100 else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError("unreachable")
