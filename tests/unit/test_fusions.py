"""Average, rank fusion, switching, cascade: hand-worked cases, slow reference loops, what a refit keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core import registry
from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.errors import ParamError
from recsys_core.fusion._ranks import ballot, ndcg_rows
from recsys_core.fusion.switching import choose
from recsys_core.models._base import Recommender
from recsys_core.models._io import load_model, save_model


class Planted(Recommender):
    """Scores are a fixed matrix (U, I), given by `table`; a subclass a table."""

    family = "Test"
    summary = "planted"
    fits = 0

    def _fit(self, data, ctx, validation):
        type(self).fits += 1

    def _scores(self, users):
        return self.table[users].copy()

    def _history_scores(self, histories):
        return self.table[: len(histories)].copy()


@pytest.fixture
def plant():
    """plant(name=table, …) -> keys of models whose scores are these tables."""
    names = []

    def plant_(**tables):
        for name, table in tables.items():
            about = {"key": name, "label": name.capitalize(), "table": np.asarray(table, dtype=np.float32)}
            registry.register("model", type(name, (Planted,), about))
            names.append(name)
        return list(tables)

    yield plant_
    for name in names:
        registry.unregister("model", name)


def data_of(lists: list[list[int]], n_items: int):
    """Users 0, 1, … with these items; a last user has all items, so that all are known."""
    rows = [(u, i) for u, items in enumerate([*lists, range(n_items)]) for i in items]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    return from_frame(frame.assign(user=frame["user"].map("{:03d}".format), item=frame["item"].map("{:03d}".format)))


def make(key: str, **values) -> Recommender:
    return registry.get("model", key)(**values)


def listed(model: Recommender, user: int, k: int = 4) -> list[int]:
    return model.recommend(np.array([user]), k).items[0].tolist()


# ---- average -------------------------------------------------------------------------------------
def test_average_by_hand(plant):
    """User 0 has item 4; of the others one part says 0 1 2 3, the other 30 30 0 0 (and anything of item 4)."""
    models = plant(one=[[0, 1, 2, 3, 99]] * 2, two=[[30, 30, 0, 0, -7]] * 2)
    model = make("average", models=models, normalization="minmax").fit(data_of([[4]], 5))
    assert np.allclose(model.scores(np.array([0]))[0, :4], [(0 + 1) / 2, (1 / 3 + 1) / 2, (2 / 3 + 0) / 2, (1 + 0) / 2])
    assert listed(model, 0) == [1, 0, 3, 2]
    why = model.explain(1, user=0)
    assert why.refs == ("Two", "One") and why.exact
    assert np.allclose(why.contributions, [1 / 2, 1 / 6]) and np.isclose(why.total, 2 / 3)


def test_average_is_the_weighted_fusion_with_equal_weights(plant):
    rng = np.random.default_rng(0)
    models = plant(a=rng.normal(size=(3, 12)), b=rng.gamma(1, size=(3, 12)), c=rng.random((3, 12)))
    train = data_of([[1, 2], [3]], 12)
    for how in ("z", "minmax", "rank"):
        plain = make("average", models=models, normalization=how).fit(train)
        equal = make("weighted", models=models, normalization=how, weights="equal").fit(train)
        np.testing.assert_allclose(plain.scores(np.array([0, 1])), equal.scores(np.array([0, 1])), atol=1e-6)


# ---- rank fusion ---------------------------------------------------------------------------------
def test_ballot_by_hand():
    scores = np.array([[5.0, 3.0, 3.0, 1.0, 9.0], [2.0, 1.0, 1.0, 1.0, 0.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    ignore = np.zeros(scores.shape, dtype=bool)
    ignore[0, 4] = True
    items, places = ballot(scores, ignore, 3)
    assert items.tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    np.testing.assert_array_equal(places[0], [1, 2.5, 2.5], "a tie shares the mean of its places")
    np.testing.assert_array_equal(places[1], [1, np.nan, np.nan], "items that tie with one beyond the depth do not vote")
    assert np.isnan(places[2]).all(), "who tells nothing apart does not vote"
    items, places = ballot(scores[:1], np.array([[True, True, False, False, True]]), 4)
    assert items.tolist() == [[2, 3, -1, -1]] and places[0, :2].tolist() == [1, 2] and np.isnan(places[0, 2:]).all()


def slow_votes(scores: np.ndarray, hidden: np.ndarray, rule: str, constant: float, depth: int) -> np.ndarray:
    """One user: (P, I) votes by the definition, item by item."""
    votes = np.zeros(scores.shape)
    for p, row in enumerate(scores):
        unseen = [i for i in range(len(row)) if not hidden[i]]
        low, high = min(row[i] for i in unseen), max(row[i] for i in unseen)
        for i in unseen:
            above, equal = sum(row[j] > row[i] for j in unseen), sum(row[j] == row[i] for j in unseen)
            if above + equal > depth:
                continue
            place = above + (equal + 1) / 2
            votes[p, i] = {
                "reciprocal": 1 / (constant + place),
                "borda": depth + 1 - place,
                "combmnz": max((row[i] - low) / (high - low) if high > low else 0, 1e-12),  # a vote, if for the last
            }[rule]
    return votes


@pytest.mark.parametrize("rule", ["reciprocal", "borda", "combmnz"])
@pytest.mark.parametrize("depth", [3, 8, 100])
def test_rank_fusion_equals_a_slow_loop(plant, rule, depth):
    rng = np.random.default_rng(depth)
    tables = [rng.integers(0, 12, (7, 30)), rng.normal(size=(7, 30)), rng.integers(0, 200, (7, 30))]
    models = plant(**{f"part{n}": table for n, table in enumerate(tables)})
    seen = [rng.choice(30, 5, replace=False).tolist() for _ in range(6)]
    model = make("rank_fusion", models=models, rule=rule, depth=depth, constant=10).fit(data_of(seen, 30))
    fast = model.scores(np.arange(6))
    for user in range(6):
        hidden = np.isin(np.arange(30), seen[user])
        rows = np.stack([table[user] for table in tables]).astype(np.float32)
        votes = slow_votes(rows, hidden, rule, 10, depth)
        total = votes.sum(axis=0) * ((votes > 0).sum(axis=0) if rule == "combmnz" else 1)
        chosen = (total > 0) & ~hidden
        np.testing.assert_allclose(fast[user][chosen], total[chosen], rtol=1e-4)
        low, high = rows[:, ~hidden].min(axis=1, keepdims=True), rows[:, ~hidden].max(axis=1, keepdims=True)
        rest = ((rows - low) / (high - low)).mean(axis=0)
        behind = ~hidden & (total == 0)
        assert (fast[user][behind] < fast[user][chosen].min()).all()
        if behind.any() and rule != "combmnz":
            np.testing.assert_allclose(fast[user][behind] + 2, rest[behind], atol=1e-5)
        if depth < 30:
            assert len(listed(model, user, 30)) == 30 and listed(model, user, 30).count(-1) == 5, "lists never end early"


def test_reciprocal_rank_fusion_by_hand(plant):
    """Places of item 0: 1 and 3; of item 1: 2 and 1; of item 2: 3 and 2 (depth 2: it votes once)."""
    models = plant(one=[[9, 8, 7, 0]] * 2, two=[[1, 3, 2, 0]] * 2)
    model = make("rank_fusion", models=models, depth=2).fit(data_of([[3]], 4))
    assert np.allclose(model.scores(np.array([0]))[0, :3], [1 / 61, 1 / 62 + 1 / 61, 1 / 62])
    why = model.explain(0, user=0)
    assert why.refs == ("One", "Two") and np.allclose(why.contributions, [1 / 61, 0]) and "1 of 2 models" in why.method


def test_combmnz_by_hand_and_behind_the_votes(plant):
    models = plant(one=[[4, 2, 0, 1, 0]] * 2, two=[[0, 6, 8, 2, 0]] * 2)
    model = make("rank_fusion", models=models, rule="combmnz", depth=2).fit(data_of([[4]], 5))
    scores = model.scores(np.array([0]))[0]
    assert np.allclose(scores[:3], [1 * 1, 2 * (0.5 + 0.75), 1 * 1]), "voters × their scores"
    assert np.isclose(scores[3], (1 / 4 + 2 / 8) / 2 - 2), "no vote: behind, by the mean of the scores"
    assert model.explain(1, user=0).contributions == pytest.approx((1.5, 1.0))
    behind = model.explain(3, user=0)
    assert (
        not behind.exact and "No model has it among its first 2" in behind.method and behind.contributions == pytest.approx((1 / 8, 1 / 8))
    )


# ---- switching -----------------------------------------------------------------------------------
def test_switching_by_hand_serves_each_user_by_one_part(plant):
    models = plant(cold=[[0, 1, 2, 3, 4, 5]] * 4, warm=[[5, 4, 3, 2, 1, 0]] * 4)
    model = make("switching", models=models, limits="2").fit(data_of([[0], [0, 1], [0, 1, 2]], 6))
    assert [listed(model, user, 2) for user in range(3)] == [[5, 4], [5, 4], [3, 4]]
    folded = model.recommend_for_history(Histories.from_lists([[5], [5, 5], [1, 2, 3]]), 1).items[:, 0].tolist()
    assert folded == [4, 4, 0], "repeats of an item are one item"
    why = model.explain(4, user=2)
    assert why.refs == ("Warm", "Cold") and why.contributions == (1.0, 0.0)
    assert "holds 3" in why.method and "3 items or more are served by Warm alone" in why.method
    assert model.findings()["segments"] == [
        {"label": "up to 2 items", "part": "Cold", "n_users": 2},
        {"label": "3 items or more", "part": "Warm", "n_users": 2},
    ]
    assert model.part_weights().tolist() == [0.5, 0.5] and not model.wants_validation()


def test_only_the_part_that_serves_a_user_scores_it(plant, monkeypatch):
    models = plant(cold=np.zeros((4, 6)), warm=np.ones((4, 6)))
    model = make("switching", models=models, limits=[2]).fit(data_of([[0], [0, 1], [0, 1, 2]], 6))
    asked = []
    monkeypatch.setattr(Planted, "_scores", lambda self, users: asked.append((self.key, users.tolist())) or self.table[users].copy())
    model.scores(np.arange(3))
    assert asked == [("cold", [0, 1]), ("warm", [2])]


def slow_choice(sizes, quality, limits, shrinkage):
    best = int(np.argmax(quality.mean(axis=0)))
    serves = []
    for s in range(len(limits) + 1):
        low, high = ([-1, *limits])[s], ([*limits, np.inf])[s]
        rows = [v for v in range(len(sizes)) if low < sizes[v] <= high]
        leads = {best: 0.0}
        for p in range(quality.shape[1]):
            if p != best:
                gaps = [quality[v, p] - quality[v, best] for v in range(len(sizes))]
                n = len(rows) + shrinkage
                mean = (sum(gaps[v] for v in rows) + shrinkage * np.mean(gaps)) / n
                leads[p] = mean - 2 * np.std(gaps) / np.sqrt(n)
        serves.append(max(leads, key=leads.get))
    return serves


def test_choice_of_segments_equals_a_slow_loop():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sizes = rng.geometric(0.05, 300)
        quality = rng.random((300, 3)) * 0.3
        quality[sizes < 10, 1] += 0.1 * (seed % 3)
        quality[sizes > 25, 2] += 0.1
        found = choose(sizes, quality, 4, 20.0)
        limits = sorted({int(np.sort(sizes)[int(np.ceil(len(sizes) * q)) - 1]) for q in (0.25, 0.5, 0.75)})
        slow = slow_choice(sizes, quality, limits, 20.0)
        ends = np.searchsorted(found["limits"], [*limits, sizes.max()], side="left")
        assert found["serves"][ends].tolist() == slow
        assert (np.diff(found["serves"]) != 0).all(), "neighbours that one part serves are joined"
        assert found["n_held_out"].sum() == 300
        assert found["cuts"].tolist() == limits
        segment = np.searchsorted(limits, sizes, side="left")
        for s in range(len(limits) + 1):
            np.testing.assert_allclose(found["ndcg"][s], quality[segment == s].mean(axis=0))


def test_a_few_lucky_users_do_not_decide_a_segment():
    """A hundred worlds in which no part is better than the other: by raw means half of all small segments would switch."""
    switched = naive = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sizes, quality = np.r_[np.full(5, 1), np.full(395, 50)], rng.beta(0.5, 2, (400, 2))
        quality[:, 0] += 0.01
        found = choose(sizes, quality, 80, 30.0)
        best = quality.mean(axis=0).argmax()
        naive += quality[:5].mean(axis=0).argmax() != best
        switched += (found["serves"] != best).any()
    assert naive > 30 and switched <= 5, (naive, switched)
    clear = np.r_[np.full((200, 2), [0.1, 0.4]), np.full((200, 2), [0.4, 0.2])] + np.random.default_rng(0).normal(0, 0.1, (400, 2))
    assert choose(np.r_[np.full(200, 3), np.full(200, 30)], clear, 2, 30.0)["serves"].tolist() == [1, 0], "a clear lead does"


@pytest.fixture
def halves(plant):
    """80 users, half with 3 and half with 9 training items; one part knows what the first like, another what the others do."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        n_train = 3 if user < 40 else 9
        rows += [(f"{user:03d}", f"{item:03d}", n < n_train) for n, item in enumerate(rng.choice(60, n_train + 3, replace=False))]
    frame = pd.DataFrame(rows, columns=["user", "item", "train"])
    whole = from_frame(frame[["user", "item"]])
    first = frame["train"].to_numpy()
    train, holdout = whole.subset(first), Holdout(whole.subset(~first))
    truth = holdout.truth.matrix("binary").toarray()
    noise = rng.normal(0, 0.3, (2, *truth.shape))
    short = (np.arange(80) < 40)[:, None]
    models = plant(newcomers=truth * short + noise[0], regulars=truth * ~short + noise[1])
    return models, train, holdout


