"""Texts to vectors: terms of any script, TF-IDF against scikit-learn, tiny tables, the field, the cache of vectors."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.features.text_field import LONGEST, Text, clean
from recsys_core.data.text import _cache, tfidf_svd
from recsys_core.data.text._cache import VectorCache
from recsys_core.data.text._terms import terms
from recsys_core.data.text.tfidf_svd import MOST_TERMS, TfidfSvd, _some
from recsys_core.errors import Cancelled, NotFound, ParamError, Unsupported

WORDS = (
    "space",
    "war",
    "love",
    "robot",
    "paris",
    "night",
    "river",
    "king",
    "summer",
    "ghost",
    "dragon",
    "secret",
    "storm",
    "island",
    "dance",
)
RNG = np.random.default_rng(0)
TITLES = [" ".join(RNG.choice(WORDS, RNG.integers(1, 5))) for _ in range(150)]
HANZI = ["星际穿越", "星际迷航", "星际传奇", "红楼梦", "红高粱", "西游记", "大话西游", "水浒传", "三国演义", "新三国", "龙猫", "千与千寻"]


def again(field: Text) -> Text:
    """As it comes back from disk."""
    return Text.restore(json.loads(json.dumps(field.plain())), {name: value.copy() for name, value in field.arrays().items()})


def test_words_and_pairs_of_words_with_decades():
    assert terms("The King's Speech (2010)") == ["the", "kings", "the kings", "speech", "kings speech", "2010", "speech 2010", "2010s"]
    assert terms("M") == ["m"] and terms("  —!? ") == [] and terms("Ｆｕｌｌ ｗｉｄｔｈ") == ["full", "width", "full width"]
    assert terms("naïve हिन्दी फ़िल्म")[:2] == ["naïve", "हिन्दी"]  # vowel signs are parts of words


def test_scripts_without_blanks_give_runs_of_characters():
    assert terms("红楼梦") == ["红", "楼", "梦", "红楼", "楼梦", "红楼梦"]
    assert terms("龙猫 Totoro，もの") == ["龙", "猫", "龙猫", "totoro", "も", "の", "もの"]
    assert terms("기생충")[-1] == "기생충"
    assert terms("𠮷野家")[0] == "𠮷"


LIKE_SKLEARN = [(TITLES, {"ngram_range": (1, 2)}), (HANZI, {"analyzer": "char", "ngram_range": (1, 3)})]


@pytest.mark.parametrize(("texts", "how"), LIKE_SKLEARN, ids=["words", "Chinese"])
def test_vectors_are_those_of_scikit_learns_own_pipeline(texts, how):
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    ctx = RunContext(seed=3)
    ours = TfidfSvd.fit(texts, ctx, size=5)
    fewest = 2 if len(texts) > 100 else 1
    svd = TruncatedSVD(5, random_state=ctx.seed_for("text dimensions") % 2**32)
    counter = TfidfVectorizer(sublinear_tf=True, min_df=fewest, max_features=MOST_TERMS, **how)
    theirs = make_pipeline(counter, svd, Normalizer())
    theirs.fit(texts)
    new = [*texts, " ".join(texts[:2]) if "analyzer" not in how else "星际红楼", texts[0] + texts[1]]
    told = ours.encode(new)
    length = np.linalg.norm(told, axis=1)
    known = length > 0  # of rows that share nothing with what was learnt, scikit-learn scales up what rounding left
    assert known.mean() > 0.8
    np.testing.assert_allclose(told[known], theirs.transform(new)[known], rtol=0, atol=1e-6)
    np.testing.assert_allclose(length, known, atol=1e-6)
    np.testing.assert_array_equal(TfidfSvd.fit(texts, ctx, size=5).encode(new), told)


def test_chinese_titles_about_the_same_lie_close():
    encoder = TfidfSvd.fit(HANZI, size=8)
    near, other, far = encoder.encode(["星际穿越", "星际迷航", "红楼梦"])
    assert near @ other > 0.3 > 0.05 > abs(near @ far)
    unseen = encoder.encode(["星际旅行"])[0]  # a title it never saw
    assert unseen @ other > 0.5 and abs(unseen @ far) < 0.05


@pytest.mark.parametrize(
    ("texts", "size", "lengths"),
    [
        ([], 1, []),
        (["", "  "], 1, [0, 0]),
        (["!!!", "?"], 1, [0, 0]),
        (["one"], 1, [1]),
        (["one", "one", "one"], 1, [1, 1, 1]),
        (["alpha beta", "alpha", ""], 2, [1, 1, 0]),
        (["red", "green", "blue"], 3, [1, 1, 1]),
        (["红"], 1, [1]),
    ],
)
def test_the_size_is_at_most_what_the_texts_give(texts, size, lengths):
    encoder = TfidfSvd.fit(texts, size=64)
    vectors = encoder.encode(texts)
    assert encoder.size == size and vectors.shape == (len(texts), size) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), lengths, atol=1e-5)
    assert not encoder.encode(["unheard of", ""]).any()


def test_a_column_of_texts_as_a_field():
    column = pd.Series([*TITLES, "", None, "  ", "<br>", "nan", "space war", "<b>Space</b>\n  WAR &amp; love", "unheard of"], dtype=object)
    field = Text.fit("title", column, size=6)
    assert field.names == [*(f"title ~{n}" for n in range(1, 7)), "title=(missing)"]
    dense = field.encode(column).toarray()
    missing = np.isin(np.arange(len(column)), range(150, 155))
    np.testing.assert_array_equal(dense[:, 6], missing)
    assert not dense[missing, :6].any() and dense.dtype == np.float32
    np.testing.assert_array_equal(dense[155, :6], field.encoder.encode(["space war"])[0])
    np.testing.assert_array_equal(dense[156, :6], field.encoder.encode(["Space WAR & love"])[0])
    assert not dense[157].any()  # a text, but of words that no other has
    back = again(field)
    assert back.names == field.names and (back.encode(column) != field.encode(column)).nnz == 0
    assert field.encode(pd.Series([], dtype=object)).shape == (0, 7) == field.encode(column[:0]).shape


def test_each_distinct_text_is_read_once():
    code, texts, cut = clean(pd.Series(["a b", " a  b ", "<i>a</i> b", None, "c", "a b"], dtype=object))
    assert texts == ["a b", "c"] and code.tolist() == [0, 0, 0, -1, 1, 0] and cut == 0
    odd = pd.Series(["1 < 2 and 3 > 2", "I <3 you", "<script>x()</script>y<!-- z"], dtype=object)
    assert clean(odd)[1] == ["1 < 2 and 3 > 2", "I <3 you", "y"]
    assert clean(pd.Series(["a \x00 \t🚀"], dtype=object))[1] == ["a \x00 🚀"]
    assert clean(pd.Series([1995, 7.0, None]))[1] == ["1995", "7"]


def test_what_is_too_long_is_cut_and_said():
    long = "space " * 2000
    field = Text.fit("plot", pd.Series(["short", long, None, long + "x"], dtype=object))
    assert field.n_cut == 2 and again(field).notes == field.notes
    assert "2 texts" in field.notes[0] and f"{LONGEST:,}" in field.notes[0]
    started = time.process_time()
    clean(pd.Series(["<!--" * 50_000, "<script>" * 50_000, "<" * 500_000, "<a " * 100_000]))
    assert time.process_time() - started < 1


def test_settings_that_cannot_be():
    for size in (0, -1, 5000, 2.5, "64"):
        with pytest.raises(ParamError, match="size"):
            Text.fit("t", pd.Series(["a"]), size=size)
    with pytest.raises(NotFound, match="tfidf_svd"):
        Text.fit("t", pd.Series(["a"]), encoder="tfidf_sdv")


def test_encoders_are_listed_and_say_what_they_need(monkeypatch):
    found = registry.all_of("text_encoder")
    assert {"tfidf_svd", "sentence"} <= set(found) and found["tfidf_svd"].unavailable() == ""
    from recsys_core.data.text import _pretrained

    monkeypatch.setattr(_pretrained, "find_spec", lambda name: None)
    assert "requirements-text.txt" in found["sentence"].unavailable()
    with pytest.raises(Unsupported, match="title.*sentence-transformers.*TF-IDF"):
        Text.fit("title", pd.Series(["a"]), encoder="sentence")


def test_a_cancelled_fit_stops():
    with pytest.raises(Cancelled):
        TfidfSvd.fit(TITLES, RunContext(cancelled=lambda: True))


# The cache of vectors


def vectors_of(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), ord(text[0]), 0.5] for text in texts], dtype=np.float32)


def test_cached_vectors_come_back_by_content(tmp_path):
    cache = VectorCache(tmp_path, "sentence", "abc")
    found, vectors = cache.get(["one", "two"])
    assert not found.any() and vectors.shape == (2, 0)
    cache.put(["one", "two"], vectors_of(["one", "two"]))
    cache.put(["three", "星际"], vectors_of(["three", "星际"]))
    asked = ["星际", "new", "one", "three", "one"]
    found, vectors = VectorCache(tmp_path, "sentence", "abc").get(asked)
    assert found.tolist() == [True, False, True, True, True] and not vectors[1].any()
    np.testing.assert_array_equal(vectors[found], vectors_of([t for t in asked if t != "new"]))
    assert [cache.get([text])[0].all() for text in ("one", "two", "three", "new")] == [
        True,
        True,
        True,
        False,
    ]
    assert cache.get(["one", "new"])[0].tolist() == [True, False]
    assert not VectorCache(tmp_path, "sentence", "other").get(asked)[0].any()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "not a zip"])
def test_a_damaged_file_is_ignored_said_and_made_anew(tmp_path, caplog, damage):
    cache = VectorCache(tmp_path, "sentence", "abc")
    cache.put(["one"], vectors_of(["one"]))
    cache.put(["two"], vectors_of(["two"]))
    (path,) = [p for p in cache.folder.glob("*.npz") if cache_keys(p) == _cache.keys_of(["one"]).tolist()]
    whole = path.read_bytes()
    at = whole.index(vectors_of(["one"]).tobytes())
    told = {"cut": whole[: len(whole) // 2], "empty": b"", "not a zip": b"x" * 300}
    path.write_bytes(told.get(damage, whole[:at] + b"\x01" + whole[at + 1 :]))
    with caplog.at_level(logging.WARNING):
        found, _ = cache.get(["one", "two"])
    assert found.tolist() == [False, True] and "made anew" in caplog.text and not path.exists()
    cache.put(["one"], vectors_of(["one"]))
    assert cache.get(["one", "two"])[0].all() and path.read_bytes() == whole


def cache_keys(path: Path) -> list:
    with np.load(path) as shard:
        return shard["keys"].tolist()


def test_many_small_files_become_one(tmp_path):
    cache = VectorCache(tmp_path, "sentence", "abc")
    texts = [f"text {n}" for n in range(_cache.MOST_SMALL + 1)]
    for text in texts:
        cache.put([text, "shared"], vectors_of([text, "shared"]))
    assert len(list(cache.folder.glob("*.npz"))) == 1
    found, vectors = cache.get([*texts, "shared"])
    assert found.all()
    np.testing.assert_array_equal(vectors, vectors_of([*texts, "shared"]))


def test_two_at_once_lose_nothing(tmp_path):
    """Written, merged and read by turns in two processes."""
    work = """
