"""Starting from a model of another dataset: what columns mean is taken over, ids are not, and nobody to be judged was seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.features import FeatureSet, Guess
from recsys_core.data.ids import IdMap
from recsys_core.errors import ParamError, Unsupported
from recsys_core.evaluation.cold_start import make_tasks, measure
from recsys_core.models._io import load_model, save_model

GENRES = ("crime", "war", "love", "space", "garden", "ships")
SMALL = {"epochs": 12, "patience": 0, "factors": 16, "hidden": 16, "user_dropout": 0.0}


def shop(name: str, n_users: int, n_items: int, seed: int, **columns: str) -> Dataset:
    """Everybody likes two of six genres; the same law in every shop, other users and other items."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(len(GENRES), size=n_items)
    likes = np.array([rng.choice(len(GENRES), 2, replace=False) for _ in range(n_users)])
    odds = np.where((genre[None, :, None] == likes[:, None, :]).any(2), 8.0, 0.4)
    chosen = np.array([rng.choice(n_items, 20, replace=False, p=row / row.sum()) for row in odds])
    table = pd.DataFrame({columns.get("genre", "genre"): np.array(GENRES)[genre], "shelf": rng.integers(3, size=n_items).astype(str)})
    ids = IdMap([f"u{n}" for n in range(n_users)]), IdMap([f"{name}{n}" for n in range(n_items)])
    user, item = np.repeat(np.arange(n_users), 20), chosen.ravel()
    data = Dataset(*ids, user.astype(np.int32), item.astype(np.int32), np.ones(len(user), np.float32), name=name)
    return replace(data, item_table=table)


@pytest.fixture(scope="module")
def there() -> object:
    """A model of the first shop."""
    return registry.get("model", "fomaml")(**SMALL).fit(shop("books", 200, 120, 0), RunContext(threads=1))


def ctx_with(model: object) -> RunContext:
    return RunContext(threads=1, load_run=lambda run, which="final": model)


def cut(data: Dataset, n_train: int) -> tuple[Dataset, object]:
    split = next(iter(registry.get("splitter", "cold_users")(n_users=40).splits(data, RunContext(seed=1))))
    few = np.flatnonzero(split.train.user_counts)[:n_train]
    return split.train.subset(np.isin(split.train.user, few)), make_tasks(split.test, (0, 1, 3, 5), seed=0)


def after(model: object, tasks: object) -> np.ndarray:
    return measure(model, tasks, 10, timed=False).figures[:, 0].mean(1)


def test_with_few_users_it_pays_and_as_it_is_it_beats_popularity(there: object) -> None:
    train, tasks = cut(shop("films", 120, 100, 7), 12)
    taken = registry.get("model", "fomaml")(start_from="run:there", **SMALL)
    as_it_is = registry.get("model", "fomaml")(start_from="run:there", as_it_is=True)
    taken.fit(train, ctx_with(there))
    as_it_is.fit(train, ctx_with(there))
    scratch = after(registry.get("model", "fomaml")(**SMALL).fit(train, RunContext(threads=1)), tasks)
    popular = after(registry.get("model", "popular")().fit(train), tasks)
    assert after(as_it_is, tasks)[2] > popular[2] + 0.1
    assert after(taken, tasks)[2] > scratch[2] + 0.03
    assert any("starts from" in note for note in taken.notes) and any("genre" in note for note in taken.notes)
    assert not as_it_is.wants_validation() and taken.wants_validation()


def test_ids_stay_behind_and_content_comes_along(there: object) -> None:
    train, _ = cut(shop("films", 60, 50, 3), 10)
    made = registry.get("model", "maml")(start_from="run:there", as_it_is=True).fit(train, ctx_with(there))
    assert not made.network.vector_id.weight.any() and len(made.network.vector_id.weight) == 50
    np.testing.assert_array_equal(made.network.core.inside.weight.detach(), there.network.core.inside.weight.detach())
    assert made.resolved.factors == 16 and made.resolved.hidden == 16  # the sizes of the model it starts from
    same = [n for n, genre in enumerate(train.item_table["genre"]) if genre == train.item_table["genre"][0]]
    shelf = [n for n in same if train.item_table["shelf"][n] == train.item_table["shelf"][0]]
    np.testing.assert_allclose(made.item_vectors[shelf], np.tile(made.item_vectors[0], (len(shelf), 1)), atol=1e-6)


def test_it_is_saved_and_needs_the_other_model_no_more(there: object, tmp_path: Path) -> None:
    train, tasks = cut(shop("films", 60, 50, 3), 10)
    made = registry.get("model", "fomaml")(start_from="run:there", **SMALL | {"epochs": 1}).fit(train, ctx_with(there))
    save_model(made, tmp_path)
    np.testing.assert_allclose(after(load_model(tmp_path), tasks), after(made, tasks))


def test_what_cannot_be_started_from_is_said(there: object) -> None:
    train, _ = cut(shop("films", 60, 50, 3, genre="Kind"), 10)
    renamed = replace(train, item_table=train.item_table.drop(columns="shelf"))
    start = registry.get("model", "fomaml")(start_from="run:there", **SMALL)
    with pytest.raises(Unsupported, match="share no column.*genre, shelf"):
        start.fit(renamed, ctx_with(there))
    with pytest.raises(ParamError, match="must be a model that adapts"):
        start.fit(train, ctx_with(registry.get("model", "ease")().fit(train)))
    with pytest.raises(Unsupported, match="no workspace"):
        start.fit(train, RunContext(threads=1))


