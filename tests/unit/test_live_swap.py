"""Another bundle takes the place of the one in use: checked first, between two requests, and taken out again when it fails."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from recsys_core.errors import BadInput
from recsys_core.portable.bundle import Bundle
from recsys_core.serving.bundle_about import probes
from recsys_core.serving.live.event_log import EventLog
from recsys_core.serving.live.predictor import Predictor
from recsys_core.serving.live.swap import Live
from tests.unit.live_help import bundle_file


def made(path: Path, key: str = "ease", *, wrong: bool = False, **about) -> Path:
    """A bundle with its proof lists; wrong: with others."""
    first = Bundle.open(bundle_file(path, key=key))
    lists = probes(first, [first.history(user) for user in range(20)])
    if wrong:
        lists = [one | {"top": one["items"][:10]} for one in lists]
    return bundle_file(path, key=key, probes=lists, **about)


def replaced(target: Path, by: Path) -> None:
    shutil.copy(by, target.with_suffix(".new"))
    os.replace(target.with_suffix(".new"), target)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "ease": made(folder / "ease.zip"), "knn": made(folder / "knn.zip", "item_knn"),
        "wrong": made(folder / "wrong.zip", wrong=True), "newer": made(folder / "newer.zip", variant="newer"),
    }  # fmt: skip


@pytest.fixture
def live(files: dict[str, Path], tmp_path: Path):
    shutil.copy(files["ease"], tmp_path / "live.zip")
    found = Live(tmp_path / "live.zip", lambda: EventLog(tmp_path / "events.log"))
    yield found
    found.close()


def test_a_bad_bundle_is_refused_and_the_old_one_goes_on(live: Live, files: dict[str, Path]) -> None:
    before, serving = live.predictor, live.predictor.bundle.fingerprint
    damaged = bytearray(files["knn"].read_bytes())
    damaged[len(damaged) // 2] ^= 255
    tried = {
        bytes(damaged): "damaged",
        b"no zip": "not a bundle",
        b"": "not a bundle",
        files["knn"].read_bytes()[:-500]: "not a bundle",
        files["wrong"].read_bytes(): "lists it was made with",
    }
    for content, said in tried.items():
        live.path.write_bytes(content)  # over it in place, as a careless copy does
        assert not live.watch() and said in live.problem, live.problem
        assert live.path.name in live.problem or "lists" in live.problem, "it names the file that was given, not its copy"
        assert not live.watch(), "the same file is not tried again"
        assert live.predictor is before and before.bundle.archive.fingerprint == serving
        assert before.recommend(history=before.bundle.items.ids[:3]).path == "fold-in"
    live.path.unlink()
    assert not live.watch() and "is gone" in live.problem
    shutil.copy(files["knn"], live.path)
    assert live.watch() and live.problem is None and live.as_dict()["swaps"] == 1
    with pytest.raises(BadInput, match="There is no file"):
        Live(live.path.with_name("nowhere.zip"))


def test_a_swap_keeps_what_users_did(live: Live, files: dict[str, Path]) -> None:
    item = live.predictor.bundle.items.ids[7]
    live.predictor.feedback("u", item, "like")
    live.predictor.feedback("u", "new", "like", features={"genres": "War"})
    older = live.predictor
    replaced(live.path, files["knn"])
    assert live.watch() and live.predictor.bundle.label != older.bundle.label
    assert live.predictor.version("u") == 2 and item not in live.predictor.recommend("u", k=100).items
    older.feedback("u", live.predictor.bundle.items.ids[8], "like")  # of a request that was still at work
    assert live.predictor.version("u") == 3
    assert live.roll_back("as asked") and live.predictor is older and older.version("u") == 3
    assert not live.watch() and not live.roll_back("again"), "one that was taken out is not taken up again"


def test_events_that_wait_for_the_disk_come_along(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file where the folder should be")
    shutil.copy(files["ease"], tmp_path / "live.zip")
    live = Live(tmp_path / "live.zip", lambda: EventLog(tmp_path / "there" / "events.log"))
    assert not live.predictor.feedback("u", live.predictor.bundle.items.ids[0], "like").stored
    older = live.predictor
    replaced(live.path, files["newer"])
    assert live.watch() and live.predictor.version("u") == 1
    (tmp_path / "there").unlink()
    assert older.log.flush() and live.predictor.version("u") == 1 and live.predictor.state()["events"] == 1
    live.close()


def test_no_request_fails_while_bundles_are_swapped(live: Live, files: dict[str, Path]) -> None:
    failed, answered, stop = [], [0] * 4, threading.Event()

    def ask(number: int) -> None:
        turn = 0
        while not stop.is_set():
            try:
                with live.use() as predictor:
                    predictor.feedback(f"u{number}", predictor.bundle.items.ids[turn % 100], "like")
                    assert len(predictor.recommend(f"u{number}", k=5, exclude_seen=False).items) == 5
                answered[number] += 1
            except Exception as error:
                failed.append(error)
            turn += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    swaps = 0
    for name in ("knn", "newer", "knn", "ease"):
        replaced(live.path, files[name])
        swaps += live.watch()
    stop.set()
    [thread.join() for thread in threads]
    assert not failed and swaps == live.swaps == 4 and min(answered) > 0
    assert [live.predictor.version(f"u{number}") for number in range(4)] == answered


def test_one_that_fails_at_work_gives_way(live: Live, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    older = live.predictor
    replaced(live.path, files["knn"])
    assert live.watch()
    newer = live.predictor
    monkeypatch.setattr(newer.bundle.form, "scores", lambda *_: 1 / 0)
    for _ in range(100):
        with pytest.raises(BadInput), live.use() as predictor:
            predictor.recommend(k=0)  # a wrong question is no fault of the bundle
    assert live.predictor is newer
    failures = 0
    while live.predictor is newer and failures < 50:
        with pytest.raises(ZeroDivisionError), live.use() as predictor:
            predictor.recommend(history=["x", newer.bundle.items.ids[0]])
        failures += 1
    assert live.predictor is older and failures <= 6 and live.roll_backs == 1 and "failed" in live.problem
    assert older.recommend(history=older.bundle.items.ids[:2]).path == "fold-in"


def test_one_that_proved_itself_stays(live: Live, files: dict[str, Path]) -> None:
    older = live.predictor
    replaced(live.path, files["knn"])
    assert live.watch()
    for _ in range(200):
        with live.use() as predictor:
            predictor.recommend(history=predictor.bundle.items.ids[:2])
    assert not live.roll_back("too late") and older.log._file == -1 and live.predictor.log is not older.log


def test_scores_that_are_no_numbers_are_refused(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "best", lambda self, history, k: (np.arange(k), np.full(k, np.nan, np.float32)))
    with pytest.raises(BadInput, match="no numbers"):
        Live(files["ease"], spool=tmp_path / "spool", make=Predictor)


def test_without_a_log_what_was_told_is_handed_on(files: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(files["ease"], tmp_path / "live.zip")
    live = Live(tmp_path / "live.zip")
    liked, skipped, disliked = live.predictor.recommend("u", k=3).items
    for item, event in ((liked, "like"), (skipped, "skip"), (disliked, "dislike"), ("later", "like")):
        live.predictor.feedback("u", item, event, features={"genres": "Drama"} if item == "later" else None)
    replaced(tmp_path / "live.zip", files["knn"])
    assert live.watch() and live.predictor.version("u") == live.predictor.n_events == 4
    answer = live.predictor.recommend("u", k=100)
    assert answer.path == "fold-in" and not {liked, skipped, disliked, "later"} & set(answer.items)
    assert "later" in live.predictor.recommend("somebody else", k=200).items and live.predictor.popularity.scores(1000).max() == 1
    live.close()
