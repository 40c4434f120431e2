"""Settings of a fused model on the Train page: which models it combines, and how much each counts where that is set by hand.

Serves every model of the family "Fused" with a parameter `models`, from its declaration: a list `weights` is asked for model by
model, a text named in `ONE_OF_THEM` is chosen among the parts, settings made on the page go into `part_params`; all else is left
to the generated form. A model whose `models` is empty by default needs none: it finds its parts by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from recsys_core import registry
from recsys_core.params import ParamField, Params, fields

from .fusion_findings import RUN, title_of
from .text import listing, md, short

if TYPE_CHECKING:
    from recsys_core.jobs import TrainSpec

    from .train_models import Offer
    from .train_settings import Chosen

FUSED = "Fused"
ONE_OF_THEM = ("order_by",)  # text parameters that name one of the parts
MODES = {"learn": "Learnt", "equal": "Equal", "by hand": "By hand"}
MODES_HELP = "Learnt: found on validation data, never on the test part. Equal: every model counts the same. By hand: you say how much."
TRAINED, ABOVE, ANEW = "trained already", "chosen above", "trained anew"
PARTS_HELP = (
    "A result that is trained already on this dataset and split is used as it is; the others are trained as part of this job. "
    "Where the combination is learnt, all of them must also be fitted once without the held-out part."
)


def is_fused(model: Any) -> bool:
    """Whether the form is for this model."""
    return model.family == FUSED and any(field.name == "models" for field in fields(model.Params))


def fusion_form(model: Any, offers: Mapping[str, Offer], partners: Sequence[Any], before: Sequence[Chosen]) -> dict[str, Any]:
    """The values of those parameters that are about the parts. partners: runs of the same split; before: the models chosen
    on the page, with their settings."""
    described = {field.name: field for field in fields(model.Params)}
    alone = {chosen.key: chosen for chosen in before if offers[chosen.key].family != FUSED}
    names = part_names(offers, partners, alone)
    start = first_parts(described["models"].default, names, list(alone), partners)
    one = getattr(model.Params, "most_parts", None) == 1
    parts = (_one_part if one else _parts)(model, described["models"], names, start)
    values: dict[str, Any] = {"models": parts}
    weights = described.get("weights")
    if weights is not None and weights.kind == "list":
        values["weights"] = _weights(model.key, weights, {part: names[part] for part in parts})
    for name in ONE_OF_THEM:
        if name in described and len(parts) > 1:
            values[name] = _one_of(model.key, described[name], {part: names[part] for part in parts})
    if "part_params" in described:
        shared = {part: alone[part] for part in parts if part in alone and alone[part].params is not None}
        changed = {part: _not_default(chosen.params) for part, chosen in shared.items()}
        values["part_params"] = {part: own for part, own in changed.items() if own}
    _say(parts, names)
    return values


def fused_name(spec: TrainSpec) -> str:
    """A name that says which results are combined, where the made-up one would list their ids; "" where it would not."""
    parts = (spec.params or {}).get("models") or []
    if not any(str(part).startswith(RUN) for part in parts):
        return ""
    titles = [title_of(part) if part.startswith(RUN) else registry.get("model", part).label for part in parts]
    rest = {name: value for name, value in spec.params.items() if name not in ("models", *ONE_OF_THEM)}
    label, bracket, settings = spec.model_copy(update={"params": rest, "name": ""}).title.partition(" (")
    return short(f"{label}: {' + '.join(titles)}{bracket}{settings}", 120)


def part_names(offers: Mapping[str, Offer], partners: Sequence[Any], alone: Mapping[str, Any]) -> dict[str, str]:
    """What may be combined -> "name (where it comes from)": results first, then what is chosen above, then the others."""
    able = {o.key: o.label for o in offers.values() if o.family != FUSED and not o.why_not}
    names = {f"{RUN}{run.id}": f"{short(run.name, 60)} ({TRAINED})" for run in partners if run.manifest.get("family") != FUSED}
    names |= {key: f"{label} ({ABOVE})" for key, label in able.items() if key in alone}
    return names | {key: f"{label} ({ANEW})" for key, label in able.items() if key not in alone}


def first_parts(declared: Sequence[str], names: Mapping[str, str], alone: Sequence[str], partners: Sequence[Any]) -> list[str]:
    """Where the choice starts: what is chosen on the page; where that is less than two models, what the fusion declares as
    well, as results where there are some. Nothing where it declares nothing: it then finds its parts itself."""
    if not declared:
        return []
    newest = {run.model_key: f"{RUN}{run.id}" for run in reversed(list(partners))}  # partners come newest first
    rest = [newest.get(key, key) for key in declared if key not in alone] if len(alone) < 2 else []
    return [part for part in [*alone, *rest] if part in names]


def _parts(model: Any, field: ParamField, names: Mapping[str, str], start: list[str]) -> list[str]:
    """The multiselect. While nobody has touched it, it follows what is chosen on the page."""
    key = f"fusion-parts-{model.key}"
    asked, untouched = st.session_state.get(key), st.session_state.get(f"_start-{key}")
    if asked is None or asked == untouched:
        st.session_state[key] = start
    elif any(part not in names for part in asked):  # a result was deleted, or is of another split
        st.session_state[key] = [part for part in asked if part in names]
    st.session_state[f"_start-{key}"] = start
    return st.multiselect(
        md(field.label),
        list(names),
        format_func=lambda part: names.get(part, str(part)),
        key=key,
        persist_state="session",
        placeholder="Any: it looks for good ones" if not field.default else "Choose two or more",
        help=PARTS_HELP if field.default else f"{md(field.help)} {PARTS_HELP}",
    )


def _one_part(model: Any, field: ParamField, names: Mapping[str, str], start: list[str]) -> list[str]:
    """The box of a model that is built on one other; it follows the page as the list of parts does."""
    key, first = f"fusion-parts-{model.key}", next(iter(start or names), None)
    asked, untouched = st.session_state.get(key), st.session_state.get(f"_start-{key}")
    if asked is None or asked == untouched or asked not in names:
        st.session_state[key] = first
    st.session_state[f"_start-{key}"] = first
    about = {"format_func": lambda part: names.get(part, str(part)), "key": key, "persist_state": "session"}
    return [st.selectbox(md(field.label), list(names), help=PARTS_HELP.partition(" Where")[0], **about)]


def _weights(key: str, field: ParamField, parts: Mapping[str, str]) -> Any:
    """A word of the declaration, or one number for each part."""
    words = [*map(str, field.choices), "by hand"]
    start = field.default if field.default in words else "by hand"
    mode = st.segmented_control(
        md(field.label),
        words,
        default=start,
        required=True,
        format_func=lambda word: MODES.get(word, field.option(word)),
        key=f"fusion-weights-{key}",
        persist_state="session",
        help=MODES_HELP if set(words) <= set(MODES) else md(field.named_help),
    )
    if mode != "by hand":
        return mode or start
    with st.grid(3, min_column_width=230, gap="medium"):
        return [
            st.number_input(
                f"Weight of {md(_bare(name), 50)}",
                min_value=0.0,
                value=1.0,
                step=0.1,
                format="%g",
                key=f"fusion-weight-{key}-{part}",
                persist_state="session",
                help="Only the proportions matter: 2, 1, 1 is the same as 50 %, 25 %, 25 %.",
            )
            for part, name in parts.items()
        ]


def _one_of(key: str, field: ParamField, parts: Mapping[str, str]) -> str:
    """Which of the parts has the role the parameter is about; the last one, while nothing is said."""
    widget = f"fusion-{field.name}-{key}"
    if st.session_state.get(widget) not in parts:
        st.session_state[widget] = list(parts)[-1]
    about = {"format_func": lambda part: _bare(parts.get(part, part)), "key": widget, "persist_state": "session", "help": md(field.help)}
    return st.selectbox(md(field.label), list(parts), **about)


def _say(parts: Sequence[str], names: Mapping[str, str]) -> None:
    """What becomes of each part, in one line."""
    groups = {
        TRAINED: "already trained, reused",
        ABOVE: "trained as part of it, with the settings chosen above",
        ANEW: "trained as part of it, with default settings",
    }
    said = []
    for origin, what in groups.items():
        of = [_bare(names[part]) for part in parts if names[part].endswith(f"({origin})")]
        if of:
            said.append(f"{md(listing(of, 6))}: {what}.")
    if said:
        st.caption(" ".join(said))


def _bare(name: str) -> str:
    return name.rpartition(" (")[0] or name


def _not_default(params: Params) -> dict[str, Any]:
    defaults = {f.name: f.default for f in fields(type(params))}
    return {name: value for name, value in params.model_dump(mode="json").items() if value != defaults[name]}
