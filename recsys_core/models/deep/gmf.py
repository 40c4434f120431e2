"""Generalised matrix factorisation: a weighted product of user and item factors."""

from __future__ import annotations

from typing import Literal

from .._base import Source
from ._interaction import InteractionRecommender
from ._interaction_params import PRODUCT_PAIRS, InteractionParams, factors_param


class GMFParams(InteractionParams):
    factors: int | Literal["auto"] = factors_param("How many numbers describe a user and an item.")


class GMF(InteractionRecommender):
    """Generalised matrix factorisation: score = w · (p_u * q_i) + b_i.

    Source: He et al. 2017, https://arxiv.org/abs/1708.05031, eq. 8-9.
    Differs: sampled softmax over a user's choices by default instead of binary cross-entropy (which is an option);
    moving average of the weights; item bias.
    Shapes: users × factors and items × factors numbers.
    Cost: an epoch of softmax touches interactions + users × negatives pairs, factors multiplications each; see
    benchmarks/deep_speed.py.
    """

    key = "gmf"
    label = "Generalised matrix factorisation (GMF)"
    summary = "Matrix factorisation trained as a network: good lists of likes and clicks in seconds; ALS is cheaper and a little better."
    source = Source("He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering (2017)", "https://arxiv.org/abs/1708.05031")
    Params = GMFParams
    all_items_pairs = PRODUCT_PAIRS
