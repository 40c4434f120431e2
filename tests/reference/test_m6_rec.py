"""M6-Rec: the tower against slow loops, what is hidden while learning, new items, reasons."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.models._io import load_model, save_model
from recsys_core.models._pairs import Pairs, distinct, last
from recsys_core.models.features._m6_objective import Objective
from recsys_core.models.features.m6_rec import M6Rec
from recsys_core.nn.batches import Ragged
from recsys_core.nn.field_embeddings import FieldEmbeddings, FieldRows, Layout
from recsys_core.nn.fusers import FUSERS
from recsys_core.nn.multilevel import FeatureTower, HistoryPool, Shape

ONE = RunContext(seed=7, threads=1)
SMALL = {"factors": 8, "epochs": 25, "batch_size": 16, "learning_rate": 0.01, "patience": 0, "width": 8}
N_USERS, N_ITEMS, N_NEW = 60, 30, 6  # of the items, the last six were chosen by nobody


def data(users: bool = True, items: bool = True) -> Dataset:
    """Half of the users choose even items, half odd ones, 8 each; the tables tell even from odd."""
    rng = np.random.default_rng(5)
    half = (N_ITEMS - N_NEW) // 2
    picks = 2 * np.argsort(rng.random((N_USERS, half)), axis=1)[:, :8] + (np.arange(N_USERS) % 2)[:, None]
    user, item = np.repeat(np.arange(N_USERS), 8), picks.ravel()
    ids = [IdMap([f"{side}{n}" for n in range(size)]) for side, size in (("u", N_USERS), ("i", N_ITEMS))]
    parity = np.array(["even", "odd"])
    return Dataset(
        *ids,
        user,
        item,
        np.ones(len(user)),
        rng.permutation(len(user)) * 60,
        user_table=pd.DataFrame({"taste": parity[np.arange(N_USERS) % 2]}) if users else None,
        item_table=pd.DataFrame({"kind": parity[np.arange(N_ITEMS) % 2], "weight": rng.uniform(0, 9, N_ITEMS).round(2)}) if items else None,
    )


@pytest.fixture(scope="module")
def fitted() -> M6Rec:
    return M6Rec(**SMALL, levels=2).fit(data(), ONE)


def tiny_tower(fuser: str, levels: int, adaptive: bool = True) -> tuple[FeatureTower, FieldRows, np.ndarray, Layout]:
    """5 rows: a field of three categories and a field of two numbers, ids before them; no weight is left at its starting value."""
    layout = Layout(np.array([0, 0, 0, 1, 1]), ("multi_valued", "numeric"))
    table = np.array([[1, 0, 0, 0.5, 0], [0, 0.7, 0.7, -1, 0], [0, 0, 1, 2, 0], [0, 0, 0, 0, 1], [0.6, 0.6, 0.6, 1, 0]], np.float32)
    torch.manual_seed(3)
    tower = FeatureTower(5, layout, Shape(4, 3, levels, fuser, adaptive)).eval()
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return tower, FieldRows(sparse.csr_matrix(table), layout), table, layout


def by_hand(tower: FeatureTower, table: np.ndarray, row: int, there: list[bool], fuser: str) -> np.ndarray:
    """One row through the tower, field by field and level by level."""
    w = {name: value.detach().double().numpy() for name, value in tower.state_dict().items()}
    gelu = lambda x: F.gelu(torch.as_tensor(x)).numpy()  # noqa: E731
    norm = lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-5)  # noqa: E731
    x = table[row].astype(np.float64)
    category = sum(x[j] * w["fields.value.weight"][j] for j in range(3))
    hidden = gelu(w["fields.readers.0.layers.0.weight"] @ x[3:] + w["fields.readers.0.layers.0.bias"])
    number = w["fields.readers.0.layers.2.weight"] @ hidden + w["fields.readers.0.layers.2.bias"]
    fields = [w["id.weight"][row], category, number]
    gates = np.array(there, float)
    if tower.gate is not None:
        logits = [norm(e) @ w["gate.weight"][f] / np.sqrt(len(e)) + w["gate.bias"][f] for f, e in enumerate(fields)]
        gates = np.array([np.exp(logits[f]) if there[f] else 0.0 for f in range(3)])
        gates *= sum(there) / gates.sum()
    made = [gates[1] * fields[1] + gates[2] * fields[2]]
    for n in range(len(tower.levels.levels)):
        level = f"levels.levels.{n}."
        c = norm(np.concatenate(made)) * w[level + "norm.weight"] + w[level + "norm.bias"]
        value, gate = np.split(w[level + "inner.weight"] @ c + w[level + "inner.bias"], 2)
        made.append(w[level + "scale"] * (w[level + "outer.weight"] @ (value * gelu(gate)) + w[level + "outer.bias"]))
    above = [made[-1]]
    for n in range(len(made) - 2, -1, -1):
        j, own = f"fuser.joins.{n}.", made[n]
        if fuser == "concat":
            f = w[j + "map.weight"] @ np.concatenate([own, above[-1]]) + w[j + "map.bias"]
        elif fuser == "gated_sum":
            g = 1 / (1 + np.exp(-(w[j + "gate.weight"] @ np.concatenate([own, above[-1]]) + w[j + "gate.bias"])))
            f = g * above[-1] + (1 - g) * own
        elif fuser == "attention":
            a = np.exp([(w[j + "query.weight"] @ own) @ (w[j + "key.weight"] @ one) / 2 for one in above])
            f = own + sum(p * (w[j + "value.weight"] @ one) for p, one in zip(a / a.sum(), above, strict=True))
        else:
            f = own + w[j + "plain.weight"] @ above[-1] + (w[j + "own.weight"] @ own) * (w[j + "above.weight"] @ above[-1])
        above.append(f)
    return above[-1] + gates[0] * fields[0]


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("fuser", FUSERS)
def test_the_tower_is_what_a_slow_loop_makes(fuser: str, levels: int) -> None:
    tower, rows, table, _ = tiny_tower(fuser, levels)
    there = torch.tensor([[True, True, True], [False, True, True], [True, False, True], [True, True, False], [True, True, True]])
    codes = torch.tensor([4, 0, 2, 1, 3])
    with torch.inference_mode():
        made = tower(codes, rows.take(codes), there)
    for n, code in enumerate(codes.tolist()):
        np.testing.assert_allclose(made.vectors[n].numpy(), by_hand(tower, table, code, there[n].tolist(), fuser), rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(made.shares.sum(1).numpy(), 1, rtol=1e-5)
    assert (made.shares[~there] == 0).all()


def test_pooling_is_what_a_slow_loop_makes_and_empty_rows_get_nothing() -> None:
    torch.manual_seed(1)
    vectors, history = torch.randn(6, 4), Ragged(torch.tensor([5, 0, 0, 2, 3, 1]), torch.tensor([0, 2, 2, 6]))
    for kind in ("mean", "attention"):
        pool = HistoryPool(kind, 4)
        if pool.query is not None:
            torch.nn.init.normal_(pool.query.weight)
        with torch.inference_mode():
            got = pool(vectors, history)
        for row, items in enumerate([[5, 0], [], [0, 2, 3, 1]]):
            if not items:
                assert (got[row] == 0).all()
                continue
            own = vectors[items]
            weights = torch.full((len(items),), 1 / len(items))
            if pool.query is not None:
                mean = own.sum(0) / len(items) ** 0.5
                weights = ((pool.key.weight @ own.T).T @ (pool.query.weight @ mean) / 2).softmax(0)
            torch.testing.assert_close(got[row], len(items) ** 0.5 * (weights[:, None] * own).sum(0), rtol=1e-4, atol=1e-5)


def test_without_levels_it_is_a_plain_two_tower() -> None:
    """L = 0, concat, no gate, mean pooling: unit vectors of sums of ids and features, as two lines of numpy."""
    model = M6Rec(**(SMALL | {"epochs": 2}), levels=0, fuser="concat", adaptive=False, pooling="mean", generator=0).fit(data(), ONE)
    net = {name: value.numpy() for name, value in model.network.state_dict().items()}
    table, known = model.inputs.items.matrix.toarray(), model.inputs.known
    spans = [model.inputs.items.span(f) for f in range(2)]
    reader = model.network.item_tower.fields.readers[0]
    with torch.inference_mode():
        features = table[:, spans[0]] @ net["item_tower.fields.value.weight"] + reader(torch.as_tensor(table[:, spans[1]])).numpy()
        people = model.inputs.users.toarray() @ net["user_tower.fields.value.weight"]
    items = features + net["item_tower.id.weight"] * known[:, None]
    roles = items @ net["role.weight"].T + net["history_id.weight"] * known[:, None]
    chosen = model.fitted.matrix("binary").toarray()
    length = chosen.sum(1, keepdims=True)
    users = net["everyone"] + people / np.sqrt(1 + length) + chosen @ roles / np.sqrt(length)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(model.scores(np.arange(N_USERS)), unit(users) @ unit(items).T, rtol=1e-3, atol=1e-4)


# ---- what is hidden ----------------------------------------------------------------------------------
def test_a_hidden_id_hides_all_that_training_knows_of_the_item(fitted: M6Rec) -> None:
    """Vectors of items whose id is hidden depend on the table alone, high-level features, choosers and bias included."""
    for model in (fitted, M6Rec(**(SMALL | {"epochs": 2}), derived=True, item_history="users").fit(data(), ONE)):
        net = copy.deepcopy(model.network)
        codes, nobody = torch.arange(N_ITEMS), torch.zeros(N_ITEMS, dtype=torch.bool)
        with torch.no_grad():
            before, with_id = net.items(codes, nobody), net.items(codes)
            net.item_tower.id.weight.add_(1.0)
            net.history_id.weight.add_(1.0)
            if net.choosers is not None:
                net.choosers.weight.add_(1.0)
                own = [s for s, d in zip(net.item_tower.fields.spans, _derived_of_numbers(model), strict=True) if d]
                assert own, "there are no high-level features to be hidden"
                for span in own:
                    net.item_rows.numbers[:, span] += 1
            after, changed = net.items(codes, nobody), net.items(codes)
        torch.testing.assert_close(after.vectors, before.vectors, rtol=0, atol=0)
        torch.testing.assert_close(after.roles[-N_NEW:], before.roles[-N_NEW:], rtol=0, atol=0)
        told = torch.ones_like(after.roles[:-N_NEW])  # what is in a history was chosen by somebody: its own vector there stays
        torch.testing.assert_close(after.roles[:-N_NEW] - before.roles[:-N_NEW], told, rtol=0, atol=1e-5)
        assert (changed.vectors[:-N_NEW] != with_id.vectors[:-N_NEW]).any(1).all()
        torch.testing.assert_close(changed.vectors[-N_NEW:], before.vectors[-N_NEW:], rtol=0, atol=0)  # new items never have any


def _derived_of_numbers(model: M6Rec) -> list[bool]:
    layout = model.inputs.item_layout
    return [model.inputs.item_derived[f] for f in layout.numbers]


def test_ids_are_hidden_in_training_alone_and_about_as_often_as_asked(fitted: M6Rec) -> None:
    many = Objective(fitted.network, fitted.inputs, fitted.fitted, fitted.resolved.with_(id_dropout=0.5), "cpu")
    assert 0.45 < many._kept(torch.arange(20_000)).float().mean() < 0.55
    bare = M6Rec(**(SMALL | {"epochs": 1})).fit(data(items=False), ONE)
    none = Objective(bare.network, bare.inputs, bare.fitted, bare.resolved.with_(id_dropout=0.5), "cpu")
    assert none._kept(torch.arange(1000)).all(), "without an item table nothing is left of an item whose id is hidden"


def test_what_is_shown_never_holds_what_has_to_be_guessed() -> None:
    """Repeated and disliked interactions included: features of histories see neither the targets nor copies of them."""
    rng = np.random.default_rng(0)
    n = 600
    times = rng.permutation(n)
    ids = [IdMap([f"{side}{k}" for k in range(20)]) for side in "ui"]
    train = Dataset(*ids, rng.integers(0, 20, n), rng.integers(0, 20, n), rng.integers(1, 6, n), times, feedback="explicit", threshold=4)
    pairs = Pairs(train, ratings=False)
    binary = train.matrix("binary")
    assert sorted(zip(pairs.user, pairs.item, strict=True)) == sorted(zip(*binary.nonzero(), strict=True))
    torch.manual_seed(0)
    users = pairs.active[torch.randperm(len(pairs.active))]
    step = pairs.step(users, 0.5, 4, alone=False)
    histories = pairs.shown_histories(users.numpy(), step.targets.numpy(), step.shown)
    for row, user in enumerate(users.tolist()):
        guessed = set(pairs.item[step.targets[step.of == row].numpy()].tolist())
        assert guessed and guessed <= set(binary[user].indices.tolist())
        shown = pairs.item[step.shown.columns[step.shown.offsets[row] : step.shown.offsets[row + 1]].numpy()].tolist()
        read = set(histories.items[histories.indptr[row] : histories.indptr[row + 1]].tolist())
        assert not guessed & set(shown) and not guessed & read and len(shown) <= 4
        whole = train.histories(np.array([user]))
        if shown:
            assert read == set(whole.items.tolist()) - guessed
            latest = [item for item in distinct(whole.relevant(4), 20).items.tolist() if item not in guessed]
            assert shown == latest[-4:], "the last ones, oldest first"
    assert not pairs._hidden.any()


def test_choosers_leave_out_the_users_of_the_batch() -> None:
    model = M6Rec(**(SMALL | {"epochs": 1}), item_history="users").fit(data(), ONE)
    net, codes = model.network, torch.arange(N_ITEMS)
    masked = torch.zeros(N_USERS, dtype=torch.bool)
    masked[:20] = True
    with torch.no_grad():
        before = net.items(codes, masked=masked).vectors
        net.choosers.weight[:20].add_(1.0)
        torch.testing.assert_close(net.items(codes, masked=masked).vectors, before, rtol=0, atol=0)
        assert (net.items(codes).vectors != before).any()


def test_the_last_items_of_a_history_are_read() -> None:
    rows = Ragged(torch.tensor([7, 8, 9, 1, 2]), torch.tensor([0, 3, 3, 5]))
    kept = last(rows, 2)
    assert kept.columns.tolist() == [8, 9, 1, 2] and kept.offsets.tolist() == [0, 2, 2, 4]
    once = distinct(Histories.from_lists([[1, 2, 1], [], [3, 3]]), 5)
    assert once.items.tolist() == [2, 1, 3] and once.indptr.tolist() == [0, 2, 2, 3]


# ---- what it is for ----------------------------------------------------------------------------------
@pytest.mark.parametrize("ids", [True, False])
def test_new_items_are_ranked_by_what_they_are(ids: bool) -> None:
    model = M6Rec(**(SMALL | {"epochs": 40}), levels=1, ids=ids, id_dropout=0.5).fit(data(users=False), ONE)
    new = np.arange(N_ITEMS - N_NEW, N_ITEMS)
    top = model.recommend(np.arange(N_USERS), N_NEW // 2, candidates=new).items
    assert (top % 2 == np.arange(N_USERS)[:, None] % 2).mean() > 0.95
    outside = pd.DataFrame({"kind": ["even", "odd", None], "weight": [4.0, 4.0, 4.0], "unknown": [1, 2, 3]})
    vectors = model.new_item_vectors(outside)
    users = model.user_vectors(model.fitted.histories())
    assert vectors.shape == (3, 8) and np.isfinite(vectors).all()
    assert ((users @ vectors[0] > users @ vectors[1]) == (np.arange(N_USERS) % 2 == 0)).mean() > 0.95


def test_users_without_a_history_are_served_from_the_user_table() -> None:
    model = M6Rec(**(SMALL | {"epochs": 60}), levels=1).fit(data(), ONE)
    nothing = Histories.from_lists([[], [], []])
    top = model.recommend_for_history(nothing, 5, users=np.array([0, 1, -1])).items
    assert (top[0] % 2 == 0).all() and (top[1] % 2 == 1).all()
    np.testing.assert_array_equal(top[2], model.recommend(np.array([-1]), 5).items[0])  # of whom nothing is known: what is popular


def test_without_tables_it_learns_from_ids_and_says_so() -> None:
    bare = data(users=False, items=False)
    model = M6Rec(**SMALL).fit(bare, ONE)
    assert any("no columns of users or items" in note for note in model.notes)
    with pytest.raises(Unsupported, match="item table"):
        M6Rec(**SMALL, ids=False).fit(bare, ONE)
    assert model.findings()["features"]["item"][0]["weight"] == pytest.approx(1)


def test_findings_are_shares_of_each_side(fitted: M6Rec) -> None:
    found = fitted.findings()["features"]
    assert [row["field"] for row in found["item"]] == ["id", "kind", "weight"] and [row["field"] for row in found["user"]] == ["taste"]
    for side in found.values():
        assert sum(row["weight"] for row in side) == pytest.approx(1)
        assert all(0 <= row["low"] <= row["weight"] <= row["high"] <= 1 for row in side)


def test_reasons_name_history_and_features_and_the_planted_cause(fitted: M6Rec, tmp_path: Path) -> None:
    """What an even item has going for it with a user of even items: being even, and the even items of the history, not the odd one."""
    history = Histories.from_lists([[2, 6, 10, 5]])
    told = fitted.explain(8, history=history, k=50)
    assert told.kind == "mixed" and set(told.sorts) == {"history", "item feature"} and told.method.startswith("Occlusion")
    of = dict(zip(told.refs, told.contributions, strict=True))
    assert min(of[2], of[6], of[10]) > of[5]
    assert of["kind = even"] > 0 and of["kind = even"] == max(value for ref, value in of.items() if isinstance(ref, str))
    without = fitted.history_scores(Histories.from_lists([[2, 6, 10]]))[0, 8]
    assert of[5] == pytest.approx(float(fitted.history_scores(history)[0, 8] - without), abs=1e-5)
    known = fitted.explain(8, user=0, k=50)
    assert "taste = even" in known.refs and known.sorts[known.refs.index("taste = even")] == "user feature"
    save_model(fitted, tmp_path / "model")
    assert load_model(tmp_path / "model").explain(8, user=0, k=50) == known


def test_a_table_and_high_level_features_come_back_to_the_bit(tmp_path: Path) -> None:
    model = M6Rec(**(SMALL | {"epochs": 2}), derived=True, levels=1, item_history="users", user_ids=True, generator=8, pooling="attention")
    model.fit(data(), ONE)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    users = np.arange(N_USERS)
    np.testing.assert_array_equal(loaded.scores(users), model.scores(users))
    np.testing.assert_array_equal(loaded.new_item_vectors(data().item_table), model.new_item_vectors(data().item_table))
    assert loaded.findings() == model.findings()


def test_ratings_are_told_from_features_too() -> None:
    base = data(users=False)
    value = np.where(base.item % 4 < 2, 5, 1) + 0.0
    rated = replace(base, value=value, feedback="explicit")
    model = M6Rec(**(SMALL | {"epochs": 60}), loss="mse", id_dropout=0.5, levels=0).fit(rated, ONE)
    predicted = model.predict_ratings(base.user, base.item)
    assert np.sqrt(np.mean((predicted - value) ** 2)) < 0.5 * value.std()
    with pytest.raises(Unsupported, match="mse"):
        M6Rec(**(SMALL | {"epochs": 1})).fit(rated, ONE).predict_ratings(base.user, base.item)


def test_of_a_text_the_leading_numbers_are_read() -> None:
    """And the last one, which says that there is no text; other vectors are read whole."""
    layout = Layout(np.repeat([0, 1], 9), ("text", "vector"))
    fields = FieldEmbeddings(layout, 4, text=3)
    numbers = torch.randn(5, 18)
    changed = numbers.clone()
    changed[:, 3:8] = 7.0
    with torch.no_grad():
        rows = FieldRows(sparse.csr_matrix(numbers.numpy()), layout).take(torch.arange(5))
        other = FieldRows(sparse.csr_matrix(changed.numpy()), layout).take(torch.arange(5))
        torch.testing.assert_close(fields(other), fields(rows))
        missing = fields.readers[0][-1].weight[:, -1] * numbers[:, 8:9]
        told = numbers[:, :3] @ fields.readers[0][-1].weight[:, :3].T + missing
        torch.testing.assert_close(fields(rows)[:, 0], told)
        torch.testing.assert_close(fields(rows)[:, 1], numbers[:, 9:] @ fields.readers[1][-1].weight.T)
