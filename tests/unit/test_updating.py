"""Taking in what came since: the same as fitting again where that can be said exactly, and never a change to the model it came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported

MODELS = ["ease", "item_knn", "als", "popular", "user_knn", "seq_item_knn", "rp3beta", "bpr", "pure_svd", "mult_vae"]
SMALL = {
    "mult_vae": {"epochs": 2},
    "anil": {"epochs": 1, "factors": 8},
    "bpr": {"iterations": 5, "factors": 8},
    "als": {"factors": 8, "iterations": 5},
    "pure_svd": {"factors": 8},
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    user = rng.integers(0, 60, 1500)
    item = (rng.integers(0, 12, 1500) * 3 + user % 3) % 40
    frame = pd.DataFrame({"user": [f"u{u:02}" for u in user], "item": [f"i{i:02}" for i in item], "value": rng.integers(1, 6, 1500)})
    return frame.drop_duplicates(["user", "item"]).reset_index(drop=True).assign(time=lambda f: np.arange(len(f)))


def datasets(frame: pd.DataFrame, *, new_items: bool) -> tuple[Dataset, Dataset]:
    """The first nine tenths, and everything on longer id maps; the last users, and where asked for items, are new."""
    last_users = set(sorted(frame.user.unique())[-3:])
    last_items = set(sorted(frame.item.unique())[-2:]) if new_items else set()
    late = (np.arange(len(frame)) > 0.9 * len(frame)) | frame.user.isin(last_users) | frame.item.isin(last_items)
    first = frame[~late]
    if not new_items:
        frame = frame[frame.item.isin(first.item.unique())]
    ids = []
    for side in ("user", "item"):
        known = sorted(first[side].unique())
        ids.append((IdMap(known), IdMap([*known, *sorted(set(frame[side]) - set(known))])))
    settings = {"value": "value", "time": "time", "feedback": "explicit", "threshold": 3}
    before = from_frame(first, users=ids[0][0], items=ids[1][0], **settings)
    return before, from_frame(frame, users=ids[0][1], items=ids[1][1], **settings)


def fitted(key: str, data: Dataset):
    return registry.get("model", key)(**SMALL.get(key, {})).fit(data)


@pytest.mark.parametrize("key", MODELS)
def test_an_update_serves_everybody_and_leaves_the_model_as_it_was(key: str, frame: pd.DataFrame) -> None:
    before, after = datasets(frame, new_items=registry.get("model", key).takes_new_items)
    model = fitted(key, before)
    users = np.arange(before.n_users)
    was = model.recommend(users, 10)
    updated = model.updated(after)
    now = updated.recommend(np.arange(after.n_users), 10)
    assert np.array_equal(model.recommend(users, 10).items, was.items), "the model it came from changed"
    seen = after.matrix("seen").toarray() > 0
    shown = now.items[now.items >= 0]
    row = np.repeat(np.arange(len(now)), (now.items >= 0).sum(axis=1))
    assert not seen[row, shown].any()
    assert np.isfinite(now.scores[now.items >= 0]).all()
    assert updated.fitted is after and model.fitted is before


@pytest.mark.parametrize("share", [0, 100], ids=["inverted again", "taken in"])
@pytest.mark.parametrize("params", [{}, {"dropout": 0.3}, {"values": "linear"}])
def test_ease_is_what_fitting_again_gives(params: dict, share: float, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_core.models.cf._ease_update.PAYS_UP_TO", share)
    before, after = datasets(frame, new_items=True)
    cls = registry.get("model", "ease")
    updated = cls(regularization=20, **params).fit(before).updated(after)
    again = cls(regularization=20, **params).fit(after)
    assert np.abs(updated._weights - again._weights).max() < 1e-4 * np.abs(again._weights).max()


def test_ease_updated_block_by_block_is_the_same(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = datasets(frame, new_items=True)
    model = registry.get("model", "ease")(regularization=20, dropout=0.2).fit(before)
    monkeypatch.setattr("recsys_core.models.cf._ease_update.PAYS_UP_TO", 100)
    whole = model.updated(after)._weights
    monkeypatch.setattr("recsys_core.models.cf._ease_update.BLOCK", 7)
    assert np.allclose(model.updated(after)._weights, whole, atol=1e-5)


def test_als_items_are_half_an_iteration_on(frame: pd.DataFrame) -> None:
    """A touched item's vector solves its ridge problem for the users' vectors, written out for one item."""
    before, after = datasets(frame, new_items=True)
    model = registry.get("model", "als")(factors=6, iterations=5).fit(before)
    halfway = registry.get("model", "als")(factors=6, iterations=5).fit(before)
    halfway.train = after
    halfway._learned(halfway.user_factors, np.vstack([halfway.item_factors, np.zeros((after.n_items - before.n_items, 6), np.float32)]))
    changed = np.flatnonzero(np.bincount(after.user, minlength=after.n_users) - np.pad(
        np.bincount(before.user, minlength=before.n_users), (0, after.n_users - before.n_users)))  # fmt: skip
    halfway._take_in_users(changed)
    users, item = halfway.user_factors.astype(float), after.n_items - 1
    column = after.matrix("count").toarray()[:, item]
    confidence = np.where(column > 0, 1 + model._extra_confidence(column), 1.0)
    left = users.T @ (users * confidence[:, None]) + model.resolved.regularization * np.eye(6)
    expected = np.linalg.solve(left, users.T @ (confidence * (column > 0)))
    assert np.allclose(model.updated(after).item_factors[item], expected, atol=1e-4)


def test_neighbours_of_what_moved_are_counted_again(frame: pd.DataFrame) -> None:
    before, after = datasets(frame, new_items=True)
    cls = registry.get("model", "item_knn")
    updated, again = cls(shrinkage=0.0, weighting="none").fit(before).updated(after), cls(shrinkage=0.0, weighting="none").fit(after)
    late = np.flatnonzero(np.bincount(after.user, minlength=after.n_users)[: before.n_users] > np.bincount(before.user))
    touched = np.unique(after.matrix("binary")[late].indices)
    assert len(touched) > 5
    assert np.allclose(updated._weights[:, touched].toarray(), again._weights[:, touched].toarray(), atol=1e-5)


def test_a_fusion_takes_in_what_its_parts_do(frame: pd.DataFrame) -> None:
    before, after = datasets(frame, new_items=True)
    fused = registry.get("model", "average")(models=["ease", "item_knn"]).fit(before).updated(after)
    again = registry.get("model", "average")(models=["ease", "item_knn"]).fit(after)
    users = np.arange(after.n_users)
    now, then = fused.recommend(users, 5).items, again.recommend(users, 5).items
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(now, then, strict=True)]) > 0.9
    with pytest.raises(Unsupported, match="no place for 2 items"):
        registry.get("model", "average")(models=["ease", "pure_svd"]).fit(before).updated(after)


def test_a_model_that_adapts_adapts_to_what_came_since_and_newcomers_have_no_columns(frame: pd.DataFrame) -> None:
    before, after = datasets(frame, new_items=False)
    table = pd.DataFrame({"age": np.arange(before.n_users) % 5, "city": np.array(["a", "b"])[np.arange(before.n_users) % 2]})
    model = fitted("anil", replace(before, user_table=table))
    longer = table.reindex(range(after.n_users))
    updated = model.updated(replace(after, user_table=longer))
    changed = np.flatnonzero(after.user_counts[: before.n_users] > before.user_counts)
    newcomers = np.arange(before.n_users, after.n_users)
    assert len(changed) and len(newcomers)
    expected = model.scores_after(after.histories(changed), changed)
    np.testing.assert_allclose(updated.scores(changed), expected, rtol=1e-5)
    assert np.abs(updated.scores(changed) - model.scores(changed)).max() > 1e-3
    np.testing.assert_allclose(updated.scores(newcomers), model.scores_after(after.histories(newcomers)), rtol=1e-5)


def test_what_cannot_be_updated_says_so(frame: pd.DataFrame) -> None:
    before, after = datasets(frame, new_items=True)
    with pytest.raises(Unsupported, match="no place for 2 items"):
        fitted("mult_vae", before).updated(after)
    with pytest.raises(Unsupported, match="Train it again"):
        registry.get("model", "lightgcn")(epochs=1).fit(before).updated(after)
    with pytest.raises(Unsupported, match="must begin with"):
        fitted("popular", after).updated(before)
