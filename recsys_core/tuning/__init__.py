"""Search for better settings of one model: what may be searched (`space`), what for (`objective`), and the search itself.

`space` and `objective` are cheap and read by pages; `study`, `trial`, `pruning` and `outcome` import Optuna and belong to workers.
"""

from .objective import Objective, objective_of
from .space import Dimension, Space, describe_space, make_space

__all__ = ["Dimension", "Objective", "Space", "describe_space", "make_space", "objective_of"]
