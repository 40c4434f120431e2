"""Runs on new items and users: figures of every kind apart, holdouts read back, ties by chance, fusions learn among the candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.data.topk import TopK
from recsys_core.errors import BadInput, NotFound
from recsys_core.evaluation.protocol import card_facts
from recsys_core.evaluation.robustness import damage
from recsys_core.fusion._ranks import ndcg_rows
from recsys_core.fusion._weights import collect
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.candidates import ensure_candidates
from recsys_core.jobs.figures import Part, new_item_notes
from recsys_core.jobs.training import train_in_workspace
from recsys_core.metrics import Catalog, evaluate
from recsys_core.metrics._lists import discounts
from recsys_core.models._masking import fair_order, top_k_fair
from recsys_core.store import Workspace
from recsys_core.store.export import ExportRequest, preview

ONE = RunContext(threads=1)


def planted(n_users: int = 90, n_items: int = 60) -> Dataset:
    """Users like items of one kind of four; the item table tells the kind. Codes are sorted ids, and low codes are popular."""
    rng = np.random.default_rng(0)
    kind = np.arange(n_items) % 4
    chance = np.where(np.arange(n_users)[:, None] % 4 == kind, 0.7, 0.05) * np.linspace(1.4, 0.5, n_items)
    user, item = np.nonzero(rng.random((n_users, n_items)) < chance)
    data = from_frame(pd.DataFrame({"user": [f"u{u:03}" for u in user], "item": [f"i{i:03}" for i in item]}))
    return replace(data, item_table=pd.DataFrame({"kind": [f"kind {int(i[1:]) % 4}" for i in data.items.ids]}))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("parts"))
    made.add_dataset(planted(), "planted")
    return made


def run_of(workspace: Workspace, model: str, split: str, **split_params):
    spec = TrainSpec(dataset="planted", model=model, split=split, split_params=split_params, ks=(5, 10), keep_top=12)
    return train_in_workspace(workspace, spec, ONE)


@pytest.mark.parametrize("split", ["cold_items", "cold_both"])
def test_every_part_has_the_figures_one_would_work_out_from_its_holdout(workspace, split):
    run = run_of(workspace, "content_knn", split)
    model, train = run.model(), run.training()
    headline = {"cold_items": "new_items", "cold_both": "new_both"}[split]
    assert set(run.parts) == {"cold_items": {"warm", "new_items"}, "cold_both": {"warm", "new_items", "new_users", "new_both"}}[split]
    for key, part in run.parts.items():
        holdout = run.holdout(key)
        again = evaluate(model.recommend_holdout(holdout, 10), holdout, Catalog.from_dataset(train), [5, 10], metrics=["ndcg", "recall"])
        assert part["n_users"] == len(holdout.users) == len(run.per_user(key)) and part["n_interactions"] == len(holdout.truth)
        for name, mean in again.means().items():
            assert part["metrics"][name]["mean"] == pytest.approx(mean, abs=1e-6)
            assert run.per_user(key)[name].mean() == pytest.approx(mean, abs=1e-6)
        assert f"Only {len(holdout.candidates)} {'known' if key in ('warm', 'new_users') else 'new'} items" in part["candidates"]
    assert run.metrics["ndcg@10"] == run.parts[headline]["metrics"]["ndcg@10"]
    test = run.holdout()
    assert np.array_equal(test.candidates, run.holdout(headline).candidates) and test.cold == (split == "cold_both")
    top = run.topk()
    assert set(np.unique(top.items[top.items >= 0])) <= set(test.candidates.tolist())
    deep = ensure_candidates(workspace, run, 40, ONE)
    assert set(np.unique(deep.items[deep.items >= 0])) <= set(test.candidates.tolist())
    assert "new items of the catalogue's 60" in card_facts(run.card())["Candidates"] and "by chance" in run.card()["ties"]
    assert any("over the items lists are made of" in note for note in run.card()["notes"])
    shown = len(np.unique(top.items[:, :10][top.items[:, :10] >= 0]))
    assert run.overall["coverage@10"] == pytest.approx(shown / len(test.candidates))
    with pytest.raises(NotFound, match="has no part 'nothing'"):
        run.holdout("nothing")


def test_all_items_compete_where_asked(workspace):
    run = run_of(workspace, "item_knn", "cold_items", candidates="all")
    assert run.holdout().candidates is None and "full catalogue of 60 items" in run.parts["new_items"]["candidates"]
    assert run.metrics["ndcg@10"]["mean"] == 0, "a recommender of ids never shows a new item among known ones"


def test_who_knows_nothing_of_new_items_is_as_good_as_chance_and_says_so(workspace):
    run, informed = run_of(workspace, "item_knn", "cold_items"), run_of(workspace, "content_knn", "cold_items")
    assert any("knows nothing of the new items" in note for note in run.notes) and not any("knows nothing" in n for n in informed.notes)
    holdout = run.holdout()
    chance = [holdout.relevant[:, holdout.candidates].mean()]
    precision = run.parts["new_items"]["metrics"]["precision@5"]
    assert precision["low"] - 0.03 <= chance[0] <= precision["high"] + 0.03
    assert informed.metrics["ndcg@10"]["mean"] > 1.5 * run.metrics["ndcg@10"]["mean"]


def test_other_splits_have_no_parts_and_new_users_are_the_test_itself(workspace):
    assert run_of(workspace, "popular", "random").parts == {}
    run = run_of(workspace, "popular", "cold_users")
    assert run.parts["new_users"]["metrics"] == run.metrics and not (run.path / "parts.npz").exists()
    assert run.holdout("new_users").cold and run.per_user("new_users").equals(run.per_user())


# ---- ties ----------------------------------------------------------------------------------------
def test_ties_go_by_chance_best_scores_first_whoever_is_asked_for_beside():
    rng = np.random.default_rng(1)
    scores = np.round(rng.random((200, 50)) * 4).astype(np.float32)
    allowed = rng.random(50) < 0.6
    users = rng.permutation(1000)[:200]
    items, best = top_k_fair(scores.copy(), 12, allowed, users)
    for row in range(200):
        assert len(set(items[row].tolist())) == 12 and allowed[items[row]].all()
        assert best[row].tolist() == sorted(scores[row, allowed].tolist(), reverse=True)[:12] == scores[row, items[row]].tolist()
    alone, _ = top_k_fair(scores[7:8].copy(), 12, allowed, users[7:8])
    assert alone[0].tolist() == items[7].tolist()


def test_all_tied_places_are_shared_out_evenly():
    allowed = np.ones(30, dtype=bool)
    items, best = top_k_fair(np.zeros((3000, 30), np.float32), 3, allowed, np.arange(3000))
    shown = np.bincount(items.ravel(), minlength=30)
    assert (best == 0).all() and shown.min() > 0.8 * 300 and shown.max() < 1.2 * 300
    none, nan = top_k_fair(np.full((2, 4), -np.inf, np.float32), 3, np.array([True, True, False, False]), np.array([0, 1]))
    assert (none == -1).all() and np.isnan(nan).all()
    few, _ = top_k_fair(np.zeros((2, 4), np.float32), 3, np.array([True, False, False, False]), np.array([0, 1]))
    assert few.tolist() == [[0, -1, -1], [0, -1, -1]]


# ---- fusions -------------------------------------------------------------------------------------
def test_weights_are_learnt_among_the_candidates_only():
    """The two parts are alike good on all items; among the new ones only the reader of features is."""
    data = planted()
    split = next(iter(registry.get("splitter", "cold_items")().splits(data, RunContext(seed=1))))
    part, validation = registry.get("splitter", "cold_items")().validation(split.train, RunContext(seed=1))
    weighted = registry.get("model", "weighted")(models=["popular", "content_knn"])
    among = weighted.fit(part, ONE, validation=validation).weights
    known = np.setdiff1d(np.arange(data.n_items), validation.candidates).astype(np.int32)
    unseen = Holdout(validation.truth, candidates=known)
    assert among[1] > 0.5
    blocks = list(weighted._held_out_blocks(unseen, ONE))
    hidden = blocks[0][2].toarray() != 0
    assert hidden[:, validation.candidates].all() and not hidden.all()


@pytest.mark.parametrize("key", ["stacking", "switching", "cascade", "rank_fusion"])
def test_fusions_stand_new_items(workspace, key):
    spec = TrainSpec(dataset="planted", model=key, params={"models": ["item_knn", "content_knn"]}, split="cold_both", ks=(5,), keep_top=5)
    run = train_in_workspace(workspace, spec, ONE)
    assert set(run.parts) == {"warm", "new_items", "new_users", "new_both"} and run.metrics["ndcg@5"]["mean"] > 0


# ---- what else reads the holdout -----------------------------------------------------------------
@pytest.mark.parametrize("kind", ["noise", "attack"])
def test_damage_leaves_new_items_new(workspace, kind):
    train = run_of(workspace, "item_knn", "cold_items").training()
    new = np.bincount(train.item, minlength=train.n_items) == 0
    worse = damage(train, kind, 0.3, np.random.default_rng(0), only_known=True)
    assert new.any() and not new[worse.train.item].any() and len(worse.train) == len(train) + worse.n_added and worse.n_added > 0
    assert new[damage(train, "noise", 0.3, np.random.default_rng(0)).train.item].any(), "else the rule would not be needed"


def test_lists_of_new_items_only_can_be_exported(workspace):
    run = run_of(workspace, "content_knn", "cold_items")
    found = preview(run, ExportRequest.make(k=5, new_items_only=True, seen="training"), n_users=3)
    names = set(run.ids()[1].decode(run.holdout().candidates))
    assert set(found.frame["item"].astype(str)) <= names and len(found.frame) == 15 and any("nobody choose" in n for n in found.notes)
    assert not any("is chance" in note for note in found.notes)
    nothing = preview(run_of(workspace, "item_knn", "cold_items"), ExportRequest.make(k=1, new_items_only=True, seen="training"), n_users=9)
    assert any("knows nothing of the new items" in note for note in nothing.notes)
    assert nothing.frame["item"].nunique() > 3, "who knows nothing of them does not give everybody the first of the file"
    with pytest.raises(BadInput, match="none of the items allowed is new"):
        preview(run_of(workspace, "popular", "random"), ExportRequest.make(k=5, new_items_only=True))


def test_a_fusion_does_not_trust_a_part_for_the_order_of_the_codes():
    """Low codes are popular: a part that knows nothing of new items would look good by code, and get weight for it."""
    order = fair_order(np.arange(40) >= 10, np.arange(300))
    assert order.shape == (300, 30) and np.array_equal(np.sort(order, axis=1), np.tile(np.arange(10, 40), (300, 1)))
    wanted = sparse.csr_matrix((np.arange(40) == 10).astype(np.float32)[None, :].repeat(300, 0))  # all want the lowest code
    nothing, seen = np.zeros((300, 40), np.float32), np.tile(np.arange(40) < 10, (300, 1))
    chance = discounts(5).sum() / 30
    assert ndcg_rows(nothing, seen, wanted, 5).mean() == 1, "by code"
    assert ndcg_rows(nothing, seen, wanted, 5, order).mean() == pytest.approx(chance, abs=0.06)
    knows = np.where(wanted.toarray() > 0, 1, 0).astype(np.float32)
    found = collect([nothing, knows], sparse.csr_matrix(seen.astype(np.float32)), wanted, 5, 30, order)
    assert found.ndcg(np.array([1.0, 0.0])) == pytest.approx(chance, abs=0.06) and found.ndcg(np.array([0.0, 1.0])) == 1
    assert found.hits.sum() == 300 and (found.items[found.hits] == 10).all()


def test_a_reader_of_features_without_an_item_table_knows_nothing_of_new_items():
    """Its scores of them differ, but only by the chance they started from."""
    data = planted()
    split = next(iter(registry.get("splitter", "cold_items")().splits(data, ONE)))
    test = split.test
    scores = np.random.default_rng(0).random((len(test.users), 5)).astype(np.float32)
    top = TopK(test.users, np.tile(test.candidates[:5], (len(test.users), 1)), scores)
    model = registry.get("model", "two_tower")()
    for train, said in ((split.train, 0), (replace(split.train, item_table=None), 1)):
        parts = {"new_items": Part(test, top, evaluate(top, test, Catalog(train), [5], metrics=["ndcg"]))}
        assert len(new_item_notes(model, parts, train)) == said
