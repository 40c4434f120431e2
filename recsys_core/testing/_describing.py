"""The part of the model battery about what a model says of itself: parameters, cost, card."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest

from .. import params as params_module
from ..errors import ParamError
from ..models._base import Recommender
from ._checks import LARGE, TINY, WIDE, bad_values
from .datasets import Case


class DescriptionContract:
    """Mixed into `ModelContract`, which gives `make` and the fixtures `data` and `fitted`."""

    model: ClassVar[type[Recommender]]

    def test_bad_parameters_are_refused_with_rule_and_value(self) -> None:
        for field in params_module.fields(self.model.Params):
            for value in bad_values(field):
                with pytest.raises(ParamError) as caught:
                    self.model(**{field.name: value})
                assert field.name in caught.value.message
                if field.kind not in ("list", "dict"):
                    assert field.rule in caught.value.message and repr(value) in caught.value.message
            with pytest.raises(ParamError) as caught:
                self.model(**{field.name + "x": 1})
            assert field.name + "x" in caught.value.message and field.name in caught.value.hint
        with pytest.raises(ParamError):
            self.model(no_such_parameter=1)

    def test_presets_and_text_values_are_valid(self) -> None:
        for name in params_module.PRESETS:
            values = params_module.preset(self.model.Params, name)
            assert self.model(**values).params.model_dump() == params_module.build(self.model.Params, values).model_dump()
        for field in params_module.fields(self.model.Params):
            if field.tune:
                low, high, scale = field.tune
                assert low < high and scale in ("linear", "log") and (scale == "linear" or low > 0)
                for value in (low, high):
                    self.model(**{field.name: str(value)})

    def test_nothing_is_left_on_auto(self, data: Case, fitted: Recommender) -> None:
        left = [
            field.name for field in params_module.fields(self.model.Params) if field.auto and getattr(fitted.resolved, field.name) == "auto"
        ]
        assert not left, f"still auto after fit: {left}"
        for stats in (data.train.stats, TINY, LARGE, WIDE):
            self.make().resolve(stats)
        params_module.build(self.model.Params, json.loads(fitted.refit_params().model_dump_json()))

    def test_cost_is_positive_and_grows_with_the_data(self, data: Case) -> None:
        costs = [self.model().cost(stats) for stats in (TINY, data.train.stats, LARGE)]
        assert all(cost.memory_bytes > 0 and cost.seconds > 0 and np.isfinite(cost.seconds) for cost in costs)
        assert costs[0].seconds <= costs[1].seconds <= costs[2].seconds
        assert costs[0].memory_bytes <= costs[2].memory_bytes

    def test_card_is_complete(self) -> None:
        card = self.model.card()
        assert card.key == self.model.key and card.key.isidentifier() and card.key == card.key.lower()
        assert card.label and card.family and card.summary.endswith((".", "!")) and len(card.summary) > 20
        if card.family != "Baseline":
            assert card.source is not None and card.source.citation
            assert card.is_fused or card.source.url.startswith("http")
        for field in card.fields:
            assert field.label and not field.label.islower(), f"{field.name} needs a label in sentence case"
            assert len(field.help) > 15 and field.help.rstrip(")").endswith((".", "!", "?")), f"{field.name} needs one sentence of help"
            if field.kind in ("int", "float"):
                assert field.ge is not None or field.gt is not None, f"{field.name} needs a lower bound"
        assert (self.model.__doc__ or "").strip()
