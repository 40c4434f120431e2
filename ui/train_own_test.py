"""Your own test file on the Train page: upload, check, save beside the dataset, choose."""

from __future__ import annotations

from typing import Any

import streamlit as st

OWN_TEST = "own_test"


def test_file_picker(entry: Any) -> str | None:
    """The id of the chosen test file of a dataset, or None while there is none."""
    return None
