"""The few lines that speak DuckDB: a connection, quoting, and the FROM clause of a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .source import Source

MAX_LINE_BYTES = 4_000_000
BLANKS = " \t\n\r\x0b\x0c\u00a0\u3000"


@contextmanager
def connect(threads: int = 0, temp: Path | None = None) -> Iterator[Any]:
    """An in-memory database: UTC, no downloads, rows in file order."""
    import duckdb

    config: dict[str, Any] = {"autoinstall_known_extensions": False, "preserve_insertion_order": True, "memory_limit": "2GB"}
    if threads:
        config["threads"] = threads
    if temp is not None:
        config["temp_directory"] = str(temp)
    con = duckdb.connect(":memory:", config=config)
    try:
        con.execute("SET TimeZone = 'UTC'")
        yield con
    finally:
        con.close()


def escape(text: str, quote: str = "'") -> str:
    """A quoted SQL string, or identifier with quote='\"'."""
    return quote + text.replace(quote, quote * 2).replace("\0", "") + quote


def relation(source: Source) -> str:
    """The FROM clause: every column text, ragged rows stored in reject_errors."""
    path = escape(str(source.data_path))
    if source.form == "parquet":
        return f"read_parquet({path}, file_row_number = {str(not source.has_line_column).lower()})"
    quote = "'\"'" if source.quoted else "''"
    columns = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(len(source.columns)))
    return (
        f"read_csv({path}, auto_detect = false, delim = {escape(source.delimiter)}, quote = {quote}, escape = {quote}, "
        f"header = false, skip = {source.skip_lines}, columns = {{{columns}}}, store_rejects = true, rejects_limit = 0, "
        f"max_line_size = {MAX_LINE_BYTES})"
    )


def trimmed(expression: str) -> str:
    """Text without surrounding blanks; NULL when nothing is left."""
    return f"nullif(trim(CAST({expression} AS VARCHAR), {escape(BLANKS)}), '')"
