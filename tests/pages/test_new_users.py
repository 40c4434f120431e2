"""New users: empty, filled, failing; answers in the URL and back; lists, marks and times; the map; personas and their files."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.errors import JobFailed
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.serving.client import ScorerClient
from recsys_core.store import Workspace
from ui.new_users_ask import facts
from ui.new_users_data import Listed, Plane, grouped
from ui.new_users_lists import mark_text
from ui.new_users_map import draw
from ui.new_users_personas import file_name, lists_csv
from ui.new_users_state import marks
from ui.text import both_ends

NASTY = "**Bold** [link](http://x) <b>tag</b> :red[x] $a$"
LONG = "A very long title " * 12


def _data(*, titles: bool = True, ratings: bool = False, seed: int = 0) -> Dataset:
    """40 users in two tastes over 30 items; item 2 has a title that is Markdown, item 4 a very long one."""
    rng = np.random.default_rng(seed)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(40) for i in rng.choice(15, 5 + u % 6, replace=False) * 2 + u % 2]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    frame["rating"] = 1.0 + np.arange(len(frame)) % 5
    data = from_frame(frame, value="rating" if ratings else None, feedback="explicit" if ratings else "implicit")
    if not titles:
        return data
    names = [{"i02": NASTY, "i04": LONG}.get(str(item), f"Book {item}") for item in data.items.ids]
    genres = [("Drama|Crime", "Comedy")[code // 2 % 2] for code in range(data.n_items)]
    return replace(data, item_table=pd.DataFrame({"title": names, "genres": genres, "link": "http://example.org/x"}))


def _train(workspace: Workspace, data: Dataset, *models: str) -> str:
    entry = workspace.add_dataset(data, "Books of a shop")
    for model in models:
        params = {"als": {"factors": 8}, "anil": {"epochs": 1}}.get(model, {})
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, ks=(10,), params=params), RunContext(threads=1))
    return entry.id


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Four datasets in one workspace with one scorer: name -> id; "root" is the folder."""
    workspace = Workspace(tmp_path_factory.mktemp("shop"))
    yield {
        "root": str(workspace.root),
        "plain": _train(workspace, _data(), "als", "item_knn", "popular"),
        "ratings": _train(workspace, _data(ratings=True), "item_knn"),
        "bare": _train(workspace, _data(titles=False), "item_knn"),
        "doomed": _train(workspace, _data(seed=1), "item_knn", "als"),
    }
    ScorerClient(workspace).stop()


