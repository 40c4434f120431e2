"""Networks in a bundle say what the trained network says, whatever their shape; narrow and thinner ones stay close and are smaller.

That every model's defaults do is in tests/contracts/test_portable.py."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.histories import Histories
from recsys_core.models._portable import Portable
from recsys_core.models._pruning import best_factors, common_factors, kept_of, refitted, regressed, strongest
from recsys_core.portable.bundle import Bundle, best_of
from recsys_core.portable.history import History
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing.datasets import tastes

WITH_LAYERS = {"hidden": 24, "latent": 10, "epochs": 10}
CASES = {
    "mult_vae linear": {"epochs": 15},
    "mult_vae hidden": {"network": "hidden"} | WITH_LAYERS,
    "mult_dae linear": {"network": "linear", "epochs": 10},
    "cfgan": {"latent": 12, "epochs": 15},
    "recvae dense": {"network": "dense"} | WITH_LAYERS,
    "sasrec": {"dim": 16, "max_len": 8, "epochs": 2, "heads": 4, "blocks": 1},
    "gru4rec sessions": {"dim": 12, "hidden": 16, "max_len": 8, "session_hours": 1.5, "epochs": 2},
    "gru4rec layers": {"dim": 12, "layers": 2, "tied": False, "epochs": 1},
    "caser alone": {"dim": 12, "max_len": 4, "user": "none", "epochs": 1},
    "two_tower features": {"factors": 12, "epochs": 12},
    "two_tower layers": {"factors": 12, "layers": 1, "epochs": 12},
}
THINNER = ("mult_vae linear", "mult_vae hidden", "cfgan", "recvae dense", "sasrec", "gru4rec sessions")
THINNER += ("two_tower features",)
NARROW = ("mult_vae hidden", "sasrec")  # int8: products inside a graph, too
HISTORIES = ([7], [3, 1, 50], list(range(5, 16)), list(range(99, 40, -1)), [4, 4, 9])
HOUR = 3_600
LEAST = {"float16": 0.9999, "int8": 0.97, "pruned 30 %": 0.85}  # correlation of all scores with those of the whole network


@cache
def _model(case: str):
    data = tastes(100, 100).train
    if case == "two_tower features":
        groups = [pd.DataFrame({"group": [f"group {code % 5}" for code in range(n)]}) for n in (data.n_users, data.n_items)]
        data = replace(data, user_table=groups[0], item_table=groups[1])
    return registry.get("model", case.split()[0])(patience=0, **CASES[case]).fit(data, RunContext(threads=1))


@cache
def _portable(case: str) -> Portable:
    return _model(case).portable()


def _bundle(case: str, folder: Path, codec: str = "float32", portable: Portable | None = None) -> Bundle:
    path = folder / "bundle.zip"
    write_bundle(_model(case), path, portable=portable or _portable(case), codec=codec)
    return Bundle.open(path)


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_scores_as_the_model_and_thinner_ones_stay_close(case: str, tmp_path: Path) -> None:
    model, bundle = _model(case), _bundle(case, tmp_path)
    wanted = model._history_scores(Histories.from_lists(HISTORIES))
    for items, row in zip(HISTORIES, wanted, strict=True):
        assert np.abs(bundle.scores(History.of(items)) - row).max() <= 1e-4 * row.std(), f"{len(items)} items"
    users = np.array([0, 5, 70])
    for user, row in zip(users, model._scores(users), strict=True):
        assert np.abs(bundle.scores(bundle.history(int(user)), int(user)) - row).max() <= 1e-4 * row.std(), f"training user {user}"
    np.testing.assert_allclose(bundle.form.similar(8), model._similar(np.array([8]))[0], atol=1e-5)
    assert (bundle.scores(History.of([])) == bundle.popularity).all(), "nothing known: what is popular"

    narrow = ("float16", "int8") if case in NARROW else ("float16",)
    variants = {codec: partial(_bundle, case, tmp_path, codec) for codec in narrow}
    if case in THINNER:
        variants["pruned 30 %"] = lambda: _bundle(case, tmp_path, portable=_portable(case).prune(0.3))
    else:
        assert _portable(case).prune is None or case in ("mult_dae linear", "two_tower layers")
    for name, make in variants.items():
        small = make()
        assert _size(small) < _size(bundle), name
        found = [small.scores(History.of(items)) for items in HISTORIES]
        likeness = [np.corrcoef(pair)[0, 1] for pair in zip(found, wanted, strict=True)]
        overlap = np.mean([len(np.intersect1d(best_of(a, 20)[0], best_of(b, 20)[0])) / 20 for a, b in zip(found, wanted, strict=True)])
        share = _size(small) / _size(bundle)
        print(f"{case} {name}: overlap of lists of 20 {overlap:.3f}, correlation {np.mean(likeness):.4f}, {share:.0%} of the bytes")
        assert min(likeness) > LEAST[name], name


def test_a_pause_begins_a_session_anew(tmp_path: Path) -> None:
    model, bundle = _model("gru4rec sessions"), _bundle("gru4rec sessions", tmp_path)
    times = np.array([0, HOUR, 4 * HOUR, 4 * HOUR + 60])
    told = bundle.scores(History.of([5, 6, 7, 8], times=times))
    np.testing.assert_allclose(told, bundle.scores(History.of([7, 8])), atol=1e-6)
    assert np.abs(told - bundle.scores(History.of([5, 6, 7, 8]))).max() > 1e-3
    values = np.ones(4, np.float32)
    wanted = model._history_scores(Histories(np.array([0, 4]), np.array([5, 6, 7, 8], np.int32), values, times))[0]
    np.testing.assert_allclose(told, wanted, atol=1e-4 * wanted.std())


def _size(bundle: Bundle) -> int:
    """Bytes of the model alone, not of ids and histories."""
    return sum(about["bytes"] for name, about in bundle.manifest["members"].items() if name.startswith("model"))


# ---- what takes the place of what is taken out --------------------------------------------------------
def test_units_that_repeat_others_can_go_without_loss() -> None:
    rng = np.random.default_rng(0)
    three = rng.normal(size=(500, 3))
    active = np.column_stack([three, three[:, 0] + three[:, 1], 2 * three[:, 2] + 1])  # two units that say nothing of their own
    weight, bias = rng.normal(size=(40, 5)), rng.normal(size=40)
    wanted = active @ weight.T + bias
    kept = strongest(active, weight, 3)
    assert kept.tolist() == sorted(kept.tolist()) and kept_of(5, 0.4) == 3
    for columns in (np.array([0, 1, 2]), np.array([1, 3, 4])):
        new, new_bias = refitted(active, weight, bias, columns)
        np.testing.assert_allclose(active[:, columns] @ new.T + new_bias, wanted, atol=0.02)
        again, again_bias = regressed(active[:, columns], wanted)
        np.testing.assert_allclose(again, new, atol=0.01)
        np.testing.assert_allclose(again_bias, new_bias, atol=0.01)
    turn, new, new_bias = best_factors(active, weight, bias, 3)
    np.testing.assert_allclose(active @ turn @ new.T + new_bias, wanted, atol=0.02)


def test_factors_are_the_best_of_their_number() -> None:
    """Against the singular value decomposition of the whole output, which is what cannot be made for many items."""
    rng = np.random.default_rng(1)
    active, weight, bias = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)), rng.normal(size=(30, 8)), rng.normal(size=30)
    output = active @ weight.T + bias
    centred = output - output.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    best = np.linalg.norm(centred - (u[:, :3] * s[:3]) @ vt[:3])
    turn, new, new_bias = best_factors(active, weight, bias, 3)
    assert np.linalg.norm(output - active @ turn @ new.T - new_bias) <= best * 1.001
    a, b = common_factors(active, weight, 3)
    u, s, vt = np.linalg.svd(active @ weight.T, full_matrices=False)
    assert np.linalg.norm(active @ weight.T - (active @ a) @ (weight @ b).T) <= np.linalg.norm(s[3:]) * 1.001
