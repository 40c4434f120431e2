"""Sentence encoders on a tiny model made here: reduction, cache, cancelling, saving, and what is said when one is not to be had."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.features.text_field import Text
from recsys_core.data.text import _pretrained, sentence
from recsys_core.data.text.sentence import Sentence
from recsys_core.errors import Cancelled, NotFound, Unsupported, WorkbenchError

pytest.importorskip("sentence_transformers", reason="the extra of requirements-text.txt is not installed")

LETTERS = [chr(n) for n in range(ord("a"), ord("z") + 1)]
TEXTS = ["space war", "space love", "king of paris", "the river", "a", "星际穿越", "红楼梦", "space war", "long " * 300]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A network of one layer that has learnt nothing, with a vocabulary of letters."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    at = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *"星际穿越"]
    (at / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer(str(at / "vocab.txt")).save_pretrained(at / "bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        BertModel(config).save_pretrained(at / "bert")
    inner = Transformer(str(at / "bert"), max_seq_length=64)
    SentenceTransformer(modules=[inner, Pooling(16)], device="cpu").save(str(at / "model"))
    return at / "model"


@pytest.fixture
def read(monkeypatch) -> list[list[str]]:
    """The texts of each batch that a network has read."""
    batches, real = [], sentence._apply
    monkeypatch.setattr(sentence, "_apply", lambda network, texts, threads: batches.append(texts) or real(network, texts, threads))
    return batches


def context(cache: Path | None = None, **more) -> RunContext:
    return RunContext(threads=1, cache=cache, **more)


def test_vectors_are_the_networks_own_brought_to_principal_components(folder):
    from sentence_transformers import SentenceTransformer
    from sklearn.decomposition import PCA

    encoder = Sentence.fit(TEXTS, context(), size=4, model=str(folder))
    told = encoder.encode([*TEXTS, "", " "], context())
    distinct = list(dict.fromkeys(TEXTS))
    network = SentenceTransformer(str(folder), device="cpu")
    theirs = PCA(4).fit(network.encode(distinct)).transform(network.encode(TEXTS))
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    theirs *= np.sign((theirs * told[: len(TEXTS)]).sum(0))  # principal components have no sign of their own
    np.testing.assert_allclose(told[: len(TEXTS)], theirs, atol=2e-4)
    assert encoder.size == 4 and told.dtype == np.float32 and not told[len(TEXTS) :].any()


@pytest.mark.parametrize(("texts", "size"), [(["one"], 1), (["one", "two"], 1), (["one", "two", "six"], 2), (["", " "], 1), ([], 1)])
def test_few_texts_give_few_numbers(folder, texts, size):
    encoder = Sentence.fit(texts, context(), size=64, model=str(folder))
    vectors = encoder.encode([*texts, "new"], context())
    assert vectors.shape == (len(texts) + 1, size) and np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[: len(texts)], axis=1), [float(bool(text.strip())) for text in texts], atol=1e-5)


def test_only_new_texts_are_read(folder, read, tmp_path):
    ctx = context(tmp_path)
    column = pd.Series([*TEXTS, None], dtype=object)
    field = Text.fit("title", column, ctx, encoder="sentence", size=4, model=str(folder))
    first = field.encode(column, ctx)
    assert sorted(text for batch in read for text in batch) == sorted({text.strip() for text in TEXTS})
    read.clear()
    back = Text.restore(json.loads(json.dumps(field.plain())), field.arrays())
    more = back.encode(pd.Series([*TEXTS, "never seen", "nor this", None], dtype=object), ctx)
    assert sorted(text for batch in read for text in batch) == ["never seen", "nor this"]
    np.testing.assert_array_equal(more[: len(TEXTS)].toarray(), first[: len(TEXTS)].toarray())
    read.clear()
    again = Text.fit("title", column, ctx, encoder="sentence", size=4, model=str(folder))
    assert not read and (again.encode(column, ctx) != first).nnz == 0


def test_without_a_cache_the_texts_of_the_fit_are_read_once(folder, read):
    encoder = Sentence.fit(TEXTS, context(), size=4, model=str(folder))
    encoder.encode(TEXTS, context())
    assert sum(map(len, read)) == len(set(TEXTS))


def test_cancelling_stops_within_a_batch_and_keeps_what_was_read(folder, read, tmp_path, monkeypatch):
    monkeypatch.setattr(sentence, "BATCH", 2)
    told: list[str] = []
    ctx = context(tmp_path, cancelled=lambda: len(read) == 2, on_progress=lambda p: told.append(p.message))
    with pytest.raises(Cancelled):
        Sentence.fit(TEXTS, ctx, model=str(folder))
    assert len(read) == 2 and "2 of 8 new texts" in told[-1]
    Sentence.fit(TEXTS, context(tmp_path), model=str(folder))
    done = [text for batch in read for text in batch]
    assert len(done) == len(set(done)) == len(set(TEXTS))


def test_long_texts_come_in_smaller_batches():
    texts = ["x" * 2000] * 20 + ["short"] * 200
    batches = list(sentence._batches(np.arange(len(texts)), texts))
    assert [n for batch in batches for n in batch] == list(range(220))
    assert len(batches[0]) == 8 and max(map(len, batches)) == 64


def test_a_model_that_changed_or_went_is_told(folder, tmp_path, caplog):
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    encoder = Sentence.fit(TEXTS, context(), size=4, model=str(own))
    assert encoder.identity == _pretrained.identity_of(folder)  # the same content elsewhere is the same model
    weights = next(own.rglob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Unsupported, match="not the one this was trained with"):
        encoder.encode(["new"], context())
    shutil.rmtree(own)
    with caplog.at_level(logging.WARNING):
        back = Sentence.restore(encoder.plain(), encoder.arrays())
    assert "There is no folder" in caplog.text and not back.encode([""], context()).any()
    with pytest.raises(NotFound, match="There is no folder"):
        back.encode(["new"], context())


def test_what_is_no_model_is_said_in_a_sentence(folder, tmp_path, monkeypatch):
    import huggingface_hub

    def offline(name: str, **_):
        raise OSError(f"{name}: no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    own = tmp_path / "own"
    own.mkdir()
    cases = {
        "/no/such/folder": "no folder",
        "what is this?": "no folder",
        "owner/name": "hub",
        "name": "hub",
        str(own): "neither modules.json",
    }
    for model, what in cases.items():
        with pytest.raises(NotFound, match=what) as caught:
            Sentence.fit(["a"], context(), model=model)
        assert caught.value.hint
    (own / "config.json").write_text("{}")
    with pytest.raises(Unsupported, match="safetensors"):
        Sentence.fit(["a"], context(), model=str(own))
    for name, content in (("model.safetensors", b"no weights"), ("modules.json", b"[{")):
        (own / name).write_bytes(content)
        with pytest.raises(WorkbenchError, match="cannot be read"):
            Sentence.fit(["a"], context(), model=str(own))


def test_code_in_a_models_folder_is_not_run(folder, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    (own / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    modules = json.loads((own / "modules.json").read_text())
    modules[1]["type"] = "mine.Mine"
    (own / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(Unsupported, match="cannot be read"):
        Sentence.fit(["a"], context(), model=str(own))
    assert not (tmp_path / "ran").exists()


def test_a_name_on_the_hub_is_fetched_without_other_formats(folder, monkeypatch):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **how: asked.append((name, how)) or str(folder))
    by_name = Sentence.fit(TEXTS, context(), size=4, model="owner/name")
    assert by_name.identity == Sentence.fit(TEXTS, context(), size=4, model=str(folder)).identity
    name, how = asked[0]
    assert name == "owner/name" and how["local_files_only"] and "onnx/*" in how["ignore_patterns"]


@pytest.mark.slow
def test_the_packaged_model_knows_what_goes_together():
    try:
        encoder = Sentence.fit(["toy story", "star wars", "the godfather", "finding nemo", "goodfellas", "alien"], context(), size=5)
    except NotFound as error:
        pytest.skip(str(error))
    near, other, far = encoder.encode(["mafia boss", "gangsters", "children's cartoon about a fish"], context())
    assert near @ other > near @ far + 0.3
    assert np.isfinite(encoder.encode(["星际穿越 🚀"], context())).all()
