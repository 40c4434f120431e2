"""A pretrained sentence encoder cut before its last layer: what that layer reads of every text, and the layer itself, to be trained on."""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...context import QUIET, RunContext
from ...errors import Unsupported
from . import _pretrained
from ._cache import UNREADABLE, keys_of

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

BATCH = 64  # texts
MOST_TOKENS = 64  # of a text that are kept: titles and the beginnings of descriptions
LIKE_BERT = {"bert", "roberta", "xlm-roberta", "camembert", "electra"}  # layers of one make, which torch's own layer can stand for
POOLING = ("mean", "cls")


@dataclass
class LastLayer:
    """settings: what rebuilds the layer without any package ("size", "heads", "wide", "norm", "pooling", "model", "identity").
    weights: of a `torch.nn.TransformerEncoderLayer`. states: float16 (n, size), what the layer reads, token by token;
    offsets: int64 (texts + 1,)."""

    settings: dict[str, Any]
    weights: dict[str, Any]
    states: np.ndarray
    offsets: np.ndarray


def layer_of(settings: dict[str, Any]) -> nn.Module:
    """An untrained layer of this make. Shapes: (B, L, size), src_key_padding_mask bool (B, L) -> (B, L, size)."""
    import torch

    made = {"dropout": 0.1, "activation": "gelu", "layer_norm_eps": settings["norm"], "batch_first": True}
    with torch.random.fork_rng(devices=[]):  # its weights are replaced: they take no chance from others
        return torch.nn.TransformerEncoderLayer(settings["size"], settings["heads"], settings["wide"], **made)


def read(texts: Sequence[str], ctx: RunContext = QUIET, *, model: str = "") -> LastLayer:
    """The last layer of a pretrained model, and what it reads of these texts, from the cache where all are there.

    Cost: one pass of the texts through the model; 2 bytes a number a token: some 10 KB a title of 384 numbers a token."""
    if why := _pretrained.no_library():
        raise Unsupported(why, "Or leave the encoder as it is: switch 'Train the encoder's last layer' off.")
    ctx.report("Texts", 0.0, "Looking for the sentence encoder")
    folder = _pretrained.folder_of(model)
    identity = _pretrained.identity_of(folder)
    network = _pretrained.load(folder, ctx.device)
    settings, layer = _cut(network, folder)
    settings |= {"model": model, "identity": identity}
    content = hashlib.blake2b(keys_of(texts).tobytes(), digest_size=12).hexdigest()
    path = None if ctx.cache is None else Path(ctx.cache) / "text" / f"states-{identity[:24]}" / f"{content}.npz"
    found = _cached(path, len(texts), settings["size"])
    if found is None:
        found = _states(network, layer, texts, ctx)
        _keep(path, *found)
    return LastLayer(settings, _weights(layer), *found)


def _cut(network: Any, folder: Path) -> tuple[dict[str, Any], Any]:
    """(settings, its last layer), or a sentence on why this one cannot be cut."""
    inner = network[0].auto_model
    kind, pooling = getattr(inner.config, "model_type", "unknown"), str(getattr(network[1], "pooling_mode", "")) if len(network) > 1 else ""
    if kind not in LIKE_BERT or inner.config.hidden_act != "gelu" or pooling not in POOLING:
        raise Unsupported(
            f"The last layer of the sentence encoder in '{folder}' cannot be trained: it is of the make '{kind}' with pooling "
            f"'{pooling or 'unknown'}'; {', '.join(sorted(LIKE_BERT))} with {' or '.join(POOLING)} can.",
            "Choose another encoder, or leave it as it is.",
        )
    c = inner.config
    sizes = {"size": c.hidden_size, "heads": c.num_attention_heads, "wide": c.intermediate_size, "norm": c.layer_norm_eps}
    return sizes | {"pooling": pooling}, inner.encoder.layer[-1]


def _weights(layer: Any) -> dict[str, Any]:
    """The same layer by the names of torch's own."""
    import torch

    attention, after = layer.attention.self, layer.attention.output
    ends, out = ("weight", "bias"), {}
    for end in ends:
        parts = [getattr(getattr(attention, name), end) for name in ("query", "key", "value")]
        out[f"self_attn.in_proj_{end}"] = torch.cat(parts)
        named = {"self_attn.out_proj": after.dense, "norm1": after.LayerNorm, "linear1": layer.intermediate.dense}
        named |= {"linear2": layer.output.dense, "norm2": layer.output.LayerNorm}
        out |= {f"{name}.{end}": getattr(module, end) for name, module in named.items()}
    return {name: value.detach().cpu().float().clone() for name, value in out.items()}


def _states(network: Any, layer: Any, texts: Sequence[str], ctx: RunContext) -> tuple[np.ndarray, np.ndarray]:
    import torch

    seen: list[Any] = []

    def look(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(given[0] if given else named["hidden_states"])

    hook = layer.register_forward_pre_hook(look, with_kwargs=True)
    order = np.argsort([-len(text) for text in texts], kind="stable")
    kept: list[np.ndarray] = [np.zeros((0, 0), np.float16)] * len(texts)
    before = torch.get_num_threads()
    torch.set_num_threads(ctx.n_threads)
    try:
        for start in range(0, len(order), BATCH):
            ctx.report("Texts", start / max(1, len(order)), f"{start:,} of {len(order):,} texts")
            rows = order[start : start + BATCH]
            features = network.preprocess([texts[i] for i in rows])
            features = {name: value.to(network.device) for name, value in features.items() if isinstance(value, torch.Tensor)}
            with torch.no_grad():
                network[0].auto_model(**features)
            states, there = seen.pop().cpu().numpy().astype(np.float16), features["attention_mask"].cpu().numpy() > 0
            for i, row in enumerate(rows):
                kept[row] = states[i][there[i]][:MOST_TOKENS]
    finally:
        hook.remove()
        torch.set_num_threads(before)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in kept])]).astype(np.int64)
    return np.concatenate(kept) if len(kept) else np.zeros((0, 0), np.float16), offsets


def _cached(path: Path | None, n: int, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            states, offsets = kept["states"], kept["offsets"]
        if len(offsets) != n + 1 or states.shape != (offsets[-1], size):
            raise ValueError("it does not fit its texts")
    except UNREADABLE as error:
        log.warning("A file of cached texts cannot be read (%s) and is made anew: %s", error, path)
        return None
    os.utime(path)
    return states, offsets


def _keep(path: Path | None, states: np.ndarray, offsets: np.ndarray) -> None:
    if path is None:
        return
    draft = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            np.savez(file, states=states, offsets=offsets)
        os.replace(draft, path)
    except OSError as error:
        log.warning("What an encoder reads of the texts could not be kept in %s: %s", path.parent, error)
    finally:
        draft.unlink(missing_ok=True)
