"""Which encoding a text file has, and its transcoding to UTF-8.

A byte-order mark decides; else strict UTF-8 over the whole file; else a suggestion, which the caller
must show as assumed. Line ends and NUL bytes are counted in the same pass.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LABELS = {
    "utf-8-sig": "UTF-8 with a byte-order mark",
    "utf-8": "UTF-8",
    "gb18030": "GBK",
    "latin-1": "Latin-1",
    "cp1252": "Latin-1 (Windows)",
}
_SAMPLE_BYTES = 1 << 18


@dataclass
class ByteCounts:
    """What one pass over the raw bytes tells."""

    n_bytes: int = 0
    n_lf: int = 0
    n_cr: int = 0
    n_crlf: int = 0
    n_quote: int = 0
    n_nul: int = 0
    blank_lines: bool = False  # may there be any?
    open_end: bool = False  # does the last line lack its newline?
    utf8: bool = True
    head: bytes = b""
    foreign: bytes = b""  # lines with bytes beyond ASCII, for the guess


class ByteScanner:
    """Feeds on blocks; `counts` is complete after `close()`."""

    def __init__(self) -> None:
        self.counts = ByteCounts()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._last = b"\n"

    def feed(self, block: bytes) -> None:
        c = self.counts
        c.n_bytes += len(block)
        newline = np.frombuffer(block, np.uint8) == 10  # several times as fast as bytes.count where lines are short
        c.n_lf += int(np.count_nonzero(newline))
        c.n_quote += block.count(b'"')
        if b"\r" in block:
            c.n_cr += block.count(b"\r")
            c.n_crlf += block.count(b"\r\n")
        c.n_crlf += self._last == b"\r" and block[:1] == b"\n"
        c.blank_lines = (
            c.blank_lines
            or bool((newline[1:] & newline[:-1]).any())
            or (c.n_cr > 0 and b"\n\r" in block)
            or (self._last in b"\r\n" and block[:1] in b"\r\n")
        )
        self._last = block[-1:]
        if b"\0" in block:
            c.n_nul += block.count(b"\0")
        if len(c.head) < _SAMPLE_BYTES:
            c.head += block[: _SAMPLE_BYTES - len(c.head)]
        ascii_only = block.isascii()
        if c.utf8 and not (ascii_only and self._decoder.getstate()[0] == b""):
            try:
                self._decoder.decode(block)
            except UnicodeDecodeError:
                c.utf8 = False
        if not ascii_only and len(c.foreign) < _SAMPLE_BYTES:
            lines = re.findall(rb"[^\r\n]*[\x80-\xff][^\r\n]*", block[: 1 << 22])
            c.foreign += b"\n".join(lines)[: _SAMPLE_BYTES - len(c.foreign)] + b"\n"

    def close(self) -> ByteCounts:
        self.counts.open_end = self._last != b"\n"
        if self.counts.utf8:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                self.counts.utf8 = False
        return self.counts


def detect(counts: ByteCounts, name: str) -> tuple[str, bool, str]:
    """(python codec, assumed, sentence or "") of a scanned file. Raises DataError for binary data."""
    for mark, codec in _MARKS:
        if counts.head.startswith(mark):
            return codec, False, "" if codec == "utf-8-sig" else f"The file is {codec.upper()}; it was converted to UTF-8."
    if counts.n_nul > counts.n_bytes // 10:
        even, odd = counts.head[0::2].count(0), counts.head[1::2].count(0)
        if max(even, odd) > 4 * min(even, odd) and max(even, odd) > len(counts.head) // 5:
            codec = "utf-16-le" if odd > even else "utf-16-be"
            return codec, True, "The file has no byte-order mark but looks like UTF-16: please check the names shown."
    control = sum(counts.head.count(bytes([b])) for b in (*range(1, 9), *range(14, 32), 127))
    if counts.n_nul > max(8, counts.n_bytes // 50) or control > len(counts.head) // 100:
        raise DataError(
            f"'{name}' is a binary file, not a text table.", "Give a table as CSV, TSV or Parquet, plain or packed with gzip or zip."
        )
    if counts.utf8:
        return "utf-8", False, ""
    return _suggest(counts.foreign, name)


def _suggest(foreign: bytes, name: str) -> tuple[str, bool, str]:
    """A guess among the encodings people have: mostly-UTF-8 with damage, GBK, Latin-1, or what charset-normalizer says."""
    repaired = foreign.decode("utf-8", "replace")
    beyond = sum(ch > "\x7f" for ch in repaired)
    if beyond and repaired.count("�") <= beyond // 10:
        return "utf-8", True, "Some bytes are not valid UTF-8; each was replaced by the sign �. The ids with that sign may not be right."
    if _reads_as_gbk(foreign):
        return "gb18030", True, "The file is not UTF-8; it was read as GBK. Please check the names shown, or choose another encoding."
    codec = _ask_normalizer(foreign)
    label = LABELS.get(codec, codec)
    return codec, True, f"The file is not UTF-8; it was read as {label}. Please check the names shown, or choose another encoding."


def _reads_as_gbk(foreign: bytes) -> bool:
    """True when the bytes decode as GBK and what comes out is mostly everyday Chinese (the GB2312 first level)."""
    try:
        text = foreign.decode("gb18030")
    except UnicodeDecodeError:
        text = foreign[: len(foreign) * 9 // 10].decode("gb18030", "ignore") if len(foreign) > _SAMPLE_BYTES // 2 else ""
    beyond = [ch for ch in text if ch > "\x7f"]
    if len(beyond) < 2:
        return False
    # Level 1 of GB2312 (b0a1-d7f9) holds the 3,755 most used characters, sorted by sound.
    codes = [ch.encode("gb18030") for ch in beyond]
    common = sum(len(c) == 2 and 0xB0 <= c[0] <= 0xD7 and c[1] >= 0xA1 for c in codes)
    runs = len(re.findall(rb"(?:[\xa1-\xf7][\xa1-\xfe]){2,}", foreign))
    return common > 0.7 * len(codes) and runs > 0


def _ask_normalizer(foreign: bytes) -> str:
    from charset_normalizer import from_bytes

    candidates = ["cp1252", "latin-1", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254"]
    best = from_bytes(foreign, cp_isolation=candidates, enable_fallback=False).best()
    if best is None:
        return "latin-1"
    # charset-normalizer prefers cp1250 for short Western texts; the two agree on most of their letters.
    if best.encoding in ("cp1250", "cp1252", "cp1254", "latin_1", "iso8859_1"):
        return "latin-1" if not re.search(rb"[\x80-\x9f]", foreign) else "cp1252"
    return best.encoding


def check_codec(encoding: str) -> str:
    """The python codec of a name the user gave."""
    wanted = {"gbk": "gb18030", "gb2312": "gb18030", "ansi": "cp1252"}.get(encoding.strip().lower(), encoding.strip())
    try:
        found = codecs.lookup(wanted)
    except LookupError:
        raise DataError(f"The encoding '{encoding}' is not known.", "Try utf-8, utf-16, latin-1 or gbk.") from None
    if not found._is_text_encoding:
        raise DataError(f"'{encoding}' is not a text encoding.", "Try utf-8, utf-16, latin-1 or gbk.")
    return wanted


def transcode(blocks: Iterable[bytes], codec: str, *, cr_is_newline: bool) -> Iterator[bytes]:
    """Blocks of any codec -> blocks of UTF-8 with "\\n" line ends and no NUL.

    Undecodable bytes become U+FFFD. A lone CR ends a line only in files that have no LF at all; beside
    LF it is stray and becomes a space, so that physical line numbers stay those of any editor.
    """
    try:
        decoder = codecs.getincrementaldecoder(codec)("replace")
    except LookupError:
        raise DataError(f"The encoding '{codec}' cannot be read.", "Save the file as UTF-8.") from None
    held = ""
    try:
        for block in blocks:
            text = held + decoder.decode(block)
            held = text[len(text.rstrip("\r")) :]
            yield _clean(text[: len(text) - len(held)], cr_is_newline)
        yield _clean(held + decoder.decode(b"", final=True), cr_is_newline)
    except UnicodeError as error:
        raise DataError(f"The file cannot be read as {codec} ({error}).", "Choose another encoding, or save the file as UTF-8.") from None


def _clean(text: str, cr_is_newline: bool) -> bytes:
    if text[:1] == "\ufeff":
        text = text[1:]
    if "\0" in text:
        text = text.replace("\0", "")
    if "\r" in text:
        text = text.replace("\r", "\n") if cr_is_newline else re.sub(r"\r+\n", "\n", text).replace("\r", " ")
    return text.encode("utf-8", "replace")
