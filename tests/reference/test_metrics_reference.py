"""Metric values against scikit-learn and against slow loops written from the definitions."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK, top_k
from recsys_core.metrics import Catalog, evaluate
from recsys_core.splitting.own_test import own_test

metrics = pytest.importorskip("sklearn.metrics", reason="Needs scikit-learn: pip install -r requirements.txt.")
N_USERS, N_ITEMS, K = 60, 80, 10


@pytest.fixture(scope="module", params=[0, 1, 2])
def case(request):
    """(scores with -inf for seen, seen, relevant, lists, holdout, train): skewed popularity, some lists short."""
    rng = np.random.default_rng(request.param)
    taste = rng.random((N_USERS, N_ITEMS)) * (1.2 / np.arange(1, N_ITEMS + 1) ** 0.4)
    seen = taste > 0.15
    relevant = ~seen & (rng.random((N_USERS, N_ITEMS)) < 0.06 + 0.2 * (taste > 0.1))
    relevant[np.arange(N_USERS), np.argmin(seen, axis=1)] |= ~relevant.any(axis=1)
    scores = (taste + rng.random((N_USERS, N_ITEMS))).astype(np.float32)
    scores[seen] = -np.inf
    scores[:6, :72] = -np.inf  # at most eight items to give: short lists
    genres = ["|".join(dict.fromkeys(rng.choice(list("ABCDE"), rng.integers(1, 4)))) for _ in range(N_ITEMS)]
    train, truth = (as_dataset(side, pd.DataFrame({"genres": genres})) for side in (seen, relevant))
    top = TopK(np.arange(N_USERS, dtype=np.int32), *top_k(scores, K))
    return scores, seen, relevant, top, Holdout(truth), train


def as_dataset(present: np.ndarray, item_table: pd.DataFrame | None = None) -> Dataset:
    ids = IdMap(range(N_USERS)), IdMap(range(N_ITEMS))
    return Dataset(*ids, *np.nonzero(present), np.ones(present.sum(), np.float32), item_table=item_table)


def measured(case, key: str, k: int = K) -> np.ndarray:
    *_, top, holdout, train = case
    return evaluate(top, holdout, Catalog(train), [k], metrics=[key]).per_user[f"{key}@{k}"].to_numpy()


def measured_overall(case, key: str, k: int = K) -> float:
    *_, top, holdout, train = case
    return evaluate(top, holdout, Catalog(train), [k], metrics=[key]).overall[f"{key}@{k}"]


def full_lists(case) -> tuple:
    """The same case with every unseen item ranked and no ties, which scikit-learn would treat another way."""
    scores, seen, relevant, _, holdout, train = case
    whole = np.where(seen, -np.inf, np.where(np.isfinite(scores), scores, -1 - np.arange(N_ITEMS) / 100)).astype(np.float32)
    return whole, seen, relevant, TopK(np.arange(N_USERS, dtype=np.int32), *top_k(whole, N_ITEMS)), holdout, train


def as_scores(items: np.ndarray) -> np.ndarray:
    """(I,) scores that rank a list: k for the first, 1 for the last, 0 for what is not in it."""
    out = np.zeros(N_ITEMS)
    for place, item in enumerate(items):
        if item >= 0:
            out[item] = len(items) - place
    return out


# ---- scikit-learn --------------------------------------------------------------------------------
def test_ndcg_against_scikit_learn(case):
    _, _, relevant, top, *_ = full_lists(case)
    for k in (1, 5, K):
        ours = measured(full_lists(case), "ndcg", k)
        theirs = [metrics.ndcg_score([relevant[u]], [as_scores(top.items[u])], k=k) for u in range(N_USERS)]
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_map_against_scikit_learn_on_full_rankings(case):
    whole, seen, relevant, *_ = full = full_lists(case)
    theirs = [metrics.average_precision_score(relevant[u][~seen[u]], whole[u][~seen[u]]) for u in range(N_USERS)]
    assert measured(full, "map", N_ITEMS) == pytest.approx(theirs, abs=1e-6)


def test_auc_against_scikit_learn_on_full_rankings_and_cut_ones(case):
    whole, seen, relevant, *_ = full = full_lists(case)
    theirs = [metrics.roc_auc_score(relevant[u][~seen[u]], whole[u][~seen[u]]) for u in range(N_USERS)]
    assert measured(full, "auc", N_ITEMS) == pytest.approx(theirs, abs=1e-9)
    items = case[3].items
    for k in (3, K):
        theirs = [metrics.roc_auc_score(relevant[u][~seen[u]], as_scores(items[u, :k])[~seen[u]]) for u in range(N_USERS)]
        assert measured(case, "auc", k) == pytest.approx(theirs, abs=1e-9)


def test_mrr_of_one_relevant_item_is_scikit_learns_ranking_precision(case):
    whole, _, relevant, top, _, train = full_lists(case)
    one = np.zeros_like(relevant)
    one[np.arange(N_USERS), relevant.argmax(axis=1)] = True
    ours = measured((whole, None, one, top, Holdout(as_dataset(one)), train), "mrr", N_ITEMS)
    finite = np.where(np.isfinite(whole), whole, -2.0)
    theirs = [metrics.label_ranking_average_precision_score([one[u]], [finite[u]]) for u in range(N_USERS)]
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_precision_recall_f1_against_scikit_learn(case):
    _, _, relevant, top, *_ = case
    full_rows = (top.items >= 0).all(axis=1)
    assert full_rows.sum() > 40
    chosen = np.array([as_scores(row) > 0 for row in top.items])
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(relevant.T, chosen.T, average=None, zero_division=0)
    assert measured(case, "recall") == pytest.approx(recall)
    assert measured(case, "precision")[full_rows] == pytest.approx(precision[full_rows])
    assert measured(case, "f1")[full_rows] == pytest.approx(f1[full_rows])


def test_rating_errors_against_scikit_learn(case):
    *_, top, holdout, train = case
    rng = np.random.default_rng(3)
    predicted = rng.random(len(holdout.truth)) * 4 + 1
    figures = evaluate(top, holdout, Catalog(train), [1], ratings=predicted, metrics=["rmse", "mae"]).overall
    assert figures["rmse"] == pytest.approx(metrics.root_mean_squared_error(holdout.truth.value, predicted))
    assert figures["mae"] == pytest.approx(metrics.mean_absolute_error(holdout.truth.value, predicted))


# ---- slow loops ----------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [1, 4, K])
def test_accuracy_against_loops(case, k):
    _, _, relevant, top, *_ = case
    for u in range(N_USERS):
        truth, found = set(np.flatnonzero(relevant[u]).tolist()), top.items[u, :k].tolist()
        places = [p for p, item in enumerate(found, start=1) if item in truth]
        ideal = sum(1 / math.log2(p + 1) for p in range(1, min(len(truth), k) + 1))
        expected = {
            "precision": len(places) / k,
            "recall": len(places) / len(truth),
            "f1": 2 * len(places) / (k + len(truth)),
            "hit_rate": float(bool(places)),
            "ndcg": sum(1 / math.log2(p + 1) for p in places) / ideal,
            "map": sum((n + 1) / p for n, p in enumerate(places)) / min(len(truth), k),
            "mrr": 1 / places[0] if places else 0.0,
        }
        if u == 0:
            got = {key: measured(case, key, k) for key in expected}
        for key, value in expected.items():
            assert got[key][u] == pytest.approx(value), (key, u)


@pytest.mark.parametrize("k", [2, K])
def test_set_metrics_against_loops(case, k):
    *_, top, _, _ = case
    sets = [{i for i in row.tolist() if i >= 0} for row in top.items[:, :k]]
    counts = np.array([sum(item in s for s in sets) for item in range(N_ITEMS)])
    differences = sum(abs(int(a) - int(b)) for a in counts for b in counts)
    shares = [c / counts.sum() for c in counts if c]
    assert measured_overall(case, "coverage", k) == pytest.approx(len(set().union(*sets)) / N_ITEMS)
    assert measured_overall(case, "gini", k) == pytest.approx(differences / (2 * N_ITEMS * counts.sum()))
    assert measured_overall(case, "entropy", k) == pytest.approx(-sum(p * math.log2(p) for p in shares))
    overlaps = [len(a & b) / k for a, b in combinations(sets, 2)]
    assert measured_overall(case, "personalisation", k) == pytest.approx(1 - np.mean(overlaps))


@pytest.mark.parametrize("k", [2, K])
def test_list_metrics_beyond_accuracy_against_loops(case, k):
    _, seen, relevant, top, _, train = case
    popularity = seen.sum(axis=0)
    order = sorted(range(N_ITEMS), key=lambda i: (-popularity[i], i))
    running, head = 0, set()
    for item in order:
        if running >= 0.8 * popularity.sum():
            break
        head.add(item)
        running += popularity[item]
    genres = [set(text.split("|")) for text in train.item_table["genres"]]
    got = {key: measured(case, key, k) for key in ("novelty", "popularity", "long_tail_share", "intra_list_diversity", "serendipity")}
    for u in range(N_USERS):
        found = [i for i in top.items[u, :k].tolist() if i >= 0]
        distances = [1 - len(genres[a] & genres[b]) / math.sqrt(len(genres[a]) * len(genres[b])) for a, b in combinations(found, 2)]
        expected = [i for i in order if not seen[u, i]][:k]
        assert got["novelty"][u] == pytest.approx(np.mean([-math.log2(max(popularity[i], 1) / N_USERS) for i in found]))
        assert got["popularity"][u] == pytest.approx(np.mean([popularity[i] for i in found]))
        assert got["long_tail_share"][u] == pytest.approx(np.mean([i not in head for i in found]))
        assert got["intra_list_diversity"][u] == pytest.approx(np.mean(distances), abs=1e-5)
        assert got["serendipity"][u] == pytest.approx(sum(relevant[u, i] and i not in expected for i in found) / k)


def test_co_occurrence_diversity_is_the_exact_cosine_when_the_embedding_is_wide_enough(case):
    _, seen, _, top, holdout, train = case
    plain = Dataset(train.users, train.items, train.user, train.item, train.value)
    ours = evaluate(top, holdout, Catalog(plain), [K], metrics=["intra_list_diversity"]).per_user[f"intra_list_diversity@{K}"]
    columns = seen.astype(float)
    lengths = np.linalg.norm(columns, axis=0)
    for u in range(6, N_USERS):
        found = [i for i in top.items[u] if i >= 0 and lengths[i] > 0]
        distances = [1 - columns[:, a] @ columns[:, b] / (lengths[a] * lengths[b]) for a, b in combinations(found, 2)]
        assert ours.iloc[u] == pytest.approx(np.mean(distances), abs=1e-4)


# ---- figures others reached ----------------------------------------------------------------------
def test_popularity_on_the_fixed_pair_reaches_the_published_figures(real_data):
    """Recall@20 .1676 and NDCG@20 .2090 by another library's evaluator; equal counts may be ordered differently."""
    folder = real_data("ml-100k")
    train, test = (pd.read_csv(folder / f"{name}.csv.gz").iloc[:, :2].set_axis(["user", "item"], axis=1) for name in ("train", "test"))
    split = own_test(from_frame(train), test)
    users = split.test.users
    scores = np.tile(split.train.item_counts.astype(np.float32), (len(users), 1))
    scores[split.train.matrix("seen")[users].nonzero()] = -np.inf
    figures = evaluate(TopK(users, *top_k(scores, 20)), split.test, Catalog(split.train), [20]).means()
    assert figures["recall@20"] == pytest.approx(0.1676, abs=3e-4) and figures["ndcg@20"] == pytest.approx(0.2090, abs=3e-4)
    assert figures["serendipity@20"] == 0 and figures["long_tail_share@20"] == 0
