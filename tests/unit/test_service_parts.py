"""The parts of the service, each alone: what it is told, keys, rates, who gets which bundle, what is counted and cached."""

import json
import stat

import numpy as np
import pandas as pd
import pytest

from recsys_core.cli import main
from recsys_core.errors import BadInput
from recsys_core.evaluation.ab import experiment, guess_roles, readout, sample_ratio
from recsys_core.serving.http.cache import AnswerCache
from recsys_core.serving.http.keys import Key, KeyRing, hash_key, new_key
from recsys_core.serving.http.limits import RateLimiter, Shares
from recsys_core.serving.http.logs import Hasher, salt_of
from recsys_core.serving.http.routing import Assignment, Exposures
from recsys_core.serving.http.settings import BundleSpec, ServiceSettings, is_loopback
from recsys_core.serving.http.stats import Stats, bucket_of


def test_a_bundle_is_named_with_tenant_and_weight(tmp_path):
    assert BundleSpec.parse("a.zip") == BundleSpec("a.zip", 1.0, "")
    assert BundleSpec.parse("shop=dir/a.zip:0.25") == BundleSpec("dir/a.zip", 0.25, "shop")
    odd = tmp_path / "x=y:2.zip"
    odd.touch()
    assert BundleSpec.parse(str(odd)) == BundleSpec(str(odd))
    for wrong in ("a.zip:0", "a.zip:-1", "a.zip:nan", "a.zip:inf", "a.zip:much"):
        with pytest.raises(BadInput, match="weight of a bundle is a number above 0"):
            BundleSpec.parse(wrong)


def test_settings_name_their_bundles_and_refuse_what_is_out_of_range(tmp_path):
    given = ServiceSettings((BundleSpec("x/a.zip"), BundleSpec("y/a.zip"), BundleSpec("a.zip", tenant="t")), log="ev.jsonl").checked()
    assert [spec.name for spec in given.bundles] == ["a", "a-2", "a"] and list(given.tenants) == ["", "t"]
    assert ServiceSettings.from_json(given.to_json()) == given
    assert given.file_of(given.log, "").name == "ev.jsonl" and given.file_of(given.log, "t").name == "ev-t.jsonl"
    for wrong in ({"workers": 0}, {"rate": 0.0}, {"timeout_ms": 1}, {"experiment": "a b"}, {"bundles": ()}):
        with pytest.raises(BadInput):
            ServiceSettings(**{"bundles": (BundleSpec("a.zip"),)} | wrong).checked()


@pytest.mark.parametrize(("host", "here"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("127.9.9.9", True),
    ("0.0.0.0", False), ("10.0.0.1", False), ("example.com", False), ("", False), ("127.0.0.1.example.com", False)])  # fmt: skip
def test_which_hosts_are_this_machine(host, here):
    assert is_loopback(host) is here


def test_keys_are_kept_as_hashes(tmp_path):
    key, line = new_key("shop", "north", 5)
    file = tmp_path / "keys"
    file.write_text(f"# who may ask\n\n{line}\n")
    ring = KeyRing.load(str(file), {"RECSYS_API_KEYS": f"other:{hash_key('x')}"})
    assert key not in line and len(key) > 40
    assert ring.find(key) == Key("shop", hash_key(key), "north", 5.0, 0) and ring.find("x").name == "other"
    assert ring.find(key[:-1]) is None and ring.find("") is None and ring.find(None) is None and ring.find(hash_key(key)) is None


@pytest.mark.parametrize("line", ["shop", "shop:abc", "a b:" + "0" * 64, "shop:" + "0" * 64 + ":t:fast", "shop:" + "0" * 64 + ":t:1:2",
    "shop:" + "0" * 64 + ":t:0", "shop:" + "0" * 64 + ":t:nan"])  # fmt: skip
def test_a_wrong_line_of_the_key_file_is_named_and_not_shown(tmp_path, line):
    (tmp_path / "keys").write_text("\n" + line)
    with pytest.raises(BadInput) as raised:
        KeyRing.load(str(tmp_path / "keys"), {})
    assert "line 2 of the key file" in raised.value.message and line not in str(raised.value)


def test_key_files_that_say_nothing_or_the_same_twice_are_refused(tmp_path):
    for text in ("", "# none\n", f"a:{'0' * 64}\nb:{'0' * 64}", f"a:{'0' * 64}\na:{'1' * 64}"):
        (tmp_path / "keys").write_text(text)
        with pytest.raises(BadInput):
            KeyRing.load(str(tmp_path / "keys"), {})
    assert len(KeyRing.load(None, {})) == 0


