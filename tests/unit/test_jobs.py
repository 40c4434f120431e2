"""Jobs: real worker processes that finish, fail, are killed, cancelled, interrupted and run again.

The models that misbehave live in a module of their own, which the workers import through RECSYS_PLUGINS.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import DatasetStats, from_frame
from recsys_core.errors import BadInput, NotFound, ParamError, TooLarge
from recsys_core.jobs import Dispatcher, Job, JobQueue, JobSpec, TrainSpec, fits_in_memory
from recsys_core.jobs.memory import available_bytes, human, needed_bytes, require_memory
from recsys_core.jobs.process import identity, is_alive, kill
from recsys_core.jobs.queue import death
from recsys_core.jobs.training import train_in_workspace
from recsys_core.jobs.worker import explain_failure
from recsys_core.models._base import Cost
from recsys_core.store import Workspace
from recsys_core.store.files import read_json, write_json

PLUGIN = '''
import os, signal, subprocess, sys, time
import numpy as np
from recsys_core import params, registry
from recsys_core.errors import Unsupported
from recsys_core.models._base import Cost, Recommender
from recsys_core.params import param
from typing import Literal


class Odd(Recommender):
    """Behaves as told."""

    key = "odd"
    label = "Odd"
    family = "Baseline"
    summary = "For tests."

    class Params(params.Params):
        how: Literal["fine", "slow", "deaf", "raises", "no_memory", "killed", "refuses", "exits"] = param(
            "fine", label="How", help="What it does."
        )
        seconds: float = param(60.0, label="Seconds", help="How long.", ge=0)
        marker: str = param("", label="Marker", help="A file to write to.")

    def _fit(self, data, ctx, validation):
        how, end = self.params.how, time.monotonic() + self.params.seconds
        if self.params.marker:
            with open(self.params.marker, "a") as file:
                file.write(f"{os.getpid()}\\n")
        if how == "deaf":  # a native call that never looks up, with a child of its own
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        while how in ("slow", "deaf") and time.monotonic() < end:
            if how == "slow":
                ctx.report("training", 0.5, epoch=1, epochs=2, metrics={"loss": 0.25})
            time.sleep(0.02)
        if how == "raises":
            raise ValueError("the third wheel came off\\nmore")
        if how == "no_memory":
            raise MemoryError
        if how == "refuses":
            raise Unsupported("Odd cannot learn from this.", "Try another.")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exits":
            os._exit(7)

    def _history_scores(self, histories):
        return np.tile(self._popularity(), (len(histories), 1))


registry.register("model", Odd)
'''


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue on a workspace with one dataset, "toy", and the odd model known here and to the workers."""
    (tmp_path / "odd_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RECSYS_PLUGINS", "odd_plugin")
    registry._import_outside.cache_clear()
    sys.modules.pop("odd_plugin", None)
    workspace = Workspace(tmp_path / "ws")
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"user": rng.integers(0, 40, 900), "item": rng.integers(0, 30, 900)}).drop_duplicates()
    workspace.add_dataset(from_frame(rows), "toy")
    made = JobQueue(workspace)
    yield made
    for job in made.jobs(["queued", "running"]):
        made.cancel(job.id)
    registry.unregister("model", "odd")
    registry._import_outside.cache_clear()


def odd(how="fine", **more):
    return TrainSpec(dataset="toy", model="odd", params={"how": how, **more}, ks=(5,))


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


def start(queue, spec) -> Job:
    """Submit and wait until it trains."""
    job = queue.submit(spec)
    queue.tick()
    wait_for(
        lambda: (
            queue.job(job.id).progress().get("stage", "").startswith("Fitting")
            or spec.params["how"] == "deaf"
            and _children(queue.job(job.id))
        )
    )
    return queue.job(job.id)


def _children(job) -> list[psutil.Process]:
    try:
        return psutil.Process(job.process["pid"]).children(recursive=True) if job.process else []
    except psutil.NoSuchProcess:
        return []


def alive(pid) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# ---- specs ---------------------------------------------------------------------------------------
def test_defaults_spelled_out_are_the_same_run():
    short = TrainSpec(dataset="d", model="popular")
    splitter = short.splitter()
    long = TrainSpec(
        dataset="d",
        model="popular",
        params=short.model_params().model_dump(),
        split_params=splitter.params.model_dump(),
        ks=(20, 10, 5),
        name="x",
        threads=2,
    )
    assert long.run_id == short.run_id
    for change in (
        {"seed": 1},
        {"ks": (10,)},
        {"split": "leave_last"},
        {"refit": False},
        {"dataset": "e"},
        {"split_params": {"test_share": 0.3}},
    ):
        assert TrainSpec(**{"dataset": "d", "model": "popular", **change}).run_id != short.run_id


