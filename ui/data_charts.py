"""Charts of the quality report."""

from __future__ import annotations

from typing import Any


def quality_charts(dataset_id: str, quality: dict[str, Any]) -> None:
    """x"""