def test_a_token_bucket_by_hand(tmp_path):
    now = [100.0]
    limiter = RateLimiter(tmp_path / "rates", 2, 2.0, clock=lambda: now[0])
    slow, fast = Key("a", "", rate=None, number=0), Key("b", "", rate=100.0, number=1)
    assert [limiter.wait(slow) for _ in range(5)] == [0, 0, 0, 0, pytest.approx(0.5)]  # two seconds' worth saved up, then one each .5 s
    other = RateLimiter(tmp_path / "rates", 2, 2.0, clock=lambda: now[0])  # another worker counts on
    assert other.wait(slow) == pytest.approx(0.5) and other.wait(fast) == 0
    now[0] += 0.5
    assert other.wait(slow) == 0 and limiter.wait(slow) > 0
    now[0] += 10
    assert limiter.wait(slow) == 0
    limiter.take(slow, 255)  # a batch: debt, worked off at two a second
    assert limiter.wait(slow) == pytest.approx((1 + 255 - 3) / 2)


def test_a_clock_that_is_put_back_holds_nobody_up(tmp_path):
    now = [10_000.0]
    limiter = RateLimiter(tmp_path / "rates", 1, 2.0, clock=lambda: now[0])
    key = Key("a", "")
    while not limiter.wait(key):
        pass
    now[0] -= 3_600
    assert limiter.wait(key) == pytest.approx(0.5)
    now[0] += 0.5
    assert limiter.wait(key) == 0


def test_keys_share_the_places_for_items_nobody_knew(tmp_path):
    one, two, other = Key("a", "1", "x", number=0), Key("b", "2", "x", number=1), Key("c", "3", "y", number=2)
    root = Key("r", "4", "admin", number=3)
    workers = [Shares(tmp_path / "new", [one, two, other, root], 10) for _ in range(2)]
    for n in range(5):
        workers[n % 2].check(one)
        workers[n % 2].count(one)
        workers[0].count(root)
    with pytest.raises(BadInput, match="has brought 5 items that nobody knew, its share"):
        workers[1].check(one)
    workers[1].check(two)
    workers[1].check(other)
    workers[1].check(root)  # an admin has no share to keep to
    workers[0].count(two)
    workers[0].fit("x", 3)  # of six, a newer bundle knows three
    workers[1].fit("x", 3)  # another worker takes it up too
    workers[1].count(one)
    assert workers[1]._counts.tolist() == [3, 0, 0, 0]


def test_users_are_dealt_by_weight_and_stay_where_they_are():
    users = [f"u{n}" for n in range(20_000)]
    dealt = Assignment([3, 1], "spring")
    first = np.array([dealt.of(user) for user in users])
    assert abs(first.mean() - 0.25) < 0.012  # four standard errors
    assert [Assignment([3, 1], "spring").of(user) for user in users[:500]] == first[:500].tolist()
    other = np.array([Assignment([3, 1], "summer").of(user) for user in users])
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.03  # another experiment deals anew
    assert dealt.of(None) == 0 and Assignment([5], "x").of("anybody") == 0
    counts = np.bincount([Assignment([1, 1, 2], "x").of(user) for user in users]) / len(users)
    assert np.allclose(counts, [0.25, 0.25, 0.5], atol=0.015)


def test_the_exposure_log_is_what_the_ab_page_reads(tmp_path, capsys):
    day = [1_780_000_000.0]
    path = tmp_path / "exposures.csv"
    writers = [Exposures(path, clock=lambda: day[0]) for _ in range(2)]  # two workers, one file
    hasher, rng = Hasher(b"secret"), np.random.default_rng(0)
    for n in range(400):
        user, variant = hasher(f"u{n}"), "control" if n % 2 else "new"
        day[0] += 600
        for _ in range(2):
            writers[n % 2].shown(user, variant)
        if rng.random() < (0.2 if n % 2 else 0.5):
            writers[(n + 1) % 2].happened(user, variant, "click", None)
        if n < 10:
            writers[0].happened(user, variant, "rating", 4.5)
    frame = pd.read_csv(path, dtype=str)
    assert "u1" not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    roles = guess_roles(frame)
    assert (roles["user"], roles["variant"], roles["time"], roles["before"]) == ("user", "variant", "time", None)
    assert {"clicks", "lists"} <= set(roles["outcomes"])
    found = experiment(frame, user="user", variant="variant", outcomes=["clicks", "lists", "value"], time="time")
    assert found.control == "control" and found.sizes == {"control": 200, "new": 200} and not sample_ratio(found).broken
    assert found.users["lists"].eq(2).all() and found.users["value"].sum() == 45
    clicks = readout(found)[0]
    assert clicks.clear and clicks.difference > 0.2
    assert main(["ab", "read", str(path), "--outcome", "clicks"]) == 0
    assert "'new' raises 'clicks' against 'control'" in capsys.readouterr().out


