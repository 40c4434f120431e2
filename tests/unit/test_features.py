"""Tables to features: hand-worked columns, guesses of kinds, new rows, saving, nasty tables."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.features import CYCLES, FeatureEncoder, encode_table, guess_schema
from recsys_core.data.features.guessing import CONSTANT, EMPTY, NEAR_UNIQUE, ROW_NUMBERS, UNEVEN, Guess
from recsys_core.data.features.prose import LINKS, OBJECTS
from recsys_core.errors import DataError

WORDS = ["Action", "Animation", "Children's", "Comedy", "Drama", "Film-Noir", "Sci-Fi"]
GENRES = [" ".join(w for w, has in zip(WORDS, lot, strict=True) if has) for lot in np.random.default_rng(0).random((200, 7)) < 0.3]


def row(encoder: FeatureEncoder, **cells) -> dict[str, float]:
    """name -> value of one new row's features that are not zero."""
    dense = encoder.encode(pd.DataFrame({name: [value] for name, value in cells.items()})).toarray()[0]
    return {name: round(float(x), 4) for name, x in zip(encoder.names, dense, strict=True) if x}


def test_a_category_is_one_feature_and_rare_ones_share_one():
    encoder = FeatureEncoder.fit(pd.DataFrame({"plan": ["free"] * 3 + ["paid"] * 2 + ["gift", None, ""]}))
    assert encoder.names == ["plan=free", "plan=paid", "plan=(other)", "plan=(missing)"]
    assert encoder.fields == [("plan", "categorical")] and encoder.field.tolist() == [0, 0, 0, 0]
    told = encoder.encode(pd.DataFrame({"plan": ["paid", "gift", "never seen", None, " free ", "NaN"]})).toarray()
    np.testing.assert_array_equal(told.argmax(1), [1, 2, 2, 3, 0, 3])
    assert (told.sum(1) == 1).all() and told.dtype == np.float32


def test_several_values_weigh_one_over_the_root_of_how_many():
    table = pd.DataFrame({"genres": ["Action|Comedy", "Comedy", "Action|Drama", "Drama|Comedy", "Action", None, "Odd|Drama"]})
    encoder = FeatureEncoder.fit(table)
    assert encoder.fields == [("genres", "multi_valued")]
    assert encoder.names[:3] == ["genres=Action", "genres=Comedy", "genres=Drama"]
    half = round(0.5**0.5, 4)
    assert row(encoder, genres="Comedy|Action") == {"genres=Action": half, "genres=Comedy": half}
    assert row(encoder, genres="Comedy| Comedy |") == {"genres=Comedy": 1.0}
    assert row(encoder, genres="Odd|New|Drama") == {"genres=Drama": half, "genres=(other)": half}
    assert row(encoder, genres="|") == {"genres=(missing)": 1.0} == row(encoder, genres=None)


@pytest.mark.parametrize(
    "cells",
    [
        [["a", "b"], ["a"], ["b", "c"], ["c", "a"], None, []],
        ['["a", "b"]', '["a"]', '["b", "c"]', '["c", "a"]', None, "[]"],
        ["['a', 'b']", "['a']", "['b', 'c']", "['c', 'a']", None, "[]"],
        ["a;b", "a", "b;c", "c;a", None, ""],
        [("a", "b"), np.array(["a"]), {"b", "c"}, ["c", "a"], None, ()],
    ],
    ids=["lists", "JSON", "python text", "semicolons", "mixed containers"],
)
def test_lists_in_any_form_are_the_same_features(cells):
    told = encode_table(pd.DataFrame({"tags": pd.Series(cells, dtype=object)}))
    assert told.fields == [("tags", "multi_valued")] and told.names[:3] == ["tags=a", "tags=b", "tags=c"]
    expected = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(told.matrix.toarray()[:, :3], expected / np.sqrt(np.maximum(1, expected.sum(1, keepdims=True))), rtol=1e-6)
    np.testing.assert_array_equal(told.matrix.toarray()[:, -1], [0, 0, 0, 0, 1, 1])


