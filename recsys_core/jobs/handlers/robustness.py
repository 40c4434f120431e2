"""Train a run's recommender again on worse data and measure what is left. payload: a RobustnessSpec."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from ...context import RunContext
from ...store.feature_sets import with_features
from ...store.workspace import Workspace
from ..equipped import equipped
from ..robustness_spec import RobustnessSpec
from ._base import Handler


class Robustness(Handler):
    """Gives {"analysis": id}: result.json holds the spec, "n_users", "seconds" and "points": [{"kind", "share", "n_added",
    "n_removed", "n_fake", "metrics": {"ndcg@10": {"mean", "change", "low", "high", "kept"}}, "pushed"}].

    The recommender is fitted with the settings and the seed of its run, those that validation taught included (passes, weights of
    a fusion), and measured on the run's own test (fold 0 of k-fold). The seed of the spec draws the damage.
    """

    key = "robustness"
    label = "Robustness"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...evaluation.robustness import damage, measure
        from ...metrics import Catalog, evaluate
        from ...splitting._base import Split
        from ..candidates import all_training
        from ..training import recommend_test

        started = time.perf_counter()
        spec = RobustnessSpec.make(**payload)
        run = workspace.run(spec.run)
        spec = spec.model_copy(update={"run": run.id})
        lots = replace(ctx, seed=spec.seed)
        ctx = equipped(ctx, workspace, seed=run.spec.get("seed", 42))
        ctx.report("Reading the run", 0.0)
        train, holdout, model = run.training(), run.holdout(), run.model()
        if run.dataset is not None:  # columns as the run read them, its vectors included
            train = with_features(run.dataset, train, run.spec.get("features", ""))
        clean = Split(all_training(workspace, run, ctx), holdout)
        real = holdout.truth.matrix("seen") + clean.train.matrix("seen")
        before = recommend_test(model, clean, spec.k)
        own = evaluate(before, holdout, Catalog.from_dataset(clean.train), [spec.k], metrics=list(spec.metrics)).per_user
        todo = [(kind, share) for kind in spec.kinds for share in spec.shares]
        points = []
        for number, (kind, share) in enumerate(todo):
            part = ctx.part(f"{kind} {share:.0%}", number / len(todo), (number + 1) / len(todo))
            worse = damage(train, kind, share, lots.rng(f"{kind} {share:g}"), keep_out=real, only_known="new_items" in run.parts)
            part.report("Training", 0.0)
            again = model.for_refit().fit(worse.train, part)
            top = recommend_test(again, clean, spec.k)
            found = measure(top, before, holdout, clean.train, worse.pushed, spec.k, list(spec.metrics), own)
            counts = {"n_added": worse.n_added, "n_removed": worse.n_removed, "n_fake": worse.n_fake}
            points.append({"kind": kind, "share": share} | counts | found)
        about = {
            "n_users": len(own),
            "figures": {name: float(own[name].mean()) for name in own.columns},
            "seconds": time.perf_counter() - started,
            "points": points,
        }
        entry = workspace.add_analysis(
            "robustness",
            spec.model_dump(mode="json") | about,
            runs=[run.id],
            dataset=run.dataset_id,
            payload=spec.model_dump(mode="json"),
            name=f"Robustness of {run.name}"[:120],
            analysis_id=spec.analysis_id,
        )
        return {"analysis": entry.id}
