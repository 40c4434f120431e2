"""GRU4Rec and Caser against slow loops, and the sequences whose law is known against their own figures."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.models.sequential.caser import Caser
from recsys_core.models.sequential.gru4rec import GRU4Rec, bpr_max, sessions, top1_max
from recsys_core.nn.places import Places
from recsys_core.testing.sequences import NOISE, second_order

ONE = RunContext(seed=3, threads=1)
SMALL = {
    GRU4Rec: {"dim": 16, "max_len": 8, "batch_size": 16, "learning_rate": 0.01, "dropout": 0.0},
    Caser: {"dim": 16, "max_len": 4, "batch_size": 64, "learning_rate": 0.01, "dropout": 0.0, "targets": 1},
}
MODELS = pytest.mark.parametrize("model", SMALL, ids=lambda cls: cls.key)


def rounds(n_users: int = 40, n_items: int = 12, n: int = 9) -> Dataset:
    """Everybody goes round a circle of items from a place of their own: item i is followed by i + 1."""
    user, step = np.divmod(np.arange(n_users * n), n)
    ids = [IdMap(np.arange(k).astype(str)) for k in (n_users, n_items)]
    return Dataset(*ids, user, (user * 5 + step) % n_items, np.ones(len(user)), step * 3600)


def built(model, **values):
    """A network with chance weights, biases too."""
    one = model(**(SMALL[model] | values))
    one.train = rounds()
    one.resolved = one.resolve(one.train.stats)
    torch.manual_seed(0)
    one.network = one._build(40, 12).eval()
    with torch.no_grad():
        one.network.bias.normal_()
    return one


# ---- what they learn -----------------------------------------------------------------------------
@MODELS
def test_what_follows_what_is_learnt(model):
    data = rounds()
    fitted = model(**SMALL[model], epochs=25, patience=0).fit(data, ONE)
    top = fitted.recommend_for_history(Histories.from_lists([[3, 4, 5], [9, 10, 11], [7], [7, 8, 9, 10]]), 1)
    assert top.items[:, 0].tolist() == [6, 0, 8, 11], "the item after the last one"
    users = np.arange(40)
    assert ((data.n_items + users * 5 + 9) % data.n_items == fitted.recommend(users, 1).items[:, 0]).all()


@pytest.mark.parametrize("loss", ["sampled_softmax", "bpr_max", "top1_max"])
def test_every_loss_learns_what_follows_what(loss):
    fitted = GRU4Rec(**SMALL[GRU4Rec], loss=loss, epochs=40, patience=0).fit(rounds(), ONE)
    top = fitted.recommend_for_history(Histories.from_lists([[3, 4, 5], [9, 10, 11]]), 1)
    assert top.items[:, 0].tolist() == [6, 0]


@MODELS
def test_two_items_back_are_used(model):
    """After (a, x) comes a' and after (b, x) comes b': the last item alone says nothing."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 240)
    rows = np.stack([kind, np.full(240, 2), 3 + kind, rng.integers(5, 8, 240)], 1)  # 0 2 3 . or 1 2 4 .
    ids = [IdMap(np.arange(k).astype(str)) for k in (240, 8)]
    data = Dataset(*ids, np.repeat(np.arange(240), 4), rows.ravel(), np.ones(960), np.tile(np.arange(4), 240))
    more = {"user": "none"} if model is Caser else {}
    fitted = model(**SMALL[model], **more, epochs=20, patience=0).fit(data, ONE)
    assert fitted.recommend_for_history(Histories.from_lists([[0, 2], [1, 2]]), 1).items[:, 0].tolist() == [3, 4]


