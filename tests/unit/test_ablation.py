"""Ablations: effects worked out by hand, seeds pooled, what was done kept, a planted effect found and a null effect left unsure."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.errors import BadInput, Cancelled, ParamError, Unsupported
from recsys_core.evaluation import compare
from recsys_core.evaluation.ablation import MODES, axis_of, key, make_plan
from recsys_core.evaluation.ablation_effects import Effect, effects, training_noise, variants_to_base
from recsys_core.evaluation.ablation_words import axis_sentence, best_sentence, between, clear_axes, settings_text, to_base
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.ablation import ablate, apart
from recsys_core.jobs.ablation_spec import AblationSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._base import Recommender
from recsys_core.params import Params, param
from recsys_core.store import Workspace

ONE, ALL = MODES
RNG = np.random.default_rng(0)


def _same(settings):
    return settings


def _axes():
    return [axis_of("levels", "Levels", [2, 0, 1], 2), axis_of("text", "Text", [True, False], True)]


# ---- plans ---------------------------------------------------------------------------------------
def test_plans_hold_the_base_first_and_every_change_once():
    levels, text = _axes()
    assert levels.values == (0, 1, 2) and levels.ordered and text.switch and not text.ordered
    plan = make_plan([levels, text], ONE, _same, RNG)
    assert [list(v.values()) for v in plan.variants] == [[2, True], [0, True], [1, True], [2, False]]
    whole = make_plan([levels, text], ALL, _same, RNG)
    assert whole.variants[0] == {"levels": 2, "text": True} and whole.n_combinations == 6
    assert axis_of("levels", "Levels", [0, 1], 3).values == (0, 1, 3), "the base is always among them"
    with pytest.raises(ParamError, match="one value only"):
        axis_of("levels", "Levels", [2], 2)
    with pytest.raises(ParamError, match="at most"):
        make_plan([axis_of(n, n, list(range(20)), 0) for n in "abc"], ALL, _same, RNG)


def test_settings_that_change_nothing_share_a_training():
    axes = [axis_of("levels", "Levels", [0, 1], 1), axis_of("fuser", "Fuser", ["sum", "gate", "attention"], "sum")]
    plan = make_plan(axes, ALL, lambda s: s | {"fuser": "sum"} if s["levels"] == 0 else s, RNG)
    assert len(plan.cells) == 6 and plan.n_combinations == 4 == len(plan.variants)
    standing = {number for settings, number in plan.cells if settings["levels"] == 0}
    assert len(standing) == 1


def test_every_beginning_of_all_combinations_is_balanced():
    axes = [axis_of("a", "A", [0, 1, 2], 0), axis_of("b", "B", ["x", "y"], "x"), axis_of("c", "C", [True, False], True)]
    order = make_plan(axes, ALL, _same, RNG).variants
    for name, values in (("a", (0, 1, 2)), ("b", ("x", "y")), ("c", (True, False))):
        counts = [sum(v[name] == value for v in order[:6]) for value in values]
        assert max(counts) - min(counts) <= 1, (name, counts)
    assert len({key(v) for v in order}) == 12


# ---- effects -------------------------------------------------------------------------------------
def test_one_change_at_a_time_is_the_paired_comparison_of_compare():
    plan = make_plan(_axes(), ONE, _same, RNG)
    values = np.random.default_rng(1).random((1, 4, 40))
    found = effects(values, plan, {0, 1, 2, 3}, "ndcg@10")
    frames = [pd.DataFrame({"ndcg@10": row}) for row in values[0]]
    for axis, value, number in (("levels", 0, 1), ("levels", 1, 2), ("text", False, 3)):
        ours = to_base(next(a for a in plan.axes if a.name == axis), found)[value]
        theirs = compare(frames[0], frames[number], "ndcg@10")
        for name in ("difference", "low", "high", "p_value", "relative", "mean_a", "mean_b", "wins", "losses", "effect_size"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name)), name
        assert ours.n_compared == 3, "two levels and text beside the base"
    alone = variants_to_base(values, plan, {0, 1, 2, 3}, "ndcg@10")
    assert alone[3].found.difference == pytest.approx(values[0, 3].mean() - values[0, 0].mean()) and 0 not in alone
    turned = between(plan.axes[0], found, 1, 2)
    assert turned.difference == pytest.approx(values[0, 0].mean() - values[0, 2].mean()) and turned.low < turned.difference < turned.high
    assert [Effect.from_dict(json.loads(json.dumps(e.as_dict()))).found.p_holm for e in found] == [e.found.p_holm for e in found]


def _grid():
    """Two switches, worked by hand; users 1 and 2. a is worth .2 and .4 with b, .1 and .1 without it."""
    axes = [axis_of("a", "A", [True, False], True), axis_of("b", "B", [True, False], True)]
    plan = make_plan(axes, ALL, _same, RNG)
    told = {(True, True): (0.6, 0.8), (False, True): (0.4, 0.4), (True, False): (0.3, 0.5), (False, False): (0.2, 0.4)}
    values = np.array([[told[v["a"], v["b"]] for v in plan.variants]])
    return plan, values


def test_of_all_combinations_an_effect_is_the_mean_over_the_others():
    plan, values = _grid()
    found = {e.axis: e.found for e in effects(values, plan, {0, 1, 2, 3}, "ndcg@10")}
    assert found["a"].difference == pytest.approx(-(0.3 + 0.1) / 2) and found["b"].difference == pytest.approx(-(0.3 + 0.1) / 2)
    assert found["a"].mean_a == pytest.approx((0.7 + 0.4) / 2), "beside the mean of everything with it"
    assert (found["a"].wins, found["a"].losses) == (0, 2), "each user's own mean difference: -.15 and -.25"
    assert found["a"].effect_size == pytest.approx(-0.2 / np.std([-0.15, -0.25], ddof=1))


def test_a_part_of_the_combinations_tells_what_it_can_and_no_more():
    plan, values = _grid()
    number = {(v["a"], v["b"]): n for n, v in enumerate(plan.variants)}
    three = {number[True, True], number[False, True], number[True, False]}
    found = {e.axis: e.found.difference for e in effects(values, plan, three, "ndcg@10")}
    assert found == {"a": pytest.approx(-0.3), "b": pytest.approx(-0.3)}, "of what was done only these pairs differ in one setting"
    two = {number[True, True], number[False, True]}
    assert [e.axis for e in effects(values, plan, two, "ndcg@10")] == ["a"]
    mixed = {number[True, True], number[False, False]}
    assert effects(values, plan, mixed, "ndcg@10") == [], "which of the two made the difference cannot be told"
    values[0, number[False, True], 1] = np.nan
    assert effects(values, plan, three, "ndcg@10")[0].found.n_left_out == 1


def test_the_noise_of_training_is_what_seeds_do_not_share():
    means = np.array([[0.1, 0.3], [0.3, 0.4]])  # seed x variant; residuals of rows and columns are all .025
    values = np.repeat(means[:, :, None], 5, axis=2)
    variance, freedom = training_noise(values)
    assert freedom == 1 and variance == pytest.approx(4 * 0.025**2)
    assert training_noise(values[:1]) == (0.0, 0)
    assert training_noise(means[:, :, None] * 0 + np.array([[0.1], [0.5]])[:, :, None])[0] == pytest.approx(0), "shared by all: no noise"


def test_a_planted_effect_is_sure_and_one_that_seeds_disagree_about_is_not():
    rng = np.random.default_rng(3)
    plan = make_plan([axis_of("planted", "Planted", [True, False], True), axis_of("null", "Null", [True, False], True)], ONE, _same, RNG)
    users = rng.random((1, 1, 400))
    values = np.repeat(np.repeat(users, 3, axis=0), 3, axis=1) + rng.normal(0, 0.02, (3, 3, 400))
    values[:, 1] -= 0.1  # planted off, with every seed
    values[:, 2] += np.array([0.03, -0.02, 0.02])[:, None]  # null: how a training went, the same for all users
    found = {e.axis: e for e in effects(values, plan, {0, 1, 2}, "ndcg@10")}
    assert found["planted"].found.clear and found["planted"].found.difference == pytest.approx(-0.1, abs=0.02)
    assert not found["null"].found.clear and len(found["null"].by_seed) == 3
    assert found["null"].found.low < 0 < found["null"].found.high
    naive = effects(values.mean(axis=0, keepdims=True), plan, {0, 1, 2}, "ndcg@10")
    null = next(e.found for e in naive if e.axis == "null")
    assert null.clear, "an interval over users alone would have called it sure"
    assert [axis.name for axis in clear_axes(plan.axes, list(found.values()))] == ["planted"]
    assert axis_sentence(plan.axes[0], list(found.values())).startswith("Planted: helps. Without it NDCG@10 is lower by ")
    assert axis_sentence(plan.axes[1], list(found.values())).startswith("Null: nothing that is sure.")


def test_sentences_say_how_much_is_enough_and_which_kind_is_best():
    rng = np.random.default_rng(4)
    axes = [axis_of("levels", "Levels", [0, 1, 2, 3], 3), axis_of("fuser", "Fuser", ["sum", "gate", "bad"], "sum")]
    plan = make_plan(axes, ONE, _same, RNG)
    users = rng.random(500)
    worth = {"levels": {0: -0.2, 1: -0.1, 2: 0.0}, "fuser": {"gate": 0.0, "bad": -0.15}}
    values = np.empty((1, len(plan.variants), 500))
    for n, settings in enumerate(plan.variants):
        gain = sum(worth[axis.name].get(settings[axis.name], 0.0) for axis in axes if settings[axis.name] != axis.base)
        values[0, n] = users + gain + rng.normal(0, 0.05, 500)
    found = effects(values, plan, set(range(len(plan.variants))), "ndcg@10")
    assert axis_sentence(axes[0], found).startswith("Levels: 2 is enough, more changes nothing that is sure. With 0 NDCG@10 is lower by")
    kinds = axis_sentence(axes[1], found)
    assert kinds.startswith("Fuser: ") and "With bad NDCG@10 is lower by" in kinds and "not surely better than" in kinds
    assert axis_sentence(axes[0], []) == "Levels: too few variants were trained to tell."
    to_first = variants_to_base(values, plan, {0, 1}, "ndcg@10")
    assert (
        best_sentence("levels 0", to_first[1].found, "ndcg@10", 0.3).startswith("Best: levels 0")
        and settings_text(axes, plan.variants[0]) == "the base"
    )


# ---- the job -------------------------------------------------------------------------------------
class ToyParams(Params):
    neighbours: bool = param(True, label="Neighbours", help="Read who chose what together.")
    colour: Literal["red", "green", "blue"] = param("red", label="Colour", help="Changes nothing.")
    depth: int = param(1, ge=0, le=9, label="Depth", help="Changes nothing; 9 does not work.")


class Toy(Recommender):
    """Neighbours are worth much, colour and depth nothing."""

    key, label, family, summary = "toy_ablation", "Toy", "Test", "For tests."
    Params = ToyParams
    ablation_axes = {"neighbours": (True, False), "colour": ("red", "green"), "depth": (0, 1, 2)}
    fitted_with: list[tuple] = []

    @classmethod
    def without_effect(cls, params, data):
        return {} if params.neighbours else {"colour": "Without neighbours nothing has a colour."}

    def _fit(self, data, ctx, validation):
        ctx.check()
        type(self).fitted_with.append((self.params.neighbours, self.params.colour, self.params.depth, ctx.seed))
        if self.params.depth == 9:
            raise Unsupported("Depth 9 does not work.")
        seen = data.matrix("binary")
        noise = ctx.rng(f"noise {self.params.colour} {self.params.depth}").random((data.n_items, data.n_items))
        self.weights = (seen.T @ seen).toarray() * float(self.params.neighbours) + 0.3 * noise

    def _history_scores(self, histories):
        return histories.matrix(self.fitted.n_items) @ self.weights


@pytest.fixture
def toy():
    Toy.fitted_with = []
    registry.register("model", Toy)
    yield Toy
    registry.unregister("model", Toy.key)


@pytest.fixture
def films(tmp_path):
    """150 users with one of six tastes over 60 items, in a workspace."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:03}", f"i{i:02}") for u in range(150) for i in rng.choice(10, 7, replace=False) + 10 * (u % 6)]
    workspace = Workspace(tmp_path / "workspace")
    return workspace, workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Tastes")


