"""Networks in a bundle say what the trained network says: whole, narrow, as whole numbers, with units taken out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.histories import Histories
from recsys_core.models._portable import Portable
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.history import History
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing.datasets import tastes

TINY = {"epochs": 15, "patience": 0}
CASES = {
    "mult_vae": {}, "mult_vae hidden": {"network": "hidden", "hidden": 24, "latent": 10},
    "mult_dae": {}, "mult_dae linear": {"network": "linear"}, "cfgan": {"latent": 12},
    "recvae": {}, "recvae dense": {"network": "dense", "hidden": 24, "latent": 10},
    "sasrec": {"dim": 16, "max_len": 8}, "bert4rec": {"dim": 16, "max_len": 8},
    "gru4rec": {"dim": 12, "hidden": 16, "layers": 2, "max_len": 8, "session_hours": 1.5}, "gru4rec untied": {"dim": 12, "tied": False},
    "caser": {"dim": 12, "max_len": 4}, "caser alone": {"dim": 12, "max_len": 4, "user": "none"},
    "two_tower": {"factors": 12}, "two_tower layers": {"factors": 12, "layers": 1},
}  # fmt: skip
HISTORIES = ([7], [3, 1, 50], list(range(5, 16)), list(range(99, 40, -1)), [4, 4, 9])


@cache
def _model(case: str):
    data = tastes().train
    if case == "two_tower":  # with features on both sides
        groups = [pd.DataFrame({"group": [f"group {code % 5}" for code in range(n)]}) for n in (data.n_users, data.n_items)]
        data = replace(data, user_table=groups[0], item_table=groups[1])
    return registry.get("model", case.split()[0])(**TINY, **CASES[case]).fit(data, RunContext(threads=1))


def _bundle(case: str, folder: Path, codec: str = "float32", portable: Portable | None = None) -> Bundle:
    path = folder / "bundle.zip"
    write_bundle(_model(case), path, portable=portable, codec=codec)
    return Bundle.open(path)


@pytest.mark.parametrize("case", CASES)
def test_the_form_scores_as_the_model_does(case: str, tmp_path: Path) -> None:
    model, bundle = _model(case), _bundle(case, tmp_path)
    wanted = model._history_scores(Histories.from_lists(HISTORIES))
    for items, row in zip(HISTORIES, wanted, strict=True):
        found = bundle.scores(History.of(items))
        assert np.abs(found - row).max() <= 1e-4 * row.std(), f"{len(items)} items"
        vector = bundle.form.vector(History.of(items))
        if vector is not None:
            assert np.abs(bundle.form.item_matrix.dot(vector) - row).max() <= 1e-4 * row.std()
    users = np.array([0, 5, 70])
    for user, row in zip(users, model._scores(users), strict=True):
        found = bundle.scores(bundle.history(int(user)), int(user))
        assert np.abs(found - row).max() <= 1e-4 * row.std(), f"training user {user}"
    np.testing.assert_allclose(bundle.form.similar(8), model._similar(np.array([8]))[0], atol=1e-5)
    assert (bundle.scores(History.of([])) == bundle.popularity).all(), "nothing known: what is popular"


@pytest.mark.parametrize("case", CASES)
def test_int8_and_pruned_variants_are_smaller_and_stay_close(case: str, tmp_path: Path) -> None:
    model = _model(case)
    whole = _bundle(case, tmp_path)
    n_bytes = _size(whole)
    wanted = [whole.scores(History.of(items)) for items in HISTORIES]
    small = _bundle(case, tmp_path, "int8")
    assert _size(small) < n_bytes  # a quarter of it on real data; here it is mostly what is written around the arrays
    prune = model.portable().prune
    if prune is None:
        pytest.skip("nothing to take out of this model")
    pruned = _bundle(case, tmp_path, portable=prune(0.3))
    assert _size(pruned) < n_bytes
    for name, bundle, least in (("int8", small, 0.97), ("pruned 30 %", pruned, 0.8)):
        likeness = [float(np.corrcoef(row, bundle.scores(History.of(items)))[0, 1]) for items, row in zip(HISTORIES, wanted, strict=True)]
        print(f"{case} {name}: correlation with the whole network {np.mean(likeness):.4f}, {_size(bundle) / n_bytes:.0%} of the bytes")
        assert min(likeness) > least, name


def _size(bundle: Bundle) -> int:
    """Bytes of the model alone, not of ids and histories."""
    return sum(about["bytes"] for name, about in bundle.manifest["members"].items() if name.startswith("model"))
