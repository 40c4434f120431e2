"""A table as nobody should make one: every column ends as a kind or is left out with a sentence, and models get finite numbers."""

from __future__ import annotations

import csv
import json
import time

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import Dataset
from recsys_core.data.features import KINDS, FeatureEncoder, FeatureSet, guess_schema
from recsys_core.data.features.columns import columns_of
from recsys_core.data.features.report import feature_report
from recsys_core.data.ids import IdMap
from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
from recsys_core.data.ingest.plan import Columns
from recsys_core.data.storage import load_arrays, save_arrays

N = 400


def nasty() -> tuple[pd.DataFrame, dict[str, str | None]]:
    """(the table, column -> kind it must be guessed to be; columns not named may be anything)."""
    rng = np.random.default_rng(0)
    k = range(N)
    words = np.array(["crime", "war", "love", "space", "sea", "music", "food", "sport", "travel", "horse", "garden", "winter"])
    said = [" ".join(rng.choice(words, 6)) for _ in k]
    columns: list[tuple[str, object, str | None]] = [
        ("empty", [None] * N, None),
        ("blanks", ["  ", "", "NULL", "n/a"] * (N // 4), None),
        ("one value", ["same"] * N, None),
        ("one and nothing", ["yes" if x % 3 else None for x in k], "categorical"),
        ("row", range(1, N + 1), "id"),
        ("uuid", [f"{x:08x}-{x * 7919 % 65536:04x}" for x in rng.permutation(N * 99)[:N]], "id"),
        ("link", [f"https://example.org/{x}?a=b&c={x}" for x in k], "id"),
        ("zip", [f"{x:05d}" for x in rng.integers(1, 40, N)], "categorical"),
        ("zip of everyone", [f"{x:05d}" for x in rng.permutation(90_000)[:N]], "id"),
        ("mixed", [("many" if x % 40 == 0 else f"{x * 0.37:.2f}") for x in k], "numeric"),
        ("half mixed", [(f"w{x % 9}" if x % 2 else str(x % 11)) for x in k], "categorical"),
        ("commas", [f"{x * 1234.5:,.2f}" for x in k], "numeric"),
        ("continental", [f"{x * 7},{x % 100:02d}" for x in k], "numeric"),
        ("percent", [f"{x / 4:.1f} %" for x in k], "numeric"),
        ("currency", [f"€ {x * 3.33:.2f}" for x in k], "numeric"),
        ("huge", [(1e308, -1e308, 1e99)[x % 3] if x % 30 == 0 else x / 7 for x in k], "numeric"),
        ("inf", [("inf", "-inf", "nan", str(x / 7))[min(3, x % 30)] for x in k], "numeric"),
        ("negative zero", ["-0.0" if x % 5 else str(x / 3) for x in k], "numeric"),
        ("skewed", np.exp(rng.normal(0, 4, N)), "numeric"),
        ("unicode digits", [str(x % 30).translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")) for x in k], "numeric"),
        ("truth", ["TRUE" if x % 3 else "false" for x in k], "categorical"),
        ("yes no", ["Y", "N", "y", "n"] * (N // 4), "categorical"),
        ("iso", [f"{1950 + x % 70}-{1 + x % 12:02d}-{1 + x % 28:02d}" for x in k], "date"),
        ("day first", [f"{1 + x % 28:02d}.{1 + x % 12:02d}.{1950 + x % 70}" for x in k], "date"),
        ("any dates", [f"{1 + x % 28} {('Jan', 'Mar', 'Oct')[x % 3]} {1950 + x % 70}" if x % 50 else "unknown" for x in k], "date"),
        ("long ago", [("0001-01-01", "9999-12-31", "1970-01-01")[x % 3] for x in k], "date"),
        ("emoji", ["😀", "👩‍👩‍👧", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", None] * (N // 4), "categorical"),
        ("lists", [json.dumps(list(rng.permutation(words[:6])[: 1 + x % 3])) for x in k], "multi_valued"),
        ("broken lists", ['["war", "love"' if x % 20 == 0 else json.dumps(list(words[x % 6 : x % 6 + 2])) for x in k], "multi_valued"),
        ("bars", ["|".join(rng.choice(words, 1 + x % 4)) + "|" * (x % 7 == 0) for x in k], "multi_valued"),
        ("vectors", [str(np.round(rng.normal(size=4), 3).tolist()) for _ in k], "vector"),
        ("uneven vectors", [str(np.round(rng.normal(size=1 + x % 9), 3).tolist()) for x in k], None),
        ("nearly even vectors", [str(np.round(rng.normal(size=4 if x % 9 else 3), 3).tolist()) for x in k], "vector"),
        ("bytes", [str(bytes([x % 256, 255, 0, x // 256])) for x in k], "id"),
        ("long text", [f"{x} " + (text + " ") * 400 for x, text in zip(k, said, strict=True)], "text"),
        ("说明", [f"第{x}个关于{'爱情战争海洋'[x % 5]}的故事" for x in k], "text"),
        ("markup", [f"<p>{text} <b>&amp;</b> {x}</p>\n\t" for x, text in zip(k, said, strict=True)], "text"),
        ("formula", ["=1+1", "@sum(a)", "+cmd|' /C calc'!A0", "-2"] * (N // 4), None),
        ("control", [f"a\x01{x % 4}\u202e" for x in k], "categorical"),
    ]  # fmt: skip
    table = pd.DataFrame({name: pd.Series(cells) for name, cells, _ in columns})
    expected = {name: kind for name, _, kind in columns if name != "formula"}
    table.insert(3, "twin", ["a", "b"] * (N // 2))
    table.insert(9, "twin", table["twin"], allow_duplicates=True)
    table.insert(5, "", [f"b{x % 5}" for x in k], allow_duplicates=True)
    numbered = pd.DataFrame(rng.normal(size=(N, 8)).round(4), columns=[f"emb_{x}" for x in range(8)])
    numbered.iloc[3, 4] = np.nan
    return pd.concat([table, numbered], axis=1), expected | {"twin": "categorical", "": "categorical", "emb_*": "vector"}


def check(encoder: FeatureEncoder, table: pd.DataFrame) -> None:
    told = encoder.table(table)
    assert np.isfinite(told.matrix.data).all() and np.abs(told.matrix.data).max() < 1e4
    assert len(set(told.names)) == told.n_features == told.matrix.shape[1]
    assert all(kind in KINDS for _, kind in told.fields)
    assert all(why.strip().endswith(".") for why in told.left_out.values())
    covered = {one for field in encoder.encoders for one in field.reads} | set(told.left_out)
    assert covered == set(columns_of(table)), "no column is passed over in silence"
    empty = encoder.encode(pd.DataFrame(index=range(3)))
    assert np.isfinite(empty.data).all() and empty.shape[0] == 3


def test_every_nasty_column_becomes_a_kind_or_is_left_out_with_a_sentence(tmp_path):
    table, expected = nasty()
    assert table.shape[1] >= 30
    schema = guess_schema(table)
    assert {name: schema[name].kind for name in expected} == expected
    encoder = FeatureEncoder.fit(table, schema)
    check(encoder, table)
    save_arrays({"plain": encoder.to_dict(), **encoder.arrays()}, tmp_path / "encoder.safetensors")
    saved = load_arrays(tmp_path / "encoder.safetensors")
    again = FeatureEncoder.from_dict(saved.pop("plain"), saved)
    assert (again.names, again.fields, again.left_out, again.notes) == (encoder.names, encoder.fields, encoder.left_out, encoder.notes)
    assert abs(again.encode(table) - encoder.encode(table)).max() < 1e-6
    shuffled = table.iloc[::-1, ::-1]
    alone = encoder.encode(shuffled.loc[:, ~shuffled.columns.duplicated()]).toarray()[::-1]
    whole = encoder.encode(table).toarray()
    kept = [n for n, name in enumerate(encoder.names) if not name.startswith("twin")]
    np.testing.assert_allclose(alone[:, kept], whole[:, kept], atol=1e-5)


def test_a_nasty_table_of_items_is_ingested_and_reported(tmp_path):
    table, expected = nasty()
    rng = np.random.default_rng(1)
    shown = table.copy()
    shown.columns = list(table.columns)
    shown.insert(0, "item", [f"i{k}" for k in range(N)])
    shown.to_csv(tmp_path / "items.csv", index=False, quoting=csv.QUOTE_ALL)
    pd.DataFrame({"user": rng.integers(0, 60, 4000), "item": [f"i{k}" for k in rng.integers(0, N, 4000)]}).to_csv(
        tmp_path / "interactions.csv", index=False
    )
    source = open_source(tmp_path / "interactions.csv")
    plan = IngestPlan.from_guess(guess_columns(source), columns=Columns(user="user", item="item"), items_file=str(tmp_path / "items.csv"))
    result = ingest(source, plan)
    data = result.dataset
    assert data.item_table is not None and data.item_table.shape == (data.n_items, table.shape[1])
    assert result.report.item_join.rows_joined == data.n_items
    report = feature_report(data, FeatureSet(), joins={"item": result.report.item_join.model_dump()})
    json.dumps(report, allow_nan=False)
    columns = {one["name"]: one for one in report["item"]["columns"]}
    kinds = {name: columns[name]["chosen"]["kind"] for name in expected if name in columns}
    assert len(kinds) >= 36 and {name: (kinds[name], expected[name]) for name in kinds if kinds[name] != expected[name]} == {}
    said = {name: " ".join(finding["sentence"] for finding in one["findings"]) for name, one in columns.items()}
    assert "10 cells are no number that can be used (such as 'many')" in said["mixed"]
    assert "vector of 4 numbers" in said["nearly even vectors"] and "20 cells are no list" in said["broken lists"]
    assert "It is empty." in said["empty"] and "same value in every row" in said["one value"] and "It mixes types" in said["half mixed"]
    check(FeatureEncoder.fit(data.item_table, guess_schema(data.item_table)), data.item_table)


@pytest.mark.slow
def test_a_million_categories_are_looked_at_and_encoded_in_seconds():
    n = 1_000_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "own": pd.Series(rng.permutation(n)).map("code{}".format).astype("str"),
            "many": pd.Series(rng.zipf(1.2, n) % 1_000_003).map("t{}".format).astype("str"),
            "number": rng.normal(size=n),
        }
    )
    ids = IdMap.from_sorted(__import__("pyarrow").array([f"i{k:07d}" for k in range(n)]))
    item = rng.integers(0, n, 500_000)
    data = Dataset(IdMap(["u"]), ids, np.zeros(len(item)), item, np.ones(len(item)), item_table=table)
    began = time.process_time()
    report = feature_report(data)
    encoder = FeatureEncoder.fit(table)
    encoded = encoder.encode(table)
    assert time.process_time() - began < 30
    assert encoder.left_out.keys() == {"own"} and encoded.shape == (n, len(encoder.encoders[0].names) + 2)
    assert len(encoder.encoders[0].names) <= 5_002
    counted = {one["name"]: one["n_distinct"] for one in report["item"]["columns"]}
    assert counted["own"] == n and counted["many"] == table["many"].nunique()
