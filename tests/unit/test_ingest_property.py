"""Any bytes and any table: a dataset whose counts add up with every rejected row listed, or one clear sentence."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_core.data.ingest import Columns, IngestPlan, guess_columns, ingest, open_source
from recsys_core.data.ingest.guard import UNEXPECTED
from recsys_core.errors import DataError

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def read(data: bytes, name: str = "upload.csv", plan: IngestPlan | None = None):
    """(result, rejects) or (None, the refusal)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            source = open_source(path, scratch=folder)
            result = ingest(source, plan or IngestPlan.from_guess(guess_columns(source)), work_dir=folder)
        except DataError as refused:
            assert UNEXPECTED not in refused.message, refused.__cause__
            assert refused.hint and "\n" not in refused.message and len(refused.message) < 1000
            return None, refused
        rejects = pd.read_csv(result.rejects_path, dtype=str, keep_default_na=False) if result.rejects_path else None
    report = result.report
    assert report.rows_read == report.rows_kept + report.rows_merged + report.rows_filtered + report.rows_rejected
    assert report.rows_kept == len(result.dataset) > 0
    assert report.rows_rejected == (0 if rejects is None else len(rejects)) == sum(report.reject_reasons.values())
    return result, rejects


@given(st.binary(max_size=400))
@RELAXED
def test_random_bytes(data):
    read(data)


@given(st.binary(max_size=200))
@settings(RELAXED, max_examples=15)
def test_random_bytes_after_a_sound_start(data):
    """Damage in the middle of a good file: its other rows must survive or be named."""
    rows = "".join(f"u{k % 5},i{k},{k % 5 + 1}\n" for k in range(12))
    read(b"user,item,rating\n" + rows.encode() + data + b"\n" + rows.replace("i", "j").encode())


@given(st.text(alphabet='ab1,;|\t"\r\n\\:= é用\u00a0', max_size=300))
@RELAXED
def test_random_text_of_special_signs(text):
    read(text.encode())


cell = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\0\ufeff", exclude_categories=("Cs",)), max_size=8)
table = st.lists(st.tuples(cell, cell, st.one_of(st.integers(-5, 10).map(str), cell)), min_size=1, max_size=30)


def written(rows: list[tuple[str, ...]], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["user", "item", "rating"])
    writer.writerows(rows)
    return out.getvalue().encode()


def is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= 3.4e38
    except ValueError:
        return False


PLAN = IngestPlan(columns=Columns(user="user", item="item", value="rating"), feedback="explicit", value_is="rating", duplicates="last")


@given(table, st.sampled_from([",", ";", "\t", "|"]))
@settings(RELAXED, max_examples=35)
def test_random_tables_against_a_plain_reader(rows, delimiter):
    """What comes out of well-formed CSV is what a plain loop over the rows gives: kept pairs and physical lines of rejects."""
    result, rejects = read(written(rows, delimiter), plan=PLAN)
    line, bad, pairs = 2, [], {}
    for user, item, rating in rows:
        if user.strip() and item.strip() and rating.isascii() and is_number(rating) and "_" not in rating:
            pairs[user.strip(), item.strip()] = float(rating)
        else:
            bad.append(line)
        line += 1 + sum(part.count("\n") for part in (user, item, rating))
    users, items = {u for u, _ in pairs}, {i for _, i in pairs}
    if result is None:
        assert len(users) < 2 or len(items) < 2 or "separator" in rejects.message or "binary" in rejects.message
        return
    data = result.dataset
    got = {(u, i): v for u, i, v in zip(data.users.decode(data.user), data.items.decode(data.item), data.value.tolist(), strict=True)}
    assert got.keys() == pairs.keys()
    assert all(abs(got[pair] - pairs[pair]) <= 1e-5 * max(1, abs(pairs[pair])) for pair in pairs)
    assert ([] if rejects is None else rejects["line"].astype(int).tolist()) == bad


@given(st.binary(max_size=300), st.integers(0, 200))
@settings(RELAXED, max_examples=10)
def test_damaged_gzip(data, cut):
    read(gzip.compress(b"user,item\n" + data)[: cut or None], "upload.csv.gz")
