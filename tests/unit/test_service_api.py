"""The routes: right answers, feedback that changes them, and one sentence for everything that is wrong."""

import json

import pytest

from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
from recsys_core.serving.http.schemas import EVENTS
from recsys_core.serving.http.settings import BundleSpec
from recsys_core.serving.live import records

from .service_help import bundle, client, item, user, wait_until


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with client(folder) as found:
        found.folder = folder
        yield found


def post(service, path, body, **more):
    return service.post(path, json=body, **more)


def test_lists_are_those_of_the_bundle(service):
    model = Bundle.open(bundle())
    codes, scores = model.best(model.history(3), 5, user=3)
    for answer in (post(service, "/v1/recommend", {"user": user(3), "k": 5}), service.get(f"/v1/recommend?user={user(3)}&k=5")):
        found = answer.json()
        assert found["items"] == model.items.decode(codes) and found["scores"] == pytest.approx(scores.tolist())
        assert found["path"] == "model" and found["variant"] == "ease" and found["bundle"] == model.fingerprint[:12]
    history = [item(1), item(6)]
    codes, _ = model.best(History.of(model.items.encode(history)), 4)
    for answer in (
        post(service, "/v1/recommend", {"history": [*history, "never seen"], "k": 4}),
        service.get("/v1/recommend", params={"history": [*history, "never seen"], "k": 4}),
    ):
        assert answer.json()["items"] == model.items.decode(codes) and answer.json()["path"] == "fold-in"
        assert answer.json()["unknown"] == ["never seen"]
    assert post(service, "/v1/recommend", {}).json()["path"] == "popular"
    assert post(service, "/v1/recommend", {"user": "a stranger"}).json()["path"] == "popular"


def test_the_next_list_knows_the_click_and_the_cache_too(service):
    who = user(9)
    first = post(service, "/v1/recommend", {"user": who, "k": 5}).json()
    assert post(service, "/v1/recommend", {"user": who, "k": 5}).json() == first | {"cached": True}
    receipt = post(service, "/v1/feedback", {"user": who, "item": first["items"][0]}).json()
    assert receipt["stored"] and receipt["variant"] == "ease"
    after = post(service, "/v1/recommend", {"user": who, "k": 5}).json()
    assert not after["cached"] and after["path"] == "fold-in" and first["items"][0] not in after["items"]
    assert after["items"] != first["items"][1:] + after["items"][-1:] or after["scores"][0] != first["scores"][1]
    lines = [line for line in (service.folder / "events.jsonl").read_text().splitlines() if line]
    assert json.loads(lines[-1].partition(" ")[2])["i"] == first["items"][0]


def test_filters_and_context(service):
    found = post(
        service, "/v1/recommend", {"user": user(4), "filters": {"include": {"kind": ["kind 2"]}, "exclude": [item(2)]}, "k": 50}
    ).json()
    assert found["items"] and all(int(one[1:]) % 5 == 2 for one in found["items"]) and item(2) not in found["items"]
    near = post(service, "/v1/recommend", {"user": user(4), "context": {"item": item(8)}}).json()
    assert item(8) not in near["items"] and near["path"] == "fold-in"
    wrong = post(service, "/v1/recommend", {"user": user(4), "filters": {"include": {"colour": ["red"]}}})
    assert wrong.status_code == 422 and "colour" in wrong.json()["error"]["message"]


def test_batches_answer_entry_by_entry(service):
    asked = [{"user": user(n), "k": 3} for n in range(20)] + [
        {"user": user(1), "filters": {"include": {"colour": ["red"]}}},
        {"user": user(2), "k": 2},
    ]
    answers = post(service, "/v1/recommend", {"requests": asked}).json()["answers"]
    assert [len(answer.get("items", [])) for answer in answers] == [3] * 20 + [0, 2]
    assert "colour" in answers[20]["error"]["message"]
    assert answers[5]["items"] == post(service, "/v1/recommend", asked[5]).json()["items"]
    events = [{"user": f"new {n}", "item": item(n), "event": "like"} for n in range(30)]
    receipts = post(service, "/v1/feedback", {"events": events}).json()["receipts"]
    assert all(receipt["stored"] for receipt in receipts) and len({receipt["offset"] for receipt in receipts}) == 30
    for entries in ([], asked[:1] * 257):
        assert post(service, "/v1/recommend", {"requests": entries}).status_code == 422