def _spec(entry, **more):
    train = {"dataset": entry.id, "model": "toy_ablation"} | more.pop("train", {})
    return AblationSpec.make(train=train, **({"k": 5} | more))


def test_the_job_finds_what_is_planted_and_leaves_out_what_cannot_matter(films, toy):
    workspace, entry = films
    result = ablate(workspace, _spec(entry, seeds=2), RunContext(threads=1)).result()
    assert [v["settings"] for v in result["variants"]][0] == {"neighbours": True, "colour": "red", "depth": 1}
    assert len(toy.fitted_with) == 2 * 5 and {seed for *_, seed in toy.fitted_with} == {42, 43}
    found = [Effect.from_dict(e) for e in result["effects"][""]["ndcg@5"]]
    assert [e.axis for e in found if e.found.clear] == ["neighbours"]
    assert set(result["where"]) == {""} and result["where"][""]["n_users"] == 150 and result["seeds_used"] == [42, 43]
    assert any("the test was not read" in note for note in result["notes"])
    bare = _spec(entry, train={"params": {"neighbours": False}})
    plain = ablate(workspace, bare, RunContext(threads=1)).result()
    assert plain["left_out"] == {"colour": "Without neighbours nothing has a colour."}
    assert [axis["name"] for axis in plain["axes"]] == ["neighbours", "depth"]
    assert plain["best"][""]["ndcg@5"] == 1, "the variant with neighbours"


