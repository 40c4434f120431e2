"""The documentation says what is: generated pages are up to date, links lead somewhere, sample code and commands work."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import docs, registry
from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.topk import TopK
from recsys_core.metrics import Catalog, evaluate
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
from recsys_core.rerank._base import Shelf
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing.deep_contract import DeepContract
from recsys_core.testing.model_contract import ModelContract
from recsys_core.testing.reranker_contract import RerankerContract

REPO = Path(__file__).resolve().parents[2]
PAGES = [REPO / "README.md", REPO / "sample_data" / "README.md", REPO / "CHANGELOG.md", *sorted((REPO / "docs").rglob("*.md"))]


def code_blocks(path: Path, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_models_page_is_what_the_models_say():
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page(), "Run `make docs`."


def test_models_page_has_every_plugin_and_every_parameter():
    text = docs.page()
    for key, cls in registry.all_of("model").items():
        section = text.split(f'<a id="{key}"></a>')[1].split("<a id=")[0]
        assert cls.label in section
        for field in cls.card().fields:
            assert f"`{field.name}`" in section
    for kind in ("splitter", "metric"):
        for key in registry.keys(kind):
            assert f"`{key}`" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        if target.startswith("docs/screenshots/") and not (REPO / "docs" / "screenshots").is_dir():
            continue  # not made yet: `make screenshots`
        file, _, anchor = target.partition("#")
        found = (path.parent / file) if file else path
        assert found.exists(), f"{target} is not there"
        if anchor:
            assert f'id="{anchor}"' in found.read_text(encoding="utf-8"), f"{target} has no such place"


def test_make_targets_named_in_the_docs_exist():
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in PAGES for name in re.findall(r"(?:`|^)make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE)}
    assert named and named <= targets


def commands() -> list[list[str]]:
    lines = [line for block in code_blocks(REPO / "README.md") for line in block.splitlines()]
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m recsys_core ")]


def test_commands_of_the_readme_exist_with_their_options():
    assert {words[0] for words in commands()} == {"models", "ingest", "train", "recommend", "evaluate", "bundle", "ask", "serve"}
    for name, *words in commands():
        # A process of its own: `serve` becomes another program.
        asked = subprocess.run([sys.executable, "-m", "recsys_core", name, "--help"], capture_output=True, text=True, cwd=REPO)
        assert asked.returncode == 0, name
        known = set(re.findall(r"--[a-z0-9-]+", asked.stdout))
        assert {word for word in words if word.startswith("--")} <= known, name


def test_models_and_splits_in_the_commands_of_the_readme_exist():
    for words in commands():
        given = dict(zip(words, words[1:], strict=False))
        if "--model" in given:
            model = registry.get("model", given["--model"])
            names = {field.name for field in model.card().fields}
            sets = [value for flag, value in zip(words, words[1:], strict=False) if flag == "--set"]
            assert {value.split("=")[0] for value in sets} <= names
        if "--split" in given:
            registry.get("splitter", given["--split"])


# ---- the samples of docs/add-a-model.md ------------------------------------------------------------
def load_sample(name: str) -> type:
    """A class in the page's code blocks, its block as a module of its own."""
    (code,) = (block for block in code_blocks(REPO / "docs" / "add-a-model.md", "python") if f"class {name}(" in block)
    [key] = re.findall(r'^    key = "(\w+)"$', code, re.MULTILINE)
    module = types.ModuleType(f"sample.{key}")  # as a file of its own, named after its key
    sys.modules[module.__name__] = module  # where postponed annotations are looked up
    exec(compile(code, "docs/add-a-model.md", "exec"), module.__dict__)
    return getattr(module, name)


class KnownMeanwhile:
    """The sample is registered while its battery runs."""

    kind = "model"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def known(cls):
        sample = getattr(cls, cls.kind)
        yield registry.register(cls.kind, sample)
        registry.unregister(cls.kind, sample.key)


class TestSampleNetwork(KnownMeanwhile, DeepContract):
    """The network of the page passes the battery of networks."""

    model = load_sample("Bottleneck")


class TestSampleModel(KnownMeanwhile, ModelContract):
    """It passes the battery every model passes."""

    model = load_sample("Association")

    def test_gives_the_worked_numbers(self):
        """Three people took a, two of them also b, one also c: weights 2 / (3 + 1) and 1 / (3 + 1)."""
        pairs = [("1", "a"), ("1", "b"), ("2", "a"), ("2", "b"), ("3", "a"), ("3", "c")]
        model = self.model(shrinkage=1.0).fit(from_frame(pd.DataFrame(pairs, columns=["user", "item"])))
        top = model.recommend_for_history(Histories.from_lists([[0]]), 3)
        np.testing.assert_array_equal(top.items[0], [1, 2, -1])
        np.testing.assert_allclose(top.scores[0, :2], [2 / 4, 1 / 4])
        why = model.explain(1, history=Histories.from_lists([[0]]))
        assert why.refs == (0,) and why.total == pytest.approx(0.5)

    def test_its_bundle_gives_the_same_numbers(self, tmp_path):
        pairs = [("1", "a"), ("1", "b"), ("2", "a"), ("2", "b"), ("3", "a"), ("3", "c")]
        write_bundle(self.model(shrinkage=1.0).fit(from_frame(pd.DataFrame(pairs, columns=["user", "item"]))), tmp_path / "b.zip")
        codes, scores = Bundle.open(tmp_path / "b.zip").best(History.of([0]), 2)
        assert codes.tolist() == [1, 2] and scores == pytest.approx([2 / 4, 1 / 4])


class TestSampleFusion(KnownMeanwhile, ModelContract):
    """The fusion of the page passes the battery of models, which saves it, loads it and asks it for reasons."""

    model = load_sample("LoudestVoice")
    params = {"models": ["ease", "item_knn"]}


class TestSampleReranker(KnownMeanwhile, RerankerContract):
    """It passes the battery every re-ranker passes."""

    kind = "reranker"
    reranker = load_sample("RarityByPlace")

    def test_gives_the_worked_numbers(self):
        """Item 0 was had by four, item 1 by two, item 2 by one: full strength turns the list round, none leaves it."""
        pairs = [(str(user), item) for item, n in (("a", 4), ("b", 2), ("c", 1)) for user in range(n)]
        shelf = Shelf(from_frame(pd.DataFrame(pairs, columns=["user", "item"])))
        top = TopK(np.array([3]), np.array([[0, 1, 2, -1]], np.int32), np.array([[3, 2, 1, np.nan]], np.float32))
        for strength, expected in ((0, [0, 1, 2, -1]), (0.4, [0, 1, 2, -1]), (0.6, [2, 1, 0, -1])):
            assert self.reranker(strength=strength).rerank(top, 4, shelf).items[0].tolist() == expected


def test_the_sample_metric_is_measured_with_its_interval():
    metric = load_sample("Fill")
    registry.register("metric", metric)
    try:
        data = from_frame(pd.DataFrame([(u, i) for u in "ab" for i in "xyz"], columns=["user", "item"]))
        top = TopK(np.array([0, 1]), np.array([[0, 1], [2, -1]], np.int32), np.ones((2, 2), np.float32))
        measured = evaluate(top, Holdout(data), Catalog.from_dataset(data), (1, 2), metrics=["fill"])
        assert measured.per_user["fill@2"].tolist() == [1.0, 0.5] and measured.means()["fill@1"] == 1.0
        low, high = measured.intervals()["fill@2"]
        assert 0.5 <= low <= 0.75 <= high <= 1.0
    finally:
        registry.unregister("metric", metric.key)
