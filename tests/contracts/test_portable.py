"""Every model that can be bundled answers from its bundle as it does itself: a new model is covered without an edit here."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_core import registry
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.errors import Unsupported
from recsys_core.models._base import Need, Recommender
from recsys_core.models._portable import Packing
from recsys_core.portable.bundle import Bundle, best_of
from recsys_core.portable.history import History
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing._checks import ONE, small_params
from recsys_core.testing.datasets import described, tastes

# Whether a model learnt is not the question here.
SHORT = {"epochs": 2, "iterations": 4, "networks": 1, "hidden": 8, "blocks": 1}
SMALL = {"dim": 16, "max_len": 12}
META = {"epochs": 2, "factors": 8, "hidden": 8, "inner_steps": 2, "batch_size": 32}
PARAMS: dict[str, dict[str, Any]] = dict.fromkeys(("maml", "fomaml", "anil", "melu", "reptile", "proximal_meta", "fine_tuned"), META)
PARAMS["meta_average"] = {"models": ["fomaml", "anil"], "part_params": dict.fromkeys(("fomaml", "anil"), META)}
FUSED = ("weighted", "average", "rank_fusion", "switching", "cascade", "auto_fusion", "stacking")
PARAMS |= {key: {"models": ["ease", "item_knn"]} for key in FUSED}
PARAMS["cold_bridge"] = {"models": ["ease"]}
PARAMS["stacking"] |= {"epochs": 4, "networks": 1, "hidden": 4}

# What else a form must know of its model: (key, params, whether the data are ratings with a threshold).
VARIANTS: list[tuple[str, dict[str, Any], bool]] = [
    ("als", {"weighting": "linear"}, True),
    ("bpr", {}, True),
    ("lmf", {"weighting": "log"}, False),
    ("nmf", {"loss": "kullback_leibler"}, False),
    ("nmf", {"weighting": "linear"}, True),
    ("pure_svd", {"popularity_damping": 0.3, "weighting": "log"}, False),
    ("biased_mf", {"ranking": "rating"}, True),
    ("feature_mf", {"own": False}, True),
    ("user_knn", {"similarity": "asymmetric", "weighting": "bm25", "values": "log", "shrinkage": 2}, True),
    ("user_knn", {"weighting": "item_idf", "neighbours": 7}, False),
    ("item_knn", {"values": "linear"}, True),
    ("seq_item_knn", {}, True),
    ("content_knn", {"neighbours": 0}, True),
    ("ease", {"max_items": 15, "values": "log"}, True),
    ("random", {}, True),
]
USERS = np.array([0, 7, 20, 33])
LONG = (np.arange(400) * 7 % 29).tolist()  # longer than what any model reads, every item again and again
LISTS = [[4], [1, 5, 5, 8, 1], [3, 17, 9, 22, 11, 2], LONG, [27]]
VALUES = [[5], [3, 1, 4, 4, 5], [1, 5, 2, 4, 5, 3], (np.arange(400) % 5 + 1).tolist(), [1]]
PLAIN = [[1] * len(row) for row in LISTS]


@dataclass(frozen=True, eq=False)
class Pair:
    model: Recommender
    bundle: Bundle

    @property
    def data(self) -> Dataset:
        return self.model.fitted

    def histories(self) -> list[Histories]:
        """Rows of one, every kind of history there is; with times where the data has them."""
        both = [Histories.from_lists([row], [value]) for values in (PLAIN, VALUES) for row, value in zip(LISTS, values, strict=True)]
        if self.data.time is None:
            return both
        last = int(self.data.time.max())
        return [Histories(h.indptr, h.items, h.values, last - 3600 * np.arange(len(h.items), 0, -1)) for h in both]


@cache
def fitted(key: str, ratings: bool, changes: tuple[tuple[str, Any], ...]) -> Recommender:
    cls = registry.get("model", key)
    values = PARAMS.get(key) or {
        name: min(v, SHORT[name]) if name in SHORT and isinstance(v, int) else v for name, v in small_params(cls).items()
    }
    case = tastes(40, 28, ratings=ratings or Need.RATINGS in cls.needs)
    train = (described(case, 5) if Need.ITEM_TABLE in cls.needs else case).train
    return cls(**(values | dict(changes))).fit(train, ONE)


def pair(key: str, ratings: bool = False, *, with_users: bool = True, **changes: Any) -> Pair:
    """The model and its bundle, read back."""
    model = fitted(key, ratings, tuple(sorted(changes.items())))
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(model, Path(folder) / "b.zip", with_users=with_users)
        return Pair(model, Bundle.open(Path(folder) / "b.zip"))  # mapped: it outlives its file


@cache
def bundled(key: str, ratings: bool = False, changes: tuple[tuple[str, Any], ...] = ()) -> Pair:
    return pair(key, ratings, **dict(changes))


def one_row(histories: Histories) -> History:
    return History(histories.items, histories.values, histories.times)


def spread_of(scores: np.ndarray) -> float:
    there = scores[np.isfinite(scores)]
    return max(float(there.max() - there.min()), 1e-6) if len(there) else 1.0


def agree(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    """The same scores within 1e-4 of their spread, and the same ten best items up to ties."""
    assert found.shape == wanted.shape and found.dtype == np.float32, what
    there = np.isfinite(wanted)
    np.testing.assert_array_equal(np.isfinite(found), there, err_msg=what)
    near = 1e-4 * spread_of(wanted)
    np.testing.assert_allclose(found[there], wanted[there], rtol=0, atol=near, err_msg=what)
    codes, _ = best_of(found, 10)
    best, _ = best_of(wanted, 10)
    np.testing.assert_allclose(wanted[codes], wanted[best], rtol=0, atol=2 * near, err_msg=f"{what}: the list")


CAN = [key for key in registry.keys("model") if registry.get("model", key).can_bundle()]
ALL = [pytest.param(key, False, (), id=key) for key in CAN]
ALL += [
    pytest.param(
        key, ratings, tuple(sorted(values.items())), id="-".join([key, *map(str, values.values()), "ratings" * ratings]).strip("-")
    )
    for key, values, ratings in VARIANTS
    if key in CAN
]
every = pytest.mark.parametrize(("key", "ratings", "changes"), ALL)


@every
def test_training_users_get_what_the_model_gives_them(key, ratings, changes):
    both = bundled(key, ratings, changes)
    wanted = both.model.scores(USERS)
    for row, user in enumerate(USERS):
        agree(both.bundle.scores(both.bundle.history(int(user)), int(user)), wanted[row], f"user {user}")


@every
def test_histories_get_what_the_model_gives_them(key, ratings, changes):
    both = bundled(key, ratings, changes)
    for number, history in enumerate(both.histories()):
        agree(both.bundle.form.scores(one_row(history)), both.model.history_scores(history)[0], f"history {number}")
    agree(both.bundle.scores(History.of([])), both.model.history_scores(Histories.from_lists([[]]))[0], "an empty history")


@every
def test_scores_are_a_fresh_array_each_time(key, ratings, changes):
    both = bundled(key, ratings, changes)
    history = one_row(both.histories()[1])
    for user, told in ((-1, history), (7, both.bundle.history(7))):
        first = both.bundle.form.scores(told, user)
        kept = first.copy()
        first[:] = -7
        np.testing.assert_array_equal(both.bundle.form.scores(told, user), kept)


@every
def test_similar_items_are_the_models(key, ratings, changes):
    both = bundled(key, ratings, changes)
    if not both.model.card().has_similar:
        pytest.skip(f"{both.model.label} cannot find similar items.")
    for item in (0, 5, 20):
        found = both.bundle.form.similar(item)
        if found is None:
            pytest.skip(f"The form '{both.bundle.form.key}' does not tell what is similar.")
        found = np.array(found, np.float32)
        found[item] = -np.inf
        top = both.model.similar_items(np.array([item]), 10)
        wanted, codes = top.scores[0][top.items[0] >= 0], best_of(found, 10)[0]
        near = 1e-4 * max(spread_of(found), spread_of(wanted))
        np.testing.assert_allclose(found[codes], wanted, rtol=1e-4, atol=near, err_msg=f"item {item}")
        np.testing.assert_allclose(found[top.items[0][: len(wanted)]], wanted, rtol=1e-4, atol=near, err_msg=f"item {item}")


@every
def test_exact_shares_are_the_models_reasons_and_add_up(key, ratings, changes):
    both = bundled(key, ratings, changes)
    cases = [*both.histories()[:3], both.histories()[-3]]
    for number, history in enumerate(cases):
        row = one_row(history)
        scores = both.bundle.form.scores(row)
        item = int(np.argmax(scores))
        told = both.bundle.form.shares(item, row)
        if told is None:
            pytest.skip(f"The form '{both.bundle.form.key}' has no shares of its own: one item at a time is left out.")
        parts, exact = told
        assert len(parts) == len(row) and np.isfinite(parts).all(), number
        if not exact:
            continue
        if both.model.card().can_explain:
            reasons = both.model.explain(item, history=history, k=1000)
            if reasons.kind == "history":
                by_item = np.bincount(row.items, parts, minlength=both.data.n_items)
                wanted = np.zeros(both.data.n_items)
                wanted[list(reasons.refs)] = reasons.contributions
                np.testing.assert_allclose(by_item, wanted, rtol=1e-3, atol=1e-4 * max(1e-6, np.abs(wanted).max()), err_msg=str(number))
                np.testing.assert_allclose(parts.sum(), reasons.total, rtol=1e-3, atol=1e-4 * max(1e-6, np.abs(wanted).max()))


@every
def test_a_vector_and_the_item_matrix_give_the_scores(key, ratings, changes):
    both = bundled(key, ratings, changes)
    form, history = both.bundle.form, one_row(both.histories()[2])
    if form.item_matrix is None or form.vector(history) is None:
        pytest.skip(f"Scores of '{form.key}' are no plain products.")
    agree(form.item_matrix.dot(form.vector(history)), form.scores(history), "vector @ items")


@every
def test_a_bundle_without_users_holds_nothing_of_theirs_and_folds_in(key, ratings, changes):
    """What is learnt of users is told apart (`Portable.user_matrices`); a model made of nothing else says so."""
    portable = fitted(key, ratings, changes).portable()
    if portable.made_of_users:
        with pytest.raises(Unsupported, match="users"):
            pair(key, ratings, with_users=False, **dict(changes))
        return
    n_users = fitted(key, ratings, changes).fitted.n_users
    assert not [name for name, value in portable.matrices.items() if np.shape(value)[:1] == (n_users,)], "a row a user"
    if not portable.user_matrices:
        return
    both = pair(key, ratings, with_users=False, **dict(changes))
    names = list(both.bundle.archive.manifest["members"])
    assert not [name for name in names if name.startswith("users/") or name.split("/")[-1].split(".")[0] in portable.user_matrices]
    assert len(both.bundle.users) == 0 and len(both.bundle.history(7)) == 0
    history = both.data.histories(np.array([7]))
    agree(both.bundle.form.scores(one_row(history), 7), both.model.history_scores(history)[0], "a training user, folded in")


def test_every_model_can_be_bundled_or_stands_here_as_one_that_cannot():
    cannot = {key for key in registry.keys("model") if key not in CAN}
    assert cannot == WITHOUT_FORM
    for key in cannot:
        says_no(registry.get("model", key))


def test_a_model_without_a_form_says_so_in_a_sentence():
    says_no(type("Bare", (registry.get("model", "popular"),), {"_portable": Packing._portable, "label": "Bare (a test's)"}))


def says_no(cls: type[Recommender]) -> None:
    assert not cls.card().can_bundle
    with pytest.raises(Unsupported, match=re.escape(f"{cls.label} cannot be bundled")) as told:
        cls().portable()
    assert told.value.hint


WITHOUT_FORM: set[str] = set()
