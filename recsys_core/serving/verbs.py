"""What the scorer does: external ids to codes, the model, codes to external ids. Knows nothing of HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.histories import Histories
from ..data.ids import IdMap
from ..data.topk import TopK
from ..errors import NotFound, Unsupported, WorkbenchError
from ..evaluation.questions import plain_like, told
from ..models._base import Recommender
from ..store.shaping import Shaping
from .loaded import LoadedModels
from .requests import ExplainRequest, ExportListsRequest, HistoryRequest, RunsRequest, SimilarRequest, UsersRequest


def error_json(error: WorkbenchError) -> dict[str, str]:
    """An error as the client reads it back."""
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def recommend_for_history(models: LoadedModels, ask: HistoryRequest) -> dict[str, Any]:
    """Lists of each run for histories; unknown items are named beside each. With values, what is disliked is kept out of the lists
    (with exclude_seen), and a model of choices is not told that it was chosen."""
    if ask.values is not None and [len(row) for row in ask.values] != [len(row) for row in ask.histories]:
        raise Unsupported("values must give one number for every item of every history.")

    def answer(model: Recommender, clock: Clock) -> list[dict[str, Any]]:
        items = model.fitted.items
        given, unknown = encode_histories(items, ask.histories, ask.values, plain_like(model))
        histories, hidden = (given, np.zeros(len(given.items), dtype=bool)) if ask.values is None else told(model, given)
        shaping = _shaping(model, ask)
        depth, spare = shaping.depth if shaping else ask.k, _most_in_a_row(given, hidden) if ask.exclude_seen else 0
        with clock:
            top = model.recommend_for_history(
                histories, depth + spare, exclude_seen=ask.exclude_seen, candidates=_candidates(items, ask.candidates)
            )
        top = without(top, given, hidden, depth, len(items)) if spare else top
        top = shaping.shaped(top, ask.k, histories) if shaping else top
        return [row | {"unknown": missing} for row, missing in zip(lists(top, items), unknown, strict=True)]

    return each_run(models, ask.runs, answer)


def recommend(models: LoadedModels, ask: UsersRequest) -> dict[str, Any]:
    """Lists of each run for training users; one it does not know gets what is popular, and is named."""

    def answer(model: Recommender, clock: Clock) -> list[dict[str, Any]]:
        train = model.fitted
        codes = train.users.encode(ask.users)
        shaping = _shaping(model, ask)
        depth, candidates = shaping.depth if shaping else ask.k, _candidates(train.items, ask.candidates)
        with clock:
            top = model.recommend(codes, depth, exclude_seen=ask.exclude_seen, candidates=candidates)
        top = shaping.shaped(top, ask.k, shaping.shelf.histories(codes)) if shaping else top
        unknown = [[user] if code < 0 else [] for user, code in zip(ask.users, codes, strict=True)]
        return [row | {"unknown": missing} for row, missing in zip(lists(top, train.items), unknown, strict=True)]

    return each_run(models, ask.runs, answer)


class Clock:
    """Adds up the milliseconds of its blocks: what a model took, without what is around it."""

    def __init__(self) -> None:
        self.ms = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *failure: object) -> None:
        self.ms += 1000 * (time.perf_counter() - self._start)


def each_run(models: LoadedModels, runs: list[str], answer: Callable[[Recommender, Clock], list[dict[str, Any]]]) -> dict[str, Any]:
    """One answer a run; a run that cannot answer says why and does not spoil the others."""
    out: dict[str, Any] = {}
    for run in dict.fromkeys(runs):
        try:
            with models.use(run) as model:
                whole, inside = Clock(), Clock()
                with whole:
                    rows = answer(model, inside)
                out[run] = {"rows": rows, "seconds": whole.ms / 1000, "model_ms": inside.ms}
        except WorkbenchError as error:
            out[run] = {"rows": [], "seconds": 0.0, "error": error_json(error)}
    return {"runs": out}


def similar_items(models: LoadedModels, ask: SimilarRequest) -> dict[str, Any]:
    """The items most similar to each item asked for."""
    with models.use(ask.run) as model:
        items = model.fitted.items
        return {"rows": lists(model.similar_items(_known(items, ask.items, "item"), ask.k), items)}


def explain(models: LoadedModels, ask: ExplainRequest) -> dict[str, Any]:
    """Why an item, in external ids where the reasons are items."""
    with models.use(ask.run) as model:
        train = model.fitted
        item = int(_known(train.items, [ask.item], "item")[0])
        user = None if ask.user is None else int(_known(train.users, [ask.user], "user")[0])
        history = None if ask.history is None else encode_histories(train.items, [ask.history], None, plain_like(model))[0]
        why = model.explain(item, user=user, history=history, k=ask.k)
        sorts = why.sorts or ("history" if why.kind == "history" else "",) * len(why.refs)
        refs = [
            train.items.decode(np.array([ref]))[0] if sort == "history" else str(ref) for ref, sort in zip(why.refs, sorts, strict=True)
        ]
        contributions = [float(part) for part in why.contributions]
        return {
            "kind": why.kind,
            "refs": refs,
            "sorts": list(why.sorts),
            "contributions": contributions,
            "total": float(why.total),
            "exact": bool(why.exact),
            "method": why.method,
        }


def warm(models: LoadedModels, ask: RunsRequest) -> dict[str, Any]:
    """Load the runs, so that the first question about them is answered as fast as the next."""
    return each_run(models, ask.runs or [], lambda model, clock: [])


def evict(models: LoadedModels, ask: RunsRequest) -> dict[str, Any]:
    """Let go of runs; how many were held."""
    return {"evicted": models.evict(ask.runs)}


def export(models: LoadedModels, ask: ExportListsRequest) -> dict[str, Any]:
    """A preview of an export, or the export itself, with the model that is warm. Large ones belong into a job."""
    from ..store.export import ExportRequest, export_lists, preview

    request = ExportRequest.make(**ask.request)
    with models.use(ask.run) as model:
        run = models.workspace.run(ask.run)
        data = models.dataset(run)
        if ask.write:
            entry = export_lists(models.workspace, run, request, model=model, data=data)
            return {"export": entry.id, "rows": entry.rows, "notes": entry.manifest["notes"]}
        shown = preview(run, request, n_users=ask.n_users, model=model, data=data)
    frame = shown.frame.astype(object).where(shown.frame.notna(), None)
    columns = {str(name): [v if v is None or isinstance(v, str | int | float) else str(v) for v in frame[name]] for name in frame}
    counts = {name: getattr(shown, name) for name in ("n_rows", "n_users", "n_unknown", "n_items_allowed", "notes")}
    return {"columns": columns} | counts


def encode_histories(
    items: IdMap, histories: list[list[str]], values: list[list[float]] | None, usual: float = 1.0
) -> tuple[Histories, list[list[str]]]:
    """(histories of known items, the unknown ids of every row). usual: the value of every item where none are given."""
    lengths = [len(row) for row in histories]
    flat = [item for row in histories for item in row]
    codes = items.encode(flat) if flat else np.empty(0, np.int32)
    row = np.repeat(np.arange(len(histories)), lengths)
    weights = np.full(len(codes), usual, np.float32) if values is None else np.array([v for part in values for v in part], np.float32)
    known = codes >= 0
    unknown: list[list[str]] = [[] for _ in histories]
    for position in np.flatnonzero(~known):
        unknown[row[position]].append(flat[position])
    return Histories.from_rows(len(histories), row[known], codes[known], weights[known]), unknown


def without(top: TopK, given: Histories, hidden: np.ndarray, k: int, n_items: int) -> TopK:
    """The k best that are not among the hidden entries of each row."""
    gone = np.isin(
        np.arange(len(top))[:, None] * np.int64(n_items) + top.items, given.row[hidden] * np.int64(n_items) + given.items[hidden]
    )
    order = np.argsort(gone, axis=1, kind="stable")[:, :k]
    gone = np.take_along_axis(gone, order, axis=1)
    items, scores = np.take_along_axis(top.items, order, axis=1), np.take_along_axis(top.scores, order, axis=1)
    return TopK(top.users, np.where(gone, -1, items).astype(np.int32), np.where(gone, np.nan, scores).astype(np.float32))


def _most_in_a_row(given: Histories, hidden: np.ndarray) -> int:
    return int(np.bincount(given.row[hidden]).max(initial=0))


def lists(top: TopK, items: IdMap) -> list[dict[str, Any]]:
    """One {"items", "scores"} a row, without the padding."""
    names = items.decode(top.items)
    lengths = (top.items >= 0).sum(axis=1)
    scores = top.scores.astype(np.float64)
    return [
        {"items": names[b, :n].tolist(), "scores": np.nan_to_num(scores[b, :n], posinf=1e30, neginf=-1e30).tolist()}
        for b, n in enumerate(lengths)
    ]


def _shaping(model: Recommender, ask: HistoryRequest | UsersRequest) -> Shaping | None:
    """The method asked for; pinned items only move up where they are among the candidates."""
    return None if ask.rerank is None else Shaping.make(ask.rerank, model.fitted, ask.k)


def _candidates(items: IdMap, wanted: list[str] | None) -> np.ndarray | None:
    if wanted is None:
        return None
    codes = items.encode(wanted) if wanted else np.empty(0, np.int32)
    return codes[codes >= 0]


def _known(ids: IdMap, wanted: list[str], noun: str) -> np.ndarray:
    codes = ids.encode(wanted)
    if (codes < 0).any():
        missing = wanted[int(np.flatnonzero(codes < 0)[0])]
        raise NotFound(f"This run has no {noun} '{missing}' in its training data.", f"Choose a {noun} that occurs there.")
    return codes