import sys
import numpy as np
from recsys_core.data.text import _cache, tfidf_svd
_cache.MOST_SMALL = 2
cache = _cache.VectorCache(sys.argv[1], "sentence", "abc")
for n in range(60):
    texts = [f"{sys.argv[2]} {n}", f"shared {n}"]
    cache.put(texts, np.array([[len(t), n] for t in texts], np.float32))
    cache.get(texts)
"""
    both = [subprocess.Popen([sys.executable, "-c", work, str(tmp_path), who], stderr=subprocess.PIPE, text=True) for who in ("a", "b")]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert said == ["", ""] and [process.returncode for process in both] == [0, 0]
    texts = [f"{who} {n}" for who in ("a", "b", "shared") for n in range(60)]
    found, vectors = VectorCache(tmp_path, "sentence", "abc").get(texts)
    assert found.all()
    np.testing.assert_array_equal(vectors, [[len(text), int(text.split()[1])] for text in texts])


def test_beyond_its_size_the_longest_unused_go(tmp_path, monkeypatch):
    old, new = VectorCache(tmp_path, "sentence", "old"), VectorCache(tmp_path, "sentence", "new")
    for text in ("one", "two"):
        old.put([text], vectors_of([text]))
    for path in old.folder.glob("*.npz"):
        os.utime(path, (1, 1))
    assert old.get(["one"])[0].all()  # used now
    size = next(old.folder.glob("*.npz")).stat().st_size
    monkeypatch.setattr(_cache, "LARGEST", 2 * size)
    new.put(["three"], vectors_of(["three"]))
    assert old.get(["one", "two"])[0].tolist() == [True, False] and new.get(["three"])[0].all()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "text").write_text("a file where the folder should be")
    cache = VectorCache(tmp_path, "sentence", "abc")
    with caplog.at_level(logging.WARNING):
        cache.put(["one"], vectors_of(["one"]))
    assert "could not be kept" in caplog.text and not cache.get(["one"])[0].any()


def test_so_much_is_learnt_from_as_memory_allows(monkeypatch):
    """Counting takes hundreds of bytes a character: of long texts some by chance are enough to learn the words from."""
    texts = [f"word{n % 7} and word{n % 5} number {n}" for n in range(400)]
    assert _some(texts, np.random.default_rng(0)) == texts
    monkeypatch.setattr(tfidf_svd, "MOST_CHARACTERS", 2_000)
    few = _some(texts, np.random.default_rng(0))
    assert 1_950 < sum(map(len, few)) <= 2_000 and few == sorted(few, key=texts.index) and few == _some(texts, np.random.default_rng(0))
    assert TfidfSvd.fit(texts, size=4).encode(texts).any(axis=1).all()
    monkeypatch.setattr(tfidf_svd, "MOST_CHARACTERS", 3)
    assert len(_some(texts, np.random.default_rng(0))) == 1
