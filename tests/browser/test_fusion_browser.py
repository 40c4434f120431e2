"""Fusion in the browser: a stacking of two trained results, followed to its end, its parts on Compare and in a reason on Inspect."""

from __future__ import annotations

import re
import time

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def trained(app) -> str:
    """The sample data with two results; the dataset's id."""
    from recsys_core.context import RunContext
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
    from recsys_core.data.ingest.plan import Columns
    from recsys_core.data.sample import COLUMNS, EVENT_WEIGHTS, sample_paths
    from recsys_core.jobs import TrainSpec
    from recsys_core.jobs.training import train_in_workspace
    from recsys_core.store import Workspace

    source = open_source(sample_paths().interactions)
    more = {"feedback": "implicit", "value_is": "none", "threshold": None, "event_weights": EVENT_WEIGHTS, "duplicates": "sum"}
    plan = IngestPlan.from_guess(guess_columns(source), columns=Columns(**COLUMNS), **more)
    workspace = Workspace(app.workspace)
    dataset = workspace.add_dataset(ingest(source, plan), "Bookshop", plan=plan).id
    for model in ("ease", "als"):
        train_in_workspace(workspace, TrainSpec.make(dataset=dataset, model=model), RunContext(threads=1))
    return dataset


def _job(app, state: str, seconds: float):
    from recsys_core.jobs import JobQueue
    from recsys_core.store import Workspace

    queue, end = JobQueue(Workspace(app.workspace)), time.monotonic() + seconds
    while not [job for job in queue.jobs() if job.state == state]:
        assert time.monotonic() < end, [(job.state, job.error) for job in queue.jobs()]
        time.sleep(0.1)
    return queue.jobs([state])[0]


def test_a_stacking_of_two_results_is_built_followed_and_read(app, page, trained) -> None:
    from playwright.sync_api import expect

    app.open(page, f"/train?dataset={trained}")
    page.locator(".st-key-pick-stacking label").first.click()
    app.settle(page)
    parts = page.locator(".st-key-fusion-parts-stacking")
    chips = parts.locator(".react-aria-ComboBox [data-tag]")
    expect(chips).to_have_text([re.compile("EASE.*trained already"), re.compile("ALS.*trained already"), re.compile("trained anew")])
    parts.get_by_role("button", name="Remove Item neighbours").click()
    app.settle(page)
    expect(chips).to_have_count(2)
    settings = page.locator(".st-key-settings")
    expect(settings.get_by_text("EASE and ALS: already trained, reused.")).to_be_visible()
    settings.get_by_role("radio", name="Fast").click()
    app.settle(page)
    page.get_by_role("button", name="Train 1 model").click()
    job = _job(app, "done", 120)
    assert job.title.startswith("Stacking fusion: EASE + ALS")
    page.get_by_role("link", name="See its result").first.click()

    expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible()
    app.settle(page)
    card = page.locator(".st-key-one-result")
    card.scroll_into_view_if_needed()
    expect(card.get_by_text("Candidates are the best")).to_be_visible(timeout=20_000)
    expect(card.get_by_text("What each part counts")).to_be_visible()
    names = card.locator('[class*="st-key-fusion-weights-"] .js-plotly-plot .ytick text')
    expect(names).to_have_count(2)
    assert set(names.all_text_contents()) == {"EASE", "ALS"}

    card.get_by_role("link", name="Look at single users").click()
    app.settle(page)
    page.locator('[data-testid="stPopover"] button').first.click()
    expect(page.get_by_text("How much each part speaks for it")).to_be_visible(timeout=30_000)
    shares = page.get_by_test_id("stProgress")
    expect(shares.filter(has_text=re.compile(r"^(EASE|ALS) · (\d+%|has no say here)"))).to_have_count(2)
