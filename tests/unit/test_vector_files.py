"""Files of vectors: read in every form, refused in words, kept beside a dataset, and seen by models."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.data.dataset import Dataset
from recsys_core.data.features import FeatureEncoder, FeatureSet, FeatureTable, Guess, encode_table, guess_schema, vector_field
from recsys_core.data.features import vectors as vectors_module
from recsys_core.data.features.vector_field import Vector
from recsys_core.data.features.vector_files import read_vector_file
from recsys_core.data.features.vectors import read_vectors
from recsys_core.data.ids import IdMap
from recsys_core.errors import BadInput, DataError
from recsys_core.models._features import SideFeatures
from recsys_core.store import Workspace
from recsys_core.store.feature_sets import add_vectors, joins, save_feature_set, with_vector_file
from recsys_core.testing.features import planted_fields

IDS = [30, 10, 20]
VECTORS = np.array([[0.5, -1, 2, 0], [1.5, 2, 3, 1], [np.nan, 0.25, 1, 2]], np.float32)


def as_lists(path):
    pd.DataFrame({"item_id": IDS, "v": list(VECTORS)}).to_parquet(path / "v.parquet")
    return path / "v.parquet"


def as_columns(path):
    pd.DataFrame({"item_id": IDS} | {f"e{k}": VECTORS[:, k] for k in range(4)}).to_parquet(path / "v.parquet")
    return path / "v.parquet"


def as_json(path):
    texts = [str([None if np.isnan(x) else float(x) for x in row]).replace("None", "null") for row in VECTORS]
    pd.DataFrame({"item_id": IDS, "v": texts}).to_parquet(path / "v.parquet")
    return path / "v.parquet"


def as_numbers(path):
    np.save(path / "v.npy", np.column_stack([np.array(IDS, float), VECTORS]))
    return path / "v.npy"


def as_records(path):
    table = np.zeros(3, dtype=[("id", "U8"), ("v", "f4", (4,))])
    table["id"], table["v"] = list(map(str, IDS)), VECTORS
    np.save(path / "v.npy", table)
    return path / "v.npy"


def as_npz(path):
    np.savez(path / "v.npz", ids=np.array(list(map(str, IDS))), vectors=VECTORS.astype(np.float64))
    return path / "v.npz"


@pytest.mark.parametrize("write", [as_lists, as_columns, as_json, as_numbers, as_records, as_npz])
def test_every_form_gives_the_same_vectors(write, tmp_path):
    ids, vectors = read_vector_file(write(tmp_path))
    assert list(ids) == ["30", "10", "20"] and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, VECTORS)


def pickled(path):
    np.save(path / "v.npy", np.array([{"a": 1}, [2]], dtype=object), allow_pickle=True)
    return path / "v.npy"


def twice(path):
    np.savez(path / "v.npz", ids=np.array(["a", "b", "a"]), vectors=VECTORS)
    return path / "v.npz"


def ragged(path):
    pd.DataFrame({"id": IDS, "v": [[1.5, 2], [1, 2.5], [1.5]]}).to_parquet(path / "v.parquet")
    return path / "v.parquet"


def short(path):
    np.savez(path / "v.npz", ids=np.array(["a", "b"]), vectors=VECTORS)
    return path / "v.npz"


def broken(path):
    (path / "v.parquet").write_bytes(b"PAR1 this is no table PAR1")
    return path / "v.parquet"


def no_id(path):
    np.save(path / "v.npy", VECTORS)
    return path / "v.npy"


def words(path):
    pd.DataFrame({"id": IDS, "v": [1.5, 2, 3], "title": ["a", "b", "c"]}).to_parquet(path / "v.parquet")
    return path / "v.parquet"


def text_file(path):
    (path / "v.csv").write_text("id,v\n1,2\n")
    return path / "v.csv"


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (pickled, "not read because they can run code"),
        (twice, "has the id 'a' more than once"),
        (ragged, "1 of the 3 vectors of 'v.parquet' do not have 2 numbers"),
        (short, "has 2 ids and 3 vectors"),
        (broken, "'v.parquet' cannot be read as vectors"),
        (no_id, "must be the id, a whole number; it has 0.5"),
        (words, "The column 'title' of 'v.parquet' holds words"),
        (text_file, "must end in .parquet, .npy, .npz"),
        (lambda path: path / "gone.npz", "There is no file 'gone.npz'"),
    ],
)
def test_what_cannot_be_read_is_said(write, says, tmp_path):
    with pytest.raises(DataError) as raised:
        read_vector_file(write(tmp_path))
    assert says in str(raised.value) and raised.value.hint


def small() -> Dataset:
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"genre": ["a", "b", "a", None, "b"]})
    ids = IdMap(["10", "20", "30", "40", "50"])
    return Dataset(IdMap(list("uvw")), ids, rng.integers(0, 3, 40), rng.integers(0, 5, 40), np.ones(40), item_table=items, name="small")


def test_from_a_file_to_the_features_of_a_model(tmp_path):
    entry = Workspace(tmp_path / "workspace").add_dataset(small(), "small")
    np.savez(tmp_path / "v.npz", ids=np.array([30, 10, 20, 99]), vectors=np.vstack([VECTORS, np.ones((1, 4))]))
    report = add_vectors(entry, "item", tmp_path / "v.npz", "look")
    assert (report.rows, report.matched, report.bare, report.length) == (4, 3, 2, 4)
    assert report.sentences[1:] == ["1 id of the file matches nothing.", "2 items have no vector; that is a value of its own."]
    assert add_vectors(entry, "item", tmp_path / "v.npz", "again").hash == report.hash, "the same vectors are kept once"
    features = save_feature_set(entry, with_vector_file(entry, FeatureSet(), report))
    loaded = entry.load(features)
    read = SideFeatures.fit(loaded)
    table = read.tables["item"]
    assert table.fields == [("genre", "categorical"), ("look", "vector")]
    dense = table.dense(1)
    np.testing.assert_array_equal(dense[:, -1], [0, 1, 0, 1, 1])  # item 20 has a gap, 40 and 50 have nothing
    assert dense[0, 0] == pytest.approx(1) and dense[2, 0] == pytest.approx(-1) and (dense[3:, :-1] == 0).all()
    again = SideFeatures.restore(read.state())
    np.testing.assert_array_equal(again.encode("item", loaded.item_table).toarray(), table.matrix.toarray())
    chosen = with_vector_file(entry, FeatureSet({"item": {"look": Guess("vector", settings={"size": 2})}}), report)
    assert SideFeatures.fit(entry.load(save_feature_set(entry, chosen))).tables["item"].dense(1).shape == (5, 3)
    assert joins(entry) == {"user": None, "item": None}


def test_vectors_that_belong_nowhere_are_refused(tmp_path):
    entry = Workspace(tmp_path / "workspace").add_dataset(small(), "small")
    np.savez(tmp_path / "v.npz", ids=np.array([1, 2, 3]), vectors=VECTORS)
    with pytest.raises(DataError, match=r"None of the 3 ids of 'v.npz' \(such as '1'\) is an item"):
        add_vectors(entry, "item", tmp_path / "v.npz", "look")
    np.savez(tmp_path / "v.npz", ids=np.array(IDS), vectors=VECTORS)
    with pytest.raises(BadInput, match="has a column 'genre' already"):
        with_vector_file(entry, FeatureSet(), add_vectors(entry, "item", tmp_path / "v.npz", "genre"))
    with pytest.raises(BadInput, match="no column 'look'"):
        save_feature_set(entry, FeatureSet({"item": {"look": Guess("vector")}}))


# ---- the field ---------------------------------------------------------------------------------------
def numbered(n: int = 200) -> pd.DataFrame:
    values = np.random.default_rng(0).normal(3, 2, (n, 12)) * np.arange(1, 13)
    return pd.DataFrame({"year": [1990, 1991] * (n // 2), **{f"emb_{k}": values[:, k] for k in range(12)}})


def test_numbered_columns_are_one_field_and_may_be_there_in_part():
    table = numbered()
    schema = guess_schema(table)
    assert list(schema) == ["year", "emb_*"] and schema["emb_*"].settings == {"columns": [f"emb_{k}" for k in range(12)]}
    encoder = FeatureEncoder.fit(table)
    told = encoder.table(table)
    assert told.fields == [("year", "categorical"), ("emb_*", "vector")] and told.names[-2:] == ["emb_11", "emb_*=(missing)"]
    np.testing.assert_allclose(told.dense(1)[:, :-1].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(told.dense(1)[:, :-1].std(0), 1, atol=1e-5)
    part = FeatureTable(encoder.encode(table.drop(columns=["emb_3"])), told.names, told.field, told.fields).dense(1)
    assert (part[:, 3] == 0).all() and (part[:, -1] == 1).all(), "a gap is the mean, and flagged"
    np.testing.assert_array_equal(np.delete(part[:, :-1], 3, 1), np.delete(told.dense(1)[:, :-1], 3, 1))
    assert encoder.encode(table[["year"]]).toarray()[:, -1].all()


def test_principal_components_keep_most_of_the_variance():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 20)) + 0.01 * rng.normal(size=(300, 20))
    full = encode_table(pd.DataFrame({"v": list(values)})).dense(0)[:, :-1]
    table = encode_table(pd.DataFrame({"v": list(values)}), {"v": Guess("vector", settings={"size": 2})})
    two = table.dense(0)[:, :-1]
    assert table.names == ["v #1", "v #2", "v=(missing)"] and (two**2).mean(0)[0] == pytest.approx(1, abs=1e-5)
    left, kept, right = np.linalg.svd(full, full_matrices=False)
    expected = left[:, :2] * kept[:2]
    np.testing.assert_allclose(np.abs(np.corrcoef(two.T, expected.T)[:2, 2:]), np.eye(2), atol=1e-3)


def test_another_length_is_told_and_never_cut():
    cells = [[0.1, 0.2, 0.3], [1.5, 2.5, 3.5], [0.5, 0.5], None, "[0.1, oops, 0.3]", [1.5, np.inf, 0.5]]
    encoder = FeatureEncoder.fit(pd.DataFrame({"v": pd.Series(cells, dtype=object)}), {"v": Guess("vector")})
    told = encoder.table(pd.DataFrame({"v": pd.Series(cells, dtype=object)})).matrix.toarray()
    np.testing.assert_array_equal(told[:, -1], [0, 0, 1, 1, 1, 1])
    assert encoder.notes == ["The column 'v' has 1 cell without 3 numbers as in the others; they count as missing."]
    assert told[4, 1] == 0 != told[4, 0], "what can be read of it is kept"
    with pytest.raises(DataError, match="do not have 3 numbers"):
        encoder.encode(pd.DataFrame({"v": [[0.1, 0.2, 0.3, 0.4]]}))


def test_ids_too_large_for_their_numbers_are_refused_and_whole_ones_are_exact(tmp_path):
    """16,777,217 does not exist among numbers of 32 bits: the vector would go to another item."""
    large = np.column_stack([np.array([2**24 + 1, 5], np.float32), np.ones((2, 3), np.float32)])
    np.save(tmp_path / "v.npy", large.astype(np.float32))
    with pytest.raises(DataError, match="reach 16777216; numbers of 32 bits"):
        read_vector_file(tmp_path / "v.npy")
    np.savez(tmp_path / "v.npz", ids=np.array([2.0**60, 3]), vectors=np.ones((2, 3)))
    with pytest.raises(DataError, match="numbers of 64 bits"):
        read_vector_file(tmp_path / "v.npz")
    for kind, first in ((np.float64, 2**53 - 1), (np.int64, 2**62 + 1), (np.uint64, 2**63 + 5)):
        np.save(tmp_path / "v.npy", np.array([[first, 1, 2], [7, 3, 4]], dtype=kind))
        ids, vectors = read_vector_file(tmp_path / "v.npy")
        assert list(ids) == [str(first), "7"] and vectors.tolist() == [[1, 2], [3, 4]]


def test_texts_of_vectors_are_read_in_parts(monkeypatch):
    """The same in parts as at once: rows of differing length, empty ones and words among them."""
    cells = pd.Series(["1 2 3", "[4, 5, 6]", None, "7 x 9", "1 2", "", *[f"{n} 0 {n + 0.5}" for n in range(20)]], dtype=object)
    whole, wrong = read_vectors(cells)
    monkeypatch.setattr(vectors_module, "AT_ONCE", 3)
    parts, wrong_too = read_vectors(cells)
    assert whole.shape == (26, 3) and wrong == wrong_too == 1
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(parts[[1, 3, 25]], [[4, 5, 6], [7, np.nan, 9], [19, 0, 19.5]])


def test_a_feature_set_leaves_the_content_hash_alone(tmp_path):
    """It is no part of the content; and vectors, of files or of the table itself, are hashed by their bytes."""
    entry = Workspace(tmp_path / "workspace").add_dataset(small(), "small")
    np.savez(tmp_path / "v.npz", ids=np.array(IDS), vectors=VECTORS)
    features = save_feature_set(entry, with_vector_file(entry, FeatureSet(), add_vectors(entry, "item", tmp_path / "v.npz", "look")))
    assert entry.load(features).item_table.shape[1] == entry.load().item_table.shape[1] + 1
    assert entry.load(features).fingerprint == entry.load().fingerprint == entry.id
    data, long = entry.load(), np.zeros((5, 2_000), np.float32)
    own = replace(data, item_table=data.item_table.assign(v=list(long)))
    other = long.copy()
    other[2, 1_000] = 1  # in the middle, which text leaves out
    assert own.fingerprint == replace(own, name="another").fingerprint
    assert len({one.fingerprint for one in (data, own, replace(data, item_table=data.item_table.assign(v=list(other))))}) == 3


def test_a_checkpoint_of_other_columns_is_not_gone_on_with(tmp_path):
    data, model = small(), registry.get("model", "two_tower")()
    model.resolved = model.resolve(data.stats)
    chosen = replace(data, features=FeatureSet({"item": {"genre": Guess(None)}}))
    assert model._identity(data) == model._identity(replace(data, features=None)) != model._identity(chosen)


def test_vectors_are_encoded_in_blocks_as_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    lists = pd.Series([None if n % 7 == 0 else [1.0] if n % 11 == 0 else rng.random(3) for n in range(50)], dtype=object)
    for column, size in ((lists, None), (lists, 2), (pd.DataFrame(rng.random((50, 3)), columns=list("abc")), None)):
        field = Vector.fit("v", column, size=size, columns=list("abc") if isinstance(column, pd.DataFrame) else None)
        monkeypatch.setattr(vector_field, "BLOCK", 65_536)
        whole = field.encode(column)
        monkeypatch.setattr(vector_field, "BLOCK", 8)
        np.testing.assert_array_equal(field.encode(column).toarray(), whole.toarray())
    with pytest.raises(DataError, match="do not have 3 numbers"):
        Vector.fit("v", lists).encode(pd.Series([[1.0, 2.0]] * 20, dtype=object))
    assert Vector.fit("v", lists).encode(pd.Series([], dtype=object)).shape == (0, 4)


def test_a_search_by_command_reads_the_columns_chosen(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECSYS_WORKSPACE", str(tmp_path / "ws"))
    case = planted_fields(n_users=40, n_items=40).train
    entry = Workspace(tmp_path / "ws").add_dataset(case, "fields")
    chosen = save_feature_set(entry, FeatureSet({"item": {"era": Guess("categorical")}}))
    line = [
        "tune",
        "--data",
        "fields",
        "--model",
        "content_knn",
        "--search",
        "neighbours=5,20",
        "--trials",
        "2",
        "--threads",
        "1",
        "--json",
    ]
    assert main([*line, "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["train"]["features"] == chosen != ""
