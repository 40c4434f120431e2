"""Writes docs/models.md from what the plug-ins say of themselves: `python -m recsys_core.docs`.

Nothing in that page is typed by hand, so it cannot be out of date: a test compares it with the code.
"""

from __future__ import annotations

import inspect
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from . import params, registry
from .params import ParamField

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
FAMILIES = ("Baseline", "Neighbourhood", "Linear", "Graph", "Matrix factorisation", "Features", "Deep", "Sequential", "Fused")
HEAD = """<!-- Written by `make docs` (python -m recsys_core.docs) from the models themselves: do not edit. -->
# Models, splits, metrics and features

Every model here can be trained in the app, on the command line (`--model KEY --set name=value`) and from
Python (`registry.get("model", KEY)(name=value)`). "auto" means: chosen from the size and density of the data when
training starts; the app shows what it became. Fast, balanced and thorough are the presets of the forms;
balanced is the default.
"""


def page() -> str:
    """The whole of docs/models.md."""
    models = sorted(registry.all_of("model").values(), key=lambda cls: (_family_rank(cls.family), cls.label))
    parts = [HEAD, _overview(models)]
    for family, members in groupby(models, key=lambda cls: cls.family):
        parts.append(f"## {family}")
        parts += [_model(cls) for cls in members]
    parts += ["## Splits", *(_splitter(cls) for cls in registry.all_of("splitter").values()), "## Metrics", _metrics(), *_features()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _family_rank(family: str) -> tuple[int, str]:
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def _overview(models: list[Any]) -> str:
    rows = [
        [f"[`{c.key}`](#{c.key})", c.label, c.family, _yes(c.card().can_explain), _yes(c.card().has_similar), _yes(c.card().can_rate)]
        for c in models
    ]
    return _table(["Key", "Model", "Family", "Explains its lists", "Similar items", "Predicts ratings"], rows)


def _model(cls: type) -> str:
    card = cls.card()
    sections = inspect.getdoc(cls) or ""
    lines = [f'<a id="{card.key}"></a>', f"### {card.label}", "", card.summary, ""]
    if card.needs:
        lines.append(f"- Needs {', '.join(need.value for need in card.needs)}.")
    if card.source is not None:
        lines.append(f"- Paper: {card.source.citation}" + (f" ([link]({card.source.url}))" if card.source.url else "") + ".")
    lines += [f"- {title}: {text}" for title in ("Differs", "Cost") if (text := _section(sections, title))]
    return "\n".join(lines) + "\n\n" + _parameters(card.fields)


def _splitter(cls: type) -> str:
    needs = " Needs a time column." if cls.needs_time else ""
    return f"### {cls.label} (`{cls.key}`)\n\n{cls.summary}{needs}\n\n{_parameters(params.fields(cls.Params))}"


def _metrics() -> str:
    order = {"accuracy": 0, "beyond": 1, "rating": 2}
    metrics = sorted(registry.all_of("metric").values(), key=lambda cls: (order.get(cls.kind, 9), cls.label))
    rows = [
        [f"`{m.key}`", m.label, m.help, f"`{m.formula}`" if m.formula else "", "higher" if m.higher_is_better else "lower"] for m in metrics
    ]
    return _table(["Key", "Metric", "What it tells", "Formula", "Better"], rows)


def _features() -> list[str]:
    """What columns may be, what is derived from the training part, what reads text."""
    from .data.features import KINDS

    kinds = [[f"`{kind}`", cls.label, cls.summary] for kind, cls in KINDS.items()]
    found = sorted(registry.all_of("derived").values(), key=lambda cls: (cls.side, cls.label))
    derived = [[f"`{c.key}`", c.label, c.side, c.help, ", ".join(sorted(c.needs)), _yes(c.default)] for c in found]
    encoders = [[f"`{key}`", cls.label, cls.summary] for key, cls in registry.all_of("text_encoder").items()]
    return [
        '<a id="columns"></a>',
        "## Columns and what is made of them",
        "### Kinds of columns",
        _table(["Key", "Kind", "What becomes of it"], kinds),
        "### High-level features",
        _table(["Key", "Feature", "Of", "What it says", "Needs", "On"], derived),
        "### Text encoders",
        _table(["Key", "Encoder", "When"], encoders),
    ]


def _parameters(fields: tuple[ParamField, ...]) -> str:
    if not fields:
        return "No parameters."
    rows = [[f"`{f.name}`", f"{f.label}. {f.help}", f.rule, _presets(f)] for f in fields]
    return _table(["Parameter", "What it does", "May be", "Default"], rows)


def _presets(field: ParamField) -> str:
    others = [f"{name} {_value(value)}" for name, value in (("fast", field.fast), ("thorough", field.thorough)) if value is not None]
    return _value(field.default) + (f" ({', '.join(others)})" if others else "")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "`" + ",".join(map(str, value)) + "`" if value else "empty"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value != "" else "empty"


def _section(text: str, title: str) -> str:
    """The paragraph that starts with 'Title:', up to the next heading of its kind, on one line."""
    found = re.search(rf"^{title}:(.*?)(?=^[A-Z][a-z]+:|\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found.group(1).split()).rstrip(".") + "." if found else ""


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    names = {"derived": "high-level feature", "text_encoder": "text encoder"}
    counts = ", ".join(f"{len(registry.keys(kind))} {names.get(kind, kind)}s" for kind in registry.KINDS)
    print(f"{PAGE.name}: {counts}")


if __name__ == "__main__":
    main()
