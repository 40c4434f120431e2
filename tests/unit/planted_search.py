"""Models with a planted optimum, a workspace that knows them, and what the tests of searches share.

The models are a module of their own, which further processes import through RECSYS_PLUGINS.
"""

from __future__ import annotations

import json
import sys
import time

import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.tune_spec import TuneSpec
from recsys_core.jobs.tuning import tune_in_workspace
from recsys_core.store import Workspace
from recsys_core.testing.datasets import tastes

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
