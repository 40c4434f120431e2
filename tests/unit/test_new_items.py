"""Items and users of the tables that no interaction has: kept where asked for, and everything after stands them."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.cli import main
from recsys_core.context import RunContext
from recsys_core.data.ingest import Columns, IngestPlan, ingest, open_source
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store.workspace import Workspace

ROWS = [f"u{u},i{(u * 5 + j * 3) % 12},{4 if j % 3 else 2},{1_600_000_000 + 1000 * u + j}" for u in range(14) for j in range(7)]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "log.csv").write_text("\n".join(["user,item,rating,time", *ROWS, "u0,rare,5,1600000001"]) + "\n")
    items = [f"i{i},Title {i},{'A|B' if i % 2 else 'B'}" for i in range(12)]
    (tmp_path / "items.csv").write_text(
        "\n".join(["item,title,kinds", *items, "zzz,Later,A", "aaa,Unseen,B", "rare,Rare,A", "zzz,Twice,A"]) + "\n"
    )
    (tmp_path / "users.csv").write_text("\n".join(["user,city", *(f"u{u},{'x' if u % 2 else 'y'}" for u in range(14)), "never,x"]) + "\n")
    return tmp_path


def read(folder, **values):
    plan = IngestPlan(
        columns=Columns(user="user", item="item", value="rating", time="time"),
        feedback="explicit",
        value_is="rating",
        threshold=3.0,
        items_file=str(folder / "items.csv"),
        users_file=str(folder / "users.csv"),
        **values,
    )
    return ingest(open_source(folder / "log.csv"), plan)


def test_kept_ids_come_after_the_others_with_their_rows(files):
    plain, kept = read(files), read(files, keep_new_items=True, keep_new_users=True)
    before, after = plain.dataset, kept.dataset
    assert list(after.items.ids) == [*before.items.ids, "zzz", "aaa"] and list(after.users.ids) == [*before.users.ids, "never"]
    assert np.array_equal(before.item, after.item) and np.array_equal(before.user, after.user)
    assert after.item_table["title"].tolist()[-2:] == ["Later", "Unseen"] and after.user_table["city"].tolist()[-1] == "x"
    assert after.item_table.iloc[: before.n_items].equals(before.item_table) and after.item_counts[-2:].tolist() == [0, 0]
    join = kept.report.item_join
    assert (join.rows_kept_as_new, join.rows_matching_nothing, join.rows_joined, join.ids) == (2, 0, 13, 13)
    assert (plain.report.item_join.rows_kept_as_new, plain.report.item_join.rows_matching_nothing) == (0, 2)
    assert "2 items that nobody has chosen yet were kept from 'items.csv', as asked for." in kept.report.warnings
    assert "1 user without any interaction was kept from 'users.csv', as asked for." in kept.report.warnings


def test_what_the_fewest_interactions_removed_is_not_new(files):
    kept = read(files, keep_new_items=True, min_item=2)
    assert "rare" not in set(kept.dataset.items.ids) and {"zzz", "aaa"} <= set(kept.dataset.items.ids)


def test_runs_and_saved_datasets_stand_items_without_interactions(files, tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    entry = workspace.add_dataset(read(files, keep_new_items=True, keep_new_users=True), "kept")
    assert entry.load().fingerprint == entry.id != workspace.add_dataset(read(files), "plain").id
    assert entry.quality()
    for split in ("random", "cold_items"):
        run = train_in_workspace(
            workspace, TrainSpec(dataset=entry.id, model="item_knn", split=split, ks=(3,), split_params={}), RunContext(threads=1)
        )
        assert run.metrics["ndcg@3"]["mean"] >= 0
    new = entry.load().items.encode(["zzz", "aaa"])
    candidates = run.holdout().candidates
    assert not set(new) & set(candidates.tolist())  # nobody could be judged on them
    model = registry.get("model", "content_knn")().fit(entry.load())
    assert set(model.recommend(np.array([0]), 2, candidates=new).items[0]) == set(new)


def test_the_command_line_keeps_them_when_asked(files, capsys):
    command = ["--workspace", str(files / "w"), "ingest", str(files / "log.csv"), "--name", "n", "--keep-new-items"]
    assert main(command) == 2 and "--keep-new-items" in capsys.readouterr().err
    assert main([*command, "--items", str(files / "items.csv")]) == 0
    assert "2 items that nobody has chosen yet were kept" in "".join(capsys.readouterr())
