"""Tuning in the browser: a search is set up, watched and found, the best is trained and stands on Compare."""

from __future__ import annotations

import re
import time

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _queue(app):
    from recsys_core.jobs import JobQueue
    from recsys_core.store import Workspace

    return JobQueue(Workspace(app.workspace))


def _await(test, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def sample(app) -> str:
    """The sample data as a dataset of the app's workspace; its id."""
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
    from recsys_core.data.ingest.plan import Columns
    from recsys_core.data.sample import COLUMNS, EVENT_WEIGHTS, sample_paths
    from recsys_core.store import Workspace

    source = open_source(sample_paths().interactions)
    guess = guess_columns(source)
    how = {"feedback": "implicit", "value_is": "none", "threshold": None, "event_weights": EVENT_WEIGHTS, "duplicates": "sum"}
    plan = IngestPlan.from_guess(guess, columns=Columns(**COLUMNS), **how)
    return Workspace(app.workspace).add_dataset(ingest(source, plan), "Bookshop", plan=plan).id


def test_tune_and_train_the_best(app, page, sample) -> None:
    from playwright.sync_api import expect

    queue = _queue(app)
    app.open(page, f"/tune?dataset={sample}")
    expect(page.get_by_text("the test part is read once, when you train the winner")).to_be_visible()
    trials = page.get_by_role("spinbutton", name="Trials at most")
    trials.fill("4")
    trials.press("Enter")
    app.settle(page)
    page.get_by_role("button", name="Start the search").click()
    _await(lambda: len(queue.jobs()) == 1, 20, "the click queued nothing")
    study = queue.jobs()[0].id
    page.wait_for_url(re.compile(f"study={study}"))
    _await(lambda: queue.job(study).ended, 120, "the search did not end")
    assert queue.job(study).state == "done", queue.job(study).reason
    expect(page.get_by_text("Does searching still pay?")).to_be_visible(timeout=20_000)
    expect(page.locator(".st-key-tune-charts .js-plotly-plot").first).to_be_visible(timeout=20_000)
    expect(page.get_by_role("heading", name=re.compile(r"Best: NDCG@20 0\.\d{4} on validation"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"^4 complete"))).to_be_visible()
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    assert download.value.suggested_filename == "trials.csv"

    page.get_by_role("button", name="Train with these settings").click()
    _await(lambda: len(queue.jobs()) == 2, 20, "the click queued no training")
    run = next(job.id for job in queue.jobs() if job.kind == "train")
    _await(lambda: queue.job(run).state == "done", 120, "the training did not end")
    page.get_by_role("button", name="See its result").click()
    expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible(timeout=20_000)
    table = page.locator(".st-key-leaderboard [role=gridcell]")
    expect(table.filter(has_text=queue.workspace.run(run).name).first).to_be_attached(timeout=20_000)


def test_a_search_is_cancelled_continued_and_its_best_filled_into_train(app, page, sample) -> None:
    """Goes on with the trials that are there; Use in Train opens its form with the values of the best."""
    from playwright.sync_api import expect

    from recsys_core.jobs import TrainSpec
    from recsys_core.jobs.tune_spec import TuneSpec

    queue = _queue(app)
    spec = TuneSpec.make(train=TrainSpec.make(dataset=sample, model="rp3beta", threads=1), n_trials=500, sampler="random")
    study = queue.submit(spec.job()).id
    app.open(page, f"/tune?dataset={sample}&study={study}")

    def ended() -> int:
        found = {s.id: s for s in queue.workspace.studies()}.get(study)
        return sum(trial["state"] == "complete" for trial in found.trials()) if found else 0

    _await(lambda: ended() >= 3, 60, "no trial ended")
    expect(page.get_by_role("heading", name=re.compile(r"Best so far: NDCG@20"))).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Cancel").click()
    _await(lambda: queue.job(study).state == "cancelled", 20, "the search was not cancelled")
    before = ended()
    page.get_by_role("button", name="Continue").click()
    _await(lambda: ended() > before, 60, "it did not go on")
    page.get_by_role("button", name="Cancel").click()
    _await(lambda: queue.job(study).state == "cancelled", 20, "the search was not cancelled")
    best = queue.workspace.study(study).best
    expect(page.get_by_role("heading", name=re.compile(r"Best: NDCG@20"))).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Use in Train").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible(timeout=20_000)
    app.settle(page)
    page.get_by_role("button", name="Train 1 model").click()
    _await(lambda: any(j.kind == "train" and j.train_spec.model == "rp3beta" for j in queue.jobs()), 20, "the click queued nothing")
    trained = next(job.train_spec.model_params() for job in queue.jobs() if job.kind == "train" and job.train_spec.model == "rp3beta")
    assert {name: getattr(trained, name) for name in best["params"]} == best["params"]
