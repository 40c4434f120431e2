"""Fusion on the pages: choosing parts and weights on Train, what was found on Compare, shares of the parts on Inspect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import RunEntry, Workspace
from ui.fusion_findings import part_titles
from ui.fusion_form import first_parts, is_fused, part_names

ONE = RunContext(threads=1)


def _data():
    rng = np.random.default_rng(0)
    taste = np.add.outer(np.arange(60) % 3, np.arange(30)) % 3 == 0
    user, item = np.nonzero(rng.random((60, 30)) < np.where(taste, 0.6, 0.1))
    return from_frame(pd.DataFrame({"user": user, "item": item}))


def _train(workspace: Workspace, model: str, params: dict | None = None, **more) -> RunEntry:
    [entry] = workspace.datasets()
    return train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, params=params or {}, **more), ONE)


@pytest.fixture
def saved(workspace_root: Path) -> tuple[Workspace, str]:
    workspace = Workspace(workspace_root)
    return workspace, workspace.add_dataset(_data(), "Films").id


def _fused() -> list[str]:
    """Those that combine several models."""
    return [key for key, cls in registry.all_of("model").items() if is_fused(cls) and cls.Params.most_parts != 1]


def _queued(workspace: Workspace) -> dict[str, TrainSpec]:
    return {job.train_spec.model: job.train_spec for job in JobQueue(workspace).jobs()}


# ---- the form ------------------------------------------------------------------------------------
def test_every_fusion_has_the_form_and_can_be_trained_from_it(open_page, saved) -> None:
    workspace, dataset_id = saved
    run = _train(workspace, "popular")
    at = open_page("train", dataset=dataset_id)
    assert {"weighted", "average", "rank_fusion", "switching", "cascade"} <= set(_fused())
    for key in ("item_knn", "pure_svd", *_fused()):
        at.checkbox(key=f"pick-{key}").check()
    at.run()
    for key in _fused():
        parts = at.multiselect(key=f"fusion-parts-{key}")
        optional = not registry.get("model", key).Params().models
        assert parts.value == ([] if optional else ["item_knn", "pure_svd"]), f"{key} starts with what is chosen above"
        assert parts.options[0].endswith("(trained already)") and [o for o in parts.options if o.endswith("(chosen above)")]
        assert not any(registry.get("model", other).label in option for other in _fused() for option in parts.options)
        if not optional:
            parts.set_value([f"run:{run.id}", "item_knn"])
    at.run()
    assert not at.error
    at.button(key="train-chosen").click().run()
    queued = _queued(workspace)
    assert set(queued) == {"item_knn", "pure_svd", *_fused()}
    for key in _fused():
        expected = [] if not registry.get("model", key).Params().models else [f"run:{run.id}", "item_knn"]
        assert queued[key].model_params().models == expected
    assert queued["average"].title == "Average fusion: Most popular + Item neighbours", "not the ids of results"


def test_parts_follow_the_page_until_somebody_chooses(open_page, text_of, saved) -> None:
    at = open_page("train", dataset=saved[1])
    at.checkbox(key="pick-average").check().run()
    parts = "fusion-parts-average"
    assert at.multiselect(key=parts).value == ["ease", "als", "item_knn"]
    at.checkbox(key="pick-popular").check().run()
    assert at.multiselect(key=parts).value == ["popular", "ease", "als", "item_knn"]
    at.checkbox(key="pick-pure_svd").check().run()
    assert at.multiselect(key=parts).value == ["popular", "pure_svd"]
    said = text_of(at).replace("\\", "")
    assert "Most popular and PureSVD: trained as part of it, with the settings chosen above." in said
    at.multiselect(key=parts).set_value(["popular", "ease"]).run()
    at.checkbox(key="pick-als").check().run()
    assert at.multiselect(key=parts).value == ["popular", "ease"], "what somebody chose stays"
    at.multiselect(key=parts).set_value([]).run()
    assert "must name at least one model; got none" in text_of(at).replace("\\", "") and at.button(key="train-chosen").disabled


def test_results_are_where_the_choice_starts_and_a_deleted_one_leaves_it(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    run = _train(workspace, "item_knn", name="My *neighbours*")
    other = _train(workspace, "popular")
    _train(workspace, "popular", seed=3)
    fused = _train(workspace, "average", {"models": [f"run:{run.id}", f"run:{other.id}"]})
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-average").check().run()
    parts = at.multiselect(key="fusion-parts-average")
    assert parts.value == ["ease", "als", f"run:{run.id}"], "the result of a model stands for it"
    assert sum(option.endswith("(trained already)") for option in parts.options) == 2, "of this split, and no fusion"
    assert r"My \*neighbours\*: already trained, reused" in text_of(at)
    parts.set_value([f"run:{run.id}", f"run:{other.id}"]).run()
    assert "is trained already with these settings" in text_of(at)
    workspace.delete(other.id, with_dependents=True)
    assert not workspace.has_run(fused.id)
    at.run()
    assert at.multiselect(key="fusion-parts-average").value == [f"run:{run.id}"]


def test_a_switch_by_hand_and_the_model_that_orders(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    for key in ("popular", "item_knn", "switching", "cascade"):
        at.checkbox(key=f"pick-{key}").check()
    at.run()
    at.selectbox(key="form-switching/balanced/limits").set_value("set by hand").run()
    assert "one number fewer than the 2 models; got none" in text_of(at).replace("\\", "")
    at.text_input(key="form-switching/balanced/limits/list").set_value("12").run()
    orders = at.selectbox(key="fusion-order_by-cascade")
    assert orders.value == "item_knn" and orders.options == ["Most popular", "Item neighbours"]
    orders.set_value("popular").run()
    at.button(key="train-chosen").click().run()
    queued = _queued(workspace)
    assert queued["switching"].model_params().limits == [12]
    assert queued["cascade"].model_params().order_by == "popular"
    at.multiselect(key="fusion-parts-cascade").set_value(["item_knn", "ease"]).run()
    assert at.selectbox(key="fusion-order_by-cascade").value == "ease", "one that is no part any more cannot order"


def test_a_bridge_is_built_on_one_model(open_page, workspace_root) -> None:
    workspace, data = Workspace(workspace_root), _data()
    table = pd.DataFrame({"shelf": [f"shelf {n % 3}" for n in range(data.n_items)]})
    at = open_page("train", dataset=workspace.add_dataset(replace(data, item_table=table), "Films").id)
    at.checkbox(key="pick-cold_bridge").check().run()
    part = "fusion-parts-cold_bridge"
    assert at.selectbox(key=part).value == "ease" and not [option for option in at.selectbox(key=part).options if "fusion" in option]
    at.checkbox(key="pick-item_knn").check().run()
    assert at.selectbox(key=part).value == "item_knn", "it follows what is chosen above"
    at.selectbox(key=part).set_value("als").run()
    at.checkbox(key="pick-popular").check().run()
    assert at.selectbox(key=part).value == "als", "what somebody chose stays"
    assert not at.error
    at.button(key="train-chosen").click().run()
    assert _queued(workspace)["cold_bridge"].model_params().models == ["als"]


def test_the_form_is_made_from_the_declaration() -> None:
    offer = {key: SimpleNamespace(key=key, label=key.upper(), family="Linear", why_not="") for key in "abc"}
    offer["c"].why_not = "Needs ratings."
    runs = [SimpleNamespace(id=f"r{n}", name=f"run {n}", model_key="b", manifest={"family": "Linear"}) for n in (1, 2)]
    runs.append(SimpleNamespace(id="r3", name="fused", model_key="x", manifest={"family": "Fused"}))
    names = part_names(offer, runs, {"a": None})
    assert list(names) == ["run:r1", "run:r2", "a", "b"] and names["a"] == "A (chosen above)" and names["b"] == "B (trained anew)"
    assert first_parts(["a", "b"], names, ["a"], runs) == ["a", "run:r1"], "the newest result"
    assert first_parts(["a", "b"], names, [], []) == ["a", "b"]
    assert first_parts([], names, ["a", "b"], runs) == [], "a fusion that declares no parts finds them itself"


# ---- what was found ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Workspace:
    """A workspace with two models and fusions of these two results; the tests only read it, save for findings of `average`."""
    workspace = Workspace(tmp_path_factory.mktemp("fusions"))
    workspace.add_dataset(_data(), "Films")
    parts = [f"run:{_train(workspace, 'item_knn', name='Mine *one*').id}", f"run:{_train(workspace, 'popular').id}"]
    _train(workspace, "average", {"models": parts})
    _train(workspace, "weighted", {"models": parts, "weights": [3, 1]})
    _train(workspace, "switching", {"models": parts, "limits": [8]})
    _train(workspace, "cascade", {"models": [parts[0], "ease", parts[1]], "candidates": 5})
    return workspace


def _run(workspace: Workspace, model: str) -> RunEntry:
    return next(run for run in workspace.runs() if run.model_key == model)


def _card(open_page, text_of, monkeypatch, workspace: Workspace, run: RunEntry) -> str:
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    at = open_page("compare", dataset=run.dataset_id, runs=",".join(r.id for r in workspace.runs()), run=run.id)
    return text_of(at).replace("\\", "")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("average", ["Mine *one* and Most popular count the same."]),
        ("weighted", ["**What each part counts**"]),
        ("switching", ["**Which part serves whom?**", "Users by how many items"]),
        (
            "cascade",
            ["**How much of what users took do the candidates hold?**", "The first 5 of Mine *one* and EASE, ", "Most popular puts them"],
        ),
        ("item_knn", []),
    ],
)
def test_a_run_card_shows_what_the_fusion_found(open_page, text_of, monkeypatch, workspace_root, found, model, said) -> None:
    text = _card(open_page, text_of, monkeypatch, found, _run(found, model))
    assert all(sentence in text for sentence in said), text
    others = {"**What each part counts**", "count the same", "**Which part serves whom?**", "do the candidates hold?"}
    assert not [o for o in others if o in text and not any(o in s for s in said)]


def test_gates_steps_and_evidence_are_drawn(open_page, text_of, monkeypatch, workspace_root, found) -> None:
    run = _run(found, "average")
    manifest = json.loads((run.path / "manifest.json").read_text())
    before = json.dumps(manifest)
    gates = {"segments": ["up to 5 items", "more"], "values": [[0.9, 0.1], [0.2, 0.8]]}
    steps = ["Tried *two* models.", "Kept both."]
    rows = [{"label": label, "n_held_out": 20, "ndcg": [0.1, 0.2]} for label in gates["segments"]]
    manifest["findings"] |= {"gates": gates, "steps": steps, "evidence": rows}
    manifest["notes"] = [*steps, "Took 3 s."]
    for part, alone in zip(manifest["findings"]["parts"], (0.3, 0.2), strict=True):
        part["alone"] = alone
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    try:
        text = _card(open_page, text_of, monkeypatch, found, run)
    finally:
        (run.path / "manifest.json").write_text(before)
    assert "**For whom does each part count?**" in text and "**What each part counts**" in text
    assert "1. Tried *two* models.\n2. Kept both." in text and text.count("Kept both.") == 1, "steps are not said twice"
    assert "**Which part is best for whom?**" in text and "Measured on 40 held-out users." in text
    assert "Took 3 s." in text and "**How good is each part by itself?**" in text


def test_findings_of_other_kinds_and_deleted_parts_do_no_harm(open_page, text_of, monkeypatch, workspace_root, found) -> None:
    from ui import fusion_findings

    monkeypatch.setattr(fusion_findings.state, "workspace", lambda: found)
    parts = [{"name": "run:gone", "label": "ALS 1", "weight": 0.5}, {"name": "ease", "label": "EASE", "weight": 0.5}]
    run = _run(found, "item_knn")
    parts += [{"name": f"run:{run.id}", "label": f"Item neighbours {n}", "weight": 0} for n in (1, 2)]
    assert part_titles({"parts": parts}) == {
        "ALS 1": "ALS 1",
        "EASE": "EASE",
        "Item neighbours 1": "Mine *one*",
        "Item neighbours 2": "Item neighbours 2",
    }
    assert part_titles({}) == {}


def test_shares_of_parts_never_exceed_the_whole(monkeypatch, found) -> None:
    from ui import inspect_reasons

    shown, said = [], []
    why = SimpleNamespace(
        refs=("Item neighbours", "EASE", "Most popular"),
        contributions=(3.0, 0.0, -1.0),
        total=2.0,
        kind="models",
        exact=True,
        method="Adds up.",
    )
    monkeypatch.setattr(inspect_reasons.state, "scorer", lambda: SimpleNamespace(explain=lambda *_, **__: why))
    monkeypatch.setattr(inspect_reasons.state, "workspace", lambda: found)
    monkeypatch.setattr(inspect_reasons.st, "progress", lambda value, text: shown.append((value, text.replace("\\", ""))))
    monkeypatch.setattr(inspect_reasons.st, "caption", said.append)
    run = _run(found, "average")
    inspect_reasons.reasons(run, "x", {}, None)
    assert shown == [(0.75, "Mine *one* · 75%"), (0.0, "EASE · has no say here"), (0.0, "Most popular · 25% against it")]
    assert said == [r"Adds up\."]
    why.contributions = (0.0, 0.0, 0.0)
    inspect_reasons.reasons(run, "x", {}, None)
    assert len(shown) == 3 and "say nothing of it" in said[-1]
