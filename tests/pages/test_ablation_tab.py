"""Compare, tab Architecture: nothing to take apart, the form and its cost, a result with chart and sentences, failing states."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import JobQueue, TrainSpec
from recsys_core.jobs.ablation import ablate
from recsys_core.jobs.ablation_spec import AblationSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.models._base import Recommender
from recsys_core.params import Params, param
from recsys_core.store import Workspace

ONE = RunContext(threads=1)


class PartsParams(Params):
    neighbours: bool = param(True, label="Neighbours *bold*", help="Read who chose what together.")
    depth: int = param(1, ge=0, le=9, label="Depth", help="Changes nothing; 9 does not work.")
    kind: Literal["a", "b"] = param("a", label="Kind", help="Changes nothing without depth.")


class Parts(Recommender):
    """Neighbours are worth much, depth nothing."""

    key, label, family, summary = "parts_model", "Parts", "Test", "For tests."
    Params = PartsParams
    ablation_axes = {"neighbours": (True, False), "depth": (0, 1, 2), "kind": ("a", "b")}

    @classmethod
    def without_effect(cls, params, data):
        return {"kind": "There is no text."}

    def _fit(self, data, ctx, validation):
        seen = data.matrix("binary")
        noise = ctx.rng(f"noise {self.params.depth}").random((data.n_items, data.n_items))
        self.weights = (seen.T @ seen).toarray() * float(self.params.neighbours) + 0.3 * noise

    def _history_scores(self, histories):
        return histories.matrix(self.fitted.n_items) @ self.weights


@pytest.fixture
def workspace(workspace_root):
    registry.register("model", Parts)
    rng = np.random.default_rng(0)
    rows = [(f"u{u:03}", f"i{i:02}") for u in range(90) for i in rng.choice(10, 7, replace=False) + 10 * (u % 6)]
    workspace = Workspace(workspace_root)
    workspace.add_dataset(from_frame(pd.DataFrame(rows, columns=["user", "item"])), "Films")
    yield workspace
    registry.unregister("model", Parts.key)


def _train(workspace: Workspace, model: str = "parts_model", **params):
    entry = workspace.datasets()[0]
    return train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, model=model, params=params, ks=(5,)), ONE)


def _open(open_page, workspace: Workspace):
    return open_page("compare", dataset=workspace.datasets()[0].id, chart="Architecture")


def test_results_without_parts_say_what_to_train(open_page, text_of, workspace) -> None:
    _train(workspace, "popular")
    at = _open(open_page, workspace)
    said = text_of(at)
    assert "None of the chosen results has such parts" in said and "Parts" in said
    assert any("model=" in link.proto.query_string for link in at.get("page_link")), "Train opens with one that has parts"


def test_the_form_counts_the_trainings_and_starts_them(open_page, text_of, workspace) -> None:
    run = _train(workspace)
    at = _open(open_page, workspace)
    assert "What does each part of Parts buy on this data?" in text_of(at) and "4 trainings" in text_of(at)
    assert "Kind: There is no text" in text_of(at), "what cannot matter is left out, with the reason"
    at.segmented_control(key=f"ablation-{run.id}-seeds").set_value(2).run()
    assert "8 trainings" in text_of(at)
    at.segmented_control(key=f"ablation-{run.id}-mode").set_value("all combinations").run()
    assert "12 trainings" in text_of(at)
    at.number_input(key=f"ablation-{run.id}-most").set_value(4).run()
    assert "8 trainings of 6 combinations" in text_of(at)
    at.button(key="ablation-go").click().run()
    job = JobQueue(workspace).jobs()[0]
    assert not at.exception and job.kind == "ablation" and job.spec.payload["most"] == 4 and job.spec.payload["run"] == run.id
    assert "This is under way" in text_of(at) and "Waiting" in text_of(at)


def test_a_result_is_a_chart_with_sentences_and_its_best_goes_to_train(open_page, text_of, workspace) -> None:
    run = _train(workspace, neighbours=False)
    ablate(workspace, AblationSpec.of_run(run, k=5), ONE)
    at = _open(open_page, workspace)
    said = text_of(at)
    assert "What does each part of the architecture buy here? 1 of 2 settings makes a clear difference" in said
    assert "Neighbours \\*bold\\*\\: would help\\. With it NDCG\\@5 is higher by" in said, "labels are text"
    assert "Depth: from 0 to 2 nothing changes that is sure" in said.replace("\\", "")
    assert "Best\\: neighbours" in said and "the test was not read" in said.replace("\\", "")
    table = next(frame.value for frame in at.dataframe if "variant" in frame.value)
    assert len(table) == 4 and table["difference"].notna().sum() == 3
    at.button(key=next(b.key for b in at.button if b.key and b.key.startswith("ablation-use-"))).click().run()
    assert not at.exception and at.session_state["pick-parts_model"]


def test_variants_that_failed_and_a_damaged_result_are_told(open_page, text_of, workspace, monkeypatch) -> None:
    run = _train(workspace)
    fit = Parts._fit

    def fails(self, data, ctx, validation):
        if self.params.depth == 2:
            from recsys_core.errors import Unsupported

            raise Unsupported("Two <b>levels</b> do not work.")
        fit(self, data, ctx, validation)

    monkeypatch.setattr(Parts, "_fit", fails)
    entry = ablate(workspace, AblationSpec.of_run(run, k=5), ONE)
    said = text_of(_open(open_page, workspace))
    assert "1 variant could not be trained: Two \\<b\\>levels" in said
    (entry.path / "result.json").write_text("{}")
    at = _open(open_page, workspace)
    assert not at.exception and "Something went wrong while drawing this part" in text_of(at)
