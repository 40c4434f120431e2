"""Texts as terms: words, pairs of words, decades; in scripts without blanks between words, runs of one to three characters."""

from __future__ import annotations

import re
import unicodedata

MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"  # parts of words that \w leaves out
NO_BLANKS = (  # Han, kana, Hangul; Thai, Lao, Myanmar, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"(?P<run>[{NO_BLANKS}]+)|(?:(?![{NO_BLANKS}])[\w{MARKS}])+")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=s\b)")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
LONGEST_RUN = 3


def terms(text: str) -> list[str]:
    """What TF-IDF counts.

    Chinese and Japanese put no blanks between words, so neither words nor scikit-learn's `char_wb` (runs within words) part them: a whole
    title would be one word. Most Chinese words have one or two characters and most names three, so runs of one to three characters find
    what two titles share, without a dictionary. Korean has blanks, but endings grow onto its words; syllable runs reach over them. The
    rule goes by the characters, not by the table: titles of both kinds stand in one vocabulary. A year gives its decade too ("1990s"):
    as words 1994 and 1995 have nothing in common.
    """
    text = _APOSTROPHE.sub("", unicodedata.normalize("NFKC", text).lower())
    found: list[str] = []
    before = ""
    for token in _TOKEN.finditer(text):
        word = token.group()
        if token["run"]:
            found += [word[i : i + n] for n in range(1, LONGEST_RUN + 1) for i in range(len(word) - n + 1)]
            before = ""
        else:
            found.append(word)
            if before:
                found.append(f"{before} {word}")
            if _YEAR.fullmatch(word):
                found.append(f"{word[:3]}0s")
            before = word
    return found