def test_what_was_learnt_must_be_the_same(there: object) -> None:
    train, _ = cut(shop("films", 60, 50, 3), 10)
    rated = replace(train, value=np.random.default_rng(0).integers(1, 6, len(train)).astype(np.float32), feedback="explicit")
    with pytest.raises(ParamError, match="loss was softmax there and is mse here"):
        registry.get("model", "fomaml")(start_from="run:there", loss="mse", **SMALL).fit(rated, ctx_with(there))


def sizes_of(model: object) -> dict[str, float]:
    """The size of a step of each part that adapts."""
    network = model.network
    sizes = (model.resolved.inner_rate * network.log_rate.detach().exp()).expand(len(network.adapted))
    return dict(zip(network.adapted, sizes.tolist(), strict=True))


def test_as_it_is_adapts_as_it_did_there() -> None:
    """Whatever the settings are here: the same steps, of the same sizes."""
    shop_there, (train, _) = shop("books", 60, 50, 0), cut(shop("films", 60, 50, 3), 10)
    short = SMALL | {"epochs": 2}
    source = registry.get("model", "maml")(inner_rate=0.7, inner_steps=3, step_sizes="each", **short).fit(shop_there, RunContext(threads=1))
    theirs = sizes_of(source)
    assert len(set(theirs.values())) > 1
    start = {"start_from": "run:there", "as_it_is": True}
    alike = registry.get("model", "maml")(step_sizes="each", **start).fit(train, ctx_with(source))
    assert alike.resolved.inner_steps == 3
    assert sizes_of(alike) == pytest.approx(theirs, rel=1e-5)
    few = sizes_of(registry.get("model", "anil")(step_sizes="each", **start).fit(train, ctx_with(source)))  # other parts adapt: by name
    assert few == pytest.approx({name: theirs[name] for name in few}, rel=1e-5) and len(few) < len(theirs)
    common = sizes_of(registry.get("model", "fomaml")(**start).fit(train, ctx_with(source)))
    assert list(common.values()) == pytest.approx([np.exp(np.log(list(theirs.values())).mean())] * len(common), rel=1e-4)


def test_columns_count_where_both_read_them_alike(there: object) -> None:
    train, _ = cut(shop("films", 60, 50, 3), 10)
    as_it_is = registry.get("model", "fomaml")(start_from="run:there", as_it_is=True)
    left_out = FeatureSet(columns={"item": {"genre": Guess(None, "It tells the future.")}})
    made = as_it_is.fit(replace(train, features=left_out), ctx_with(there))
    genres = made.inputs.items.span(0)
    assert len(np.unique(made.inputs.items.matrix[:, genres].toarray(), axis=0)) == 1  # it says the same of every item: nothing
    assert any("'genre' is not taken over: It is left out" in note for note in made.notes)
    table = train.item_table.assign(shelf=np.random.default_rng(0).random(train.n_items))
    made = as_it_is.fit(replace(train, item_table=table), ctx_with(there))
    assert any("'shelf' is not taken over: It is read as number here and as categor" in note for note in made.notes), made.notes


def test_columns_that_are_one_vector_are_taken_over_together() -> None:
    def with_vectors(data: Dataset, names: int = 8) -> Dataset:
        vectors = np.random.default_rng(len(data)).normal(size=(data.n_items, names))
        return replace(data, item_table=data.item_table.assign(**{f"emb_{n}": vectors[:, n] for n in range(names)}))

    source = registry.get("model", "fomaml")(**SMALL | {"epochs": 1}).fit(with_vectors(shop("books", 60, 50, 0)), RunContext(threads=1))
    name = next(name for name, kind in source.inputs.side.encoders["item"].fields if kind == "vector")
    train, _ = cut(shop("films", 60, 50, 3), 10)
    as_it_is = registry.get("model", "fomaml")(start_from="run:there", as_it_is=True)
    whole = as_it_is.fit(with_vectors(train), ctx_with(source))
    assert any(name in note and "Columns taken over (item): " in note and "Missing" not in note for note in whole.notes)
    part = as_it_is.fit(with_vectors(train, 5), ctx_with(source))  # five of the eight are no such vector
    assert any(f"Missing here: {name}." in note for note in part.notes)


def test_another_cut_of_the_same_dataset_is_refused() -> None:
    from types import SimpleNamespace

    from recsys_core.jobs.spec import TrainSpec
    from recsys_core.jobs.starts import checked_start

    spec = TrainSpec.make(dataset="d1", split="cold_users", model="fomaml", params={"start_from": "run:There"})
    run = SimpleNamespace(id="r7", name="There", dataset_id="d1", dataset=None, manifest={}, split_id="other")
    workspace = SimpleNamespace(run=lambda name: run)
    with pytest.raises(Unsupported, match="another cut of the same dataset"):
        checked_start(workspace, spec)
    run.split_id = spec.split_id
    assert checked_start(workspace, spec).params["start_from"] == "run:r7"
    run.split_id, run.dataset_id = "other", "d2"
    assert checked_start(workspace, spec).params["start_from"] == "run:r7"
