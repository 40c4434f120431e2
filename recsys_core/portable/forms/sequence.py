"""Sequence models: self-attention, recurrent networks, masked items. What comes after the last items of a history."""

from __future__ import annotations

from ._sequence import LastItems


class Sequence(LastItems):
    """See `LastItems`."""

    key = "sequence"
