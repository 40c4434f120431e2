"""Questions to new users: hand-worked worth, a slow reference, answers of all kinds, what a model is told of them, cost."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.evaluation import questions
from recsys_core.evaluation.questions import AnswerScale, Asker, told

LIKE, DISLIKE = 5.0, 1.0


def _ratings(rows, threshold=4.0):
    frame = pd.DataFrame(rows, columns=["user", "item", "value"])
    return from_frame(frame, value="value", feedback="explicit", threshold=threshold)


class _Model(SimpleNamespace):
    """What of a model is asked here."""

    __hash__ = object.__hash__


@pytest.fixture(scope="module")
def clubs():
    """Four people like a1 and a2, four like b1 and b2, all eight like e; two of each club also know z and dislike it."""
    rows = [(f"{club}{n}", item, LIKE) for club in "ab" for n in range(4) for item in ("e", f"{club}1", f"{club}2")]
    return _ratings(rows + [(f"{club}{n}", "z", DISLIKE) for club in "ab" for n in range(2)])


def _random(seed=0, n_users=40, n_items=18):
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{u:02}", f"i{i:02}", float(rng.integers(1, 6)))
        for u in range(n_users)
        for i in range(n_items)
        if rng.random() < max(0.7 - i / 30, 0.15)
    ]
    return _ratings(rows)


# ---- the order of questions --------------------------------------------------------------------------
def test_worth_worked_by_hand(clubs):
    """Likers of a1: (1, 1, 1, 0, 0) of (e, a1, a2, b1, b2) against a mean of (1, ½, ½, ½, ½): a distance of 1, shrunk by 4 / (4 + 5)."""
    asker, code = Asker.fit(clubs), {item: i for i, item in enumerate(clubs.items.ids)}
    even = asker._weights([])
    place = {item: int(np.flatnonzero(asker.candidates == code[item])[0]) for item in code}
    chance, moves = asker._like_chance(even), asker._moves(even)
    assert [chance[place[i]] for i in ("e", "a1", "b2", "z")] == pytest.approx([1, 0.5, 0.5, 0])
    assert [moves[place[i]] for i in ("e", "a1", "b2", "z")] == pytest.approx([0, 4 / 9, 4 / 9, 0], abs=1e-6)
    # e is the most popular, but everybody likes it; then a1 is liked: a share ½ of all likes it, so a's weigh 0.8 + 0.2 × ½ against 0.1.
    assert asker.next([])[0] == code["a1"]
    weights = asker._weights([code["a1"]])
    assert weights == pytest.approx([0.9 / 4] * 4 + [0.1 / 4] * 4)
    # a disliked z parts less: half of all dislike it, so 0.5 + 0.5 × ½ against 0.5 × ½, in both clubs.
    assert asker._weights([], [code["z"]]) == pytest.approx(np.array([3, 3, 1, 1, 3, 3, 1, 1]) / 16)


def _slow(train, answers, skipped, n, leave_out=()):
    """The definition, one user and one item at a time, with whole likes for tastes."""
    liked = {(u, i): v >= 4 for u, i, v in zip(train.user.tolist(), train.item.tolist(), train.value.tolist(), strict=True)}
    users, items = range(train.n_users), range(train.n_items)
    known = [sum((u, i) in liked for u in users) for i in items]

    def same(u, i, kind):
        state = "skip" if (u, i) not in liked else "like" if liked[u, i] else "dislike"
        return state == kind

    def weights(told_of):
        out = []
        for u in users:
            weight = 1.0
            for i, kind in told_of:
                trust = 0.8 if kind == "like" else 0.5
                share = max(sum(same(v, i, kind) for v in users) / len(users), 0.5 / len(users))
                weight *= trust * same(u, i, kind) + (1 - trust) * share
            out.append(weight)
        return [w / sum(out) for w in out]

    kinds = [(i, "like" if v >= 4 else "dislike") for i, v in answers] + [(i, "skip") for i in skipped]
    likes, people, found = [k for k in kinds if k[1] == "like"], weights(kinds), []
    for _ in range(n):
        seen_by, best = weights(likes + [(i, "like") for i in found]), (-1.0, None)
        mean = [sum(seen_by[u] * same(u, t, "like") for u in users) for t in items]
        for i in sorted(items, key=lambda i: (-known[i], i)):
            if i in found or i in leave_out or i in [k[0] for k in kinds] or not known[i]:
                continue
            chance = 0.8 * sum(people[u] * same(u, i, "like") for u in users) + 0.2 * sum(same(u, i, "like") for u in users) / len(users)
            share = sum(seen_by[u] * same(u, i, "like") for u in users)
            in_effect = share / sum(w * w for w in seen_by)
            ours = [sum(seen_by[u] * same(u, i, "like") * same(u, t, "like") for u in users) / max(share, 1e-12) for t in items]
            worth = chance * math.sqrt(math.dist(ours, mean) * in_effect / (in_effect + 5))
            if worth > best[0] + 1e-7:
                best = (worth, i)
        found.append(best[1])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_fast_way_equals_the_slow_one(seed):
    train, rng = _random(seed), np.random.default_rng(seed)
    asker, items = Asker.fit(train), rng.permutation(train.n_items).tolist()
    answers = [(items[0], 5.0), (items[1], 2.0), (items[2], 4.0)][:seed]
    skipped, out = items[3 : 3 + seed], items[10 : 10 + seed]
    assert asker.next(answers, skipped, 4, out).tolist() == _slow(train, answers, skipped, 4, out)


def test_answers_steer_the_next_question():
    """Two tastes and no other difference: likes of one bring questions of that one, though nothing else is known."""
    rng = np.random.default_rng(1)
    rows = [
        (f"u{u:03}", f"{'ab'[u % 2]}{i:02}", LIKE if rng.random() < 0.8 else DISLIKE)
        for u in range(200)
        for i in range(20)
        if rng.random() < 0.5
    ]
    rows += [(f"u{u:03}", f"{'ba'[u % 2]}{i:02}", DISLIKE) for u in range(200) for i in range(20) if rng.random() < 0.3]
    train = _ratings(rows)
    asker = Asker.fit(train)
    names = np.asarray(train.items.ids, dtype=object)
    for club, other in ("ab", "ba"):
        answers = [(int(train.items.encode([f"{club}00"])[0]), LIKE), (int(train.items.encode([f"{other}01"])[0]), DISLIKE)]
        assert all(name.startswith(club) for name in names[asker.next(answers, n=5)])
        alone = asker.next([], skipped=[int(c) for c in train.items.encode([f"{club}{i:02}" for i in range(6)])])
        assert names[alone[0]].startswith(other)  # who knows nothing of one taste is of the other


def test_of_several_questions_none_repeats_another(clubs):
    asker, names = Asker.fit(clubs), np.asarray(clubs.items.ids, dtype=object)
    first, second = names[asker.next([], n=2)]
    assert first[0] in "ab" and second[0] in "ab" and first[0] != second[0]  # a2 would ask what a1 asked


def test_nothing_is_asked_twice_and_questions_end(clubs):
    asker, asked = Asker.fit(clubs), []
    while len(found := asker.next([(i, LIKE) for i in asked[::2]], asked[1::2])):
        asked.append(int(found[0]))
    assert sorted(asked) == list(range(clubs.n_items))
    assert len(asker.next([], n=100)) == clubs.n_items
    assert asker.next([], leave_out=list(range(clubs.n_items))).shape == (0,)


@pytest.mark.parametrize("strategy", ["popular", "liked", "random"])
def test_simple_strategies(strategy):
    train = _random(7)
    asker = Asker.fit(train, strategy, seed=3)
    order = asker.next([], n=train.n_items)
    assert sorted(order.tolist()) == list(range(train.n_items))
    if strategy != "random":
        count = np.diff(train.matrix("seen").tocsc().indptr) if strategy == "popular" else train.item_counts
        assert (np.diff(count[order]) <= 0).all()
        assert asker.next([(int(order[0]), 5.0)], [int(order[1])]).tolist() == [order[2]]
    else:
        assert (
            order.tolist()
            == Asker.fit(train, "random", seed=3).next([], n=100).tolist()
            != Asker.fit(train, "random", seed=4).next([], n=100).tolist()
        )


def test_large_data_is_read_in_part_and_any_item_may_be_answered():
    train = _random(5, n_users=80, n_items=30)
    asker = Asker.fit(train, n_candidates=10, n_users=20, seed=1)
    assert asker.known.shape == (20, 30) and len(asker.candidates) == 10
    assert asker.next([], n=30).tolist() == Asker.fit(train, n_candidates=10, n_users=20, seed=1).next([], n=30).tolist()
    outside = int(np.setdiff1d(np.arange(30), asker.candidates)[0])  # the new user searched for it
    before, after = asker._weights([]), asker._weights([outside])
    fans = asker.liked[:, [outside]].toarray().ravel() > 0
    assert fans.any() and (after[fans] > before[fans]).all() and set(asker.next([(outside, 5.0)], n=30)) == set(asker.candidates)
    known, liked = Asker.fit(train).shares(np.arange(30))
    assert known * 80 == pytest.approx(np.diff(train.matrix("seen").tocsc().indptr)) and liked * 80 == pytest.approx(train.item_counts)


def test_a_question_takes_under_20_ms_with_10_000_items():
    """CPU time of this thread, median of ten questions: 20,000 users, 10,000 items, half a million ratings."""
    rng, n = np.random.default_rng(0), 600_000
    item = np.concatenate([(rng.zipf(1.3, n - 10_000) % 10_000), np.arange(10_000)])
    frame = pd.DataFrame({"user": rng.integers(0, 20_000, n), "item": item, "value": rng.integers(1, 6, n)})
    train = from_frame(frame.drop_duplicates(["user", "item"]), value="value", feedback="explicit", threshold=4.0)
    assert train.n_items == 10_000
    asker, answers, skipped, ms = Asker.fit(train), [], [], []
    for number in range(10):
        start = time.thread_time()
        found = int(asker.next(answers, skipped)[0])
        ms.append(1000 * (time.thread_time() - start))
        if number % 3 == 2:
            skipped.append(found)
        else:
            answers.append((found, LIKE if number % 3 else DISLIKE))
    assert np.median(ms) < 20


# ---- what answers mean -------------------------------------------------------------------------------
def test_scale_of_ratings_and_of_choices():
    rated = _ratings([("u", str(n), v) for n, v in enumerate((1, 2, 2, 3, 4, 5, 5))])
    assert AnswerScale.of(rated) == AnswerScale(True, like=5.0, dislike=2.0, threshold=4.0, low=1.0, high=5.0)
    unparted = AnswerScale.of(_ratings([("u", str(n), v) for n, v in enumerate((1, 2, 4, 5))], threshold=None))
    assert unparted.threshold == 3.0 and unparted.liked([2.9, 3.0]).tolist() == [False, True]
    chosen = AnswerScale.of(from_frame(pd.DataFrame({"user": ["u", "v"], "item": ["a", "b"]})))
    assert (chosen.has_ratings, chosen.like, chosen.dislike, chosen.low) == (False, 1.0, 0.0, None)
    assert chosen.liked([1, 0, -1]).tolist() == [True, False, False]
    counted = from_frame(pd.DataFrame({"user": ["u", "v"], "item": ["a", "b"], "n": [3, 9]}), value="n", threshold=3.0)
    assert AnswerScale.of(counted).like == 3.0 and AnswerScale.of(counted).liked([2, 3]).tolist() == [False, True]
    good_only = AnswerScale.of(_ratings([("u", "a", 5.0), ("v", "b", 4.0)]))
    assert good_only.liked([good_only.like, good_only.dislike]).tolist() == [True, good_only.dislike >= 4.0]


def test_without_ratings_only_likes_part_people():
    frame = pd.DataFrame([(f"{c}{n}", f"{c}{i}") for c in "ab" for n in range(5) for i in range(3)], columns=["user", "item"])
    train = from_frame(frame)
    asker, (a, b) = Asker.fit(train), train.items.encode(["a0", "b0"]).tolist()
    even = asker._weights([])
    assert asker._weights([], [a]) == pytest.approx(even)  # nobody there ever disliked anything
    assert asker._weights([], [], [a])[0] < even[0] < asker._weights([a])[0]
    assert np.isfinite(asker._weights([a, b])).all()
    assert str(train.items.ids[asker.next([(a, 1.0)], n=1)[0]]).startswith("a")


HISTORIES = Histories.from_lists([[0, 1], [2], []], [[5.0, 1.0], [2.0], []])


@pytest.mark.parametrize(
    ("feedback", "threshold", "rates", "kept", "hidden"),
    [
        ("explicit", 4.0, False, [[0, 1], [], []], [2]),  # a threshold parts the first row; the second would be taken for liked as a whole
        ("explicit", 4.0, True, [[0, 1], [2], []], []),
        ("explicit", None, False, [[0], [], []], [1, 2]),
        ("implicit", None, False, [[0, 1], [2], []], []),
        ("implicit", 3.0, False, [[0], [], []], [1, 2]),
    ],
)
def test_what_a_model_is_told(feedback, threshold, rates, kept, hidden):
    frame = pd.DataFrame({"user": ["u"] * 5, "item": list("abcde"), "value": [1.0, 2, 3, 4, 5]})
    data = from_frame(frame, value="value", feedback=feedback, threshold=threshold)
    shown, out = told(_Model(fitted=data, predicts_ratings=lambda: rates), HISTORIES)
    assert [shown.items[shown.indptr[b] : shown.indptr[b + 1]].tolist() for b in range(3)] == kept
    assert HISTORIES.items[out].tolist() == hidden and questions.told is told
