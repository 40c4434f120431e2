"""The log of events: what was acknowledged is there, whatever happened to the process, the file or the disk."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_core.errors import BadInput
from recsys_core.serving.live.event_log import EventLog, read_events
from recsys_core.serving.live.predictor import Predictor
from recsys_core.serving.live.records import EVENTS, Event
from tests.unit.live_help import bundle_file, opened

ids = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
events = st.builds(
    Event, user=ids, item=ids, event=st.sampled_from(EVENTS), value=numbers, time=st.floats(0, 1e11),
    features=st.none() | st.dictionaries(ids, st.none() | st.booleans() | ids | numbers, max_size=3),
)  # fmt: skip


def every(path: Path) -> list[Event]:
    return read_events(path)[0]


@settings(max_examples=60, deadline=None)
@given(said=st.lists(events, max_size=8), cut=st.integers(0, 400))
def test_what_is_written_is_read_and_a_cut_tail_costs_only_what_it_cuts(tmp_path_factory, said: list[Event], cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "events.log"
    log = EventLog(path)
    offsets = [log.append(event) for event in said]
    assert [event for _, event in log.fresh()] == said and log.fresh() == []
    for user in {event.user for event in said}:
        assert [event for _, event in log.of(user)] == [event for event in said if event.user == user]
    log.close()
    size = path.stat().st_size if path.exists() else 0
    if size:
        left = max(0, size - cut)
        os.truncate(path, left)
        ends = [*(offset - 1 for offset in offsets[1:]), size]  # a line begins with the break before it
        whole = [event for event, end in zip(said, ends, strict=True) if end <= left]
        assert every(path) == whole
        after = Event("after", "x", "click", None, 5.0)
        log.append(after)
        log.close()
        whole = [event for event, end in zip(said, ends, strict=True) if end <= left + 1]  # one that lacked its break alone has it now
        assert every(path) == [*whole, after], "what is written behind a torn line is not lost with it"


def test_a_damaged_line_is_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    log = EventLog(path)
    places = [log.append(Event("u", f"i{number}", "click", None, float(number))) for number in range(5)]
    log.close()
    content = bytearray(path.read_bytes())
    content[places[2] + 20] ^= 1
    path.write_bytes(bytes(content) + b"no log line at all\n\xff\xfe\n" + b"00000000 {}\n")
    log = EventLog(path)
    assert [event.item for _, event in log.fresh()] == ["i0", "i1", "i3", "i4"] and log.skipped == 4
    predictor = Predictor(opened(tmp_path / "bundle.zip"), EventLog(path))
    assert predictor.state()["damaged_lines"] == 4 and predictor.version("u") == 4


def test_a_line_whose_sum_is_right_but_which_is_no_event_is_damaged_too(tmp_path: Path) -> None:
    import zlib

    lines = [{"u": 7, "i": "a", "e": "click", "t": 1.0}, {"u": "a", "i": "a", "e": "stare", "t": 1.0}, ["a"]]
    texts = [json.dumps(line).encode() for line in lines]
    (tmp_path / "events.log").write_bytes(b"".join(b"%08x %b\n" % (zlib.crc32(text), text) for text in texts))
    log = EventLog(tmp_path / "events.log")
    assert log.fresh() == [] and log.skipped == 3


def test_only_its_owner_may_read_it_and_two_writers_share_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "events.log"
    one, other = EventLog(path), EventLog(path, sync="always")
    for number in range(20):
        (one, other)[number % 2].append(Event("u", str(number), "click", None, 1.0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = [event.item for _, event in one.fresh()]
    assert found == [event.item for _, event in other.fresh()] == [str(number) for number in range(20)]
    assert [one.fresh(), one.append(Event("v", "a", "like", None, 2.0)) > 0, len(other.fresh())] == [[], True, 1]


def test_fresh_comes_in_parts(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.log")
    for number in range(25):
        log.append(Event("u", str(number), "click", None, 1.0))
    reader = EventLog(tmp_path / "events.log")
    assert [len(reader.fresh(10)) for _ in range(4)] == [10, 10, 5, 0]


BURST = """
import sys
from recsys_core.serving.live.event_log import EventLog
from recsys_core.serving.live.records import Event
log = EventLog(sys.argv[1])
for number in range(10**9):
    log.append(Event("u", str(number), "like", None, 1.0))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_a_kill_in_a_burst_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    for _ in range(2):
        before = len(every(path)) if path.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", BURST, str(path)], stdout=subprocess.PIPE)
        assert process.stdout.readline()
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        said = process.stdout.read().split(b"\n")
        process.wait()
        acknowledged = int(said[-2]) + 1  # the last may be cut
        found = [event.item for event in every(path)][before:]
        assert acknowledged > 20 and found[:acknowledged] == [str(number) for number in range(acknowledged)]


