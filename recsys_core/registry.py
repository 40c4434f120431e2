"""Finds every plug-in by its module: one file, no list to edit.

A plug-in kind is one or more packages and a base class. Each module whose name does not start with
"_" holds one subclass whose `key` equals the module's name. Modules are imported when first asked for;
none may import torch, implicit or scikit-learn at the top, so that listing stays cheap.

Plug-ins of your own: `RECSYS_PLUGINS=my_models,my_other_module` names importable modules that call
`register(...)`; the app, the command line and every worker process import them when they first list
or look up a plug-in.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from functools import cache
from typing import Any

from .errors import NotFound

# kind -> (packages searched, module:class of its base)
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "model": (("recsys_core.models", "recsys_core.fusion"), "recsys_core.models._base:Recommender"),
    "splitter": (("recsys_core.splitting",), "recsys_core.splitting._base:Splitter"),
    "metric": (("recsys_core.metrics",), "recsys_core.metrics._base:Metric"),
    "reranker": (("recsys_core.rerank",), "recsys_core.rerank._base:Reranker"),
    "derived": (("recsys_core.data.features.derived",), "recsys_core.data.features.derived._base:Derived"),
    "text_encoder": (("recsys_core.data.text",), "recsys_core.data.text._base:TextEncoder"),
    "job": (("recsys_core.jobs.handlers", "recsys_core.serving.handlers"), "recsys_core.jobs.handlers._base:Handler"),
    "form": (("recsys_core.portable.forms",), "recsys_core.portable.forms._base:Form"),
}
RENAMED = {("model", "weighted_fusion"): "weighted"}  # keys of earlier versions, still found in saved workspaces
_outside: dict[str, dict[str, Any]] = {}


def register(kind: str, plugin: Any) -> Any:
    """Add a plug-in that lives outside the package (a notebook, a test). Returns it, so it decorates."""
    _outside.setdefault(kind, {})[plugin.key] = plugin
    return plugin


def unregister(kind: str, key: str) -> None:
    """Take an outside plug-in away again."""
    _outside.get(kind, {}).pop(key, None)


@cache
def _import_outside(names: str) -> None:
    for name in filter(None, (part.strip() for part in names.split(","))):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise NotFound(
                f"RECSYS_PLUGINS names the module '{name}', which cannot be imported: {error}.", "Check its name and PYTHONPATH."
            ) from None


@cache
def _modules(kind: str) -> dict[str, str]:
    """key -> module path, found without importing the plug-ins themselves."""
    found: dict[str, str] = {}
    for name in KINDS[kind][0]:
        package = importlib.import_module(name)
        for info in pkgutil.walk_packages(package.__path__, prefix=f"{name}."):
            stem = info.name.rsplit(".", 1)[1]
            if not info.ispkg and not any(part.startswith("_") for part in info.name.split(".")[1:]):
                found[stem] = info.name
    return found


def keys(kind: str) -> list[str]:
    """All keys of a kind, sorted."""
    _import_outside(os.environ.get("RECSYS_PLUGINS", ""))
    return sorted({*_modules(kind), *_outside.get(kind, {})})


def module_of(kind: str, key: str) -> str:
    """The module a key is in, found without importing it; "" for one registered from outside."""
    return _modules(kind).get(key, "")


def get(kind: str, key: str) -> Any:
    """The plug-in class of a key. Raises NotFound with the closest known key."""
    _import_outside(os.environ.get("RECSYS_PLUGINS", ""))
    if key in _outside.get(kind, {}):
        return _outside[kind][key]
    key = RENAMED.get((kind, key), key)
    path = _modules(kind).get(key)
    if path is None:
        close = difflib.get_close_matches(str(key), keys(kind), n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(keys(kind))}."
        raise NotFound(f"Unknown {kind} '{key}'.", hint)
    return _load(kind, key, path)


@cache
def _load(kind: str, key: str, path: str) -> Any:
    module_name, class_name = KINDS[kind][1].split(":")
    base = getattr(importlib.import_module(module_name), class_name)
    module = importlib.import_module(path)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and value.__dict__.get("key") == key:
            return value
    raise TypeError(f"{path} must define a {base.__name__} subclass with key = '{key}'")


def all_of(kind: str) -> dict[str, Any]:
    """key -> plug-in class, for all of a kind."""
    return {key: get(kind, key) for key in keys(kind)}
