"""Figures for Prometheus. With several workers they lie in files of a shared folder (the client library's multiprocess mode)."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is first imported


def share(folder: Path) -> None:
    """Have all workers count into this folder. Before the first import of prometheus_client."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER_VARIABLE] = str(folder)


class Metrics:
    """Counters and histograms of the service. Labels are routes, statuses, variants, paths: never users, items or keys."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        seconds = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
        self._requests = Counter("recsys_requests_total", "Requests answered.", ["route", "status"], **own)
        self._latency = Histogram("recsys_request_seconds", "Time to answer.", ["route"], buckets=seconds, **own)
        self._lists = Counter("recsys_lists_total", "Lists given, by variant and path.", ["variant", "path"], **own)
        self._events = Counter("recsys_events_total", "Events taken in, by kind.", ["event", "stored"], **own)
        self._lookups = Counter("recsys_cache_lookups_total", "Look-ups in the cache of hot users.", ["found"], **own)
        self.degraded = Gauge("recsys_degraded", "1 while something is wrong; /health says what.", multiprocess_mode="livemax", **own)
        self._drift = Gauge(
            "recsys_drift_hit_rate", "Rolling hit rate at 10 on the newest events.", ["variant"], multiprocess_mode="livemostrecent", **own
        )
        self._known: dict[tuple, object] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        self._child(self._requests, route, str(status)).inc()
        self._child(self._latency, route).observe(seconds)

    def list_given(self, variant: str, path: str) -> None:
        self._child(self._lists, variant, path).inc()

    def event(self, event: str, stored: bool) -> None:
        self._child(self._events, event, str(stored).lower()).inc()

    def looked_up(self, found: bool) -> None:
        self._child(self._lookups, str(found).lower()).inc()

    def drifted(self, variant: str, rate: float) -> None:
        self._child(self._drift, variant).set(rate)

    def _child(self, metric, *labels: str):
        """`metric.labels(...)` takes a lock and checks its labels each time; a dictionary is ten times faster."""
        key = (metric, *labels)
        child = self._known.get(key)
        if child is None:
            child = self._known[key] = metric.labels(*labels)
        return child

    def text(self) -> bytes:
        """Of this worker, or of all in multiprocess mode."""
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        if not os.environ.get(FOLDER_VARIABLE):
            return generate_latest(self.registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)
        return generate_latest(together)

    def close(self) -> None:
        from prometheus_client import multiprocess

        if os.environ.get(FOLDER_VARIABLE):
            multiprocess.mark_process_dead(os.getpid())
