"""Vector files of items and users on the Features tab."""

from __future__ import annotations

from typing import Any

from recsys_core.data.features import FeatureSet


def vectors_card(entry: Any, chosen: FeatureSet) -> None:
    """Drawn once the store can keep vector files."""
