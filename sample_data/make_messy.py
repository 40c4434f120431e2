"""Make messy.csv: some 300 rows with the dirt that real exports have. `python sample_data/make_messy.py`

What is wrong with it, on purpose: semicolons and decimal commas; a preamble line; day-first dates beside
ISO ones; blank, doubled and whitespace-only lines; ids with leading zeros and stray spaces; missing users and items;
words where a rating belongs; ratings off the scale; dates that do not exist; a row with too many and
one with too few fields; a quoted field with a semicolon and a line break; exact repeats; a title that
a spreadsheet would run as a formula.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

TITLES = [
    "The Glass Lantern",
    "Ferry; or, the Long Way Home",
    '"Quoted" Sparrow',
    "=1+1 Recipes",
    "Café Zürich",
    "Two\nLines",
    "Plain Otter",
]


def rows(seed: int) -> list[str]:
    """The lines of the file, header and preamble included."""
    rng = np.random.default_rng(seed)
    n = 280
    user = np.char.add("00", np.char.zfill(rng.integers(1, 31, n).astype(str), 3))
    book = np.minimum(rng.zipf(1.4, n), 40)
    rating = np.char.replace((rng.integers(2, 11, n) / 2).astype(str), ".", ",")
    day = np.datetime64("2025-01-05") + rng.integers(0, 300, n).astype("timedelta64[D]")
    iso = day.astype(str)
    hour, minute = rng.integers(7, 24, n), rng.integers(0, 60, n)
    date = np.array([f"{d[8:]}/{d[5:7]}/{d[:4]} {h:02}:{m:02}" for d, h, m in zip(iso, hour, minute, strict=True)])
    title = np.array([_quoted(TITLES[b % len(TITLES)]) for b in book])
    lines = [";".join(fields) for fields in zip(user, np.char.add("BK-", book.astype(str)), title, rating, date, strict=True)]
    lines[11] = lines[11].replace(rating[11], "n/a", 1)
    lines[25] = f";BK-3;{title[25]};4,0;12/03/2025 10:00"
    lines[40] = f"00007;;{title[40]};3,5;13/03/2025 11:15"
    lines[55] = "00012;BK-5;The Glass Lantern;five;14/03/2025 09:30"
    lines[70] = "00012;BK-6;Plain Otter;4,5;31/02/2025 09:30"
    lines[85] = "00003;BK-2;Plain Otter;55;15/03/2025 20:00"
    lines[100] = "00004;BK-9"
    lines[115] = "00004;BK-9;Plain Otter;4,0;16/03/2025 20:00;what is;this"
    lines[130] = "  00005 ;BK-1 ;Plain Otter; 4,0 ;17/03/2025 21:05"
    lines[145] = "00006;BK-4;Plain Otter;3,0;2025-03-18 08:00:00"
    lines[160] = "NULL;BK-4;Plain Otter;3,0;18/03/2025 08:00"
    lines[175] = "00006;BK-8;Plain Otter;3,0;"
    lines[190] = "00008;BK-8;Plain Otter;;19/03/2025 08:00"
    lines[205] = ""
    lines[206] = "   "
    lines[220] = ";;;;"
    repeats = [lines[i] for i in (0, 0, 3, 17, 42, 99)]
    return ["Export of 2 November 2025;;;;", "Customer No.;Book;Title;Stars (1-5);When", *lines[:240], *repeats, *lines[240:]]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(';"\n') else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("messy.csv"))
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    args.out.write_bytes(("\r\n".join(rows(args.seed)) + "\r\n").encode("utf-8-sig"))


if __name__ == "__main__":
    main()