@pytest.fixture
def workspace(shop: dict[str, str], workspace_root: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The pages of this test use the shop's."""
    monkeypatch.setenv("RECSYS_WORKSPACE", shop["root"])
    return Workspace(Path(shop["root"]))


def _run(workspace: Workspace, dataset_id: str, key: str) -> str:
    return next(run.id for run in workspace.runs(dataset_id) if run.model_key == key)


def _url(at, name: str) -> str:
    value = at.query_params.get(name, "")
    return value if isinstance(value, str) else value[0]


def _nodes(node) -> Iterator:
    for child in getattr(node, "children", {}).values():
        yield child
        yield from _nodes(child)


def _list(at, place: int) -> list[str]:
    """Ids of the items of one list, in order."""
    protos = [node.proto for node in _nodes(at.main) if getattr(getattr(node, "proto", None), "DESCRIPTOR", None)]
    found = [p.id for p in protos if p.DESCRIPTOR.name == "Block" and p.HasField("popover") and f"why-{place}-" in p.id]
    return [key.rsplit("-", 1)[1] for key in found]


def _charts(at) -> int:
    return len(at.get("plotly_chart"))


# ---- states ------------------------------------------------------------------------------------------
def test_empty_workspace_leads_to_data(open_page, text_of) -> None:
    assert "No datasets yet" in text_of(open_page("new_users"))


def test_without_a_recommender_leads_to_train(open_page, text_of, workspace_root) -> None:
    dataset_id = Workspace(workspace_root).add_dataset(_data(), "Books").id
    at = open_page("new_users", dataset=dataset_id)
    assert "No recommenders yet" in text_of(at) and any(button.label == "Train recommenders" for button in at.button)


def test_a_scorer_that_does_not_start_is_one_sentence(open_page, text_of, workspace, shop, monkeypatch) -> None:

    def refuse(self, *args, **kwargs):
        raise JobFailed("The live scorer did not start.", "Its log: scorer.log")

    monkeypatch.setattr(ScorerClient, "_ready", refuse)
    at = open_page("new_users", dataset=shop["ratings"], answers="i02:like")
    assert "The live scorer did not start" in text_of(at) and "Something went wrong" not in text_of(at)
    assert any(button.key == "ask-again" for button in at.button)


# ---- a whole conversation ------------------------------------------------------------------------------
def test_answers_change_lists_map_and_url(open_page, text_of, workspace, shop) -> None:
    dataset_id = shop["plain"]
    als, knn, popular = (_run(workspace, dataset_id, key) for key in ("als", "item_knn", "popular"))
    client = ScorerClient(workspace)
    at = open_page("new_users", dataset=dataset_id, run=als, beside=f"{knn},{popular}")
    text = text_of(at)
    assert at.selectbox[1].value == als and at.multiselect[0].value == [knn, popular]
    assert (
        "A meta-learning recommender adapts itself" in text
        and text.count("What anybody new gets") == 2
        and "The same for everybody" in text
    )
    assert any("model=anil" in link.proto.query_string for link in at.get("page_link")), "Train opens with one that adapts"
    assert _list(at, 0) == _list(at, 1) == list(client.recommend_for_history([als], [[]], 10)[als].rows[0].items)
    assert _charts(at) == 1 and at.button(key="undo").disabled and at.button(key="start-over").disabled

    first = client.questions(knn, {}).items[0]
    at.button(key="say-like").click().run()
    assert _url(at, "answers") == f"{first}:like"
    second = client.questions(als, {first: 1.0}).items[0]
    at.button(key="say-not").click().run()
    third = client.questions(als, {first: 1.0, second: 0.0}).items[0]
    at.button(key="say-unknown").click().run()
    assert _url(at, "answers") == f"{first}:like,{second}:not,{third}:unknown"
    wanted = client.recommend_for_history([als, knn], [[first, second]], 10, values=[[1.0, 0.0]])
    assert _list(at, 0) == list(wanted[als].rows[0].items) and _list(at, 1) == list(wanted[knn].rows[0].items)
    assert second not in _list(at, 0) + _list(at, 1) + _list(at, 2), "what is not liked is on no list"
    text = text_of(at)
    assert text.count("Answered in") == 2 and "measured inside the model" in text and "This data has no ratings" in text
    assert [button.key for button in at.button if str(button.key).startswith("chip-")] == [f"chip-{i}" for i in (first, second, third)]

    at.button(key=f"chip-{second}").click().run()
    assert _url(at, "answers") == f"{first}:like,{third}:unknown" and "This data has no ratings" not in text_of(at)
    at.button(key="start-over").click().run()
    assert _url(at, "answers") == "" and at.button(key="start-over").disabled
    at.button(key="undo").click().run()
    at.button(key="undo").click().run()
    assert _url(at, "answers") == f"{first}:like,{second}:not,{third}:unknown"
    for _ in range(3):
        at.button(key="undo").click().run()
    assert _url(at, "answers") == "" and at.button(key="undo").disabled


@pytest.mark.slow  # torch is loaded by the scorer
def test_a_model_that_adapts_comes_first_and_says_so(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data(seed=2), "item_knn", "anil")
    anil, knn = _run(workspace, dataset_id, "anil"), _run(workspace, dataset_id, "item_knn")
    at = open_page("new_users", dataset=dataset_id, run=knn)
    assert at.selectbox[1].value == anil and len(at.selectbox[1].options) == 1 and at.multiselect[0].value == [knn]
    text = text_of(at)
    assert "What it expects of anybody new" in text and "What anybody new gets" in text and "Train one" not in text
    at.button(key="say-like").click().run()
    text = text_of(at)
    assert "Adapted in" in text and "Answered in" in text and _charts(at) == 1
    (item,) = (part.split(":")[0] for part in _url(at, "answers").split(","))
    path = ScorerClient(workspace).user_path(anil, [item], [1.0])
    assert path.adapts and len(path.x) > 2, "every step of adaptation is a point; the last one is drawn"
    drawn = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][-1]
    assert drawn["name"] == "The new user"
    assert drawn["x"] == pytest.approx([path.x[0], path.x[-1]]), "the first step starts where somebody without answers is"


