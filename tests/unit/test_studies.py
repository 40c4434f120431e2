"""Studies that are killed, shared by processes, cut off by time, cancelled, gone on with and deleted; as command and as job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from recsys_core.context import RunContext
from recsys_core.errors import BadInput, Cancelled, DataError, NotFound
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs import tuning as tuning_jobs
from recsys_core.jobs.training import train_in_workspace
from recsys_core.jobs.tune_spec import TuneSpec

from .planted_search import asked, points, tuned, wait_for
from .planted_search import workspace as workspace  # a fixture

# ---- going on ----------------------------------------------------------------------------------------
SCRIPT = """
import sys
from recsys_core.context import RunContext
from recsys_core.jobs.tune_spec import TuneSpec
from recsys_core.jobs.tuning import tune_in_workspace
from recsys_core.store import Workspace
tune_in_workspace(Workspace(sys.argv[1]), TuneSpec.model_validate_json(sys.argv[2]), RunContext(threads=1))
"""


def test_a_killed_study_goes_on_where_it_stopped(workspace, repo, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(repo), os.environ["PYTHONPATH"]]))
    spec = asked(params={"seconds": 0.25}, n_trials=9)
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(workspace.root), spec.model_dump_json()])
    try:
        wait_for(lambda: workspace.studies() and sum(t["state"] == "complete" for t in workspace.studies()[0].trials()) >= 3)
        wait_for(lambda: workspace.studies()[0].trials()[-1]["state"] == "running")
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    before = workspace.studies()[0].trials()
    with (workspace.studies()[0].path / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code": 6, "wor')  # what a power cut leaves
    study = tuned(workspace, spec)
    trials = study.trials()
    kept = [t for t in before if t["state"] == "complete"]
    assert len(kept) >= 3 and trials[: len(kept)] == kept, "finished trials stay as they were"
    cut = [t for t in trials if t["state"] == "failed"]
    assert len(cut) == 1 and cut[0]["again"] and "tried again" in cut[0]["reason"]
    complete = [t for t in trials if t["state"] == "complete"]
    assert len(complete) == 9 and Counter(points(complete)).most_common(1)[0][1] == 1, "none lost, none repeated"
    assert points(cut)[0] in points(complete), "what was cut off was tried again"
    assert study.id == spec.model_copy(update={"train": spec.train.model_copy(update={"dataset": study.dataset_id})}).study_id
    searched = study.seconds
    more = tuned(workspace, spec.model_copy(update={"n_trials": 12}))
    assert more.id == study.id and more.trials()[: len(trials)] == trials
    assert sum(t["state"] == "complete" for t in more.trials()) == 12
    assert len(workspace.studies()) == 1 and more.seconds > searched


def test_settings_that_kill_their_process_twice_are_left_alone(workspace, tmp_path):
    from recsys_core.tuning.study import Search

    task, space, _ = tuning_jobs.prepare(workspace, tuning_jobs.resolved(workspace, asked()), RunContext())
    search = Search(tmp_path, space, task, "random", "none", 42, {"pid": 1}, alive=lambda who: False)
    given = [search.next(0).user_attrs["point"]["params"] for _ in range(4)]
    assert given[0] == given[1] == {"x": 0.2, "y": 400} and given[2] != given[0] and given[3] == given[2]
    alive = Search(tmp_path, space, task, "random", "none", 42, {"pid": 1}, alive=lambda who: True)
    assert alive.next(4) is not None and alive.next(4) is not None, "two of the four so far count: one lost for good, one running"
    assert alive.next(4) is None, "budget given out"


def test_two_processes_share_a_study_and_one_may_die(workspace, tmp_path):
    marker = tmp_path / "fits"
    state = {}

    def watch(step):
        others = [c for c in psutil.Process().children() if c.status() != psutil.STATUS_ZOMBIE and "tuning_helper" in " ".join(c.cmdline())]
        pids = [line.split()[0] for line in marker.read_text().splitlines()] if marker.exists() else []
        if others and pids.count(str(others[0].pid)) >= 2 and "killed" not in state:
            state["killed"] = others[0].pid
            others[0].kill()

    spec = asked(params={"seconds": 0.15, "marker": str(marker)}, n_trials=60, workers=2, sampler="random")
    study = tuned(workspace, spec, on_progress=watch)
    trials = study.trials()
    assert "killed" in state
    complete = [t for t in trials if t["state"] == "complete"]
    assert [t["number"] for t in trials] == list(range(len(trials)))
    assert len(complete) == 60 == len(set(points(complete))), "no trial lost or done twice"
    assert all(t["again"] for t in trials if t["state"] != "complete") and len(trials) <= 61
    assert any("1 of 2 processes ended before" in note for note in study.notes)
    pids = Counter(line.split()[0] for line in marker.read_text().splitlines())
    assert len(pids) == 2 and sum(pids.values()) == len(trials)
    for line in (study.path / "journal.log").read_text().splitlines():
        json.loads(line)  # whole lines only


def test_minutes_end_in_time_and_more_minutes_go_on(workspace):
    spec = asked(params={"seconds": 0.4}, n_trials=0, minutes=2.2 / 60)
    begin = time.monotonic()
    study = tuned(workspace, spec)
    searched = study.seconds
    assert time.monotonic() - begin < 12 and 1.0 < searched < 3.2
    first = study.trials()
    assert 1 <= sum(t["state"] == "complete" for t in first) <= 5
    assert all(t["again"] and "time was up" in t["reason"] for t in first if t["state"] == "failed")
    assert tuned(workspace, spec).trials() == first, "the same minutes are used up"
    more = tuned(workspace, spec.model_copy(update={"minutes": 3.8 / 60}))
    assert len(more.trials()) > len(first) and searched < more.seconds < 4.8


def test_a_stopped_study_stays_readable(workspace):
    seen = []

    def stop() -> bool:
        seen[:] = workspace.studies()[0].trials() if workspace.studies() else []
        return sum(t["state"] == "complete" for t in seen) >= 4 and seen[-1]["state"] == "running"

    spec = asked(params={"seconds": 0.1}, n_trials=10)
    with pytest.raises(Cancelled):
        tuned(workspace, spec, cancelled=stop)
    study = workspace.studies()[0]
    stopped = study.trials()
    assert [t["state"] for t in stopped] == ["complete"] * 4 + ["failed"] and stopped[-1]["again"]
    assert study.best is not None and study.front
    done = tuned(workspace, spec).trials()
    assert sum(t["state"] == "complete" for t in done) == 10 and done[:5] == stopped and done[5]["params"] == stopped[4]["params"]


def test_a_damaged_journal_is_said_and_a_torn_one_is_mended(workspace):
    spec = asked(n_trials=3)
    journal = tuned(workspace, spec).path / "journal.log"
    whole = journal.read_bytes()
    more = spec.model_copy(update={"n_trials": 5})
    journal.write_bytes(whole + b'{"op_code": 4, "wor')  # its process was killed while it wrote
    assert len(tuned(workspace, more).trials()) == 5
    journal.write_bytes(whole[:200] + bytes(9) + b"\n" + whole[200:])
    with pytest.raises(DataError, match=r"cannot be read: .*journal.log is damaged"):
        tuned(workspace, more)


def test_a_search_over_a_fusion_whose_run_is_gone_is_refused_before_it_begins(workspace):
    spec = TuneSpec.make(train=asked().train.model_copy(update={"model": "average", "params": {"models": ["run:feedfeed", "ease"]}}))
    for begin in (lambda: tuned(workspace, spec), lambda: train_in_workspace(workspace, spec.train, RunContext(threads=1))):
        with pytest.raises(NotFound, match="There is no run 'feedfeed'"):
            begin()
    assert not workspace.studies()


def test_runs_to_combine_may_be_named_and_are_known_by_id(workspace):
    ctx = RunContext(threads=1)
    one = train_in_workspace(workspace, asked().train.model_copy(update={"model": "popular", "params": {}, "name": "My run"}), ctx)
    params = {"models": ["ease", "run:my run"], "order_by": "run:my run", "candidates": 5, "measure": False}
    fused = train_in_workspace(workspace, asked().train.model_copy(update={"model": "cascade", "params": params}), ctx)
    assert fused.spec["params"]["models"] == ["ease", f"run:{one.id}"] and fused.spec["params"]["order_by"] == f"run:{one.id}"
    assert workspace.dependents(one.id) == [f"run '{fused.name}'"], "it cannot be deleted from under the fusion"


def test_one_study_is_worked_on_once(workspace):
    from filelock import FileLock

    spec = asked(n_trials=2)
    study = tuned(workspace, spec)
    with FileLock(str(study.path / ".main")), pytest.raises(BadInput, match="going on already"):
        tuned(workspace, spec)


def test_the_command_searches_trains_the_winner_and_says_what_it_gained(workspace, monkeypatch, capsys):
    from recsys_core.cli import main

    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    line = ["tune", "--data", "toy", "--model", "hill", "--search", "x=0.2,0.9", "--set", "y=40", "--trials", "6", "--threads", "1"]
    assert main([*line, "--train-best"]) == 0
    out, err = capsys.readouterr()
    study = workspace.studies()[0]
    first, best = study.trials()[0]["values"][0], study.best["values"][0]
    assert f"validation NDCG@20 {best:.4f} against {first:.4f} with the defaults." in out and best > first
    assert "Hill (tuned), trained on all of the training part and measured on the test" in out
    assert "the test was not read" in err and len(workspace.runs()) == 1 and workspace.runs()[0].manifest["resolved"]["y"] == 40
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["study"] == study.id and len(told["trials"]) == 6 and told["best"]["params"] == study.best["params"]
    assert told["spec"]["space"] == {"x": [0.2, 0.9]}, "numbers are numbers, as the app would ask"
    assert main(["tune", "--data", "toy", "--model", "hill", "--search", "xx=0,1"]) == 2
    assert "Did you mean 'x'?" in capsys.readouterr().err


# ---- as a job ----------------------------------------------------------------------------------------
def test_a_job_searches_a_larger_budget_goes_on_and_all_can_be_deleted(workspace):
    queue = JobQueue(workspace)
    dataset = workspace.dataset("toy").id
    spec = TuneSpec.make(train=TrainSpec(dataset=dataset, model="hill", params={"seconds": 0.15}, threads=1), n_trials=4)
    job = queue.submit(spec.job())
    queue.run_until_idle()
    job = queue.job(job.id)
    assert job.state == "done", job.log()
    assert job.result == {"study": spec.study_id} and job.id == spec.study_id
    study = workspace.study(spec.study_id)
    assert len(study.trials()) == 4 and study.name == "Tune Hill" and study.dataset_id == dataset
    assert '"stage": "Trial 3 of 4, best NDCG@20 0.' in (job.path / "progress.jsonl").read_text()
    assert queue.submit(spec.job()).state == "done", "the same budget is done"
    larger = spec.model_copy(update={"n_trials": 6})
    assert queue.submit(larger.job()).state == "queued"
    with pytest.raises(BadInput, match="used by the queued job"):
        workspace.delete(study.id)
    queue.run_until_idle()
    assert len(workspace.study(study.id).trials()) == 6 and workspace.study(study.id).spec["n_trials"] == 6
    assert workspace.dependents("toy") == ["study 'Tune Hill'"]
    assert workspace.delete("toy", with_dependents=True) == ["study 'Tune Hill'", "dataset 'toy'"]
    assert workspace.studies() == [] and not study.path.exists()