def test_what_is_finished_is_kept_and_a_wider_question_trains_only_what_is_new(films, toy):
    workspace, entry = films
    stop = {"after": 3}

    def cancelled():
        return len(toy.fitted_with) >= stop["after"]

    with pytest.raises(Cancelled):
        ablate(workspace, _spec(entry), RunContext(threads=1, cancelled=cancelled))
    kept = list((workspace.root / "cache" / "ablation").rglob("*.npz"))
    assert len(kept) == 2 and not workspace.analyses("ablation"), "the third was under way"
    told = []
    first = ablate(workspace, _spec(entry), RunContext(threads=1, on_progress=told.append))
    assert len(toy.fitted_with) == 3 + 3, "two of five were there"
    assert sum(step.replayed for step in told) == 2 and told[-1].fraction == 0.99
    whole = ablate(workspace, _spec(entry, mode=ALL), RunContext(threads=1)).result()
    assert len(whole["variants"]) == 9, "3 depths with two colours, 3 without neighbours"
    assert len(toy.fitted_with) == 6 + 4 and whole["n_combinations"] == 9
    assert ablate(workspace, _spec(entry), RunContext(threads=1)).id == first.id and len(toy.fitted_with) == 10
    kept = whole["variants"][0]["figures"][""]["ndcg@5"]
    assert kept == pytest.approx(first.result()["variants"][0]["figures"][""]["ndcg@5"])
    workspace.delete(entry.id, with_dependents=True)
    assert not list((workspace.root / "cache").rglob("*.npz")), "what is kept of users goes with the dataset"


