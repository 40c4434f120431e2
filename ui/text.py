"""Numbers, sizes, dates and untrusted text, as people read them. Imports nothing of streamlit."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_MARKDOWN = re.compile(r"((?<!\w)-|-(?!\w)|[\\`*_{}\[\]()#+.!|~<>$:&=^@/])")  # a hyphen inside a word is only read aloud


def md(text: object, limit: int = 0) -> str:
    """Untrusted text (titles, ids, file names) made safe inside any Markdown label; cut to `limit` characters."""
    plain = " ".join(str(text).split())
    return _MARKDOWN.sub(r"\\\1", short(plain, limit) if limit else plain)


def short(text: object, limit: int) -> str:
    """Text cut to `limit` characters, with an ellipsis when something was cut."""
    text = str(text)
    return text if len(text) <= limit else text[: max(1, limit - 1)].rstrip() + "…"


def both_ends(text: object, limit: int) -> str:
    """Text cut in the middle: volumes and years stand at the end of a title, and tell items apart. The end begins with a word."""
    text = str(text)
    if len(text) <= limit:
        return text
    tail = text[-(limit // 3) - 1 :]  # one more, to see whether a word begins there
    tail = tail.split(" ", 1)[1] if " " in tail.rstrip() else tail
    return f"{text[: limit - len(tail) - 2].rstrip(' ,;:')}… {tail.strip()}"


def count(n: float | None, noun: str = "", plural: str = "") -> str:
    """1234 -> "1,234"; with a noun, "1 run" or "1,234 runs"."""
    if n is None:
        return "–"
    number = f"{int(n):,}"
    return f"{number} {noun if int(n) == 1 else plural or noun + 's'}" if noun else number


def number(value: float | None, digits: int = 3) -> str:
    """A figure with `digits` significant digits, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def score(value: float | None) -> str:
    """A metric value: four decimals, as papers print them."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def share(value: float | None) -> str:
    """0.0123 -> "1.2 %"; small shares keep two significant digits."""
    if value is None or not math.isfinite(value):
        return "–"
    percent = 100 * value
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def size(n_bytes: float | None) -> str:
    """1536 -> "1.5 KB"."""
    if n_bytes is None:
        return "–"
    value = float(n_bytes)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def duration(seconds: float | None) -> str:
    """0.42 -> "0.4 s", 75 -> "1 min 15 s"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def moment(when: float | str | None) -> datetime | None:
    """UTC seconds or ISO text -> a datetime; None when it is neither."""
    try:
        if isinstance(when, str):
            parsed = datetime.fromisoformat(when)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return None if when is None else datetime.fromtimestamp(float(when), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def day(when: float | str | None) -> str:
    """UTC seconds or ISO text -> "3 May 2016"."""
    parsed = moment(when)
    return "–" if parsed is None else f"{parsed.day} {parsed:%b %Y}"


def ago(when: float | str | None, now: float | None = None) -> str:
    """UTC seconds or ISO text -> "5 min ago"."""
    parsed = moment(when)
    if parsed is None:
        return "–"
    passed = (datetime.now(UTC).timestamp() if now is None else now) - parsed.timestamp()
    if passed < 60:
        return "just now"
    if passed < 3600:
        return f"{int(passed // 60)} min ago"
    return f"{int(passed // 3600)} h ago" if passed < 86400 else day(when)


def listing(names: list[str], limit: int = 5) -> str:
    """["a", "b", "c"] -> "a, b and c"; the rest beyond `limit` is counted."""
    shown = names[:limit] + ([f"{len(names) - limit} more"] if len(names) > limit else [])
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1] if shown else ""
