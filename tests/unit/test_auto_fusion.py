"""Automatic fusion: what it keeps and drops in a planted world, its budget, its plan, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import DatasetStats, from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.errors import Cancelled, ParamError, Unsupported
from recsys_core.fusion._plan import Trial, Watch, in_turn, plan
from recsys_core.fusion._selection import choose, forward, hedged, stoppers_and_judges
from recsys_core.fusion._weights import Candidates
from recsys_core.fusion.auto_fusion import AutoFusion
from recsys_core.models._base import Cost, Recommender
from recsys_core.models._io import load_model, save_model

ONE = RunContext(threads=1)
GB = 2**30
ML = DatasetStats(1000, 2000, 100_000, 400, True, True, False, False)
N_USERS, N_ITEMS = 240, 80


class Planted(Recommender):
    """Scores are a fixed matrix (U, I), `table`; a fit takes `takes` ticks of the fake clock and expects `seconds`."""

    family = "Test"
    summary = "planted"
    takes, seconds = 0, 1.0
    clock = None
    fits: list = []

    def _fit(self, data, ctx, validation):
        Planted.fits.append((self.key, validation is not None))
        for _ in range(self.takes):
            Planted.clock.now += 1
            ctx.check()

    def cost(self, stats):
        return Cost(1000, self.seconds)

    def _scores(self, users):
        return self.table[users].copy()

    def _history_scores(self, histories):
        return self.table[: len(histories)].copy()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def world():
    """Users with 3 training items and 3 held out."""
    rng = np.random.default_rng(0)
    rows = [(u, i, part) for u in range(N_USERS) for part, i in enumerate(rng.choice(N_ITEMS, 6, replace=False))]
    frame = pd.DataFrame(rows, columns=["user", "item", "part"]).astype({"user": str, "item": str})
    whole = from_frame(frame)
    held = frame["part"].to_numpy() >= 3
    return whole.subset(~held), Holdout(whole.subset(held)), whole


@pytest.fixture
def planted(world):
    """left and right each see half of the truth, copy is left once more, noise sees nothing, slow takes 1,000 ticks."""
    _, holdout, _ = world
    rng = np.random.default_rng(1)
    truth = holdout.truth.matrix("binary").toarray()
    half = rng.random(truth.shape) < 0.5
    noise = rng.normal(0, 0.3, (3, *truth.shape))
    left = truth * half + noise[0]
    tables = {"left": left, "right": 40 * (truth * ~half + noise[1]), "noise": noise[2], "copy": 3 * left + 1, "slow": truth}
    Planted.fits, Planted.clock = [], Clock()
    for name, table in tables.items():
        body = {"key": name, "label": name.capitalize(), "table": table.astype(np.float32), "takes": 1000 if name == "slow" else 1}
        registry.register("model", type(name, (Planted,), body))
    yield Planted
    for name in tables:
        registry.unregister("model", name)


def fitted(world, models, **values):
    train, holdout, _ = world
    model = AutoFusion(models=models, **values)
    model.clock = Planted.clock
    return model.fit(train, ONE, validation=holdout)


# ---- what it keeps -----------------------------------------------------------------------------------
def test_complementary_parts_are_kept_noise_and_a_copy_are_dropped(world, planted):
    model = fitted(world, ["noise", "left", "copy", "right"])
    names = [part["name"] for part in model.findings()["parts"]]
    assert len(names) == 2 and "right" in names and len({"left", "copy"} & set(names)) == 1
    weights = dict(zip(names, model.part_weights(), strict=True))
    assert min(weights.values()) > 0.25 and sum(weights.values()) == pytest.approx(1)
    gone = {entry["name"]: entry for entry in model.findings()["dropped"]}
    assert set(gone) == {"noise", "left", "copy"} - set(names)
    assert gone["noise"]["alone"] < 0.3 < min(part["alone"] for part in model.findings()["parts"])


def test_the_sentences_say_what_was_tried_dropped_and_kept_and_what_it_is_worth(world, planted):
    model = fitted(world, ["noise", "left", "right"])
    told = "\n".join(model.notes)
    assert model.findings()["steps"] == model.notes
    assert "Tried Noise (1.0 seconds), Left (1.0 seconds) and Right (1.0 seconds)" in told
    assert "Dropped" in told.split("Noise", 2)[1] + told and "Noise 0." in told
    assert f"Kept 2 of 3, chosen and weighed on 20 random halves of {N_USERS}" in told
    judged = model.findings()["judged"]
    assert judged["gain"] > 2 * judged["error"] > 0 and f"{judged['together']:.4f}" in told


def test_one_good_model_is_used_alone_when_nothing_helps_it(world, planted):
    model = fitted(world, ["left", "noise", "copy"])
    assert len(model.parts) == 1 and model.part_weights().tolist() == [1.0]
    assert "used alone" in model.notes[-1]


def test_refit_trains_only_what_was_kept_on_all_of_train_and_learns_nothing_anew(world, planted):
    train, _, whole = world
    model = fitted(world, ["noise", "left", "right"])
    Planted.fits.clear()
    final = model.for_refit().fit(whole, ONE)
    assert sorted(Planted.fits) == [("left", False), ("right", False)]
    np.testing.assert_array_equal(final.part_weights(), model.part_weights())
    assert final.findings() == model.findings() and "allowed" in final.notes[-1]


def test_saved_and_loaded_it_scores_and_tells_the_same(world, planted, tmp_path):
    model = fitted(world, ["noise", "left", "right"])
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.findings() == model.findings() and again.part_names() == model.part_names()


def test_the_same_seed_gives_the_same_fusion_whatever_the_clock_says(world, planted):
    one, other = fitted(world, ["noise", "left", "right"]), fitted(world, ["noise", "left", "right"], minutes=500)
    assert one.part_names() == other.part_names()
    np.testing.assert_array_equal(one.part_weights(), other.part_weights())


# ---- its budget --------------------------------------------------------------------------------------
def test_a_part_that_takes_too_long_is_given_up_within_the_budget(world, planted):
    model = fitted(world, ["left", "slow", "right"], minutes=1)
    assert sorted(model.part_names()) == ["left", "right"]
    assert Planted.clock.now <= 60, f"{Planted.clock.now} s of the 60 allowed, with a second fit still to come"
    why = next(entry["why"] for entry in model.findings()["dropped"] if entry["name"] == "slow")
    assert why.startswith("stopped after") and "Slow" in " ".join(model.notes)


def test_a_part_for_which_no_time_is_likely_to_be_left_is_not_begun(world, planted, monkeypatch):
    monkeypatch.setattr(registry.get("model", "slow"), "seconds", 1000.0)
    model = fitted(world, ["left", "slow", "right"], minutes=1)
    assert ("slow", True) not in Planted.fits and sorted(model.part_names()) == ["left", "right"]
    assert "too little time" in next(entry["why"] for entry in model.findings()["dropped"] if entry["name"] == "slow")


def test_parts_that_do_not_help_make_room_before_a_model_is_left_out(world, planted, monkeypatch):
    """noise took long: kept, it would have to be trained again, and there would be no time for right."""
    for name, takes in (("noise", 24), ("right", 8)):
        monkeypatch.setattr(registry.get("model", name), "takes", takes)
        monkeypatch.setattr(registry.get("model", name), "seconds", float(takes))
    model = fitted(world, ["left", "noise", "right"], minutes=1)
    assert sorted(model.part_names()) == ["left", "right"] and Planted.clock.now <= 60


def test_when_even_the_first_is_too_slow_the_quickest_is_trained_all_the_same(world, planted):
    model = fitted(world, ["slow"], minutes=0.1)
    assert model.part_names() == ["slow"] and "Only one model" in model.notes[-1]


def test_the_user_stops_it_and_no_one_else(world, planted):
    train, holdout, _ = world
    with pytest.raises(Cancelled):
        AutoFusion(models=["left", "right"]).fit(train, replace(ONE, cancelled=lambda: ("right", True) in Planted.fits), validation=holdout)


def test_room_is_what_is_left_after_all_second_fits():
    clock = Clock()
    watch = Watch(100, 1.25, clock)
    clock.now = 10
    watch.took["a"] = 8.0
    # 95 s to spend, 10 gone, a again: 10 s; what is left serves a fit and the 1.25 times longer second one
    assert watch.room(["a"]) == pytest.approx((95 - 10 - 10) / 2.25)
    assert watch.room([]) == pytest.approx(85 / 2.25)


# ---- its plan ----------------------------------------------------------------------------------------
def test_the_first_of_every_family_comes_before_the_second_of_any():
    trials = [
        Trial(n, n, f, s, 1)
        for n, f, s in [("slim", "Linear", 3), ("ease", "Linear", 9), ("x", "Graph", 1), ("als", "Matrix factorisation", 1)]
    ]
    assert [t.name for t in in_turn(trials)] == ["ease", "als", "x", "slim"]


def test_the_catalogue_is_planned_by_what_the_data_have_and_what_time_and_memory_allow():
    wide = plan(ML, 3600, 1000 * GB)
    names = [trial.name for trial in wide.tries]
    assert names[:4] == ["ease", "item_knn", "als", "mult_vae"] and "sasrec" in names
    assert not {"popular", "random", "weighted", "auto_fusion"} & set(names)
    poor = replace(ML, has_time=False, has_ratings=False)
    bare = plan(poor, 3600, 1000 * GB)
    unmet = {name for name, _, why in bare.skipped if "needs" in why}
    assert unmet >= {"sasrec", "gru4rec", "biased_mf"} and not unmet & {t.name for t in bare.tries}
    assert all(not all(need.met_by(poor) for need in registry.get("model", name).needs) for name in unmet)
    assert "sasrec" not in {trial.name for trial in plan(ML, 3600, 1000 * GB, in_order=False).tries}
    short = plan(ML, 60, 1000 * GB)
    assert {t.name for t in short.tries} < set(names) and all(t.seconds <= 15 for t in short.tries)
    small = plan(ML, 3600, GB)
    assert 0 < sum(t.memory_bytes for t in small.tries) <= GB / 2
    assert len(plan(ML, 1e-6, GB).tries) == 1, "better late than nothing"


def test_its_cost_is_never_above_the_minutes_it_was_given():
    assert AutoFusion().cost(ML).seconds == 300 and AutoFusion(minutes=1).cost(ML).seconds == 60
    assert AutoFusion(models=["ease"]).cost(ML).seconds < 10


def test_models_it_cannot_take_are_refused():
    for models, says in ((["weighted"], "itself"), (["ease", "ease"], "differ")):
        with pytest.raises(ParamError, match=says):
            AutoFusion(models=models)
    with pytest.raises(ParamError, match="minutes"):
        AutoFusion(minutes=0)
    assert AutoFusion(part_params={"als": {"factors": 8}}).params.models == []
    with pytest.raises(ParamError):
        AutoFusion(part_params={"als": {"factors": 0}})


def test_a_named_model_whose_need_is_not_met_is_refused_as_when_trained_alone(world, planted):
    with pytest.raises(Unsupported, match="a time"):
        fitted(world, ["left", "sasrec"])


def test_runs_are_used_as_they_are(world, planted):
    train, holdout, whole = world
    trained = {"fit": registry.get("model", "left")().fit(train), "final": registry.get("model", "left")().fit(whole)}
    ctx = RunContext(threads=1, load_run=lambda run_id, which: trained[which])
    model = AutoFusion(models=["run:abc", "right"]).fit(train, ctx, validation=holdout)
    assert any(part is trained["fit"] for part in model.parts) and set(model.part_names()) == {"run:abc", "right"}
    final = model.for_refit().fit(whole, ctx)
    assert any(part is trained["final"] for part in final.parts)


def test_nobody_both_stops_a_network_and_judges_it(world):
    _, holdout, _ = world
    stop, judge = stoppers_and_judges(holdout, ONE)
    assert len(stop.users) == N_USERS // 3 and not set(stop.users) & set(judge.users)
    assert len(stop.truth) + len(judge.truth) == len(holdout.truth)
    few = holdout.sample(100, np.random.default_rng(0))
    assert stoppers_and_judges(few, ONE) == (few, few)


# ---- the selection -----------------------------------------------------------------------------------
def candidates(scores: np.ndarray, hits: np.ndarray, k: int = 5) -> Candidates:
    """All items of every user are candidates; ideal as if all hits came first."""
    gains = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gains)[np.clip(hits.sum(axis=1), 1, k) - 1]
    items = np.tile(np.arange(scores.shape[2]), (scores.shape[1], 1))
    return Candidates(items, scores.astype(np.float32), hits, ideal, k)


def test_forward_weights_are_those_of_the_shares_it_gave():
    """Two parts that see half of the users' truth each, so both must count; a constant part adds nothing, ever."""
    rng = np.random.default_rng(2)
    hits = rng.random((300, 60)) < 0.06
    half = rng.random(hits.shape) < 0.5
    parts = np.stack([hits * half, hits * ~half, np.zeros(hits.shape)]) + 0
    parts[:2] += rng.normal(0, 0.3, (2, *hits.shape))
    weights = forward(candidates(parts, hits), np.random.default_rng(0))
    assert weights.sum() == pytest.approx(1) and weights[2] == 0 and weights[:2].min() > 0.2


