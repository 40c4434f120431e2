"""Data, tab Features: what columns are taken for, changed, saved and gone back; findings; without tables; where features are told of."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.features import FeatureSet, Guess
from recsys_core.store import Workspace
from recsys_core.store.feature_sets import current_features, feature_set, save_feature_set
from recsys_core.testing.datasets import tastes

LONG = "A <b>very</b> *long* name of a column that came out of a spreadsheet 🎬"


@pytest.fixture
def entry(workspace_root):
    """Items with a list, a year, a title, nothing, and a count of the interactions; users with a group."""
    data, rng = tastes(60, 40, 3).train, np.random.default_rng(0)
    n = data.n_items
    items = pd.DataFrame(
        {
            "genres": ["|".join(rng.choice(["Comedy", "Drama", "Horror"], 2, replace=False)) for _ in range(n)],
            "year": rng.integers(1950, 2020, n),
            "known": np.bincount(data.item, minlength=n),
            "nothing": [None] * n,
            LONG: [f"The story of place {k} and of {k * 7} *more*" for k in range(n)],
        }
    )
    users = pd.DataFrame({"group": rng.choice(["a", "b"], data.n_users)})
    return Workspace(workspace_root).add_dataset(replace(data, item_table=items, user_table=users), "Books")


def _columns(at) -> pd.DataFrame:
    return next(frame.value for frame in at.dataframe if "Taken for" in frame.value).set_index("Column")


def _click(at, key: str):
    at.button(key=key).click().run()
    assert not at.exception
    return at


def test_every_column_is_listed_with_what_becomes_of_it(open_page, text_of, entry) -> None:
    at = open_page("data", dataset=entry.id, part="Features")
    shown = _columns(at)
    assert shown["Taken for"].to_dict() == {
        "genres": "Several values a cell", "year": "Number", "known": "Number", "nothing": "Left out", LONG: "Text",
    }  # fmt: skip
    assert shown.loc["nothing", "Missing"] == 100 and shown.loc["nothing", "What becomes of it"] == "It is empty."
    assert shown.loc["genres", "Features"] == 3 + 2, "three genres, others, none"
    assert not shown.loc["nothing", "Used"] and shown.loc["year", "Used"]
    assert "As guessed" in text_of(at) and at.button(key="features-save").disabled
    assert next(box for box in at.selectbox if box.label == "Column").value == "genres"


def test_a_change_is_told_saved_and_used_by_new_trainings(open_page, text_of, entry, workspace_root) -> None:
    from recsys_core.jobs import TrainSpec

    at = open_page("data", dataset=entry.id, part="Features", column="year")
    at.selectbox(key=f"kind-{entry.id}-item-year").select("categorical").run()
    assert _columns(at).loc["year", "Taken for"] == "Categories"
    assert "1 change not saved" in text_of(at) and "categories instead of number" in text_of(at)
    at.switch_page("../pages/home.py").run()
    at.switch_page("../pages/data.py").run()
    assert "1 change not saved" in text_of(at), "unsaved changes outlive a change of page"
    _click(at, "features-save")
    kept = feature_set(entry, current_features(entry))
    assert kept.columns == {"item": {"year": Guess("categorical", "", {})}} or kept.columns["item"]["year"].kind == "categorical"
    assert "**Saved.**" in text_of(at) and at.button(key="features-save").disabled
    spec = TrainSpec.make(dataset=entry.id, model="two_tower").with_features(Workspace(workspace_root))
    assert spec.features == kept.id != ""
    _click(at, "features-guessed")
    assert _columns(at).loc["year", "Taken for"] == "Number" and "1 change not saved" in text_of(at)
    _click(at, "features-discard")
    assert _columns(at).loc["year", "Taken for"] == "Categories"


def test_settings_are_kept_and_bad_ones_refused(open_page, text_of, entry) -> None:
    at = open_page("data", dataset=entry.id, part="Features", column="genres")
    separator = next(box for box in at.text_input if box.label == "Values are parted by")
    assert separator.value == "|"
    separator.set_value(";").run()
    assert not at.exception
    assert "values are parted by ';'" in text_of(at).lower()
    assert _columns(at).loc["genres", "Features"] == 6 + 2, "pairs of genres are values of their own now"
    next(box for box in at.text_input if box.label == "Values are parted by").set_value("|").run()
    assert "not saved" not in text_of(at), "what equals the guess is no change"


def test_text_columns_choose_their_encoder(open_page, text_of, entry) -> None:
    at = open_page("data", dataset=entry.id, part="Features", column=LONG)
    assert "very" in text_of(at) and "Read by TF" in text_of(at)
    assert not [box for box in at.text_input if box.label == "Pretrained model"]
    at.selectbox(key=f"encoder-{entry.id}-item-{LONG}").select("sentence").run()
    assert not at.exception
    next(box for box in at.text_input if box.label == "Pretrained model").set_value("some/folder").run()
    _click(at, "features-save")
    settings = feature_set(entry, current_features(entry)).columns["item"][LONG].settings
    assert (settings["encoder"], settings["model"]) == ("sentence", "some/folder")


def test_findings_offer_their_remedy(open_page, text_of, entry) -> None:
    at = open_page("data", dataset=entry.id, part="Features")
    assert "What the checks found" in text_of(at) and "figures would know the test" in text_of(at)
    remedies = [button for button in at.button if button.label == "Leave this column out"]
    assert len(remedies) == 1, "only what misleads"
    remedies[0].click().run()
    assert _columns(at).loc["known", "Taken for"] == "Left out" and "known': left out" in text_of(at).replace("\\", "")
    assert "figures would know the test" not in text_of(at)


def test_high_level_features_are_switched(open_page, text_of, entry) -> None:
    at = open_page("data", dataset=entry.id, part="Features")
    off = at.toggle(key=f"derived-{entry.id}-item_popularity")
    assert off.value
    off.set_value(False).run()
    assert "no longer used: Popularity" in text_of(at).replace("\\", "")
    _click(at, "features-save")
    chosen = feature_set(entry, current_features(entry)).derived
    assert chosen is not None and "item_popularity" not in chosen and "activity" in chosen
    at.toggle(key=f"derived-{entry.id}-item_popularity").set_value(True).run()
    _click(at, "features-save")
    assert current_features(entry) == "", "all as by default is no choice"


def test_without_ratings_or_tables_it_says_what_they_would_give(open_page, text_of, workspace_root) -> None:
    bare = Workspace(workspace_root).add_dataset(tastes(40, 30, 3).train, "Bare")
    at = open_page("data", dataset=bare.id, part="Features")
    assert "Nothing describes the items and users yet" in text_of(at)
    assert at.toggle(key=f"derived-{bare.id}-rating_style").disabled and "explicit ratings" in text_of(at)
    _click(at, "features-none-button")
    assert "Choose a file" in text_of(at)


def test_vector_files_are_matched_saved_and_taken_out(open_page, text_of, entry, tmp_path) -> None:
    items = entry.ids()[1].decode(np.arange(30))
    file = tmp_path / "covers.npz"
    np.savez(file, ids=np.array([*items, "nobody"]), vectors=np.random.default_rng(0).normal(size=(31, 6)).astype(np.float32))
    at = open_page("data", dataset=entry.id, part="Features")
    uploader = next(box for box in at.file_uploader if box.label == "File of vectors")
    uploader.upload("covers.npz", file.read_bytes()).run()
    text = text_of(at).replace("\\", "")
    assert not at.exception and "30 of 31 vectors belong to items of the dataset" in text and "1 id of the file matches nothing" in text
    n = entry.stats.n_items
    assert f"30 of {n} items have one" in text and "6 numbers each" in text and "Item vectors 'covers': added" in text
    assert _columns(at).loc["covers", ["Taken for", "Features"]].tolist() == ["Vector", 6 + 1]
    assert _columns(at).loc["covers", "Missing"] == pytest.approx(100 * (1 - 30 / n))
    _click(at, "features-save")
    assert entry.load(current_features(entry)).item_table["covers"].notna().sum() == 30
    _click(at, "remove-vectors-item-covers")
    _click(at, "features-save")
    assert current_features(entry) == "" and "covers" not in _columns(at).index


def test_unusable_vector_files_get_one_sentence(open_page, text_of, entry) -> None:
    at = open_page("data", dataset=entry.id, part="Features")
    uploader = next(box for box in at.file_uploader if box.label == "File of vectors")
    uploader.upload("covers.npz", b"no archive at all").run()
    assert not at.exception and len(at.error) == 1 and "cannot be read as vectors" in at.error[0].value.replace("\\", "")
    assert "not saved" not in text_of(at)


def test_changes_of_two_datasets_do_not_mix(open_page, text_of, entry, workspace_root) -> None:
    data = tastes(50, 40, 3, seed=1).train
    other = Workspace(workspace_root).add_dataset(replace(data, item_table=pd.DataFrame({"year": range(data.n_items)})), "Other")
    at = open_page("data", dataset=entry.id, part="Features", column="year")
    at.toggle(key=f"use-{entry.id}-item-year").set_value(False).run()
    assert "1 change not saved" in text_of(at)
    next(box for box in at.selectbox if box.label == "Dataset").select(other.id).run()
    assert not at.exception and "not saved" not in text_of(at)
    next(box for box in at.selectbox if box.label == "Dataset").select(entry.id).run()
    assert "1 change not saved" in text_of(at)


def test_a_set_that_is_gone_is_told_and_begun_anew(open_page, text_of, entry) -> None:
    gone = save_feature_set(entry, FeatureSet(derived=("activity",)))
    (entry.path / "features" / f"{gone}.json").unlink()
    at = open_page("data", dataset=entry.id, part="Features")
    assert len(at.error) == 1 and "has no feature set" in at.error[0].value
    _click(at, "features-anew")
    assert "As guessed" in text_of(at) and not at.error


def test_kept_vectors_are_cleared_but_not_under_a_job(open_page, text_of, entry, workspace_root, monkeypatch) -> None:
    from recsys_core.jobs import JobQueue, TrainSpec

    shard = workspace_root / "cache" / "text" / "some" / "shard.npz"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(bytes(2048))
    queue = JobQueue(Workspace(workspace_root))
    job = queue.submit(TrainSpec.make(dataset=entry.id, model="popular"))
    at = open_page("data", dataset=entry.id, part="Features")
    assert "2.0 KB" in text_of(at).replace("\\", "") and at.button(key="clear-cache").disabled
    queue.cancel(job.id)
    at.run()
    _click(at, "clear-cache")
    assert not shard.exists() and "cleared" in text_of(at)


def test_the_web_process_stays_light(repo) -> None:
    """What the tab asks of the core brings no model library with it."""
    code = """
