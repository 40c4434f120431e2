"""For authors of models: tiny data sets with a known structure, and the test battery every model passes.

from recsys_core.testing.model_contract import ModelContract

class TestMine(ModelContract):
    model = MyModel
    params = {"epochs": 5}
"""

from .datasets import Case, checkerboard, tastes

__all__ = ["Case", "checkerboard", "tastes"]
