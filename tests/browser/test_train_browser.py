"""Training in the browser: sample data to a leaderboard, a refresh in the middle, a running job cancelled."""

from __future__ import annotations

import re
import time

import psutil
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FIRST = "Most popular"


PLACE = """() => Math.round(document.querySelector('.st-key-models').getBoundingClientRect().top
    + document.querySelector('[data-testid="stMain"]').scrollTop)"""


def _workspace(app):
    from recsys_core.jobs import JobQueue
    from recsys_core.store import Workspace

    workspace = Workspace(app.workspace)
    return workspace, JobQueue(workspace)


def _await(test, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    """A process that ended but was not yet reaped holds nothing."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def sample(app) -> str:
    """The sample data as a dataset of the app's workspace; its id."""
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
    from recsys_core.data.ingest.plan import Columns
    from recsys_core.data.sample import COLUMNS, EVENT_WEIGHTS, sample_paths
    from recsys_core.store import Workspace

    paths = sample_paths()
    source = open_source(paths.interactions)
    columns = Columns(**COLUMNS)
    plan = IngestPlan.from_guess(
        guess_columns(source),
        columns=columns,
        feedback="implicit",
        value_is="none",
        threshold=None,
        event_weights=EVENT_WEIGHTS,
        duplicates="sum",
    )
    return Workspace(app.workspace).add_dataset(ingest(source, plan), "Bookshop", plan=plan).id


def _tick(app, page, key: str) -> None:
    page.locator(f".st-key-pick-{key} label").first.click()
    app.settle(page)


def test_choose_train_refresh_and_read_the_leaderboard(app, page, sample) -> None:
    from playwright.sync_api import expect

    _, queue = _workspace(app)
    app.open(page, f"/train?dataset={sample}")
    for key in ("popular", "item_knn"):
        _tick(app, page, key)
    page.get_by_role("button", name="Train 2 models").click()
    _await(lambda: len(queue.jobs()) == 2, 20, "the click queued nothing")
    page.reload()  # in the middle: nothing is lost
    app.settle(page)
    jobs = page.locator('[class*="st-key-train-jobs-"]')
    expect(jobs.get_by_text(FIRST).first).to_be_visible()
    _await(lambda: all(job.state == "done" for job in queue.jobs()), 120, "the jobs did not end")
    expect(jobs.get_by_text("Done")).to_have_count(2, timeout=15_000)
    expect(jobs.get_by_role("link", name="See its result")).to_have_count(2)
    page.get_by_role("link", name="Compare 2 results").click()
    expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible()
    app.settle(page)
    table = page.locator(".st-key-leaderboard [role=gridcell]")  # the grid is a canvas; this is its table for screen readers
    expect(table.filter(has_text="Item neighbours").first).to_be_attached(timeout=20_000)
    expect(page.get_by_text("has the highest NDCG@10")).to_be_visible()
    link = page.url
    assert "runs=" in link and "metric=ndcg" in link and "k=10" in link
    again = page.context.new_page()
    app.open(again, link.removeprefix(app.url))
    expect(again.get_by_text("has the highest NDCG@10")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV", exact=True).click()
    assert download.value.suggested_filename == "comparison.csv"


def test_a_running_job_is_cancelled_within_two_seconds_and_its_process_is_gone(app, page, sample) -> None:
    from playwright.sync_api import expect

    _, queue = _workspace(app)
    app.open(page, f"/train?dataset={sample}")
    _tick(app, page, "mult_vae")
    page.get_by_text("Thorough").click()
    app.settle(page)
    page.get_by_role("button", name="Train 1 model").click()
    _await(lambda: any(job.train_spec.model == "mult_vae" for job in queue.jobs()), 20, "the click queued nothing")
    job_id = next(job.id for job in queue.jobs() if job.train_spec.model == "mult_vae")
    _await(lambda: queue.job(job_id).progress().get("epoch") is not None, 120, "the job never got to its first epoch")
    box = page.locator(f".st-key-train-jobs-{job_id}")
    expect(box.get_by_text("Running")).to_be_visible()
    expect(box.get_by_text("With validation · pass")).to_be_visible(timeout=20_000)
    pid = queue.job(job_id).process["pid"]
    name = page.get_by_role("textbox", name="Name (optional)")
    name.fill("being typed")
    page.wait_for_timeout(2500)  # two polls of the job list
    expect(name).to_have_value("being typed")
    before = page.evaluate(PLACE)
    begin = time.monotonic()
    box.get_by_role("button", name="Cancel").click()
    _await(lambda: queue.job(job_id).state == "cancelled", 10, "the job was not cancelled")
    took = time.monotonic() - begin
    assert took < 2.0, f"cancelling took {took:.1f} s"
    _await(lambda: not _alive(pid), 2, "its process still holds memory")
    expect(box.get_by_text("Cancelled")).to_be_visible(timeout=15_000)
    again = "Continue" if queue.job(job_id).can_continue else "Run again"
    expect(box.get_by_role("button", name=again)).to_be_visible()
    app.settle(page)
    assert page.evaluate(PLACE) == before, "what is above the jobs stays where it is"


def test_the_page_does_not_move_while_a_job_runs(app, page, sample) -> None:
    """Where things are above the job list stays the same from poll to poll and when the job ends."""
    _, queue = _workspace(app)
    app.open(page, f"/train?dataset={sample}")
    _tick(app, page, "ease")
    page.get_by_role("button", name="Train 1 model").click()
    _await(lambda: any(job.train_spec.model == "ease" for job in queue.jobs()), 20, "the click queued nothing")
    app.settle(page)
    page.wait_for_timeout(500)
    before = page.evaluate(PLACE)
    seen = set()
    end = time.monotonic() + 90
    while queue.jobs(["queued", "running"]) and time.monotonic() < end:
        seen.add(page.evaluate(PLACE))
        page.wait_for_timeout(250)
    page.wait_for_timeout(2500)
    app.settle(page)
    assert seen | {page.evaluate(PLACE)} == {before}


def test_a_training_is_watched_cancelled_and_continued(app, page, sample) -> None:
    """The panel follows the passes without moving the page; after a cancel the training goes on from its checkpoint."""
    from playwright.sync_api import expect

    from recsys_core.jobs import TrainSpec

    _, queue = _workspace(app)
    job_id = queue.submit(TrainSpec.make(dataset=sample, model="mult_vae", params={"epochs": 2000, "patience": 0}, seed=5)).id
    app.open(page, f"/train?dataset={sample}")
    box = page.locator(f".st-key-train-jobs-{job_id}")
    _await(lambda: len(queue.job(job_id).curve()) >= 2, 120, "the job never got through two passes")
    box.get_by_text("Training, pass by pass").click()
    figures = box.get_by_test_id("stMetricValue")
    expect(figures.first).to_have_text(re.compile(r"^\d+ of 2000$"), timeout=20_000)
    for question in ("Is it still learning?", "Do the lists get better?", "How large are the steps?"):
        expect(box.get_by_text(question)).to_be_visible(timeout=20_000)
    expect(box.locator(".js-plotly-plot")).to_have_count(3, timeout=20_000)
    app.settle(page)
    page.wait_for_timeout(1500)

    heights, passes = set(), set()
    end = time.monotonic() + 30
    while len(passes) < 3 and time.monotonic() < end:
        heights.add((page.evaluate(PLACE), round(box.bounding_box()["height"])))
        passes.add(figures.first.inner_text())
        page.wait_for_timeout(300)
    assert len(passes) >= 3, f"the figures do not follow the training: {passes}"
    assert len(heights) == 1, f"the page moves while it is watched: {heights}"
    expect(figures.nth(1)).to_have_text(re.compile(r"^0\.\d{4}$"))

    _await(lambda: (queue.job(job_id).path / "checkpoints").is_dir(), 60, "no checkpoint was written")
    box.get_by_role("button", name="Cancel").click()
    expect(box.get_by_role("button", name="Continue")).to_be_visible(timeout=20_000)
    expect(box.get_by_text("Did the lists get better?")).to_be_visible()  # still unfolded
    reached = len(queue.job(job_id).curve())
    box.get_by_role("button", name="Continue").click()
    went_on = box.get_by_text(re.compile(r"Went on after pass \d+ of the first training"))
    expect(went_on).to_be_visible(timeout=120_000)
    after = int(re.search(r"after pass (\d+)", went_on.inner_text())[1])
    assert 1 <= after <= reached
    now = int(figures.first.inner_text().split()[0])
    assert now >= after, "it did not start again from the first pass"
    queue.cancel(job_id)
