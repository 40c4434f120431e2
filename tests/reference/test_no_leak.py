"""The test part is opened after the last fit, and what it holds changes nothing that is learnt: weights, gates, stopping, tuning.

Two detectors. One plants a test that fails when it is read before the fit has ended, once as a file, once as the held-out part of a
split in memory. The other permutes what was held out and asks for bit-identical models.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.holdout import Holdout
from recsys_core.jobs import TrainSpec, training, tuning
from recsys_core.jobs.sources import FilesSource, RuleSource
from recsys_core.jobs.training import train_run
from recsys_core.jobs.tune_spec import TuneSpec
from recsys_core.models._base import Recommender
from recsys_core.splitting._base import Split
from recsys_core.splitting.cold_items import ColdItems
from recsys_core.splitting.own_test import OwnTest
from recsys_core.splitting.random import RandomPerUser
from recsys_core.store import Workspace
from recsys_core.testing.datasets import tastes
from recsys_core.testing.features import planted_fields

PAIR = ["ease", "item_knn"]
# What learns from held-out data, with the smallest settings that still learn.
LEARNERS: dict[str, dict[str, Any]] = {
    "weighted": {"models": PAIR},
    "stacking": {"models": PAIR, "epochs": 3},
    "stacking trees": {"models": PAIR, "learner": "trees"},
    "switching": {"models": PAIR},
    "cascade": {"models": PAIR},
    "auto_fusion": {"models": [*PAIR, "pure_svd"]},
    "mult_vae": {"epochs": 6, "patience": 2, "latent": 8},
    "anil": {"epochs": 3, "patience": 2, "factors": 8, "inner_steps": 1},
}
# What reads features, and serves items that are kept out of training altogether.
READERS: dict[str, dict[str, Any]] = {
    "m6_rec": {"epochs": 3, "patience": 2, "factors": 8, "levels": 1},
    "m6_rec with histories of items": {"epochs": 2, "patience": 1, "factors": 8, "item_history": "users"},
    "melu": {"epochs": 2, "patience": 1, "factors": 8, "inner_steps": 1},
    "meta_average": {"models": ["fomaml", "anil"], "part_params": {key: {"epochs": 2, "inner_steps": 1} for key in ("fomaml", "anil")}},
    "cold_bridge": {"models": ["ease"]},
    "cold_bridge of a learner": {"models": ["mult_vae"], "part_params": {"mult_vae": LEARNERS["mult_vae"]}},
    "feature_mf": {"factors": 8, "iterations": 4},
    "content_knn": {},
    "feature_ease": {},
    "stacking with tables": {"models": PAIR, "epochs": 2, "tables": True},
}
SPEC = {"dataset": "planted", "split": "own_test", "ks": (5,), "keep_top": 5, "seed": 7}


@dataclass
class Trap:
    """Says "leak" when the test is read while `fitting`, and counts how often it was read at all."""

    fitting: bool = True
    read: int = 0

    def spring(self) -> None:
        assert not self.fitting, "LEAK: the test was read before the model was fitted"
        self.read += 1


@pytest.fixture
def trap(monkeypatch) -> Trap:
    """Opens when `train_run`'s own fit returns, and not before."""
    trap, fit = Trap(), training.fit

    def watched(*args: Any, **more: Any) -> Any:
        out = fit(*args, **more)
        trap.fitting = False
        return out

    monkeypatch.setattr(training, "fit", watched)
    return trap


class TrappedSplit(Split):
    """A split in memory whose test springs the trap."""

    def __getattribute__(self, name: str) -> Any:
        if name == "test":
            object.__getattribute__(self, "trap").spring()
        return object.__getattribute__(self, name)


class TrappedRule(RandomPerUser):
    """The random rule, with the test of the case, trapped. Validation is cut from what it gives as train."""

    trap: Trap
    held_out: Holdout

    def splits(self, data: Any, ctx: RunContext) -> Any:
        split = TrappedSplit(data, self.held_out)
        object.__setattr__(split, "trap", self.trap)
        yield split


@pytest.fixture(scope="module")
def case():
    return tastes(n_users=90, n_items=60)


def frame(case: Any, items: np.ndarray | None = None) -> pd.DataFrame:
    truth, ids = case.held_out.truth, case.train
    items = truth.item if items is None else items
    return pd.DataFrame({"user": ids.users.ids[truth.user], "item": ids.items.ids[items], "value": truth.value})


def trained(name: str, source: Any) -> tuple[Recommender, Recommender | None]:
    """(the final model, the one fitted beside validation), by the way every run comes into being."""
    spec = TrainSpec(**SPEC, model=name.split()[0], params=(LEARNERS | READERS)[name])
    kept: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        train_run(spec, source, Path(folder), RunContext(threads=1), keep=kept.append)
    return kept[0].model, kept[0].fit_model


def learnt(model: Recommender | None) -> dict[str, Any]:
    """Everything a model has learnt, its parts' too, flat: parameters, arrays, numbers."""
    if model is None:
        return {}
    flat: dict[str, Any] = {"params": model.params.model_dump(), "resolved": model.resolved.model_dump()}
    for name, value in model._state().items():
        value = value.toarray() if hasattr(value, "toarray") else value
        flat[name] = value.numpy(force=True) if hasattr(value, "numpy") else value
    for number, part in enumerate(model._parts()):
        flat |= {f"{number}/{name}": value for name, value in learnt(part).items()}
    return flat