def test_noise_enters_in_few_halves_and_is_not_kept():
    """Fifteen parts of pure noise beside one that knows half of the truth: none is kept."""
    rng = np.random.default_rng(3)
    hits = rng.random((200, 60)) < 0.06
    parts = rng.normal(0, 1, (16, *hits.shape))
    parts[0] = hits * (rng.random(hits.shape) < 0.5) + rng.normal(0, 0.2, hits.shape)
    found = choose(candidates(parts, hits), ONE)
    assert found.chosen.tolist() == [0] and found.weights[0] == 1


def test_the_best_of_every_kind_keeps_a_say_unless_it_is_far_behind():
    weights = np.array([0.6, 0.4, 0, 0, 0])
    alone = np.array([0.30, 0.28, 0.29, 0.27, 0.20])
    after, near = hedged(weights, alone, ["Deep", "Deep", "Linear", "Linear", "Neighbourhood"])
    assert near.tolist() == [0, 2] and after == pytest.approx([0.48 + 0.1, 0.32, 0.1, 0, 0])
    one = np.eye(5)[0]
    assert hedged(one, alone, ["Deep", "Deep", "Linear", "Linear", ""])[0] is one
    assert hedged(weights, alone, [""] * 5)[0] is weights and hedged(weights, alone, ())[0] is weights


