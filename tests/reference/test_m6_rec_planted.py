"""M6-Rec on planted features: the gate finds the fields that matter, levels help where fields act together."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_core.context import RunContext
from recsys_core.data.holdout import Holdout
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models.features.m6_rec import M6Rec
from recsys_core.testing.features import planted_depth, planted_fields

ONE = RunContext(seed=1, threads=1)


def ndcg(model: M6Rec, holdout: Holdout) -> float:
    return float(ndcg_at(model.recommend_holdout(holdout, 20).items, holdout.relevant, 20).mean())


@pytest.mark.slow
def test_the_gate_ranks_informative_fields_above_noise() -> None:
    case = planted_fields()
    model = M6Rec(epochs=40, patience=0, levels=1, id_dropout=0.5).fit(case.train, ONE)
    for side, rows in model.findings()["features"].items():
        weight = {row["field"]: row["weight"] for row in rows}
        least, most = min(weight[name] for name in case.informative[side]), max(weight[name] for name in case.noise[side])
        assert least > most, f"{side}: {weight}"


@pytest.mark.slow
def test_levels_help_up_to_the_planted_depth() -> None:
    """Depth 1 needs none; at depth 2 no field tells anything alone, so that the plain sum is left with chance."""
    found = {}
    for depth in (1, 2):
        case = planted_depth(depth)
        for levels in (0, 1):
            found[depth, levels] = ndcg(M6Rec(epochs=40, patience=0, levels=levels, id_dropout=0.5).fit(case.train, ONE), case.new)
    rng = np.random.default_rng(0)
    chance = float(ndcg_at(np.stack([rng.permutation(case.new.candidates)[:20] for _ in case.new.users]), case.new.relevant, 20).mean())
    assert found[2, 1] > 1.25 * found[2, 0], f"{found}, chance {chance:.3f}"
    assert found[1, 1] < 1.1 * found[1, 0], f"a level more than the planted depth gains nothing: {found}"
