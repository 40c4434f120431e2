"""The contracts everything hangs on: ids, histories, dataset, lists, parameters, registry, context, storage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys_core import params as p
from recsys_core import registry
from recsys_core.context import Progress, RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.storage import load_arrays, load_dataset, save_arrays, save_dataset
from recsys_core.data.topk import TopK, top_k
from recsys_core.errors import Cancelled, NotFound, ParamError, Unsupported
from recsys_core.models._base import Recommender
from recsys_core.models._io import load_model, save_model
from recsys_core.models.baseline.popular import Popular
from recsys_core.testing import tastes


# ---- ids -------------------------------------------------------------------------------------------
def test_ids_go_in_and_come_out_exactly() -> None:
    ids = IdMap(["007", "7", "é", " x ", "a,b"])
    codes = ids.encode(["7", "007", "nobody", " x "])
    assert codes.tolist() == [1, 0, -1, 3] and codes.dtype == np.int32
    assert ids.decode(codes).tolist() == ["7", "007", None, " x "]


@pytest.mark.parametrize("same", [[7, 12], [7.0, 12.0], ["7", "12"], np.array([7, 12], np.int64)])
def test_whole_numbers_are_one_id_however_written(same) -> None:
    assert IdMap(["7", "12"]) == IdMap(same)
    assert IdMap(["7", "12"]).encode(same).tolist() == [0, 1]


def test_repeated_ids_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'b' appears more than once"):
        IdMap(["a", "b", "b"])


def test_empty_id_map_knows_nobody() -> None:
    empty = IdMap([])
    assert len(empty) == 0 and empty.encode(["a"]).tolist() == [-1] and empty.decode(np.array([-1])).tolist() == [None]


# ---- histories -------------------------------------------------------------------------------------
def rows_of(histories: Histories) -> list[list[int]]:
    return [histories.items[a:b].tolist() for a, b in zip(histories.indptr[:-1], histories.indptr[1:], strict=True)]


def test_histories_are_ordered_by_time_then_as_given() -> None:
    made = Histories.from_rows(3, np.array([2, 0, 2, 0, 2]), np.array([1, 2, 3, 4, 5]), np.ones(5), np.array([9, 5, 7, 5, 9]))
    assert rows_of(made) == [[2, 4], [], [3, 1, 5]]
    assert rows_of(made.take(np.array([2, 0, 2]))) == [[3, 1, 5], [2, 4], [3, 1, 5]]
    assert made.take(np.array([2])).times.tolist() == [7, 9, 9]


def test_histories_cut_pad_and_spread() -> None:
    made = Histories.from_lists([[1, 2, 3], [], [4, -1, 4]], values=[[1, 2, 3], [], [5, 9, 7]])
    assert rows_of(made) == [[1, 2, 3], [], [4, 4]]
    assert rows_of(made.last(2)) == [[2, 3], [], [4, 4]] and made.last(1).values.tolist() == [3, 7]
    assert made.padded(4, pad=9).tolist() == [[9, 1, 2, 3], [9, 9, 9, 9], [9, 9, 4, 4]]
    assert made.padded(2, pad=9).tolist() == [[2, 3], [9, 9], [4, 4]]
    assert made.matrix(6).toarray().tolist() == [[0, 1, 1, 1, 0, 0], [0] * 6, [0, 0, 0, 0, 1, 0]]
    assert made.matrix(6, binary=False).toarray()[2].tolist() == [0, 0, 0, 0, 12, 0]
    assert len(Histories.from_lists([])) == 0 and len(Histories.from_lists([[], []]).items) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6), st.integers(1, 7))
def test_histories_agree_with_plain_lists(lists: list[list[int]], n: int) -> None:
    made = Histories.from_lists(lists)
    assert rows_of(made) == lists
    assert rows_of(made.last(n)) == [row[-n:] for row in lists]
    assert made.padded(n, 10).tolist() == [[10] * (n - len(row[-n:])) + row[-n:] for row in lists]


# ---- dataset ---------------------------------------------------------------------------------------
def small(**more) -> Dataset:
    frame = pd.DataFrame(
        {"user": ["a", "a", "b", "a", "c"], "item": [1, 2, 1, 1, 3], "value": [5, 2, 4, 3, 1], "time": [50, 40, 30, 20, 10]}
    )
    return from_frame(frame, **({"value": "value", "time": "time"} | more))


def test_matrices_merge_repeats_by_their_meaning() -> None:
    counts = small()
    assert counts.matrix("value").toarray().tolist() == [[8, 2, 0], [4, 0, 0], [0, 0, 1]]
    assert counts.matrix("binary").toarray().tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    rated = small(feedback="explicit", threshold=3.5)
    assert rated.matrix("value").toarray().tolist() == [[4, 2, 0], [4, 0, 0], [0, 0, 1]]  # ratings are averaged
    assert rated.matrix("binary").toarray().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert rated.matrix("count").toarray().tolist() == [[5, 0, 0], [4, 0, 0], [0, 0, 0]]
    assert rated.matrix("seen").toarray().tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert rated.item_counts.tolist() == [2, 0, 0] and rated.user_counts.tolist() == [1, 1, 0]
    assert rated.relevant.tolist() == [True, False, True, False, False]


def test_a_dataset_orders_histories_by_time_and_may_leave_out_what_was_not_liked() -> None:
    rated = small(feedback="explicit", threshold=3.5)
    assert rows_of(rated.histories()) == [[0, 1, 0], [0], [2]]  # code 0 is item "1"
    assert rows_of(rated.histories(relevant_only=True)) == [[0], [0], []]
    assert rows_of(rated.histories(np.array([2, 0]), max_len=2)) == [[2], [1, 0]]
    assert rows_of(replace(rated, time=None).histories(np.array([0]))) == [[0, 1, 0]]


def test_a_dataset_is_read_only_and_checks_its_codes() -> None:
    data = small()
    with pytest.raises(ValueError, match="read-only"):
        data.user[0] = 1
    with pytest.raises(ValueError, match="inside their id maps"):
        replace(data, item=np.array([0, 1, 2, 3, 0]))
    with pytest.raises(ValueError, match="value has 2 entries, user has 5"):
        replace(data, value=np.ones(2))
    with pytest.raises(ValueError, match="item_table has 1 rows, its id map has 3"):
        replace(data, item_table=pd.DataFrame({"title": ["x"]}))


def test_a_subset_keeps_codes_and_stats_tell_the_truth() -> None:
    data = small(feedback="explicit", threshold=3.5)
    part = data.subset(data.user == 0)
    assert part.users is data.users and part.n_items == 3 and len(part) == 3
    stats = data.stats
    assert (stats.n_users, stats.n_items, stats.n_interactions, stats.longest_history) == (3, 3, 5, 3)
    assert stats.has_ratings and stats.has_time and not stats.has_item_table and stats.density == pytest.approx(5 / 9)
    json.dumps(stats.as_dict())


def test_the_fingerprint_follows_content_not_name() -> None:
    data = small()
    assert data.fingerprint == small(name="other").fingerprint
    changed = [
        replace(data, value=data.value + 1),
        replace(data, time=None),
        replace(data, threshold=2.0),
        replace(data, feedback="explicit"),
        replace(data, items=IdMap(["1", "2", "4"])),
        replace(data, item_table=pd.DataFrame({"title": list("xyz")})),
        data.subset(np.arange(4)),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in changed)}) == 1 + len(changed)


def test_a_holdout_knows_its_users_and_samples_them() -> None:
    case = tastes()
    few = case.held_out.sample(20, np.random.default_rng(0))
    assert len(few.users) == 20 and set(few.users) <= set(case.held_out.users)
    assert (np.diff(few.relevant.indptr) > 0).all() and case.held_out.sample(10_000, np.random.default_rng(0)) is case.held_out
    cold = Holdout(case.held_out.truth, given=case.train)
    assert cold.cold and len(cold.histories) == len(cold.users) and not case.held_out.cold


# ---- ranked lists ----------------------------------------------------------------------------------
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 9))
def test_top_k_equals_a_plain_sort_with_ties_by_column(seed: int, k: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (5, width)).astype(np.float32)  # many ties
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[rng.random(scores.shape) < 0.1] = np.nan
    before = scores.copy()
    items, best = top_k(scores, k)
    np.testing.assert_array_equal(scores, before)
    for row, listed, values in zip(scores, items, best, strict=True):
        order = sorted((column for column in range(width) if np.isfinite(row[column])), key=lambda c, row=row: (-row[c], c))[:k]
        assert listed.tolist() == order + [-1] * (k - len(order))
        np.testing.assert_array_equal(values, [*row[order], *[np.nan] * (k - len(order))])


def test_taking_items_out_of_lists_keeps_the_order_and_pads() -> None:
    rng = np.random.default_rng(8)
    hidden = rng.random((6, 12)) < 0.4
    top = TopK(np.arange(6), *top_k(np.where(rng.random((6, 12)) < 0.2, -np.inf, rng.random((6, 12)).round(1)), 9))
    left = top.without(sparse.csr_matrix(hidden), 5)
    for row in range(6):
        kept = [(i, s) for i, s in zip(top.items[row], top.scores[row], strict=True) if i >= 0 and not hidden[row, i]][:5]
        assert left.items[row].tolist() == [i for i, _ in kept] + [-1] * (5 - len(kept))
        np.testing.assert_array_equal(left.scores[row], np.array([s for _, s in kept] + [np.nan] * (5 - len(kept)), np.float32))


def test_similar_items_are_found_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys_core.models import _scoring

    model = registry.get("model", "item_knn")().fit(tastes().train)
    items = np.arange(40)
    whole = model.similar_items(items, 5)
    monkeypatch.setattr(_scoring, "BATCH_BYTES", 1)
    sizes, similar = [], model._similar
    monkeypatch.setattr(model, "_similar", lambda some: sizes.append(len(some)) or similar(some))
    cut = model.similar_items(items, 5)
    assert sizes == [16, 16, 8] and np.array_equal(cut.items, whole.items) and np.array_equal(cut.scores, whole.scores, equal_nan=True)
    with pytest.raises(Unsupported):
        model.similar_items(np.array([model.fitted.n_items]), 5)


def test_lists_give_external_ids_and_survive_the_disk(tmp_path: Path) -> None:
    top = TopK(np.array([1, 0]), np.array([[2, 0], [1, -1]], np.int32), np.array([[0.5, 0.25], [1, np.nan]], np.float32))
    frame = top.frame(IdMap(["a", "b"]), IdMap(["x", "y", "z"]))
    assert frame.to_dict("list") == {"user": ["b", "b", "a"], "item": ["z", "x", "y"], "rank": [1, 2, 1], "score": [0.5, 0.25, 1.0]}
    assert top.frame(np.array(["p", "q"]), IdMap(["x", "y", "z"]))["user"].tolist() == ["p", "p", "q"]
    top.save(tmp_path / "top.npz")
    again = TopK.load(tmp_path / "top.npz")
    np.testing.assert_array_equal(again.items, top.items)
    np.testing.assert_array_equal(again.scores, top.scores)
    with pytest.raises(ValueError, match="do not fit together"):
        TopK(np.array([1]), top.items, top.scores)


# ---- parameters ------------------------------------------------------------------------------------
class Knobs(p.Params):
    factors: int | Literal["auto"] = p.param(
        "auto", label="Factors", help="How many.", ge=1, le=512, tune=(8, 128, "log"), fast=8, thorough=64
    )
    rate: float = p.param(0.1, label="Rate", help="How fast.", gt=0, lt=1)
    limit: float | None = p.param(None, label="Limit", help="At most.", ge=0)
    mode: Literal["a", "b"] = p.param("a", label="Mode", help="Which.")
    on: bool = p.param(True, label="On", help="Whether.")
    names: list[str] = p.param(["x"], label="Names", help="Who.")


def test_one_declaration_gives_form_rule_and_presets() -> None:
    described = {field.name: field for field in p.fields(Knobs)}
    assert [field.kind for field in described.values()] == ["int", "float", "float", "choice", "bool", "list"]
    assert described["factors"].auto and described["limit"].optional and described["mode"].choices == ("a", "b")
    assert described["factors"].rule == 'a whole number at least 1 and at most 512, or "auto"'
    assert described["rate"].rule == "a number above 0 and below 1"
    assert (
        p.preset(Knobs, "fast")["factors"] == 8
        and p.preset(Knobs, "thorough")["factors"] == 64
        and p.preset(Knobs, "balanced")["factors"] == "auto"
    )
    with pytest.raises(ParamError, match="Unknown preset 'quick'"):
        p.preset(Knobs, "quick")


def test_text_is_read_as_the_kind_of_the_field() -> None:
    made = p.build(Knobs, {"factors": "64", "rate": "5e-1", "limit": "", "mode": "b", "on": "no", "names": "x, y,"})
    assert made.model_dump() == {"factors": 64, "rate": 0.5, "limit": None, "mode": "b", "on": False, "names": ["x", "y"]}
    assert p.build(Knobs, {"factors": "auto", "names": '["a,b"]'}).names == ["a,b"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0),
        ("factors", 513),
        ("factors", "many"),
        ("factors", 1.5),
        ("rate", 0),
        ("rate", 1),
        ("rate", float("inf")),
        ("limit", -1),
        ("mode", "c"),
        ("on", "perhaps"),
    ],
)
def test_bad_values_name_the_rule_and_the_value(name: str, value: object) -> None:
    rule = next(field.rule for field in p.fields(Knobs) if field.name == name)
    with pytest.raises(ParamError) as caught:
        p.build(Knobs, {name: value}, owner="Demo")
    assert caught.value.message == f"{name} for Demo must be {rule}; got {value!r}."
    assert caught.value.exit_code == 2


def test_unknown_names_get_the_closest_known_one() -> None:
    with pytest.raises(ParamError) as caught:
        p.build(Knobs, {"factor": 3}, owner="Demo")
    assert caught.value.message == "Unknown parameter 'factor' for Demo." and caught.value.hint == "Did you mean 'factors'?"
    with pytest.raises(ParamError) as caught:
        p.build(Knobs, {"zzz": 3})
    assert "It has: factors, rate" in caught.value.hint


def test_params_are_frozen_and_copies_are_checked() -> None:
    made = Knobs()
    with pytest.raises(Exception, match="frozen"):
        made.rate = 0.5
    assert made.with_(rate=0.5).rate == 0.5 and made.rate == 0.1
    with pytest.raises(ParamError):
        made.with_(rate=2)


# ---- registry --------------------------------------------------------------------------------------
class Outside(Popular):
    """A model that lives outside the package."""

    key = "outside_model"


def test_plugins_are_found_by_module_and_from_outside() -> None:
    assert {"popular", "random", "ease", "item_knn"} <= set(registry.keys("model"))
    assert registry.get("model", "popular") is Popular
    assert not any(key.startswith("_") for kind in registry.KINDS for key in registry.keys(kind))
    registry.register("model", Outside)
    try:
        assert registry.get("model", "outside_model") is Outside and "outside_model" in registry.keys("model")
    finally:
        registry.unregister("model", "outside_model")
    with pytest.raises(NotFound) as caught:
        registry.get("model", "outside_model")
    assert "Unknown model 'outside_model'" in caught.value.message
    with pytest.raises(NotFound) as caught:
        registry.get("model", "eas")
    assert caught.value.hint == "Did you mean 'ease'?"


# ---- context ---------------------------------------------------------------------------------------
def test_chance_is_a_stable_stream_per_name() -> None:
    one, other = RunContext(seed=1), RunContext(seed=2)
    first = one.rng("a").random(3)
    one.rng("b").random(100)
    np.testing.assert_array_equal(one.rng("a").random(3), first)
    assert not np.array_equal(one.rng("b").random(3), first) and not np.array_equal(other.rng("a").random(3), first)
    assert 0 <= one.seed_for("x") < 2**63 and one.seed_for("x") == RunContext(seed=1, threads=3).seed_for("x")


def test_progress_of_a_part_is_mapped_into_its_share() -> None:
    said: list[Progress] = []
    part = RunContext(on_progress=said.append).part("EASE", 0.2, 0.6)
    part.report("Reading", 0.5, epoch=3, metrics={"loss": 0.1})
    part.report("Starting", seconds_left=None)
    part.report("Fitting", 0.5, seconds_left=10.0)
    assert said[2].seconds_left == pytest.approx(30.0), "20 % of the whole take 10 s more, then 40 % come after this part"
    assert said[1].seconds_left is None
    assert said[0].stage == "EASE: Reading" and said[0].fraction == pytest.approx(0.4) and said[0].epoch == 3
    assert said[1].fraction == pytest.approx(0.2)
    assert part.seed == RunContext().seed, "a model fitted inside a fusion is the model fitted alone"


def test_reporting_and_checking_raise_once_cancelled() -> None:
    said: list[Progress] = []
    ctx = RunContext(on_progress=said.append, cancelled=lambda: True)
    for call in (ctx.check, lambda: ctx.report("x", 0.5), lambda: ctx.part("a", 0, 1).check()):
        with pytest.raises(Cancelled):
            call()
    assert not said


# ---- storage ---------------------------------------------------------------------------------------
def test_arrays_come_back_as_they_were_and_are_not_pickles(tmp_path: Path) -> None:
    matrix = sparse.random(5, 7, density=0.3, random_state=0, format="csr", dtype=np.float32)
    state = {
        "a": np.arange(6).reshape(2, 3),
        "empty": np.empty((0, 4), np.float32),
        "m": matrix,
        "note": "é",
        "n": 3,
        "list": [1, {"x": None}],
    }
    save_arrays(state, tmp_path / "s.safetensors")
    again = load_arrays(tmp_path / "s.safetensors")
    assert set(again) == set(state)
    np.testing.assert_array_equal(again["a"], state["a"])
    assert again["empty"].shape == (0, 4) and again["m"].shape == (5, 7) and abs(again["m"] - matrix).nnz == 0
    assert (again["note"], again["n"], again["list"]) == ("é", 3, [1, {"x": None}])
    raw = (tmp_path / "s.safetensors").read_bytes()
    assert raw[8:9] == b"{" and not raw.startswith(b"\x80")


@pytest.mark.parametrize("with_time", [True, False])
def test_a_dataset_comes_back_with_its_fingerprint(tmp_path: Path, with_time: bool) -> None:
    data = small(feedback="explicit", threshold=3.5, name="tiny", item_table=pd.DataFrame({"title": ["ö", None, "z"], "year": [1, 2, 3]}))
    data = data if with_time else replace(data, time=None)
    save_dataset(data, tmp_path)
    again = load_dataset(tmp_path)
    assert again.fingerprint == data.fingerprint and again.name == "tiny" and again.threshold == 3.5
    assert (again.time is None) == (not with_time) and again.item_table["title"].tolist()[0] == "ö" and again.user_table is None


def test_a_table_without_columns_is_not_kept(tmp_path: Path) -> None:
    data = small(item_table=pd.DataFrame(index=range(3)))
    save_dataset(data, tmp_path)
    assert load_dataset(tmp_path).item_table is None


def test_a_model_may_be_saved_without_its_data(tmp_path: Path) -> None:
    train = tastes().train
    model = Popular(half_life_days=30).fit(train)
    save_model(model, tmp_path / "m", with_data=False)
    assert not (tmp_path / "m" / "data").exists()
    again = load_model(tmp_path / "m", train)
    assert isinstance(again, Recommender) and again.params.half_life_days == 30
    np.testing.assert_array_equal(again.scores(np.array([0])), model.scores(np.array([0])))