def test_a_number_has_mean_0_and_deviation_1_and_outliers_are_pulled_in():
    values = np.random.default_rng(0).normal(50, 10, 2000)
    table = pd.DataFrame({"size": values})
    encoder = FeatureEncoder.fit(table)
    assert encoder.names == ["size", "size=(missing)"] and encoder.fields == [("size", "numeric")]
    column = encoder.encode(table).toarray()[:, 0]
    assert abs(column.mean()) < 1e-5 and column.std() == pytest.approx(1, abs=1e-5)
    assert row(encoder, size=1e12)["size"] == row(encoder, size=np.quantile(values, 0.995))["size"] < 3
    assert row(encoder, size=None) == {"size=(missing)": 1.0} == row(encoder, size=np.inf)


def test_skewed_numbers_go_on_a_log_scale_and_others_do_not():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"sales": np.exp(rng.normal(3, 1.5, 1000)), "height": rng.normal(170, 10, 1000)})
    encoder = FeatureEncoder.fit(table)
    logs = {one.name: one.scale["log_unit"] for one in encoder.encoders}
    assert logs["sales"] > 0 and logs["height"] == 0
    sales = encoder.encode(table).toarray()[:, 0]
    assert abs(np.mean(sales**3)) < 1 < abs(float(table["sales"].skew())), "still skewed"
    assert (np.diff(sales[np.argsort(table["sales"])]) >= 0).all(), "the order must stay"


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,234", "12,000.5", "7", "3.5"], [1234, 12000.5, 7, 3.5]),
        (["1.234,5", "2,5", "7", "3,25"], [1234.5, 2.5, 7, 3.25]),
        (["$1,200", "€ 30.5", "45%", "-7"], [1200, 30.5, 45, -7]),
    ],
)
def test_numbers_as_people_write_them(cells, numbers):
    from recsys_core.data.features.columns import looks_numeric
    from recsys_core.data.features.columns import numbers as read

    decimal = looks_numeric(pd.Series(cells, dtype="str"))
    np.testing.assert_allclose(read(pd.Series(cells), decimal), numbers)


@pytest.mark.parametrize(
    "cells",
    [
        ["2020-01-31", "2021-06-01", "2024-12-24", None],
        ["31/01/2020", "01/06/2021", "24/12/2024", ""],
        ["31-Jan-2020", "01-Jun-2021", "24-Dec-2024", None],
        ["2020-01-31T00:00:00Z", "2021-06-01T00:00:00Z", "2024-12-24T00:00:00Z", None],
        pd.to_datetime(["2020-01-31", "2021-06-01", "2024-12-24", None]),
        [1580428800, 1622505600, 1734998400, None],
    ],
    ids=["ISO", "day first", "month names", "with time", "datetimes", "unix seconds"],
)
def test_dates_give_year_and_age(cells):
    days = pd.DataFrame({"released_time": ["2020-01-31", "2021-06-01", "2024-12-24", None] * 5})
    reference = encode_table(days, without=[CYCLES]).matrix.toarray()
    table = pd.concat([pd.DataFrame({"released_time": cells})] * 5)
    schema = guess_schema(table) if not isinstance(cells[0], int) else {"released_time": Guess("date", settings={"unit": "s"})}
    told = encode_table(table, schema, without=[CYCLES])
    assert told.names == ["released_time.year", "released_time.age", "released_time=(missing)"] and told.fields[0][1] == "date"
    np.testing.assert_allclose(told.matrix.toarray(), reference, atol=1e-5)
    years, ages = reference[:3, 0], reference[:3, 1]
    assert (np.diff(years) > 0).all() and (np.diff(ages) < 0).all() and reference[3].tolist() == [0, 0, 1]


