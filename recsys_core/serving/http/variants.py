"""One bundle in service: the predictor in use, and what is known of how it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ...errors import BadInput, NotFound
from ...portable.bundle import Bundle
from ..live.event_log import EventLog
from ..live.predictor import Predictor
from ..live.records import Context, Filters
from . import schemas
from .settings import BundleSpec, ServiceSettings

Answer = TypeVar("Answer")


class Variant:
    """A bundle of a tenant. Every variant reads the tenant's whole event log, so that a user dealt anew finds their state there."""

    def __init__(self, spec: BundleSpec, settings: ServiceSettings, log: Path | None) -> None:
        self.spec, self.name = spec, spec.name
        events = None if log is None else EventLog(log)
        self.predictor = Predictor(Bundle.open(spec.path), events, max_users=settings.max_users, half_life_days=settings.half_life_days)

    def call(self, ask: Callable[[Predictor], Answer]) -> Answer:
        """ask(predictor)."""
        return ask(self.predictor)

    def about_item(self, item: str, ask: Callable[[Predictor], Answer]) -> Answer:
        """ask(predictor); NotFound when what is wrong is that nobody ever heard of the item."""
        try:
            return self.call(ask)
        except BadInput as error:
            if self.predictor.bundle.items.code(item) < 0:
                raise NotFound(error.message, error.hint) from None
            raise

    def version(self, user: str) -> tuple[str, int]:
        """Changes with everything that changes this user's list, whichever worker was told of it."""
        return self.predictor.bundle.fingerprint, self.predictor.version(user)

    def refresh(self, *, force: bool = False) -> bool:
        """Look at the file; whether another bundle is in use now."""
        return False

    def problems(self) -> list[str]:
        log = self.predictor.log
        return [log.problem] if log is not None and log.problem else []

    @staticmethod
    def filters(given: schemas.Filters | None) -> Filters | None:
        return None if given is None else Filters(given.include, given.at_least, given.at_most, given.exclude, given.only)

    @staticmethod
    def context(given: schemas.Context | None) -> Context | None:
        return None if given is None else Context(given.time, given.item)

    def about(self) -> dict[str, Any]:
        """For the log and for who reloads."""
        return {"variant": self.name, "fingerprint": self.predictor.bundle.fingerprint[:12], "problems": self.problems()}

    def health(self, tenant: str) -> dict[str, Any]:
        """For /health."""
        bundle, state = self.predictor.bundle, self.predictor.state()
        manifest, drift = bundle.manifest, state.pop("drift")
        return {
            "variant": self.name,
            "tenant": tenant,
            "weight": self.spec.weight,
            "bundle": {
                "fingerprint": bundle.fingerprint[:12], "file": Path(self.spec.path).name, "model": bundle.label,
                "run": manifest.get("run"), "data": manifest.get("data"), "codec": manifest.get("codec"),
                "size_bytes": bundle.archive.size_bytes,
            },
            "state": state,
            "drift": drift or {},
        }  # fmt: skip

    def close(self) -> None:
        if self.predictor.log is not None:
            self.predictor.log.close()
