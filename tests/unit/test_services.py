"""Local services: started, asked, found again, stopped with all they started; what went wrong is a sentence."""

from __future__ import annotations

import os
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput, NotFound
from recsys_core.registry import get
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.services import ServiceClient, ServiceGone, Services
from recsys_core.store.bundles import BundleEntry


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> BundleEntry:
    """As the workspace keeps it: 30 users of two tastes."""
    folder = tmp_path_factory.mktemp("ws") / "bundles" / "b1"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(30) for i in rng.choice(10, 5, replace=False) * 2 + u % 2]
    model = get("model", "item_knn")().fit(from_frame(pd.DataFrame(rows, columns=["user", "item"])), RunContext(threads=1))
    write_bundle(model, folder / "bundle.zip")
    return BundleEntry(folder, {"id": "b1", "name": "Neighbours", "run": "r1", "run_name": "Neighbours"})


@pytest.fixture(scope="module")
def services(bundle):
    found = Services(bundle.path.parents[1])
    yield found
    found.stop_all()


def test_a_service_is_started_once_asked_and_found_again(services: Services, bundle: BundleEntry) -> None:
    service = services.start(bundle)
    assert service.alive and services.start(bundle) == service and services.all() == [service]
    for name in ("service.json", "keys.txt", "key.txt"):
        assert stat.S_IMODE((service.folder / name).stat().st_mode) == 0o600, "the key is its owner's alone"
    assert service.key not in (service.folder / "keys.txt").read_text()
    client = Services(bundle.path.parents[1]).find("b1").client  # as the app does after its restart
    first = client.recommend("u00", k=5)
    assert first.data["path"] == "model" and len(first.data["items"]) == 5 and first.ms > 0
    inside = service.inside_ms(first.request_id, seconds=2.0)
    assert inside is not None and 0 < inside <= first.ms
    assert client.feedback("u00", first.data["items"][0], "like").data["stored"]
    after = client.recommend("u00", k=5).data
    assert after["path"] == "fold-in" and first.data["items"][0] not in after["items"]
    assert client.feedback_many([{"user": "new", "item": item, "event": "like"} for item in ("i00", "i02")]).data["receipts"]
    mine = client.recommend("new", k=3).data["items"]
    assert mine and all(int(item[1:]) % 2 == 0 for item in mine)
    assert client.similar("i00", 3).data["items"] and client.explain(mine[0], user="new").data["parts"]
    health = services.sample(service)
    assert health["status"] == "ok" and services.history(service)[-1]["requests"] >= 0
    assert any(line.get("path") == "/v1/recommend" for line in service.log_lines()) and service.events.exists()


def test_two_windows_that_start_a_service_end_up_with_the_same_one(services: Services, bundle: BundleEntry) -> None:
    services.stop("b1")
    windows = [Services(bundle.path.parents[1]) for _ in range(3)]  # as in processes of their own: no lock is shared but that on disk
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda window: window.start(bundle), windows))
    assert found[0] == found[1] == found[2] and found[0].alive
    said = [line["event"] for line in found[0].log_lines() if line.get("event") in ("listening", "stopped")]
    assert said.count("listening") - said.count("stopped") == 1, "no other is left running"


def test_what_is_wrong_is_said(services: Services, bundle: BundleEntry) -> None:
    service = services.start(bundle)
    with pytest.raises(NotFound, match="not known"):
        service.client.explain("never-heard-of", user="u00")
    with pytest.raises(BadInput, match="event"):
        service.client.feedback("u00", "i00", "sneeze")
    with pytest.raises(BadInput, match="API key"):
        ServiceClient(service.port, "rsk_wrong").recommend("u00")
    with pytest.raises(ServiceGone, match="does not answer"):
        ServiceClient(1, "").recommend("u00")
    assert not ServiceClient(1).ready()


def test_another_bundle_takes_its_place_while_it_serves(services: Services, bundle: BundleEntry, tmp_path: Path) -> None:
    service = services.start(bundle)
    before = service.client.health()["bundle"]["fingerprint"]
    kept = bundle.file.read_bytes()
    rows = pd.DataFrame({"user": list("abcabc"), "item": ["i00", "i00", "i02", "i02", "i04", "i04"]})
    write_bundle(get("model", "popular")().fit(from_frame(rows), RunContext(threads=1)), tmp_path / "newer.zip")
    services.swap(service, tmp_path / "newer.zip")
    until = time.monotonic() + 20
    while service.client.health()["bundle"]["fingerprint"] == before and time.monotonic() < until:
        service.client.recommend("u00", k=2)
        time.sleep(0.1)
    now = service.client.health()
    assert now["bundle"]["fingerprint"] != before and now["bundle"]["model"] == "Most popular" and not now["problems"]
    assert bundle.file.read_bytes() == kept, "the bundle of the workspace stays what it is"
    services.stop(service.id)
    assert services.start(bundle).client.health()["bundle"]["fingerprint"] == before


def test_one_that_died_is_found_dead_and_started_again_with_its_events(services: Services, bundle: BundleEntry) -> None:
    service = services.start(bundle)
    item = service.client.recommend("u01", k=1).data["items"][0]
    service.client.feedback("u01", item, "like")
    os.kill(service.process["pid"], signal.SIGKILL)
    end = time.monotonic() + 10
    while service.alive and time.monotonic() < end:
        time.sleep(0.02)
    dead = services.find("b1")
    assert dead is not None and not dead.alive and dead.why_ended()
    again = services.start(bundle)
    assert again.process != service.process and again.client.recommend("u01", k=1).data["path"] == "fold-in", "its events are in the log"
    anew = services.start(bundle, forget=True)
    assert anew.client.recommend("u01", k=1).data["path"] == "model"
    services.stop("b1")
    services.stop("b1")
    assert services.find("b1") is None and not anew.alive and anew.log.exists()
    assert services.clean([]) == [] and anew.folder.exists(), "a bundle that is there but cannot be read may be mended"
    os.replace(bundle.path, bundle.path.with_name("elsewhere"))
    assert services.clean([]) == ["b1"] and not anew.folder.exists()
    os.replace(bundle.path.with_name("elsewhere"), bundle.path)


def test_a_damaged_bundle_is_refused_with_its_reason(services: Services, bundle: BundleEntry, tmp_path: Path) -> None:
    folder = tmp_path / "b2"
    folder.mkdir()
    data = bytearray(bundle.file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / "bundle.zip").write_bytes(data)
    with pytest.raises(ServiceGone, match="did not start") as told:
        services.start(BundleEntry(folder, {"id": "b2", "run": "r2"}))
    assert "bundle" in told.value.hint.lower() and services.find("b2") is None
