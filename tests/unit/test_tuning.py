"""Search for better settings: spaces, points, pruning, fronts, and that only validation is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import DatasetStats
from recsys_core.errors import NotFound, ParamError, TooLarge, Unsupported
from recsys_core.jobs import tuning as tuning_jobs
from recsys_core.jobs.sources import FilesSource
from recsys_core.jobs.training import train_in_workspace
from recsys_core.jobs.tune_spec import best_spec
from recsys_core.models._base import Cost
from recsys_core.params import Params, param
from recsys_core.store import Workspace
from recsys_core.tuning import describe_space, make_space, objective_of

from .planted_search import asked, points, tuned
from .planted_search import workspace as workspace  # a fixture

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
