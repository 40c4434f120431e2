"""What decides which variant of a bundle is shipped, by hand; and how little an edge machine needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.ids import IdMap
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.bundle_words import report_sentence
from recsys_core.serving.parity import THREADS, Parity, judged, overlap


def test_overlap_by_hand() -> None:
    wanted = np.array([[1, 2, 3, 4], [5, 6, -1, -1], [-1, -1, -1, -1], [7, 8, 9, 10]])
    found = np.array([[4, 3, 2, 9], [6, -1, -1, -1], [1, -1, -1, -1], [7, 8, 9, 10]])
    assert overlap(wanted, found) == pytest.approx((0.75 + 0.5 + 1 + 1) / 4)
    rng = np.random.default_rng(0)
    one, other = (np.argsort(rng.random((40, 30)), axis=1)[:, :10] for _ in range(2))
    slow = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(one.tolist(), other.tolist(), strict=True)])
    assert overlap(one, other) == pytest.approx(slow)


def _parity(name: str, *, overlap: float = 1.0, loss: float | None = 0.0, size: int = 1000, p50: float = 1.0) -> Parity:
    return Parity(name, overlap, 0.4, 0.4, loss, 0.0, size, p50, 2.0, 40.0)


@pytest.mark.parametrize(
    ("variants", "shipped", "warned"),
    [
        ([_parity("fp32")], "fp32", 0),
        ([_parity("fp32"), _parity("int8", overlap=0.95, loss=0.01, size=300)], "int8", 0),
        ([_parity("fp32"), _parity("int8", overlap=0.949, size=300)], "fp32", 1),
        ([_parity("fp32"), _parity("int8", loss=0.0101, size=300)], "fp32", 1),
        ([_parity("fp32"), _parity("int8", overlap=0.99, loss=None, size=300)], "int8", 0),
        ([_parity("fp32"), _parity("int8", size=960)], "fp32", 0),
        ([_parity("fp32"), _parity("float16", size=500), _parity("int8", size=300)], "int8", 0),
        ([_parity("fp32"), _parity("int8", size=300), _parity("int8 and pruned 30 %", overlap=0.5, size=200)], "int8", 1),
        ([_parity("fp32"), _parity("int8", size=300, overlap=0.99), _parity("int8 and pruned 30 %", size=290, overlap=0.96)], "int8", 0),
        ([_parity("fp32"), _parity("pruned 30 %", size=990, p50=0.7)], "pruned 30 %", 0),
        ([_parity("fp32", overlap=0.8)], "fp32", 1),
    ],
)
def test_the_smallest_that_gives_the_same_lists_is_shipped(variants: list[Parity], shipped: str, warned: int) -> None:
    report, name = judged(variants, [])
    assert name == report["shipped"] == shipped and len(report["warnings"]) == warned
    assert [one["name"] for one in report["variants"] if one["kept"]] == [shipped]
    assert all(one["why"].endswith(".") for one in report["variants"])
    if warned and len(variants) > 1:
        assert "Not shipped" in report["warnings"][0] and f"{shipped} is shipped" in report["warnings"][0]


def test_the_sentence_of_a_report_says_what_is_lost() -> None:
    report = judged([_parity("fp32"), _parity("int8", overlap=0.98, loss=0.004, size=300)], [])[0] | {"sample": 500, "k": 20}
    assert report_sentence(report) == (
        "On 500 test users, lists of 20 from int8 hold 98.0% of the items of the trained model's lists, NDCG@20 is 0.40% lower. "
        "A list takes 1 ms on one thread, one in a hundred more than 2 ms; the process takes 40 MB."
    )


def test_an_edge_machine_needs_little(tmp_path: Path) -> None:
    """EASE of the size of ml-100k: 943 users, 1,682 items, 100,000 interactions; one thread, no library of those that trained it."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(943), 106)
    item = (1682 * rng.random(len(user)) ** 2.5).astype(np.int32)
    user, item = np.unique(np.stack([user, item], axis=1), axis=0).T
    users, items = (IdMap([f"{side}{code}" for code in range(n)]) for side, n in (("u", 943), ("i", 1682)))
    data = Dataset(users, items, user.astype(np.int32), item.astype(np.int32), np.ones(len(user), np.float32))
    write_bundle(registry.get("model", "ease")().fit(data, RunContext(threads=1)), tmp_path / "ease.zip")
    code = (
        "import sys, threading; from recsys_core.portable import measure; measure.main(sys.argv[1:]);"
        "heavy = {'torch', 'scipy', 'pandas', 'implicit', 'sklearn', 'pydantic', 'psutil'} & set(sys.modules);"
        "assert not heavy, heavy; assert threading.active_count() == 1"
    )
    environment = dict(os.environ) | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, str(tmp_path / "ease.zip"), "--lists", "500"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lists"] == 500 and 20 * 2**20 < found["resident_bytes"] < 150 * 2**20, found
    assert found["p50_ms"] < 5, "half of the lists: the slowest are the business of the benchmark, on a quiet machine"
