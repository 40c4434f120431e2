"""The predictor: every event changes the next list, whoever wrote it and whatever was restarted in between."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.errors import BadInput
from recsys_core.portable.bundle import Bundle, best_of
from recsys_core.portable.history import History
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.live.event_log import EventLog
from recsys_core.serving.live.predictor import Predictor
from recsys_core.serving.live.records import Context, Filters
from recsys_core.testing.datasets import tastes
from tests.unit.live_help import data, model, opened

NOW = 2_000_000_000.0


class Setting:
    """A bundle and a log in one folder; `predictor()` opens both anew, as a restart does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, [NOW]

    def predictor(self, *, ratings: bool = False, log: bool = True, **options) -> Predictor:
        events = EventLog(self.folder / "events.log") if log else None
        bundle = opened(self.folder / f"bundle-{ratings}.zip", ratings=ratings)
        return Predictor(bundle, events, clock=lambda: self.clock[0], **options)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def user_of(code: int) -> str:
    return data().users.decode(np.array([code]))[0]


def test_every_event_is_in_the_next_list_and_the_path_says_how_it_came(setting: Setting) -> None:
    predictor, user = setting.predictor(), user_of(0)
    before = predictor.recommend(user, k=10)
    assert before.path == "model" and len(before.items) == 10 and before.bundle == predictor.bundle.fingerprint[:12]
    clicked = before.items[3]
    receipt = predictor.feedback(user, clicked, "click")
    assert receipt.stored and receipt.offset > 0
    after = predictor.recommend(user, k=10)
    assert after.path == "fold-in" and clicked not in after.items
    trained = predictor.bundle.history(predictor.bundle.users.code(user)).items
    told = np.append(trained, predictor.bundle.items.code(clicked))
    same = predictor.recommend(history=predictor.bundle.items.decode(told), k=10)
    assert same.items == after.items, "what is known of a user is training and then the events"
    assert clicked in predictor.recommend(user, k=100, exclude_seen=False).items


def test_a_stranger_goes_from_popular_to_fold_in(setting: Setting) -> None:
    predictor = setting.predictor()
    popular = predictor.recommend("stranger", k=5)
    assert popular.path == "popular" and popular.notes and predictor.recommend(k=5).items == popular.items
    by_count = np.argsort(-predictor.bundle.counts, kind="stable")[:5]
    assert popular.items == tuple(predictor.bundle.items.decode(by_count))
    item = predictor.bundle.items.ids[12]  # of taste 2
    predictor.feedback("stranger", item, "like")
    answer = predictor.recommend("stranger", k=5)
    assert answer.path == "fold-in"
    assert sum(predictor.bundle.items.code(found) % 5 == 2 for found in answer.items) >= 4


@pytest.mark.parametrize("ratings", [False, True])
def test_of_a_like_and_a_dislike_the_latest_counts(setting: Setting, ratings: bool) -> None:
    predictor = setting.predictor(ratings=ratings)
    kept, doubted = predictor.bundle.items.ids[10], predictor.bundle.items.ids[11]
    for user, events in {"once": ["like"], "back": ["dislike", "like"], "forth": ["like", "dislike"], "never": []}.items():
        predictor.feedback(user, kept, "like")
        for event in events:
            predictor.feedback(user, doubted, event)
    lists = {user: predictor.recommend(user, k=20) for user in ("once", "back", "forth", "never")}
    assert lists["once"].scores == lists["back"].scores
    assert lists["forth"].scores != lists["back"].scores
    assert doubted not in lists["forth"].items and doubted in predictor.recommend("never", k=100).items


def test_a_rating_takes_the_place_of_the_one_in_training(setting: Setting) -> None:
    predictor = setting.predictor(ratings=True)
    user = data(ratings=True).users.decode(np.array([0]))[0]
    trained = predictor.bundle.history(predictor.bundle.users.code(user))
    item = predictor.bundle.items.ids[trained.items[0]]
    predictor.feedback(user, item, "rating", value=3.0)
    asked = predictor._asked(user, None, None, None)
    assert asked.known.items.tolist().count(trained.items[0]) == 1 and asked.known.values[-1] == 3.0
    assert len(asked.known) == len(trained)