def assert_identical(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == other[name].dtype and value.tobytes() == other[name].tobytes(), f"{name} depends on the test"
        elif name.rpartition("/")[2] not in TIMED:
            assert value == other[name], f"{name} depends on the test"


TIMED = {"steps"}  # sentences that tell seconds


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_that_learns_reads_the_test_and_what_it_holds_changes_nothing(name, case, trap):
    results = []
    for seed in (None, 1):
        items = None if seed is None else np.random.default_rng(seed).permutation(case.held_out.truth.item)
        trap.fitting, trap.read = True, 0

        def read_test(items: Any = items) -> pd.DataFrame:
            trap.spring()
            return frame(case, items)

        final, beside = trained(name, FilesSource(case.train, read_test, OwnTest()))
        assert trap.read == 1, "the test is opened once"
        assert beside is not None, "it did not learn from held-out data, so the test above tests nothing"
        results.append((learnt(final), learnt(beside)))
    assert len(results[0][0]) > 2
    assert_identical(results[0][0], results[1][0])
    assert_identical(results[0][1], results[1][1])


class GivenNewItems(ColdItems):
    """The rule of new items, with the test of the case. Validation is cut from what it gives as train."""

    held_out: Holdout

    def splits(self, data: Any, ctx: RunContext) -> Any:
        yield Split(data, self.held_out, parts={"new_items": self.held_out})


@pytest.mark.parametrize("name", READERS)
def test_what_became_of_new_items_changes_nothing_that_reads_their_features(name):
    """Who chose the items kept out, when and how they were rated is mixed up; features, gates, bridges and weights stay to the bit."""
    case = planted_fields(n_users=70, n_items=60)
    truth, results, lists = case.new.truth, [], []
    for seed in (None, 1):
        order = np.arange(len(truth)) if seed is None else np.random.default_rng(seed).permutation(len(truth))
        rule = GivenNewItems(min_interactions=2)
        mixed = replace(truth, item=truth.item[order], time=truth.time[order][::-1].copy(), value=truth.value + (seed or 0))
        rule.held_out = replace(case.new, truth=mixed)
        final, beside = trained(name, RuleSource(case.train, rule))
        results.append((learnt(final), learnt(beside)))
        lists.append(final.recommend(np.arange(20), 5, candidates=case.new_items).items)
    assert len(results[0][0]) > 2 and (lists[0] >= 0).any()
    assert_identical(results[0][0], results[1][0])
    assert_identical(results[0][1], results[1][1])
    np.testing.assert_array_equal(*lists)


@pytest.mark.parametrize("name", ["weighted", "auto_fusion", "mult_vae"])
def test_nothing_that_learns_looks_at_the_test_part_of_a_split_in_memory(name, case, trap):
    rule = TrappedRule()
    rule.trap, rule.held_out = trap, case.held_out
    trained(name, RuleSource(case.train, rule))
    assert trap.read >= 1 and not trap.fitting


@pytest.mark.parametrize(
    ("model", "params", "space"),
    [
        ("ease", {}, {"regularization": [1.0, 1000.0]}),
        ("mult_vae", {"epochs": 3, "latent": 8}, {"learning_rate": [0.001, 0.1]}),
        ("weighted", {"models": PAIR}, {"normalization": ["z", "rank"]}),
    ],
)
def test_a_search_for_settings_never_reads_the_test(model, params, space, case, tmp_path, monkeypatch):
    def read_test() -> pd.DataFrame:
        raise AssertionError("LEAK: the test was read while tuning")

    workspace = Workspace(tmp_path / "ws")
    workspace.add_dataset(case.train, "planted")
    monkeypatch.setattr(tuning, "_source", lambda *_: FilesSource(case.train, read_test, OwnTest()))
    train = {"dataset": "planted", "model": model, "params": params, "seed": 7}
    spec = TuneSpec(train=TrainSpec(**train), space=space, n_trials=3, objectives=("ndcg@5",))
    found = registry.get("job", "tune")().run(spec.model_dump(mode="json"), workspace, RunContext(threads=1))
    trials = workspace.study(found["study"]).trials()
    finished = [trial for trial in trials if trial["values"] is not None]
    assert len(finished) >= 2 and not any("LEAK" in str(trial) for trial in trials)


class Peeping(Recommender):
    """A model that cheats: what the detectors are for."""

    key, label, family, summary = "peeping", "Peeping", "Test", "Reads the test while it is fitted."
    uses_validation = True
    look: Any = None

    def _fit(self, data: Any, ctx: RunContext, validation: Any) -> None:
        self.seen = Peeping.look()

    def _history_scores(self, histories: Any) -> np.ndarray:
        return np.zeros((len(histories), self.fitted.n_items), np.float32)

    def _state(self) -> dict[str, Any]:
        return {"seen": self.seen}


@pytest.fixture
def peeping(monkeypatch):
    registry.register("model", Peeping)
    monkeypatch.setitem(LEARNERS, "peeping", {})
    yield Peeping
    registry.unregister("model", "peeping")


def test_the_trap_catches_a_model_that_peeps(case, trap, peeping):
    def read_test() -> pd.DataFrame:
        trap.spring()
        return frame(case)

    peeping.look = staticmethod(read_test)
    with pytest.raises(AssertionError, match="LEAK"):
        trained("peeping", FilesSource(case.train, read_test, OwnTest()))
    rule = TrappedRule()
    rule.trap, rule.held_out = trap, case.held_out
    peeping.look = staticmethod(lambda: next(rule.splits(case.train, RunContext())).test)
    with pytest.raises(AssertionError, match="LEAK"):
        trained("peeping", RuleSource(case.train, rule))


def test_the_comparison_catches_a_model_that_knows_the_test_by_another_way(case, peeping):
    results = []
    for items in (case.held_out.truth.item, case.held_out.truth.item[::-1].copy()):
        peeping.look = staticmethod(lambda items=items: items)
        results.append(learnt(trained("peeping", FilesSource(case.train, lambda: frame(case), OwnTest()))[0]))
    with pytest.raises(AssertionError, match="depends on the test"):
        assert_identical(*results)
