"""Ingest step by step: guesses, the plan, events, decay, duplicates, k-core, tables, rejects, real data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.ingest import Columns, IngestPlan, guess_columns, ingest, open_source, shape
from recsys_core.data.ingest.encode import IdEncoder, clean_ids, whole_numbers
from recsys_core.data.ingest.shape import Interactions, kcore, merge
from recsys_core.data.ingest.tables import column_hints, list_separator
from recsys_core.data.sample import sample_paths
from recsys_core.data.storage import load_dataset, save_dataset
from recsys_core.errors import Cancelled, DataError, ParamError


@pytest.fixture
def write(tmp_path):
    """write("a,b\\n1,2") -> path."""

    def to_file(text, name="data.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def table(rows, head):
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


# ---- guessing ----
HEADERS = [
    ("userId,movieId,rating,timestamp", "userId", "movieId", "rating", "timestamp"),
    ("rating,timestamp,item_id,user_id", "user_id", "item_id", "rating", "timestamp"),
    ("reviewerID,asin,overall,unixReviewTime", "reviewerID", "asin", "overall", "unixReviewTime"),
    ("Kunde,Artikel,Menge,Datum", "Kunde", "Artikel", "Menge", "Datum"),
    ("customer_id,StockCode,qty,InvoiceDate", "customer_id", "StockCode", "qty", "InvoiceDate"),
    ("usuario,película_x,puntuacion,fecha", "usuario", "película_x", "puntuacion", "fecha"),
    ("用户ID,商品ID,评分,时间戳", "用户ID", "商品ID", "评分", "时间戳"),
    ("SessionId,product,plays,ts", "SessionId", "product", "plays", "ts"),
    ("uid,sku,stars,created_at", "uid", "sku", "stars", "created_at"),
]


@pytest.mark.parametrize(("head", "user", "item", "value", "time"), HEADERS)
def test_roles_are_guessed_from_names(write, head, user, item, value, time):
    names = head.split(",")
    kinds = {user: lambda k: f"a{k % 9}", item: lambda k: f"b{k % 31}", value: lambda k: k % 5 + 1, time: lambda k: 1_600_000_000 + k}
    guess = guess_columns(open_source(write(table([[kinds[n](k) for n in names] for k in range(200)], head))))
    assert [guess.roles[r].column for r in ("user", "item", "value", "time")] == [user, item, value, time]
    assert all(guess.roles[r].reason and len(guess.roles[r].samples) == 5 for r in ("user", "item", "value", "time"))


def test_roles_are_guessed_from_content_without_a_header(write):
    rng = np.random.default_rng(0)
    rows = [(rng.integers(1, 50), rng.integers(1, 300), rng.integers(1, 6), 880_000_000 + int(rng.integers(10**7))) for _ in range(500)]
    guess = guess_columns(open_source(write("\n".join("\t".join(map(str, row)) for row in rows), "u.data")))
    assert [guess.roles[r].column for r in ("user", "item", "value", "time")] == ["column_1", "column_2", "column_3", "column_4"]
    assert (guess.feedback, guess.threshold, guess.time_format) == ("explicit", 4.0, "s")


def test_events_are_counted_over_the_whole_file_and_weighted(write):
    rows = [(f"u{k % 9}", f"i{k % 31}", "view" if k % 10 else "addtocart") for k in range(6000)] + [
        ("u1", "i1", "transaction"),
        ("u1", "i2", "zoom"),
    ]
    guess = guess_columns(open_source(write(table(rows, "visitorid,itemid,event"))))
    assert guess.roles["event"].column == "event"
    assert guess.events == {"view": 5400, "addtocart": 600, "transaction": 1, "zoom": 1}
    assert guess.event_weights == {"view": 1, "addtocart": 3, "transaction": 5, "zoom": 1} and "'zoom'" in guess.notes[0]


@pytest.mark.parametrize(
    ("values", "feedback", "value_is", "threshold"),
    [
        ([0.5, 3, 4.5, 5], "explicit", "rating", 4.0),
        (range(1, 11), "explicit", "rating", 7.0),
        ([1, 300, 17, 95_000], "implicit", "count", None),
        ([1], "implicit", "none", None),
    ],
)
def test_feedback_is_guessed_from_the_values(write, values, feedback, value_is, threshold):
    rows = [(f"u{k % 9}", f"i{k}", list(values)[k % len(values)]) for k in range(300)]
    guess = guess_columns(open_source(write(table(rows, "user,item,rating"))))
    assert (guess.feedback, guess.value_is, guess.threshold) == (feedback, value_is, threshold)


def test_a_nameless_category_id_beside_events_is_no_value(write):
    rows = [(k % 50, 2268318 + k % 40, 2520377 + k % 9, ("pv", "buy", "cart", "fav")[k % 4], 1511544070 + k) for k in range(300)]
    guess = guess_columns(open_source(write("\n".join(",".join(map(str, row)) for row in rows))))
    assert {r: g.column for r, g in guess.roles.items()} == {
        "user": "column_1",
        "item": "column_2",
        "value": None,
        "event": "column_4",
        "time": "column_5",
    }
    assert guess.event_weights == {"pv": 1, "buy": 5, "cart": 3, "fav": 3}


def test_a_price_is_not_a_strength(write):
    guess = guess_columns(open_source(write(table([(f"u{k % 9}", f"i{k}", k * 3.17) for k in range(300)], "user,item,price"))))
    assert (guess.feedback, guess.value_is) == ("implicit", "price")


def test_positions_in_place_of_times_are_said_to_be_such(write):
    guess = guess_columns(open_source(write(table([(f"u{k % 9}", f"i{k}", k) for k in range(300)], "user,item,timestamp"))))
    assert guess.time_format == "s" and "positions" in guess.time_note


# ---- the plan ----
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"columns": {"user": "a", "item": "a"}}, "must differ"),
        ({"columns": {"user": "a"}}, "item"),
        ({"columns": {"user": "a", "item": "b"}, "feedback": "explicit"}, "value column"),
        ({"columns": {"user": "a", "item": "b"}, "min_user": 0}, "at least 1"),
        ({"columns": {"user": "a", "item": "b"}, "event_weights": {"x": -1}}, "'x' has -1"),
        ({"columns": {"user": "a", "item": "b"}, "half_life_days": 0}, "above 0"),
    ],
)
def test_a_wrong_plan_is_refused_in_words(values, words):
    with pytest.raises(ParamError) as caught:
        IngestPlan(**values)
    assert words in caught.value.message


def test_a_plan_survives_json_and_an_unknown_column_is_named(write):
    plan = IngestPlan(columns=Columns(user="user", item="product"), event_weights={"view": 1})
    assert IngestPlan(**plan.model_dump(mode="json")) == plan == IngestPlan.model_validate_json(plan.model_dump_json())
    with pytest.raises(DataError, match="no column 'product'"):
        ingest(open_source(write("user,item\na,b\nc,d\n")), plan)


# ---- from rows to interactions ----
def pairs(result):
    data = result.dataset
    return {(u, i): v for u, i, v in zip(data.users.decode(data.user), data.items.decode(data.item), data.value.tolist(), strict=True)}


EVENTS = table(
    [
        ("u1", "a", "view", 100),
        ("u1", "a", "Cart", 200),
        ("u2", "b", "view", 300),
        ("u2", "b", "view", 50),
        ("u2", "c", "skip", 60),
        ("u3", "a", "zoom", 70),
    ],
    "user,item,event,time",
)


def test_events_are_weighted_summed_left_out_and_refused(write):
    plan = IngestPlan(
        columns=Columns(user="user", item="item", event="event", time="time"),
        time_format="s",
        event_weights={"view": 1, "cart": 3, "SKIP": 0},
        duplicates="sum",
    )
    result = ingest(open_source(write(EVENTS)), plan)
    assert pairs(result) == {("u1", "a"): 4.0, ("u2", "b"): 2.0}
    report = result.report
    assert (report.rows_read, report.rows_kept, report.rows_merged, report.rows_filtered, report.rows_rejected) == (6, 2, 2, 1, 1)
    assert report.reject_reasons == {"event type has no weight": 1} and report.filter_reasons == {"event types with weight 0": 1}
    rejects = pd.read_csv(result.rejects_path)
    assert rejects.iloc[0].tolist() == ["data.csv", 7, "event", "zoom", "event type has no weight"]
    assert sorted(result.dataset.time.tolist()) == [200, 300]


@pytest.mark.parametrize(("rule", "value"), [("last", 5.0), ("sum", 3 + 5 + 1), ("max", 5.0), ("count", 3.0)])
def test_duplicates(write, rule, value):
    text = table([("u1", "a", 3, 10), ("u1", "a", 5, 30), ("u1", "a", 1, 20), ("u2", "b", 2, 10)], "user,item,n,time")
    plan = IngestPlan(columns=Columns(user="user", item="item", value="n", time="time"), time_format="s", value_is="count", duplicates=rule)
    result = ingest(open_source(write(text)), plan)
    assert pairs(result) == {("u1", "a"): value, ("u2", "b"): 1.0 if rule == "count" else 2.0}
    assert result.dataset.time.tolist() == [30, 10] and result.report.rows_merged == 2


def test_half_life_halves_by_age(write):
    text = table([("u1", "a", 0), ("u2", "b", 10 * 86_400), ("u3", "a", 5 * 86_400)], "user,item,time")
    plan = IngestPlan(columns=Columns(user="user", item="item", time="time"), time_format="s", half_life_days=5)
    assert ingest(open_source(write(text)), plan).dataset.value.tolist() == [0.25, 1.0, 0.5]


def test_implicit_ratings_below_the_threshold_are_left_out(write):
    text = table([("u1", "a", 5), ("u1", "b", 2), ("u2", "c", 4)], "user,item,rating")
    plan = IngestPlan(columns=Columns(user="user", item="item", value="rating"), value_is="rating", threshold=4)
    result = ingest(open_source(write(text)), plan)
    assert pairs(result) == {("u1", "a"): 1.0, ("u2", "c"): 1.0}
    assert result.report.filter_reasons == {"values below the threshold": 1}


def random_rows(n, users, items, seed=0, timed=True):
    rng = np.random.default_rng(seed)
    time = rng.integers(0, 20, n) if timed else None
    return Interactions(
        rng.integers(0, users, n).astype(np.int32), rng.integers(0, items, n).astype(np.int32), rng.random(n).astype(np.float32), time
    )


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("rule", ["last", "sum", "max", "count"])
@pytest.mark.parametrize("packed", [True, False])
def test_merge_agrees_with_pandas(rule, timed, packed, monkeypatch):
    if not packed:  # as if there were too many users and items for pair and place to share one number
        monkeypatch.setattr(shape, "PACK_BITS", 0)
    rows = random_rows(3000, 30, 40, timed=timed)
    frame = pd.DataFrame({"u": rows.user, "i": rows.item, "v": rows.value, "t": rows.time if timed else 0, "at": np.arange(3000)})
    groups = frame.sort_values(["t", "at"]).groupby(["u", "i"])
    value = {"last": groups["v"].last(), "sum": groups["v"].sum(), "max": groups["v"].max(), "count": groups["v"].size()}[rule]
    expected = pd.DataFrame({"v": value, "at": groups["at"].last()}).reset_index().sort_values("at")
    merged = merge(rows, 30, 40, rule)
    assert merged.user.tolist() == expected["u"].tolist() and merged.item.tolist() == expected["i"].tolist()
    assert np.allclose(merged.value, expected["v"], rtol=1e-6)


def test_kcore_is_iterated_and_reported():
    # User 2 has two items, but item 3 falls (one user), then user 2 has one and falls as well.
    user, item = np.array([0, 0, 1, 1, 2, 2], np.int32), np.array([0, 1, 0, 1, 0, 3], np.int32)
    left, report = kcore(Interactions(user, item, np.ones(6, np.float32), None), 3, 4, 2, 2)
    assert left.user.tolist() == [0, 0, 1, 1]
    assert (report.users, report.items, report.rows, report.rounds) == (1, 1, 2, 2)


def test_kcore_that_leaves_nothing_is_refused(write):
    plan = IngestPlan(columns=Columns(user="user", item="item"), min_user=5)
    with pytest.raises(DataError, match="No interaction is left"):
        ingest(open_source(write("user,item\na,b\nc,d\n")), plan)


# ---- ids ----
def test_number_ids_and_text_ids_get_the_same_codes():
    import pyarrow as pa

    ids = [str(k) for k in np.random.default_rng(0).integers(0, 3000, 5000)]
    by_number, by_text = IdEncoder(), IdEncoder()
    by_number.add(pa.array(ids))
    by_text.add(pa.array(ids[:2500]))
    by_text.add(pa.array(["x1", *ids[2500:]]))
    codes, names = by_number.finish()
    text_codes, text_names = by_text.finish()
    assert names.to_pylist() == sorted(set(ids)) and [names[int(c)].as_py() for c in codes[:100]] == ids[:100]
    assert text_names.to_pylist() == sorted({*ids, "x1"}) and [text_names[int(c)].as_py() for c in text_codes] == [
        *ids[:2500],
        "x1",
        *ids[2500:],
    ]


@pytest.mark.parametrize("odd", ["01", "+1", "-1", "1.0", "1e2", "0x10", "１", "1_0", "9" * 19, "1 1"])
def test_only_canonical_numbers_take_the_short_way(odd):
    import pyarrow as pa

    assert whole_numbers(pa.array(["1", "20", "0"])).tolist() == [1, 20, 0]
    assert whole_numbers(pa.array(["1", odd])) is None


def test_blanks_around_ids_go_whatever_kind_they_are():
    import pyarrow as pa

    column, missing = clean_ids(pa.array([" a", "b\t", "\u3000c\u00a0", None, " ", "", "d e", "é"]))
    assert column.to_pylist() == ["a", "b", "c", None, "", "", "d e", "é"]
    assert missing.tolist() == [False, False, False, True, True, True, False, False]
    sliced, missing = clean_ids(pa.array(["zz", "a ", "b"]).slice(1))
    assert sliced.to_pylist() == ["a", "b"] and missing is None


# ---- tables ----
def test_item_and_user_tables_are_joined_and_reported(write):
    source = open_source(write("user,item\nu1,a\nu1,b\nu2,a\nu2,c\n"))
    items = open_source(
        write(
            "code,title,genres,year,zip\na,Alpha,X|Y,1999,00123\nb,Beta,Y,,00200\nb,Again,Y,2000,1\nzz,None,X,2001,2\n,Empty,X,1,3\nragged\n",
            "items.csv",
        )
    )
    users = open_source(write("uid,age\nu9,20\nu8,30\n", "users.csv"))
    result = ingest(source, IngestPlan(columns=Columns(user="user", item="item")), item_source=items, user_source=users)
    data, join = result.dataset, result.report.item_join
    assert join.id_column == "code"
    assert (
        join.rows_read,
        join.rows_joined,
        join.rows_matching_nothing,
        join.rows_duplicated,
        join.rows_without_id,
        join.rows_rejected,
    ) == (6, 2, 1, 1, 1, 1)
    assert (
        join.rows_read == join.rows_joined + join.rows_matching_nothing + join.rows_duplicated + join.rows_without_id + join.rows_rejected
    )
    assert (
        join.ids_without_row == 1
        and data.item_table["title"].tolist()[:2] == ["Alpha", "Beta"]
        and data.item_table["title"].isna().tolist() == [False, False, True]
    )
    assert data.item_table["zip"].tolist()[:2] == ["00123", "00200"] and data.item_table["year"].iloc[0] == 1999
    assert data.meta["item_columns"] == {"title": "title", "categories": "genres", "separator": "|"}
    assert result.report.user_join.rows_joined == 0 and any("No row of the user table" in w for w in result.report.warnings)


def test_ids_that_nearly_meet_are_pointed_out(write):
    items = open_source(write("item,title\n001,Alpha\n002,Beta\n", "items.csv"))
    result = ingest(open_source(write("user,item\nu1,1\nu2,2\n")), IngestPlan(columns=Columns(user="user", item="item")), item_source=items)
    assert any("2 would match if leading zeros" in w for w in result.report.warnings)


# ---- rejects, progress, saving ----
def test_rejects_cannot_become_formulas(write):
    text = "user,item,rating\nu1,a,1\nu2,b,2\n" + 'u3,c,=1+2\nu3,d,@SUM(A1)\nu3,e,-x\nu3,f,"+cmd|x"\n'
    plan = IngestPlan(columns=Columns(user="user", item="item", value="rating"), feedback="explicit", value_is="rating")
    rejects = pd.read_csv(ingest(open_source(write(text)), plan).rejects_path, dtype=str)
    assert rejects["value"].tolist() == ["'=1+2", "'@SUM(A1)", "'-x", "'+cmd|x"] and rejects["line"].tolist() == ["4", "5", "6", "7"]


def test_the_shipped_messy_file_is_understood_without_help():
    """What sample_data/make_messy.py puts wrong is found, line by line; 55 stars do not set the scale."""
    source = open_source(sample_paths().messy)
    assert source.columns == ("Customer No.", "Book", "Title", "Stars (1-5)", "When")
    assert any("1 line above the header left out, not counted as rows: 'Export of 2 November 2025'" in note for note in source.notes)
    guess = guess_columns(source)
    assert (guess.time_format, guess.feedback, guess.threshold) == ("dayfirst", "explicit", 4.0)
    assert guess.feedback_reason.endswith("ratings from 1 to 5. A few are above that, up to 55: are they typing errors?")
    result = ingest(source, IngestPlan.from_guess(guess))
    report = result.report
    assert report.rows_read == report.rows_kept + report.rows_merged + report.rows_filtered + report.rows_rejected == 285
    rejects = pd.read_csv(result.rejects_path, dtype=str)
    line_of = dict(zip(rejects["line"].astype(int), rejects["reason"], strict=True))
    text = sample_paths().messy.read_text("utf-8-sig").split("\n")
    for wrong, reason in ((";five;", "value is not a number"), ("31/02/2025", "unreadable time"), ("what is;this", "too many")):
        (line,) = (n for n, row in enumerate(text, start=1) if wrong in row)
        assert line_of[line].startswith(reason)


@pytest.mark.parametrize("time_format, days", [("dayfirst", ["31/02/2025", "29.02.2023 10:00"]), ("iso", ["20250231", "2025-02-31"])])
def test_days_that_no_calendar_has_are_rejected(write, time_format, days):
    rows = [f"u{k},i{k},2025-03-0{k + 1}" for k in range(5)] + [f"u1,i{k},{day}" for k, day in enumerate(days)]
    plan = IngestPlan(columns=Columns(user="user", item="item", time="time"), time_format=time_format)
    report = ingest(open_source(write("user,item,time\n" + "\n".join(rows) + "\n")), plan).report
    assert report.reject_reasons == {"unreadable time": 2} and report.rows_kept == 5


def test_reading_can_be_cancelled(write):
    source = open_source(write("user,item\na,b\nc,d\n"))
    with pytest.raises(Cancelled):
        ingest(source, IngestPlan(columns=Columns(user="user", item="item")), RunContext(cancelled=lambda: True))


def test_many_blocks_keep_order_lines_and_counts(write):
    """Big enough for several DuckDB threads, Arrow batches and blocks of the record walk, with quoted newlines throughout."""
    n = 200_000
    rows = [f'u{k % 997},"it\nem{k}",{"x" if k % 50_021 == 7 else k % 5},{k}' for k in range(n)]
    rows[123_456] = "ragged"
    source = open_source(write("user,item,rating,pos\n" + "\n".join(rows)))
    plan = IngestPlan(
        columns=Columns(user="user", item="item", value="rating", time="pos"), time_format="s", feedback="explicit", value_is="rating"
    )
    result = ingest(source, plan)
    bad = sorted([*range(7, n, 50_021), 123_456])
    assert (np.diff(result.dataset.time) > 0).all() and result.report.rows_kept == n - len(bad)
    rejects = pd.read_csv(result.rejects_path)
    assert rejects["line"].tolist() == [2 + 2 * k - (k > 123_456) for k in bad]


def test_result_is_saved_and_read_back(write, tmp_path):
    result = ingest(open_source(write("user,item\nb,x\na,y\nb,z\n")), IngestPlan(columns=Columns(user="user", item="item")))
    (tmp_path / "saved").mkdir()
    save_dataset(result.dataset, tmp_path / "saved")
    back = load_dataset(tmp_path / "saved")
    assert back.fingerprint == result.dataset.fingerprint and back.users == result.dataset.users
    assert open_source(tmp_path / "data.csv").content_hash == result.report.content_hash


# ---- real data ----
def test_movielens_latest_small(real_data):
    folder = real_data("ml-latest-small")
    source = open_source(folder / "ratings.csv")
    plan = IngestPlan.from_guess(guess_columns(source))
    result = ingest(source, plan, item_source=open_source(folder / "movies.csv"))
    report = result.report
    assert (report.rows_read, report.rows_kept, report.users, report.items) == (100_004, 100_004, 671, 9_066)
    assert (plan.feedback, plan.threshold, plan.time_format, report.first_time) == ("explicit", 4.0, "s", "1995-01-09 11:46:49")
    assert report.item_join.rows_joined == 9_066 and result.dataset.meta["item_columns"] == {
        "title": "title",
        "categories": "genres",
        "separator": "|",
    }


def test_movielens_100k_with_items_and_users(real_data):
    folder = real_data("ml-100k")
    source = open_source(folder / "interactions.csv.gz")
    tables = {"item_source": open_source(folder / "items.csv"), "user_source": open_source(folder / "users.csv")}
    result = ingest(source, IngestPlan.from_guess(guess_columns(source)), **tables)
    assert (result.report.rows_kept, result.dataset.n_users, result.dataset.n_items) == (100_000, 943, 1_682)
    assert result.report.item_join.ids_without_row == result.report.user_join.ids_without_row == 0
    row = result.dataset.items.encode(["1"])[0]
    assert (
        result.dataset.item_table.iloc[row]["movie_title"] == "Toy Story" and result.dataset.meta["item_columns"]["title"] == "movie_title"
    )
    assert result.dataset.user_table["age"].max() < 100 and not pd.api.types.is_numeric_dtype(result.dataset.user_table["zip_code"])


def test_lastfm_counts(real_data):
    source = open_source(real_data("lastfm") / "user_artists.csv.gz")
    plan = IngestPlan.from_guess(guess_columns(source))
    result = ingest(source, plan)
    assert (plan.feedback, plan.value_is) == ("implicit", "count")
    assert (result.report.rows_kept, result.dataset.n_users, result.dataset.n_items, result.dataset.value.max()) == (
        92_834,
        1_892,
        17_632,
        352_698,
    )


def test_categories_parted_by_blanks_are_told_from_phrases():
    rng = np.random.default_rng(0)
    genres = ["Action", "Comedy", "Children's", "Drama", "Horror", "Romance", "Thriller", "War"]
    some = [" ".join(sorted(rng.choice(genres, rng.integers(1, 5), replace=False))) for _ in range(300)]
    numbers = [" ".join(map(str, rng.integers(1, 40, rng.integers(2, 12)))) for _ in range(300)]
    aisles = np.array(["Home audio", "Science fiction", "Toys", "Garden tools and sheds", "Books"])
    persons = [f"{a} {b}" for a, b in rng.integers(100, 120, (300, 2))]
    assert column_hints(pd.DataFrame({"movie_title": persons, "class": some})) == {
        "title": "movie_title",
        "categories": "class",
        "separator": " ",
    }
    assert column_hints(pd.DataFrame({"attributes": numbers})) == {"title": None, "categories": "attributes", "separator": " "}
    assert column_hints(pd.DataFrame({"category": aisles[rng.integers(0, 5, 300)]}))["separator"] is None
    assert list_separator(pd.Series(persons)) is None and list_separator(pd.Series([], dtype=str)) is None
    assert list_separator(pd.Series(["Sci Fi|Drama", "Drama"])) == "|"