# ---- GRU4Rec -------------------------------------------------------------------------------------
@pytest.mark.parametrize("hidden", [16, 10])
@pytest.mark.parametrize("layers", [1, 2])
def test_states_are_those_of_a_loop_step_by_step_whatever_the_padding(hidden, layers):
    net = built(GRU4Rec, hidden=hidden, layers=layers).network
    pad, rows = net.pad, [[5], [1, 2, 3], [7, 7, 0, 4, 11], [2, 3]]
    longest = 7
    items = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
    with torch.no_grad():
        states = net.encode(items)
        assert states.shape == (4, longest, 16)
        for number, row in enumerate(rows):
            memory = torch.zeros(layers, 1, hidden)
            for step, item in enumerate(row):
                out, memory = net.gru(net.item.weight[item].view(1, 1, -1), memory)
                expected = net.out(out[0, 0])
                torch.testing.assert_close(states[number, longest - len(row) + step], expected, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(net.last_state(torch.tensor([row]))[0], states[number, -1], atol=1e-6, rtol=1e-5)


def test_no_gradient_reaches_the_padding_and_none_comes_from_it():
    net = built(GRU4Rec).network
    items = torch.tensor([[12, 12, 4, 5], [1, 2, 3, 6]])
    net.encode(items)[0, 2:].sum().backward()
    touched = net.item.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert touched == [4, 5]


@pytest.mark.parametrize("tied", [True, False])
def test_all_ways_to_ask_caser_for_scores_agree(tied):
    net = built(Caser, tied=tied).network
    states, items = torch.randn(3, 32), torch.tensor([4, 0, 11])
    every = net.scores(states)
    torch.testing.assert_close(net.scores_with(states, items), every[:, items])
    torch.testing.assert_close(net.scores_of(states, items), every[torch.arange(3), items])
    torch.testing.assert_close(net.scores_of(states, items.repeat(3, 1)), every[:, items])


def test_state_width_and_own_output_vectors():
    one = built(GRU4Rec, hidden=10, tied=False)
    assert one.network.output_table.shape == (12, 16) and one.network.item.weight.shape == (13, 16)
    assert one._history_scores(Histories.from_lists([[1, 2]])).shape == (1, 12)


def test_bpr_max_and_top1_max_by_hand():
    positive, negative = torch.tensor([1.0]), torch.tensor([[0.0, math.log(3)]])
    weight, sigmoid = np.array([0.25, 0.75]), lambda x: 1 / (1 + np.exp(-x))
    r = np.array([0.0, math.log(3)])
    beats = (weight * sigmoid(1 - r)).sum()
    assert bpr_max(positive, negative).item() == pytest.approx(-np.log(beats), rel=1e-5)
    assert bpr_max(positive, negative, None, 0.5).item() == pytest.approx(-np.log(beats) + 0.5 * (weight * r**2).sum(), rel=1e-5)
    assert top1_max(positive, negative).item() == pytest.approx((weight * (sigmoid(r - 1) + sigmoid(r**2))).sum(), rel=1e-5)


def test_what_is_excluded_does_not_count_and_nothing_left_costs_nothing():
    positive = torch.tensor([1.0, 2.0], requires_grad=True)
    negative = torch.tensor([[0.5, 30.0], [1.0, 1.0]], requires_grad=True)
    excluded = torch.tensor([[False, True], [True, True]])
    for loss in (partial(bpr_max, score_penalty=0.5), top1_max):
        value = loss(positive, negative, excluded)
        alone = loss(positive[:1], negative[:1, :1])
        assert value.item() == pytest.approx(alone.item() / 2, rel=1e-5)
        for gradient in torch.autograd.grad(value, (positive, negative)):
            assert gradient.isfinite().all()


def test_sessions_are_cut_where_the_pause_is_longer():
    hour = 3600
    row, items = np.array([0, 0, 0, 2, 2, 2, 2]), np.arange(7)
    times = np.array([0, 1, 9, 0, 5, 6, 30]) * hour
    histories = Histories.from_rows(3, row, items, np.ones(7), times)
    cut, of = sessions(histories, 4)
    assert [cut.items[a:b].tolist() for a, b in zip(cut.indptr, cut.indptr[1:], strict=False)] == [[0, 1], [2], [3], [4, 5], [6]]
    assert of.tolist() == [0, 0, 2, 2, 2]
    for whole, hours in ((histories, 0), (Histories.from_rows(3, row, items, np.ones(7)), 4)):
        cut, of = sessions(whole, hours)
        assert cut.lengths.tolist() == [3, 4] and of.tolist() == [0, 2]


def test_scores_come_from_the_last_session_and_learning_stays_inside_sessions():
    data = rounds()
    pauses = np.where(np.arange(len(data)) % 9 >= 5, 100, 0) * 3600  # every history: five items, a long pause, four items
    data = Dataset(data.users, data.items, data.user, data.item, data.value, data.time + pauses)
    fitted = GRU4Rec(**SMALL[GRU4Rec], epochs=2, session_hours=10).fit(data, ONE)
    whole = data.histories(np.arange(6))
    np.testing.assert_allclose(fitted.history_scores(whole), fitted.history_scores(whole.last(4)), atol=1e-5)
    assert fitted._pieces(data, 9).lengths.tolist() == [5, 4] * 40
    one = whole.take(np.array([0]))
    reasons = fitted.explain(3, history=one, k=9)
    assert reasons.total == pytest.approx(fitted.history_scores(one)[0, 3], abs=1e-5)
    earlier = [by for item, by in zip(reasons.refs, reasons.contributions, strict=True) if item not in one.items[-4:]]
    assert earlier and np.abs(earlier).max() < 1e-5, "items of an earlier session are given as reasons"
    longer = GRU4Rec(**SMALL[GRU4Rec], epochs=2).fit(data, ONE)
    assert np.abs(longer.history_scores(whole) - longer.history_scores(whole.last(4))).max() > 1e-3


# ---- Caser ---------------------------------------------------------------------------------------
def test_picture_is_that_of_a_slow_loop():
    net = built(Caser, horizontal=3, vertical=2).network
    items = torch.tensor([[1, 2, 3, 4], [12, 12, 5, 5], [12, 0, 7, 11]])
    with torch.no_grad():
        got = net.picture(items)
        for row, picture in zip(items, got, strict=True):
            image = torch.stack([torch.zeros(16) if code == 12 else net.item.weight[code] for code in row])  # (4, 16)
            seen = []
            for height, layer in enumerate(net.horizontal, start=1):
                for filter_, bias in zip(layer.weight, layer.bias, strict=True):  # (16, height)
                    slid = [sum((filter_[:, k] * image[at + k]).sum() for k in range(height)) + bias for at in range(5 - height)]
                    seen.append(max(torch.relu(value) for value in slid))
            vertical = [sum(filter_[k] * image[k, column] for k in range(4)) for column in range(16) for filter_ in net.vertical.weight]
            expected = torch.relu(net.combine(torch.tensor([*map(float, seen), *map(float, vertical)])))
            torch.testing.assert_close(picture, expected, atol=1e-5, rtol=1e-4)


def test_a_short_history_is_one_with_zeros_before_it():
    one = built(Caser, user="none")
    net = one.network
    short, padded = torch.tensor([[3, 4]]), torch.tensor([[12, 12, 3, 4]])
    torch.testing.assert_close(net.last_state(short), net.picture(padded))
    torch.testing.assert_close(net.encode(torch.tensor([[9, 8, 7, 3, 4]]))[0, -1], net.picture(torch.tensor([[8, 7, 3, 4]]))[0])
    assert (net.item.weight[12] == 0).all()
    net.picture(padded).sum().backward()
    assert (net.item.weight.grad[12] == 0).all() and (net.item.weight.grad[3] != 0).any()


@pytest.mark.parametrize("filters", [{"horizontal": 0}, {"vertical": 0}])
def test_one_kind_of_filters_is_enough(filters):
    assert built(Caser, **filters).network.picture(torch.tensor([[1, 2, 3, 4]])).shape == (1, 16)


def test_no_filters_at_all_is_refused():
    with pytest.raises(Unsupported, match="filter"):
        Caser(horizontal=0, vertical=0, epochs=1).fit(rounds(), ONE)


def test_places_by_hand():
    histories = Histories.from_lists([[1, 2, 3, 4, 5], [6], [7, 8]])
    places = Places(histories, 3, 2, 99)
    assert len(places) == 5
    row, read, following = places.take(torch.arange(5))
    assert row.tolist() == [0, 0, 0, 0, 2]
    assert read.tolist() == [[99, 99, 1], [99, 1, 2], [1, 2, 3], [2, 3, 4], [99, 99, 7]]
    assert following.tolist() == [[2, 3], [3, 4], [4, 5], [5, 99], [8, 99]]
    assert places.targets_a_place == pytest.approx(8 / 5)
    assert places.latest(2).tolist() == [2, 3, 4]


def test_places_without_order_never_read_their_targets():
    histories = Histories.from_lists([[1, 2, 3, 4, 5, 6, 7, 8], [6], [7, 9]])
    places = Places(histories, 3, 2, 99)
    torch.manual_seed(0)
    index = torch.arange(8).repeat(300)
    row, read, following = places.take_any(index)
    assert (following[:, 0] == places.take(index)[2][:, 0]).all(), "the place's own item is the first target"
    for one, r, f in zip(row.tolist(), read.tolist(), following.tolist(), strict=True):
        drawn = [item for item in r + f if item != 99]
        assert len(drawn) == len(set(drawn)) and set(drawn) <= set(histories.items[histories.indptr[one] : histories.indptr[one + 1]])
    counts = np.bincount(read[index == 0].flatten(), minlength=100)[:9]  # the first place: item 2 is its target, all others are read
    assert counts[2] == 0 and counts[[1, 3, 4, 5, 6, 7, 8]].min() > 0.7 * counts[[1, 3, 4, 5, 6, 7, 8]].max()


def test_caser_loss_is_the_mean_cross_entropy_of_its_targets():
    one = built(Caser, targets=2)
    data = one.train
    _, loss = one._objective(data, torch.device("cpu"))
    one.network.eval()
    index = torch.tensor([0, 7, 100, 319])  # 8 places a user: user, place = divmod(index, 8)
    total = 0.0
    for number in index.tolist():
        user, place = divmod(number, 8)
        history = data.item[user * 9 : user * 9 + 9]
        read = torch.tensor([[*[12] * 4, *history[: place + 1].tolist()][-4:]])
        state = torch.cat([one.network.picture(read), one.network.user.weight[user][None]], 1)
        for target in history[place + 1 : place + 3]:
            total += F.cross_entropy(one.network.scores(state), torch.tensor([int(target)]))
    assert loss(index, 0).item() == pytest.approx(total.item() / 4 / (15 / 8), rel=1e-5)


def test_a_new_user_with_the_history_of_an_old_one_gets_much_the_same_list():
    """Users of two tastes who stray a quarter of the time: what is the user's is told by no single item but by all of them."""
    rng = np.random.default_rng(1)
    n_users, n, half = 80, 12, 15
    taste = np.arange(n_users) % 2
    items = np.argsort(rng.random((n_users, half)), axis=1)[:, :n] + half * taste[:, None]
    mixed = np.where(rng.random((n_users, n)) < 0.25, (items + half) % (2 * half), items)
    ids = [IdMap(np.arange(k).astype(str)) for k in (n_users, 2 * half)]
    data = Dataset(*ids, np.repeat(np.arange(n_users), n), mixed.ravel(), np.ones(n_users * n), np.tile(np.arange(n), n_users))
    fitted = Caser(**SMALL[Caser] | {"dropout": 0.5}, epochs=15, patience=0).fit(data, ONE)
    users = np.arange(n_users)
    old, new = fitted.scores(users), fitted.history_scores(data.histories(users))
    right = np.repeat(np.arange(2), half)[None, :] == taste[:, None]
    lean = [np.where(right, x, 0).sum(1) - np.where(right, 0, x).sum(1) for x in (old, new)]
    assert (lean[0] > 0).mean() > 0.9 and (lean[1] > 0).mean() > 0.9
    assert np.corrcoef(old.ravel(), new.ravel())[0, 1] > 0.8


def test_fold_in_of_a_batch_is_that_of_its_rows():
    fitted = Caser(**SMALL[Caser], epochs=3).fit(rounds(), ONE)
    histories = rounds().histories(np.array([1, 5, 9]))
    together = fitted.history_scores(histories)
    alone = np.concatenate([fitted.history_scores(histories.take(np.array([row]))) for row in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-4)


# ---- sequences whose law is known ----------------------------------------------------------------
@pytest.fixture(scope="module")
def case():
    return second_order(400, 120, 25, 5, n_groups=5, followers=6)


def test_sequences_are_of_the_asked_size_in_order_and_without_repeats(case):
    lengths = case.data.histories().lengths
    assert len(lengths) == 400 and lengths.min() >= 20 and lengths.max() == 30
    assert len(np.unique(case.data.user.astype(np.int64) * 120 + case.data.item)) == len(case.data)
    assert (np.diff(case.data.time)[np.diff(case.data.user) == 0] > 0).all()
    again = second_order(400, 120, 25, 5, n_groups=5, followers=6)
    np.testing.assert_array_equal(again.data.item, case.data.item)
    np.testing.assert_allclose(case.follows.sum(2), 1)
    assert ((case.follows > 0).sum(2) == 6).all() and np.bincount(case.group).tolist() == [24] * 5


def test_the_law_is_the_one_the_sequences_follow(case):
    """Slow loop over one history; then over all: of the probability told of an item, as much comes true."""
    history = case.data.histories(np.array([3])).last(12)
    told = case.oracle(Histories(np.array([0, 11]), history.items[:11], history.values[:11]))[0]
    a, b = (case.group[code] for code in history.items[9:11])
    seen = set(history.items[:11].tolist())
    left = {code: case.follows[a, b, code] for code in range(120) if code not in seen}
    rest = {code: case.popularity[code] for code in range(120) if code not in seen}
    for code in range(120):
        follower = left.get(code, 0) / sum(left.values()) if sum(left.values()) else 0
        share = 1 - NOISE if sum(left.values()) else 0
        assert told[code] == pytest.approx(share * follower + (1 - share) * rest.get(code, 0) / sum(rest.values()), abs=1e-12)
    whole = case.data.histories()
    before = Histories.from_rows(400, whole.row[~_last(whole)], whole.items[~_last(whole)], whole.values[~_last(whole)])
    told, truth = case.oracle(before), whole.items[_last(whole)]
    np.testing.assert_allclose(told.sum(1), 1)
    expected, came = told.max(1).mean(), (told.argmax(1) == truth).mean()
    assert came == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / 400))


