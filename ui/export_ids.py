"""Lists of ids as people bring them: pasted, or a file with one id a line or a table with a column of them."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from recsys_core.errors import BadInput

from . import state
from .text import count, listing, md, short

MOST_IDS = 2_000_000
SEPARATORS = ("\t", ";", ",", "|")


@dataclass(frozen=True)
class IdList:
    """ids: each once, in their order. unknown: those the dataset does not have. n_repeated: given more than once."""

    ids: list[str]
    unknown: list[str]
    n_repeated: int = 0

    @property
    def known(self) -> list[str]:
        left_out = set(self.unknown)
        return [one for one in self.ids if one not in left_out]


def read_ids(text: str, known: Any) -> IdList:
    """Of the ways to read the text - a line is an id; ids between separators; a column of a table - the one that finds
    most ids the dataset knows. A header is left out. known: IdMap."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_IDS:
        raise BadInput(f"A list may have at most {MOST_IDS:,} ids; this one has {len(lines):,}.", "Export all users, or a segment.")
    readings = [lines]
    used = [separator for separator in SEPARATORS if any(separator in line for line in lines[:1000])]
    for separator in used:
        rows = list(csv.reader(lines, delimiter=separator))
        width = min(20, max(map(len, rows)))
        readings += [[row[column].strip() for row in rows if len(row) > column] for column in range(width)]
        readings.append([cell.strip() for row in rows for cell in row])
    if len(used) > 1:
        readings.append([cell.strip() for cell in re.split(r"[\t;,|\n]", "\n".join(lines))])
    if len(lines) == 1:
        readings.append(lines[0].split())
    readings = [[_unquoted(one) for one in reading if one] for reading in readings]
    best = max(readings, key=lambda reading: _n_known(reading, known))
    if len(best) > 1 and known.encode(best[:1])[0] < 0 and _looks_like_header(best[0]):
        best = best[1:]
    unique = list(dict.fromkeys(best))
    codes = known.encode(unique) if unique else np.empty(0, np.int32)
    return IdList(unique, [unique[i] for i in np.flatnonzero(codes < 0)], len(best) - len(unique))


def as_text(content: bytes) -> str:
    """Bytes of an uploaded list: UTF-8, UTF-16 with its mark, else Latin-1."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def id_list_input(key: str, noun: str, known: Any, dataset_id: str, *, help: str = "") -> IdList | None:
    """A box to paste into and an upload beside it; None when there is nothing. The report is drawn below."""
    left, right = st.columns(2, gap="medium")
    pasted = left.text_area(
        f"Paste {noun} ids", key=f"{key}-pasted", height=124, placeholder="One id a line, or separated by commas", help=help or None
    )
    file = right.file_uploader(
        f"Or upload a list of {noun} ids",
        type=["txt", "csv", "tsv"],
        key=f"{key}-file",
        help=f"A text file with one {noun} id a line, or a table with a column of them.",
        max_upload_size=64,
    )
    text = "\n".join(part for part in (pasted or "", as_text(file.getvalue()) if file is not None else "") if part.strip())
    if "\x00" in text:
        raise BadInput("This is no list of ids: it holds bytes that are no text.", "Give a text file with one id a line.")
    if not text.strip():
        return None
    found = _read_once(text, noun, str(state.root()), dataset_id, known)
    report(found, noun)
    return found


@st.cache_resource(max_entries=8, show_spinner="Reading the list …")
def _read_once(text: str, noun: str, folder: str, dataset_id: str, _known: Any) -> IdList:
    return read_ids(text, _known)


def report(found: IdList, noun: str) -> None:
    """How many were read, and which are unknown."""
    told = f"{count(len(found.ids), f'{noun} id')} read" + (f", {count(found.n_repeated, 'repeat')} left out" if found.n_repeated else "")
    if not found.unknown:
        st.caption(f":material/check: {told}; all of them are in the dataset.")
        return
    more = len(found.unknown) - 5
    some = [f"'{md(short(one, 40))}'" for one in found.unknown[:5]]
    names = listing([*some, f"{more:,} more"] if more > 0 else some, limit=6)
    st.warning(f"{told}. {count(len(found.unknown))} not in this dataset: {names}.", icon=":material/warning:")
    if more > 0:
        st.download_button(
            "Download the unknown ids", "\n".join(found.unknown), f"unknown-{noun}-ids.txt", "text/plain", key=f"unknown-{noun}",
            icon=":material/download:", on_click="ignore", type="tertiary",
        )  # fmt: skip


def _n_known(ids: list[str], known: Any) -> tuple[int, float]:
    """(how many are known, their share): of readings that find as many, the one with less beside it."""
    sample = ids[:50_000]
    found = int((known.encode(sample) >= 0).sum()) if sample else 0
    return found, found / max(1, len(sample))


def _unquoted(one: str) -> str:
    return one[1:-1] if len(one) > 1 and one[0] == one[-1] and one[0] in "\"'" else one


def _looks_like_header(one: str) -> bool:
    return bool(re.search(r"user|item|customer|product|movie|kunde|artikel|^id$|_id$|name", one, re.I))
