"""The left side of the Diversity page: which method, how strong, its settings, what accuracy is weighed against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core.evaluation import metric_label
from recsys_core.evaluation.tradeoff import METRICS
from recsys_core.params import fields

from . import state
from .diversity_data import Bench, Setting, methods, strengths_of, why_not
from .diversity_words import plugin, strength_text
from .forms import checked
from .shape_form import shape_form
from .text import md

LENGTHS = (5, 10, 20)
ACCURACY = ("ndcg", "recall", "precision", "hit_rate")
WORDS = {"intra_list_diversity": "Diversity", "long_tail_share": "Long tail", "miscalibration": "The user's own mix"}


@dataclass(frozen=True)
class Choice:
    """What the left side says. accuracy, other: metrics such as "ndcg@10"."""

    setting: Setting
    strength: float
    accuracy: str
    other: str

    @property
    def method(self) -> Any:
        return methods()[self.setting.method]

    @property
    def params(self) -> dict[str, Any]:
        """Everything the method takes, its strength too."""
        more = {"strength": self.strength} if self.method.has_strength() else {}
        return self.setting.values | more


def controls(dataset_id: str, of: Bench) -> Choice | None:
    """None while nothing can be shaped with what is chosen; it is said why."""
    found, reasons = methods(), why_not(of)
    usable = [key for key in found if not reasons[key]]
    state.follow_url("method", "diversity-method", list(found), next(iter(usable or found)))
    key = st.selectbox("Method", list(found), format_func=lambda i: found[i].label if i in found else i, key="diversity-method")
    state.remember(method=key)
    method = found[key]
    st.caption(md(method.summary))
    if reasons[key]:
        st.info(f"It cannot be used here: {md(reasons[key])}", icon=":material/info:")
        return None
    strength = _strength(key, method)
    k = _length(of)
    values = _settings(key, method, dataset_id)
    accuracy, other = _measures(key, method)
    if values is None:
        return None
    return Choice(Setting.of(key, values, k), strength, f"{accuracy}@{k}", f"{other}@{k}")


def _strength(key: str, method: Any) -> float:
    if not method.has_strength():
        return 1.0
    steps = strengths_of(key)
    start = min(steps, key=lambda step: abs(step - method.Params.model_fields["strength"].default))
    toward = WORDS.get(method.aim) or metric_label(method.aim)
    about = f"{_field(method, 'strength').help} Each step is a point of the curve."
    return st.select_slider(
        f"Accuracy ←→ {md(toward)}",
        steps,
        value=start,
        format_func=strength_text,
        key=f"diversity-strength-{key}",
        help=about,
        persist_state="session",
    )


def _field(method: Any, name: str) -> Any:
    return next(field for field in fields(method.Params) if field.name == name)


def _length(of: Bench) -> int:
    fitting = [k for k in LENGTHS if k <= of.depth] or [of.depth]
    names = [str(k) for k in fitting]
    state.follow_url("k", "diversity-k", names, "10" if "10" in names else names[-1])
    k = st.segmented_control("List length", names, key="diversity-k", required=True)
    state.remember(k=k)
    return int(k or fitting[0])


def _settings(key: str, method: Any, dataset_id: str) -> dict[str, Any] | None:
    """The method's other parameters, checked; None after saying what is wrong."""
    if not [field for field in fields(method.Params) if field.name != "strength"]:
        return {}
    folded = {"label": "Settings of the method", "icon": ":material/tune:", "key": f"diversity-settings-{key}"}
    with st.expander(**folded) if method.has_strength() else st.container(gap="small"):
        values = shape_form(method, f"diversity-{key}", dataset_id)
    params = checked(method.Params, values, owner=method.label)
    return None if params is None else params.model_dump(mode="json")


def _measures(key: str, method: Any) -> tuple[str, str]:
    """(accuracy, what it is weighed against): the method's aim, unless another is chosen."""
    others = _others(method.aim)
    told = [f"{metric_label(other)}: {plugin(other).help}" for other in others]
    about = f"{metric_label(method.aim)} is what this method is made for. {' '.join(told)}"
    with st.container(horizontal=True):
        accuracy = st.selectbox("Accuracy", ACCURACY, format_func=metric_label, key="diversity-accuracy", persist_state="session")
        other = st.selectbox(
            "Weigh it against", others, format_func=metric_label, key=f"diversity-other-{key}", persist_state="session",
            help=md(about),
        )  # fmt: skip
    return accuracy, other


def _others(aim: str) -> Sequence[str]:
    rest = [key for key in METRICS if key != aim and plugin(key) is not None and plugin(key).kind == "beyond"]
    return [aim, *rest] if aim in METRICS else rest
