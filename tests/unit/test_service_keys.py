"""A key that is wrong, missing or of another tenant gets 401 or 403 and learns nothing."""

import pytest

from recsys_core.errors import BadInput
from recsys_core.serving.http.app import make_app
from recsys_core.serving.http.keys import KeyRing, new_key
from recsys_core.serving.http.server import serve
from recsys_core.serving.http.settings import BundleSpec, ServiceSettings

from .service_help import bundle, client, item, ring, settings, user

PATHS = [("GET", "/v1/recommend?user=a"), ("POST", "/v1/recommend"), ("POST", "/v1/feedback"), ("POST", "/v1/similar"),
    ("POST", "/v1/explain"),    ("GET", "/metrics"), ("POST", "/v1/admin/reload"),
    ("GET", "/v1/nothing"), ("DELETE", "/v1/recommend")]  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    keys, given = ring("", "north", "south", "admin", rates={"north": 5000, "": 5000, "admin": 5000})
    bundles = [
        BundleSpec(str(bundle())),
        BundleSpec(str(bundle("popular")), tenant="north"),
        BundleSpec(str(bundle("item_knn")), tenant="south"),
    ]
    with client(folder, *bundles, keys=keys, rate=3.0, exposures=str(folder / "ex.csv")) as service:
        service.keys, service.folder = given, folder
        yield service


