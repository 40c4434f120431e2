"""What is odd about a table, the report on columns, and sets of choices."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import Dataset
from recsys_core.data.features import FeatureEncoder, FeatureSet, Guess, guess_schema
from recsys_core.data.features.checks import check_table
from recsys_core.data.features.report import feature_report
from recsys_core.data.ids import IdMap
from recsys_core.errors import BadInput, NotFound, ParamError

N = 300


def data(table: pd.DataFrame | None = None, ratings: bool = True) -> Dataset:
    """300 items with 1 … 60 interactions each; ratings are better the higher (number % 7)."""
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(N), 1 + (np.arange(N) * 37) % 60)
    value = np.clip(np.round(1 + (item % 7) / 2 + rng.normal(0, 0.2, len(item)), 1), 0.5, 5)
    return Dataset(
        IdMap([f"u{k}" for k in range(50)]),
        IdMap([f"i{k:03d}" for k in range(N)]),
        rng.integers(0, 50, len(item)),
        item,
        value if ratings else np.ones(len(item)),
        feedback="explicit" if ratings else "implicit",
        item_table=table,
    )


def found(columns: dict, whole: Dataset | None = None, **more) -> dict[str, list]:
    table = pd.DataFrame(columns)
    out: dict[str, list] = {}
    for one in check_table(table, whole, "item", guess_schema(table), **more):
        out.setdefault(one.column, []).append(one)
    return out


def test_columns_that_know_the_answer():
    whole, rng = data(), np.random.default_rng(1)
    counts = np.bincount(whole.item, minlength=N)
    means = np.bincount(whole.item, whole.value, N) / counts
    said = found(
        {
            "num_ratings": counts * 3 + rng.integers(0, 3, N),
            "how good": (means * 100).round(2) + 0.01,
            "seller": np.where(counts > 30, "best", "other"),
            "shelf": pd.cut(counts, [0, 10, 20, 30, 40, 50, 60], labels=list("abcdef")).astype(str),
            "popularity": counts + rng.normal(0, 14, N),
            "weight": counts + rng.normal(0, 14, N),
            "year": rng.integers(1950, 2020, N),
        },
        whole,
    )
    grave = {name: [one.severity for one in some] for name, some in said.items()}
    assert grave == {"num_ratings": ["error"], "how good": ["error"], "shelf": ["error"], "popularity": ["warning"]}
    assert "how many interactions" in said["num_ratings"][0].sentence and "mean rating" in said["how good"][0].sentence
    assert "would know the test" in said["num_ratings"][0].sentence and said["num_ratings"][0].todo.startswith("Leave it out")
    assert not found({"num_ratings": counts * 3}, None), "without interactions nothing can be said of them"


def test_what_is_odd_about_single_columns():
    rng = np.random.default_rng(2)
    words = [f"w{k % 40}" for k in range(N)]
    said = found(
        {
            "empty": [None] * N,
            "same": ["x"] * N,
            "seldom": ["a"] * 9 + ["b"] * 9 + [None] * (N - 18),
            "price": [*(f"{k / 7:.2f}" for k in range(N - 3)), "on request", "on request", "free"],
            "when": [*(f"2020-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(N - 2)), "soon", "2020-13-45"],
            "rare": [f"r{k}" for k in range(100)] + ["s"] * (N - 100),
            "half": [str(k % 30) if k % 4 else f"w{k % 30}" for k in range(N)],
            "code": words,
            "name of code": [f"name {w}" for w in words],
            "vector": [rng.normal(size=3 if k % 10 else 2).tolist() for k in range(N)],
        }
    )
    one = {name: some[0] for name, some in said.items()}
    assert one["empty"].sentence == "It is empty." and one["same"].sentence == "It has the same value in every row ('x')."
    assert one["seldom"].sentence.startswith("Only 18 of 300 rows have a value")
    assert one["price"].sentence.startswith("3 cells are no number that can be used (such as 'on request', 'free')")
    assert one["when"].sentence.startswith("2 cells are no date (such as 'soon', '2020-13-45')")
    assert one["rare"].sentence.startswith("33% of the rows have a value that few rows share (fewer than 2)")
    assert one["half"].sentence.startswith("It mixes types: 67% of its different values are numbers")
    assert one["name of code"].sentence.startswith("It says the same as 'code'") and "code" not in one
    assert one["vector"].sentence == "30 cells are no vector of 3 numbers as the others; they count as missing."


def test_a_column_chosen_for_what_it_is_not_is_an_error():
    table = pd.DataFrame({"v": ["a", "b"] * 9})
    (one,) = check_table(table, None, "item", {"v": Guess("vector", settings={})})
    assert one.severity == "error" and "holds no vectors" in one.sentence


def test_how_the_table_met_the_ids_is_said():
    join = {"table": "films.csv", "id_column": "film", "rows_read": 100, "rows_matching_nothing": 60, "ids": 300, "ids_without_row": 260}
    grave = [(one.severity, one.column) for one in found({"a": ["x", "y"] * 150}, join=join)[""]]
    assert grave == [("error", ""), ("warning", "")]


def test_the_report_describes_every_column():
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "genre": ["a", "b", None] * 100,
            "year": rng.integers(1950, 2020, N),
            "released": pd.date_range("2020-01-01", periods=N).strftime("%Y-%m-%d"),
            "title": [f"The tale of {k} others" for k in range(N)],
            **{f"emb_{k}": rng.normal(size=N) for k in range(8)},
            "vector": [rng.normal(size=5).tolist() for _ in range(N)],
        }
    )
    chosen = FeatureSet({"item": {"year": Guess("categorical"), "emb_*": Guess("vector", settings={"size": 3})}})
    report = json.loads(json.dumps(feature_report(data(table), chosen)))
    assert list(report) == ["item"] and report["item"]["rows"] == N
    columns = {one["name"]: one for one in report["item"]["columns"]}
    assert list(columns) == ["genre", "year", "released", "title", "emb_*", "vector"]
    assert columns["genre"]["frequent"] == [["a", 100], ["b", 100]] and columns["genre"]["share_missing"] == pytest.approx(1 / 3)
    assert columns["year"]["guessed"]["kind"] == "numeric" and columns["year"]["chosen"]["kind"] == "categorical"
    assert columns["released"]["quantiles"] == {
        "least": "2020-01-01", "quarter": "2020-03-15", "middle": "2020-05-29", "three quarters": "2020-08-12", "most": "2020-10-26",
    }  # fmt: skip
    assert columns["title"]["n_features"] is None and columns["title"]["examples"][0] == "The tale of 0 others"
    assert columns["emb_*"]["members"] == [f"emb_{k}" for k in range(8)] and columns["emb_*"]["n_distinct"] is None
    encoder = FeatureEncoder.fit(table, chosen.schema("item", guess_schema(table)), without=["text"])
    widths = {one.name: len(one.names) for one in encoder.encoders}
    assert {name: columns[name]["n_features"] for name in widths} == widths, "as many as the models will see"
    assert report["item"]["n_features"] == sum(widths.values()) and feature_report(data()) == {}


def guessed() -> dict[str, Guess]:
    return {
        "year": Guess("numeric", settings={"decimal": "."}),
        "emb_*": Guess("vector", settings={"columns": ["emb_0", "emb_1", "emb_2"]}),
        "url": Guess("id", "It is a link."),
    }


def test_choices_are_laid_over_guesses():
    chosen = FeatureSet(
        {"item": {"year": Guess("numeric", settings={"scale": "log"}), "emb_1": Guess("numeric"), "gone": Guess("numeric")}}
    )
    schema = chosen.schema("item", guessed())
    assert schema["year"].settings == {"decimal": ".", "scale": "log"}, "what was not chosen is as guessed"
    assert schema["emb_1"].kind == "numeric" and schema["emb_*"].settings == {"columns": ["emb_0", "emb_2"]}
    assert "gone" not in schema and schema["url"].kind == "id"
    out = FeatureSet({"item": {"emb_*": Guess(None, "You left it out.")}}).schema("item", guessed())
    encoder = FeatureEncoder.fit(pd.DataFrame({"emb_0": [0.5, 1], "emb_1": [1, 2.5], "emb_2": [1, 2.5]}), out)
    assert encoder.left_out == {"emb_*": "You left it out."} and not encoder.names
    own = FeatureSet({"item": {"mine": Guess("vector", settings={"columns": ["year", "emb_0"]})}}).schema("item", guessed())
    assert own["mine"].settings == {"columns": ["year", "emb_0"]} and "year" not in own
    assert own["emb_*"].settings == {"columns": ["emb_1", "emb_2"]}


def test_a_set_survives_json_and_its_id_tells_its_content():
    chosen = FeatureSet({"item": {"year": Guess("numeric", settings={"scale": "log"})}}, ("activity",), {"item": {"look": "0a1b"}})
    again = FeatureSet.from_json(json.loads(json.dumps(chosen.to_json())))
    assert again == chosen and again.id == chosen.id and len(chosen.id) == 16 and FeatureSet().id == ""
    assert FeatureSet({"item": {"year": Guess("numeric")}}).id != chosen.id


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        ({"item": {"yaer": Guess("numeric")}}, BadInput, "no column 'yaer'. Did you mean 'year'"),
        ({"films": {"year": Guess("numeric")}}, BadInput, "no side 'films'"),
        ({"item": {"year": Guess("number")}}, BadInput, "cannot be of kind 'number'. Did you mean 'numeric'"),
        ({"item": {"year": Guess("numeric", settings={"scale": "cubic"})}}, ParamError, "scale for the column 'year' must be one of auto"),
        ({"item": {"year": Guess("numeric", settings={"sise": 3})}}, ParamError, "Unknown parameter 'sise'"),
        ({"item": {"title": Guess("text", settings={"encoder": "telepathy"})}}, NotFound, "telepathy"),
        ({"item": {"v": Guess("vector", settings={"columns": ["year", "no"]})}}, BadInput, "no column 'no' for the vector 'v'"),
    ],
)
def test_wrong_choices_are_refused_in_words(columns, error, says):
    with pytest.raises(error, match=None) as raised:
        FeatureSet(columns).checked({"item": ["year", "title"], "user": []})
    assert says in str(raised.value)


def test_settings_are_read_as_they_are_meant():
    chosen = FeatureSet({"item": {"emb": Guess("vector", settings={"size": "8"}), "year": Guess(None, "Left out.")}})
    assert chosen.checked({"item": ["emb", "year"]}).columns["item"]["emb"].settings == {"size": 8}
    with pytest.raises(BadInput, match="high-level feature 'activty'. Did you mean 'activity'"):
        FeatureSet(derived=("activty",)).checked({})
