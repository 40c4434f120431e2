"""A raw file, recognised: what it is, where its rows start, and plain text or Parquet that DuckDB can read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ...errors import DataError
from .repair import Refused
from .sql import connect, escape, relation


@dataclass(frozen=True)
class Source:
    """A recognised file.

    columns: unique names. form: "text" or "parquet" (data_path is what DuckDB reads). n_records: data rows,
    header, preamble and blank lines (n_blank) not counted. line_base: physical lines of the original above
    the first line of data_path. content_hash: of the file as given. notes: sentences, what was assumed.
    refused: rows already refused while reading (badly quoted files only). parts: for several zip members
    read as one, (first line in data_path, member, lines above it in the member).
    """

    path: Path
    name: str
    form: Literal["text", "parquet"]
    data_path: Path
    columns: tuple[str, ...]
    n_bytes: int
    content_hash: str
    n_records: int
    n_blank: int = 0
    encoding: str = "utf-8"
    encoding_assumed: bool = False
    delimiter: str = ""
    header: bool = True
    quoted: bool = False
    skip_lines: int = 0
    line_base: int = 0
    has_line_column: bool = False
    member: str | None = None
    members: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    parts: tuple[tuple[int, str, int], ...] = ()
    _scratch: Any = field(default=None, repr=False, compare=False)

    def sample(self, n: int = 100) -> pd.DataFrame:
        """The first n readable rows as text, None where a field is empty."""
        with connect() as con:
            return self._query(con, f"SELECT {self._named()} FROM {relation(self)} LIMIT {int(n)}")

    def spread_sample(self, n: int = 5000) -> pd.DataFrame:
        """About n rows from all over a plain text file; else the first n."""
        size = self.data_path.stat().st_size
        if self.form != "text" or self.quoted or size < 1 << 21:
            return self.sample(n)
        rows = []
        with self.data_path.open("rb") as file:
            for at in range(20):
                file.seek(at * (size - (1 << 15)) // 19)
                lines = file.read(1 << 15).decode("utf-8", "replace").split("\n")[1:-1]
                split = (line.rstrip("\r").split(self.delimiter) for line in lines[: n // 20])
                rows += [fields for fields in split if len(fields) == len(self.columns)]
        frame = pd.DataFrame(rows, columns=list(self.columns), dtype="object").astype("str")
        return frame.apply(lambda column: column.str.strip()).replace("", None)

    def _named(self) -> str:
        return ", ".join(f"trim(CAST({c} AS VARCHAR)) AS {escape(n, chr(34))}" for c, n in zip(self.internal, self.columns, strict=True))

    def _query(self, con: Any, sql: str) -> pd.DataFrame:
        try:
            rows = con.execute(sql).fetchall()
        except Exception as error:
            raise unreadable(self.name, error) from None
        return pd.DataFrame(rows, columns=list(self.columns), dtype="object").astype("str").replace("", None)

    @property
    def internal(self) -> tuple[str, ...]:
        """SQL expressions of the columns, in order."""
        if self.form == "parquet" and not self.has_line_column:
            return tuple(escape(name, '"') for name in self.columns)
        return tuple(f"c{k}" for k in range(len(self.columns)))

    def sql_of(self, column: str) -> str:
        """The SQL expression of a column by its shown name. Raises DataError for an unknown one."""
        if column not in self.columns:
            raise DataError(f"'{self.name}' has no column '{column}'.", f"It has: {', '.join(self.columns[:20])}.")
        return self.internal[self.columns.index(column)]

    def original_line(self, line: int) -> tuple[str, int]:
        """(file or member, physical line there) of a line of data_path."""
        for first, member, above in reversed(self.parts):
            if line >= first:
                return member, line - first + 1 + above
        return self.member or self.name, line + self.line_base


def byte_start(source: Source) -> int:
    """Offset in data_path of the first data line."""
    with source.data_path.open("rb") as file:
        for _ in range(source.skip_lines):
            file.readline()
        return file.tell()


def unreadable(name: str, error: Exception) -> DataError:
    """A DataError from what DuckDB said: its first line, without its advice on options."""
    first = str(error).strip().split("\n")[0].split(": ", 1)[-1][:200]
    return DataError(
        f"'{name}' cannot be read as a table ({first.rstrip('.')}).",
        "Choose the separator, encoding or header by hand, or save it again as CSV.",
    )
