"""The last layer of a sentence encoder as a part of the network: it learns with all else what of a text matters here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.text._last_layer import LastLayer, layer_of

LIVE = 64  # texts a step that are read with the weights as they are, and whose slopes train the layer
BLOCK = 256  # texts read at once
START = 0.1  # deviation of the untrained map


class TextTower(nn.Module):
    """Texts of items -> what their content gains by them.

    Every step reads LIVE of the texts asked for anew, in an order of chance, with slopes; of the others it takes what was last read of
    them (all are read again before every pass and every list), so that a step costs the same for any catalogue. What the layer reads
    was computed once by the layers below it, which do not learn. Vectors are of unit length, less their common mean.
    Shapes: codes (N,) -> (N, width). Cost: LIVE texts through one layer, forward and backward; 4 bytes a number a text are saved.
    """

    def __init__(self, settings: dict[str, Any], width: int, text_of: np.ndarray, n_texts: int, read: LastLayer | None) -> None:
        """text_of: int (I,) the text of each item, -1 for none; read: None when loaded: texts are then as they were last read."""
        super().__init__()
        self.layer, self.mean_of_tokens = layer_of(settings), settings["pooling"] == "mean"
        self.map = nn.Linear(settings["size"], width, bias=False)
        nn.init.normal_(self.map.weight, std=START)
        self.register_buffer("pooled", torch.zeros(n_texts, settings["size"]))
        self.register_buffer("text_of", torch.as_tensor(text_of), persistent=False)
        self.read, self.fresh = read, False
        if read is not None:
            self.layer.load_state_dict(read.weights)

    def forward(self, codes: Tensor) -> Tensor:
        text = self.text_of[codes]
        vectors = self.pooled[text.clamp(min=0)]
        if self.training and torch.is_grad_enabled() and self.read is not None:
            vectors = self._live(text, vectors)
        return self.map(vectors - self.pooled.mean(0)) * (text >= 0)[:, None]

    def _live(self, text: Tensor, vectors: Tensor) -> Tensor:
        asked = torch.unique(text[text >= 0])
        drawn = asked[torch.randperm(len(asked), device=asked.device)[:LIVE]]
        if not len(drawn):
            return vectors
        now = self._pool(self.read, drawn)
        place = torch.full((len(self.pooled) + 1,), -1, device=text.device)
        place[drawn] = torch.arange(len(drawn), device=text.device)
        at = place[text]  # -1, no text, is the last place
        with torch.no_grad():
            self.pooled[drawn] = now.detach()
        self.fresh = False
        return torch.where((at >= 0)[:, None], now[at.clamp(min=0)], vectors)

    def refresh(self) -> None:
        """Read all texts with the weights as they are."""
        if self.read is None or self.fresh:
            return
        self.pooled.copy_(self.vectors(self.read))
        self.fresh = True

    def vectors(self, read: LastLayer) -> Tensor:
        """(texts, size) of all that was read, without slopes and chance."""
        learning, n = self.training, len(read.offsets) - 1
        self.eval()
        by_length = np.argsort(np.diff(read.offsets), kind="stable")  # less padding
        order = torch.as_tensor(by_length, device=self.pooled.device)
        out = torch.zeros(n, self.pooled.shape[1], device=self.pooled.device)
        with torch.no_grad():
            for rows in order.split(BLOCK):
                out[rows] = self._pool(read, rows)
        self.train(learning)
        return out

    def of_new(self, read: LastLayer | None, text_of: np.ndarray) -> Tensor:
        """(n, width) of items from outside. read: what the layer reads of their texts; text_of as in `__init__`."""
        if read is None:
            return torch.zeros(len(text_of), self.map.out_features, device=self.pooled.device)
        text = torch.as_tensor(text_of, device=self.pooled.device)
        with torch.no_grad():
            return self.map(self.vectors(read)[text.clamp(min=0)] - self.pooled.mean(0)) * (text >= 0)[:, None]

    def _pool(self, read: LastLayer, rows: Tensor) -> Tensor:
        """(B, size): unit vectors of some texts, through the layer."""
        at = rows.cpu().numpy()
        lengths = np.maximum(read.offsets[at + 1] - read.offsets[at], 1)
        place = np.arange(int(lengths.max()))
        there = place[None] < lengths[:, None]
        states = read.states[(read.offsets[at][:, None] + place[None]).clip(max=len(read.states) - 1)]
        states, there = torch.as_tensor(states, device=self.pooled.device).float(), torch.as_tensor(there, device=self.pooled.device)
        out = self.layer(states * there[..., None], src_key_padding_mask=~there)
        pooled = (out * there[..., None]).sum(1) / there.sum(1, keepdim=True) if self.mean_of_tokens else out[:, 0]
        return F.normalize(pooled, dim=1)
