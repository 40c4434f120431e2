"""The service as a process: killed, told to stop, without a disk to write to, with a bundle swapped under load."""

from __future__ import annotations

import ast
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from recsys_core.serving.live.event_log import read_events

from .service_help import REPO, Running, bundle, item, user, wait_until

pytestmark = pytest.mark.slow
LOADED = """
import sys
sys.path.insert(0, {repo!r})
from recsys_core.serving.http.__main__ import settings_of
from recsys_core.serving.http.app import make_app
from recsys_core.serving.http.keys import KeyRing
import recsys_core.serving.http.server, uvicorn, dataclasses, tempfile
given = settings_of(["--bundle", {bundle!r}, "--log", "none", "--quiet"])
app = make_app(dataclasses.replace(given, runtime=tempfile.mkdtemp(dir={folder!r})).checked(), KeyRing())
app.state.service.load()
app.openapi()
app.state.service.close()
print(sorted(sys.modules))
"""


def test_the_service_loads_nothing_that_trains(tmp_path):
    code = LOADED.format(repo=str(REPO), bundle=str(bundle()), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = {name.strip(" '[]\n") for name in done.stdout.split(",")}
    assert "recsys_core.serving.http.app" in loaded
    heavy = {
        "torch",
        "pandas",
        "scipy",
        "sklearn",
        "implicit",
        "typer",
        "psutil",
        "pyarrow",
        "duckdb",
        "onnx",
        "streamlit",
        "recsys_core.models",
    }
    assert not heavy & loaded
    # and of this package only what the container copies
    copied = ("recsys_core.portable", "recsys_core.serving.live", "recsys_core.serving.http", "recsys_core.errors", "recsys_core.registry")
    own = {name for name in loaded if name.startswith("recsys_core.") and name != "recsys_core.serving"}
    assert {name for name in own if not name.startswith(copied)} == set()


def test_the_service_needs_no_more_than_its_requirements_say():
    """Each line of requirements-serve.txt stands in requirements.txt as well, and they are all that the service imports itself."""
    lines = {name: (REPO / name).read_text().splitlines() for name in ("requirements-serve.txt", "requirements.txt")}
    stated = [line for line in lines["requirements-serve.txt"] if line and not line.startswith("#")]
    assert set(stated) <= set(lines["requirements.txt"])
    distributions = {re.split(r"[<>=\[]", line)[0].replace("-", "_") for line in stated}
    folders = [REPO / "recsys_core" / name for name in ("portable", "serving/live", "serving/http")]
    trees = [ast.parse(path.read_text()) for folder in folders for path in folder.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    used |= {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    with_these = {"pydantic_core", "starlette"}  # come with pydantic and fastapi
    extras = {"faiss"}  # looked for, and done without
    assert used - set(sys.stdlib_module_names) - with_these - extras <= distributions


def test_what_the_container_copies_is_enough(tmp_path):
    """Every COPY of the Dockerfile, done by hand into an empty folder: the service starts from it and answers."""
    for line in (REPO / "container" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY recsys_core"):
            *sources, target = line.split()[1:]
            for source in sources:
                if (REPO / source).is_dir():
                    shutil.copytree(REPO / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (tmp_path / target).mkdir(parents=True, exist_ok=True)
                    shutil.copy(REPO / source, tmp_path / target)
    with Running(tmp_path, environment={"PYTHONPATH": str(tmp_path)}) as service:
        assert service.get(f"/v1/recommend?user={user(1)}")[1]["path"] == "model"
        assert service.stop() == 0


def test_kill_9_in_a_burst_of_feedback_loses_nothing_acknowledged(tmp_path):
    """Two workers take events from four clients; one worker is killed, then everything. What was acknowledged is in the log, and a
    service that is started again knows it."""
    acknowledged: list[tuple[str, str]] = []
    stop = threading.Event()

    def burst(number: int, service: Running) -> None:
        connection, n = None, 0
        while not stop.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
            n += 1
            event = {"user": f"w{number}", "item": item(n % 90), "event": "like", "value": None}
            try:
                status, receipt = service.post("/v1/feedback", event, connection)
                if status == 200 and receipt["stored"]:
                    acknowledged.append((event["user"], event["item"]))
            except (OSError, http.client.HTTPException, ValueError):
                connection = None
                time.sleep(0.02)

    with Running(tmp_path, "--workers", "2", "--quiet") as service:
        wait_until(lambda: len(service.workers()) == 2)
        threads = [threading.Thread(target=burst, args=(n, service)) for n in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > 200)
        os.kill(service.workers()[0], signal.SIGKILL)
        had = len(acknowledged)
        wait_until(lambda: len(service.workers()) == 3)  # another takes its place
        wait_until(lambda: len(acknowledged) > had + 200)
        for pid in (service.process.pid, *service.workers()[1:]):
            os.kill(pid, signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join(20)
        service.process.wait(10)
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b'\n0badc0de {"u":"torn')  # as a write that was cut off by a crash of the machine
    events, damaged, _ = read_events(tmp_path / "events.jsonl")
    kept = [(event.user, event.item) for event in events]
    for number in range(4):
        of_user = [one for one in kept if one[0] == f"w{number}"]
        told = [one for one in acknowledged if one[0] == f"w{number}"]
        assert len(of_user) >= len(told) > 20 and set(told) <= set(of_user)
        assert len(of_user) - len(told) <= 3  # written, and killed before it could be said: at most one a kill and client
    with Running(tmp_path) as again:
        health = again.get("/health")[1]["variants"][0]["state"]
        assert health["events"] == len(kept)
        told = {one for who, one in acknowledged if who == "w0"}
        assert not told & set(again.get("/v1/recommend?user=w0&k=100")[1]["items"])


def test_told_to_stop_it_says_so_finishes_and_leaves_nothing_behind(tmp_path):
    with Running(tmp_path, "--drain-seconds", "1") as service:
        held = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        assert service.post("/v1/feedback", {"user": "a", "item": item(1)}, held)[0] == 200
        runtime = next(Path(tempfile.gettempdir()).glob(f"recsys-service-{service.process.pid}-*"))
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: service.get("/ready")[0] == 503, 5)
        assert service.ask("GET", "/ready", None, held)[1]["error"]["message"] == "It is shutting down."
        for n in range(20):  # while it drains, it answers
            assert service.post("/v1/recommend", {"user": user(n)}, held)[0] == 200
        assert service.stop() == 0
        assert service.said("stopped") and not [line for line in service.lines if "Traceback" in line.get("text", "")]
    assert not runtime.exists() and len(read_events(tmp_path / "events.jsonl")[0]) == 1


def test_swaps_under_load_fail_no_request_and_a_bad_bundle_changes_nothing(tmp_path):
    path = tmp_path / "live.zip"
    shutil.copy(bundle("popular"), path)
    statuses: list[int] = []
    models: set[str] = set()
    stop = threading.Event()

    def ask(service: Running) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        while not stop.is_set():
            status, answer = service.post("/v1/recommend", {"user": user(len(statuses) % 100)}, connection)
            statuses.append(status)
            models.add(answer.get("bundle", "none"))

    with Running(tmp_path, "--watch-seconds", "0.1", "--quiet", bundles=(str(path),)) as service:
        thread = threading.Thread(target=ask, args=(service,))
        thread.start()
        for source, label in ((bundle(), "EASE"), (bundle("item_knn"), "Item neighbours")):
            shutil.copy(source, path)  # written over in place, as a careless person does
            wait_until(lambda label=label: service.get("/health")[1]["bundle"]["model"] == label)
        good = service.get("/health")[1]["bundle"]["fingerprint"]
        damaged = bytearray(bundle().read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        path.write_bytes(damaged)
        wait_until(lambda: service.get("/health")[1]["status"] == "degraded")
        path.unlink()
        wait_until(lambda: "gone" in str(service.get("/health")[1]["problems"]))
        had = len(statuses)
        wait_until(lambda: len(statuses) > had + 20)
        stop.set()
        thread.join(20)
        assert set(statuses) == {200} and len(models) == 3 and service.get("/health")[1]["bundle"]["fingerprint"] == good


def test_a_log_that_cannot_be_written_does_not_stop_the_service(tmp_path):
    """A folder stands where the log should be: events are kept in memory and count; when the way is free, they are written."""
    (tmp_path / "events.jsonl").mkdir()
    with Running(tmp_path) as service:
        first = service.get("/v1/recommend?user=u-new&k=5")[1]["items"]
        status, receipt = service.post("/v1/feedback", {"user": "u-new", "item": first[0]})
        assert status == 200 and not receipt["stored"] and "cannot be written" in receipt["note"]
        after = service.get("/v1/recommend?user=u-new&k=5")[1]
        assert first[0] not in after["items"] and after["path"] == "fold-in"
        health = service.get("/health")[1]
        assert health["status"] == "degraded" and "Events cannot be" in health["problems"][0]
        (tmp_path / "events.jsonl").rmdir()
        assert service.post("/v1/feedback", {"user": "u-new", "item": item(50)})[1]["stored"]
        assert service.get("/health")[1]["status"] == "ok"
        service.stop()
    assert [event.item for event in read_events(tmp_path / "events.jsonl")[0]] == [first[0], item(50)]


def test_the_command_line_says_what_is_wrong(tmp_path):
    def run(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "recsys_core", "serve", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=REPO, env=os.environ | {"PYTHONPATH": str(REPO)})
        return done.returncode, done.stderr + done.stdout

    code, said = run("--bundle", str(tmp_path / "none.zip"))
    assert code == 2 and "There is no file" in said and said.count("\n") == 1
    code, said = run("--help")
    assert code == 0 and "--exposures" in said and "TENANT=" in said