def test_what_gives_no_features_says_why():
    n = 300
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "url": [f"https://example.org/{w}" for w in range(n)],
            "mail": [f"person{w}@example.org" for w in range(n)],
            "item_id": rng.permutation(n * 50)[:n],
            "line": np.arange(n),
            "sku": [f"B{w:06d}X" for w in rng.permutation(n)],
            "nothing": [None] * n,
            "same": ["x"] * n,
            "zip": [f"{z:05d}" for z in rng.permutation(99_999)[:n]],
            "ragged": [rng.normal(size=rng.integers(1, 9)).tolist() for _ in range(n)],
            "object": [{"k": int(w)} for w in rng.permutation(n)],
        }
    )
    assert encode_table(table).left_out == {
        "url": LINKS,
        "mail": LINKS,
        "item_id": ROW_NUMBERS,
        "line": ROW_NUMBERS,
        "sku": NEAR_UNIQUE,
        "nothing": EMPTY,
        "same": CONSTANT,
        "zip": NEAR_UNIQUE,
        "ragged": UNEVEN,
        "object": OBJECTS,
    }


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("year", list(range(1950, 2010)) * 3, "numeric"),
        ("stars", [1, 2, 3, 4, 5, None] * 10, "categorical"),
        ("publisher_id", list(range(1000, 1040)) * 5, "categorical"),
        ("price", [x / 7 for x in range(100)], "numeric"),
        ("adult", [True, False] * 20, "categorical"),
        ("class", GENRES, "multi_valued"),
        ("department", ["Home, kitchen", "Books", "Toys, games"] * 9, "categorical"),
        ("city", ["New York", "Los Angeles", "San Francisco", "Rome"] * 9, "categorical"),
        ("genres", ["Action, Comedy", "Comedy", "Drama, Action", "Drama", "Comedy, Drama", "Action"] * 4, "multi_valued"),
        ("mood", ["😀", "😢", None] * 10, "categorical"),
        ("age_band", ["18-24", "25-34", "65+"] * 10, "categorical"),
        ("zip", ["02138", "10001"] * 10, "categorical"),
        ("title", [f"The tale of {w} {w + 1}" for w in range(90)], "text"),
        ("title", [f"{w} ({year})" for w, year in zip(["Alien", "Brazil", "Casablanca"] * 30, range(1900, 1990), strict=True)], "text"),
        ("name", ["".join(np.random.default_rng(w).choice(list("abcdefgh"), 8)) for w in range(90)], "text"),
        ("标题", [f"第{w}个故事" for w in range(90)], "text"),
        ("about", [f"<p>A film about {w} people 😀</p>" for w in range(90)], "text"),
        ("key", [f"{w:08x}" for w in np.random.default_rng(0).integers(0, 2**31, 90)], "id"),
        ("movie_id", [f"The tale of {w}" for w in range(90)], "id"),
        ("image", [np.arange(4) / 3 + w for w in range(90)], "vector"),
        ("image", [f"[{w / 7}, {w / 3}, 0.5]" for w in range(90)], "vector"),
        ("image", [f"{w / 7} {w / 3} 0.5 -1e-3" for w in range(90)], "vector"),
        ("clicks", [[w * 7 % 5, w % 3 + 10] for w in range(90)], "multi_valued"),
    ],
)
def test_kinds_are_guessed(name, cells, kind):
    assert guess_schema(pd.DataFrame({name: cells}))[name].kind == kind


def test_the_schema_can_be_changed():
    table = pd.DataFrame({"stars": [1, 2, 3, 4, 5] * 10, "plan": ["a", "b"] * 25})
    encoder = FeatureEncoder.fit(table, {"stars": Guess("numeric")})
    assert encoder.fields == [("stars", "numeric")] and encoder.left_out == {"plan": "It was not chosen."}
    with pytest.raises(DataError, match="Kinds are categorical"):
        FeatureEncoder.fit(table, {"stars": Guess("sound")})


def mixed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "genre": pd.Categorical(["a", "b", "a", None] * 25),
            "tags": [["x", "y"], ["y"], None, ["x"]] * 25,
            "year": pd.array([None, *range(1960, 1993)] * 3, dtype="Int64")[:100],
            "price": np.linspace(1, 9, 100) ** 3,
            "date": pd.date_range("2020-01-01", periods=100),
        }
    )


