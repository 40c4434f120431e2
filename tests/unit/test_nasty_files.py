"""Every nasty file ends as a dataset whose counts add up, with the right lines rejected, or in one clear sentence."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
from recsys_core.errors import DataError

from .nasty_files import CASES


def run(case, folder):
    path = folder / case.name
    path.write_bytes(case.data)
    source = open_source(path, scratch=folder / "scratch", **case.options)
    plan = IngestPlan(**case.plan) if "columns" in case.plan else IngestPlan.from_guess(guess_columns(source), **case.plan)
    return source, ingest(source, plan, work_dir=folder / "work")


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.refused is None])
def test_usable_file_adds_up(name, tmp_path):
    case = CASES[name]
    source, result = run(case, tmp_path)
    report = result.report
    assert report.rows_read == report.rows_kept + report.rows_merged + report.rows_filtered + report.rows_rejected
    assert (report.rows_read, report.rows_kept, report.rows_merged) == (case.read, case.kept, case.merged), report
    assert len(result.dataset) == report.rows_kept
    if case.users is not None:
        assert tuple(result.dataset.users.ids) == case.users
    if case.check is not None:
        assert case.check(source, result), report
    if report.rows_rejected == 0:
        assert result.rejects_path is None
        return
    rejects = pd.read_csv(result.rejects_path, dtype=str)
    assert list(rejects.columns) == ["file", "line", "column", "value", "reason"]
    assert len(rejects) == report.rows_rejected == sum(report.reject_reasons.values())
    assert tuple(rejects["line"].astype(int)) == case.lines
    if case.reasons:
        assert all(reason.startswith(wanted) for reason, wanted in zip(rejects["reason"], case.reasons, strict=True)), rejects
    json.loads(report.model_dump_json())


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.refused is not None])
def test_unusable_file_gets_one_sentence(name, tmp_path):
    case = CASES[name]
    with pytest.raises(DataError) as caught:
        run(case, tmp_path)
    assert case.refused in caught.value.message
    assert caught.value.hint and "\n" not in caught.value.message and caught.value.message.endswith(".")
    assert len(caught.value.message) < 400


def test_there_are_about_forty_and_more():
    assert len(CASES) >= 40
