"""Take the README's pictures: start the app on an empty workspace, click through it with the sample data.

`make screenshots`, or `python scripts/screenshots.py --out FOLDER`. Needs Chromium; takes about two minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
WIDTH = 1440
# pixels: whole cards
HEIGHTS = {
    "home": 684, "data": 1204, "features": 1300,
    "train": 1480, "compare": 1402, "inspect": 1250, "export": 1300, "tune": 1400, "diversity": 1206, "new-users": 1076, "few-clicks": 1180,
    "live": 1200, "live-replay": 1560,
}  # fmt: skip
INSPECTED = ("ease", "weighted")  # two lists side by side
NEW_USERS = {"anil": {"epochs": 12}, "popular": {}, "ease": {}, "content_knn": {}}  # compared on people they have never met
ANSWERS = ("like", "like", "not", "unknown", "like", "not")  # of the new user in the picture
MOST_BYTES = 250_000
START_SECONDS, TRAIN_SECONDS, DRAW_SECONDS = 60, 300, 60


@contextmanager
def running_app(folder: Path) -> Iterator[str]:
    """The app on a free port with an empty workspace; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"RECSYS_WORKSPACE": str(folder / "workspace"), "PYTHONPATH": str(REPO), "STREAMLIT_SERVER_HEADLESS": "true"}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1", "--server.port", str(port)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS
        while not _answers(f"{url}/api/health"):
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"The app did not start:\n{(folder / 'log.txt').read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield url
    finally:
        _end(process, folder / "workspace")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _end(process: subprocess.Popen, workspace: Path) -> None:
    """End the app, and what outlives it on purpose: its jobs and its scorer."""
    from recsys_core.jobs import JobQueue
    from recsys_core.serving.client import ScorerClient
    from recsys_core.serving.services import Services
    from recsys_core.store import Workspace

    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    queue = JobQueue(Workspace(workspace))
    for job in queue.jobs(["queued", "running"]):
        queue.cancel(job.id)
    ScorerClient(Workspace(workspace)).stop()
    Services(workspace).stop_all()


def settle(page: Any) -> None:
    """Wait until the script has run, nothing is a grey placeholder and every chart is drawn."""
    from playwright.sync_api import expect

    limit = DRAW_SECONDS * 1000
    page.wait_for_timeout(800)
    expect(page.locator('[data-testid="stApp"]')).to_have_attribute("data-test-script-state", "notRunning", timeout=limit)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=limit)
    expect(page.get_by_test_id("stSpinner")).to_have_count(0, timeout=limit)
    page.wait_for_timeout(1200)  # charts and tables move into place


def take(page: Any, name: str, out: Path, *, end: bool = False) -> None:
    """One picture of the window, as tall as the page of that name needs. end: of the foot of the page, not its head."""
    page.set_viewport_size({"width": WIDTH, "height": HEIGHTS[name.removesuffix("-dark")]})
    page.get_by_test_id("stMain").evaluate(f"main => main.scrollTo(0, {'main.scrollHeight' if end else 0})")
    page.mouse.move(2, 2)  # no tooltip in the picture
    settle(page)
    file = out / f"{name}.png"
    page.screenshot(path=file, animations="disabled")
    if file.stat().st_size > MOST_BYTES:
        sys.exit(f"{file} has {file.stat().st_size:,} bytes, more than {MOST_BYTES:,}: take a lower window.")
    print(f"{file.name:18} {file.stat().st_size / 1000:4.0f} kB")


def training(page: Any, leaderboard: str, out: Path) -> None:
    """How the trainings of the leaderboard went: the tab of that name, nothing around it."""
    page.goto(re.sub(r"[?&]chart=[^&]*", "", leaderboard) + "&chart=Training")
    charts = page.locator(".st-key-charts")
    charts.scroll_into_view_if_needed()
    settle(page)
    charts.screenshot(path=out / "training.png", animations="disabled")


def run_ids(workspace: Path, models: tuple[str, ...]) -> list[str]:
    """The results of some models, by key."""
    from recsys_core.store import Workspace

    return [run.id for run in Workspace(workspace).runs() if run.model_key in models]


def tune(workspace: Path, dataset: str) -> None:
    """A search to look at: item neighbours, two dozen trials."""
    from recsys_core.context import RunContext
    from recsys_core.jobs import TrainSpec
    from recsys_core.jobs.tune_spec import TuneSpec
    from recsys_core.jobs.tuning import tune_in_workspace
    from recsys_core.store import Workspace

    spec = TuneSpec.make(train=TrainSpec.make(dataset=dataset, model="item_knn"), n_trials=24)
    tune_in_workspace(Workspace(workspace), spec, RunContext(threads=1))


