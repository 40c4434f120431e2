"""What the Diversity page says, worked out by hand."""

from __future__ import annotations

import math

import pytest

from ui.diversity_words import change_of, cheapest, cheapest_question, cheapest_sentence, pair, question, sentence, strength_text


def _point(strength: float, ndcg: float, diversity: float, change: tuple[float, float] | None = None, **more) -> dict:
    metrics = {"ndcg@10": {"mean": ndcg, "low": ndcg - 0.1, "high": ndcg + 0.1}, "intra_list_diversity@10": {"mean": diversity}}
    gaps = {"ndcg@10": {"mean": 0.0, "low": change[0], "high": change[1]}} if change else {}
    return {"strength": strength, "metrics": metrics | more, "overall": {"coverage@10": 0.2 + strength}, "change": gaps}


START = _point(0.0, 0.5, 0.5, (0.0, 0.0))


def test_a_sure_loss_a_sure_gain_and_what_may_be_chance() -> None:
    said = [
        sentence(_point(0.35, ndcg, 0.61, change), START, "intra_list_diversity@10", "ndcg@10", "At .35")
        for ndcg, change in ((0.491, (-0.013, -0.0055)), (0.51, (0.005, 0.015)), (0.495, (-0.015, 0.005)), (0.491, None))
    ]
    assert said == [
        "At .35 the lists are 22 % more varied and lose 1.8 % of NDCG@10 (1.1 to 2.6).",
        "At .35 the lists are 22 % more varied and gain 2.0 % of NDCG@10 (1.0 to 3.0).",
        "At .35 the lists are 22 % more varied; NDCG@10 changes by −1.0 % (−3.0 to 1.0), which may be chance.",
        "At .35 the lists are 22 % more varied and lose 1.8 % of NDCG@10.",
    ]
    assert sentence(START, START, "intra_list_diversity@10", "ndcg@10", "At 0") == "At 0 the lists stay as the model makes them."


def test_measures_where_less_is_better_of_all_lists_and_from_nothing() -> None:
    mixed = [_point(s, 0.5, 0.5, (-0.02, -0.01), **{"miscalibration@10": {"mean": m}}) for s, m in ((0.0, 0.8), (0.5, 0.6), (0.6, 0.9))]
    closer, further = (sentence(p, mixed[0], "miscalibration@10", "ndcg@10", "Now") for p in mixed[1:])
    assert "25 % closer to each user's own mix" in closer and "12 % further from each user's own mix" in further
    assert "Catalogue coverage@10 rises by 250 %" in sentence(_point(0.5, 0.4, 0.6), START, "coverage@10", "ndcg@10", "Now")
    nothing = [_point(s, 0.5, 0.5, **{"long_tail_share@10": {"mean": m}}) for s, m in ((0.0, 0.0), (0.4, 0.3))]
    assert "Long-tail share@10 goes from 0 to 0.3" in sentence(nothing[1], nothing[0], "long_tail_share@10", "ndcg@10", "Now")
    assert math.isnan(change_of(START, START, "serendipity@10").mean)
    assert pair(_point(0.5, 0.45, 0.6), START, ["ndcg@10", "coverage@10"]) == "NDCG@10 0.500 → 0.450 · Catalogue coverage@10 0.200 → 0.700"


def test_the_cheapest_method_within_a_budget() -> None:
    curves = {
        "A": [START, _point(0.5, 0.49, 0.6), _point(1.0, 0.3, 0.9)],
        "B": [START, _point(0.5, 0.495, 0.55)],
        "C": [START, _point(0.5, 0.4, 0.8)],
    }
    found = cheapest(curves, "intra_list_diversity@10", "ndcg@10", 0.02)
    assert [label for label, _ in found] == ["A", "B", "C"]
    assert [gain for _, gain in found] == pytest.approx([0.2, 0.1, 0.0])
    said = cheapest_sentence(found, "intra_list_diversity@10", "ndcg@10", 0.02)
    assert said == "For at most 2 % of NDCG@10, A gives lists 20 % more varied; B 10 %; nothing is to be had from C."
    assert cheapest_sentence(found[2:], "coverage@10", "ndcg@10", 0.02).endswith("no method gives a better Catalogue coverage@10.")


def test_titles_and_steps() -> None:
    assert [strength_text(s) for s in (0.0, 0.05, 0.3, 1.0)] == ["0", ".05", ".30", "1"]
    assert question("intra_list_diversity@10") == "What does more variety cost?"
    assert question("mrr@10") == "What does a better 'MRR@10' cost?"
    assert cheapest_question("novelty@10") == "Which method buys more novelty cheapest?"
