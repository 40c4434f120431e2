"""Sequence networks with heads, widths of heads, inner and recurrent units taken out: what stays is fitted to give what the whole gave."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .._pruning import best_factors, common_factors, kept_of, linear, refitted, regressed, strongest

if TYPE_CHECKING:
    from torch import Tensor

    from ...nn.sequences import SequenceNet
    from ...nn.transformer import Block

LEARNT_FROM = 400  # histories whose entries say what is of use: some 10,000 entries


def thinner_of(network: SequenceNet, histories: Callable[[], np.ndarray]) -> Callable[[float], SequenceNet] | None:
    """share -> a thinner copy; None for networks of another kind. histories: int64 (B, L) as the network reads them."""
    way = thinner_transformer if hasattr(network, "attend") else thinner_recurrent if hasattr(network, "gru") else None
    if way is None or (way is thinner_recurrent and network.gru.num_layers > 1):
        return None

    def thinner(share: float) -> SequenceNet:
        import torch

        items = histories()
        enough = np.flatnonzero((items != network.pad).sum(1) > 1)
        some = np.random.default_rng(0).permutation(enough)[:LEARNT_FROM]
        with torch.inference_mode():
            return way(network, torch.as_tensor(items[some]), share)

    return thinner


def thinner_transformer(network: SequenceNet, items: Tensor, share: float) -> SequenceNet:
    """A copy whose Transformer `attend` has about the share of its inner units and of its heads' numbers taken out.

    Block by block, each fed by the thinner ones before it. Where the share is worth a whole head, the head that says least goes; the
    rest is taken from the width of those that stay. items: int64 (B, L), histories as the network reads them.
    Cost: one pass over the histories; widths³.
    """
    from ...nn.transformer import attention_mask

    made = copy.deepcopy(network).eval()
    present = items != made.pad
    mask = attention_mask(present, made.attend.causal)
    x = made.placed(made.item(items))
    for block in made.attend.blocks:
        _thin_attention(block, x, mask, present, share)
        _thin_network(block, x, mask, present, share)
        x = block(x, mask)
    return made


def thinner_recurrent(network: SequenceNet, items: Tensor, share: float) -> SequenceNet:
    """A copy whose one recurrent layer has about the share of its units taken out; what they told the others and the items' vectors
    is told by those that stay, as far as it can be."""
    import torch
    from torch import nn

    made = copy.deepcopy(network).eval()
    old, hidden = made.gru, made.gru.hidden_size
    present = items != made.pad
    length = items.shape[1]
    ahead = items.gather(1, (torch.arange(length) + (~present).sum(1, keepdim=True)) % length)  # padding behind, as `encode` has it
    states = old(made.item(ahead))[0]
    there = ahead != made.pad
    after, before = states[there].numpy(), torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)[there].numpy()
    named = isinstance(made.out, nn.Linear)
    weight, bias = (made.out.weight.numpy(), made.out.bias.numpy()) if named else (np.eye(hidden), np.zeros(hidden))
    kept = strongest(after, weight, kept_of(hidden, share))
    rows = np.concatenate([gate * hidden + kept for gate in range(3)])
    new = nn.GRU(old.input_size, len(kept), batch_first=True)
    outer, outer_bias = refitted(before, old.weight_hh_l0.numpy()[rows], old.bias_hh_l0.numpy()[rows], kept)
    values = {"weight_ih_l0": old.weight_ih_l0[rows], "bias_ih_l0": old.bias_ih_l0[rows], "weight_hh_l0": outer, "bias_hh_l0": outer_bias}
    new.load_state_dict({name: torch.as_tensor(value) for name, value in values.items()})
    made.gru, made.out = new.eval(), linear(*refitted(after, weight, bias, kept))
    return made


def _thin_network(block: Block, x: Tensor, mask: Tensor, present: Tensor, share: float) -> None:
    """Inner units of the fully connected part."""
    first, bend, _, second = block.network
    x = x + block.merge(_looked(block, x, mask)[2])
    active = bend(first(block.norm_network(x)))[present].numpy()
    weight = second.weight.numpy()
    kept = strongest(active, weight, kept_of(weight.shape[1], share))
    block.network[0] = linear(first.weight.numpy()[kept], first.bias.numpy()[kept])
    block.network[3] = linear(*refitted(active, weight, second.bias.numpy(), kept))


def _thin_attention(block: Block, x: Tensor, mask: Tensor, present: Tensor, share: float) -> None:
    """Heads, then the width of those that stay: of what they compare by their products, of what they hand on by what it becomes."""
    heads, (q, k, looked) = block.heads, _looked(block, x, mask)
    wanted = block.merge(looked)[present].numpy()
    dim, width = block.merge.weight.shape[0], block.merge.weight.shape[1] // heads
    brought = looked[present].numpy().reshape(-1, heads, width)
    merge = block.merge.weight.numpy().reshape(dim, heads, width)
    says = [float((brought[:, h] @ merge[:, h].T).std(0).sum()) for h in range(heads)]
    stay = np.sort(np.argsort(-np.array(says), kind="stable")[: heads - int(share * heads)])
    new = min(width, max(1, round(heads * width * (1 - share) / len(stay))))
    query, key_value, half = block.query, block.key_value, heads * width  # values stand behind the keys
    parts: dict[str, list[np.ndarray]] = {"query": [], "key": [], "value": []}
    handed = []
    for h in stay:
        own = slice(h * width, (h + 1) * width)
        turn = best_factors(brought[:, h], merge[:, h], np.zeros(dim), new)[0]  # (width, new)
        asks, answers = common_factors(q[present].numpy()[:, own], k[present].numpy()[:, own], new)
        scaled = {"query": asks * (new / width) ** 0.5, "key": answers, "value": turn}  # attention divides by the root of the width
        rows = {"query": (query, own), "key": (key_value, own), "value": (key_value, slice(half + own.start, half + own.stop))}
        for name, (layer, at) in rows.items():
            old = np.column_stack([layer.weight.numpy()[at], layer.bias.numpy()[at]])
            parts[name].append((scaled[name].T @ old).astype(np.float32))
        handed.append(brought[:, h] @ turn)
    whole = {name: np.concatenate(of_heads) for name, of_heads in parts.items()}
    block.query = linear(whole["query"][:, :-1], whole["query"][:, -1])
    both = np.concatenate([whole["key"], whole["value"]])
    block.key_value = linear(both[:, :-1], both[:, -1])
    block.merge = linear(*regressed(np.concatenate(handed, 1), wanted))
    block.heads = len(stay)


def _looked(block: Block, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(queries, keys, what the heads bring), (B, L, heads · width) each."""
    normed = block.norm_attention(x)
    key, value = block.key_value(normed).chunk(2, -1)
    query = block.query(normed)
    q, k, v = (part.unflatten(-1, (block.heads, -1)).transpose(1, 2) for part in (query, key, value))
    return query, key, block.attend(q, k, v, mask).transpose(1, 2).flatten(2)