def test_budgets_and_failures_are_told(films, toy):
    workspace, entry = films
    part = ablate(workspace, _spec(entry, mode=ALL, most=5), RunContext(threads=1)).result()
    assert [v["state"] for v in part["variants"]].count("not done") == 4 and "at most 5 were asked for" in " ".join(part["notes"])
    failed = ablate(workspace, _spec(entry, axes={"depth": (1, 2, 9)}), RunContext(threads=1)).result()
    assert [v["state"] for v in failed["variants"]] == ["done", "done", "failed"] and "Depth 9 does not work." in failed["variants"][2][
        "reason"
    ]
    hurried = ablate(workspace, _spec(entry, seeds=2, minutes=1e-9, axes={"colour": ("red", "blue")}), RunContext(threads=1)).result()
    assert hurried["seeds_used"] == [42] and [v["state"] for v in hurried["variants"]] == ["done", "not done"]
    with pytest.raises(Unsupported, match="Depth 9"):
        ablate(workspace, _spec(entry, train={"params": {"depth": 9}}), RunContext(threads=1))


def test_judged_on_the_test_it_has_the_figures_of_the_run_and_goes_with_it(films, toy):
    workspace, entry = films
    run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model="toy_ablation", ks=(5,)), RunContext(threads=1))
    spec = AblationSpec.of_run(run, part="test", k=5, axes={"colour": ("red", "green")})
    found = registry.get("job", "ablation")().run(spec.model_dump(mode="json"), workspace, RunContext(threads=1))
    analysis = workspace.analysis(found["analysis"])
    figures = analysis.result()["variants"][0]["figures"][""]
    assert figures["ndcg@5"] == pytest.approx(run.metrics["ndcg@5"]["mean"]) and analysis.runs == [run.id]
    assert any("Judged on the test part" in note for note in analysis.result()["notes"])
    assert spec.job().key == analysis.id
    workspace.delete(run.id, with_dependents=True)
    assert not workspace.analyses("ablation")