def test_bad_specs_are_refused_with_the_rule_and_the_value():
    for values, words in (
        ({"ks": [0]}, r"from 1 to 1000; got \[0\]"),
        ({"seed": -1}, "got -1"),
        ({"colour": 1}, "Unknown setting 'colour'"),
    ):
        with pytest.raises(ParamError, match=words):
            TrainSpec.make(dataset="d", model="popular", **values)
    with pytest.raises(NotFound, match="Did you mean 'popular'"):
        _ = TrainSpec(dataset="d", model="populr").run_id


# ---- the good case -------------------------------------------------------------------------------
def test_a_job_becomes_a_run_and_is_not_done_twice(queue, tmp_path):
    marker = tmp_path / "trained"
    job = queue.submit(odd(marker=str(marker)))
    assert job.state == "queued" and queue.submit(odd(marker=str(marker))).id == job.id
    assert len(queue.submit_many([odd(marker=str(marker))] * 3)) == 1
    queue.run_until_idle()
    done = queue.job(job.id)
    assert done.state == "done", done.reason + done.log()
    run = queue.workspace.run(done.result["run"])
    assert run.id == job.id and run.manifest["peak_rss_bytes"] > 1e7 and run.dataset.name == "toy"
    assert run.model().recommend(np.array([0]), 3).items.shape == (1, 3)
    again = queue.submit(odd(marker=str(marker)))
    assert again.state == "done" and again.id == job.id
    assert len(marker.read_text().split()) == 1, "trained once"
    queue.clear()
    assert queue.submit(odd(marker=str(marker))).state == "done", "the run is there even when the job was forgotten"
    queue.workspace.delete(run.id)
    assert queue.submit(odd(marker=str(marker))).state == "queued", "the run was deleted: train again"


def test_parallel_is_a_setting_and_is_kept(queue):
    queue.set_parallel(2)
    assert JobQueue(queue.workspace).parallel == 2
    with pytest.raises(BadInput, match="got 0"):
        queue.set_parallel(0)
    jobs = [queue.submit(odd("slow", seconds=60 + n)) for n in range(3)]
    queue.tick()
    assert [queue.job(j.id).state for j in jobs] == ["running", "running", "queued"]


# ---- cancelling ----------------------------------------------------------------------------------
def test_cancel_stops_a_willing_job_within_two_seconds(queue):
    job = start(queue, odd("slow"))
    assert job.curve()[-1]["loss"] == 0.25 and job.progress()["seconds_left"] > 0
    pid, began = job.process["pid"], time.monotonic()
    assert queue.cancel(job.id).state == "cancelled"
    assert time.monotonic() - began < 2.0 and not alive(pid)
    assert not queue.workspace.runs() and not list((queue.workspace.root / "runs").iterdir())


def test_cancel_kills_a_deaf_job_and_its_children_within_two_seconds(queue):
    job = start(queue, odd("deaf"))
    pids = [job.process["pid"], *(child.pid for child in _children(job))]
    assert len(pids) >= 2
    began = time.monotonic()
    assert queue.cancel(job.id).state == "cancelled"
    assert time.monotonic() - began < 2.0
    wait_for(lambda: not any(alive(pid) for pid in pids), 1.0)
    assert not list((queue.workspace.root / "runs").iterdir()), "what it was writing is gone too"


def test_a_waiting_job_is_cancelled_without_being_started(queue):
    job = queue.submit(odd("slow"))
    assert queue.cancel(job.id).state == "cancelled"
    assert queue.tick() == [] and not job.process
    assert queue.cancel(job.id).state == "cancelled", "cancelling twice does nothing"


# ---- failing -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raises", "ValueError: the third wheel came off)"),
        ("no_memory", "ran out of memory"),
        ("killed", "memory ran out"),
        ("refuses", "Odd cannot learn from this. Try another."),
        ("exits", "exit status 7"),
    ],
)
def test_a_failure_ends_only_its_own_job_with_one_sentence(queue, how, words):
    bad, good = queue.submit(odd(how)), queue.submit(odd("fine"))
    queue.run_until_idle()
    bad = queue.job(bad.id)
    assert bad.state == "failed" and words in bad.reason
    assert "Traceback" not in bad.reason and "\n" not in bad.reason
    if how == "raises":
        assert "Traceback" in bad.log() and "third wheel" in bad.log()
    assert queue.job(good.id).state == "done"