def test_saved_and_restored_it_encodes_the_same():
    encoder = FeatureEncoder.fit(mixed())
    again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert (again.names, again.fields, again.left_out) == (encoder.names, encoder.fields, encoder.left_out)
    assert abs(again.encode(mixed()) - encoder.encode(mixed())).sum() == 0
    assert [kind for _, kind in encoder.fields] == ["categorical", "multi_valued", "numeric", "numeric", "date"]


def test_new_rows_do_not_depend_on_their_neighbours_or_on_the_order_of_columns():
    encoder, table = FeatureEncoder.fit(mixed()), mixed()
    whole = encoder.encode(table)
    part = table.iloc[[7, 3, 50]]
    assert abs(encoder.encode(part[part.columns[::-1]].astype({"year": "Float64"})) - whole[[7, 3, 50]]).sum() < 1e-5
    without = encoder.encode(part.drop(columns="genre")).toarray()
    at = encoder.names.index("genre=(missing)")
    assert (without[:, at] == 1).all()
    assert encoder.encode(part.iloc[:0]).shape == (0, len(encoder.names))


def test_no_table_and_no_usable_column_give_no_features():
    for encoder in (FeatureEncoder.fit(None), FeatureEncoder.fit(pd.DataFrame(index=range(3)))):
        assert encoder.names == [] and encoder.encode(pd.DataFrame(index=range(3))).shape == (3, 0)


def test_a_nasty_table_is_taken():
    rng, n = np.random.default_rng(0), 500
    odd = [1, "one", None, 2.5, True, b"x", ("a", 1), {"k": 1}, np.nan, "😀"]
    table = pd.DataFrame({f"c{k}": rng.permutation(np.array(odd * 50, dtype=object)) for k in range(20)})
    table["deep"] = ["[" * 50_000 + "]" * 50_000] + ["[1, 2]"] * (n - 1)
    table["huge"] = [1e308, -1e308, np.inf, -np.inf, np.nan] * 100
    table["old"] = ["0001-01-01", "9999-12-31"] * 250
    table["half"] = [None] * 499 + ["x"]
    table["cats"] = [f"c{k % 100}" for k in range(n)]
    table.columns = [*table.columns[:-1], 7]
    table.insert(0, "c1", "twice", allow_duplicates=True)
    told = encode_table(table, without=["text"])
    assert np.isfinite(told.matrix.data).all() and told.matrix.shape == (n, told.n_features) and told.n_features == len(set(told.names))
    assert len(told.fields) + len(told.left_out) == table.shape[1]
    assert all(reason.endswith(".") for reason in told.left_out.values())
    assert len(told.field) == told.n_features and told.field.max() == len(told.fields) - 1


def test_a_million_categories_keep_the_frequent_ones_only():
    n = 200_000
    zipf = np.random.default_rng(0).zipf(1.3, n)
    told = encode_table(pd.DataFrame({"tag": pd.Series(zipf % 1_000_003).map("t{}".format)}))
    counts = pd.Series(zipf % 1_000_003).value_counts()
    frequent = counts[counts >= 20]
    assert told.n_features == min(5_000, len(frequent)) + 2 and told.matrix.nnz == n