def test_new_items_are_judged_apart(films, toy):
    workspace, entry = films
    data = entry.load()
    fresh = data.item % 10 == 0
    train, truth = data.subset(~fresh), data.subset(fresh | (data.item % 10 == 1))
    new = apart(train, Holdout(truth), None)["new_items"]
    assert set(np.unique(new.truth.item) % 10) == {0} and list(new.candidates) == [0, 10, 20, 30, 40, 50]
    assert apart(data, Holdout(truth), None) == {} == apart(train, Holdout(data.subset(fresh)), None), "nothing is new, or everything"
    spec = _spec(entry, train={"split": "cold_items"}, part="test", axes={"neighbours": (True, False)})
    result = ablate(workspace, spec, RunContext(threads=1)).result()
    assert set(result["where"]) == {"", "warm"} and [about["label"] for about in result["where"].values()] == [
        "Known users, new items",
        "Known users, known items",
    ]
    warm, new = (Effect.from_dict(result["effects"][place]["ndcg@5"][0]).found for place in ("warm", ""))
    assert warm.better == "true" and not new.clear, "what others chose together says nothing of new items"


def test_what_was_judged_on_others_is_not_taken_for_the_same(films, toy, monkeypatch):
    """The base decides what all its variants are validated on: the same settings may be judged on known or on new items."""
    workspace, entry = films
    monkeypatch.setattr(toy, "judged_on_new", classmethod(lambda cls, params: params.neighbours))
    users = []
    for neighbours in (True, False):
        train = {"split": "cold_items", "params": {"neighbours": neighbours}}
        result = ablate(workspace, _spec(entry, train=train, axes={"neighbours": (True, False)}), RunContext(threads=1)).result()
        users.append([about["label"] for about in result["where"].values()][0])
    assert users == ["Known users, new items", "Everything held out"] and len(toy.fitted_with) == 4


def test_wrong_wishes_are_refused_in_words(films, toy):
    workspace, entry = films
    for wrong in ({"mode": "some"}, {"seeds": 0}, {"metrics": ()}, {"k": 0}, {"nonsense": 1}, {"part": "train"}):
        with pytest.raises(ParamError):
            _spec(entry, **wrong)
    with pytest.raises(BadInput, match="paired"):
        _spec(entry, metrics=("coverage",))
    for axes, words in (
        ({"depht": (1, 2)}, "Did you mean 'depth'"),
        ({"depth": (1, 99)}, "at most 9"),
        ({"depth": (1,)}, "one value only"),
    ):
        with pytest.raises(ParamError, match=words):
            ablate(workspace, _spec(entry, axes=axes), RunContext(threads=1))
    with pytest.raises(BadInput, match="names no parts"):
        ablate(workspace, AblationSpec.make(train={"dataset": entry.id, "model": "ease"}), RunContext(threads=1))


def test_the_command_line_tells_it_all(films, toy, capsys, monkeypatch):
    workspace, entry = films
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    base = [
        "ablation",
        "--dataset",
        "Tastes",
        "--model",
        "toy_ablation",
        "--k",
        "5",
        "--axis",
        "neighbours=true,false",
        "--axis",
        "depth=0,1",
    ]
    assert main(base) == 0
    out = capsys.readouterr().out
    assert "neighbours off" in out and "Neighbours: helps. Without it NDCG@5 is lower" in out
    n = len(toy.fitted_with)
    assert main([*base, "--json"]) == 0 and len(toy.fitted_with) == n
    assert json.loads(capsys.readouterr().out)["best"][""]["ndcg@5"] in (0, 2)
    assert main(["ablation", "--run", "x", "--dataset", "y"]) == 2 and main(["ablation", "--dataset", "Tastes"]) == 2


def test_a_damaged_figure_is_made_again(tmp_path) -> None:
    from recsys_core.jobs.ablation import _read, _write

    file = tmp_path / "one.npz"
    assert _read(file) is None
    _write(file, ("ndcg@5",), np.arange(3), np.ones((1, 3)), 2.0)
    assert _read(file)[0] == ("ndcg@5",)
    file.write_bytes(file.read_bytes()[:40])
    assert _read(file) is None
    file.write_bytes(b"")
    assert _read(file) is None
