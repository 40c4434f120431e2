"""Make a bundle of a run. payload: run (id), and a BundleRequest: quantize, prune, float16, with_users, columns, licence, compare."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...jobs.handlers._base import Handler
from ...store.workspace import Workspace


class Bundle(Handler):
    """Gives {"bundle": id}. The same request of the same run is made once."""

    key = "bundle"
    label = "Make a bundle"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...store.bundles import BundleRequest
        from ...store.files import staged_folder
        from ..bundle_run import make_bundle

        run = workspace.run(payload["run"])
        asked = {name: value for name, value in payload.items() if name not in ("run", "dataset")}
        request = BundleRequest.make(**asked)
        target = workspace.bundle_folder(request.bundle_id(run.id))
        if (target / "manifest.json").exists():
            return {"bundle": target.name}
        with staged_folder(target) as folder:
            made = make_bundle(run, folder / "bundle.zip", **request.model_dump(), ctx=ctx)
            about = {
                "run": run.id,
                "run_name": run.name,
                "dataset": run.dataset_id,
                "request": request.model_dump(mode="json"),
                "fingerprint": made.fingerprint,
                "variant": made.report["shipped"],
                "model": made.manifest["model"] | {"params": {}},
                "report": made.report,
                "bytes": (folder / "bundle.zip").stat().st_size,
            }
            workspace.publish(folder, target, f"{run.name}, {made.report['shipped']}", about)
        return {"bundle": target.name}