def test_what_fails_can_be_run_again(queue):
    job = queue.submit(odd("raises"))
    queue.run_until_idle()
    assert queue.retry(job.id).state == "queued"
    assert queue.job(job.id).reason == "" and queue.job(job.id).progress() == {}
    queue.cancel(job.id)
    assert queue.submit(odd("raises")).state == "queued", "submitting it again also queues it again"


def test_an_unknown_kind_of_job_fails_in_words(queue):
    job = queue.submit(JobSpec(kind="dance", payload={}))
    queue.run_until_idle()
    assert "Unknown job 'dance'" in queue.job(job.id).reason


def test_a_job_is_refused_when_it_would_not_fit(queue, monkeypatch):
    stats = DatasetStats(100_000, 400_000, 5_000_000, 500, True, False, False, False)
    model = registry.get("model", "ease")

    class Huge(model):
        label = "Huge"

        def cost(self, stats):
            return Cost(stats.n_items**2 * 8, 1.0)

    fits, sentence = fits_in_memory(Huge, None, stats, available=8 * 2**30)
    assert not fits and "Huge on 400,000 items" in sentence and "8.0 GB is free" in sentence
    assert "these models would fit: " in sentence.lower() and "Most popular" not in sentence, "an unpersonalised model is no replacement"
    with pytest.raises(TooLarge, match="is free") as refused:
        require_memory(Huge, Huge.Params(), replace(stats, n_items=2_000_000))
    assert refused.value.hint
    cheap = registry.get("model", "popular")
    assert fits_in_memory(cheap, None, stats, available=8 * 2**30)[0]
    fits, sentence = fits_in_memory(cheap, None, stats, available=2**20)
    assert not fits and "No model fits" in sentence
    assert 0 < available_bytes() <= psutil.virtual_memory().total


