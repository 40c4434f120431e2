"""Opening a raw file: unpack, find the encoding, convert, judge the dialect, count the records."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import DataError, WorkbenchError
from . import container, dialect, encoding, records
from .guard import guarded
from .repair import repair
from .source import Source, byte_start, unreadable
from .sql import connect, escape

_HEAD_BYTES = 1 << 18
ALL_MEMBERS = "*"


@guarded
def open_source(
    path: str | Path,
    *,
    name: str | None = None,
    member: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    scratch: str | Path | None = None,
) -> Source:
    """Recognise a file: CSV, TSV, `;`, `|`, `::`, gzip, zip or Parquet, in any usual encoding.

    name: what to call it in messages (uploads have temporary paths). member: which file of a zip, "*" for
    all of them as one table. encoding, delimiter, header: override the guess. scratch: an existing folder
    for converted copies (a temporary one that lives as long as the Source otherwise). Raises DataError.
    Cost: one pass over the bytes (hash, UTF-8, line ends), one to count records, one more to convert.
    """
    path = Path(path)
    label = name or path.name
    if delimiter == "":
        delimiter = None
    if delimiter is not None and delimiter not in dialect.DELIMITERS and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DataError(f"The separator {delimiter!r} cannot be used.", "Use one character, or '::'.")
    try:
        if not path.is_file():
            raise DataError(f"There is no file '{label}'.", "Check the path.")
        if path.stat().st_size == 0:
            raise DataError(f"'{label}' is empty (0 bytes).", "Give a file with one row for each interaction.")
        owned = None
        if scratch is None:
            owned = tempfile.TemporaryDirectory(prefix="recsys-ingest-")
        else:
            Path(scratch).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="source-", dir=owned.name if owned else scratch))
        return replace(_open(path, label, member, encoding, delimiter, header, folder), _scratch=owned)
    except WorkbenchError:
        raise
    except OSError as error:
        raise DataError(
            f"'{label}' cannot be read ({error.strerror or error}).", "Check the file, its permissions and the free disk space."
        ) from None


def _open(
    path: Path, label: str, member: str | None, codec: str | None, delimiter: str | None, header: bool | None, folder: Path
) -> Source:
    with path.open("rb") as file:
        head = file.read(1024)
    container.refuse_known(head, label)
    members = container.members_of(path, label)
    notes: list[str] = []
    if member == ALL_MEMBERS and len(members) > 1:
        return _open_all(path, label, members, codec, delimiter, header, folder)
    if member == ALL_MEMBERS:
        member = None
    if members and member is None:
        member = container.choose_member(path, members)
        if len(members) > 1:
            notes.append(
                f"The zip holds {len(members)} files; '{member}' was taken. The others: {', '.join(m for m in members if m != member)}."
            )
    if not members:
        member = None
    packed = bool(members) or head.startswith(b"\x1f\x8b")
    with ThreadPoolExecutor(1) as beside:  # hashing leaves the interpreter free
        hashing = beside.submit(container.file_hash, path)
        plain, counts = _unpack(path, member, label, folder / "unpacked") if packed else (path, _scan_bytes(path, label))
        digest = hashing.result()
    shown = f"{label}/{member}" if member else label
    if counts.n_bytes == 0:
        raise DataError(f"'{shown}' is empty.", "Give a file with one row for each interaction.")
    if packed:
        container.refuse_known(counts.head[:1024], shown)
    base = {"path": path, "name": label, "n_bytes": path.stat().st_size, "content_hash": digest, "member": member, "members": members}
    if counts.head.startswith(b"PAR1"):
        return _parquet(_safe_path(plain, folder), shown, notes, base)
    return _text(plain, counts, shown, notes, base, codec, delimiter, header, folder)


def _scan_bytes(path: Path, label: str) -> encoding.ByteCounts:
    scanner = encoding.ByteScanner()
    for block in container.blocks(path, None, label):
        scanner.feed(block)
    return scanner.close()


def _unpack(path: Path, member: str | None, label: str, out: Path) -> tuple[Path, encoding.ByteCounts]:
    scanner = encoding.ByteScanner()
    with out.open("wb") as file:
        for block in container.blocks(path, member, label):
            scanner.feed(block)
            file.write(block)
    return out, scanner.close()


def _safe_path(path: Path, folder: Path) -> Path:
    """DuckDB reads *, ? and [ in a path as a pattern: such a file is reached by a link with a plain name."""
    if not set("*?[]{}") & set(str(path)):
        return path
    link = folder / f"linked{'.parquet' if path.suffix == '.parquet' else ''}"
    link.symlink_to(path.resolve())
    return link


def _parquet(path: Path, shown: str, notes: list[str], base: dict[str, Any]) -> Source:
    with connect() as con:
        try:
            described = con.execute(f"DESCRIBE SELECT * FROM read_parquet({escape(str(path))})").fetchall()
            n_rows = con.execute(f"SELECT count(*) FROM read_parquet({escape(str(path))})").fetchone()[0]
        except Exception as error:
            raise unreadable(shown, error) from None
    if len(described) < 2:
        raise DataError(
            f"'{shown}' has only one column; at least two are needed: a user and an item, "
            "or in a table of items or users an id and what describes it.",
            "Give a file with both.",
        )
    if n_rows == 0:
        raise DataError(f"'{shown}' has columns but no rows.", "Give a file with one row for each interaction.")
    columns = tuple(row[0] for row in described)
    return Source(form="parquet", data_path=path, columns=columns, n_records=n_rows, notes=tuple(notes), **base)


def _text(
    plain: Path,
    counts: encoding.ByteCounts,
    shown: str,
    notes: list[str],
    base: dict[str, Any],
    codec: str | None,
    delimiter: str | None,
    header: bool | None,
    folder: Path,
) -> Source:
    if codec:
        codec, assumed, sentence = encoding.check_codec(codec), False, ""
    else:
        codec, assumed, sentence = encoding.detect(counts, shown)
    if sentence:
        notes.append(sentence)
    if counts.n_nul and not codec.startswith(("utf-16", "utf-32")):
        notes.append(f"{counts.n_nul} NUL bytes were left out.")
    plain_ends = counts.n_cr == 0 or (counts.n_cr == counts.n_lf == counts.n_crlf)
    untouched = codec == "utf-8" and counts.utf8 and not counts.n_nul and plain_ends
    if not untouched:
        text_path = folder / "text.csv"
        with text_path.open("wb") as out:
            for block in encoding.transcode(_raw(plain), codec, cr_is_newline=counts.n_lf == 0):
                out.write(block)
        plain = text_path
    with plain.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        complete = not file.read(1)
    text = (head if complete else head[: head.rfind(b"\n") + 1] or head).decode("utf-8", "replace")
    found = dialect.sniff(text, shown, delimiter=delimiter, header=header)
    notes += found.notes
    line_base, skip = 0, found.skip_lines
    if skip > 1 or (skip and '"' in text.split("\n", 1)[0] and text.split("\n", 1)[0].count('"') % 2):
        plain, line_base, skip = _cut(plain, skip, folder / "body.csv"), skip, 0
    above = "\n".join(text.split("\n")[: found.skip_lines]).count('"')
    quoted = counts.n_quote > above and len(found.delimiter) == 1
    plain = _safe_path(plain, folder)
    source = Source(
        form="text",
        data_path=plain,
        columns=found.columns,
        n_records=0,
        encoding=encoding_label(codec),
        encoding_assumed=assumed,
        delimiter=found.delimiter,
        header=found.header,
        quoted=quoted,
        skip_lines=skip,
        line_base=line_base,
        notes=tuple(notes),
        **base,
    )
    if untouched and not quoted and not counts.blank_lines:  # then the newlines already counted are the records
        scan = records.Scan(counts.n_lf + counts.open_end - found.skip_lines, 0, True)
    else:
        scan = records.scan(plain, byte_start(source), quoted, found.delimiter)
    if scan.n_records == 0:
        raise DataError(f"'{shown}' has a header but no rows.", "Give a file with one row for each interaction.")
    source = replace(source, n_records=scan.n_records, n_blank=scan.n_blank)
    return source if scan.well_quoted else repaired(source, folder)


def repaired(source: Source, folder: Path | None = None) -> Source:
    """The same source read line by line with its quotes judged one by one."""
    folder = folder or Path(tempfile.mkdtemp(prefix="source-", dir=source._scratch.name if source._scratch else None))
    out = folder / "repaired.parquet"
    n_rows, n_blank, refused = repair(
        source.data_path, out, delimiter=source.delimiter, n_columns=len(source.columns), skip_lines=source.skip_lines
    )
    note = "Some quotes do not follow the rules of CSV: the file was read line by line, so that an unclosed quote costs only its own row."
    return replace(
        source,
        form="parquet",
        data_path=out,
        n_records=n_rows + len(refused),
        n_blank=n_blank,
        has_line_column=True,
        refused=tuple(refused),
        notes=(*source.notes, note),
    )


def _open_all(
    path: Path, label: str, members: tuple[str, ...], codec: str | None, delimiter: str | None, header: bool | None, folder: Path
) -> Source:
    """Several members of one zip, of the same columns, as one table."""
    opened = []
    for k, member in enumerate(members):
        (folder / str(k)).mkdir()
        opened.append(_open(path, label, member, codec, delimiter, header, folder / str(k)))
    first = opened[0]
    for other in opened[1:]:
        if other.columns != first.columns or other.delimiter != first.delimiter or other.form != "text" or first.form != "text":
            raise DataError(
                f"'{other.member}' and '{first.member}' in '{label}' do not have the same columns, or cannot be joined as text.",
                "Choose one of them.",
            )
    whole, parts, line = folder / "all.csv", [], 1
    with whole.open("wb") as out:
        for source in opened:
            parts.append((line, source.member or "", source.skip_lines + source.line_base))
            with source.data_path.open("rb") as file:
                file.seek(byte_start(source))
                while block := file.read(container.BLOCK_BYTES):
                    last = block[-1:]
                    line += block.count(b"\n")
                    out.write(block)
                if last != b"\n":
                    out.write(b"\n")
                    line += 1
    notes = tuple(dict.fromkeys(n for s in opened for n in s.notes)) + (f"{len(members)} files of the zip were read as one table.",)
    return replace(
        first,
        data_path=whole,
        member=ALL_MEMBERS,
        n_records=sum(s.n_records for s in opened),
        n_blank=sum(s.n_blank for s in opened),
        encoding_assumed=any(s.encoding_assumed for s in opened),
        quoted=any(s.quoted for s in opened),
        skip_lines=0,
        line_base=0,
        notes=notes,
        parts=tuple(parts),
    )


def _raw(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(container.BLOCK_BYTES):
            yield block


def _cut(path: Path, n_lines: int, out: Path) -> Path:
    """A copy without its first n lines."""
    with path.open("rb") as file, out.open("wb") as target:
        for _ in range(n_lines):
            file.readline()
        shutil.copyfileobj(file, target, container.BLOCK_BYTES)
    return out


def encoding_label(codec: str) -> str:
    return {"utf-8-sig": "utf-8-sig", "gb18030": "gbk", "cp1252": "cp1252"}.get(codec, codec)
