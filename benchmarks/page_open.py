"""How long pages take to open on a workspace with 20 runs of ml-latest-small, in a real browser.

    python benchmarks/page_open.py --data ../shared/data/ml-latest-small [--workspace FOLDER] [--repeat 3]

Builds the workspace (cheap models, a few minutes) unless FOLDER holds it, starts the app on a free port, opens each
page in headless Chromium by its URL and prints, per page, the seconds from the request until the script has run and
the page is drawn: "cold" for the first visit after the start of the app, then median and best of the repeats, then
the median of coming from another page by a click. Opening includes the browser starting the whole app anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
RUNS = [
    ("popular", {}),
    ("popular", {"half_life_days": 365.0}),
    ("random", {}),
    *[("pure_svd", {"factors": n}) for n in (8, 16, 32, 64)],
    *[("item_knn", {"neighbours": n}) for n in (10, 20, 50, 100, 200)],
    *[("als", {"factors": n, "iterations": 5}) for n in (8, 16, 32)],
    *[("rp3beta", {"beta": b}) for b in (0.2, 0.4, 0.6)],
    *[("user_knn", {"neighbours": n}) for n in (20, 80)],
]
PAGES = ("", "data", "train", "compare", "inspect", "export")
DRAWN = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def build(root: Path, data: Path) -> str:
    """The workspace with its runs; the id of its dataset. What is there already is kept."""
    from recsys_core.context import RunContext
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
    from recsys_core.jobs import TrainSpec
    from recsys_core.jobs.training import train_in_workspace
    from recsys_core.store import Workspace

    workspace = Workspace(root)
    source = open_source(data / "ratings.csv")
    plan = IngestPlan.from_guess(guess_columns(source), items_file=str(data / "movies.csv"))
    entry = workspace.add_dataset(ingest(source, plan), "ml-latest-small", plan=plan)
    entry.quality()
    for number, (model, params) in enumerate(RUNS, start=1):
        spec = TrainSpec.make(dataset=entry.id, model=model, params=params)
        train_in_workspace(workspace, spec, RunContext(threads=1))
        print(f"\rrun {number} of {len(RUNS)}", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return entry.id


def start(root: Path) -> tuple[subprocess.Popen, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"RECSYS_WORKSPACE": str(root), "PYTHONPATH": str(REPO)}
    options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
    process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://localhost:{port}"
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=2):
                return process, url
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise SystemExit("The app did not start within a minute.")


def timed(page, url: str) -> float:
    """Seconds from the request until the title is there and the script has run."""
    begin = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("h1", timeout=120_000)
    page.wait_for_selector(DRAWN, timeout=120_000)
    return time.perf_counter() - begin


def moved(page, label: str) -> float:
    """Seconds from a click in the navigation until the other page is drawn."""
    begin = time.perf_counter()
    page.get_by_test_id("stTopNavLink").filter(has_text=label).click()
    page.wait_for_function(
        "label => { const title = document.querySelector('h1'); const app = document.querySelector('[data-testid=stApp]');"
        " return title && title.innerText.includes(label) && app.dataset.testScriptState === 'notRunning'; }",
        arg=label,
        timeout=120_000,
    )
    return time.perf_counter() - begin


def measure(url: str, dataset_id: str, repeat: int, chromium: str) -> dict[str, dict[str, float]]:
    from playwright.sync_api import sync_playwright

    found: dict[str, dict[str, float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(url)
        page.wait_for_selector(DRAWN, timeout=120_000)  # the browser has the app's files; every page below is a new session
        for name in PAGES:
            path = f"{url}/{name}" + (f"?dataset={dataset_id}" if name else "")
            cold = timed(page, path)
            opened = [timed(page, path) for _ in range(repeat)]
            found[name or "home"] = {"cold_seconds": cold, "open_seconds": statistics.median(opened), "best_seconds": min(opened)}
        for name in ("data", "train", "compare", "inspect", "export", "home"):
            found[name]["click_seconds"] = statistics.median(_there_and_back(page, name.capitalize()) for _ in range(repeat))
        browser.close()
    return found


def _there_and_back(page, label: str) -> float:
    other = "Export" if label != "Export" else "Train"
    if label != "Home":
        moved(page, other)
        return moved(page, label)
    moved(page, other)
    begin = time.perf_counter()
    page.get_by_test_id("stTopNavLink").filter(has_text="Home").click()
    page.wait_for_selector("h1:has-text('workbench')", timeout=120_000)
    page.wait_for_selector(DRAWN, timeout=120_000)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", REPO.parent / "shared" / "data")) / "ml-latest-small"
    )
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not (asked.data / "ratings.csv").exists():
        raise SystemExit(f"Needs {asked.data}/ratings.csv (ml-latest-small), which may not be redistributed.")
    chromium = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit("Needs Chromium: sudo apt-get install chromium.")
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.workspace or Path(scratch)
        dataset_id = build(root, asked.data)
        process, url = start(root)
        try:
            found = measure(url, dataset_id, asked.repeat, chromium)
        finally:
            process.terminate()
            process.wait(timeout=30)
            from recsys_core.serving.client import ScorerClient

            ScorerClient(root).stop()
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{'page':<10}{'cold':>8}{'open':>8}{'best':>8}{'click':>8}   seconds, load of the machine {os.getloadavg()[0]:.1f}")
    for name, seconds in found.items():
        print(
            f"{name:<10}"
            + "".join(
                f"{seconds.get(part, float('nan')):>8.2f}" for part in ("cold_seconds", "open_seconds", "best_seconds", "click_seconds")
            )
        )


if __name__ == "__main__":
    main()
