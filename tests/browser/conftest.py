"""The real app in headless Chromium: its own port, its own workspace, everything ended afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 60
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass(frozen=True)
class App:
    """A running app. url: without a slash at the end. workspace: its folder."""

    url: str
    workspace: Path

    def open(self, page, path: str = "/"):
        """Open a path and wait until the page is drawn."""
        page.goto(self.url + path)
        self.settle(page)
        return page

    @staticmethod
    def settle(page, timeout_seconds: float = 30) -> None:
        """Wait until the script has run."""
        from playwright.sync_api import expect

        page.wait_for_timeout(150)  # a click takes a moment to start the run it causes
        running = page.locator('[data-testid="stApp"]')
        expect(running).to_have_attribute("data-test-script-state", "notRunning", timeout=timeout_seconds * 1000)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, chromium: str, repo: Path) -> Iterator[App]:
    """The app on a free port with an empty workspace; its jobs and its scorer end with it."""
    root = tmp_path_factory.mktemp("app")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "RECSYS_WORKSPACE": str(root / "workspace"),
        "PYTHONPATH": str(repo),
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
    }
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1", "--server.port", str(port)]
    with (root / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=repo, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _await_start(url, process, root / "log.txt")
        yield App(url, root / "workspace")
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_jobs(root / "workspace")


def _await_start(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"The app did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _end_jobs(workspace: Path) -> None:
    """Jobs outlive the app on purpose; those of a test must not outlive the test."""
    from recsys_core.jobs import JobQueue
    from recsys_core.serving.client import ScorerClient
    from recsys_core.store import Workspace

    queue = JobQueue(Workspace(workspace))
    for job in queue.jobs(["queued", "running"]):
        queue.cancel(job.id)
    ScorerClient(workspace).stop()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        yield started
        started.close()


@pytest.fixture
def page(browser) -> Iterator:
    """A fresh tab in a profile of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()
