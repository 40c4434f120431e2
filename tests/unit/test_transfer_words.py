"""What a start bought, in words: paired, in percent of the model from scratch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from recsys_core.evaluation import transfer


def table(gain: float, spread: float = 0.02) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    scratch = rng.uniform(0.2, 0.6, 200)
    rows = []
    for run, values in (("a", scratch), ("b", scratch + gain + spread * rng.standard_normal(200))):
        for shots in (0, 3):
            rows.append(pd.DataFrame({"run": run, "adapted": True, "shots": shots, "user": np.arange(200), "ndcg": values}))
            rows.append(pd.DataFrame({"run": run, "adapted": False, "shots": shots, "user": np.arange(200), "ndcg": 0.0}))
    return pd.concat(rows)


def test_a_clear_gain_is_told_in_percent_of_the_model_from_scratch() -> None:
    frame = table(0.04)
    gap = transfer.bought(frame, "b", "a", 3)
    own = frame[(frame.run == "b") & frame.adapted & (frame.shots == 3)].ndcg.mean()
    other = frame[(frame.run == "a") & frame.adapted & (frame.shots == 3)].ndcg.mean()
    assert np.isclose(gap.difference, own - other) and gap.low > 0
    said = transfer.sentence("B", "films, trained on", "A", 3, gap)
    assert f"{(own / other - 1) * 100:.1f} % better than A after 3 clicks" in said


def test_a_loss_and_chance_are_told_as_such() -> None:
    assert "worse than A after 1 click" in transfer.sentence("B", "films", "A", 1, transfer.bought(table(-0.04), "b", "a", 3))
    assert "no clear difference to A" in transfer.sentence("B", "films", "A", 3, transfer.bought(table(0.0, 0.2), "b", "a", 3))


def test_who_is_compared_with_whom() -> None:
    runs = {name: SimpleNamespace(model_key=key) for name, key in (("a", "maml"), ("b", "maml"), ("c", "anil"), ("d", "anil"))}
    assert transfer.pairs(runs, {"a": "", "b": "films, as it is", "c": "films, trained on", "d": "books, as it is"}) == [("b", "a")]
    assert transfer.nearest([0, 1, 2, 5]) == 2 and transfer.nearest([0]) == 0