def test_search_titles_that_are_markdown_and_no_vectors(open_page, text_of, workspace, shop) -> None:
    dataset_id = shop["ratings"]
    at = open_page("new_users", dataset=dataset_id, answers="i02:like,i04:not,nothing:like,i00:maybe")
    labels = {button.key: button.label for button in at.button}
    assert labels["chip-i02"].startswith(":material/thumb_up: \\*\\*Bold") and "…" in labels["chip-i04"] and "chip-nothing" not in labels
    assert "no map" in text_of(at) and not _charts(at)
    at.segmented_control(key="new-users-mode").set_value("choose").run()
    assert "The most popular items" in text_of(at)
    at.text_input(key="new-users-term").set_value("book i10").run()
    assert at.button(key="like-i10") and "not-i02" not in {button.key for button in at.button}
    at.button(key="not-i10").click().run()
    assert _url(at, "answers") == "i02:like,i04:not,i10:not"
    scale = ScorerClient(workspace).scale(_run(workspace, dataset_id, "item_knn"))
    values = [[scale.like, scale.dislike, scale.dislike]]
    knn = _run(workspace, dataset_id, "item_knn")
    wanted = ScorerClient(workspace).recommend_for_history([knn], [["i02", "i04", "i10"]], 10, values=values)
    assert _list(at, 0) == list(wanted[knn].rows[0].items) and "This data has no ratings" not in text_of(at)
    at.text_input(key="new-users-term").set_value("zzz*").run()
    assert r"No item holds 'zzz\*'" in text_of(at)


def test_every_item_answered_and_ids_for_titles(open_page, text_of, workspace, shop) -> None:
    dataset_id, data = shop["bare"], _data(titles=False)
    everything = ",".join(f"{item}:{'like' if n < 3 else 'unknown'}" for n, item in enumerate(data.items.ids))
    at = open_page("new_users", dataset=dataset_id, answers=everything)
    assert "Nothing is left to ask" in text_of(at) and _list(at, 0)
    at.segmented_control(key="new-users-mode").set_value("choose").run()
    assert "shown by their ids" in text_of(at) and "Every item was answered" in text_of(at)


def test_a_link_to_a_deleted_recommender_and_one_deleted_meanwhile(open_page, text_of, workspace, shop) -> None:
    dataset_id = shop["doomed"]
    knn, als = _run(workspace, dataset_id, "item_knn"), _run(workspace, dataset_id, "als")
    at = open_page("new_users", dataset=dataset_id, run=als, beside=knn, answers="i02:like")
    workspace.delete(knn)
    at.button(key="say-like").click().run()
    assert "Something went wrong" not in text_of(at) and _list(at, 0) and not at.exception
    at = open_page("new_users", dataset=dataset_id, run=knn)
    assert "was deleted" in text_of(at) and _url(at, "run") == als


def test_another_dataset_begins_without_answers(open_page, workspace, shop) -> None:
    at = open_page("new_users", dataset=shop["ratings"], answers="i02:like")
    assert _url(at, "answers") == "i02:like"
    at.selectbox(key="dataset_picker").set_value(shop["bare"]).run()
    assert _url(at, "answers") == "" and not any(str(button.key).startswith("chip-") for button in at.button)


def test_a_tab_of_a_module_that_is_there(open_page, workspace, shop, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ui.new_users_transfer"
    module = ModuleType(name)
    module.__spec__, asked = ModuleSpec(name, None), []
    module.draw = lambda workspace, entry: asked.append((workspace.root, entry.id))
    monkeypatch.setitem(sys.modules, name, module)
    at = open_page("new_users", dataset=shop["bare"], tab="From other data")
    assert asked and asked[-1] == (Path(shop["root"]), shop["bare"]) and "From other data" in [tab.label for tab in at.tabs]


# ---- personas ----------------------------------------------------------------------------------------
def test_personas_are_saved_loaded_and_updated(open_page, text_of, workspace, shop) -> None:
    dataset_id = shop["ratings"]
    at = open_page("new_users", dataset=dataset_id, answers="i02:like,i04:not,i06:unknown")
    at.text_input(key="persona-name").set_value("Crime *fan*").run()
    at.button(key="add-persona").click().run()
    (persona,) = workspace.personas(dataset_id)
    scale = ScorerClient(workspace).scale(_run(workspace, dataset_id, "item_knn"))
    assert persona.name == "Crime *fan*" and persona.answers == {"i02": scale.like, "i04": scale.dislike} and persona.skipped == ("i06",)
    at.button(key="start-over").click().run()
    assert _url(at, "answers") == ""
    at.button(key=f"load-{persona.id}").click().run()
    assert _url(at, "answers") == "i02:like,i04:not,i06:unknown" and _url(at, "persona") == persona.id
    at.button(key="chip-i04").click().run()
    at.button(key="update-persona").click().run()
    assert workspace.persona(persona.id).answers == {"i02": scale.like}
    at.button(key="add-persona").click().run()
    assert "A persona needs a name" in text_of(at) and len(workspace.personas(dataset_id)) == 1
    workspace.delete_persona(persona.id)
    at.button(key="start-over").click().run()
    assert not any(button.key == f"load-{persona.id}" for button in at.button)


# ---- the parts ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("now", "before", "wanted"),
    [
        (["a", "b"], None, ["", ""]),
        (["a", "b"], ["a", "b"], ["", ""]),
        (["b", "a", "d"], ["a", "c", "b"], ["+2", "-1", "new"]),
    ],
)
def test_marks(now, before, wanted) -> None:
    assert marks(now, before) == wanted


