"""EASE: one ridge regression of every item on all others, in closed form."""

from __future__ import annotations

from .._base import Source
from ._ease import ClosedForm


class Ease(ClosedForm):
    """Item-item weights B minimising |X - XB|² + |λ^½ B|² with a zero diagonal.

    Source: Steck (2019), "Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8,
    https://arxiv.org/abs/1905.03375; denoising: Steck (2020), "Autoencoders that don't overfit towards the
    Identity", NeurIPS: with dropout d the penalty of item i becomes λ + d / (1 - d) * |x_i|².
    Differs: where the square of the catalogue does not fit, only the most popular items are modelled.
    Shapes: weights (M, M) float32; column i scores item i.
    Cost: 12 M² bytes and about M³ / 3e10 seconds; 20,000 items: 4.8 GB and four minutes.
    """

    key = "ease"
    takes_new_items = True
    label = "EASE"
    family = "Linear"
    summary = "Strong first choice up to some 20,000 items: one setting, no training loop, the same answer every time."
    source = Source("Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, WWW", "https://arxiv.org/abs/1905.03375")