def test_switching_learns_who_serves_whom_and_a_refit_keeps_it(halves, tmp_path):
    models, train, holdout = halves
    model = make("switching", models=models, segments=2).fit(train, validation=holdout)
    limits, serves = model.rule
    assert limits.tolist() == [3] and serves.tolist() == [0, 1]
    [note] = model.notes
    assert "Newcomers serves users with up to 3 items" in note and "80 held-out users" in note
    found = model.findings()
    assert found["segments"] == [
        {"label": "up to 3 items", "part": "Newcomers", "n_users": 40},
        {"label": "4 items or more", "part": "Regulars", "n_users": 40},
    ]
    short, long = found["evidence"]
    assert (short["label"], short["n_held_out"], long["label"], long["n_held_out"]) == ("up to 3 items", 40, "4 items or more", 40)
    assert short["ndcg"][0] > short["ndcg"][1] and long["ndcg"][1] > long["ndcg"][0]
    again = model.for_refit().fit(train)
    np.testing.assert_array_equal(again.rule[0], limits)
    save_model(again, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert loaded.findings() == again.findings() and loaded.explain(5, user=1) == again.explain(5, user=1)


def test_where_no_part_is_better_nothing_is_switched(halves, plant):
    models, train, holdout = halves
    twin = plant(twin=registry.get("model", models[0]).table)
    model = make("switching", models=[models[0], *twin]).fit(train, validation=holdout)
    assert model.rule[1].tolist() == [0] and "Nothing is switched" in model.notes[0]
    assert len(model.findings()["segments"]) == 1 and len(model.findings()["evidence"]) == 2, "what was looked at is told all the same"


# ---- cascade -------------------------------------------------------------------------------------
def test_cascade_by_hand(plant):
    """User 0 has item 5. Candidates: first two of one (0, 1) and of two (4, 3); ordered by the third: 4 1 3 0, then 2."""
    models = plant(one=[[9, 8, 1, 1, 1, 99]] * 2, two=[[0, 1, 2, 5, 6, 99]] * 2, sharp=[[-4, 3, 7, 2, 9, 50]] * 2)
    train = data_of([[5]], 6)
    model = make("cascade", models=models, candidates=2, measure=False).fit(train)
    assert listed(model, 0, 6) == [4, 1, 3, 0, 2, -1]
    assert model.scores(np.array([0]))[0, [4, 1, 3, 0]].tolist() == [9, 3, 2, -4], "a candidate keeps the score of the model that orders"
    other = make("cascade", models=models, candidates=2, measure=False, order_by="one").fit(train)
    assert listed(other, 0, 6) == [2, 3, 4, 0, 1, -1], "candidates 4 3 of two and 4 2 of sharp, which tie for one; then 0 1"
    why = model.explain(4, user=0)
    assert why.refs[0] == "Sharp" and why.contributions == (1.0, 0.0, 0.0) and "first 2 of Two" in why.method
    assert "No candidate of any model" in model.explain(2, user=0).method
    assert make("cascade", models=models, measure=False).wants_validation() is False
    found = model.findings()
    assert found["order"] == "Sharp" and found["candidates"] == {"depth": 2, "parts": ["One", "Two"]}


def test_cascade_lists_candidates_first_and_measures_them(halves):
    models, train, holdout = halves
    rng = np.random.default_rng(5)
    sharp = registry.get("model", models[1])
    model = make("cascade", models=models, candidates=7, order_by="last").fit(train, validation=holdout)
    seen, wanted = train.matrix("binary").toarray() > 0, holdout.truth.matrix("binary").toarray() > 0
    recalls, n_candidates = [], []
    for user in range(80):
        unseen = [i for i in range(60) if not seen[user, i]]
        tables = {name: registry.get("model", name).table[user] for name in models}
        of = {name: sorted(unseen, key=lambda i, row=row: (-row[i], i)) for name, row in tables.items()}
        inside = set(of[models[0]][:7])
        slow = [i for i in of[models[1]] if i in inside] + [i for i in of[models[1]] if i not in inside]
        assert listed(model, user, len(unseen)) == slow
        recalls.append(len(inside & set(np.flatnonzero(wanted[user]))) / wanted[user].sum())
        n_candidates.append(len(inside))
    about = model.findings()["candidates"]
    assert about["recall"] == pytest.approx(np.mean(recalls)) and about["mean"] == pytest.approx(np.mean(n_candidates))
    assert about["recalls"] == pytest.approx([np.mean(recalls)]) and f"hold {np.mean(recalls):.0%} of what" in model.notes[0]
    again = model.for_refit()
    assert not again.wants_validation() and again.fit(train).findings() == model.findings()
    flat = np.zeros_like(sharp.table)
    sharp.table = flat + rng.random(flat.shape[0])[:, None].astype(np.float32)  # who says the same of all items orders nothing
    assert set(listed(model, 0, 7)) == inside_of(models[0], seen, 0)


def inside_of(name: str, seen: np.ndarray, user: int) -> set[int]:
    table = registry.get("model", name).table[user]
    return set(sorted(np.flatnonzero(~seen[user]).tolist(), key=lambda i: (-table[i], i))[:7])


def test_ndcg_of_rows_equals_a_slow_one():
    rng = np.random.default_rng(2)
    scores, seen = rng.random((8, 25)), rng.random((8, 25)) < 0.2
    truth = (rng.random((8, 25)) < 0.2) & ~seen
    truth[0] = False
    fast = ndcg_rows(scores, seen, sparse.csr_matrix(truth), 5)
    for user in range(8):
        order = [i for i in np.argsort(-scores[user]) if not seen[user, i]][:5]
        gain = sum(1 / np.log2(place + 2) for place, i in enumerate(order) if truth[user, i])
        ideal = sum(1 / np.log2(place + 2) for place in range(min(5, truth[user].sum()))) or 1
        assert fast[user] == pytest.approx(gain / ideal)


@pytest.mark.parametrize(
    ("key", "values", "says"),
    [
        ("rank_fusion", {"depth": 0}, "at least 1"),
        ("rank_fusion", {"rule": "condorcet"}, "one of reciprocal, borda, combmnz"),
        ("switching", {"models": ["popular", "random"], "limits": [5, 10]}, "one number fewer than the 2 models; got 5, 10"),
        ("switching", {"models": ["popular", "random", "ease"], "limits": [10, 5]}, "must rise"),
        ("switching", {"models": ["popular", "random"], "limits": [-3]}, "must rise and be 0 or more; got -3"),
        ("cascade", {"models": ["popular"]}, "two at least"),
        ("cascade", {"models": ["popular", "random"], "order_by": "ease"}, "one of popular, random; got 'ease'"),
        ("average", {"models": ["popular", "switching"]}, "is a fusion itself"),
    ],
)
def test_bad_settings_name_rule_and_value(key, values, says):
    with pytest.raises(ParamError, match=says):
        make(key, **values)