def bearer(service, tenant):
    return {"authorization": f"Bearer {service.keys[tenant]}"}


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_a_valid_key_everything_looks_the_same(guarded, method, path):
    near = guarded.keys["north"][:-1] + ("A" if guarded.keys["north"][-1] != "A" else "B")
    wrong = [{}, {"authorization": "Bearer "}, {"authorization": f"Bearer {near}"}, {"authorization": f"Basic {guarded.keys['north']}"},
        {"x-api-key": "x" * 5000}, {"authorization": "Bearer \xff\xfe"}]  # fmt: skip
    answers = [guarded.request(method, path, headers={k: v.encode("latin-1") for k, v in headers.items()}) for headers in wrong]
    assert {answer.status_code for answer in answers} == {401} and len({answer.text for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_a_key_serves_its_own_tenant_alone(guarded):
    asked = {"user": user(2), "k": 3}
    variants = {t: guarded.post("/v1/recommend", json=asked, headers=bearer(guarded, t)).json()["variant"] for t in ("", "north", "south")}
    assert variants == {"": "ease", "north": "popular", "south": "item_knn"}
    assert guarded.post("/v1/recommend", json=asked, headers={"x-api-key": guarded.keys["north"]}).json()["variant"] == "popular"
    refused = [
        guarded.post("/v1/recommend", json=asked | {"user": who}, headers=bearer(guarded, "north") | {"x-tenant": tenant})
        for tenant in ("south", "nobody", "admin")
        for who in (user(2), "a stranger")
    ]
    assert {answer.status_code for answer in refused} == {403} and len({answer.text for answer in refused}) == 1
    as_admin = guarded.post("/v1/recommend", json=asked, headers=bearer(guarded, "admin") | {"x-tenant": "south"})
    assert as_admin.json()["variant"] == "item_knn"


def test_what_one_tenant_is_told_another_does_not_know(guarded):
    guarded.post("/v1/feedback", json={"user": "zoe", "item": item(4)}, headers=bearer(guarded, "north"))
    guarded.post("/v1/feedback", json={"user": "zoe", "item": "secret item"}, headers=bearer(guarded, "north"))
    other = guarded.post("/v1/recommend", json={"user": "zoe"}, headers=bearer(guarded, ""))
    assert other.json()["path"] == "popular"
    assert guarded.get("/v1/similar?item=secret item", headers=bearer(guarded, "")).status_code == 404
    assert (guarded.folder / "events-north.jsonl").exists() and "zoe" not in _text(guarded.folder / "events.jsonl")
    health = {t: guarded.get("/health", headers=bearer(guarded, t)).json() for t in ("", "north", "admin")}
    assert [len(health[t]["variants"]) for t in ("", "north", "admin")] == [1, 1, 3]
    assert health[""]["variants"][0]["state"]["events"] == 0 and health["north"]["variants"][0]["state"]["events"] == 2
    assert (guarded.folder / "ex-north.csv").exists()


def _key_file(folder):
    (folder / "keys").write_text(new_key("root", "admin")[1])
    return str(folder / "keys")


def _text(path):
    return path.read_text() if path.exists() else ""


def test_health_without_a_key_is_one_word_and_only_an_admin_reloads(guarded):
    assert guarded.get("/health").json() == {"status": "ok"} and guarded.get("/ready").json() == {"ready": True}
    assert guarded.get("/health", headers={"authorization": "Bearer wrong"}).json() == {"status": "ok"}
    assert guarded.get("/metrics", headers=bearer(guarded, "admin")).status_code == 200
    assert guarded.get("/metrics").status_code == 401
    assert guarded.post("/v1/admin/reload", headers=bearer(guarded, "north")).status_code == 403
    assert len(guarded.post("/v1/admin/reload", headers=bearer(guarded, "admin")).json()["variants"]) == 3


def test_figures_are_those_of_the_tenant_and_an_admin_sees_all(tmp_path):
    keys, given = ring("", "north", "admin")
    with client(tmp_path, bundle(), BundleSpec(str(bundle("popular")), tenant="north"), keys=keys) as service:
        service.keys = given
        for tenant, number in (("", 3), ("north", 5)):
            for n in range(number):
                assert service.post("/v1/recommend", json={"user": user(n)}, headers=bearer(service, tenant)).status_code == 200
        as_admin = bearer(service, "admin") | {"x-tenant": "north"}
        assert service.post("/v1/recommend", json={"user": "a"}, headers=as_admin).status_code == 200
        assert service.post("/v1/recommend", json={"user": "a"}).status_code == 401
        requests = {t: service.get("/health", headers=bearer(service, t)).json()["stats"]["requests"] for t in given}
        assert requests == {"": 3, "north": 6, "admin": 9}
        texts = {tenant: service.get("/metrics", headers=bearer(service, tenant)).text for tenant in given}
        for tenant, number in (("", 3), ("north", 6)):
            assert f'requests_total{{route="/v1/recommend",status="200",tenant="{tenant}"}} {number}.0' in texts[tenant]
            lines = [line for line in texts[tenant].splitlines() if not line.startswith("#")]
            assert lines and all(f'tenant="{tenant}"' in line for line in lines), "nothing of others, nor of the process"
        for part in (
            'tenant="north"',
            'tenant=""',
            'status="401",tenant="-"',
            "recsys_waiting 0.0",
            'turned_away_total{reason="full"} 0.0',
        ):
            assert part in texts["admin"], part


def test_who_asks_too_often_waits(guarded):
    answers = [guarded.post("/v1/recommend", json={"user": "a"}, headers=bearer(guarded, "south")) for _ in range(40)]
    last = answers[-1]
    assert last.status_code == 429 and int(last.headers["retry-after"]) >= 1 and "3 times a second" in last.json()["error"]["message"]
    assert guarded.post("/v1/recommend", json={"user": "a"}, headers=bearer(guarded, "")).status_code == 200  # others are not held up


def test_what_a_service_is_not_started_with(tmp_path, monkeypatch):
    monkeypatch.delenv("RECSYS_API_KEYS", raising=False)
    for host in ("0.0.0.0", "192.168.1.5", "::"):
        with pytest.raises(BadInput, match="listens on this machine only"):
            serve(ServiceSettings((BundleSpec(str(bundle())),), host=host))
    keys, _ = ring("elsewhere")
    with pytest.raises(BadInput, match="'elsewhere', who has no bundle"):
        make_app(settings(tmp_path), keys)
    for tenant in ("shop", "admin"):
        with pytest.raises(BadInput, match="needs API keys" if tenant == "shop" else "may be called"):
            serve(
                settings(tmp_path, BundleSpec(str(bundle()), tenant=tenant), keys_file=_key_file(tmp_path) if tenant == "admin" else None)
            )
    broken = tmp_path / "broken.zip"
    broken.write_bytes(bundle().read_bytes()[:-7])
    with pytest.raises(BadInput, match="damaged"):
        serve(ServiceSettings((BundleSpec(str(broken)),)))
    assert not KeyRing.load(None, {})
