"""Which rows of a batch are good, and why the others are not. Vectorised over Arrow batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .encode import clean_ids
from .plan import IngestPlan
from .values import EARLIEST, LARGEST, LATEST
from .vocabulary import event_weight


@dataclass(frozen=True)
class Judged:
    """user, item: Arrow text columns of trimmed ids. value float32, time int64. reason: uint8, None when all are good."""

    user: Any
    item: Any
    value: np.ndarray
    time: np.ndarray
    reason: np.ndarray | None

    def take(self, at: np.ndarray) -> Judged:
        import pyarrow as pa

        index = pa.array(at)
        return replace(
            self,
            user=self.user.take(index),
            item=self.item.take(index),
            value=self.value[at],
            time=self.time[at] if len(self.time) else self.time,
            reason=None,
        )


class Judge:
    """Called with every batch of the reading pass; the codes of reasons are those of `report`."""

    def __init__(self, plan: IngestPlan, time_format: str | None) -> None:
        self.plan, self.has_time = plan, time_format is not None
        self.weights = {event.strip().lower(): weight for event, weight in plan.event_weights.items()}

    def __call__(self, batch: Any) -> Judged:
        plan, n = self.plan, batch.num_rows
        user, no_user = clean_ids(batch.column("u"))
        item, no_item = clean_ids(batch.column("i"))
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
        column, missing = clean_ids(column)
        encoded = column.dictionary_encode()
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


def bad_rows(batch: Any, at: np.ndarray, reason: np.ndarray, n_before: int) -> pd.DataFrame:
    """ordinal (number of the row among those the reader gave), code, value (offending text), line (0 where unknown)."""
    import pyarrow as pa

    taken = batch.take(pa.array(at))
    value = np.full(len(at), None, dtype=object)
    for name, codes in (("u", (1,)), ("i", (2,)), ("vt", (3, 4, 5)), ("tt", (6, 7)), ("et", (8, 9))):
        if name in taken.schema.names and (mask := np.isin(reason, codes)).any():
            value[mask] = taken.column(name).to_numpy(zero_copy_only=False)[mask]
    line = taken.column("line").to_numpy(zero_copy_only=False) if "line" in taken.schema.names else np.zeros(len(at))
    return pd.DataFrame({"ordinal": at + n_before, "code": reason, "value": value, "line": line.astype(np.int64)})
