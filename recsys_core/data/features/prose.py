"""Whether cells that few rows share are texts (titles, names, descriptions) or only tell rows apart (ids, links, codes)."""

from __future__ import annotations

import re

import pandas as pd

LOOKED_AT = 2_000  # distinct cells
LINKS = "Its cells are links, file names or addresses."
OBJECTS = "Its cells are JSON objects; give what matters of them a column of its own."

_NAMED = re.compile(
    r"title|name|text|descri|summary|headline|comment|review|caption|plot|synopsis|about|body|content|titel|titre|titulo|beschreib"
    r"|название|описание|标题|名称|描述|简介|タイトル|説明",
    re.I,
)
_LINK = r"^(?:https?:|ftp:|www\.|//)|^\S+\.(?:jpe?g|png|gif|webp|svg|html?|pdf|mp[34])(?:\?\S*)?$|^\S+@\S+\.\w+$|^(?:[A-Za-z]:)?[/\\]\S+$"
_WORDS = r"[^\W\d_]{2,}\S{0,20}\s+(?:\S{1,20}\s+){0,3}\S{0,5}?[^\W\d_]{2,}"  # two words
_OTHER_SCRIPT = r"[\u0590-\u1fff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\ufeff\uff66-\uffdc]{2,}"  # many of them set no blanks
_ONE_WORD = r"^[^\W\d_]{3,}(?:\W*|\s.*)$"  # "Alien", "Alien 3"


def why_not_prose(name: str, distinct: pd.Series) -> str:
    """Why the cells are no texts, a sentence; "" where they are, "?" where they only tell rows apart. distinct: different cells."""
    cells = distinct.iloc[:LOOKED_AT].str.slice(0, 300)
    if (cells.str.startswith("{") & distinct.iloc[:LOOKED_AT].str.endswith("}")).mean() >= 0.5:
        return OBJECTS
    if cells.str.contains(_LINK, regex=True).mean() >= 0.5:
        return LINKS
    texts = cells.str.contains(_WORDS, regex=True) | cells.str.contains(_OTHER_SCRIPT, regex=True)
    if texts.mean() >= 0.3:
        return ""
    words = texts | cells.str.contains(_ONE_WORD, regex=True)
    return "" if _NAMED.search(name) and words.mean() >= 0.5 else "?"