def test_similar_and_explain(service):
    found = post(service, "/v1/similar", {"item": item(3), "k": 4}).json()
    assert len(found["items"]) == 4 and item(3) not in found["items"]
    assert service.get(f"/v1/similar?item={item(3)}&k=4").json()["items"] == found["items"]
    top = post(service, "/v1/recommend", {"user": user(2), "k": 1}).json()
    why = post(service, "/v1/explain", {"user": user(2), "item": top["items"][0], "k": 100}).json()
    assert why["total"] == pytest.approx(top["scores"][0], rel=1e-4)
    assert not why["exact"] or sum(part["contribution"] for part in why["parts"]) == pytest.approx(why["total"], rel=1e-3)
    for answer in (service.get("/v1/similar?item=nothing"), post(service, "/v1/explain", {"user": user(2), "item": "nothing"})):
        assert answer.status_code == 404 and "nothing" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("path", "body", "said"), [
    ("/v1/recommend", {"user": 7}, "'user' must be a valid string; got 7"),
    ("/v1/recommend", {"usr": "a"}, "no field 'usr'"),
    ("/v1/recommend", {"user": ""}, "at least 1 character"),
    ("/v1/recommend", {"user": "a" * 257}, "at most 256 characters"),
    ("/v1/recommend", {"k": 0}, "greater than or equal to 1; got 0"),
    ("/v1/recommend", {"k": "10"}, "valid integer"),
    ("/v1/recommend", {"k": 1.5}, "got 1.5"),
    ("/v1/recommend", {"k": True}, "got true"),
    ("/v1/recommend", {"k": 10**400}, "a very large number"),
    ("/v1/recommend", {"history": [None]}, "'history.0'"),
    ("/v1/recommend", {"history": ["a"], "values": []}, "one number for each item"),
    ("/v1/recommend", {"history": ["a"] * 2001}, "at most 2000 items"),
    ("/v1/recommend", {"user": "a", "filters": {"at_least": {"year": "1990"}}}, "valid number"),
    ("/v1/recommend", {"user": "a", "context": {"where": 1}}, "no field 'context.where'"),
    ("/v1/recommend", [], "must be a JSON object"),
    ("/v1/feedback", {"user": "a"}, "'item' is missing"),
    ("/v1/feedback", {"user": "a", "item": "b", "event": "stare"}, "'click', 'view'"),
    ("/v1/feedback", {"user": "a", "item": "b", "event": "rating"}, "needs a 'value'"),
    ("/v1/feedback", {"user": "a", "item": "b", "value": 1e300}, "less than or equal to"),
    ("/v1/feedback", {"user": "a", "item": "b", "features": {"x": {"deep": 1}}}, "features.x"),
    ("/v1/similar", {}, "'item' is missing"),
    ("/v1/explain", {"item": "a"}, "needs a 'user' or a 'history'"),
])  # fmt: skip
def test_what_is_wrong_gets_one_sentence(service, path, body, said):
    answer = post(service, path, body)
    assert answer.status_code == 422 and set(answer.json()["error"]) == {"message", "hint"}
    assert said in answer.json()["error"]["message"] and "Traceback" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b'{"k": NaN}', b'{"k": Infinity}', b'{"user": "\\ud800"}', b'{"user": "\xff"}',
    b"\xff\xfe{\x00}\x00",
    b"[" * 50_000, b'{"filters":' * 300 + b"1" + b"}" * 300, b"\x00", b"nul"])  # fmt: skip
def test_what_is_no_json_is_refused(service, body):
    answer = service.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and "not JSON" in answer.json()["error"]["message"]


