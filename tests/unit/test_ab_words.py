"""A/B tests: what is guessed of a file, and that sentences say what is so."""

import numpy as np
import pandas as pd
import pytest

from recsys_core.errors import DataError
from recsys_core.evaluation.ab import Looks, experiment, guess_roles, readout, sample_ratio


@pytest.mark.parametrize("groups", [["only"] * 40, [f"v{i}" for i in range(40)]])
def test_an_outcome_is_never_taken_for_the_groups_where_a_column_is_called_so(groups):
    frame = pd.DataFrame({"user": [f"u{i}" for i in range(40)], "variant": groups, "clicked": ["0", "1"] * 20}, dtype="string")
    guess = guess_roles(frame)
    assert guess["variant"] == "variant" and guess["outcomes"] == ["clicked"]
    with pytest.raises(DataError, match="'variant' must have from 2 to 20 groups"):
        experiment(frame, user="user", variant="variant", outcomes=["clicked"])


def test_tiny_p_values_and_differences_are_told_without_exponents():
    frame = pd.DataFrame({"u": range(4000), "v": ["a"] * 3500 + ["b"] * 500, "y": np.tile([0.0, 1.0, 2.0, 0.00001], 1000)})
    found = experiment(frame, user="u", variant="v", outcomes=["y"])
    assert "(p below 0.0001)" in sample_ratio(found).sentence()
    frame.loc[3999, "y"] += 0.01
    sentence = readout(experiment(frame, user="u", variant="v", outcomes=["y"]))[0].sentence()
    assert "+0.00002 (" in sentence and "e-" not in sentence


def test_a_result_that_wavered_and_is_clear_at_the_end_is_not_said_to_have_gone():
    running = Looks([pd.Timestamp("2026-01-01")] * 3, *(np.ones(3) for _ in range(4)), np.array([0.01, 0.2, 0.001]), 0.95, 10)
    assert "clear on 2 of 3 days" in running.warning() and "clear on the last" in running.warning()
    assert "did not stay so" not in running.warning()