def meet_new_users(workspace: Path, dataset: str) -> dict[str, str]:
    """Recommenders on a split by new users, and how far a few clicks go with each; returns their run ids by model key."""
    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.jobs import TrainSpec
    from recsys_core.jobs.cold_start_spec import SPLIT, ColdStartSpec
    from recsys_core.jobs.training import train_in_workspace
    from recsys_core.store import Workspace

    store, ctx = Workspace(workspace), RunContext(threads=1)
    for model, params in NEW_USERS.items():
        spec = TrainSpec.make(dataset=dataset, split=SPLIT, model=model, params=params).with_features(store)
        train_in_workspace(store, spec, ctx)
    runs = {run.model_key: run.id for run in store.runs(dataset) if run.spec.get("split") == SPLIT}
    compared = ColdStartSpec(runs=tuple(runs.values()), draws=1)
    registry.get("job", "cold_start")().run(compared.model_dump(mode="json"), store, ctx)
    return runs


def new_users(page: Any, url: str, dataset: str, runs: dict[str, str], out: Path) -> None:
    """Somebody who answered a few questions; and how far a few clicks go."""
    from playwright.sync_api import expect

    page.goto(f"{url}/new_users?dataset={dataset}&run={runs['anil']}&beside={runs['ease']}")
    expect(page.get_by_text("anybody new")).to_have_count(2, timeout=30_000)  # both lists are there
    for n, said in enumerate(ANSWERS, start=1):
        page.locator(f".st-key-say-{said}").get_by_role("button").click()
        expect(page.locator(".st-key-new-users-chips").get_by_role("button")).to_have_count(n)
    expect(page.locator(".st-key-new-users-map .js-plotly-plot")).to_be_visible()
    take(page, "new-users", out)
    page.goto(f"{url}/new_users?dataset={dataset}&tab=How+far+a+few+clicks+go")
    expect(page.locator(".st-key-shots-result .js-plotly-plot").first).to_be_visible()
    take(page, "few-clicks", out)


def live(page: Any, url: str, dataset: str, run: str, out: Path) -> None:
    """A service that is started and told of a like; and what learning online adds."""
    from playwright.sync_api import expect

    page.goto(f"{url}/live?dataset={dataset}&run={run}")
    page.get_by_role("button", name="Start the service").click()
    page.locator(".st-key-live-like-3 button:visible").first.click()
    expect(page.locator(".st-key-live-was-3")).to_contain_text("liked")
    take(page, "live", out)
    page.goto(f"{url}/live?dataset={dataset}&run={run}&tab=Does+learning+online+help%3F")
    page.get_by_role("button", name="Replay the held-out events").click()
    expect(page.locator(".st-key-live-replay-result")).to_be_visible(timeout=TRAIN_SECONDS * 1000)
    take(page, "live-replay", out)


def pictures(browser: Any, url: str, workspace: Path, out: Path) -> None:
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": WIDTH, "height": 1200}, color_scheme="light")
    page.set_default_timeout(DRAW_SECONDS * 1000)
    page.goto(url)
    page.get_by_role("button", name="Try it with sample data").click()
    expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible(timeout=TRAIN_SECONDS * 1000)
    settle(page)
    leaderboard = page.url
    dataset = re.search(r"dataset=(\w+)", leaderboard)[1]
    take(page, "compare", out)
    training(page, leaderboard, out)
    for name, address in {
        "home": "/",
        "data": f"/data?view=saved&dataset={dataset}",
        "features": f"/data?view=saved&dataset={dataset}&part=Features&side=item&column=categories",
        "train": f"/train?dataset={dataset}",
        "inspect": f"/inspect?dataset={dataset}&runs={','.join(run_ids(workspace, INSPECTED))}",
    }.items():
        page.goto(url + address)
        settle(page)
        if name == "train":
            for model in ("item_knn", "ease"):
                page.locator(f".st-key-pick-{model} label").first.click()
                settle(page)
        if name == "inspect":
            (fused,) = run_ids(workspace, ("weighted",))
            page.locator(f'.st-key-user-{fused} [data-testid="stPopover"] button').first.click()
            expect(page.get_by_text("How much each part speaks for it")).to_be_visible()
        take(page, name, out)
    page.goto(f"{url}/export?dataset={dataset}")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("button", name=re.compile(r"Write [\d,]+ rows"))).to_be_visible()
    take(page, "export", out, end=True)
    page.goto(f"{url}/diversity?dataset={dataset}&run={run_ids(workspace, ('ease',))[0]}")
    settle(page)
    take(page, "diversity", out)
    live(page, url, dataset, run_ids(workspace, ("ease",))[0], out)
    tune(workspace, dataset)
    page.goto(f"{url}/tune?dataset={dataset}")
    settle(page)
    take(page, "tune", out)
    new_users(page, url, dataset, meet_new_users(workspace, dataset), out)
    dark = browser.new_page(viewport={"width": WIDTH, "height": 1200}, color_scheme="dark")
    dark.goto(leaderboard)
    take(dark, "compare-dark", out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPO / "docs" / "screenshots", help="folder of the pictures")
    out = parser.parse_args().out
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
    if chromium is None:
        sys.exit("Needs Chromium: sudo apt-get install chromium.")
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder, running_app(Path(folder)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"])
        pictures(browser, url, Path(folder) / "workspace", out)
        browser.close()


if __name__ == "__main__":
    main()
