"""Sequence models in a form that runs without torch: items as rows, the network between them as an ONNX graph."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._portable import Net, Portable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.sequences import SequenceNet

TABLES = ("item", "output", "user", "taste")  # kept as matrices beside the graph


def pack(
    network: SequenceNet,
    settings: dict[str, Any],
    *,
    form: str = "sequence",
    batched: bool = False,
    more: dict[str, np.ndarray] | None = None,
    of_users: dict[str, np.ndarray] | None = None,
    thinner: Callable[[float], SequenceNet] | None = None,
) -> Portable:
    """settings: see `portable.forms._sequence.LastItems`. batched: the graph takes several histories of pad_to entries at once.
    more, of_users: matrices of the form beside the items'. thinner: share -> the network with so much taken out."""
    import torch

    own = network.item if network.output is None else network.output
    matrices = {"items": network.item.weight.detach().cpu().numpy()} | (more or {})
    if network.output is not None:
        matrices["output"] = own.weight.detach().cpu().numpy()
    if network.bias is not None:
        matrices["bias"] = network.bias.detach().cpu().numpy()
    length = settings.get("pad_to") or settings["max_len"]
    example = torch.randn(3 if batched else 1, length, network.dim)
    net = Net(encoder(network), {"read": example}, ("state",), {"read": {0: "histories"} if batched else {1: "length"}})
    whole = Portable(form, matrices, settings, {"encoder": net}, user_matrices=of_users or {})
    if thinner is None:
        return whole
    return replace(whole, prune=lambda share: pack(thinner(share), settings, form=form, batched=batched, more=more, of_users=of_users))


def encoder(network: SequenceNet) -> nn.Module:
    """From the vectors of entries, (B, L, d), to the state after the last, (B, d); without the tables these come from."""
    from torch import nn

    from ...nn.recurrent import ExportableGRU

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            tables = {id(getattr(network, name, None)): None for name in TABLES}  # taken for copied, as nothing
            self.network = copy.deepcopy(network, tables)
            self.network.bias = None
            if isinstance(getattr(self.network, "gru", None), nn.GRU):
                self.network.gru = ExportableGRU(self.network.gru)

        def forward(self, read: Tensor) -> Tensor:
            return self.network.state_after(read)

    return Encoder().eval()
