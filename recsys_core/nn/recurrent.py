"""Recurrent layers that can become part of an ONNX graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ExportableGRU(nn.Module):
    """A trained `nn.GRU` (batch first, one direction) that becomes ONNX' own GRU operator when it is exported.

    Differs from exporting `nn.GRU` itself: torch.export unrolls that for the one length of its example.
    Shapes: (B, L, d) -> (states (B, L, h), None).
    """

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru
        for layer in range(gru.num_layers):
            for name, weight in self._of_onnx(layer).items():
                self.register_buffer(f"{name}_{layer}", weight.detach().clone())

    def _of_onnx(self, layer: int) -> dict[str, Tensor]:
        """Weights as the operator wants them: gates in the order update, reset, new; torch has reset, update, new."""
        parts = (getattr(self.gru, f"{part}_l{layer}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        turned = [torch.cat([x.chunk(3)[gate] for gate in (1, 0, 2)]) for x in parts]
        return {"inner": turned[0][None], "outer": turned[1][None], "both": torch.cat(turned[2:])[None]}

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        if not torch.compiler.is_exporting():
            return self.gru(x)[0], None
        x, hidden = x.transpose(0, 1), self.gru.hidden_size  # (L, B, d)
        for layer in range(self.gru.num_layers):
            inputs = (x, *(getattr(self, f"{name}_{layer}") for name in ("inner", "outer", "both")))
            shape = (x.shape[0], 1, x.shape[1], hidden)
            options = {"hidden_size": hidden, "linear_before_reset": 1}
            x = torch.onnx.ops.symbolic("GRU", inputs, options, dtype=x.dtype, shape=shape).squeeze(1)  # (L, B, h)
        return x.transpose(0, 1), None