def test_the_last_item_alone_says_much_less_and_popularity_less_still(case):
    whole = case.data.histories()
    last = _last(whole)
    before = Histories.from_rows(400, whole.row[~last], whole.items[~last], whole.values[~last])
    truth = whole.items[last]
    popular = np.tile(np.bincount(before.items, minlength=120), (400, 1)).astype(float)
    popular[before.matrix(120).toarray() > 0] = -1
    hit = [
        (np.argsort(-scores, axis=1)[:, :3] == truth[:, None]).any(1).mean()
        for scores in (case.oracle(before), case.first_order_oracle(before), popular)
    ]
    assert hit[0] > 1.7 * hit[1] and hit[1] > 1.5 * hit[2], hit


def test_both_learn_more_than_the_last_item_says():
    """On sequences of the second order both networks pass the best that order-blind and first-order models could do."""
    case = second_order(500, 100, 25, 5, n_groups=4, followers=5)
    whole = case.data.histories()
    last = _last(whole)
    train, truth = case.data.subset(~last), whole.items[last]
    blind = case.first_order_oracle(train.histories())
    bar = (np.argsort(-blind, axis=1)[:, :3] == truth[:, None]).any(1).mean()
    for model, values in ((GRU4Rec, {"dropout": 0.1}), (Caser, {"user": "none", "targets": 1, "dropout": 0.1})):
        fitted = model(**values, dim=32, batch_size=32 if model is GRU4Rec else 128, learning_rate=0.01, epochs=12, patience=0).fit(
            train, ONE
        )
        hit = (fitted.recommend(np.arange(500), 3).items == truth[:, None]).any(1).mean()
        assert hit > 1.2 * bar, f"{model.key}: {hit:.2f}, the best from the last item alone {bar:.2f}"


def _last(histories: Histories) -> np.ndarray:
    mask = np.zeros(len(histories.items), bool)
    mask[histories.indptr[1:] - 1] = True
    return mask
