"""A bundle answers in a process that has numpy alone: what trained it is never loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_core import registry
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing._checks import ONE
from recsys_core.testing.datasets import tastes

REPO = Path(__file__).resolve().parents[2]
TRAINERS = {"torch", "scipy", "pandas", "sklearn", "implicit", "pydantic", "streamlit", "plotly", "optuna"}

ANSWER = """
import json, sys
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
bundle = Bundle.open(sys.argv[1])
codes, scores = bundle.best(History.of(bundle.items.encode(["i3", "i8"])), 5)
known, _ = bundle.best(bundle.history(2), 5, user=2)
print(json.dumps({"codes": codes.tolist(), "scores": scores.tolist(), "known": known.tolist(), "loaded": list(sys.modules)}))
"""
FORMS = """
import json, sys
from recsys_core import registry
print(json.dumps({"forms": sorted(registry.all_of("form")), "loaded": list(sys.modules)}))
"""


def answer(code: str, *arguments: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPO, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def heavy(found: dict) -> set[str]:
    return {name.split(".")[0] for name in found["loaded"]} & TRAINERS


@pytest.mark.parametrize(("key", "params"), [("ease", {}), ("pure_svd", {"factors": 8})])
def test_a_bundle_recommends_without_what_trained_it(key, params, tmp_path):
    model = registry.get("model", key)(**params).fit(tastes().train, ONE)
    write_bundle(model, tmp_path / "bundle.zip")
    found = answer(ANSWER, str(tmp_path / "bundle.zip"))
    assert heavy(found) == set()
    known = model.recommend([2], 5)
    assert found["known"] == known.items[0].tolist()
    assert len(found["codes"]) == 5 and not {3, 8} & set(found["codes"])
    assert found["scores"] == sorted(found["scores"], reverse=True)


def test_every_form_is_listed_without_what_trains():
    found = answer(FORMS)
    assert heavy(found) == set() and {"item_weights", "als"} <= set(found["forms"])
    assert "onnxruntime" not in found["loaded"]  # only what holds a network loads it
