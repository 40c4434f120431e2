"""A model that hangs, and items nobody knows by the thousand: the service says no in a sentence, keeps its memory, and comes back."""

import asyncio
import threading
import time

import pytest

from recsys_core.serving.http import service as doing
from recsys_core.serving.http import work as queue
from recsys_core.serving.http.keys import KeyRing, new_key
from recsys_core.serving.http.problems import Problem
from recsys_core.serving.http.settings import BundleSpec
from recsys_core.serving.http.work import Work
from recsys_core.serving.live.predictor import Predictor

from .service_help import bundle, client, item, user, wait_until


def test_what_is_out_of_time_leaves_the_queue_and_is_never_begun():
    work, hangs, begun = Work(0.15, 3), threading.Event(), []

    async def ask():
        stuck = asyncio.create_task(work.do(hangs.wait))
        while not work.busy_seconds:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(work.do(begun.append, n)) for n in range(3)]
        gone = waiting[0]
        await asyncio.sleep(0)
        assert work.waiting == 3
        with pytest.raises(Problem) as full:
            await work.do(begun.append, "one too many")
        assert full.value.status == 503 and full.value.headers["Retry-After"] == "1"
        assert full.value.message == "3 requests are waiting already, as many as may."
        gone.cancel()  # whoever asked is gone
        await asyncio.sleep(0)
        assert work.waiting == 2
        with pytest.raises(asyncio.CancelledError):
            await gone
        for task, said in (
            (stuck, "It had begun and may still take effect."),
            (waiting[1], "It was not begun."),
            (waiting[2], "It was not"),
        ):
            with pytest.raises(Problem, match="took longer than 150 ms") as late:
                await task
            assert said in late.value.hint and late.value.headers["Retry-After"] == "1"
        assert work.waiting == 0 and work.turned_away == {"full": 1, "expired": 2, "late": 1}
        hangs.set()
        assert await work.do(lambda: 42) == 42
        assert begun == [] and work.busy_seconds == 0

    asyncio.run(ask())
    work.close()
    assert not work._thread.is_alive()


def test_a_model_that_hangs_is_told_of_and_comes_back(tmp_path, monkeypatch):
    hangs, computed, real = threading.Event(), [], Predictor.recommend

    def slow(self, who=None, *more, **others):
        computed.append(who)
        if who == "slow":
            hangs.wait(20)
        return real(self, who, *more, **others)

    monkeypatch.setattr(Predictor, "recommend", slow)
    monkeypatch.setattr(queue, "STUCK_SECONDS", 0.3)
    with client(tmp_path, timeout_ms=150, max_waiting=4) as service:
        answers: list[tuple[int, str]] = []

        def ask(who):
            answer = service.post("/v1/recommend", json={"user": who})
            answers.append((answer.status_code, answer.json().get("error", {}).get("message", "")))
            assert answer.status_code == 200 or answer.headers["retry-after"] == "1"

        threads = [threading.Thread(target=ask, args=(who,)) for who in ("slow", *(f"w{n}" for n in range(12)))]
        for thread in threads:
            thread.start()
            time.sleep(0.002)
        for thread in threads:
            thread.join(20)
        assert {status for status, _ in answers} == {503} and computed == ["slow"]
        assert {said for _, said in answers} <= {"This took longer than 150 ms.", "4 requests are waiting already, as many as may."}
        wait_until(lambda: service.get("/ready").status_code == 503)
        assert service.get("/ready").json()["error"]["message"] == "A request hangs."
        health = service.get("/health").json()
        assert health["status"] == "degraded" and "does not end; all others are turned away" in health["problems"][0]
        figures = _figures(service)
        assert figures["recsys_busy_seconds"] > 0.3 and figures["recsys_waiting"] == 0
        away = {reason: figures[f'recsys_turned_away_total{{reason="{reason}"}}'] for reason in ("full", "expired", "late")}
        assert away["late"] == 1 and away["full"] + away["expired"] == 12 and away["expired"] >= 4
        hangs.set()
        wait_until(lambda: service.get("/ready").status_code == 200)
        assert service.post("/v1/recommend", json={"user": user(1)}).status_code == 200
        assert computed == ["slow", user(1)], "what nobody waits for any more is not worked off"
        assert service.get("/health").json()["status"] == "ok" and _figures(service)["recsys_busy_seconds"] == 0


