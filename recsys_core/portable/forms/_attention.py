"""Transformer blocks with their slopes, in numpy: what a network needs that adapts where torch does not fit.

A function gives its output and what its slope needs; `…_slope` gives the slope of the input and adds those of the weights to `slopes`.
Weights are (out, in), as torch keeps them; names end as there ("query.weight"). Shapes: (…, L, d).
"""

from __future__ import annotations

from typing import Any

import numpy as np

FAR = np.float32(-1e9)  # logit of what must not be looked at
EPS = np.float32(1e-5)  # of torch's LayerNorm

Weights = dict[str, np.ndarray]


def linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def linear_slope(w: Weights, name: str, x: np.ndarray, slope: np.ndarray, slopes: Weights) -> np.ndarray:
    rows = slope.reshape(-1, slope.shape[-1])
    slopes[f"{name}.weight"] = rows.T @ np.broadcast_to(x, (*slope.shape[:-1], x.shape[-1])).reshape(-1, x.shape[-1])
    slopes[f"{name}.bias"] = rows.sum(0)
    return slope @ w[f"{name}.weight"]


def layer_norm(w: Weights, name: str, x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    centred = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt(np.square(centred).mean(-1, keepdims=True) + EPS)
    unit = centred * scale
    return unit * w[f"{name}.weight"] + w[f"{name}.bias"], (unit, scale)


def layer_norm_slope(w: Weights, name: str, kept: tuple[np.ndarray, np.ndarray], slope: np.ndarray, slopes: Weights) -> np.ndarray:
    unit, scale = kept
    rows = slope.reshape(-1, slope.shape[-1])
    slopes[f"{name}.weight"] = (rows * unit.reshape(rows.shape)).sum(0)
    slopes[f"{name}.bias"] = rows.sum(0)
    inner = slope * w[f"{name}.weight"]
    return (inner - inner.mean(-1, keepdims=True) - unit * (inner * unit).mean(-1, keepdims=True)) * scale


def block(w: Weights, name: str, x: np.ndarray, there: np.ndarray, heads: int, first: int) -> tuple[np.ndarray, tuple[Any, ...]]:
    """One block, norm first: (b, L, d), bool (B, L) -> (B, first, d): only the first places are asked for. b is B, or 1 where all B
    rows read the same and differ in what is `there`: then what is read is worked out once."""
    normed, norm_attention = layer_norm(w, f"{name}.norm_attention", x)
    query = _heads(linear(w, f"{name}.query", normed[:, :first]), heads)
    key, value = (_heads(linear(w, f"{name}.{part}", normed), heads) for part in ("key", "value"))
    logits = (query @ key.swapaxes(-1, -2)) * np.float32(query.shape[-1] ** -0.5)
    logits = np.where(there[:, None, None, :], logits, FAR)
    seen = np.exp(logits - logits.max(-1, keepdims=True))
    seen /= seen.sum(-1, keepdims=True)
    mixed = _joined(seen @ value)
    attended = x[:, :first] + linear(w, f"{name}.merge", mixed)
    normed_again, norm_network = layer_norm(w, f"{name}.norm_network", attended)
    hidden = np.maximum(linear(w, f"{name}.wide", normed_again), 0)
    out = attended + linear(w, f"{name}.narrow", hidden)
    return out, (normed, norm_attention, query, key, value, seen, mixed, normed_again, norm_network, hidden, len(x), first, heads)


def block_slope(w: Weights, name: str, kept: tuple[Any, ...], slope: np.ndarray, slopes: Weights) -> np.ndarray:
    """(b, L, d) of (B, first, d)."""
    normed, norm_attention, query, key, value, seen, mixed, normed_again, norm_network, hidden, rows, first, heads = kept
    inner = linear_slope(w, f"{name}.narrow", hidden, slope, slopes) * (hidden > 0)
    inner = linear_slope(w, f"{name}.wide", normed_again, inner, slopes)
    attended = slope + layer_norm_slope(w, f"{name}.norm_network", norm_network, inner, slopes)
    each = _heads(linear_slope(w, f"{name}.merge", mixed, attended, slopes), heads)
    to_seen = each @ value.swapaxes(-1, -2)
    logits = seen * (to_seen - (to_seen * seen).sum(-1, keepdims=True)) * np.float32(query.shape[-1] ** -0.5)
    of = {"query": logits @ key, "key": logits.swapaxes(-1, -2) @ query, "value": seen.swapaxes(-1, -2) @ each}
    of = {part: _joined(found if rows > 1 else found.sum(0, keepdims=True)) for part, found in of.items()}
    at = {part: linear_slope(w, f"{name}.{part}", normed[:, :first] if part == "query" else normed, of[part], slopes) for part in of}
    inner = at["key"] + at["value"]
    inner[:, :first] += at["query"]
    out = layer_norm_slope(w, f"{name}.norm_attention", norm_attention, inner, slopes)
    out[:, :first] += attended if rows > 1 else attended.sum(0, keepdims=True)
    return out


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """(b, L, d) -> (b, heads, L, d / heads)."""
    return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)


def _joined(x: np.ndarray) -> np.ndarray:
    x = x.swapaxes(-2, -3)
    return x.reshape(*x.shape[:-2], -1)
