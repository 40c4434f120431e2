"""Which rows of a batch are good, and why the others are not. Vectorised over Arrow batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .plan import IngestPlan
from .values import EARLIEST, LARGEST, LATEST
from .vocabulary import event_weight


@dataclass(frozen=True)
class Judged:
    """user, item: Arrow dictionary arrays of trimmed ids. value float32, time int64. reason: uint8, None when all are good."""

    user: Any
    item: Any
    value: np.ndarray
    time: np.ndarray
    reason: np.ndarray | None

    def take(self, at: np.ndarray) -> Judged:
        import pyarrow as pa

        index = pa.array(at)
        return replace(
            self, user=self.user.take(index), item=self.item.take(index), value=self.value[at], time=self.time[at] if len(self.time) else self.time, reason=None
        )


class Judge:
    """Called with every batch of the reading pass; the codes of reasons are those of `report`."""

    def __init__(self, plan: IngestPlan, time_format: str | None) -> None:
        self.plan, self.has_time = plan, time_format is not None
        self.weights = {event.strip().lower(): weight for event, weight in plan.event_weights.items()}

    def __call__(self, batch: Any) -> Judged:
        plan, n = self.plan, batch.num_rows
        user, no_user = trimmed_ids(batch.column("u"))
        item, no_item = trimmed_ids(batch.column("i"))
        value = np.ones(n, np.float32)
        time = np.empty(0, np.int64)
        faults: list[tuple[int, np.ndarray]] = []  # the first fault of a row is the one told
        faults += [(code, mask) for code, mask in ((1, no_user), (2, no_item)) if mask is not None]
        if plan.uses_value:
            number = batch.column("v").to_numpy(zero_copy_only=False)
            finite = np.abs(number) <= LARGEST
            if plan.feedback == "explicit" or plan.value_is == "count":
                value = np.where(finite, number, 1).astype(np.float32)
            if not finite.all():
                faults += [(3, blank(batch.column("vt"))), (4, ~finite)]
            if plan.counts and not (positive := number > 0).all():
                faults.append((5, ~positive))
        if self.has_time:
            seconds = batch.column("t")
            time = seconds.fill_null(LATEST + 1).to_numpy(zero_copy_only=False) if seconds.null_count else seconds.to_numpy()
            inside = (time >= EARLIEST) & (time <= LATEST)
            if not inside.all():
                faults += [(6, blank(batch.column("tt"))), (7, ~inside)]
        if plan.columns.event:
            weight, more = self._events(batch.column("et"))
            faults += more
            value = value * weight
        if plan.uses_value and plan.feedback == "implicit" and plan.threshold is not None:
            faults.append((21, number < plan.threshold))
        reason = None
        for code, mask in faults:
            if mask.any():
                reason = np.zeros(n, np.uint8) if reason is None else reason
                reason[mask & (reason == 0)] = code
        return Judged(user, item, value, time, reason)

    def _events(self, column: Any) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
        """float32 weights of a text column (with no weights given: the word's default, else 1), and the faults."""
        encoded, missing = trimmed_ids(column)
        names = encoded.dictionary.to_pylist()
        if self.weights:
            table = [self.weights.get(name.lower(), np.nan) for name in names]
        else:
            table = [1.0 if (known := event_weight(name)) is None else known for name in names]
        codes = encoded.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)
        weight = np.asarray([*table, np.nan], dtype=np.float32)[codes]
        unknown = np.isnan(weight)
        faults = [(8, missing)] if missing is not None else []
        return np.where(unknown, 0, weight), [*faults, (9, unknown), (20, weight == 0)]


def blank(column: Any) -> np.ndarray:
    """bool (n,): True where the text holds nothing but blanks (False where it is null)."""
    import pyarrow.compute as pc

    return pc.equal(pc.utf8_trim_whitespace(column), "").fill_null(False).to_numpy(zero_copy_only=False)


def trimmed_ids(column: Any) -> tuple[Any, np.ndarray | None]:
    """(dictionary-encoded ids without surrounding blanks, mask of the empty ones or None).

    Trimming works on the distinct ids of the batch, not on its rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = column.dictionary_encode()
    ids = encoded.dictionary
    clean = pc.utf8_trim_whitespace(ids)
    if not clean.equals(ids):
        again = clean.dictionary_encode()
        encoded = pa.DictionaryArray.from_arrays(again.indices.take(encoded.indices), again.dictionary)
    empty = pc.index(encoded.dictionary, "").as_py()
    if encoded.indices.null_count == 0 and empty < 0:
        return encoded, None
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return encoded, (codes < 0) | (codes == empty if empty >= 0 else False)


def bad_rows(batch: Any, at: np.ndarray, reason: np.ndarray, n_before: int) -> pd.DataFrame:
    """ordinal (number of the row among those the reader gave), code, value (offending text), line (0 where unknown)."""
    import pyarrow as pa

    taken = batch.take(pa.array(at))
    text = {name: taken.column(name).to_numpy(zero_copy_only=False) for name in ("u", "i", "vt", "tt", "et")}
    value = np.select([np.isin(reason, codes) for codes in ((1,), (2,), (3, 4, 5), (6, 7), (8, 9))], [text[n] for n in ("u", "i", "vt", "tt", "et")], None)
    line = taken.column("line").fill_null(0).to_numpy(zero_copy_only=False)
    return pd.DataFrame({"ordinal": at + n_before, "code": reason, "value": value, "line": line.astype(np.int64)})
