"""One bundle in service: the predictor in use, and what is known of how it does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ...errors import BadInput, NotFound, WorkbenchError
from ...portable.bundle import Bundle
from ..live.event_log import EventLog
from ..live.near import near_of
from ..live.predictor import Predictor
from ..live.records import Context, Filters
from ..live.swap import WATCHED, Live
from . import schemas
from .settings import BundleSpec, ServiceSettings

Answer = TypeVar("Answer")
SPOOL = "bundles"  # in the runtime folder: the workers of a service map one copy
STALE_SECONDS = 600  # copies nobody can be about to open any more


class Variant:
    """A bundle of a tenant, followed as its file is replaced. Every variant reads the tenant's whole event log, so that a user dealt anew
    finds their state there."""

    def __init__(self, spec: BundleSpec, settings: ServiceSettings, log: Path | None) -> None:
        self.spec, self.name = spec, spec.name
        self._spool = Path(settings.runtime) / SPOOL

        def make(bundle: Bundle, events: EventLog | None) -> Predictor:
            about = {"max_users": settings.max_users, "half_life_days": settings.half_life_days, "max_new_items": settings.new_items_each}
            return Predictor(bundle, events, near=near_of(bundle), **about)

        self.live = Live(spec.path, lambda: None if log is None else EventLog(log, sync=settings.sync), spool=self._spool, make=make)
        self._older: Predictor | None = None
        self._trial = 0  # answers the newer one has still to give before the older one is let go

    @property
    def predictor(self) -> Predictor:
        return self.live.predictor

    def call(self, ask: Callable[[Predictor], Answer], *, again: bool = True) -> Answer:
        """ask(predictor). A bundle that was taken up a moment ago and fails: the one before it answers, and nobody is sent away. again:
        False for what must not be done twice."""
        try:
            with self.live.use() as predictor:
                found = ask(predictor)
        except WorkbenchError:
            raise
        except Exception:
            older = self._older
            if older is None or not again:
                raise
            return ask(older)
        if self._older is not None:
            self._trial -= 1
            if self._trial <= 0:
                self._older = None
        return found

    def about_item(self, item: str, ask: Callable[[Predictor], Answer]) -> Answer:
        """ask(predictor); NotFound when what is wrong is that nobody ever heard of the item."""
        try:
            return self.call(ask)
        except BadInput as error:
            if self.predictor.bundle.items.code(item) < 0:
                raise NotFound(error.message, error.hint) from None
            raise

    @property
    def new_items(self) -> int:
        """Items that events brought."""
        bundle = self.predictor.bundle
        return len(bundle.items) - bundle.n_items

    def knows(self, item: str) -> bool:
        """Whether it is in the bundle, or was brought by an event."""
        return self.predictor.bundle.items.code(item) >= 0

    def version(self, user: str) -> tuple[str, int]:
        """Changes with everything that changes this user's list, whichever worker was told of it."""
        predictor = self.predictor
        return predictor.bundle.fingerprint, predictor.version(user)

    def refresh(self) -> bool:
        """Look at the file; whether another bundle is in use now. Beside the answering: opening a bundle takes its time."""
        before = self.predictor
        if not self.live.watch():
            return False
        self._older, self._trial = before, WATCHED
        self._tidy()
        return True

    def _tidy(self) -> None:
        """Copies of bundles that went out of use long ago. One that another worker still has mapped stays readable to it."""
        used = {one.bundle.archive.path.name for one in (self.predictor, self._older) if one is not None}
        for path in self._spool.glob("*.zip"):
            with contextlib.suppress(OSError):
                if path.name not in used and time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    def problems(self) -> list[str]:
        log = self.predictor.log
        catalogue = self.predictor.catalogue
        full = f"All {catalogue.most_new:,} places for items that came after training are taken; further ones are on no list."
        found = [self.live.problem, None if log is None else log.problem, full if catalogue.full else None]
        return [f"{self.name}: {problem}" for problem in found if problem]

    @staticmethod
    def filters(given: schemas.Filters | None) -> Filters | None:
        return None if given is None else Filters(given.include, given.at_least, given.at_most, given.exclude, given.only)

    @staticmethod
    def context(given: schemas.Context | None) -> Context | None:
        return None if given is None else Context(given.time, given.item)

    def about(self) -> dict[str, Any]:
        """For the log and for who reloads."""
        fingerprint = self.predictor.bundle.fingerprint[:12]
        return {"variant": self.name, "tenant": self.spec.tenant, "fingerprint": fingerprint, "problems": self.problems()}

    def health(self) -> dict[str, Any]:
        """For /health."""
        bundle, state = self.predictor.bundle, self.predictor.state()
        drift = state.pop("drift")
        about = {"file": Path(self.spec.path).name, "size_bytes": bundle.archive.size_bytes, "data": bundle.manifest.get("data")}
        return {
            "variant": self.name,
            "tenant": self.spec.tenant,
            "weight": self.spec.weight,
            "bundle": self.live.as_dict() | about,
            "state": state,
            "drift": drift or {},
        }

    def close(self) -> None:
        """Write and sync what is left of the events."""
        if self.predictor.log is not None:
            self.predictor.log.close()
        self.live.close()
