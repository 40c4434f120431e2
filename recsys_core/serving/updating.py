"""A newer bundle of a run: what happened since training is taken in, nothing is trained again.

python -m recsys_core update --run "EASE" --events events.log --out newer.zip
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..context import QUIET, RunContext
from ..errors import BadInput
from ..portable.bundle import Bundle
from ..portable.history import History
from ..store.entries import RunEntry
from ..store.files import plain
from .bundle import write_bundle
from .bundle_about import item_columns, probe_histories, probes, said_of_run, table_of
from .bundle_words import LEAST_OVERLAP, MOST_LOSS
from .parity import overlap
from .taking_in import EVENT_COLUMNS, Taken, described, with_events

if TYPE_CHECKING:
    import pandas as pd

    from ..models._base import Recommender

MOST_COMPARED, LIST = 500, 20
Codec = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Updated:
    """seconds: of taking the events in, without loading and writing. manifest: what the bundle says of itself."""

    path: Path
    fingerprint: str
    taken: Taken
    seconds: float
    manifest: dict[str, Any]


def events_of(log: Path) -> tuple[pd.DataFrame, int]:
    """(frame as `with_events` reads it, the place behind the last whole line) of an event log."""
    import pandas as pd

    from .live.event_log import read_events

    if not log.is_file():
        raise BadInput(f"There is no event log '{log}'.", "Give the file that a service wrote its events to.")
    events, _, until = read_events(log)
    rows = [(one.user, one.item, one.event, one.value, one.time, one.features) for one in events]
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS)), until


def update_run(
    run: RunEntry,
    events: pd.DataFrame,
    out: Path,
    *,
    until: int | None = None,
    tail: str = "",
    codec: Codec = "float32",
    with_users: bool = True,
    columns: Sequence[str] | None = None,
    licence: str = "",
    items_file: Path | None = None,
    ctx: RunContext = QUIET,
) -> Updated:
    """Write a bundle of `run` that knows the events too; `out` is there as a whole or not at all.

    events: as `taking_in.with_events` reads them, all since training. until: the place in the event log up to which they go, tail:
    `event_log.tail_of` it; a server that opens the bundle beside that log does not count them twice. The other options: as of
    `bundle_run.make_bundle`. codec: narrower numbers are kept only where lists and NDCG stay (the rule of a bundle, see `_kept`), else
    float32 is written and the manifest says so. Raises Unsupported where the model cannot take events in.
    """
    if not len(events):
        raise BadInput("There are no events to take in.", "Give the event log of a service that has answered for a while.")
    ctx.report("Loading the model", 0.0)
    model = run.model()
    ctx.report("Joining the events", 0.2)
    joined, taken = with_events(model.fitted, events, new_items=model.takes_new_items)
    start = time.perf_counter()
    newer = model.updated(joined, ctx.part("Taking the events in", 0.3, 0.8))
    seconds = time.perf_counter() - start
    ctx.report("Writing", 0.8)
    table = None if items_file is None else described(table_of(items_file, newer), newer.fitted.items, model.fitted.n_items, events)
    beside = item_columns(newer, columns, table)
    about = said_of_run(run, licence) | {
        "variant": codec,
        "reference": {name: figure["mean"] for name, figure in run.metrics.items() if name == "hit_rate@10"},
        "updated": taken.as_dict() | {"seconds": seconds, "until": until, "tail": tail, "sentence": taken.sentence},
    }
    options = {"with_users": with_users, "item_table": beside.table, "title_column": beside.title}
    portable, out = newer.portable(), Path(out)
    trial = out.with_name(f".tmp-update-{out.name}")
    try:
        write_bundle(newer, trial, portable=portable, **options)
        tried = whole = Bundle.open(trial)
        if codec != "float32":
            write_bundle(newer, trial, portable=portable, codec=codec, **options)  # renamed over: the one that is open stays as it was
            tried = Bundle.open(trial)
            same, lost = _kept(newer, whole, tried)
            about["updated"] |= {"overlap": same, "ndcg_loss": lost}
            if same < LEAST_OVERLAP or lost > MOST_LOSS:
                figures = f"{same:.1%} of the lists and {1 - max(0.0, lost):.1%} of NDCG"
                about["updated"]["sentence"] += f" {codec} would have kept only {figures}, so the numbers stay whole."
                tried, about["variant"], codec = whole, "float32", "float32"
        proof = probes(tried, probe_histories(newer, with_users, ctx.rng("probes")))
    finally:
        trial.unlink(missing_ok=True)
    ctx.check()
    options["codec"] = codec
    fingerprint = write_bundle(newer, out, portable=portable, about=plain(about | {"probes": proof}), **options)
    return Updated(out, fingerprint, taken, seconds, Bundle.open(out).manifest)


def _kept(model: Recommender, whole: Bundle, narrow: Bundle) -> tuple[float, float]:
    """(overlap of the top 20 of both bundles, share of NDCG@20 that the narrow one loses) over at most 500 users of the model.

    Nothing was held out of an update, so NDCG asks how well each user's newest item is found from those before it. Both bundles have
    learnt from that item: the figures are too good, for both alike, and only what one loses of the other's is taken from them."""
    active = np.flatnonzero(model.fitted.user_counts)
    users = np.random.default_rng(0).choice(active, min(MOST_COMPARED, len(active)), replace=False)
    rows = model.fitted.histories(users)
    lists = np.full((2, len(users), LIST), -1)
    gains = np.zeros((2, len(users)))
    for number, (start, stop) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        history = History(rows.items[start:stop], rows.values[start:stop], None if rows.times is None else rows.times[start:stop])
        before = history.take(history.items != history.items[-1])
        for side, bundle in enumerate((whole, narrow)):
            found = bundle.best(history, LIST)[0]
            lists[side, number, : len(found)] = found
            rank = np.flatnonzero(bundle.best(before, LIST)[0] == history.items[-1]) if len(before) else []
            gains[side, number] = 1 / np.log2(rank[0] + 2) if len(rank) else 0.0
    of_whole, of_narrow = gains.sum(axis=1)
    return overlap(*lists), float((of_whole - of_narrow) / of_whole) if of_whole else 0.0