def test_a_refusal_names_the_setting_that_fits_also_where_it_was_auto():
    stats = DatasetStats(1_000_000, 300_000, 20_000_000, 5_000, True, False, False, False)
    model = registry.get("model", "ease")
    auto = model().resolve(stats).max_items
    free = needed_bytes(model, model.Params(), stats) // 2
    fits, sentence = fits_in_memory(model, None, stats, available=free)
    limit = re.search(r"most items modelled at most ([\d,]+) it would fit", sentence)
    assert not fits and limit, sentence
    limit = int(limit[1].replace(",", ""))
    assert 2 < limit < auto and fits_in_memory(model, {"max_items": limit}, stats, available=free)[0]
    assert not fits_in_memory(model, {"max_items": limit + limit // 50}, stats, available=free)[0], "the largest that fits"
    assert [human(n) for n in (5, 2048, 3.5 * 2**30)] == ["5 bytes", "2.0 KB", "3.5 GB"]


# ---- restarts ------------------------------------------------------------------------------------
def test_what_ran_when_the_machine_died_is_interrupted_and_can_run_again(queue):
    job = start(queue, odd("slow"))
    who = job.process
    script = (
        "import sys; from recsys_core.jobs import JobQueue; from recsys_core.store import Workspace\n"
        "JobQueue(Workspace(sys.argv[1])).tick()"
    )
    app = [sys.executable, "-c", script, str(queue.workspace.root)]
    subprocess.run(app, check=True, timeout=60)
    assert queue.job(job.id).state == "running", "another app finds the worker alive and leaves it"
    os.killpg(who["pid"], signal.SIGKILL)
    wait_for(lambda: not alive(who["pid"]))
    subprocess.run(app, check=True, timeout=60)  # an app that did not start it: only the files tell
    dead = queue.job(job.id)
    assert dead.state == "interrupted" and "stopped" in dead.reason
    assert queue.retry(job.id).state == "queued"
    queue.tick()
    assert queue.job(job.id).state == "running"


def test_a_training_that_was_killed_goes_on_where_it_was_and_ends_the_same(queue, tmp_path):
    spec = TrainSpec(dataset="toy", model="mult_vae", params={"epochs": 250, "patience": 0, "batch_size": 8}, ks=(5,))
    job = queue.submit(spec)
    queue.tick()
    wait_for(lambda: list((job.path / "checkpoints").rglob("with-validation/*.safetensors")), 60)
    os.kill(queue.job(job.id).process["pid"], signal.SIGKILL)
    wait_for(lambda: queue.tick() and queue.job(job.id).ended)
    assert queue.job(job.id).can_continue
    queue.retry(job.id)
    queue.run_until_idle(120)
    done = queue.job(job.id)
    assert done.state == "done" and not done.can_continue and not (job.path / "checkpoints").exists()
    told = [step for step in map(json.loads, (job.path / "progress.jsonl").read_text().splitlines()) if step.get("replayed")]
    assert told and {step["stage"].split(": ")[1] for step in told} == {"with validation"}
    run = queue.workspace.run(done.run_id)
    assert len(run.history()) == 250 + run.model("fit").best_epoch, "the curve has gaps"
    other = Workspace(tmp_path / "other")
    other.add_dataset(queue.workspace.dataset("toy").load(), "toy")
    uninterrupted = train_in_workspace(other, spec, RunContext(threads=1))
    assert run.metrics == uninterrupted.metrics
    np.testing.assert_array_equal(run.topk().items, uninterrupted.topk().items)


def test_a_reused_process_number_is_neither_taken_for_ours_nor_killed(queue):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        who = identity(stranger.pid)
        assert is_alive(who)
        other = who | {"started": "1"}
        assert not is_alive(other) and not is_alive(who | {"boot": "another"})
        kill(other)
        kill(who | {"boot": "another"})
        assert stranger.poll() is None
        kill(who, stranger)
        assert stranger.poll() is not None
    finally:
        stranger.kill()


def test_a_job_of_another_machine_is_judged_by_its_heartbeat(queue):
    job = queue.submit(odd("slow"))
    write_json(job.path / "process.json", {"pid": 1, "started": "1", "host": "elsewhere", "boot": "b"})
    write_json(job.path / "state.json", {"state": "running", "started": "2026-01-01T00:00:00+00:00", "submitted": "2026"})
    (job.path / "heartbeat").touch()
    queue.tick()
    assert queue.job(job.id).state == "running"
    os.utime(job.path / "heartbeat", (1e9, 1e9))
    queue.tick()
    assert queue.job(job.id).state == "interrupted"


def test_the_heart_beats(queue):
    job = start(queue, odd("slow"))
    wait_for(lambda: queue.job(job.id).heartbeat_age_seconds() < 2)
    assert read_json(job.path / "process.json")["pid"] == job.process["pid"]


# ---- the dispatcher ------------------------------------------------------------------------------
def test_two_dispatchers_start_a_job_once_and_the_second_takes_over(queue, tmp_path):
    marker = tmp_path / "trained"
    first, second = Dispatcher(queue, 0.02), Dispatcher(JobQueue(queue.workspace), 0.02)
    with second:
        with first:
            queue.submit(odd("fine", marker=str(marker)))
            wait_for(lambda: queue.jobs(["done"]))
            assert [first.leading, second.leading].count(True) == 1
        wait_for(lambda: second.leading, 5)
    assert len(marker.read_text().split()) == 1


def test_many_tickers_start_a_job_once(queue, tmp_path):
    marker = tmp_path / "trained"
    queue.submit(odd("fine", marker=str(marker)))
    script = (
        "import sys, time; from recsys_core.jobs import JobQueue; from recsys_core.store import Workspace\n"
        "q = JobQueue(Workspace(sys.argv[1]))\nfor _ in range(40): q.tick(); time.sleep(.02)"
    )
    apps = [subprocess.Popen([sys.executable, "-c", script, str(queue.workspace.root)]) for _ in range(3)]
    for app in apps:
        assert app.wait(60) == 0
    wait_for(lambda: (queue.tick(), queue.jobs(["done"]))[1])
    assert len(marker.read_text().split()) == 1


def test_reasons():
    assert "memory" in death(-9) and "SIGSEGV" in death(-11) and "status 3" in death(3)
    assert explain_failure(RuntimeError("DefaultCPUAllocator: can't allocate memory"))[1].startswith("It ran out of memory")
    assert explain_failure(KeyboardInterrupt()) == ("cancelled", "")


@pytest.mark.parametrize(
    ("params", "title"),
    [
        ({}, "Self-attention over the sequence (SASRec)"),
        ({"epochs": 40, "compile": True}, "Self-attention over the sequence (SASRec) (epochs 40, compile)"),
        (
            {"epochs": 40, "patience": 5, "schedule": "cosine", "warmup": 2.0},
            "Self-attention over the sequence (SASRec) (epochs 40, patience 5, schedule cosine and 1 more)",
        ),
    ],
)
def test_a_title_is_never_cut_within_a_word(params, title):
    assert TrainSpec.make(dataset="d", model="sasrec", params=params).title == title


def test_a_title_names_no_run_by_its_id():
    spec = TrainSpec.make(dataset="d", model="average", params={"models": ["ease", "run:429fa0f8281aa3cd", "run:1d8f83c110448448"]})
    assert spec.title.endswith("(models ease+2 trained before)")
