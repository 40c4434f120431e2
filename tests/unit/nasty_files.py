"""Forty-odd files of the kind people really upload, each with what must come of it.

`CASES` maps a name to a `Case`: the bytes, the file name, and either the exact row counts and reject
lines or a piece of the sentence with which the file is refused.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """refused: words of the DataError, None when the file must be read. lines: physical lines of rejected rows."""

    name: str
    data: bytes
    refused: str | None = None
    read: int | None = None
    kept: int | None = None
    merged: int = 0
    lines: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    users: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    check: Callable[[Any, Any], bool] | None = None  # (source, result) -> holds


HEAD = "user,item,rating,timestamp"
ROWS = [f"u{k % 7},i{k},{k % 5 + 1},{1_500_000_000 + 60 * k}" for k in range(20)]


def text(rows: list[str], head: str | None = HEAD, end: str = "\n") -> str:
    return end.join([*([head] if head else []), *rows]) + end


def put(row: str, at: int) -> list[str]:
    return [*ROWS[:at], row, *ROWS[at:]]


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def parquet(**columns: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def _odd_parquet() -> bytes:
    import datetime as dt
    import decimal

    n = 30
    return parquet(
        user_id=[float(k % 6) for k in range(n)],
        tags=[["a", "b"]] * n,
        price=[decimal.Decimal("9.99")] * n,
        product=[b"p%d" % (k % 9) for k in range(n)],
        when=[dt.datetime(2024, 1, 1) + dt.timedelta(hours=k) for k in range(n)],
    )


def _replace(column: int, value: str, at: int) -> list[str]:
    cells = ROWS[at].split(",")
    cells[column] = value
    return [*ROWS[:at], ",".join(cells), *ROWS[at + 1 :]]


PLAIN = text(ROWS).encode()
CHINESE = text([f"用户{k % 5},苹果手机{k},{k % 5 + 1}" for k in range(20)], "用户,商品,评分")
FRENCH = text([f"Andr\xe9{k % 5},caf\xe9 cr\xe8me n\xb0{k},{k % 5 + 1}" for k in range(20)], "user,item,rating")
DOUBLE_COLON = "".join(f"{k % 7}::{k}::{k % 5 + 1}::{978300000 + k}\n" for k in range(20))

_LIST = [
    Case("plain.csv", PLAIN, read=20, kept=20),
    Case("bom.csv", b"\xef\xbb\xbf" + PLAIN, read=20, kept=20, check=lambda s, r: s.columns[0] == "user"),
    Case("utf16.csv", text(ROWS).encode("utf-16"), read=20, kept=20, check=lambda s, r: not s.encoding_assumed),
    Case("utf16_no_mark.csv", text(ROWS).encode("utf-16-le"), read=20, kept=20, check=lambda s, r: s.encoding_assumed),
    Case(
        "gbk.csv",
        CHINESE.encode("gbk"),
        read=20,
        kept=20,
        users=("用户0", "用户1", "用户2", "用户3", "用户4"),
        check=lambda s, r: s.encoding_assumed,
    ),
    Case(
        "latin1.csv",
        FRENCH.encode("latin-1"),
        read=20,
        kept=20,
        users=tuple(f"André{k}" for k in range(5)),
        check=lambda s, r: s.encoding_assumed,
    ),
    Case(
        "damaged_utf8.csv", text(ROWS + ["ué,ià,3,1500000000"] * 30).encode() + b"\xff\xfe,i1,3,1500000000\n", read=51, kept=22, merged=29
    ),
    Case("crlf.csv", text(put("u1,i99", 5), end="\r\n").encode(), read=21, kept=20, lines=(7,), reasons=("too few columns",)),
    Case("cr_only.csv", text(put("u1,i99", 5), end="\r").encode(), read=21, kept=20, lines=(7,), reasons=("too few columns",)),
    Case("mixed_ends.csv", (text(ROWS[:10], end="\r\n") + text(["bad", *ROWS[10:]], None)).encode(), read=21, kept=20, lines=(12,)),
    Case("double_cr.csv", text(put("u1", 3), end="\r\r\n").encode(), read=21, kept=20, lines=(5,)),
    Case("no_last_newline.csv", PLAIN.rstrip(b"\n"), read=20, kept=20),
    Case(
        "quoted_newlines.csv", text(['u1,"i\na",5,1500000000', "u2", "u3,i2,x,1500000000", *ROWS]).encode(), read=23, kept=21, lines=(4, 5)
    ),
    Case("ragged.csv", text(put("u1,i1,3,1500000000,extra", 0)).encode(), read=21, kept=20, lines=(2,), reasons=("too many columns",)),
    Case("ragged_both.csv", text([*put("u1", 4), "a,b,c,d,e,f"]).encode(), read=22, kept=20, lines=(6, 23)),
    Case("unclosed_quote.csv", text(put('u1,"i77,3,1500000000', 5)).encode(), read=21, kept=20, lines=(7,), reasons=("unclosed quote",)),
    Case("stray_quotes.csv", text(put('u1,5" nail,3,1500000000', 5) + ['u2,"a" b,2,1500000000']).encode(), read=22, kept=22),
    Case("backslash.csv", text(put("u1,a\\,3,1500000000", 5)).encode(), read=21, kept=21),
    Case(
        "nul_bytes.csv",
        text(put("u1\0,i50,3,1500000000", 5)).encode(),
        read=21,
        kept=21,
        check=lambda s, r: "u1\0" not in set(r.dataset.users.ids),
    ),
    Case(
        "blank_lines.csv",
        (HEAD + "\n\n" + "\n\n".join(put("u1", 2)) + "\n\n\n").encode(),
        read=21,
        kept=20,
        lines=(7,),
        check=lambda s, r: r.report.blank_lines == 23,
    ),
    Case("blank_first.csv", ("\n\n" + text(put("u1", 0))).encode(), read=21, kept=20, lines=(4,)),
    Case(
        "preamble.csv",
        ("Export of shop\nmade on Monday\n\n" + text(put("u1,,4,1500000000", 3))).encode(),
        read=21,
        kept=20,
        lines=(8,),
        reasons=("empty item id",),
    ),
    Case(  # a spreadsheet fills the lines above the table up with separators
        "preamble_padded.csv",
        ("Sales report 2025,,,\n,,,\nRows,20,,\n" + text(put("u1,,4,1500000000", 3))).encode(),
        read=21,
        kept=20,
        lines=(8,),
        reasons=("empty item id",),
        check=lambda s, r: s.columns == ("user", "item", "rating", "timestamp") and any("3 lines above the header" in n for n in s.notes),
    ),
    Case(
        "preamble_one_narrower.csv",
        ("Shop,Berlin,first quarter\n" + text(put("u1,,4,1500000000", 3))).encode(),
        read=21,
        kept=20,
        lines=(6,),
        check=lambda s, r: s.columns[0] == "user" and any("1 line above the header" in n for n in s.notes),
    ),
    Case(
        "preamble_unknown_names.csv",
        ("Auszug;;;\n" + text([r.replace(",", ";") for r in ROWS], "wer;was;wieviel;sonst")).encode(),
        read=20,
        kept=20,
        plan={"columns": {"user": "wer", "item": "was"}},
    ),
    Case(  # a first row with gaps is data, not a preamble
        "gaps_in_first_row_no_header.csv",
        text(["u1,,,", *(f"u{k % 7},book{k % 5},rating,shop{k % 3}" for k in range(20))], None).encode(),
        read=21,
        kept=20,
        lines=(1,),
        plan={"columns": {"user": "column_1", "item": "column_2"}},
        check=lambda s, r: not s.header,
    ),
    Case(
        "duplicate_headers.csv",
        text(ROWS, "user,item,item,timestamp").encode(),
        read=20,
        kept=20,
        plan={"columns": {"user": "user", "item": "item"}},
    ),
    Case("blank_headers.csv", text(ROWS, "user,item,,").encode(), read=20, kept=20),
    Case("hash_header.tsv", text([r.replace(",", "\t") for r in ROWS], "#user\titem\trating\ttime").encode(), read=20, kept=20),
    Case("double_colon.dat", DOUBLE_COLON.encode(), read=20, kept=20, check=lambda s, r: not s.header and s.delimiter == "::"),
    Case("pipe.txt", text([r.replace(",", "|") for r in ROWS], None).encode(), read=20, kept=20, check=lambda s, r: not s.header),
    Case("spaces.txt", text([r.replace(",", " ") for r in ROWS], None).encode(), read=20, kept=20),
    Case(
        "semicolon_decimal_comma.csv",
        text([f"u{k % 6};i{k};{k % 4},5" for k in range(40)], "user;item;rating").encode(),
        read=40,
        kept=40,
        check=lambda s, r: r.dataset.value.max() == 3.5,
    ),
    Case(
        "thousands.csv",
        text([f'u{k % 6},i{k},"{k + 1},234"' for k in range(40)], "user,item,plays").encode(),
        read=40,
        kept=40,
        check=lambda s, r: r.dataset.value.max() == 40234,
    ),
    Case(
        "day_first.csv",
        text([f"u{k % 6},i{k},{k % 28 + 1:02d}/02/2024" for k in range(40)], "user,item,date").encode(),
        read=40,
        kept=40,
        check=lambda s, r: r.report.first_time.startswith("2024-02-01") and r.report.last_time.startswith("2024-02-28"),
    ),
    Case(
        "month_first.csv",
        text([f"u{k % 6},i{k},02/{k % 28 + 1:02d}/2024 1:05 PM" for k in range(40)], "user,item,date").encode(),
        read=40,
        kept=40,
        check=lambda s, r: r.report.last_time == "2024-02-28 13:05:00",
    ),
    Case("mixed_times.csv", text(_replace(3, "last Tuesday", 4)).encode(), read=20, kept=19, lines=(6,), reasons=("unreadable time",)),
    Case(
        "iso_zones.csv",
        text([f"u{k % 6},i{k},2024-03-01T00:30:00+02:00" for k in range(40)], "user,item,time").encode(),
        read=40,
        kept=40,
        check=lambda s, r: r.report.first_time == "2024-02-29 22:30:00",
    ),
    Case(
        "milliseconds.csv",
        text([f"u{k % 6},i{k},{1_600_000_000_123 + k}" for k in range(40)], "uid,sku,ts").encode(),
        read=40,
        kept=40,
        check=lambda s, r: r.dataset.time.min() == 1_600_000_000,
    ),
    Case(
        "leading_zeros.csv",
        text([f"00{k % 3},0{k},3" for k in range(20)], "user,item,rating").encode(),
        read=20,
        kept=20,
        users=("000", "001", "002"),
    ),
    Case(
        "spaces_around.csv",
        text([f" u{k % 3} ,\ti{k} , 3 " for k in range(20)], "user, item ,rating").encode(),
        read=20,
        kept=20,
        users=("u0", "u1", "u2"),
    ),
    Case(
        "emoji.csv",
        text([f"😀{k % 3},💿{k},3" for k in range(20)], "user,item,rating").encode(),
        read=20,
        kept=20,
        users=("😀0", "😀1", "😀2"),
    ),
    Case(
        "nan_ids.csv",
        text(put("nan,NULL,3,1500000000", 5)).encode(),
        read=21,
        kept=21,
        check=lambda s, r: sum("missing value" in w for w in r.report.warnings) == 2,
    ),
    Case(
        "empty_ids.csv",
        text(put(",i1,3,1500000000", 5) + ["u1,  ,3,1500000000", 'u2,"",3,1500000000']).encode(),
        read=23,
        kept=20,
        lines=(7, 23, 24),
        reasons=("empty user id", "empty item id", "empty item id"),
    ),
    Case(
        "bad_values.csv",
        text([*ROWS, *(f"u1,x{v},{v},1500000000" for v in ("abc", "nan", "inf", "-inf", "1e999", "", "1e300"))]).encode(),
        read=27,
        kept=20,
        lines=tuple(range(22, 29)),
        reasons=("value is not a number",) * 5 + ("empty value", "value is not a number"),
    ),
    Case(
        "negative_ratings.csv",
        text([f"u{k % 6},i{k},{k % 21 - 10}" for k in range(60)], "user,item,rating").encode(),
        read=60,
        kept=60,
        check=lambda s, r: r.dataset.value.min() == -10,
    ),
    Case(
        "negative_counts.csv",
        text([*(f"u{k % 6},i{k},{k * 10 + 1}" for k in range(40)), "u1,x,-3", "u1,y,0"], "user,item,plays").encode(),
        read=42,
        kept=40,
        lines=(42, 43),
        reasons=("negative or zero count",) * 2,
    ),
    Case(
        "trailing_delimiter.csv",
        text([r + "," for r in ROWS]).encode(),
        read=20,
        kept=20,
        check=lambda s, r: r.report.columns["user"] == "user",
    ),
    Case("trailing_everywhere.csv", text([r + "," for r in ROWS], HEAD + ",").encode(), read=20, kept=20),
    Case(
        "row_names.csv",
        text([f'"{k}",{r}' for k, r in enumerate(ROWS)]).encode(),
        read=20,
        kept=20,
        check=lambda s, r: r.report.columns["user"] == "user",
    ),
    Case("no_header.csv", text(ROWS, None).encode(), read=20, kept=20, check=lambda s, r: r.report.columns["time"] == "column_4"),
    Case(
        "header_like_data.csv",
        text([f"ann{k % 3},book{k % 9}" for k in range(27)], "ann1,book3").encode(),
        read=28,
        kept=10,
        merged=18,
        check=lambda s, r: not s.header,
    ),
    Case("long_field.csv", text(put(f"u1,{'x' * 1_000_000},3,1500000000", 5)).encode(), read=21, kept=21),
    Case(
        "huge_field.csv",
        text(put(f"u1,{'x' * 5_000_000},3,1500000000", 5)).encode(),
        read=21,
        kept=20,
        lines=(7,),
        reasons=("line too long",),
    ),
    Case(
        "gz_tsv.tsv.gz",
        gzip.compress(text([r.replace(",", "\t") for r in put("u1", 5)], HEAD.replace(",", "\t")).encode()),
        read=21,
        kept=20,
        lines=(7,),
    ),
    Case("zip_one.zip", zipped({"data/ratings.csv": PLAIN}), read=20, kept=20),
    Case(
        "zip_several.zip",
        zipped({"README.txt": b"hello", "movies.csv": b"item,title\ni1,One\n" * 200, "ratings.csv": PLAIN, "__MACOSX/._r.csv": b"\0\1"}),
        read=20,
        kept=20,
        check=lambda s, r: s.member == "ratings.csv" and len(s.members) == 2,
    ),
    Case(
        "zip_all.zip",
        zipped({"a.csv": PLAIN, "b.csv": text(["u9,i1,3,1500000000", "u9"]).encode()}),
        read=22,
        kept=21,
        lines=(3,),
        options={"member": "*"},
        check=lambda s, r: s.member == "*",
    ),
    Case("odd_types.parquet", _odd_parquet(), read=30, kept=18, merged=12, users=("0", "1", "2", "3", "4", "5")),
    Case("odd [1]*.csv", PLAIN, read=20, kept=20),
    # ----- files that cannot be used
    Case("empty.csv", b"", refused="empty"),
    Case("blanks_only.csv", b"\n\n  \n", refused="empty"),
    Case("bom_only.csv", b"\xef\xbb\xbf", refused="empty"),
    Case("one_column.csv", b"user\na\nb\nc\n", refused="one column"),
    Case("only_header.csv", HEAD.encode() + b"\n", refused="no rows"),
    Case("all_constant.csv", text(["u1,i1,3,1500000000"] * 20).encode(), refused="same user and the same item"),
    Case("one_user.csv", text([f"u1,i{k},3" for k in range(20)], "user,item,rating").encode(), refused="same user"),
    Case(
        "all_bad_times.csv",
        text([f"u{k},i{k},soon" for k in range(20)], "user,item,time").encode(),
        refused="unreadable time",
        plan={"columns": {"user": "user", "item": "item", "time": "time"}, "time_format": "iso"},
    ),
    Case("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, refused="PNG"),
    Case("binary.csv", bytes((k * 7919) % 256 for k in range(5000)), refused=""),
    Case("page.csv", b"<!DOCTYPE html><html><body>Sign in, please</body></html>", refused="web page"),
    Case("data.json.csv", b'{"user": 1, "item": 2}\n', refused="JSON"),
    Case("excel.csv", zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), refused="Excel"),
    Case("old_excel.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, refused="Excel"),
    Case("truncated.csv.gz", gzip.compress(PLAIN * 400)[:-500], refused="cut off or damaged"),
    Case("damaged.zip", zipped({"a.csv": PLAIN})[:-30], refused="damaged"),
    Case("bomb.zip", zipped({"a.csv": b"\0" * (80 << 20)}), refused="zip bomb"),
    Case("bomb.csv.gz", gzip.compress(b"u,i\n" * (20 << 20)), refused="zip bomb"),
    Case("empty_zip.zip", zipped({}), refused="no data file"),
    Case("false.parquet", b"PAR1" + b"not really" * 20, refused="cannot be read"),
    Case("rowless.parquet", parquet(user=[], item=[]), refused="no rows"),
]
CASES = {case.name: case for case in _LIST}
