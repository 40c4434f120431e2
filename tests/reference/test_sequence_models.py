"""Sequence models against slow, obvious loops: windows, who looks at whom, what the loss is made of, what they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.errors import ParamError, Unsupported
from recsys_core.models.sequential.bert4rec import BERT4Rec, forget_later, hide
from recsys_core.models.sequential.sasrec import SASRec
from recsys_core.nn.runtime import seeded
from recsys_core.nn.sequences import LengthBatches, SequenceRows, shuffled, windows
from recsys_core.nn.transformer import Transformer, attention_mask

SMALL = {"dim": 16, "max_len": 6, "batch_size": 16, "learning_rate": 0.01, "averaging": 0.0}
MODELS = pytest.mark.parametrize("model", [SASRec, BERT4Rec], ids=lambda cls: cls.key)


def context(seed: int = 42, **more) -> RunContext:
    return RunContext(seed=seed, threads=1, **more)


def dataset(sequences: list[list[int]], n_items: int, values: list[list[float]] | None = None, threshold: float | None = None) -> Dataset:
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    item = np.concatenate(sequences)
    value = np.ones(len(item)) if values is None else np.concatenate(values)
    ids = [IdMap(np.arange(n).astype(str)) for n in (len(sequences), n_items)]
    shuffled = np.random.default_rng(0).permutation(len(item))  # only times say what came first
    feedback = "implicit" if values is None else "explicit"
    return Dataset(*ids, user[shuffled], item[shuffled], value[shuffled], np.arange(len(item))[shuffled], feedback, threshold)


def random_sequences(n: int = 40, n_items: int = 9, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, n_items, rng.integers(1, 23)).tolist() for _ in range(n)]


def untrained(model, n_items: int = 9, **params):
    """The model with its network as it starts, ready to score."""
    made = model(**(SMALL | {"dropout": 0.0, "epochs": 1} | params))
    made.train = dataset(random_sequences(n_items=n_items), n_items)
    made.resolved = made.resolve(made.train.stats)
    torch.manual_seed(0)
    made.network = made._build(made.train.n_users, n_items).eval()
    for weight in made.network.parameters():  # biases and places that differ from zero, so that nothing is equal by accident
        weight.data += 0.3 * torch.randn_like(weight)
    made.network.item.weight.data[made.network.pad] = 0
    return made


# ---- windows and batches -------------------------------------------------------------------------
def test_windows_by_hand():
    pieces = windows(Histories.from_lists([[1, 2, 3, 4, 5, 6, 7], [8], [], [3, 3, 3], [1, 2, 3, 4]]), 4, pad=9)
    np.testing.assert_array_equal(pieces.items, [[1, 2, 3, 4], [4, 5, 6, 7], [9, 3, 3, 3], [1, 2, 3, 4]])
    np.testing.assert_array_equal(pieces.row, [0, 0, 3, 4])
    np.testing.assert_array_equal(pieces.lengths, [4, 4, 3, 4])
    pieces = windows(Histories.from_lists([[1, 2, 3, 4, 5]]), 4, pad=9)
    np.testing.assert_array_equal(pieces.items, [[9, 9, 1, 2], [2, 3, 4, 5]])
    apart = windows(Histories.from_lists([[1, 2, 3, 4, 5], [6]]), 4, pad=9, overlap=0, shortest=1)
    np.testing.assert_array_equal(apart.items, [[9, 9, 9, 1], [2, 3, 4, 5], [9, 9, 9, 6]])
    sliding = windows(Histories.from_lists([[1, 2, 3, 4], [5]]), 3, pad=9, overlap=2)
    np.testing.assert_array_equal(sliding.items, [[1, 2, 3], [2, 3, 4]])
    assert len(windows(Histories.from_lists([[1], []]), 3, pad=9)) == 0
    with pytest.raises(ValueError, match="overlap"):
        windows(Histories.from_lists([[1, 2]]), 3, pad=9, overlap=3)


@pytest.mark.parametrize("length", [2, 3, 5, 8, 50])
def test_every_item_but_the_first_follows_another_exactly_once(length):
    sequences = random_sequences()
    pieces = windows(Histories.from_lists(sequences), length, pad=9)
    found = {user: [] for user in range(len(sequences))}
    for user, piece, size in zip(pieces.row, pieces.items, pieces.lengths, strict=True):
        assert (piece[: length - size] == 9).all() and (piece[length - size :] < 9).all() and size >= 2
        found[user] += list(zip(piece[length - size : -1].tolist(), piece[length - size + 1 :].tolist(), strict=True))
    for user, sequence in enumerate(sequences):
        assert found[user] == list(zip(sequence[:-1], sequence[1:], strict=True)), "a step was lost, doubled or moved"


def test_batches_hold_every_window_once_and_little_padding():
    lengths = np.random.default_rng(0).integers(2, 51, 4_000)
    batches = LengthBatches(lengths, 32)
    with seeded(1):
        first = list(batches)
    with seeded(1):
        assert all(torch.equal(a, b) for a, b in zip(first, batches, strict=True))
    with seeded(2):
        other = list(batches)
    assert len(first) == len(batches) == 125 and batches.n == 4_000
    assert sorted(torch.cat(first).tolist()) == list(range(4_000)) and not torch.equal(torch.cat(first), torch.cat(other))
    cells = sum(len(index) * lengths[index.numpy()].max() for index in first)
    assert cells < 1.15 * lengths.sum(), "batches of like length are mostly items"
    means = np.array([lengths[index.numpy()].mean() for index in first])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.4, "short and long batches take turns"


def test_a_batch_is_cut_to_its_longest_window():
    pieces = windows(Histories.from_lists([[1, 2], [3, 4, 5], [1, 2, 3, 4, 5, 6]]), 6, pad=9)
    np.testing.assert_array_equal(SequenceRows(pieces).take(torch.tensor([1, 0])), [[3, 4, 5], [9, 1, 2]])


# ---- who looks at whom ---------------------------------------------------------------------------
def test_attention_mask_by_hand():
    present = torch.tensor([[False, True, True], [False, False, False]])
    causal, both = attention_mask(present, True)[:, 0], attention_mask(present, False)[:, 0]
    assert causal.tolist() == [[[1, 0, 0], [0, 1, 0], [0, 1, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]]
    assert both.tolist() == [[[1, 1, 1], [0, 1, 1], [0, 1, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]]


def test_rows_of_padding_give_no_nan():
    torch.manual_seed(0)
    net, x = Transformer(8, 2, 2, 2, 0.1, causal=True), torch.randn(2, 4, 8, requires_grad=True)
    out = net(x, torch.tensor([[False] * 4, [False, True, True, True]]))
    (out[1, 1:] ** 2).sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all() and (x.grad[1, 0] == 0).all(), "nothing learns from padding"


def test_transformer_block_equals_a_slow_loop():
    torch.manual_seed(0)
    net, x = Transformer(8, 1, 2, 2, 0.0, causal=True).eval(), torch.randn(1, 5, 8)
    block, present = net.blocks[0], [False, True, True, True, True]
    y = block.norm_attention(x)[0]
    key, value = block.key_value(y).split(8, -1)
    query, rows = block.query(y), []
    for t in range(1, 5):
        looked = []
        for head in (slice(0, 4), slice(4, 8)):
            say = torch.stack([query[t, head] @ key[s, head] / 2.0 for s in range(1, t + 1) if present[s]]).softmax(0)
            looked.append(sum(w * value[s, head] for w, s in zip(say, range(1, t + 1), strict=True)))
        row = x[0, t] + block.merge(torch.cat(looked))
        rows.append(net.norm(row + block.network(block.norm_network(row))))
    np.testing.assert_allclose(net(x, torch.tensor([present]))[0, 1:].detach(), torch.stack(rows).detach(), atol=1e-5)
    torch.testing.assert_close(net(x, torch.tensor([present]), last_only=True)[:, 0], net(x, torch.tensor([present]))[:, -1])


def test_sasrec_sees_nothing_of_what_comes_later():
    net = untrained(SASRec).network
    one, other = torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([[1, 2, 3, 4, 8, 0]])
    with torch.no_grad():
        a, b = net.encode(one), net.encode(other)
    assert torch.equal(a[:, :4], b[:, :4]) and not torch.allclose(a[:, 4], b[:, 4])


def test_bert4rec_sees_both_sides():
    net = untrained(BERT4Rec).network
    with torch.no_grad():
        a, b = (net.encode(torch.tensor([[1, net.mask, 3, last]])) for last in (4, 5))
    assert not torch.allclose(a[:, 1], b[:, 1])


@MODELS
def test_padding_changes_nothing(model):
    net = untrained(model, max_len=12).network
    with torch.no_grad():
        short = net.last_state(torch.tensor([[1, 2, 3]]))
        padded = net.last_state(torch.tensor([[net.pad] * 2 + [1, 2, 3], [net.pad] * 4 + [7]]))[:1]
        more = net.last_state(torch.tensor([[net.pad] * 9 + [1, 2, 3]]))
    torch.testing.assert_close(short, padded, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(short, more, atol=1e-5, rtol=1e-4)


def test_last_state_is_the_state_of_the_last_entry():
    net = untrained(SASRec).network
    items = torch.tensor([[net.pad, 1, 2, 3], [4, 5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(net.last_state(items), net.encode(items)[:, -1], atol=1e-5, rtol=1e-4)
    net = untrained(BERT4Rec).network
    items, asked = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3, net.mask]])
    with torch.no_grad():
        torch.testing.assert_close(net.last_state(items), net.encode(asked)[:, -1], atol=1e-5, rtol=1e-4)


@MODELS
def test_only_the_last_items_are_read_in_their_order(model):
    made = untrained(model)  # max_len 6; BERT4Rec needs the last place for what is asked
    base = made.history_scores(Histories.from_lists([[1, 2, 3, 4, 5, 6, 7]]))
    older = made.history_scores(Histories.from_lists([[8, 8, 3, 4, 5, 6, 7] if model is BERT4Rec else [8, 2, 3, 4, 5, 6, 7]]))
    swapped = made.history_scores(Histories.from_lists([[1, 2, 3, 4, 5, 7, 6]]))
    np.testing.assert_allclose(base, older, atol=1e-5)
    assert not np.allclose(base, swapped, atol=1e-3)


# ---- what the loss is made of --------------------------------------------------------------------
def test_next_item_loss_equals_a_slow_loop():
    made = untrained(SASRec, loss="full_softmax")
    batches, loss = made._objective(made.train, "cpu")
    pieces = windows(made.train.histories(), 7, pad=9)
    index, total = torch.tensor([0, 3, 5]), 0.0
    for row in index.tolist():
        items = pieces.items[row][pieces.items[row] != 9]
        for place in range(1, len(items)):
            shift = 6 - (len(items) - 1)  # places count from the end of the window, not of the part read so far
            padded = torch.full((1, 6), 9)
            padded[0, shift : shift + len(items) - 1] = torch.as_tensor(items[:-1])
            with torch.no_grad():
                score = made.network.scores(made.network.encode(padded)[:, shift + place - 1])[0]
            total += float(F.cross_entropy(score, torch.tensor(items[place])))
    mean_targets = (pieces.lengths - 1).mean()
    with torch.no_grad():
        assert float(loss(index, 0)) == pytest.approx(total / (3 * mean_targets), rel=1e-4)
    assert batches.n == len(pieces)


def test_sampled_softmax_against_all_items_is_the_full_softmax(monkeypatch):
    made = untrained(SASRec, loss="full_softmax")
    torch.manual_seed(1)
    states, targets = torch.randn(20, 16), torch.randint(9, (20,))
    full = made._choice_loss(made.train, "cpu")(states, targets).item()
    from recsys_core.nn.samplers import NegativeSampler

    monkeypatch.setattr(NegativeSampler, "draw", lambda self, shape: torch.arange(9))
    made.resolved = made.resolved.with_(loss="sampled_softmax", negatives=9, popularity=0.0)
    assert made._choice_loss(made.train, "cpu")(states, targets).item() == pytest.approx(full, rel=1e-5)


@pytest.mark.parametrize("loss", ["sampled_softmax", "bce", "gbce"])
def test_the_target_is_never_its_own_negative(loss, monkeypatch):
    """Every item drawn is the target: what is left to learn is nothing, or the positive alone."""
    made = untrained(SASRec, loss=loss, negatives=4)
    from recsys_core.nn.samplers import NegativeSampler

    monkeypatch.setattr(NegativeSampler, "draw", lambda self, shape: torch.full(shape, 5))
    states, targets = torch.randn(3, 16, requires_grad=True), torch.full((3,), 5)
    value = made._choice_loss(made.train, "cpu")(states, targets)
    positive = made.network.scores_of(states, targets)
    beta = 0.75 * (4 / 8 - 1) + 1
    expected = {"sampled_softmax": 0.0, "bce": F.softplus(-positive).mean(), "gbce": beta * F.softplus(-positive).mean()}[loss]
    assert value.item() == pytest.approx(torch.as_tensor(expected).item(), rel=1e-5)
    value.backward()
    assert states.grad.isfinite().all()


def test_what_bert4rec_hides():
    torch.manual_seed(0)
    present = torch.arange(20) >= torch.randint(0, 19, (4_000, 1))
    hidden = hide(present, 0.3, torch.zeros(4_000, 1, dtype=torch.bool))
    assert not (hidden & ~present).any() and hidden.any(1).all()
    long = present.sum(1) >= 15
    assert (hidden[long].sum() / present[long].sum()).item() == pytest.approx(0.3, abs=0.02)
    only_last = torch.rand(4_000, 1) < 0.4
    mixed = hide(present, 0.3, only_last)
    assert (mixed[only_last[:, 0]].nonzero()[:, 1] == 19).all() and mixed[~only_last[:, 0]][:, :19].any()


def test_histories_cut_at_a_random_item():
    torch.manual_seed(0)
    rows = torch.tensor([[9, 9, 1, 2, 3], [4, 5, 6, 7, 8], [9, 9, 9, 9, 2]]).repeat(400, 1)
    chosen = torch.rand(1200, 1) < 0.5
    cut = forget_later(rows, chosen, 9)
    assert torch.equal(cut[~chosen[:, 0]], rows[~chosen[:, 0]])
    seen = {tuple(row) for row in cut.tolist()}
    assert seen == {(9, 9, 9, 1, 2), (9, 9, 1, 2, 3), (9, 9, 9, 4, 5), (9, 9, 4, 5, 6), (9, 4, 5, 6, 7), (4, 5, 6, 7, 8), (9, 9, 9, 9, 2)}


def test_hidden_items_are_the_only_loss_of_bert4rec():
    made = untrained(BERT4Rec, loss="full_softmax", mask_share=0.4, last_share=0.5)
    _, loss = made._objective(made.train, "cpu")
    pieces = windows(made.train.histories(), 6, pad=9, overlap=0)
    index, net = torch.tensor([0, 1, 4, 7, 9, 2, 3, 8]), made.network
    each = {True: [], False: []}
    with seeded(3), torch.no_grad():
        value = float(loss(index, 0))
    items = SequenceRows(pieces).take(index)
    with seeded(3):
        only_last = torch.rand(len(items), 1) < 0.5
        items = forget_later(items, only_last, 9)
        hidden = hide(items != 9, 0.4, only_last)
    for row, where, last in zip(items, hidden, only_last[:, 0].tolist(), strict=True):
        for place in where.nonzero().squeeze(1).tolist():
            with torch.no_grad():
                state = net.encode(torch.where(where, torch.tensor(net.mask), row)[None])[:, place]
                each[last].append(float(F.cross_entropy(net.scores(state), row[place, None])))
    assert all(each.values()), "no row of one kind: choose another seed"
    share = only_last.float().mean().item()
    assert value == pytest.approx(share * np.mean(each[True]) + (1 - share) * np.mean(each[False]), rel=1e-4)


# ---- what they learn -----------------------------------------------------------------------------
def second_order(n_users: int = 300, length: int = 24, n_items: int = 8) -> tuple[Dataset, np.ndarray]:
    """Sequences whose next item is a function of the last two; the function as a table."""
    rng = np.random.default_rng(3)
    follows = rng.integers(0, n_items, (n_items, n_items))
    sequences = [rng.integers(0, n_items, 2).tolist() for _ in range(n_users)]
    for sequence in sequences:
        while len(sequence) < length:  # a third of the steps go anywhere, or all would end in the same circle
            sequence.append(int(follows[sequence[-2], sequence[-1]]) if rng.random() > 0.33 else int(rng.integers(n_items)))
    return dataset(sequences, n_items), follows


def test_sasrec_learns_what_follows_a_pair():
    data, follows = second_order()
    model = SASRec(dim=32, heads=1, max_len=8, batch_size=32, learning_rate=0.01, dropout=0.0, epochs=20).fit(data, context())
    rng = np.random.default_rng(9)
    fresh = rng.integers(0, 8, (200, 6))
    right = model.history_scores(Histories.from_lists(fresh.tolist())).argmax(1) == follows[fresh[:, -2], fresh[:, -1]]
    best_by_last = max(np.bincount(follows[:, last], minlength=8).max() for last in range(8)) / 8
    assert right.mean() > 0.9 > best_by_last, f"right for {right.mean():.0%}"


@MODELS
def test_what_is_asked_follows_the_validation_part(model):
    """Held out from the middle of the histories: any missing item is asked for. Held out from their end: the next one."""
    data = dataset([list(range(user % 3, 9)) for user in range(30)], 9)
    begin = np.cumsum([0, *data.histories().lengths])[:-1]
    last, middle = (np.isin(data.time, begin + at) for at in (data.histories().lengths - 1, 3))
    for held, asked in ((last, "next"), (middle, "any")):
        train, validation = data.subset(~held), Holdout(data.subset(held))
        assert validation.comes_after(train) == (asked == "next")
        fitted = model(**(SMALL | {"epochs": 2})).fit(train, context(), validation=validation)
        assert fitted.resolved.asked == fitted.refit_params().asked == asked
        assert any("in any order" in note for note in fitted.notes) == (asked == "any")
        forced = model(**(SMALL | {"epochs": 1}), asked="next").fit(train, context(), validation=validation)
        assert forced.resolved.asked == "next"
    timeless = Holdout(replace(validation.truth, time=None))
    assert timeless.comes_after(train), "without times nothing speaks against the order"


def test_learning_any_item_forgets_the_order_but_not_the_items():
    made = untrained(SASRec, asked="any")
    sequences, plain = made._sequences(made.train), made.train.histories()
    assert not np.array_equal(sequences.items, plain.items)
    for user in range(len(plain)):
        one, other = (h.items[h.indptr[user] : h.indptr[user + 1]] for h in (sequences, plain))
        np.testing.assert_array_equal(np.sort(one), np.sort(other))
    torch.manual_seed(0)
    rows = torch.tensor([[9, 9, 1, 2, 3], [4, 5, 6, 7, 8]]).repeat(500, 1)
    mixed = shuffled(rows, 9)
    assert (mixed[::2, :2] == 9).all() and torch.equal(mixed.sort(1).values, rows.sort(1).values)
    assert (mixed[1::2, -1] == 8).float().mean().item() == pytest.approx(0.2, abs=0.05)


@MODELS
def test_only_likes_are_part_of_a_history(model):
    """The disliked item 0 stands between all others; without it the rest goes round in a circle."""
    circle = [[(start + step) % 6 + 1 for step in range(8)] for start in range(24)]
    sequences = [[x for item in row for x in (item, 0)] for row in circle]
    data = dataset(sequences, 7, [[5.0, 1.0] * 8] * 24, threshold=4.0)
    fitted = model(**(SMALL | {"epochs": 60, "dropout": 0.1, "learning_rate": 0.005, "batch_size": 4})).fit(data, context())
    assert fitted.network.bias[0] < 0, "an item nobody liked is never the next one"
    asked = Histories.from_lists([[4, 5, 0, 6, 1, 0, 2, 0], [1, 2, 3, 4, 5, 0]], [[5, 5, 1, 5, 5, 1, 5, 1], [5, 5, 5, 5, 5, 1]])
    liked = Histories.from_lists([[4, 5, 6, 1, 2], [1, 2, 3, 4, 5]])
    np.testing.assert_allclose(fitted.history_scores(asked), fitted.history_scores(liked), atol=1e-5)
    np.testing.assert_array_equal(fitted.history_scores(liked).argmax(1), [3, 6])


@MODELS
def test_who_listens_again_and_again_is_expected_to(model):
    data = dataset([[user % 3] * 9 for user in range(30)], 3)
    fitted = model(**(SMALL | {"epochs": 40, "dropout": 0.1})).fit(data, context())
    np.testing.assert_array_equal(fitted.history_scores(Histories.from_lists([[0], [1, 1], [2, 2, 2]])).argmax(1), [0, 1, 2])


@MODELS
def test_scoring_is_in_evaluation_mode_and_single_rows_agree_with_batches(model):
    fitted = model(**(SMALL | {"epochs": 2, "dropout": 0.5})).fit(dataset(random_sequences(), 9), context())
    histories = Histories.from_lists(random_sequences(seed=1))
    together = fitted.history_scores(histories)
    np.testing.assert_array_equal(together, fitted.history_scores(histories))
    alone = np.concatenate([fitted.history_scores(histories.take(np.array([n]))) for n in range(len(histories))])
    np.testing.assert_allclose(together, alone, atol=1e-4)


@MODELS
def test_histories_of_one_item_cannot_be_learnt_from(model):
    with pytest.raises(Unsupported, match="two relevant"):
        model(**SMALL, epochs=1).fit(dataset([[0], [1], [2]], 3), context())


@MODELS
def test_large_catalogues_are_sampled(model):
    stats = dataset(random_sequences(), 9).stats
    assert model().resolve(stats).loss == "full_softmax"
    large = model().resolve(replace(stats, n_items=100_000, n_interactions=10**6, n_users=10**4, longest_history=500))
    assert large.loss == "sampled_softmax" and large.negatives == 512 and large.max_len == 50
    tiny = model().resolve(replace(stats, n_items=4, n_interactions=6, n_users=3, longest_history=2))
    assert tiny.max_len >= 2 and tiny.negatives <= 4 and tiny.batch_size >= 1


@MODELS
def test_the_width_is_a_multiple_of_the_heads(model):
    stats = dataset(random_sequences(), 9).stats
    assert model(heads=3).resolve(stats).dim == 15, "chosen so"
    with pytest.raises(ParamError, match="got width 7 and 2 heads"):
        model(dim=7, heads=2).resolve(stats)