import sys
import numpy as np, pandas as pd
from dataclasses import replace
from recsys_core.data.features.preview import preview
from recsys_core.data.features.report import feature_report
from recsys_core.data.features import FeatureSet, Guess, guess_schema
from recsys_core.testing.datasets import tastes
data = tastes(40, 30, 3).train
rng = np.random.default_rng(0)
table = pd.DataFrame({"title": [f"The tale of {k} places" for k in range(data.n_items)], "n": rng.normal(size=data.n_items)})
table["v"] = list(rng.normal(size=(data.n_items, 4)))
chosen = FeatureSet({"item": {"v": Guess("vector", settings={"size": 2})}})
report = feature_report(replace(data, item_table=table), chosen)
assert [one["chosen"]["kind"] for one in report["item"]["columns"]] == ["text", "numeric", "vector"], report
assert all(preview(name, table[name], what).n_rows == data.n_items for name, what in guess_schema(table).items())
heavy = {"torch", "sklearn", "implicit", "optuna", "statsmodels", "sentence_transformers"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-1500:]


def test_train_says_what_is_read(open_page, text_of, entry) -> None:
    at = open_page("train", dataset=entry.id)
    assert "Reads 3 item columns and 1 user column" in text_of(at), "text is not read by two-tower"
    from recsys_core import registry
    from ui.train_features import reading

    told = {key: reading(entry, registry.get("model", key)) for key in ("content_knn", "m6_rec", "ease", "weighted")}
    assert told["content_knn"] == "Reads 2 item columns", "the list and the title, no numbers, nothing of users"
    assert told["m6_rec"] == "Reads 4 item columns and 1 user column" and told["ease"] == told["weighted"] == ""
    m6 = registry.get("model", "m6_rec")
    assert reading(entry, m6, m6.Params(text=False)) == "Reads 3 item columns and 1 user column"
    assert reading(entry, m6, m6.Params(features=False)).startswith("Reads no columns")
    left_out = {name: Guess(None) for name in ("genres", "year", "known", LONG)}
    save_feature_set(entry, FeatureSet({"item": left_out, "user": {"group": Guess(None)}}))
    at.run()
    assert "Reads no columns" in text_of(at)


def test_a_result_of_earlier_features_is_told(entry) -> None:
    from types import SimpleNamespace

    from ui.train_features import trained_otherwise

    def run(model: str, features: str) -> SimpleNamespace:
        return SimpleNamespace(dataset=entry, model_key=model, spec={"features": features}, resolved={"models": ["ease", "two_tower"]})

    now = save_feature_set(entry, FeatureSet(derived=()))
    assert "earlier features" in trained_otherwise(run("two_tower", ""))
    assert trained_otherwise(run("two_tower", now)) == "" == trained_otherwise(run("ease", ""))
    assert trained_otherwise(run("average", "")), "one of its parts reads features"