def test_a_skip_keeps_an_item_off_for_a_while_and_tells_the_model_nothing(setting: Setting) -> None:
    predictor, user = setting.predictor(), user_of(1)
    before = predictor.recommend(user, k=10)
    predictor.feedback(user, before.items[0], "skip")
    after = predictor.recommend(user, k=9)
    assert after.path == "model" and after.items == before.items[1:] and after.scores == before.scores[1:]
    assert before.items[0] not in predictor.recommend(user, k=100, exclude_seen=False).items
    for item in predictor.bundle.items.ids[:50]:
        predictor.feedback("skipper", item, "skip")
    first, second = predictor.bundle.items.ids[0], predictor.bundle.items.ids[1]
    predictor.feedback("skipper", second, "skip")  # said again: newest now, and still fifty
    shown = set(predictor.recommend("skipper", k=100).items)
    assert first not in shown and len(shown & set(predictor.bundle.items.ids[:50])) == 0
    predictor.feedback("skipper", predictor.bundle.items.ids[60], "skip")
    assert first in predictor.recommend("skipper", k=100).items, "the fifty-first gives the oldest back"


def test_a_restart_an_eviction_and_a_second_process_see_the_same(setting: Setting) -> None:
    one = setting.predictor(max_users=2)
    other = setting.predictor(max_users=50)
    rng = np.random.default_rng(1)
    users = [user_of(0), user_of(1), "a", "b\n\u2028c", "😀"]
    for number in range(60):
        setting.clock[0] += 3600 if number % 7 else -7200  # a clock that runs backwards now and then
        event = ("click", "skip", "dislike", "like", "purchase")[rng.integers(5)]
        new = number % 11 == 0
        item = f"new {number}" if new else one.bundle.items.ids[rng.integers(100)]
        writer = one if number % 2 else other
        writer.feedback(users[number % 5], item, event, features={"genres": "War|Long"} if new else None)
    again = setting.predictor()
    for user in users:
        answers = [predictor.recommend(user, k=30) for predictor in (one, other, again)]
        assert len({answer.items for answer in answers}) == 1, user
        assert len({answer.path for answer in answers}) == 1
        assert one.version(user) == other.version(user) == again.version(user) == 12
    popular = [predictor.recommend(k=100).items for predictor in (one, other, again)]
    assert popular[0] == popular[1] == popular[2]
    assert one.state()["users_in_memory"] == 2 and again.state()["events"] == 60


def test_new_items_are_served_by_their_columns_and_a_user_of_new_items_gets_content(setting: Setting) -> None:
    predictor = setting.predictor()
    predictor.feedback("a", "fresh war film", "like", features={"genres": "War|Long"})
    answer = predictor.recommend("a", k=5)
    assert answer.path == "content" and all(predictor.bundle.items.code(item) % 5 == 1 for item in answer.items)
    lover = user_of(int(np.argmax([sum(h % 5 == 1 for h in predictor.bundle.history(u).items) for u in range(50)])))
    scores = dict(zip(*(lambda a: (a.items, a.scores))(predictor.recommend(lover, k=101)), strict=True))
    near, like = predictor.catalogue.content.neighbours(predictor.bundle.items.code("fresh war film"))
    whole = predictor.bundle.scores(predictor.bundle.history(predictor.bundle.users.code(lover)), predictor.bundle.users.code(lover))
    assert scores["fresh war film"] == pytest.approx(float(np.average(whole[near], weights=like)), rel=1e-5)
    predictor.feedback("b", "bare", "like")
    assert predictor.recommend("b", k=5).path == "popular", "nothing is known of an item without columns"
    assert "bare" not in predictor.recommend(lover, k=101).items
    assert "bare" in predictor.recommend("c", k=102).items, "popularity reaches it"
    predictor.feedback("d", "bare", "dislike", features={"genres": "War|Long"})
    assert predictor.recommend("b", k=5).path == "content", "columns may come later"
    assert predictor.recommend("d", k=5).path == "popular", "a disliked new item says nothing of what is liked"
    assert predictor.similar("bare", 3).path == "content" and predictor.similar("bare", 3).items[0] == "fresh war film"