def test_other_refusals(service):
    assert service.post("/v1/recommend", content=b"{}").status_code == 415
    assert service.post("/v1/recommend", data={"user": "a"}).status_code == 415
    assert service.post("/v1/recommend", content=b" " * (2**20 + 1), headers={"content-type": "application/json"}).status_code == 413
    chunks = (b" " * 2**16 for _ in range(40))  # no length given
    assert service.post("/v1/recommend", content=chunks, headers={"content-type": "application/json"}).status_code == 413
    wrong = service.delete("/v1/recommend")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET, POST"
    assert service.get("/v1/nothing").status_code == 404 and "/docs" in service.get("/v1/nothing").json()["error"]["hint"]
    for query in ("user=a&user=b", "usr=a", "user=a&k=x", "user=a&k=1e3"):
        assert service.get(f"/v1/recommend?{query}").status_code == 422
    for query in ("user=%ff", "&".join(["history=a"] * 3000)):
        assert service.get(f"/v1/recommend?{query}").status_code == 400
    assert service.get("/ready", headers={"host": "evil.example"}).status_code == 403  # a name that was made to point here


def test_request_ids_health_metrics_and_the_page(service):
    assert service.get("/ready", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert len(service.get("/ready", headers={"x-request-id": "no\tway"}).headers["x-request-id"]) == 16
    health = service.get("/health").json()
    assert health["status"] == "ok" and health["problems"] == [] and health["bundle"]["model"] == "EASE"
    assert health["stats"]["requests"] > 0 and health["stats"]["p50_ms"] <= health["stats"]["p99_ms"] and "sentence" in health["drift"]
    text = service.get("/metrics").text
    assert 'recsys_requests_total{route="/v1/recommend",status="200",tenant=""}' in text and user(3) not in text
    page = service.get("/docs")
    assert page.status_code == 200 and "/v1/feedback" in page.text and "https://" not in page.text and "//cdn" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_document_has_examples_and_refusals(service):
    document = service.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "200" in operation["responses"] and operation["operationId"], path
            if path.startswith("/v1/") and method == "post" and "admin" not in path:
                content = operation["requestBody"]["content"]["application/json"]
                assert {"400", "401", "403", "413", "415", "422", "429"} <= set(operation["responses"])
                for example in content["examples"].values():
                    answer = service.post(path, json=example["value"])  # a shop of its own may know these items, this one does not
                    assert answer.status_code == 200 or "/docs" not in answer.json()["error"]["hint"], (path, example)
    assert set(EVENTS) == set(records.EVENTS)
    text = json.dumps(document)
    assert all(f'"{name}"' in text for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]})


def test_users_are_dealt_and_exposures_written(tmp_path):
    file = tmp_path / "exposures.csv"
    with client(tmp_path, BundleSpec(str(bundle())), BundleSpec(str(bundle("popular")), 3.0), exposures=str(file)) as service:
        answers = [post(service, "/v1/recommend", {"user": user(n)}).json()["variant"] for n in range(100)]
        assert answers == [post(service, "/v1/recommend", {"user": user(n)}).json()["variant"] for n in range(100)]
        assert 55 < answers.count("popular") < 92 and set(answers) == {"ease", "popular"}
        chosen = answers.index("popular")
        receipt = post(service, "/v1/feedback", {"user": user(chosen), "item": item(0), "event": "purchase", "value": 9.5}).json()
        assert receipt["variant"] == "popular"
        health = service.get("/health").json()
        assert [one["weight"] for one in health["variants"]] == [1.0, 3.0]
        # what one variant was told is known to the other: both read one log
        assert [one["state"]["events"] for one in health["variants"]] == [1, 1]
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    assert len(rows) == 201 and sum(row[1] == "popular" for row in rows) == 2 * answers.count("popular") + 1
    assert rows[-1][1] == "popular" and rows[-1][-1] == "9.5" and not {user(n) for n in range(100)} & {row[0] for row in rows}


