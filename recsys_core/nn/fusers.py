"""Multi-level fusers: the outputs of all levels become one vector, from the top level down."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

FuserKind = Literal["concat", "gated_sum", "attention", "bilinear"]
FUSERS: tuple[str, ...] = get_args(FuserKind)
SMALL = 0.02  # starting weights of what comes from above: the first level's own output leads to begin with


class ConcatJoin(nn.Module):
    """W [own, above] + b, starting near own. Cost: B · 2 size²."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(2 * size, size)
        with torch.no_grad():
            self.map.weight[:, :size] = torch.eye(size)
            self.map.weight[:, size:].normal_(std=SMALL)
            self.map.bias.zero_()

    def forward(self, own: Tensor, above: list[Tensor]) -> Tensor:
        return self.map(torch.cat([own, above[-1]], 1))


class GatedSumJoin(nn.Module):
    """g ⊙ above + (1 - g) ⊙ own with g = σ(W [own, above] + b), starting at .12. Cost: B · 2 size²."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * size, size)
        nn.init.normal_(self.gate.weight, std=SMALL)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, own: Tensor, above: list[Tensor]) -> Tensor:
        gate = self.gate(torch.cat([own, above[-1]], 1)).float().sigmoid()
        return gate * above[-1] + (1 - gate) * own


class AttentionJoin(nn.Module):
    """own + Σ_m a_m V f_m over all that lies above, a = softmax of (Q own) · (K f_m) / √size. Cost: B · size² · (2 levels above + 1)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(size, size, bias=False) for _ in range(3))
        nn.init.normal_(self.value.weight, std=SMALL)

    def forward(self, own: Tensor, above: list[Tensor]) -> Tensor:
        stack = torch.stack(above, 1)  # (B, m, size)
        logits = torch.einsum("bd,bmd->bm", self.query(own), self.key(stack)).float() / own.shape[1] ** 0.5
        return own + torch.einsum("bm,bmd->bd", logits.softmax(1), self.value(stack).float())


class BilinearJoin(nn.Module):
    """own + C above + (A own) ⊙ (B above): the two and their product. Cost: B · 3 size²."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.own, self.above, self.plain = (nn.Linear(size, size, bias=False) for _ in range(3))
        for part in (self.above, self.plain):
            nn.init.normal_(part.weight, std=SMALL)

    def forward(self, own: Tensor, above: list[Tensor]) -> Tensor:
        return own + self.plain(above[-1]) + self.own(own) * self.above(above[-1])


JOINS: dict[str, type[nn.Module]] = {"concat": ConcatJoin, "gated_sum": GatedSumJoin, "attention": AttentionJoin, "bilinear": BilinearJoin}


class Fuser(nn.Module):
    """f_n = z_n, then f_l = join(z_l, [f_n … f_{l+1}]) down to f_0, which it gives. With one level it changes nothing.

    Shapes: list of n + 1 of (B, size) -> (B, size).
    """

    def __init__(self, kind: FuserKind, n: int, size: int) -> None:
        super().__init__()
        if kind not in JOINS:
            raise ValueError(f"unknown fuser {kind!r}; there are {', '.join(FUSERS)}")
        self.joins = nn.ModuleList(JOINS[kind](size) for _ in range(n))

    def forward(self, levels: list[Tensor]) -> Tensor:
        fused = [levels[-1]]
        for own, join in zip(reversed(levels[:-1]), reversed(self.joins), strict=True):
            fused.append(join(own, fused).float())
        return fused[-1]
