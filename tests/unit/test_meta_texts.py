"""Sentence encoders inside the models that adapt: a stand-in for the encoder shows what learns; the real one where it is installed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.text import _last_layer
from recsys_core.data.text._pretrained import LIBRARY, no_library
from recsys_core.errors import Unsupported
from recsys_core.models._io import load_model, save_model
from recsys_core.models.meta import _base, _texts

QUIET = RunContext(seed=3, threads=1)
SMALL = {"epochs": 2, "patience": 0, "factors": 8, "hidden": 8, "encoder": "mlp", "inner_steps": 2}
SETTINGS = {"size": 16, "heads": 2, "wide": 32, "norm": 1e-12, "pooling": "mean", "model": "", "identity": "stand-in"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    rows = [(f"u{user:02}", f"i{item:02}") for user in range(40) for item in rng.permutation(30)[:8]]
    words = ["space", "war", "love", "river", "king", "night"]
    titles = [" ".join(rng.choice(words, 3)) + f" number {n}" for n in range(30)]
    titles[4] = ""
    return from_frame(pd.DataFrame(rows, columns=["user", "item"]), item_table=pd.DataFrame({"title": titles}))


@pytest.fixture
def stand_in(monkeypatch):
    """What the last layer reads of a text, in place of a real encoder: a vector for every letter. The columns are read as chosen."""
    import torch

    def read(texts, ctx=QUIET, *, model=""):
        letters = np.random.default_rng(1).normal(size=(256, 16)).astype(np.float16)
        states = [letters[list(text.encode())[:20]] for text in texts]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = _last_layer.layer_of(SETTINGS)
        offsets = np.cumsum([0, *(len(one) for one in states)]).astype(np.int64)
        return _last_layer.LastLayer(dict(SETTINGS), layer.state_dict(), np.concatenate(states), offsets)

    monkeypatch.setattr(_last_layer, "read", read)
    monkeypatch.setattr(_base, "with_sentences", lambda data, model: data)
    return read


def test_slopes_reach_the_last_layer_and_what_is_below_it_stays(data, stand_in, tmp_path):
    import torch

    model = registry.get("model", "fomaml")(unfreeze=True, **SMALL).fit(data, QUIET)
    tower = model.network.texts
    before = stand_in([" "]).weights
    moved = {name for name, weight in tower.layer.named_parameters() if not torch.allclose(weight, before[name])}
    assert moved >= {"self_attn.in_proj_weight", "linear1.weight", "linear2.weight", "norm2.weight"}, "it has learnt"
    titles = list(data.item_table["title"])
    np.testing.assert_array_equal(tower.read.states, stand_in([title for title in titles if title]).states)
    assert not any("states" in name for name in model.network.state_dict()), "what the layers below made is no weight"

    tower.zero_grad()
    tower.train()
    torch.manual_seed(0)
    tower(torch.arange(30)).square().sum().backward()
    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for name, weight in tower.layer.named_parameters() if "bias" not in name
    )
    tower.eval()
    tower.refresh()
    assert not tower(torch.tensor([4])).any(), "no text says nothing"

    # Block by block, in another order and padded otherwise: the same as one text after the other, by the layer itself.
    with torch.no_grad():
        for text in (0, 7, 28):
            part = tower.read.states[tower.read.offsets[text] : tower.read.offsets[text + 1]]
            whole = tower.layer(torch.as_tensor(part).float()[None])[0].mean(0)
            torch.testing.assert_close(tower.pooled[text], whole / whole.norm(), atol=1e-5, rtol=1e-4)

    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model", data)
    np.testing.assert_allclose(loaded.item_vectors, model.item_vectors, atol=1e-6)
    assert loaded.network.texts.read is None
    for name, weight in tower.layer.state_dict().items():
        torch.testing.assert_close(loaded.network.texts.layer.state_dict()[name], weight)
    rows = pd.DataFrame({"title": [titles[0], "", "a new river of love"]})
    new = loaded.new_item_vectors(rows)
    np.testing.assert_allclose(new, model.new_item_vectors(rows), atol=1e-5)
    assert not np.allclose(new[0], new[2])


def test_it_learns_what_a_frozen_encoder_cannot_tell(data, stand_in):
    """Steps on a loss that needs the layer: with it the loss falls further than with the map alone."""
    import torch

    from recsys_core.models.meta._text_tower import TextTower

    goal = torch.randn(28, 4, generator=torch.Generator().manual_seed(1))
    texts = [f"{word} {n}" for n in range(7) for word in ("space", "war", "love", "river")]

    def left(learning: bool) -> float:
        torch.manual_seed(0)
        tower = TextTower(SETTINGS, 4, np.arange(28), 28, stand_in(texts))
        tower.refresh()
        weights = list(tower.parameters()) if learning else list(tower.map.parameters())
        optimizer = torch.optim.Adam(weights, 0.01)
        for _ in range(40):
            tower.train()
            optimizer.zero_grad()
            loss = (tower(torch.arange(28)) - goal).square().mean()
            loss.backward()
            optimizer.step()
        tower.eval()
        tower.fresh = False
        tower.refresh()
        return (tower(torch.arange(28)) - goal).square().mean().item()

    assert left(True) < 0.8 * left(False)


@pytest.mark.skipif(not no_library(), reason="sentence-transformers is installed")
@pytest.mark.parametrize("values", [{"text_encoder": "sentence"}, {"unfreeze": True}])
def test_without_the_extra_it_says_what_to_install(data, values):
    with pytest.raises(Unsupported, match=r"sentence-transformers, which is not installed\. Install it with: pip install"):
        registry.get("model", "fomaml")(**values, **SMALL).fit(data, QUIET)


def test_columns_of_text_are_read_by_the_sentence_encoder(data):
    told = _texts.with_sentences(data, "folder")
    what = told.features.columns["item"]["title"]
    assert what.kind == "text" and what.settings["encoder"] == "sentence" and what.settings["model"] == "folder"
    assert data.features is None and told.fingerprint == data.fingerprint
    text_of, texts = _texts.joined(pd.DataFrame({"a": ["x", "", "y"], "b": ["p", "q", ""]}), ["a", "b"])
    assert [texts[n] for n in text_of] == ["x. p", "q", "y"]


def test_the_real_layer_gives_the_encoders_own_vectors(data, tmp_path):
    pytest.importorskip(LIBRARY, reason="the extra of requirements-text.txt is not installed")
    from recsys_core.data.text import _pretrained
    from recsys_core.models.meta._text_tower import TextTower

    texts = ["Toy Story (1995)", "Heat", "a river of love runs through the long night of the king"]
    context = RunContext(threads=1, cache=tmp_path)
    read = _last_layer.read(texts, context)
    tower = TextTower(read.settings, 4, np.arange(3), 3, read)
    tower.refresh()
    theirs = _pretrained.load(_pretrained.folder_of(""), "cpu").encode(texts)
    np.testing.assert_allclose(tower.pooled.numpy(), theirs, atol=3e-3)
    again = _last_layer.read(texts, context)
    np.testing.assert_array_equal(again.states, read.states)
    assert len(list(tmp_path.rglob("*.npz"))) == 1
