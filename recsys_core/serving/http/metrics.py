"""Figures for Prometheus. With several workers they lie in files of a shared folder (the client library's multiprocess mode)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, get_args

from .stats import lives
from .work import Reason, Work

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is first imported


def share(folder: Path) -> None:
    """Have all workers count into this folder. Before the first import of prometheus_client."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER_VARIABLE] = str(folder)


class Metrics:
    """Counters and histograms of the service. Labels are tenants, routes, statuses, variants, paths: never users, items or keys."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

        if FOLDER_VARIABLE in os.environ:
            for path in Path(os.environ[FOLDER_VARIABLE]).glob("gauge_live*_*.db"):
                pid = path.stem.rpartition("_")[2]
                if pid.isdigit() and not lives(int(pid)):  # of a worker that was killed: what it said last would stand for ever
                    multiprocess.mark_process_dead(int(pid))
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        seconds = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
        self._requests = Counter("recsys_requests_total", "Requests answered.", ["tenant", "route", "status"], **own)
        self._latency = Histogram("recsys_request_seconds", "Time to answer.", ["tenant", "route"], buckets=seconds, **own)
        self._lists = Counter("recsys_lists_total", "Lists given, by variant and path.", ["tenant", "variant", "path"], **own)
        self._events = Counter("recsys_events_total", "Events taken in, by kind.", ["tenant", "event", "stored"], **own)
        self._lookups = Counter("recsys_cache_lookups_total", "Look-ups in the cache of hot users.", ["tenant", "found"], **own)
        self._degraded = Gauge(
            "recsys_degraded", "1 while something is wrong; /health says what.", ["tenant"], multiprocess_mode="livemax", **own
        )
        self._drift = Gauge(
            "recsys_drift_hit_rate", "Rolling hit rate at 10 on the newest events.", ["tenant", "variant"],
            multiprocess_mode="livemostrecent", **own,
        )  # fmt: skip
        self._waiting = Gauge("recsys_waiting", "Requests that wait to be computed.", multiprocess_mode="livesum", **own)
        self._busy = Gauge(
            "recsys_busy_seconds", "How long one request has been computed; many seconds: the model hangs.",
            multiprocess_mode="livemax", **own,
        )  # fmt: skip
        self._away = Counter(
            "recsys_turned_away_total",
            "Requests answered with 503, by reason: full (too many waited), expired (not begun in time), late (begun, not done in time).",
            ["reason"], **own,
        )  # fmt: skip
        self._told: dict[Reason, int] = dict.fromkeys(get_args(Reason), 0)
        for reason in self._told:
            self._away.labels(reason)  # shown from the start, with 0
        self._known: dict[tuple, object] = {}
        self._lock = Lock()

    def request(self, tenant: str, route: str, status: int, seconds: float) -> None:
        self._child(self._requests, tenant, route, str(status)).inc()
        self._child(self._latency, tenant, route).observe(seconds)

    def list_given(self, tenant: str, variant: str, path: str) -> None:
        self._child(self._lists, tenant, variant, path).inc()

    def event(self, tenant: str, event: str, stored: bool) -> None:
        self._child(self._events, tenant, event, str(stored).lower()).inc()

    def looked_up(self, tenant: str, found: bool) -> None:
        self._child(self._lookups, tenant, str(found).lower()).inc()

    def drifted(self, tenant: str, variant: str, rate: float) -> None:
        self._child(self._drift, tenant, variant).set(rate)

    def degraded(self, tenant: str, problems: int) -> None:
        self._child(self._degraded, tenant).set(1 if problems else 0)

    def work(self, work: Work) -> None:
        """How this worker's queue stands. Called every few seconds, and when somebody asks."""
        with self._lock:
            self._waiting.set(work.waiting)
            self._busy.set(work.busy_seconds)
            for reason, number in work.turned_away.items():
                self._away.labels(reason).inc(number - self._told[reason])
                self._told[reason] = number

    def _child(self, metric, *labels: str):
        """`metric.labels(...)` takes a lock and checks its labels each time; a dictionary is ten times faster."""
        key = (metric, *labels)
        child = self._known.get(key)
        if child is None:
            child = self._known[key] = metric.labels(*labels)
        return child

    def text(self, tenant: str | None = None) -> bytes:
        """Of this worker, or of all in multiprocess mode. tenant: only what is counted for this one."""
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        together = self.registry
        if os.environ.get(FOLDER_VARIABLE):
            together = CollectorRegistry()
            multiprocess.MultiProcessCollector(together)
        return generate_latest(together if tenant is None else _Only(together, tenant))

    def close(self) -> None:
        from prometheus_client import multiprocess

        if os.environ.get(FOLDER_VARIABLE):
            multiprocess.mark_process_dead(os.getpid())


class _Only:
    """What a registry has of one tenant, as `generate_latest` reads it."""

    def __init__(self, registry: Any, tenant: str) -> None:
        self._registry, self._tenant = registry, tenant

    def collect(self) -> Iterator[Any]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if sample.labels.get("tenant") == self._tenant]
            if family.samples:
                yield family
