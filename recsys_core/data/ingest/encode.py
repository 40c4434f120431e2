"""External ids to codes, fast: text is looked at byte-wise, plain whole numbers take a table, other text a hash.

Codes follow the sorted order of the ids as text whichever way they were found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_DIGITS = 18  # fits int64
_TABLE_PER_ROW = 16  # a look-up table may have this many entries for every row


def clean_ids(column: Any) -> tuple[Any, np.ndarray | None]:
    """(text column with surrounding blanks removed, mask of missing ids or None when there are none)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    data, start, stop = _buffers(column)
    length = stop - start
    if len(data) and length.any():
        ends = np.stack([data[np.minimum(start, len(data) - 1)], data[np.maximum(stop - 1, 0)]])
        # Blanks are at most 0x20 or, as Unicode spaces, beyond ASCII: only then is each text trimmed.
        if ((ends <= 32) | (ends >= 128))[:, length > 0].any():
            column = pc.utf8_trim_whitespace(column.cast(pa.string()))
            _, start, stop = _buffers(column)
            length = stop - start
    missing = length == 0
    if column.null_count:
        missing |= column.is_null().to_numpy(zero_copy_only=False)
    return column, missing if missing.any() else None


def _buffers(column: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes, start, stop) of a text column."""
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    _, offsets, data = column.buffers()
    if offsets is None or len(column) == 0:
        return np.empty(0, np.uint8), np.zeros(len(column), np.int32), np.zeros(len(column), np.int32)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), bounds[:-1], bounds[1:]


def whole_numbers(column: Any) -> np.ndarray | None:
    """int64 values when every text is a number as a computer writes it (digits, no leading zero, no sign), else None."""
    import pyarrow as pa

    data, start, stop = _buffers(column)
    length = stop - start
    if not len(length) or column.null_count or length.min() < 1 or length.max() > MOST_DIGITS:
        return None
    used = data[start[0] : stop[-1]]
    if ((used - 48) > 9).any() or ((data[start] == 48) & (length > 1)).any():  # unsigned: what is below "0" wraps round
        return None
    return column.cast(pa.int64()).to_numpy()


class IdEncoder:
    """Collects the ids of one side batch by batch; `finish()` gives codes and ids."""

    def __init__(self) -> None:
        self._numbers: list[np.ndarray] | None = []
        self._texts: list[Any] = []

    def add(self, column: Any) -> None:
        """A text column of trimmed ids, none missing."""
        import pyarrow as pa

        if not len(column):
            return
        if self._numbers is not None:
            numbers = whole_numbers(column)
            if numbers is not None:
                self._numbers.append(numbers)
                return
            self._texts = [pa.array(numbers).cast(pa.string()) for numbers in self._numbers]
            self._numbers = None
        self._texts.append(column.cast(pa.string()))

    def finish(self) -> tuple[np.ndarray, Any]:
        """(int32 codes, sorted ids as an Arrow string array)."""
        import pyarrow as pa

        if self._numbers:
            whole, self._numbers = np.concatenate(self._numbers), []
            if whole.max() < max(1 << 20, _TABLE_PER_ROW * len(whole)):
                return _by_table(whole)
            chunks = pa.chunked_array([whole])
        else:
            chunks = pa.chunked_array(self._texts or [pa.array([], pa.string())])
            self._texts = []
        return _by_hash(chunks)


def _by_table(numbers: np.ndarray) -> tuple[np.ndarray, Any]:
    """Numbers that are not much larger than there are rows: two passes and a table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = np.zeros(int(numbers.max()) + 1, np.int32)
    table[numbers] = 1
    distinct = np.flatnonzero(table)
    ids = pa.array(distinct).cast(pa.string())
    order = pc.sort_indices(ids).to_numpy()
    table[distinct[order]] = np.arange(len(distinct), dtype=np.int32)
    return table[numbers], ids.take(pa.array(order))


def _by_hash(chunks: Any) -> tuple[np.ndarray, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = chunks.dictionary_encode()
    if not encoded.num_chunks or not len(encoded):
        return np.empty(0, np.int32), pa.array([], pa.string())
    ids = encoded.chunk(encoded.num_chunks - 1).dictionary.cast(pa.string())
    order = pc.sort_indices(ids).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return np.concatenate([rank[chunk.indices.to_numpy()] for chunk in encoded.chunks]), ids.take(pa.array(order))
