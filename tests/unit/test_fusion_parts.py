"""What holds for every fusion: runs as parts are not trained again, what was learnt is kept, parts can be told apart."""

from __future__ import annotations

import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.models._io import load_model, save_model
from recsys_core.params import fields

FUSED = [key for key in registry.keys("model") if registry.module_of("model", key).startswith("recsys_core.fusion.")]


@pytest.fixture(scope="module")
def trained():
    """Two runs of a workspace: each as fitted on all of train ("final") and as beside validation ("fit")."""
    from recsys_core.testing._checks import cut_validation
    from recsys_core.testing.datasets import tastes

    train = tastes().train
    part, validation = cut_validation(train)
    models = {
        (key, which): registry.get("model", key)().fit(data)
        for key in ("ease", "item_knn")
        for which, data in (("final", train), ("fit", part))
    }
    return train, part, validation, models


@pytest.mark.parametrize("key", FUSED)
def test_runs_are_parts_that_are_not_trained_again(trained, key, monkeypatch, tmp_path):
    from recsys_core.testing._checks import small_params

    train, part, validation, models = trained
    cls = registry.get("model", key)
    for name in ("ease", "item_knn"):
        monkeypatch.setattr(registry.get("model", name), "_fit", lambda *_: pytest.fail("a part was trained again"))
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[(run_id, which)])
    values = small_params(cls) | {"models": ["run:ease", "run:item_knn"]}
    model = cls(**values)
    if model.wants_validation():
        beside = model.fit(part, ctx, validation=validation)
        assert {id(p) for p in beside.parts} <= {id(models[(name, "fit")]) for name in ("ease", "item_knn")}
        model = beside.for_refit()
        assert not model.wants_validation(), "what was learnt is kept, not learnt anew"
    model.fit(train, ctx)
    assert model.parts and {id(p) for p in model.parts} <= {id(models[(name, "final")]) for name in ("ease", "item_knn")}
    assert not [note for note in model.notes if "trained" in note]
    found = model.findings()
    assert {p["name"] for p in found["parts"]} <= {"run:ease", "run:item_knn"}
    assert sum(p["weight"] for p in found["parts"]) == pytest.approx(1)
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert loaded.findings() == found
    assert sorted(loaded.explain(3, user=0).refs) == sorted(p["label"] for p in found["parts"])


def test_runs_without_a_fit_beside_validation_are_trained_once_more_and_it_is_said_once(trained):
    train, part, validation, models = trained
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[(run_id, "final")])
    model = registry.get("model", "weighted")(models=["run:ease", "run:item_knn"]).fit(part, ctx, validation=validation)
    assert model.parts[0] is not models[("ease", "final")] and model.parts[0].fitted is part
    [said] = [note for note in model.notes if "once more" in note]
    assert said.startswith("EASE and Item neighbours were trained once more without the held-out part")
    final = model.for_refit().fit(train, ctx)
    assert final.parts[0] is models[("ease", "final")] and not [note for note in final.notes if "once more" in note]


def test_two_runs_of_one_kind_can_be_told_apart(trained):
    train, *_, models = trained
    ctx = RunContext(threads=1, load_run=lambda run_id, which="final": models[("ease", "final")])
    model = registry.get("model", "average")(models=["run:a", "run:b", "item_knn"]).fit(train, ctx)
    assert model.part_labels() == ["EASE 1", "EASE 2", registry.get("model", "item_knn").label]
    assert len(set(model.explain(3, user=0).refs)) == 3


def test_every_fusion_declares_its_parts():
    """Forms and commands rely on it."""
    for key in FUSED:
        names = [f.name for f in fields(registry.get("model", key).Params)]
        assert "models" in names, key