def test_an_exposure_log_that_cannot_be_written_says_so_and_goes_on(tmp_path):
    log = Exposures(tmp_path / "there" / "exposures.csv")
    log.close()
    (tmp_path / "there" / "exposures.csv").unlink()
    (tmp_path / "there").rmdir()
    log.shown("a", "b")
    log.shown("a", "b")
    assert "2 rows are missing" in log.problem
    (tmp_path / "there").mkdir()
    log.shown("a", "b")
    assert log.problem is None and log.lost == 2
    foreign = tmp_path / "list.csv"
    foreign.write_text("my,own,file\n")
    with pytest.raises(BadInput, match="is no exposure log"):
        Exposures(foreign)


def test_the_cache_forgets_by_user_by_age_and_by_number():
    now = [0.0]
    cache = AnswerCache(2, 10.0, clock=lambda: now[0])
    for user in "abc":
        cache.put(user, ("q", 1), user.encode())
    assert cache.get("a", ("q", 1)) is None and cache.get("b", ("q", 1)) == b"b" and len(cache) == 2
    assert cache.get("b", ("q", 2)) is None
    cache.forget("b")
    assert cache.get("b", ("q", 1)) is None and cache.get("c", ("q", 1)) == b"c"
    now[0] = 11
    assert cache.get("c", ("q", 1)) is None
    for n in range(50):
        cache.put("c", n, b"x")
    assert sum(cache.get("c", n) is not None for n in range(50)) == 16
    assert AnswerCache(0, 10.0).put("a", 1, b"x") is None


def test_statistics_of_the_last_minute_over_all_workers(tmp_path):
    now = [1000.0]
    stats = Stats(tmp_path, clock=lambda: now[0])
    (tmp_path / "stats-1.bin").write_bytes(stats.path.read_bytes())  # another worker (process 1 is always there), nothing counted yet
    for milliseconds in [1.0] * 90 + [100.0] * 10:
        stats.add(milliseconds, 500 if milliseconds > 50 and now[0] < 1001 else 200)
        now[0] += 0.1
    stats.looked_up(3, 4)
    found = stats.summary()
    assert found["requests"] == 100 and found["workers"] == 2 and found["cache_hit_rate"] == 0.75
    assert found["requests_per_second"] == pytest.approx(10, rel=0.02)
    assert 1.0 <= found["p50_ms"] <= 1.15 and 100 <= found["p95_ms"] <= 115 and found["errors"] == 0
    now[0] += 61
    assert stats.summary()["requests"] == 0 and stats.summary()["p50_ms"] is None
    stats.close()
    assert not stats.path.exists() and [bucket_of(ms) for ms in (0, 0.01, 0.0101, 1e9)] == [0, 0, 1, 95]


def test_users_are_hashed_under_a_secret_that_stays(tmp_path, monkeypatch):
    monkeypatch.delenv("RECSYS_SALT", raising=False)
    log = tmp_path / "events.jsonl"
    first, again = Hasher(salt_of(log)), Hasher(salt_of(log))
    assert first("anna") == again("anna") != first("ben") and len(first("anna")) == 16
    assert Hasher(salt_of(tmp_path / "other.jsonl"))("anna") != first("anna")
    assert stat.S_IMODE((tmp_path / "events.jsonl.salt").stat().st_mode) == 0o600
    monkeypatch.setenv("RECSYS_SALT", "shared")
    assert Hasher(salt_of(log))("anna") == Hasher(salt_of(None))("anna")


def test_serve_key_on_the_command_line(capsys):
    assert main(["serve-key", "--name", "shop", "--tenant", "north"]) == 0
    key, line = capsys.readouterr().out.split()
    assert line == f"shop:{hash_key(key)}:north"
    assert main(["serve-key", "--name", "my shop"]) == 2
    assert json.dumps(capsys.readouterr().err)
