"""Inspect: empty, filled, failing; users found and linked; hits marked; new users and similar items answered live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.errors import JobFailed
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.serving.client import ScorerClient
from recsys_core.store import Workspace

NASTY = "**Bold** [link](http://x) <b>tag</b> :red[x] $a$"
LONG = "A very long title " * 12


def _data(*, titles: bool = True, ratings: bool = False) -> Dataset:
    """40 users in two tastes over 30 items; item 3 has a title that is Markdown, item 4 a very long one."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(40) for i in rng.choice(15, 5 + u % 6, replace=False) * 2 + u % 2]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    frame["time"] = 1_600_000_000 + 86_400 * 9 * np.arange(len(frame))
    frame["rating"] = 1.0 + np.arange(len(frame)) % 5
    data = from_frame(frame, time="time", value="rating" if ratings else None, feedback="explicit" if ratings else "implicit")
    if not titles:
        return data
    names = [{"i03": NASTY, "i04": LONG}.get(str(item), f"Book {item}") for item in data.items.ids]
    table = pd.DataFrame({"title": names, "genres": [("Drama|Crime", "Comedy")[code // 2 % 2] for code in range(data.n_items)]})
    ages = pd.DataFrame({"age": np.arange(data.n_users) + 20})
    from dataclasses import replace

    return replace(data, item_table=table, user_table=ages)


def _train(workspace: Workspace, data: Dataset, models: tuple[str, ...] = ("popular", "item_knn", "ease"), **spec) -> str:
    entry = workspace.add_dataset(data, "Films")
    for model in models:
        train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, ks=(5, 10), **spec), RunContext(threads=1))
    return entry.id


@pytest.fixture
def workspace(workspace_root: Path) -> Iterator[Workspace]:
    """Its scorer, if a test starts one, ends with the test."""
    workspace = Workspace(workspace_root)
    yield workspace
    ScorerClient(workspace).stop()


def _popovers(at, run_id: str) -> list[str]:
    """Labels of one list, in order."""
    blocks = [node for node in _walk(at.main) if getattr(getattr(node, "proto", None), "HasField", None)]
    found = []
    for block in blocks:
        proto = block.proto
        if proto.DESCRIPTOR.name == "Block" and proto.HasField("popover") and run_id in proto.id:
            found.append(proto.popover.label)
    return found


def _url(at, name: str) -> str:
    value = at.query_params[name]
    return value if isinstance(value, str) else value[0]


def _walk(node):
    for child in getattr(node, "children", {}).values():
        yield child
        yield from _walk(child)


def test_empty_workspace_leads_to_data(open_page, text_of) -> None:
    assert "No datasets yet" in text_of(open_page("inspect"))


def test_dataset_without_results_leads_to_train(open_page, text_of, workspace) -> None:
    entry = workspace.add_dataset(_data(), "Films")
    at = open_page("inspect", dataset=entry.id)
    assert "No results yet" in text_of(at)
    assert "Train recommenders" in [button.label for button in at.button]


def test_a_user_is_shown_with_history_attributes_and_marked_hits(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data())
    run = next(run for run in workspace.runs() if run.model_key == "item_knn")
    users, items = run.ids()
    top, truth = run.topk(), run.holdout().relevant
    n_hits = np.array([truth[row, top.items[row, :10]].sum() for row in range(len(top))])
    row = int(n_hits.argmax())
    user = str(users.decode(top.users[row : row + 1])[0])
    at = open_page("inspect", dataset=dataset_id, runs=run.id, user=user)
    text = text_of(at)
    assert f"User {user}" in text and _url(at, "user") == user
    assert f"{int(n_hits[row])} of {truth[row].nnz} held-out item" in text
    labels = _popovers(at, run.id)
    assert [":green-badge" in label for label in labels] == [bool(truth[row, item]) for item in top.items[row, :10] if item >= 0]
    table = next(frame.value for frame in at.dataframe if "part" in frame.value)
    assert (table["part"] == "✓ held out").sum() == run.holdout().truth.user_counts[top.users[row]]
    assert {"title", "categories", "when"} <= set(table) and "Drama, Crime" in set(table["categories"])
    assert not (workspace.root / "scorer.log").exists(), "stored lists are shown without a model"


def test_titles_are_text_and_long_ones_are_cut(open_page, workspace) -> None:
    dataset_id = _train(workspace, _data(), ("popular",))
    run = workspace.runs()[0]
    labels = [
        label for user in ("u01", "u02", "u04", "u05") for label in _popovers(open_page("inspect", dataset=dataset_id, user=user), run.id)
    ]
    assert labels
    nasty = [label for label in labels if "Bold" in label]
    assert nasty and all(r"\*\*Bold\*\* \[link\]" in label and "<b>" not in label.replace(r"\<b", "") for label in nasty)
    assert all(len(label) < 200 for label in labels if "very long" in label)


def test_finding_users(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data(), ("item_knn",))
    run = workspace.runs()[0]
    at = open_page("inspect", dataset=dataset_id)
    assert at.selectbox(key="inspect-user").value in {f"u{u:02}" for u in range(40) if u % 6 == 5}, "the most active come first"
    at.segmented_control(key="find-mode").set_value("worst").run()
    figures = run.per_user()["ndcg@10"].dropna()
    worst = run.ids()[0].encode([at.selectbox(key="inspect-user").value])[0]
    assert figures[worst] == figures.min() and _url(at, "user") == at.selectbox(key="inspect-user").value
    first = _url(at, "user")
    at.button(key="user-Next").click().run()
    assert _url(at, "user") != first
    at.segmented_control(key="find-mode").set_value("search").run()
    at.text_input(key="find-term").set_value("U07").run()
    assert at.selectbox(key="inspect-user").value == "u07"
    at.text_input(key="find-term").set_value("zzz*").run()
    assert r"No user id holds 'zzz\*'" in text_of(at)


def test_unknown_ids_in_a_link_are_named(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data(), ("popular",))
    at = open_page("inspect", dataset=dataset_id, user="nobody", runs="feedfacefeedface")
    assert "There is no user 'nobody'" in text_of(at) and at.selectbox(key="inspect-user").value
    at = open_page("inspect", dataset=dataset_id, tab="Similar items", item="nothing")
    assert "There is no item 'nothing'" in text_of(at)


def test_at_most_four_of_one_protocol(open_page, workspace) -> None:
    data = _data()
    dataset_id = _train(workspace, data, ("popular", "item_knn", "ease", "random", "rp3beta"))
    _train(workspace, data, ("popular",), split="leave_last")
    at = open_page("inspect", dataset=dataset_id)
    assert len(at.selectbox(key="inspect-protocol").options) == 2
    at.selectbox(key="inspect-protocol").select_index(1).run()
    chosen = at.multiselect[0]
    assert len(chosen.options) == 5 and len(chosen.value) == 4
    assert _url(at, "runs") == ",".join(chosen.value)


def test_the_four_chosen_here_do_not_shrink_the_comparison(open_page, workspace) -> None:
    dataset_id = _train(workspace, _data(), ("popular", "item_knn", "ease", "random", "rp3beta"))
    at = open_page("compare", dataset=dataset_id)
    assert len(at.multiselect[0].value) == 5

    def go(name: str) -> None:  # as the links at the top do: the URL does not come along
        at.query_params.clear()
        at.switch_page(f"../pages/{name}.py").run()

    go("inspect")
    assert len(at.multiselect[0].value) == 4
    mine = at.multiselect[0].set_value(at.multiselect[0].value[:2]).run().multiselect[0].value
    go("compare")
    assert len(at.multiselect[0].value) == 5
    go("inspect")
    assert at.multiselect[0].value == mine


def test_new_user_gets_lists_live(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data(ratings=True), ("item_knn", "popular"))
    at = open_page("inspect", dataset=dataset_id, tab="A new user")
    assert "Pick an item on the left" in text_of(at)
    at.text_input(key="pick-term").set_value("book i0").run()
    at.button(key="add-i02").click().run()
    at.button(key="add-i00").click().run()
    assert _url(at, "picks") == "i02:5,i00:5" and "Answered in" in text_of(at)
    knn = next(run for run in workspace.runs() if run.model_key == "item_knn")
    labels = _popovers(at, knn.id)
    assert labels and not any("Book i02" in label or "Book i00" in label for label in labels)
    wanted = ScorerClient(workspace).recommend_for_history([knn.id], [["i02", "i00"]], 10, values=[[5, 5]])[knn.id].rows[0].items
    assert len(labels) == len(wanted)
    at.selectbox(key="rating-i02").set_value(3.0).run()
    assert _url(at, "picks") == "i02:3,i00:5"
    at.button(key="remove-i02").click().run()
    assert _url(at, "picks") == "i00:5"


def test_similar_items_and_models_that_cannot(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data(titles=False), ("item_knn", "popular"))
    at = open_page("inspect", dataset=dataset_id, tab="Similar items", item="i06")
    knn, popular = (next(run for run in workspace.runs() if run.model_key == key) for key in ("item_knn", "popular"))
    wanted = ScorerClient(workspace).similar_items(knn.id, ["i06"], 10)[0].items
    assert [label.split(" ")[1] for label in _popovers(at, knn.id)] == list(wanted)
    assert not _popovers(at, popular.id) and "cannot find similar items" in text_of(at)


def test_a_scorer_that_does_not_start_is_one_sentence(open_page, text_of, workspace, monkeypatch) -> None:
    dataset_id = _train(workspace, _data(), ("popular",))

    def refuse(self, *args, **kwargs):
        raise JobFailed("The live scorer did not start.", "Its log: scorer.log")

    monkeypatch.setattr(ScorerClient, "_ready", refuse)
    at = open_page("inspect", dataset=dataset_id, tab="A new user", picks="i02")
    assert "The live scorer did not start" in text_of(at) and "Traceback" not in text_of(at)
    assert any(button.key == "ask-again" for button in at.button)


def test_a_run_whose_files_are_gone_is_one_sentence(open_page, text_of, workspace) -> None:
    dataset_id = _train(workspace, _data(), ("popular",))
    (workspace.runs()[0].path / "topk.npz").unlink()
    text = text_of(open_page("inspect", dataset=dataset_id))
    assert "Traceback" not in text and text.count("Something went wrong") + text.count("cannot be read") == 1


def test_reasons_by_leave_one_out_are_falls_of_the_score_not_shares(open_page, text_of, workspace, monkeypatch) -> None:
    """Scores of a network may be negative or near 0: a share of them says nothing."""
    from types import SimpleNamespace

    from ui import inspect_reasons

    shown, said = [], []
    method = "How much the item's score falls when one history item is left out."
    why = SimpleNamespace(refs=("a", "b", "c"), contributions=(0.5, 0.125, -0.25), total=-4.6, kind="history", exact=False, method=method)
    monkeypatch.setattr(inspect_reasons.state, "scorer", lambda: SimpleNamespace(explain=lambda *_, **__: why))
    monkeypatch.setattr(inspect_reasons.st, "progress", lambda value, text: shown.append((value, text)))
    monkeypatch.setattr(inspect_reasons.st, "caption", said.append)
    inspect_reasons.reasons(
        SimpleNamespace(id="r", model_key="mult_vae"), "x", {}, SimpleNamespace(titles=lambda refs: [f"Book {ref}" for ref in refs])
    )
    assert [value for value, _ in shown] == [1.0, 0.25, 0.0]
    texts = [text.replace("\\", "") for _, text in shown]
    assert texts == ["Book a · −0.5", "Book b · −0.125", "Book c · +0.25: speaks against it"]
    assert not any("All other items" in text for text in said)


def test_mixed_reasons_are_bars_by_sort_in_one_scale() -> None:
    """Features of the item, features of the user and history apart; what is untrusted is text; what counts nothing is left away."""
    from types import SimpleNamespace

    from ui.inspect_reasons import bars_by_sort, by_sort

    refs = ("genres = <b>Comedy</b>", "i03", "group = " + "long " * 30, "era = 1994", "i04", "i05")
    sorts = ("item feature", "history", "user feature", "item feature", "history", "history")
    why = SimpleNamespace(kind="mixed", refs=refs, sorts=sorts, contributions=(0.8, 0.1, 0.4, -0.2, 0.3, 0.0), method="Occlusion.")
    found = by_sort(why, SimpleNamespace(titles=lambda ids: [f"Book {i}" for i in ids]))
    assert list(found) == ["Because of what it is", "Because of who this is", "Because of what they had"]
    assert found["Because of what it is"] == [("genres = <b>Comedy</b>", 0.8), ("era = 1994", -0.2)]
    assert found["Because of what they had"] == [("Book i04", 0.3), ("Book i03", 0.1)]
    fig, told = bars_by_sort(found)
    assert list(fig.data[0].x) == [0.8, -0.2, 0.4, 0.3, 0.1] and "era = 1994 −0.2" in told
    texts = [note.text for note in fig.layout.annotations]
    assert "genres = &lt;b&gt;Comedy&lt;/b&gt; <b>+0.8</b>" in texts and max(map(len, texts)) < 80
    low, high = fig.layout.xaxis.range
    assert low < -0.2 and high > 0.8
    alone = SimpleNamespace(kind="features", refs=("era = 1994",), sorts=(), contributions=(0.5,), method="")
    assert by_sort(alone, None) == {"Because of what it is": [("era = 1994", 0.5)]}
