"""Search for better settings: spaces, points, pruning, budgets, and studies that are killed, shared, cancelled and gone on with.

The models that are searched live in a module of their own, which further processes import through RECSYS_PLUGINS.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import DatasetStats
from recsys_core.errors import BadInput, Cancelled, NotFound, ParamError, TooLarge, Unsupported
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs import tuning as tuning_jobs
from recsys_core.jobs.sources import FilesSource
from recsys_core.jobs.training import train_in_workspace
from recsys_core.jobs.tune_spec import TuneSpec, best_spec
from recsys_core.jobs.tuning import tune_in_workspace
from recsys_core.models._base import Cost
from recsys_core.params import Params, param
from recsys_core.store import Workspace
from recsys_core.testing.datasets import tastes
from recsys_core.tuning import describe_space, make_space, objective_of

PLUGIN = '''
import os, time
import numpy as np
from recsys_core import params, registry
from recsys_core.errors import Unsupported
from recsys_core.models._base import Recommender
from recsys_core.params import param


class Hill(Recommender):
    """Co-occurrence, spoilt by noise that grows with the distance from x = 0.7, y = 40."""

    key = "hill"
    label = "Hill"
    family = "Test"
    summary = "For tests."

    class Params(params.Params):
        x: float = param(0.2, label="X", help="Place.", ge=0, le=1, tune=(0.0, 1.0, "linear"))
        y: int = param(400, label="Y", help="Place.", ge=1, le=5000, tune=(1, 1000, "log"))
        seconds: float = param(0.0, label="Seconds", help="How long.", ge=0)
        marker: str = param("", label="Marker", help="A file that is told of every fit.")
        fails_over: float = param(9.0, label="Fails over", help="X above which it refuses.")

    def _fit(self, data, ctx, validation):
        p = self.params
        if p.marker:
            with open(p.marker, "a") as file:
                file.write(f"{os.getpid()} {p.x!r} {p.y} {ctx.workdir}\\n")
        if p.x > p.fails_over:
            raise Unsupported(f"x was {p.x}.")
        end = time.monotonic() + p.seconds
        while time.monotonic() < end:
            ctx.check()
            time.sleep(0.01)
        self.noise = abs(p.x - 0.7) + 0.3 * abs(np.log10(p.y / 40))

    def _history_scores(self, histories):
        matrix = self.fitted.matrix("binary")
        scores = (histories.matrix(self.fitted.n_items) @ (matrix.T @ matrix)).toarray()
        scores /= scores.max(axis=1, keepdims=True) + 1e-9
        return scores + self.noise * np.random.default_rng(0).random(scores.shape)


class Net(Hill):
    """Tells after each of 20 passes how good it is: x of what can be reached."""

    key = "net"
    label = "Net"
    uses_validation = True

    def _fit(self, data, ctx, validation):
        super()._fit(data, ctx, validation)
        for epoch in range(1, 21):
            reached = self.params.x * (1 - 0.7**epoch)
            ctx.report("training", epoch / 20, epoch=epoch, epochs=20, metrics={"loss": 1 / epoch, "ndcg@20": reached})


for model in (Hill, Net):
    registry.register("model", model)
'''


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """With one dataset, "toy", and the planted models known here and to further processes."""
    (tmp_path / "hill_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RECSYS_PLUGINS", "hill_plugin")
    registry._import_outside.cache_clear()
    sys.modules.pop("hill_plugin", None)
    made = Workspace(tmp_path / "ws")
    made.add_dataset(tastes(80, 40, 4).train, "toy")
    yield made
    for key in ("hill", "net"):
        registry.unregister("model", key)
    registry._import_outside.cache_clear()


def asked(model="hill", params=None, **more) -> TuneSpec:
    return TuneSpec.make(train=TrainSpec(dataset="toy", model=model, params=params or {}, split_params={}), **more)


def tuned(workspace, spec, **context):
    return tune_in_workspace(workspace, spec, RunContext(threads=1, **context))


def points(trials) -> list[str]:
    return [json.dumps(t["params"], sort_keys=True) for t in trials]


def wait_for(condition, seconds=40.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


# ---- space -------------------------------------------------------------------------------------------
STATS = DatasetStats(943, 1600, 100_000, 700, has_time=True, has_ratings=True, has_item_table=False, has_user_table=False)


def test_every_model_declares_a_valid_space_that_holds_its_defaults():
    import optuna

    from recsys_core.tuning.study import _distribution

    searched = 0
    for key, model in registry.all_of("model").items():
        rows = describe_space(key, {}, STATS)
        main = [row for row in rows if row["searched"]]
        if not main:
            continue
        searched += 1
        space = make_space(model, {}, {}, STATS)
        assert [d.name for d in space.dimensions] == [row["name"] for row in main], key
        resolved = model().resolve(STATS)
        for d in space.dimensions:
            default = getattr(resolved, d.name)
            assert d.start == default or (default is None and any(d.label in note for note in space.notes)), f"{key}.{d.name}"
            distribution = _distribution(d)
            assert isinstance(distribution, optuna.distributions.BaseDistribution)
            assert distribution._contains(distribution.to_internal_repr(d.encode(d.start))), f"{key}.{d.name}"
            for value in d.grid():
                assert d.holds(value) and d.decode(d.encode(value)) == value, f"{key}.{d.name}"
                space.model.Params(**{d.name: value})  # inside its validity bounds
        assert space.problem(space.start) == "", key
        assert space.params(space.start).model_dump() == model().params.with_(**space.start).model_dump(), key
    assert searched > 20


def test_describing_a_space_imports_no_search_library():
    code = "import sys; from recsys_core.tuning import describe_space; describe_space('als'); print({'optuna', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_a_space_of_ones_own_is_held_against_the_rules():
    als = registry.get("model", "als")
    space = make_space(als, {"iterations": 7}, {"factors": [8, 24], "alpha": [1, 5, 25], "weighting": ["log", "linear"]}, STATS)
    by_name = {d.name: d for d in space.dimensions}
    assert (by_name["factors"].low, by_name["factors"].high, by_name["factors"].scale) == (8, 24, "log")
    assert by_name["alpha"].values == (1.0, 5.0, 25.0) and by_name["alpha"].kind == "choice"
    assert space.fixed == {"iterations": 7}
    assert space.start == {"factors": 24, "alpha": 1.0, "weighting": "log"}, "defaults outside are moved inside"
    assert len(space.notes) == 3 and "32" in space.notes[0] and "8 to 24" in space.notes[0]
    assert space.n_combinations == 4 * 3 * 2 == len({json.dumps(space.grid_point(n)) for n in range(24)})
    for wanted, words in (
        ({"factor": [1, 2]}, "Unknown parameter 'factor' for .*Did you mean 'factors'"),
        ({"factors": [0, 20]}, "factors .* at least 1 .*got 0"),
        ({"factors": [30, 20]}, "from low to high; got 30 to 20"),
        ({"factors": [20, 20]}, "from low to high; got 20 to 20"),
        ({"weighting": ["log", "cubic"]}, "weighting .*one of binary, log, linear.*got 'cubic'"),
        ({"factors": []}, "got none"),
    ):
        with pytest.raises(ParamError, match=words):
            make_space(als, {}, wanted, STATS)
    with pytest.raises(ParamError, match="nothing to search for Random"):
        make_space(registry.get("model", "random"), {}, {}, STATS)
    wide = {name: [low + n for n in range(30)] for name, low in (("factors", 1), ("alpha", 1), ("regularization", 1), ("iterations", 1))}
    with pytest.raises(ParamError, match="at most 100,000 combinations; this one has 810,000"):
        make_space(als, {}, wide, STATS).require_grid()


def test_what_this_data_does_not_allow_is_left_out():
    neumf = registry.get("model", "neumf")
    without = replace(STATS, has_ratings=False)
    space = make_space(neumf, {}, {}, without)
    assert "mse" not in next(d for d in space.dimensions if d.name == "loss").values
    assert any("mse is left out" in note and "ratings" in note for note in space.notes)
    assert "mse" in next(d for d in make_space(neumf, {}, {}, STATS).dimensions if d.name == "loss").values


def test_lists_and_switches_are_values_too():
    class Odd(registry.get("model", "popular")):
        class Params(Params):
            hidden: list[int] = param([8], label="Hidden", help="Layers.")
            on: bool = param(False, label="On", help="Switch.")
            free: float = param(1.0, label="Free", help="No range.", gt=0)

    space = make_space(Odd, {}, {"hidden": [[8], [16, 8]], "on": [True, False], "free": [0.1, 50]}, STATS)
    hidden, on, free = space.dimensions
    assert hidden.tokens == ["[8]", "[16, 8]"] and hidden.decode("[16, 8]") == [16, 8] and hidden.start == [8]
    assert on.start is False and on.decode(True) is True
    assert free.scale == "log", "a wide range without a declared scale goes by ratio"


def test_objectives_are_read_with_their_rules():
    assert objective_of("ndcg@20").label == "NDCG@20" and objective_of("ndcg@20").direction == "maximize"
    assert objective_of("rmse").k == 0 and objective_of("rmse").direction == "minimize"
    for name, error, words in (
        ("ndgc@20", NotFound, "Did you mean 'ndcg'"),
        ("ndcg", ParamError, "as in ndcg@20"),
        ("ndcg@0", ParamError, "from 1 to 1000"),
        ("rmse@5", ParamError, "Write rmse"),
    ):
        with pytest.raises(error, match=words):
            objective_of(name)


# ---- the search --------------------------------------------------------------------------------------
def test_tpe_beats_the_defaults_it_starts_from_and_is_the_same_twice(workspace, tmp_path):
    marker = tmp_path / "fits"
    study = tuned(workspace, asked(params={"marker": str(marker)}, n_trials=24), workdir=tmp_path / "checkpoints")
    trials = study.trials()
    assert [t["number"] for t in trials] == list(range(24)) and {t["state"] for t in trials} == {"complete"}
    assert trials[0]["params"] == {"x": 0.2, "y": 400}, "the first trial is the defaults"
    best = study.best
    assert best["values"][0] > trials[0]["values"][0] * 1.15
    assert abs(best["params"]["x"] - 0.7) < 0.25 and 5 < best["params"]["y"] < 320, "near the planted optimum"
    assert best["values"][0] == max(t["values"][0] for t in trials) and study.front == [best["number"]]
    assert len(set(points(trials))) == 24, "no point is tried twice"
    assert study.importance.keys() == {"x", "y"} and abs(sum(study.importance.values()) - 1) < 1e-9
    assert any("24 trials" in note for note in study.notes) and any("No trial was ended early" in note for note in study.notes)
    assert all(line.split()[-1] == "None" for line in marker.read_text().splitlines()), "trials get no folder for checkpoints"
    other = tuned(Workspace(tmp_path / "other"), asked(n_trials=24)) if _copied(workspace, tmp_path / "other") else None
    assert points(other.trials()) == points(trials) and [t["values"] for t in other.trials()] == [t["values"] for t in trials]


def _copied(workspace, root) -> bool:
    Workspace(root).add_dataset(workspace.dataset("toy").load(), "toy")
    return True


def test_a_random_search_and_a_grid_try_every_point_once(workspace):
    space = {"x": [0.1, 0.5, 0.7], "y": [4, 40, 400, 4000]}
    grid = tuned(workspace, asked(space=space, sampler="grid", n_trials=0, minutes=5))
    assert sorted(points(grid.trials())) == sorted(json.dumps({"x": x, "y": y}) for x in space["x"] for y in space["y"])
    assert grid.best["params"] == {"x": 0.7, "y": 40} and any("All 12 combinations" in note for note in grid.notes)
    drawn = tuned(workspace, asked(space=space, sampler="random", n_trials=30))
    assert len(set(points(drawn.trials()))) == len(drawn.trials()) <= 12, "what was tried is not drawn again"


def test_hopeless_networks_are_ended_early(workspace):
    for pruner in ("median", "halving"):
        study = tuned(workspace, asked("net", space={"x": [0.0, 1.0]}, sampler="random", pruner=pruner, n_trials=16))
        trials = study.trials()
        pruned = [t for t in trials if t["state"] == "pruned"]
        assert pruned and all(len(t["curve"]) < 20 and t["values"] is None and t["reason"] for t in pruned)
        complete = [t for t in trials if t["state"] == "complete"]
        assert all([c["epoch"] for c in t["curve"]] == list(range(1, 21)) for t in complete)
        top = max(trials, key=lambda t: t["params"]["x"])
        assert top["state"] == "complete", "the best learner is never ended early"
        assert trials[0]["state"] == "complete", "nor are the defaults, to which all is compared"
        assert not any("No trial was ended early" in note for note in study.notes)
    every = tuned(workspace, asked("net", space={"x": [0.0, 1.0]}, sampler="random", pruner="none", n_trials=8))
    assert {t["state"] for t in every.trials()} == {"complete"}


def test_a_figure_of_another_kind_ends_nothing(workspace):
    study = tuned(workspace, asked("net", space={"x": [0.0, 1.0]}, sampler="random", objectives=("novelty@20",), n_trials=10))
    assert {t["state"] for t in study.trials()} == {"complete"} and not any(t["curve"] for t in study.trials())
    assert any("No trial was ended early: Net" in note for note in study.notes)


def test_phases_of_a_network_are_not_compared_with_each_other():
    from recsys_core.context import Progress
    from recsys_core.tuning.pruning import Watch

    class Trial:
        told = []

        def report(self, value, step):
            self.told.append((step, value))

        def should_prune(self):
            return False

    watch = Watch(objective_of("recall@10"), Trial())
    for stage, epochs in (("First: training", 3), ("Second: training", 2)):
        for epoch in range(1, epochs + 1):
            watch.hear(Progress(stage, epoch=epoch, metrics={"loss": 0.1}))  # inside a pass
            watch.hear(Progress(stage, epoch=epoch, metrics={"loss": 0.1, "ndcg@20": epoch / 10}))
    assert watch.curve == [{"epoch": 1, "value": 0.1}, {"epoch": 2, "value": 0.2}] and Trial.told == [], "of the last phase"
    plain = Watch(objective_of("recall@10"), Trial())
    for _ in range(2):  # told again after going on
        plain.hear(Progress("training", epoch=1, metrics={"loss": 0.1, "ndcg@20": 0.3, "recall@5": 0.4}))
    assert Trial.told == [(1, 0.4)], "the same metric at another length stands nearest to the objective"


def test_two_objectives_give_the_front_of_a_slow_loop(workspace):
    study = tuned(workspace, asked("net", objectives=("ndcg@10", "gini@10"), n_trials=18))
    trials = study.trials()
    assert all(len(t["values"]) == 2 and len(t["curve"]) == 20 for t in trials)
    slow = []
    for t in trials:  # accuracy: higher is better; Gini: lower
        a, g = t["values"]
        beaten = [o for o in trials if o["values"][0] >= a and o["values"][1] <= g and o["values"] != t["values"]]
        if not beaten:
            slow.append(t["number"])
    assert study.front == slow and study.best["number"] in slow
    assert any("two objectives" in note for note in study.notes)


def test_a_fusion_is_searched_over_its_own_settings_with_parts_fitted_once(workspace, tmp_path):
    marker = tmp_path / "fits"
    fixed = {"models": ["hill", "item_knn"], "part_params": {"hill": {"marker": str(marker), "x": 0.5}}}
    study = tuned(workspace, asked("weighted", params=fixed, n_trials=9))
    trials = study.trials()
    assert sorted(t["params"]["normalization"] for t in trials) == ["minmax", "rank", "z"]
    assert any("no settings were left" in note for note in study.notes) and any("Weighted fusion is measured" in n for n in study.notes)
    assert len(marker.read_text().splitlines()) == 1, "the parts are the same in every trial"
    task, space, _ = tuning_jobs.prepare(workspace, tuning_jobs.resolved(workspace, asked("weighted", params=fixed)), RunContext())
    anew = [task.measure(space.params(t["params"]), RunContext(threads=1)) for t in trials]
    assert anew == [t["values"] for t in trials], "and give the same as parts fitted anew"


def test_a_trial_that_fails_costs_one_trial_and_says_why(workspace):
    study = tuned(workspace, asked(params={"fails_over": 0.5}, n_trials=10))
    states = Counter(t["state"] for t in study.trials())
    assert states["failed"] and states["complete"] and sum(states.values()) == 10
    assert all(t["reason"].startswith("x was") and not t["again"] for t in study.trials() if t["state"] == "failed")
    with pytest.raises(Unsupported, match=r"The first 3 trials failed\. x was 0\.2"):
        tuned(workspace, asked(params={"fails_over": -1}, n_trials=10))


def test_what_cannot_work_is_refused_before_anything_is_fitted(workspace, monkeypatch):
    with pytest.raises(Unsupported, match="needs ratings"):
        tuned(workspace, asked(objectives=("rmse",)))
    with pytest.raises(ParamError, match="Unknown parameter 'z'"):
        tuned(workspace, asked(space={"z": [0, 1]}))
    hill = registry.get("model", "hill")
    monkeypatch.setattr(hill, "cost", lambda self, stats: Cost(memory_bytes=2**50 if self.params.x > 0.5 else 0, seconds=1))
    study = tuned(workspace, asked(sampler="random", n_trials=8))
    assert len(study.trials()) == 8 and max(t["params"]["x"] for t in study.trials()) <= 0.5
    assert any("more memory than is free" in note for note in study.notes)
    workspace.delete(study.id)
    monkeypatch.setattr("recsys_core.jobs.memory.available_bytes", lambda: 1000)
    with pytest.raises(TooLarge, match="Hill"):
        tuned(workspace, asked())
    assert workspace.studies() == []


# ---- validation only ---------------------------------------------------------------------------------
def test_a_study_never_reads_the_test(workspace, monkeypatch):
    def forbidden():
        raise AssertionError("the test was read")

    def source(workspace, spec):
        return FilesSource(workspace.dataset("toy").load(), forbidden, spec.splitter())

    monkeypatch.setattr(tuning_jobs, "_source", source)
    for model, objectives in (("net", ("ndcg@20",)), ("ease", ("ndcg@20", "coverage@20"))):
        study = tuned(workspace, asked(model, objectives=objectives, n_trials=6))
        assert any(t["state"] == "complete" for t in study.trials())
        assert any("the test was not read" in note for note in study.notes)


def test_the_winner_is_trained_as_it_was_tried(workspace):
    study = tuned(workspace, asked(params={"seconds": 0.001}, n_trials=8, objectives=("recall@7",)))
    spec = best_spec(study)
    assert spec.params == {"seconds": 0.001, **study.best["params"]} and spec.ks == (5, 7, 10, 20)
    run = train_in_workspace(workspace, spec, RunContext(threads=1))
    assert run.name == "Hill (tuned)" and run.metrics["recall@7"]["mean"] > 0
    assert best_spec(study, 0).params["x"] == 0.2
    with pytest.raises(NotFound, match="trial 99 is not one that has finished"):
        best_spec(study, 99)


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
