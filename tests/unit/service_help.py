"""Tiny bundles for the tests of the service, and the service in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.http.app import make_app
from recsys_core.serving.http.keys import KeyRing, new_key
from recsys_core.serving.http.settings import BundleSpec, ServiceSettings
from recsys_core.testing.datasets import tastes

REPO = Path(__file__).resolve().parents[2]
_FOLDER = tempfile.TemporaryDirectory(prefix="service-tests-")


@cache
def bundle(model: str = "ease") -> Path:
    """A bundle of 150 users (u0 …) and 100 items (i0 …), with a column `kind`; made once a test run."""
    data = tastes().train
    path = Path(_FOLDER.name) / f"{model}.zip"
    table = pd.DataFrame({"kind": [f"kind {n % 5}" for n in range(data.n_items)]})
    write_bundle(registry.get("model", model)().fit(data, RunContext(threads=1)), path, item_table=table)
    return path


def user(number: int = 0) -> str:
    return str(tastes().train.users.decode([number])[0])


def item(number: int = 0) -> str:
    return str(tastes().train.items.decode([number])[0])


def settings(folder: Path, *bundles: BundleSpec | Path, **more: Any) -> ServiceSettings:
    specs = tuple(one if isinstance(one, BundleSpec) else BundleSpec(str(one)) for one in bundles or (bundle(),))
    given = {"log": str(folder / "events.jsonl"), "runtime": str(folder / "run"), "watch_seconds": 0.05, "timeout_ms": 20_000} | more
    return ServiceSettings(specs, **given).checked()


@contextlib.contextmanager
def client(folder: Path, *bundles: BundleSpec | Path, keys: KeyRing | None = None, log: Any = None, **more: Any) -> Iterator[Any]:
    """A client of the application in this process, ready to answer."""
    from starlette.testclient import TestClient

    app = make_app(settings(folder, *bundles, **{"quiet": log is None} | more), keys or KeyRing(), log)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as found:
        wait_until(lambda: found.get("/ready").status_code == 200)
        yield found


def ring(*tenants: str, rates: dict[str, float] | None = None) -> tuple[KeyRing, dict[str, str]]:
    """(keys of these tenants, tenant -> the key)."""
    made = {tenant: new_key(f"key-{tenant or 'plain'}", tenant, (rates or {}).get(tenant)) for tenant in tenants}
    return KeyRing.load(None, {"RECSYS_API_KEYS": ",".join(line for _, line in made.values())}), {t: key for t, (key, _) in made.items()}


def wait_until(true: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)


class Running:
    """The service as it is started on the command line."""

    def __init__(self, folder: Path, *options: str, bundles: tuple[str, ...] = (), environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "recsys_core.serving.http", "--port", "0", "--log", str(folder / "events.jsonl")]
        for one in bundles or (str(bundle()),):
            command += ["--bundle", one]
        env = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"} | (environment or {})
        self.process = subprocess.Popen(
            [*command, "--timeout-ms", "20000", *options], stderr=subprocess.PIPE, text=True, env=env, cwd=folder
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: self.said("listening") or self.process.poll() is not None)
        assert self.process.poll() is None, self.lines
        self.port = int(self.said("listening")[0]["url"].rsplit(":", 1)[1])
        wait_until(lambda: self.get("/ready")[0] == 200)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(json.loads(line) if line.startswith("{") else {"event": "text", "text": line.strip()})

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == event]

    def ask(self, method: str, path: str, body: Any = None, connection: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        """(status, JSON). Raises OSError or HTTPException where nobody answers."""
        made = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            made.request(method, path, None if body is None else json.dumps(body), headers)
            answer = made.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            if connection is None:
                made.close()

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)

    def post(self, path: str, body: Any, connection: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        return self.ask("POST", path, body, connection)

    def workers(self) -> list[int]:
        """Process ids of those who answer."""
        return [line["pid"] for line in self.said("loaded")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(40)
        self._reader.join(5)
        return code

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