def test_health_is_told_in_time_also_where_the_state_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(doing, "HEALTH_SECONDS", 0.1)
    with client(tmp_path) as service:
        held = service.app.state.service.tenants[""].variants[0].predictor._lock
        free, taken = threading.Event(), threading.Event()

        def hold():  # as an event does whose disk does not answer
            with held:
                taken.set()
                free.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait(20)
        for _ in range(8):  # more than there are threads to wait with
            health = service.get("/health").json()
            assert (
                health["status"] == "degraded" and "could not be read in 0.1 s" in health["problems"][0] and "requests" in health["stats"]
            )
        assert service.get("/metrics").status_code == 200
        free.set()
        thread.join(20)
        wait_until(lambda: service.get("/health").json()["status"] == "ok")


def _figures(service):
    lines = [line.rsplit(" ", 1) for line in service.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_a_batch_that_is_out_of_time_stops_at_once(tmp_path, monkeypatch):
    computed, real = [], Predictor.recommend

    def slow(self, who=None, *more, **others):
        computed.append(who)
        time.sleep(0.05)
        return real(self, who, *more, **others)

    monkeypatch.setattr(Predictor, "recommend", slow)
    with client(tmp_path, timeout_ms=120) as service:
        answer = service.post("/v1/recommend", json={"requests": [{"user": f"b{n}"} for n in range(40)]})
        assert answer.status_code == 503
        assert service.post("/v1/recommend", json={"user": "after"}).status_code == 200
        assert len(computed) < 6 and computed[-1] == "after"


def test_a_batch_that_is_done_in_part_says_so(tmp_path, monkeypatch):
    real = doing.Service.each
    monkeypatch.setattr(doing.Service, "each", lambda self, do, tenant, requests, until: real(self, do, tenant, requests, until)[:3])
    with client(tmp_path) as service:
        events = [{"user": "u", "item": "i1", "event": "click"}] * 20
        answer = service.post("/v1/feedback", json={"events": events})
        assert answer.status_code == 503 and "3 of 20 entries were done" in answer.json()["error"]["message"]


def test_nobody_is_asked_for_as_nobody(tmp_path, monkeypatch):
    asked, real = [], Predictor.recommend
    monkeypatch.setattr(Predictor, "recommend", lambda self, *more, **others: asked.append(more) or real(self, *more, **others))
    with client(tmp_path) as service:
        assert service.post("/v1/recommend", json={"k": 2}).json()["path"] == "popular" and asked[-1][:2] == (None, None)
        explained = service.post("/v1/explain", json={"history": ["i1", "i2"], "values": [1, 1], "item": "i3"})
        assert explained.status_code == 200
        assert service.post("/v1/explain", json={"history": ["i1"], "values": [1, 1], "item": "i3"}).status_code == 422


def test_places_for_new_items_are_shared_by_tenants_and_by_their_keys(tmp_path):
    made = {name: new_key(name, tenant) for name, tenant in (("n1", "north"), ("n2", "north"), ("plain", "south"), ("root", "admin"))}
    keys = KeyRing.load(None, {"RECSYS_API_KEYS": ",".join(line for _, line in made.values())})
    bundles = [BundleSpec(str(bundle()), tenant=tenant) for tenant in ("north", "south")]
    with client(tmp_path, *bundles, keys=keys, max_new_items=8) as service:

        def brings(name, n, who="anna", **more):
            event = {"user": who, "item": f"{name} {n}", "event": "like"} | more
            headers = {"x-api-key": made[name][0]} | ({"x-tenant": "north"} if name == "root" else {})
            answer = service.post("/v1/feedback", json=event, headers=headers)
            return answer.status_code, answer.json().get("note", answer.json().get("error", {}).get("message"))

        assert [brings("n1", n) for n in range(2)] == [(200, "")] * 2
        status, said = brings("n1", 2)
        assert status == 422 and said.startswith("This key has brought 2 items that nobody knew, its share") and said.count(". ") == 0
        assert brings("n1", 1)[0] == 200 and brings("n1", "", item=item(1))[0] == 200, "known items go on"
        assert [brings("n2", n)[0] for n in range(3)] == [200, 200, 422], "another key of the tenant has its own share"
        full = "The item is on no list: all 4 places for items that came after training are taken."
        assert brings("root", 0) == (200, full)
        assert [brings("plain", n) for n in range(4)] == [(200, "")] * 4, "another tenant has all its places"
        health = service.get("/health", headers={"x-api-key": made["root"][0]}).json()
        assert [one["state"]["new_items"] for one in health["variants"]] == [4, 4]
        assert health["status"] == "degraded" and "All 4 places for items that came after training are taken" in health["problems"][0]