def test_the_context_counts_for_one_answer(setting: Setting) -> None:
    predictor = setting.predictor()
    looked = predictor.bundle.items.ids[13]
    answer = predictor.recommend("x", k=5, context=Context(item=looked))
    assert answer.items == predictor.recommend(history=[looked], k=5).items and looked not in answer.items
    assert predictor.recommend("x", k=5).path == "popular"
    assert predictor.recommend(user_of(2), context=Context(time=5.0, item=looked)).path == "fold-in"
    assert predictor.recommend("x", context=Context(item="nobody knows it")).unknown == ("nobody knows it",)


def test_filters_and_what_they_leave(setting: Setting) -> None:
    predictor = setting.predictor()
    answer = predictor.recommend(user_of(0), k=50, filters=Filters({"genres": ["war"]}, at_least={"year": 1960}))
    assert len(answer.items) < 50 and any("Only" in note for note in answer.notes)
    with pytest.raises(BadInput, match="no item column 'colour'"):
        predictor.recommend("x", filters=Filters({"colour": ["red"]}))
    only = predictor.bundle.items.ids[90:95]
    assert set(predictor.recommend("x", filters=Filters(only=only, exclude=only[:2])).items) == set(only[2:])


def test_reasons_add_up_or_say_that_they_do_not(setting: Setting) -> None:
    predictor = setting.predictor()
    history = predictor.bundle.items.ids[10:14]
    item = predictor.recommend(history=history, k=1).items[0]
    why = predictor.explain(history=history, item=item, k=4)
    assert why.exact and sum(part for _, part in why.parts) == pytest.approx(why.total, rel=1e-4)
    predictor.bundle.form.shares = lambda item, history: None  # as a form that cannot tell
    left = predictor.explain(history=history, item=item, k=4)
    assert not left.exact and dict(left.parts) == pytest.approx(dict(why.parts), rel=1e-3), "of a sum, leaving out is the share"
    predictor.feedback("a", "n1", "like", features={"genres": "War|Long"})
    new = predictor.explain(user_of(0), item="n1", k=20)
    assert sum(part for _, part in new.parts) == pytest.approx(new.total, rel=1e-4) and new.exact


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"event": "stare"}, "click, view, like, purchase, dislike, skip, rating"),
        ({"event": "rating"}, "rating needs a value"), ({"event": "rating", "value": float("nan")}, "value"),
        ({"user": ""}, "id of a user"), ({"user": "x" * 513}, "id of a user"), ({"item": "\ud800"}, "no valid text"),
        ({"item": 7}, "id of a item|id of an item"), ({"time": -5.0}, "time"), ({"time": 10**400}, "time"), ({"time": "noon"}, "time"),
        ({"value": 10**400, "event": "rating"}, "value"), ({"features": {"a": float("nan")}}, "column"), ({"features": [1]}, "features"),
        ({"features": {"a": ["b"]}}, "column"), ({"features": {1: "b"}}, "column"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_and_spoils_nothing(setting: Setting, asked: dict, said: str) -> None:
    predictor = setting.predictor()
    with pytest.raises(BadInput, match=said):
        predictor.feedback(**({"user": "u", "item": predictor.bundle.items.ids[0]} | asked))
    assert predictor.state()["events"] == 0
    assert predictor.feedback("u", predictor.bundle.items.ids[0], "like").stored


def test_times_ahead_are_now_and_times_back_keep_the_order_of_arrival(setting: Setting) -> None:
    predictor = setting.predictor()
    first, second = predictor.bundle.items.ids[3:5]
    note = predictor.feedback("u", first, time=NOW + 1e8).note
    assert "future" in note
    predictor.feedback("u", second, time=NOW - 1e6)
    known = predictor._asked("u", None, None, None).known
    assert known.items.tolist() == [3, 4] and known.times.tolist() == [NOW, NOW]


def test_popularity_of_old_data_outlives_one_click(setting: Setting) -> None:
    predictor = setting.predictor()
    last = int(np.argmin(predictor.bundle.counts))
    before = predictor.recommend(k=101).items
    predictor.feedback("u", predictor.bundle.items.ids[last])
    assert predictor.recommend(k=5).items == before[:5]
    setting.clock[0] += 86_400 * 365 * 30  # thirty years of silence, then one click: first now, the rest as it was
    predictor.feedback("u", predictor.bundle.items.ids[last])
    after = [item for item in predictor.recommend(k=101).items if item != predictor.bundle.items.ids[last]]
    assert predictor.recommend(k=1).items[0] == predictor.bundle.items.ids[last]
    counted = int((predictor.bundle.counts > 0).sum()) - 2
    assert after[:counted] == [item for item in before if item != predictor.bundle.items.ids[last]][:counted]


def test_many_threads_lose_nothing(setting: Setting) -> None:
    predictor, failed = setting.predictor(max_users=3), []

    def work(number: int) -> None:
        try:
            for turn in range(40):
                new = turn % 10 == 0
                item = f"new {number} {turn}" if new else predictor.bundle.items.ids[turn]
                predictor.feedback(f"user {(number + turn) % 6}", item, "like", features={"genres": "War"} if new else None)
                predictor.recommend(f"user {turn % 6}", filters=Filters({"genres": ["war", "drama"]}))
                predictor.similar(predictor.bundle.items.ids[turn], 3)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed and predictor.state()["events"] == 160
    assert sum(predictor.version(f"user {number}") for number in range(6)) == 160


def test_a_model_that_fails_does_not_lose_the_event(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = setting.predictor()
    monkeypatch.setattr(predictor.bundle.form, "scores", lambda *_: 1 / 0)
    assert predictor.feedback(user_of(0), predictor.bundle.items.ids[0], "like").stored
    assert "ZeroDivisionError" in predictor.state()["drift_problem"]


def test_without_a_log_events_count_until_the_user_is_forgotten(setting: Setting) -> None:
    predictor = setting.predictor(log=False, max_users=1)
    item = predictor.bundle.items.ids[0]
    assert not predictor.feedback("a", item).stored and predictor.recommend("a").path == "fold-in"
    predictor.feedback("b", item)
    assert predictor.recommend("a").path == "popular"


def test_what_an_update_took_in_is_not_counted_twice(setting: Setting) -> None:
    from recsys_core.serving.live.event_log import read_events

    first = setting.predictor()
    items = first.bundle.items.ids
    for item in items[:3]:
        first.feedback("u", item)
    until = read_events(first.log.path)[2]
    first.feedback("u", items[5])
    bundle = opened(setting.folder / "bundle-False.zip")
    bundle.manifest["updated"] = {"until": until}
    updated = Predictor(bundle, EventLog(first.log.path))
    assert updated.version("u") == updated.state()["events"] == 1
    other = EventLog(setting.folder / "begun anew.log")
    assert Predictor(bundle, other).feedback("u", items[5]).stored and Predictor(bundle, other).version("u") == 1


def test_a_log_that_happens_to_be_as_long_is_not_the_one_an_update_read(setting: Setting) -> None:
    from recsys_core.serving.live.event_log import read_events, tail_of

    first = setting.predictor()
    item = first.bundle.items.ids[0]
    for user in ("u1", "u2"):
        first.feedback(user, item, time=1000.0)
    until = read_events(first.log.path)[2]
    bundle = opened(setting.folder / "bundle-False.zip")
    bundle.manifest["updated"] = {"until": until, "tail": tail_of(first.log.path, until)}
    assert Predictor(bundle, EventLog(first.log.path)).version("u1") == 0
    other = EventLog(setting.folder / "another.log")
    for user in ("v1", "v2", "v3"):
        Predictor(bundle, other).feedback(user, item, time=1000.0)
    renamed = Predictor(bundle, EventLog(first.log.path))
    first.log.path.rename(setting.folder / "kept.log")
    renamed.log._looked = -1e9  # now
    assert renamed.feedback("u1", item, time=1000.0).stored and renamed.version("u1") == 1, "at the beginning of a file of its own"
    assert other.ends_at(until), "a line of it ends at the same place"
    assert [Predictor(bundle, EventLog(other.path)).version(user) for user in ("v1", "v2", "v3")] == [1, 1, 1]


def test_what_no_update_can_hold_is_still_known_after_it(setting: Setting) -> None:
    from recsys_core.serving.live.event_log import read_events

    first = setting.predictor()
    skipped = first.recommend("u").items[0]
    first.feedback("u", skipped, "skip")
    first.feedback("v", "brought later", "like")
    disliked = first.recommend("w").items[0]
    first.feedback("w", disliked, "dislike")
    for item in [item for item in first.bundle.items.ids if item != disliked][:60]:
        first.feedback("w", item, "skip")  # which are forgotten one by one; a dislike is not
    bundle = opened(setting.folder / "bundle-False.zip")
    bundle.manifest["updated"] = {"until": read_events(first.log.path)[2]}
    updated = Predictor(bundle, EventLog(first.log.path))
    assert skipped not in updated.recommend("u").items and disliked not in updated.recommend("w").items
    assert updated.bundle.items.code("brought later") == bundle.n_items and updated.version("v") == 1


def test_an_update_without_users_leaves_it_to_the_log_what_they_did(setting: Setting) -> None:
    from recsys_core.serving.live.event_log import read_events

    first = setting.predictor()
    liked = list(first.bundle.items.ids[:3])
    for item in liked:
        first.feedback("u", item, "like")
    about = {"updated": {"until": read_events(first.log.path)[2]}}
    write_bundle(model(), setting.folder / "nobody.zip", with_users=False, about=about)
    updated = Predictor(Bundle.open(setting.folder / "nobody.zip"), EventLog(first.log.path))
    assert updated.recommend("u").path == "fold-in" and not set(liked) & set(updated.recommend("u", k=50).items)
    assert updated.popularity._weights.tolist() == updated.bundle.counts.tolist(), "in its counts already"


@pytest.mark.parametrize("ratings", [False, True])
def test_an_update_knows_of_everybody_what_was_known_while_it_was_served(setting: Setting, ratings: bool) -> None:
    from recsys_core.serving.taking_in import with_events
    from recsys_core.serving.updating import events_of

    rng, predictor = np.random.default_rng(5), setting.predictor(ratings=ratings)
    train, scale = data(ratings=ratings), predictor.bundle.scale
    people, items = [*train.users.ids[:6], "new1", "new2"], train.items.ids[:12]
    for _ in range(300):
        event = str(rng.choice(["like", "click", "dislike", "rating", "skip"]))
        when = NOW - float(rng.integers(0, 10**6))  # they come late, and not in order
        value = float(rng.integers(1, 6)) if event == "rating" else None
        predictor.feedback(str(rng.choice(people)), str(rng.choice(items)), event, value=value, time=when)
    joined, _ = with_events(train, events_of(predictor.log.path)[0])
    for user in people:
        served = predictor._asked(user, None, None, None).known
        if not ratings:
            served = served.take(scale.liked(served.values))
        kept = joined.histories(joined.users.encode([user]))
        assert (kept.items.tolist(), kept.values.tolist()) == (served.items.tolist(), served.values.tolist()), user


def test_ratings_off_the_scale_are_taken_for_its_end_and_what_is_looked_at_is_the_newest(setting: Setting) -> None:
    predictor = setting.predictor(ratings=True)
    item, other = predictor.bundle.items.ids[:2]
    highest = data(ratings=True).value.max()
    assert f"end at {highest:g}; 5000 was taken for that" in predictor.feedback("u", item, "rating", value=5000).note
    assert predictor._asked("u", None, None, None).known.values.tolist() == [highest]
    assert predictor._asked(None, [item], [1e9], None).known.values.tolist() == [highest]
    known = predictor._asked("u", None, None, Context(time=5.0, item=other)).known
    assert known.items[-1] == 1 and known.times[-1] >= known.times[0]


def test_of_a_fusion_it_is_told_which_model_brought_an_item(tmp_path: Path) -> None:
    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.serving.bundle import write_bundle

    fused = registry.get("model", "weighted")(models=["ease", "popular"], weights="equal").fit(data(), RunContext(threads=1))
    write_bundle(fused, tmp_path / "fused.zip")
    predictor = Predictor(opened(tmp_path / "fused.zip"))
    history = predictor.bundle.items.ids[10:14]
    why = predictor.explain(history=history, item=predictor.recommend(history=history, k=1).items[0])
    assert len(why.models) == 2 and sum(share for _, share in why.models) == pytest.approx(why.total, rel=1e-3)
    assert why.parts and not why.exact


def test_what_training_took_for_chosen_stays_told_when_a_click_comes(tmp_path: Path) -> None:
    """Ratings without a threshold: low ones were taken for chosen in training, so a click must not make them vanish."""
    train = replace(data(ratings=True), threshold=None)
    write_bundle(registry.get("model", "ease")().fit(train, RunContext(threads=1)), tmp_path / "b.zip")
    bundle = Bundle.open(tmp_path / "b.zip")
    low = next(user for user in range(train.n_users) if (bundle.history(user).values < bundle.scale.threshold).sum() > 2)
    past = bundle.history(low)
    item = next(code for code in range(train.n_items) if code not in past.items)
    predictor = Predictor(bundle)
    predictor.feedback(user_of(low), bundle.items.ids[item], "like")
    answer = predictor.recommend(user_of(low), k=5)
    wanted = bundle.form.scores(History.of([*past.items, item], [*past.values, bundle.scale.like]))
    wanted[[*past.items, item]] = -np.inf
    codes, scores = best_of(wanted, 5)
    assert answer.path == "fold-in" and answer.items == tuple(bundle.items.decode(codes))
    np.testing.assert_allclose(answer.scores, scores, rtol=1e-5)
    predictor.feedback(user_of(low), bundle.items.ids[item], "dislike")
    told = bundle.form.scores(past)
    told[[*past.items, item]] = -np.inf
    assert predictor.recommend(user_of(low), k=5).items == tuple(bundle.items.decode(best_of(told, 5)[0])), "a dislike is not told"


def test_a_stranger_gets_what_a_model_with_a_prior_expects_of_anybody(tmp_path: Path) -> None:
    sizes = {"epochs": 1, "factors": 4, "hidden": 4, "inner_steps": 1, "batch_size": 32}
    write_bundle(registry.get("model", "fomaml")(**sizes).fit(tastes().train, RunContext(threads=1)), tmp_path / "b.zip")
    bundle = Bundle.open(tmp_path / "b.zip")
    answer = Predictor(bundle).recommend("nobody knows", k=5)
    assert answer.path == "model" and answer.items == tuple(bundle.items.decode(best_of(bundle.scores(History.of([])), 5)[0]))
    assert Predictor(bundle).recommend(k=5).path == "popular"


def test_drift_is_known_after_a_restart_and_to_every_process_but_not_of_another_bundle(setting: Setting, tmp_path: Path) -> None:
    first, second = setting.predictor(), setting.predictor()
    for user in range(6):
        first.feedback(user_of(user), first.recommend(user_of(user), k=3).items[0], "like")  # foretold
    second.feedback("stranger", "never heard of", "like")  # not foretold
    assert [one.state()["drift"]["n"] for one in (first, second, setting.predictor())] == [7, 7, 7]
    assert setting.predictor().drift.now.rate == pytest.approx(6 / 7)
    other = Predictor(opened(tmp_path / "other.zip", key="item_knn"), EventLog(setting.folder / "events.log"), clock=lambda: NOW)
    assert other.version(user_of(0)) == 1 and other.drift.n == 0, "what another bundle foretold is no news of this one"
