"""The warm scorer and its client: a real process on a real workspace."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.errors import BadInput, NotFound, ParamError, Unsupported
from recsys_core.models._io import load_model, save_model
from recsys_core.serving.client import ScorerClient
from recsys_core.serving.endpoint import endpoint_path, read_endpoint, write_endpoint
from recsys_core.serving.loaded import LoadedModels
from recsys_core.serving.scorer import Scorer
from recsys_core.store.workspace import Workspace

MODELS = {"a1": ("item_knn", {}), "b2": ("als", {"factors": 8}), "c3": ("popular", {})}


def _train(root, run_id: str, key: str, params: dict, data) -> None:
    folder = root / "runs" / run_id
    save_model(registry.get("model", key)(**params).fit(data), folder / "model")
    (folder / "manifest.json").write_text(json.dumps({"id": run_id, "name": f"Run {key}", "spec": {"model": key}}))


@pytest.fixture(scope="module")
def data():
    """60 users × 50 items in two tastes; item ids with leading zeros."""
    rng = np.random.default_rng(3)
    rows = [(f"u{u}", f"{i:04}") for u in range(60) for i in rng.choice(25, 9, replace=False) * 2 + u % 2]
    return from_frame(pd.DataFrame(rows, columns=["user", "item"]))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, data) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    for run_id, (key, params) in MODELS.items():
        _train(workspace.root, run_id, key, params, data)
    return workspace


@pytest.fixture(scope="module")
def client(workspace):
    client = ScorerClient(workspace, idle_seconds=120)
    client.start()
    yield client
    client.stop()


@pytest.mark.parametrize("run", MODELS)
def test_answers_are_those_of_the_model(client, workspace, data, run):
    model = load_model(workspace.run_folder(run) / "model")
    histories = [["0000", "0004", "0008"], ["0001"], []]
    codes = [data.items.encode(row) for row in histories]
    expected = model.recommend_for_history(Histories.from_lists(codes), 5).frame(np.arange(3), data.items)
    rows = client.recommend_for_history([run], histories, k=5)[run].rows
    for number, row in enumerate(rows):
        mine = expected[expected["user"] == number]
        assert list(row.items) == mine["item"].tolist()
        np.testing.assert_allclose(row.scores, mine["score"], rtol=1e-5)
    known = client.recommend([run], ["u3", "nobody"], k=5)[run].rows
    assert list(known[0].items) == model.recommend(data.users.encode(["u3"]), 5).frame(data.users, data.items)["item"].tolist()
    assert known[1].unknown == ("nobody",) and len(known[1].items) == 5


def test_several_runs_at_once_and_one_of_them_missing(client):
    answers = client.recommend_for_history(["a1", "zz", "c3"], [["0002", "what"]], k=4)
    assert list(answers) == ["a1", "zz", "c3"]
    assert isinstance(answers["zz"].error, NotFound) and answers["zz"].rows == ()
    assert answers["a1"].error is None and answers["a1"].rows[0].unknown == ("what",)
    assert "0002" not in answers["a1"].rows[0].items
    assert "0002" in client.recommend_for_history(["c3"], [["0002"]], k=50, exclude_seen=False)["c3"].rows[0].items


def test_candidates_are_the_only_ones(client):
    rows = client.recommend_for_history(["a1"], [["0002"]], k=9, candidates=["0004", "0006", "not there"])["a1"].rows
    assert set(rows[0].items) == {"0004", "0006"}


def test_similar_items_and_explanations_in_external_ids(client):
    (row,) = client.similar_items("a1", ["0010"], k=3)
    assert len(row.items) == 3 and "0010" not in row.items
    assert all(int(item) % 2 == 0 for item in row.items)  # of the same taste
    why = client.explain("a1", "0010", history=["0002", "0004"])
    assert why.kind == "history" and set(why.refs) <= {"0002", "0004"}
    assert client.explain("a1", "0010", user="u2").refs


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda c: c.similar_items("a1", ["none"]), NotFound, "'none'"),
        (lambda c: c.explain("c3", "0001", history=["0002"]), Unsupported, "cannot explain"),
        (lambda c: c.explain("a1", "0001"), Unsupported, "either a user or a history"),
        (lambda c: c.recommend(["a1"], ["u1"], k=0), BadInput, "k: .*; got '0'"),
        (lambda c: c.recommend([], ["u1"]), BadInput, "runs"),
        (lambda c: c.recommend_for_history(["a1"], [["0001"]], values=[[1.0, 2.0]]), Unsupported, "one number for every item"),
        (lambda c: c._ask("dance", {}), NotFound, "dance"),
        (lambda c: c.similar_items("../../a1", ["0001"]), NotFound, "no run"),
    ],
)
def test_errors_come_back_as_the_same_class_with_rule_and_value(client, ask, error, words):
    with pytest.raises(error, match=words):
        ask(client)


def test_warm_answers_are_fast(client):
    """Under 200 ms with three models at once; the best of five, because the machine may be busy."""
    client.warm(list(MODELS))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        client.recommend_for_history(list(MODELS), [["0002", "0004"]], k=20)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2


def test_many_at_once_get_their_own_answers(client):
    alone = [client.recommend(["a1", "b2"], [f"u{n}"], k=5) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda n: client.recommend(["a1", "b2"], [f"u{n}"], k=5), range(12)))
    for one, other in zip(alone, together, strict=True):
        for run in ("a1", "b2"):
            assert one[run].rows[0].items == other[run].rows[0].items


def test_only_the_owner_can_read_the_token_and_only_the_token_opens(client, workspace):
    assert stat.S_IMODE(endpoint_path(workspace.root).stat().st_mode) == 0o600
    endpoint = read_endpoint(workspace.root)
    for header in ({}, {"Authorization": "Bearer wrong"}):
        request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}/health", b"{}", header, method="POST")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=5)
    broken = urllib.request.Request(
        f"http://127.0.0.1:{endpoint.port}/recommend", b"{nonsense", {"Authorization": f"Bearer {endpoint.token}"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(broken, timeout=5)
    assert json.loads(caught.value.read())["error"]["message"] == "The question is not JSON."


def test_a_second_client_finds_the_same_process(client, workspace):
    other = ScorerClient(workspace)
    assert other.health().pid == client.health().pid
    other.close()
    assert client.health().pid > 0


def test_killed_process_is_replaced_and_other_code_restarts(client, workspace):
    first = client.health().pid
    os.kill(first, 9)
    second = client.health().pid
    assert second != first
    write_endpoint(workspace.root, replace(read_endpoint(workspace.root), version="older"))
    third = client.health().pid
    assert third not in (first, second)
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # the old one is gone, not only forgotten
            client._child.poll()
            os.kill(second, 0)
            time.sleep(0.05)


def test_stale_endpoint_with_a_dead_process_is_replaced(tmp_path, client, workspace):
    stale = replace(read_endpoint(workspace.root), process={"pid": 1, "started": "0", "host": "elsewhere", "boot": "x"}, port=1)
    lonely = ScorerClient(Workspace(tmp_path), idle_seconds=60)
    write_endpoint(tmp_path, stale)
    assert lonely.evict() == 0  # nothing is started for nothing
    try:
        assert lonely.health().loaded == ()
    finally:
        lonely.stop()
    assert not endpoint_path(tmp_path).exists()


def test_client_imports_no_model_library():
    code = "import sys, recsys_core.serving.client; print(sorted({'torch','implicit','sklearn','streamlit'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_scorer_ends_when_idle_or_superseded(workspace, tmp_path):
    root = Workspace(tmp_path)
    idle = Scorer(root, version="x", idle_seconds=0.2)
    thread = threading.Thread(target=idle.run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and read_endpoint(tmp_path) is None
    first, second = Scorer(root, version="x", idle_seconds=60), Scorer(root, version="x", idle_seconds=60)
    threads = [threading.Thread(target=one.run, daemon=True) for one in (first, second)]
    for one, server in zip(threads, (first, second), strict=True):
        one.start()
        while (read_endpoint(tmp_path) or second).token != server.token or read_endpoint(tmp_path) is None:
            time.sleep(0.01)
    threads[0].join(10)
    assert not threads[0].is_alive() and read_endpoint(tmp_path).token == second.token
    second.shutdown()
    threads[1].join(10)
    assert read_endpoint(tmp_path) is None


def test_least_recently_used_models_go_first_and_changed_ones_are_read_again(workspace, data):
    models = LoadedModels(workspace, budget_bytes=10**12)
    for run in ("a1", "b2", "c3", "a1"):
        with models.use(run) as model:
            assert model.key == MODELS[run][0]
    sizes = {one["run"]: one["memory_bytes"] for one in models.describe()}
    assert list(sizes) == ["b2", "c3", "a1"]
    models.budget_bytes = sizes["a1"] + sizes["c3"]
    models._trim(keep="a1")
    assert [one["run"] for one in models.describe()] == ["c3", "a1"]
    with models.use("a1") as before, models.use("c3"):
        pass
    _train(workspace.root, "a1", *MODELS["a1"], data)
    with models.use("a1") as after:
        assert after is not before
    models.budget_bytes = 1
    with models.use("b2"):  # larger than the budget: it alone stays
        pass
    assert [one["run"] for one in models.describe()] == ["b2"]


def test_a_deleted_run_is_let_go(workspace, data):
    _train(workspace.root, "d4", "popular", {}, data)
    models = LoadedModels(workspace, budget_bytes=10**12)
    with models.use("d4"):
        pass
    workspace.delete("d4")
    with pytest.raises(NotFound, match="d4"), models.use("d4"):
        pass
    assert models.describe() == []


def test_k_outside_the_rule_is_refused(client):
    with pytest.raises((BadInput, ParamError), match="1001"):
        client.recommend(["a1"], ["u1"], k=1001)


def test_reasons_of_several_sorts_come_out_in_external_ids():
    """A code is an item only where its sort says so; features are text."""
    from contextlib import contextmanager
    from types import SimpleNamespace

    from recsys_core.models._card import Explanation
    from recsys_core.serving import requests, verbs

    train = from_frame(pd.DataFrame({"user": ["u1", "u2"], "item": ["000a", "000b"]}))
    sorts = ("history", "item feature", "user feature")
    why = Explanation("mixed", (1, "era = 1994", "group = 2"), (0.5, 0.25, -0.1), 2.0, exact=False, method="Occlusion.", sorts=sorts)
    model = SimpleNamespace(fitted=train, explain=lambda item, **asked: why)

    @contextmanager
    def use(run):
        yield model

    told = verbs.explain(SimpleNamespace(use=use), requests.ExplainRequest(run="r", item="000a", user="u1"))
    assert told["refs"] == ["000b", "era = 1994", "group = 2"] and tuple(told["sorts"]) == sorts and json.dumps(told)
