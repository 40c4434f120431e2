"""Multi-layer perceptron over a user's and an item's numbers."""

from __future__ import annotations

from typing import Literal

from .._base import Source
from ._interaction import InteractionRecommender
from ._interaction_params import InteractionParams, hidden_param, layers_param


class MLPParams(InteractionParams):
    hidden: int | Literal["auto"] = hidden_param()
    layers: int = layers_param()


class MLP(InteractionRecommender):
    """Multi-layer perceptron: score = MLP([p_u, q_i]) + b_i, no product of factors.

    Source: He et al. 2017, https://arxiv.org/abs/1708.05031, eq. 10.
    Differs: embeddings are the first layer's output, so that scoring a block needs the wide layer once a user and once an
    item (`nn.interaction.PairNet`); sampled softmax by default instead of binary cross-entropy (an option);
    moving average of the weights; item bias.
    Shapes: users × hidden and items × hidden numbers, then layers of hidden, hidden / 2, … units.
    Cost: an epoch of softmax touches interactions + users × negatives pairs, hidden² multiplications each; see
    benchmarks/deep_speed.py.
    """

    key = "mlp"
    label = "Multi-layer perceptron (MLP)"
    summary = "Learns any relation between user and item from scratch; kept for comparison: products of factors find tastes more easily."
    source = Source("He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering (2017)", "https://arxiv.org/abs/1708.05031")
    Params = MLPParams