def test_a_hedged_combination_is_judged_as_it_is_used():
    """A loud part that only harms is hedged with: what is told falls with it, to what new users get."""
    rng = np.random.default_rng(4)
    hits = rng.random((2000, 60)) < 0.06
    half = rng.random(hits.shape) < 0.5
    noise = rng.normal(0, 0.3, (3, *hits.shape))
    parts = np.stack([hits * half + noise[0], hits * ~half * 0.9 + noise[1], 3 * (hits * half * 0.9 + noise[0] + noise[2] / 4)])
    some, new = candidates(parts[:, :600], hits[:600]), candidates(parts[:, 600:], hits[600:])
    plain, told = choose(some, ONE), choose(some, ONE, ["A", "B", "C"])
    assert told.near.tolist() == [0, 1, 2] and plain.near.size == 0 and told.weights.sum() == pytest.approx(1)
    real = [new.ndcg(choice.weights) for choice in (plain, told)]
    assert real[1] < real[0] - 0.01 and plain.together - told.together == pytest.approx(real[0] - real[1], rel=0.5)


def test_what_the_combination_is_said_to_be_worth_is_worth_it_on_new_users():
    """The gain told, on users not chosen on, is that of the fused lists on users never seen, within the error told."""
    rng = np.random.default_rng(4)
    hits = rng.random((2000, 60)) < 0.06
    half = rng.random(hits.shape) < 0.5
    parts = np.stack([hits * half + rng.normal(0, 0.3, hits.shape), hits * ~half * 0.8 + rng.normal(0, 0.3, hits.shape)])
    whole = candidates(parts, hits)
    told = choose(candidates(parts[:, :400], hits[:400]), ONE)
    new = candidates(parts[:, 400:], hits[400:])
    real = new.ndcg(told.weights) - max(new.ndcg(one) for one in np.eye(2))
    assert told.gain > 0 and abs(told.gain - real) < 4 * told.error
    assert whole.ndcg(told.weights) == pytest.approx(
        whole.per_user(np.tensordot(told.weights.astype(np.float32), whole.scores, axes=1)).mean()
    )
