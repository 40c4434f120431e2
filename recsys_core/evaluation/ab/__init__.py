"""A/B tests: how many users, was the traffic split as planned, what came out; and what can be said without one."""

from .experiment import Experiment, experiment, guess_roles, read_numbers
from .interleave import Interleaving, interleave
from .offpolicy import OffPolicy, off_policy
from .plan import Plan, plan_mean, plan_rate
from .readout import Effect, readout
from .traffic import Looks, SampleRatio, former_differs, looks, sample_ratio

__all__ = [
    "Effect",
    "Experiment",
    "Interleaving",
    "Looks",
    "OffPolicy",
    "Plan",
    "SampleRatio",
    "experiment",
    "former_differs",
    "guess_roles",
    "interleave",
    "looks",
    "off_policy",
    "plan_mean",
    "plan_rate",
    "read_numbers",
    "readout",
    "sample_ratio",
]