def test_words_of_marks_titles_and_files() -> None:
    assert "▲ 2" in mark_text("+2") and "▼ 1" in mark_text("-1") and "new" in mark_text("new") and mark_text("") == ""
    assert both_ends("The Dynasty of Lindisholm, book 3", 24) == "The Dynasty of L… book 3" and both_ends("short", 24) == "short"
    assert both_ends("Silence of the Lambs, The (1991)", 26) == "Silence of the Lam… (1991)" and len(both_ends("x" * 99, 24)) == 24
    assert file_name("lists", "Crime *fan* / x", "Büro") == "lists-Crime-fan-x-Büro.csv" and file_name("***") == "lists.csv"


def test_facts_are_few_short_and_safe() -> None:
    attributes = {"genres": "A|B", "link": "http://x", "year": "1999", "plot": "long " * 40, "author": "*X*", "pages": "12"}
    names = SimpleNamespace(categories=lambda item: "A, B", attributes=lambda item: attributes, hints={"categories": "genres"})
    assert facts(names, "i") == ["A, B", "Year: 1999", "Author: \\*X\\*"]


def _three_lists(title: str) -> None:
    from types import SimpleNamespace
    from unittest.mock import patch

    from ui import new_users_lists
    from ui.new_users_data import Listed

    names = SimpleNamespace(title=lambda item: title, categories=lambda item: "Drama")
    runs = [SimpleNamespace(id=key, name=key, model_key="popular") for key in "abc"]
    with patch.object(new_users_lists, "listed", lambda run, told: Listed(("i1",), (1.0,), (), 0.5)):
        new_users_lists.lists_card(runs, names, ())


def test_titles_stand_in_full_where_three_lists_are_side_by_side() -> None:
    title = "Dr Strangelove or How I Learned to Stop Worrying and Love the Bomb, Volume 3"
    at = AppTest.from_function(_three_lists, args=(title,)).run()
    assert not at.exception, at.exception
    assert sum(title in str(one.value).replace("\\", "") for one in at.markdown) == 3


def test_the_lists_as_csv_run_nothing_in_a_spreadsheet() -> None:
    names = SimpleNamespace(has_titles=True, title=lambda item: {"a": "=1+1"}.get(item, "Plain"))
    text = lists_csv([(SimpleNamespace(name="EASE"), Listed(("a", "b"), (2.0, 1.0), (), 1.0))], names, "new user")
    frame = pd.read_csv(io.StringIO(text))
    assert frame.values.tolist() == [["new user", 1, "a", "'=1+1", 2.0, "EASE"], ["new user", 2, "b", "Plain", 1.0, "EASE"]]


def test_main_categories_are_few_and_the_rest_is_other() -> None:
    groups, names = grouped(np.array(["a", "b", "b", "", "c", "d", "e", "f", "b", "a"], dtype=object))
    assert names == ("b", "a", "c", "d", "e", "Other") and groups.tolist() == [1, 0, 0, 5, 2, 3, 4, 5, 0, 1]
    assert grouped(np.array(["", "x", "x"], dtype=object))[1] == ("Items",)


def test_the_map_shows_answers_rings_and_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    laid = Plane(("a", "b"), (0.0, 1.0), (0.0, 1.0), ("<b>A</b>", "B"), np.array([0, 1]), ("Drama", "Other"), 0.5)
    points = {"a": (0.0, 0.0), "b": (1.0, 1.0), "c": (2.0, 2.0)}
    for dark in (False, True):
        monkeypatch.setattr("ui.charts.dark", lambda dark=dark: dark)
        monkeypatch.setattr("ui.new_users_map.dark", lambda dark=dark: dark)
        fig = draw(laid, points, {"a": "<b>A</b>", "b": "B", "c": "C"}, {"a": True, "c": False}, ["b"], {0: (0.5, 0.5), 3: (0.2, 0.1)})
        parts: dict[str, Callable] = {part.name: part for part in fig.data}
        assert list(parts) == ["Drama", "Other", "Recommended", "Liked", "Not for me", "The new user"]
        assert parts["Drama"].text[0] == "&lt;b&gt;A&lt;/b&gt;" and list(parts["Not for me"].x) == [2.0]
        assert list(parts["The new user"].x) == [0.5, 0.2] and parts["The new user"].text[1] == "After 3 answers"
        assert parts["The new user"].marker.symbol == ("circle", "diamond")