FULL = """
import resource, signal, sys
from recsys_core.portable.bundle import Bundle
from recsys_core.serving.live.event_log import EventLog, read_events
from recsys_core.serving.live.predictor import Predictor
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = EventLog(sys.argv[2])
predictor = Predictor(Bundle.open(sys.argv[1]), log)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
items = predictor.bundle.items.ids
receipts = [predictor.feedback(f"u{number % 3}", items[number], "like") for number in range(40)]
assert receipts[0].stored and not receipts[-1].stored and "cannot be written" in receipts[-1].note, receipts[-1]
state = predictor.state()
assert state["log_problem"] and state["events_waiting"] > 20 and state["events"] == 40, state
before = predictor.recommend("u1", k=10)
assert before.path == "fold-in" and items[37] not in before.items
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert predictor.feedback("other", items[0], "skip").stored
state = predictor.state()
assert state["log_problem"] is None and state["events_waiting"] == 0 and state["events"] == 41, state
assert predictor.recommend("u1", k=10) .items == before.items
fresh = Predictor(Bundle.open(sys.argv[1]), EventLog(sys.argv[2]))
assert fresh.recommend("u1", k=10).items == before.items and fresh.version("u1") == predictor.version("u1") == 13
assert [event.item for event in read_events(sys.argv[2])[0]] == [*items[:40], items[0]]
print("ok", fresh.state()["damaged_lines"])
"""


def test_a_full_disk_stops_no_answer_and_loses_nothing(tmp_path: Path) -> None:
    path = bundle_file(tmp_path / "bundle.zip")
    done = subprocess.run([sys.executable, "-c", FULL, str(path), str(tmp_path / "events.log")], capture_output=True, text=True)
    assert done.stdout.startswith("ok"), done.stderr[-2000:]


def test_a_folder_that_cannot_be_written_and_then_can(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file where the folder should be")
    log = EventLog(tmp_path / "there" / "events.log")
    predictor = Predictor(opened(tmp_path / "bundle.zip"), log)
    items = predictor.bundle.items.ids
    receipt = predictor.feedback("u", items[0], "like")
    assert not receipt.stored and receipt.offset == -1 and log.problem in receipt.note
    assert predictor.recommend("u").path == "fold-in"
    (tmp_path / "there").unlink()
    deadline = time.monotonic() + 10  # it is tried again by itself
    while log.waiting and time.monotonic() < deadline:
        time.sleep(0.05)
    assert log.problem is None and [event.item for event in every(log.path)] == [items[0]]
    assert predictor.version("u") == 1 and predictor.state()["events"] == 1, "not taken in twice"


def test_a_device_that_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("Needs /dev/full, which this system does not have.")
    predictor = Predictor(opened(tmp_path / "bundle.zip"), EventLog("/dev/full"), max_users=1)
    for number in range(6):
        assert not predictor.feedback(f"u{number % 2}", predictor.bundle.items.ids[number], "like").stored
    assert "No space left" in predictor.state()["log_problem"]
    assert [predictor.version(f"u{number}") for number in (0, 1)] == [3, 3], "kept although there is room for one user"


def test_a_file_that_is_moved_away_or_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_core.serving.live.event_log.LOOK_SECONDS", 0.0)
    path = tmp_path / "events.log"
    predictor = Predictor(opened(tmp_path / "bundle.zip"), EventLog(path))
    items = predictor.bundle.items.ids
    predictor.feedback("u", items[0], "like")
    other = EventLog(path)  # of a worker that nobody sends events to
    assert [event.item for _, event in other.fresh()] == [items[0]] and predictor.version("u") == 1  # in memory now
    path.rename(tmp_path / "kept.log")
    assert predictor.feedback("u", items[1], "like").stored
    assert [event.item for _, event in other.fresh()] == [items[1]]
    assert [event.item for event in every(path)] == [items[1]] and predictor.version("u") == 2
    os.truncate(path, 0)
    assert predictor.feedback("u", items[2], "like").stored and predictor.version("u") == 3


def test_what_cannot_be_written_down_blocks_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.log")
    with pytest.raises(BadInput, match="cannot be written down"):
        log.append(Event("u", "i", "like", float("nan"), 1.0))
    assert log.append(Event("u", "i", "like", None, 1.0)) > 0 and log.waiting == 0