def test_importing_it_is_cheap():
    code = "import sys, recsys_core.data.features; print(*{'torch', 'sklearn', 'duckdb', 'pyarrow.dataset'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_scales_of_numbers():
    values = np.exp(np.random.default_rng(0).normal(0, 2, 1001))
    table = pd.DataFrame({"x": values})
    order = np.argsort(values)
    told = {how: encode_table(table, {"x": Guess("numeric", settings={"scale": how})}).matrix.toarray()[:, 0] for how in SCALES}
    for how, column in told.items():
        assert abs(column.mean()) < 1e-4 and column.std() == pytest.approx(1, abs=1e-3), how
        assert (np.diff(column[order]) >= -1e-6).all(), "the order must stay"
    np.testing.assert_array_equal(told["auto"], told["log"])
    assert np.corrcoef(told["standard"], np.clip(values, *np.quantile(values, [0.01, 0.99])))[0, 1] == pytest.approx(1)
    even = np.linspace(-(3**0.5), 3**0.5, 1001)  # ranks, with mean 0 and deviation 1
    np.testing.assert_allclose(told["quantile"][order], even, atol=0.03)
    halves = encode_table(
        pd.DataFrame({"x": [0.5] * 60 + [1.5, 2.5, 3.5, 4.5] * 10}), {"x": Guess("numeric", settings={"scale": "quantile"})}
    )
    assert len(np.unique(halves.matrix.toarray()[:, 0])) == 5 and np.isfinite(halves.matrix.data).all()


SCALES = ("auto", "standard", "log", "quantile")


def test_dates_are_points_on_circles_as_far_as_they_tell():
    days = ["2024-01-01", "2024-04-03", "2024-07-07", "2024-10-10", None]  # a Monday, a Wednesday, a Sunday, a Thursday
    encoder = FeatureEncoder.fit(pd.DataFrame({"d": days}), {"d": Guess("date")})
    assert encoder.names[2:] == ["d.month (sine)", "d.month (cosine)", "d.weekday (sine)", "d.weekday (cosine)", "d=(missing)"]
    told = encoder.encode(pd.DataFrame({"d": days})).toarray()[:, 2:6]
    np.testing.assert_allclose(told[:, 0] + 1j * told[:, 1], [1j, 1, -1j, -1, 0], atol=1e-6)
    turn = 2 * np.pi / 7 * np.array([0, 2, 6, 3])
    np.testing.assert_allclose(told[:4, 2:], np.column_stack([np.sin(turn), np.cos(turn)]), atol=1e-6)
    december, january = encoder.encode(pd.DataFrame({"d": ["2023-12-15", "2024-01-15"]})).toarray()[:, 2:4]
    assert np.linalg.norm(december - january) < 0.6, "December is next to January"
    for dates, parts in ((["2001", "2005", "2010"], 0), (["2001-05", "2005-11", "2010-01"], 2), (days, 4)):
        assert len(FeatureEncoder.fit(pd.DataFrame({"d": dates}), {"d": Guess("date")}).names) == 3 + parts
    off = Guess("date", settings={"cycles": "no"})
    assert len(FeatureEncoder.fit(pd.DataFrame({"d": days}), {"d": off}).names) == 3


def test_every_kind_tells_people_what_it_is_and_what_can_be_set():
    from recsys_core.data.features import KINDS

    for kind, cls in KINDS.items():
        assert cls.kind == kind and cls.label and cls.summary.endswith(".")
        for one in cls.settings_fields():
            assert one.label and one.help.endswith(".") and (one.kind != "choice" or one.choices)
    encoder = next(one for one in KINDS["text"].settings_fields() if one.name == "encoder")
    assert "tfidf_svd" in encoder.choices


def test_a_chosen_kind_finds_out_how_the_column_is_written():
    table = pd.DataFrame({"stars": ["1,5", "2,5", "4,0"] * 9, "tags": ["a;b", "b", "c;a"] * 9, "day": ["31/01/2020", "01/02/2020", ""] * 9})
    encoder = FeatureEncoder.fit(table, {"stars": Guess("numeric"), "tags": Guess("multi_valued"), "day": Guess("date")})
    stars, tags, day = encoder.encoders
    assert stars.decimal == "," and tags.separator == ";" and tags.values == ["a", "b", "c"] and day.day_first


def test_an_id_that_was_chosen_is_left_out():
    encoder = FeatureEncoder.fit(pd.DataFrame({"shop": [1, 2, 1, 2]}), {"shop": Guess("id")})
    assert encoder.left_out == {"shop": "Numbers, names or links the rows; gives no features."} and not encoder.names