def test_log_lines_are_json_without_users(tmp_path):
    lines = []

    class Log:
        quiet = False

        def __call__(self, event, **fields):
            lines.append({"event": event} | fields)

    with client(tmp_path, log=Log()) as service:
        post(service, "/v1/recommend", {"user": "anna.b@example.com"})
        service.get("/v1/recommend?user=anna.b@example.com")
        post(service, "/v1/feedback", {"user": "anna.b@example.com", "item": item(1)})
        post(service, "/v1/recommend", {"user": "anna.b@example.com", "k": "x"})
    asked = [line for line in lines if line.get("path", "").startswith("/v1")]
    assert [line["status"] for line in asked] == [200, 200, 200, 422] and len({line["user"] for line in asked[:3]}) == 1
    assert "anna" not in json.dumps(lines) and asked[0]["answer"] == "popular" and asked[2]["feedback"] == "click"


def test_a_new_bundle_is_taken_up_and_a_bad_one_is_not(tmp_path):
    path = tmp_path / "live.zip"
    path.write_bytes(bundle("popular").read_bytes())
    with client(tmp_path, path) as service:
        first = post(service, "/v1/recommend", {"user": user(1)}).json()
        path.write_bytes(bundle().read_bytes()[:-100])  # written over in place, and cut short
        wait_until(lambda: service.get("/health").json()["status"] == "degraded")
        assert "not taken up" in service.get("/health").json()["problems"][0]
        assert post(service, "/v1/recommend", {"user": user(1)}).json()["items"] == first["items"]
        path.write_bytes(bundle().read_bytes())
        assert service.post("/v1/admin/reload").json()["variants"][0]["problems"] == []
        wait_until(lambda: service.get("/health").json()["bundle"]["model"] == "EASE")
        second = post(service, "/v1/recommend", {"user": user(1)}).json()
        assert second["bundle"] != first["bundle"] and second["items"] != first["items"] and not second["cached"]
        assert service.get("/health").json()["status"] == "ok"


def test_a_new_bundle_that_fails_to_answer_is_taken_out_again_and_nobody_notices(tmp_path, monkeypatch):
    path = tmp_path / "live.zip"
    path.write_bytes(bundle("popular").read_bytes())
    with client(tmp_path, path, cache_users=0) as service:
        good = post(service, "/v1/recommend", {"user": user(1)}).json()
        real = Bundle.scores

        def broken(self, history, *told):
            if self.label == "EASE" and len(history) > 3:  # the probes pass, real histories do not
                raise FloatingPointError("broken")
            return real(self, history, *told)

        monkeypatch.setattr(Bundle, "scores", broken)
        path.write_bytes(bundle().read_bytes())
        wait_until(lambda: service.get("/health").json()["bundle"]["model"] == "EASE")
        answers = [post(service, "/v1/recommend", {"user": user(n)}) for n in range(40)]
        assert {answer.status_code for answer in answers} == {200} and answers[1].json()["bundle"] == good["bundle"]
        health = service.get("/health").json()
        assert health["bundle"]["model"] != "EASE" and health["bundle"]["roll_backs"] == 1 and "taken out again" in health["problems"][0]


def test_what_takes_too_long_gets_503_and_the_rest_goes_on(tmp_path, monkeypatch):
    import time

    from recsys_core.serving.live.predictor import Predictor

    real = Predictor.recommend

    def slow(self, who=None, *more, **others):
        if who == "slow":
            time.sleep(0.6)
        return real(self, who, *more, **others)

    monkeypatch.setattr(Predictor, "recommend", slow)
    with client(tmp_path, timeout_ms=200) as service:
        answer = post(service, "/v1/recommend", {"user": "slow"})
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert "took longer than 200 ms" in answer.json()["error"]["message"]
        wait_until(lambda: post(service, "/v1/recommend", {"user": user(1)}).status_code == 200)
        assert service.get("/health").json()["stats"]["errors"] >= 1


def test_an_error_nobody_expected_is_one_sentence(tmp_path, monkeypatch):
    from recsys_core.serving.live.predictor import Predictor

    monkeypatch.setattr(Predictor, "similar", lambda *_, **__: 1 / 0)
    with client(tmp_path) as service:
        answer = post(service, "/v1/similar", {"item": item(1)})
        assert answer.status_code == 500 and "ZeroDivision" not in answer.text and answer.headers["x-request-id"] in answer.text
