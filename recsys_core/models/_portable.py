"""What a model hands over for a bundle: the name of a form of `recsys_core.portable.forms`, and what that form needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..errors import Unsupported

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Net:
    """A torch module to become an ONNX graph. example: one tensor an input, by name, in the order of `forward`. dynamic: input ->
    {axis: name} of axes that vary. outputs: their names. prune: share -> the module with its least useful units taken out (structures:
    units, heads, factors), None where there is nothing to take."""

    module: nn.Module
    example: dict[str, Any]
    outputs: tuple[str, ...] = ("scores",)
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)
    prune: Callable[[float], nn.Module] | None = None


@dataclass(frozen=True, eq=False)
class Portable:
    """form: key. matrices: float ones may be stored narrower (float16, int8), whole numbers and 1-d arrays are stored as they are.
    user_matrices: what was learnt of training users, a row each; a bundle made without users leaves them out, and the form folds in.
    made_of_users: it answers from rows of training users themselves, so there is no bundle of it without them.
    prune: share -> the same with factors or units taken out; None where there is nothing to take."""

    form: str
    matrices: dict[str, np.ndarray | sparse.csr_matrix] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, Net] = field(default_factory=dict)
    parts: tuple[Portable, ...] = ()
    user_matrices: dict[str, np.ndarray | sparse.csr_matrix] = field(default_factory=dict)
    made_of_users: bool = False
    prune: Callable[[float], Portable] | None = None


class Packing:
    """The part of a recommender that a bundle is made of."""

    label: str

    def portable(self) -> Portable:
        """This fitted model in a form that runs on numpy and onnxruntime alone. Raises Unsupported where it has none."""
        return self._portable()

    def _portable(self) -> Portable:
        """Optional: a model (or the base its family shares) names its form and hands over what that needs."""
        raise Unsupported(f"{self.label} cannot be bundled.", "Bundle another model, or a fusion of others.")

    @classmethod
    def can_bundle(cls) -> bool:
        """Whether it (or its base) says how."""
        return cls._portable is not Packing._portable
