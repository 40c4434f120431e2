"""Every plug-in's parameters draw a form whose values are valid and are the preset's; and what single kinds of fields give."""

from __future__ import annotations

from typing import Literal

import pytest
from streamlit.testing.v1 import AppTest

from recsys_core import params as params_module
from recsys_core import registry
from recsys_core.data.features.settings import SETTINGS, settings_fields
from recsys_core.params import PRESETS, Params, param
from ui import text

PLUGINS = [(kind, key) for kind in ("model", "splitter") for key in registry.keys(kind)]


def _forms(plugins: list, preset: str) -> None:
    import streamlit as st

    from recsys_core import registry
    from ui.forms import params_form

    st.session_state["out"] = {
        f"{kind}/{key}": params_form(registry.get(kind, key).Params, f"form-{kind}-{key}", preset) for kind, key in plugins
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_every_form_starts_at_its_presets(preset: str) -> None:
    at = AppTest.from_function(_forms, args=(PLUGINS, preset), default_timeout=60).run()
    assert not at.exception, at.exception
    for kind, key in PLUGINS:
        cls = registry.get(kind, key).Params
        expected = params_module.build(cls, params_module.preset(cls, preset))
        assert params_module.build(cls, at.session_state["out"][f"{kind}/{key}"]) == expected, key
    widgets = (*at.checkbox, *at.number_input, *at.slider, *at.selectbox, *at.text_input, *at.text_area)
    assert len(widgets) > len(PLUGINS) and all(widget.label for widget in widgets), "every input has a visible label"


class Example(Params):
    factors: int | Literal["auto"] = param("auto", label="Factors", help="How many.", ge=1, le=512, tune=(8, 256, "log"))
    shrinkage: float = param(0.001, label="Shrinkage", help="Pulls down.", ge=0.0)
    share: float = param(0.5, label="Share", help="Which part.", ge=0, le=1, tune=(0.0, 1.0, "linear"))
    kind: Literal["a", "b_c"] = param("a", label="Kind", help="Which.")
    weights: Literal["learn"] | list[float] = param("learn", label="Weights", help="How much.")
    limit: int | None = param(None, label="Limit", help="At most.", ge=1, advanced=True)


def _example(values: dict, resolved: dict) -> None:
    import streamlit as st

    from ui.forms import params_form

    st.session_state["out"] = params_form(st.session_state["cls"], "x", "balanced", values, resolved=resolved)


def _open(values: dict | None = None, resolved: dict | None = None) -> AppTest:
    at = AppTest.from_function(_example, args=(values or {}, resolved or {}), default_timeout=20)
    at.session_state["cls"] = Example
    return at.run()


def test_auto_shows_what_it_became_and_gives_way_to_a_number() -> None:
    at = _open(resolved={"factors": 64})
    assert at.session_state["out"]["factors"] == "auto"
    box = next(c for c in at.checkbox if c.label.startswith("Factors"))
    assert "64 for this data" in box.label
    box.uncheck().run()
    assert at.session_state["out"]["factors"] == 64
    next(n for n in at.number_input if n.label == "Factors").set_value(100).run()
    assert at.session_state["out"]["factors"] == 100


def test_small_numbers_keep_their_digits() -> None:
    at = _open()
    box = next(n for n in at.number_input if n.label == "Shrinkage")
    assert box.proto.format == "%g" and box.value == 0.001


def test_lists_words_and_nothing() -> None:
    at = _open()
    assert at.session_state["out"]["limit"] is None and at.session_state["out"]["weights"] == "learn"
    next(s for s in at.selectbox if s.label == "Weights").set_value("set by hand").run()
    next(t for t in at.text_input if "Weights" in t.label).set_value("2, 1").run()
    assert at.session_state["out"]["weights"] == ["2", "1"]
    assert params_module.build(Example, at.session_state["out"]).weights == [2.0, 1.0]


def test_values_of_an_earlier_run_are_the_start() -> None:
    at = _open(values={"factors": 20, "kind": "b_c", "unknown": 1})
    assert (at.session_state["out"]["factors"], at.session_state["out"]["kind"]) == (20, "b_c")
    assert "unknown" not in at.session_state["out"]


class Grouped(Params):
    depth: int = param(2, label="Depth", help="How deep.", ge=1)
    patience: int = param(5, label="Patience", help="How long.", ge=0, advanced=True)
    optimizer: Literal["adam", "sgd"] = param("adam", label="Optimiser", help="Which.", advanced=True, group="Training *technique*")
    warmup: float = param(0.0, label="Slow start", help="How long.", ge=0, advanced=True, group="Training *technique*")


class Redeclared(Grouped):
    warmup: float = param(1.0, label="Slow start", help="How long, here.", ge=0, advanced=True)


def test_settings_of_a_group_stand_in_a_folded_block_after_the_other_advanced_ones() -> None:
    at = AppTest.from_function(_example, args=({}, {}), default_timeout=20)
    at.session_state["cls"] = Grouped
    at.run()
    more, block = at.expander
    assert (more.label, block.label) == ("More settings", r"Training \*technique\* (2 settings)") and not block.proto.expanded
    assert [box.label for box in block.selectbox] == ["Optimiser"] and [box.label for box in block.number_input] == ["Slow start"]
    assert [box.label for box in more.number_input] == ["Patience", "Slow start"], "the model's own come first"
    assert [box.label for box in at.number_input] == ["Depth", "Patience", "Slow start"]
    assert not at.caption
    block.selectbox[0].select("sgd").run()
    assert at.session_state["out"]["optimizer"] == "sgd" and at.caption[0].value == "Changed: Optimiser."


def test_a_parameter_that_is_declared_anew_stays_in_its_group() -> None:
    described = {f.name: f for f in params_module.fields(Redeclared)}
    assert described["warmup"].group == "Training *technique*" and described["warmup"].default == 1.0
    assert described["depth"].group == ""


def test_every_network_has_its_training_technique_in_one_block() -> None:
    from recsys_core.models.deep._training import TECHNIQUE

    networks = [cls for cls in registry.all_of("model").values() if "optimizer" in cls.Params.model_fields]
    assert len(networks) > 2
    for cls in networks:
        described = {f.name: f for f in params_module.fields(cls.Params)}
        assert {described[name].group for name in ("optimizer", "schedule", "warmup", "lazy_updates")} == {TECHNIQUE}, cls.key
        assert {described[name].group for name in ("epochs", "learning_rate", "patience")} == {""}, cls.key


def test_untrusted_text_cannot_become_markup() -> None:
    assert text.md("*a* [b](c) <i>$x$</i> :red[d]") == r"\*a\* \[b\]\(c\) \<i\>\$x\$\<\/i\> \:red\[d\]"
    assert text.md("line\nbreak", 6) == "line…"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.count(1, "run"), "1 run"),
        (text.count(1234, "run"), "1,234 runs"),
        (text.size(1536), "1.5 KB"),
        (text.duration(75), "1 min 15 s"),
        (text.share(0.0123), "1.2 %"),
        (text.day("2016-05-03T10:00:00+00:00"), "3 May 2016"),
        (text.ago(0, now=7200), "2 h ago"),
        (text.score(float("nan")), "–"),
        (text.listing(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_figures_read_like_a_person_would_say_them(shown: str, expected: str) -> None:
    assert shown == expected


class Words(Params):
    loss: Literal["softmax", "bce", "of_mine"] = param("bce", label="Loss", help="softmax and bce: known. of_mine: not; bce is odd.")
    path: Literal["up", "way_down"] = param("up", label="Path", help="way_down: lower.", names={"up": "Upwards", "way_down": "All the way"})


def test_options_are_called_by_their_names_and_stored_as_they_are() -> None:
    at = AppTest.from_function(_example, args=({}, {}), default_timeout=20)
    at.session_state["cls"] = Words
    at.run()
    loss, path = at.selectbox
    assert loss.options == ["Ranking (softmax)", "Chosen or not (BCE)", "Of mine"] and path.options == ["Upwards", "All the way"]
    assert loss.help == "Ranking (softmax) and Chosen or not (BCE): known. of_mine: not; Chosen or not (BCE) is odd."
    assert path.help == "All the way: lower."
    path.select("All the way").run()
    assert at.session_state["out"] == {"loss": "bce", "path": "way_down"}


def test_every_option_of_every_plug_in_has_a_name_of_its_own() -> None:
    sets = [cls.Params for kind in registry.KINDS for cls in registry.all_of(kind).values() if hasattr(cls, "Params")]
    described = [f for one in sets for f in params_module.fields(one)] + [f for kind in SETTINGS for f in settings_fields(kind)]
    assert not {(f.name, value) for f in described for value in f.choices if value not in f.names}, "add it to option_names, or names="
    for field in described:
        said = [field.option(value) for value in field.choices]
        assert len(set(said)) == len(said) and not any("_" in text or text[0].islower() for text in said)
        assert not [value for value in map(str, field.choices) if "_" in value and value in field.named_help], field.named_help
