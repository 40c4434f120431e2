"""Splits: one rule a file."""

from ._base import Split, Splitter

__all__ = ["Split", "Splitter"]
