"""The accuracy–diversity curve of a run under one re-ranking method. payload: a DiversitySpec."""

from __future__ import annotations

import time
from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ..diversity_spec import DiversitySpec
from ._base import Handler


class Diversity(Handler):
    """Gives {"analysis": id}: result.json holds run, method, params, k, depth, aim, similarity, n_users, seconds, notes, points."""

    key = "diversity"
    label = "Accuracy and diversity"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ... import registry
        from ...evaluation.tradeoff import tradeoff
        from ...rerank._base import Shelf
        from ..candidates import all_training, ensure_candidates

        started = time.perf_counter()
        spec = DiversitySpec.make(**payload)
        run = workspace.run(spec.run)
        spec = spec.model_copy(update={"run": run.id})
        candidates = ensure_candidates(workspace, run, spec.depth, ctx.part("Candidates", 0.0, 0.3))
        shelf, holdout = Shelf(all_training(workspace, run, ctx)), run.holdout()
        points = tradeoff(candidates, holdout, shelf, spec.method, spec.params, spec.strengths, spec.k, ctx=ctx.part("Curve", 0.3, 1.0))
        method = registry.get("reranker", spec.method)
        notes = list(method.notes(shelf))
        if not notes and not shelf.has_categories and method.aim == "intra_list_diversity":  # it is judged by likeness all the same
            notes = list(shelf.notes)
        if run.manifest.get("n_folds", 1) > 1:
            notes.append("These are the lists of the first fold; the result's own figures are pooled over all.")
        result = spec.model_dump(mode="json") | {
            "aim": method.aim,
            "similarity": shelf.similarity,
            "n_users": len(holdout.users),
            "seconds": time.perf_counter() - started,
            "notes": notes,
            "points": points,
        }
        entry = workspace.add_analysis(
            "diversity",
            result,
            runs=[run.id],
            dataset=run.dataset_id,
            payload=spec.model_dump(mode="json"),
            name=f"{method.label} on {run.name}"[:120],
            analysis_id=spec.analysis_id,
        )
        return {"analysis": entry.id}
