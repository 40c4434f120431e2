"""What commands print: a table or JSON on standard output, remarks and progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import typer

JSON_OPTION = typer.Option(False, "--json", help="Print one JSON value, for machines.")


def say(text: str) -> None:
    """A remark for a person."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    from ..store.files import plain

    print(json.dumps(plain(value), indent=1, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as what is in them; numbers to the right."""
    cells = [[_text(value) for value in row] for row in rows]
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(header))]
    width = [max(len(str(name)), *(len(row[i]) for row in cells)) if cells else len(str(name)) for i, name in enumerate(header)]
    for row in [list(map(str, header)), ["-" * w for w in width], *cells]:
        shown = (cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, width, right, strict=True))
        print("  ".join(shown).rstrip())


def metrics_table(metrics: dict[str, dict[str, float]], overall: dict[str, float]) -> None:
    """One line a metric, one column a k, intervals in brackets."""
    values: dict[str, dict[str, str]] = {}
    for name, figure in metrics.items():
        key, _, k = name.partition("@")
        low, high = figure.get("low"), figure.get("high")
        interval = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
        values.setdefault(key, {})[k] = "" if figure["mean"] is None else f"{figure['mean']:.4f}{interval}"
    for name, value in overall.items():
        key, _, k = name.partition("@")
        values.setdefault(key, {})[k] = "" if value is None else f"{value:.4f}"
    ks = sorted({k for row in values.values() for k in row if k}, key=int)
    print_table(
        ["metric", *(f"@{k}" for k in ks)],
        [[key, *(row.get(k, row.get("", "") if i == 0 else "") for i, k in enumerate(ks))] for key, row in values.items()],
    )


class ProgressLine:
    """Progress on one line of a terminal; nothing when standard error is a file or it is to be quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self.shown, self.last = sys.stderr.isatty() and not quiet, 0.0

    def __call__(self, step: Any) -> None:
        if not self.shown or time.monotonic() - self.last < 0.2:
            return
        self.last = time.monotonic()
        share = "" if step.fraction is None else f"{step.fraction:4.0%} "
        epoch = f", epoch {step.epoch}" + (f" of {step.epochs}" if step.epochs else "") if step.epoch is not None else ""
        figures = "".join(f", {name} {value:.4g}" for name, value in step.metrics.items())
        print(f"\r\033[K{share}{step.stage}{epoch}{figures}"[:150], end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").replace("e", "").isdigit() or not cell
