"""Train: empty, filled and failing states; what is offered, what is refused and why, what a click queues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.errors import DataError, ParamError
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.store import Workspace
from ui.train_own_test import plan_of_test, roles_needed, save_test, suggested_columns
from ui.train_protocol import offered_rules, read_ks


def _data(*, timed: bool = True) -> Dataset:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((40, 30)) < 0.3)
    frame = pd.DataFrame({"user": [f"u{n}" for n in user], "item": [f"i{n}" for n in item], "time": np.arange(len(user)) * 3600})
    return from_frame(frame, time="time" if timed else None)


@pytest.fixture
def saved(workspace_root: Path) -> tuple[Workspace, str]:
    workspace = Workspace(workspace_root)
    return workspace, workspace.add_dataset(_data(), "Films *and* [more](http://x)").id


def _button(at, label: str):
    return next(button for button in at.button if button.label.startswith(label))


def test_empty_workspace_leads_to_data(open_page, text_of) -> None:
    at = open_page("train")
    assert "No datasets yet" in text_of(at)
    assert not any(button.key == "train-chosen" for button in at.button)


def test_a_link_may_pick_a_model_and_says_why_it_cannot(open_page, text_of, saved) -> None:
    at = open_page("train", dataset=saved[1], model="anil")
    assert at.checkbox(key="pick-anil").value and "model" not in at.query_params and "ANIL is chosen" in at.toast[0].value
    at.checkbox(key="pick-anil").uncheck().run()
    assert not at.checkbox(key="pick-anil").value, "the link counts once"
    assert "cannot be trained here. Needs" in text_of(open_page("train", dataset=saved[1], model="biased_mf")).replace("\\", "")
    assert "There is no recommender 'nope'" in text_of(open_page("train", dataset=saved[1], model="nope")).replace("\\", "")


def test_every_model_has_a_card_with_its_cost_or_the_reason(open_page, text_of, saved) -> None:
    from recsys_core import registry

    at = open_page("train", dataset=saved[1])
    models = registry.all_of("model")
    labels = [box.label.strip("*").replace("\\", "") for box in at.checkbox]
    assert {cls.label for cls in models.values()} <= set(labels)
    off = [box for box in at.checkbox if box.key and box.key.startswith("off-")]
    stats = saved[0].dataset(saved[1]).stats
    assert {box.key for box in off} == {f"off-{key}" for key, cls in models.items() if not all(need.met_by(stats) for need in cls.needs)}
    assert all(box.disabled for box in off)
    assert "Needs explicit ratings; this dataset has none" in text_of(at)
    said = text_of(at).replace("\\", "")
    assert said.count("of memory") >= len(models) - len(off)
    for cls in models.values():
        assert cls.summary in said, f"{cls.key}: when to prefer it"
        if cls.source and cls.source.url.startswith("https://"):
            assert cls.source.url.replace("\\", "") in said, f"{cls.key}: where it comes from"
    plain = [key for key, cls in models.items() if not cls.needs]
    assert said.count("Needs nothing but users and items") == len(plain)
    assert _button(at, "Train").disabled, "nothing is chosen yet"


def _cards(at) -> set[str]:
    return {box.key.partition("-")[2] for box in at.checkbox if box.key and box.key.startswith(("pick-", "off-"))}


def test_models_are_found_by_words_and_by_family(open_page, text_of, saved) -> None:
    from recsys_core import registry

    models = registry.all_of("model")
    at = open_page("train", dataset=saved[1])
    assert _cards(at) == set(models)
    assert list(at.pills(key="find-family").options) == list(dict.fromkeys(at.pills(key="find-family").options)), "each family once"
    assert set(at.pills(key="find-family").options) == {cls.family for cls in models.values()}
    at.text_input(key="find-model").set_value("STECK 2019").run()
    assert _cards(at) == {"ease"}
    at.text_input(key="find-model").set_value("no such *words*").run()
    assert _cards(at) == set() and r"No recommender here is described by 'no such \*words\*'" in text_of(at)
    at.text_input(key="find-model").set_value("").run()
    at.pills(key="find-family").set_value("Linear").run()
    assert _cards(at) == {key for key, cls in models.items() if cls.family == "Linear"}


def test_what_is_ticked_stays_chosen_when_its_card_is_hidden(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-als").check().run()
    at.text_input(key="find-model").set_value("ease").run()
    assert "pick-als" not in {box.key for box in at.checkbox} and "Also chosen, not shown now: ALS" in text_of(at)
    at.checkbox(key="pick-ease").check().run()
    at.button(key="train-chosen").click().run()
    assert {job.train_spec.model for job in JobQueue(workspace).jobs()} == {"als", "ease"}
    at.text_input(key="find-model").set_value("").run()
    assert at.checkbox(key="pick-als").value and "Also chosen" not in text_of(at)
    at.text_input(key="find-model").set_value("popular").run()
    at.button(key="clear-choice").click().run()
    assert "Also chosen" not in text_of(at) and at.button(key="train-chosen").disabled


def test_families_come_in_the_order_of_the_page_and_unknown_ones_before_the_fused(open_page, saved, monkeypatch) -> None:
    from recsys_core import registry
    from ui.train_models import FAMILIES, offers

    monkeypatch.setattr(registry.get("model", "als"), "family", "Quite *new*")
    offers.clear()
    at = open_page("train", dataset=saved[1])
    offers.clear()
    shown = list(at.pills(key="find-family").options)
    known = [family for family in shown if family in FAMILIES]
    assert known == [family for family in FAMILIES if family in known] and {"Deep", "Sequential", "Fused"} <= set(known)
    assert shown[-2:] == [r"Quite \*new\*", "Fused"]


@pytest.mark.parametrize(
    ("citation", "cited"),
    [
        ("Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders (2018)", "Liang et al. 2018"),
        ("Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, WWW", "Steck 2019"),
        ("Kang, McAuley: Self-Attentive Sequential Recommendation (2018)", "Kang and McAuley 2018"),
        ("Rendle et al.: BPR: Bayesian Personalized Ranking, UAI 2009", "Rendle et al. 2009"),
        ("Somebody, Nowhere", "Somebody and Nowhere"),
        ("", ""),
    ],
)
def test_papers_are_cited_short(citation, cited) -> None:
    from ui.train_models import Offer

    assert Offer("k", "K", "Deep", "", (), "", 0.0, 0, citation, "").cited == cited


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "under 2 s"), (7.4, "about 7 s"), (42, "about 40 s"), (130, "about 2 min"), (7300, "about 2 h 1 min")]
)
def test_expected_times_are_round(seconds, said) -> None:
    from ui.train_models import time_text

    assert time_text(seconds) == said


def test_sensible_set_is_expected_to_take_less_than_a_minute_on_a_hundred_thousand_ratings() -> None:
    """The size of ml-100k: 943 users, 1,682 items."""
    from recsys_core import registry
    from ui.sensible import sensible_specs

    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((943, 1682)) < 0.063)
    data = from_frame(pd.DataFrame({"user": user, "item": item}))
    assert 95_000 < len(data) < 105_000
    specs, left_out = sensible_specs("any", data.stats)
    assert len(specs) == 6 and not left_out
    assert sum(registry.get("model", spec.model)(spec.model_params()).cost(data.stats).seconds for spec in specs) < 60


def test_too_large_models_are_refused_with_what_would_fit(open_page, text_of, saved, monkeypatch) -> None:
    from recsys_core.jobs import memory
    from ui.train_models import offers

    monkeypatch.setattr(memory, "available_bytes", lambda: 400 * 2**20)
    offers.clear()
    at = open_page("train", dataset=saved[1])
    offers.clear()
    off = {box.key for box in at.checkbox if box.key and box.key.startswith("off-")}
    assert "off-ease" in off or "off-weighted" in off or len(off) > 3
    assert "of memory; 400 MB is free" in text_of(at).replace("\\", "")
    assert "would fit" in text_of(at)


def test_chosen_models_become_jobs_with_their_settings(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-als").check().run()
    assert "for this data" in " ".join(box.label for box in at.checkbox), "what auto becomes is shown beside it"
    at.number_input(key="split-seed").set_value(7).run()
    at.text_input(key="split-ks").set_value("10, 3").run()
    at.text_input(key="name-als").set_value("My ALS").run()
    assert _button(at, "Train 1 model")
    at.button(key="train-chosen").click().run()
    [job] = JobQueue(workspace).jobs()
    spec = job.train_spec
    assert (spec.model, spec.seed, spec.ks, spec.split, job.title) == ("als", 7, (3, 10), "random", "My ALS")
    assert spec.model_params().factors == "auto"
    assert "is under way already" in text_of(at) and at.button(key="train-chosen").disabled


def test_rules_for_new_items_warn_where_nothing_describes_the_items(open_page, text_of, saved) -> None:
    at = open_page("train", dataset=saved[1])
    assert "ranks new items by chance" not in text_of(at)
    at.selectbox(key="split-rule").set_value("cold_items").run()
    assert "ranks new items by chance" in text_of(at)
    data = _data()
    described = pd.DataFrame({"kind": [f"kind {n % 3}" for n in range(data.n_items)]})
    other = saved[0].add_dataset(replace(data, item_table=described), "Described")
    at = open_page("train", dataset=other.id)
    at.selectbox(key="split-rule").set_value("cold_items").run()
    assert not at.exception and "ranks new items by chance" not in text_of(at)


def test_presets_change_what_is_trained(open_page, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-als").check().run()
    at.segmented_control(key="effort-als").set_value("fast").run()
    at.button(key="train-chosen").click().run()
    from recsys_core import registry
    from recsys_core.params import preset

    params = JobQueue(workspace).jobs()[0].train_spec.model_params().model_dump()
    assert params == preset(registry.get("model", "als").Params, "fast") != preset(registry.get("model", "als").Params, "balanced")


def test_a_trained_spec_says_so_and_is_not_queued(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    train_in_workspace(workspace, TrainSpec.make(dataset=dataset_id, model="popular"), RunContext(threads=1))
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-popular").check().run()
    assert "is trained already with these settings" in text_of(at)
    assert at.button(key="train-chosen").disabled
    at.number_input(key="split-seed").set_value(1).run()
    assert not at.button(key="train-chosen").disabled, "another seed is another run"


def test_fusion_of_a_trained_run_and_a_new_model_with_weights_by_hand(open_page, saved) -> None:
    workspace, dataset_id = saved
    run = train_in_workspace(workspace, TrainSpec.make(dataset=dataset_id, model="popular"), RunContext(threads=1))
    other = train_in_workspace(workspace, TrainSpec.make(dataset=dataset_id, model="popular", seed=1), RunContext(threads=1))
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-weighted").check().run()
    parts = at.multiselect(key="fusion-parts-weighted")
    assert any("trained already" in option for option in parts.options)
    assert sum("trained already" in option for option in parts.options) == 1, f"{other.name} has another seed: not offered"
    parts.set_value(["item_knn", f"run:{run.id}"]).run()
    at.segmented_control(key="fusion-weights-weighted").set_value("by hand").run()
    at.number_input(key="fusion-weight-weighted-item_knn").set_value(3.0).run()
    at.button(key="train-chosen").click().run()
    params = JobQueue(workspace).jobs()[0].train_spec.model_params()
    assert params.models == ["item_knn", f"run:{run.id}"] and params.weights == [3.0, 1.0]


def test_fusion_uses_the_settings_chosen_for_its_parts(open_page, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    at.checkbox(key="pick-als").check().run()
    at.checkbox(key="pick-weighted").check().run()
    at.segmented_control(key="effort-als").set_value("fast").run()
    at.button(key="train-chosen").click().run()
    fused = next(job.train_spec for job in JobQueue(workspace).jobs() if job.train_spec.model == "weighted")
    alone = next(job.train_spec for job in JobQueue(workspace).jobs() if job.train_spec.model == "als")
    assert fused.params["part_params"]["als"].items() <= alone.model_params().model_dump(mode="json").items()


def test_wrong_list_lengths_are_named_and_nothing_can_be_trained(open_page, text_of, saved) -> None:
    at = open_page("train", dataset=saved[1])
    at.checkbox(key="pick-popular").check().run()
    at.text_input(key="split-ks").set_value("5, ten").run()
    assert "whole numbers from 1 to 1000" in text_of(at) and "5, ten" in text_of(at)
    assert at.button(key="train-chosen").disabled and at.button(key="train-sensible").disabled


@pytest.mark.parametrize("text", ["", "0", "-5", "1001", "5; x", "99999999999999999999", "٣"])
def test_list_lengths_outside_the_rule(text) -> None:
    with pytest.raises(ParamError, match="1 to 1000"):
        read_ks(text)


def test_list_lengths_are_sorted_and_unique() -> None:
    assert read_ks(" 20;5, 10 10") == (5, 10, 20)


def test_sensible_set_in_one_click(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    at.button(key="train-sensible").click().run()
    models = {job.train_spec.model for job in JobQueue(workspace).jobs()}
    assert {"popular", "item_knn", "ease", "als", "mult_vae", "weighted"} == models
    assert "6 jobs under way" in text_of(at)
    at.button(key="train-sensible").click().run()
    assert len(JobQueue(workspace).jobs()) == 6, "a second click queues nothing twice"


def test_a_rule_that_needs_times_is_not_offered_without_them() -> None:
    rules, sentences = offered_rules(_data(timed=False).stats)
    assert "global_time" not in rules and "random" in rules
    assert sentences == ["'Global time' is not offered: it needs a time column, and this dataset has none."]
    assert next(iter(rules)) == "random"


def test_failed_job_shows_its_reason_and_can_run_again(open_page, text_of, saved) -> None:
    workspace, dataset_id = saved
    queue = JobQueue(workspace)
    # A fusion of a run that is not there fails in its own process.
    queue.submit(TrainSpec.make(dataset=dataset_id, model="weighted", params={"models": ["popular", "run:0123456789abcdef"]}))
    queue.run_until_idle(120)
    [job] = queue.jobs()
    assert job.state == "failed"
    at = open_page("train", dataset=dataset_id)
    assert "Failed" in text_of(at) and job.reason.split(".")[0] in text_of(at).replace("\\", "")
    _button(at, "Run again").click().run()
    assert queue.jobs()[0].state == "queued"


def test_parallel_setting_is_kept_in_the_workspace(open_page, saved) -> None:
    workspace, dataset_id = saved
    at = open_page("train", dataset=dataset_id)
    at.number_input(key="parallel-jobs").set_value(3).run()
    assert JobQueue(workspace).parallel == 3


# ---- own test file ---------------------------------------------------------------------------------
def _ingested(workspace: Workspace, folder: Path) -> tuple[object, Path]:
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source

    rng = np.random.default_rng(1)
    user, item = np.nonzero(rng.random((60, 40)) < 0.3)
    frame = pd.DataFrame({"person": user + 100, "film": item + 500, "stars": rng.integers(1, 6, len(user))})
    mask = rng.random(len(frame)) < 0.8
    frame[mask].to_csv(folder / "train.csv", index=False)
    frame[~mask].to_csv(folder / "test.csv", index=False)
    source = open_source(folder / "train.csv")
    plan = IngestPlan.from_guess(guess_columns(source))
    return workspace.add_dataset(ingest(source, plan), "Pair", plan=plan), folder / "test.csv"


def test_own_test_file_from_upload_to_measured_run(open_page, text_of, workspace_root, tmp_path) -> None:
    workspace = Workspace(workspace_root)
    entry, test_file = _ingested(workspace, tmp_path)
    at = open_page("train", dataset=entry.id)
    at.selectbox(key="split-rule").set_value("own_test").run()
    at.checkbox(key="pick-popular").check().run()
    assert at.button(key="train-chosen").disabled, "there is no test file yet"
    at.file_uploader[0].upload("test.csv", test_file.read_bytes() + b"100,501,many\n", "text/csv").run()
    assert [box.value for box in at.selectbox if "column" in box.label] == ["person", "film", "stars"], "as in the dataset's own file"
    at.button(key="own-test-save").click().run()
    [test] = workspace.dataset(entry.id).tests()
    n = len(pd.read_csv(test_file))
    assert test["name"] == "test.csv" and test["stats"]["n_interactions"] == n
    assert test["rows"] == {"read": n + 1, "kept": n, "merged": 0, "filtered": 0, "rejected": 1}
    assert f"{n + 1:,} rows read = {n:,} kept + 0 merged + 0 left out + 1 rejected" in text_of(at).replace("\\", "")
    assert len(list((entry.path / "tests" / test["id"]).glob("rejects*"))) == 1
    at.button(key="train-chosen").click().run()
    spec = JobQueue(workspace).jobs()[0].train_spec
    assert spec.split == "own_test" and spec.split_params["test"] == test["id"]
    run = train_in_workspace(workspace, spec, RunContext(threads=1))
    assert run.card()["interactions"]["test"] == len(pd.read_csv(test_file))
    assert run.card()["interactions"]["training"] == entry.stats.n_interactions


def test_own_test_file_without_ratings_or_common_items_is_refused(workspace_root, tmp_path) -> None:
    from recsys_core.data.ingest import guess_columns, open_source

    workspace = Workspace(workspace_root)
    entry, test_file = _ingested(workspace, tmp_path)
    assert roles_needed(entry) == ("user", "item", "value")
    with pytest.raises(DataError, match="needs a value column"):
        plan_of_test(entry, {"user": "person", "item": "film", "value": None})
    with pytest.raises(DataError, match="must differ"):
        plan_of_test(entry, {"user": "person", "item": "person", "value": "stars"})
    with pytest.raises(DataError, match="user and an item"):
        plan_of_test(entry, {"user": None, "item": "film", "value": "stars"})
    strange = pd.read_csv(test_file).assign(film=lambda f: f.film + 100_000)
    strange.to_csv(tmp_path / "strange.csv", index=False)
    source = open_source(tmp_path / "strange.csv")
    columns = suggested_columns(entry.plan, source.columns, guess_columns(source))

    class Upload:
        folder = tmp_path

        @staticmethod
        def name() -> str:
            return "strange.csv"

    with pytest.raises(DataError, match="no item in common"):
        save_test(entry, Upload, source, columns)
    assert workspace.dataset(entry.id).tests() == []


def test_a_test_file_that_is_gone_fails_with_a_sentence(saved) -> None:
    workspace, dataset_id = saved
    spec = TrainSpec.make(dataset=dataset_id, model="popular", split="own_test", split_params={"test": "gone"})
    with pytest.raises(Exception, match="needs a test file saved beside"):
        train_in_workspace(workspace, spec, RunContext(threads=1))
