"""Exported lists: right users, right items, right columns, and no cell that a spreadsheet would run."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.errors import BadInput, Cancelled
from recsys_core.jobs import JobQueue, JobSpec, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace
from recsys_core.store.audience import Filter, activity_third, audience
from recsys_core.store.export import ExportRequest, export_lists, preview
from recsys_core.store.spreadsheet import safe_frame, safe_text

N_ITEMS = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(workspace, run, data): 40 users "u0"…, one of them "=u1"; items with titles, genres, years."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"user": rng.integers(0, 40, 700), "item": rng.integers(0, N_ITEMS, 700)}).drop_duplicates()
    rows["user"] = rows["user"].map(lambda u: "=u1" if u == 1 else f"u{u}")
    rows["item"] = rows["item"].map(lambda i: f"i{i:02}")
    items = pd.DataFrame(
        {
            "title": ["=HYPERLINK(1)", "-5", "+1", "@x", "\tt", "\rr", 'a,"b"\nc', *(f"t{i}" for i in range(7, N_ITEMS))],
            "genres": ["Drama|Comedy" if i % 2 else "Horror" for i in range(N_ITEMS)],
            "year": [None if i == 9 else 1990.0 + i for i in range(N_ITEMS)],
        }
    )
    users = pd.DataFrame({"country": [["de", "fr"][i % 2] for i in range(rows["user"].nunique())]})
    data = from_frame(rows, item_table=items, user_table=users)
    workspace = Workspace(tmp_path_factory.mktemp("export"))
    workspace.add_dataset(data, "toy")
    run = train_in_workspace(workspace, TrainSpec(dataset="toy", model="popular", ks=(5,)), RunContext())
    return workspace, run, data


def read(entry) -> pd.DataFrame:
    return pd.read_csv(entry.file, dtype={"user": str, "item": str}) if entry.file.suffix == ".csv" else pd.read_parquet(entry.file)


def pairs(frame) -> set:
    return set(zip(frame["user"].str.lstrip("'"), frame["item"].str.lstrip("'"), strict=True))


def test_all_users_get_lists_without_what_they_had(made):
    workspace, run, data = made
    had = set(zip(data.users.decode(data.user), data.items.decode(data.item), strict=True))
    entry = export_lists(workspace, run, ExportRequest(k=4))
    frame = read(entry)
    assert frame["user"].nunique() == data.n_users and len(frame) == entry.rows
    assert not pairs(frame) & had
    assert (frame.groupby("user")["rank"].apply(list).map(lambda r: r == list(range(1, len(r) + 1)))).all()
    assert frame.groupby("user")["score"].apply(lambda s: s.is_monotonic_decreasing).all()
    assert [e.id for e in workspace.exports(run.id)][0] == entry.id and f"export '{entry.name}'" in workspace.dependents(run.id)


def test_seen_items_may_be_allowed_or_only_training_be_left_out(made):
    workspace, run, data = made
    train = run.model().fitted
    trained = set(zip(data.users.decode(train.user), data.items.decode(train.item), strict=True))
    had = set(zip(data.users.decode(data.user), data.items.decode(data.item), strict=True))
    every = pairs(read(export_lists(workspace, run, ExportRequest(k=N_ITEMS, exclude_seen=False))))
    assert len(every) == data.n_users * N_ITEMS
    unseen_in_training = pairs(read(export_lists(workspace, run, ExportRequest(k=N_ITEMS, seen="training"))))
    assert unseen_in_training == every - trained
    assert pairs(read(export_lists(workspace, run, ExportRequest(k=N_ITEMS)))) == every - had


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"k": 25},
        {"k": 25, "exclude_seen": False},
        {"k": 25, "seen": "training", "deny": ["i03", "i04"]},
        {"users": ["u0", "nobody", "u5"], "k": 30},
        {"activity": "most"},
        {"item_filters": [Filter(column="genres", values=["Comedy"])], "k": 20},
    ],
)
def test_the_number_of_rows_is_known_before(made, values):
    workspace, run, _ = made
    request = ExportRequest(**values)
    shown = preview(run, request, n_users=2)
    entry = export_lists(workspace, run, request)
    frame = read(entry)
    assert shown.n_rows == entry.rows == len(frame) and shown.n_users == frame["user"].nunique()
    assert len(shown.frame) <= len(frame) and pairs(shown.frame) <= pairs(frame)


def test_unknown_users_are_counted_and_get_the_most_popular(made):
    workspace, run, data = made
    entry = export_lists(workspace, run, ExportRequest(k=3, users=["nobody", "u3", "nobody", " u3 ", ""]))
    frame = read(entry)
    assert list(frame["user"].drop_duplicates()) == ["nobody", "u3"], "in the order given, each once"
    assert entry.manifest["n_unknown"] == 1
    assert any("1 of 2 users are not in the data" in n for n in entry.manifest["notes"])
    assert any("2 user ids were given more than once" in n for n in entry.manifest["notes"])
    best = data.items.decode(np.argsort(-run.model().fitted.item_counts, kind="stable")[:3])
    assert list(frame[frame["user"] == "nobody"]["item"]) == list(best)


def test_allow_deny_and_filters(made):
    workspace, run, data = made
    frame = read(export_lists(workspace, run, ExportRequest(k=30, allow=["i01", "i02", "i03", "ghost"], deny=["i02"], exclude_seen=False)))
    assert set(frame["item"]) == {"i01", "i03"}
    year = Filter(column="year", operator="at least", values=[2010])
    comedy = Filter(column="genres", values=["Comedy"])
    frame = read(
        export_lists(workspace, run, ExportRequest(k=30, item_filters=[year, comedy], exclude_seen=False, item_columns=["year", "genres"]))
    )
    assert frame["year"].min() >= 2010 and (frame["genres"] == "Drama|Comedy").all() and frame["item"].nunique() == 5
    none_of = Filter(column="genres", operator="is none of", values=["Comedy"])
    assert none_of.mask(data.item_table, N_ITEMS, "item").sum() == 15
    contains = Filter(column="title", operator="contains", values=["HYPER"])
    assert contains.mask(data.item_table, N_ITEMS, "item").sum() == 1
    with pytest.raises(BadInput, match="No item is left"):
        preview(run, ExportRequest(allow=["ghost"]))
    with pytest.raises(BadInput, match="no column 'colour'"):
        preview(run, ExportRequest(item_filters=[Filter(column="colour", values=["red"])]))
    with pytest.raises(BadInput, match="needs a number; got 'old'"):
        preview(run, ExportRequest(item_filters=[Filter(column="year", operator="at most", values=["old"])]))
    with pytest.raises(BadInput, match="no column 'age'"):
        preview(run, ExportRequest(user_columns=["age"]))


def test_segments(made):
    _, run, data = made
    third = activity_third(data)
    counts = np.bincount(data.user, minlength=data.n_users)
    assert counts[third == 0].max() <= counts[third == 1].min() and counts[third == 1].max() <= counts[third == 2].min()
    assert {int((third == part).sum()) for part in range(3)} <= {13, 14}
    most = audience(data, activity="most")
    assert set(most.codes) == set(np.flatnonzero(third == 2))
    french = audience(data, ["u0", "u2", "nobody"], filters=[Filter(column="country", values=["fr"])])
    assert set(french.codes) <= set(np.flatnonzero(data.user_table["country"] == "fr")) and french.n_unknown == 0
    with pytest.raises(BadInput, match="No user is left"):
        audience(data, [" "])


def test_no_cell_of_a_csv_can_become_a_formula(made):
    workspace, run, _ = made
    request = ExportRequest(
        k=N_ITEMS, users=["=u1", "+evil", "-3", "@me", "ok"], exclude_seen=False, item_columns=["title", "year"], user_columns=["country"]
    )
    entry = export_lists(workspace, run, request)
    with entry.file.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["user", "item", "rank", "score", "country", "title", "year"]
    texts = [cell for row in rows for name, cell in zip(header, row, strict=True) if name not in ("rank", "score", "year")]
    assert not [t for t in texts if t.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert {"'=u1", "'+evil", "'-3", "'@me", "ok"} == {row[0] for row in rows}
    assert {"'=HYPERLINK(1)", "'-5", "'+1", "'@x", "'\tt", "'\rr", 'a,"b"\nc'} <= {row[5] for row in rows}
    assert all(float(row[3]) >= 0 for row in rows)
    parquet = read(export_lists(workspace, run, request.model_copy(update={"format": "parquet"})))
    assert {"=u1", "+evil", "-3", "@me", "ok"} == set(parquet["user"]) and "=HYPERLINK(1)" in set(parquet["title"]), (
        "Parquet keeps ids as they are"
    )


def test_numbers_stay_numbers():
    frame = safe_frame(pd.DataFrame({"score": [-1.5, 2.0], "=x": ["-1", None], "when": pd.to_datetime(["2020-01-01", None])}))
    assert frame["score"].tolist() == [-1.5, 2.0] and frame.columns[1] == "'=x"
    assert frame["'=x"][0] == "'-1" and pd.isna(frame["'=x"][1])
    assert list(safe_text(pd.Series(["＝1", "a=1", ""]))) == ["'＝1", "a=1", ""]


def test_many_users_are_written_in_batches_that_equal_one(made, monkeypatch):
    workspace, run, data = made
    names = [*data.users.ids, *(f"new{n}" for n in range(30))]
    whole = read(export_lists(workspace, run, ExportRequest(k=3, users=names, format="parquet", item_columns=["title", "year"])))
    monkeypatch.setattr("recsys_core.store.export.SCORE_CELLS", 1)
    for kind in ("parquet", "csv"):
        parts = read(export_lists(workspace, run, ExportRequest(k=3, users=names, format=kind, item_columns=["title", "year"])))
        assert list(parts["rank"]) == list(whole["rank"]) and pairs(parts) == pairs(whole)


def test_users_kept_out_of_training_are_served_from_their_history(made):
    workspace, _, data = made
    run = train_in_workspace(workspace, TrainSpec(dataset="toy", model="item_knn", split="cold_users", ks=(5,)), RunContext())
    model = run.model()
    cold = np.flatnonzero(np.diff(model.fitted.matrix("seen").indptr) == 0)
    assert len(cold)
    entry = export_lists(workspace, run, ExportRequest(k=5, users=list(data.users.decode(cold)), format="parquet"))
    expected = model.recommend_for_history(data.histories(cold), 5).frame(data.users.decode(cold), data.items)
    assert entry.manifest["n_unknown"] == 0 and list(read(entry)["item"]) == list(expected["item"])


def test_cancelling_leaves_nothing(made):
    workspace, run, _ = made
    before = len(workspace.exports())
    with pytest.raises(Cancelled):
        export_lists(workspace, run, ExportRequest(), RunContext(cancelled=lambda: True))
    assert len(workspace.exports()) == before and not list((workspace.root / "exports").glob(".tmp*"))


def test_as_a_job(made):
    workspace, run, _ = made
    queue = JobQueue(workspace)
    job = queue.submit(JobSpec(kind="export", payload={"run": run.id, "request": {"k": 2, "name": "For mail"}}, title="Lists"))
    queue.run_until_idle(60)
    job = queue.job(job.id)
    assert job.state == "done", job.reason
    assert workspace.export(job.result["export"]).name == "For mail"
    with pytest.raises(BadInput, match="from 1 to 1000; got 0"):
        ExportRequest.make(k=0)
