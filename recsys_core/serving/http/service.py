"""What stands behind the routes: the variants of every tenant, their state, their cache, and how they are doing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...errors import WorkbenchError
from .encoding import encode, plain
from .keys import Key, KeyRing
from .limits import RateLimiter, Shares
from .logs import JsonLog
from .metrics import Metrics
from .problems import Problem, error_json, from_workbench
from .schemas import ExplainRequest, FeedbackRequest, RecommendRequest, SimilarRequest
from .settings import ServiceSettings
from .stats import Stats
from .tenants import Tenant
from .variants import Variant
from .work import Work

HEALTH_SECONDS = 3.0
NOBODY = "-"  # stands for the tenant of requests without a valid key, and of an admin's own; no tenant can be called so


class Service:
    """One worker's share of the service. `load()` opens the bundles; until then, and while it drains, it is not ready."""

    def __init__(self, settings: ServiceSettings, keys: KeyRing, log: JsonLog | None = None) -> None:
        self.settings, self.keys = settings, keys
        self.runtime = Path(settings.runtime)
        self.runtime.mkdir(parents=True, exist_ok=True)
        self.log = log or JsonLog(quiet=settings.quiet)
        self.limiter = RateLimiter(self.runtime / "rates.bin", len(keys), settings.rate)
        self.shares = Shares(self.runtime / "new-items.bin", keys.keys, settings.new_items_each)
        self._part = {name: part for part, name in enumerate(settings.tenants)}  # of the statistics; the last is of who has no tenant
        self.stats = Stats(self.runtime, len(self._part) + 1)
        self.metrics = Metrics()
        self.work = Work(settings.timeout_ms / 1000, settings.max_waiting)
        self.tenants: dict[str, Tenant] = {}
        self._looking = asyncio.Semaphore(2)  # threads that read the state for /health; one that hangs must not take them all
        self.loaded, self.draining = False, False
        self.failed: str | None = None
        self.asked = self.runtime / "reload"  # touched to have all workers look at their bundles
        keys.check(settings.tenants)

    # ---- life --------------------------------------------------------------------------------------
    def load(self) -> None:
        """Open all bundles. Raises WorkbenchError with the reason."""
        opened: dict[str, Tenant] = {}
        try:
            for name, specs in self.settings.tenants.items():
                opened[name] = Tenant(name, specs, self.settings)
            self.tenants = opened
        except Exception as error:
            for tenant in opened.values():  # it is tried again: what is open must not pile up
                tenant.close()
            said = str(error) if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {str(error)[:200]}"
            self.failed = f"The bundles cannot be opened: {said}"
            raise
        self.failed, self.loaded = None, True
        self.log("loaded", variants=[v.about() for tenant in self.tenants.values() for v in tenant.variants])

    def watch(self) -> None:
        """Look whether a bundle was replaced. Called every few seconds in a thread of its own: while a bundle is opened and checked,
        the one before it answers."""
        for tenant in self.tenants.values():
            for variant in tenant.variants:
                before = variant.problems()
                drift = variant.predictor.drift
                if drift is not None and drift.n:
                    self.metrics.drifted(tenant.name, variant.name, drift.now.rate)
                if variant.refresh():
                    tenant.cache.clear()
                    self.shares.fit(tenant.name, max(variant.new_items for variant in tenant.variants))
                    self.log("swapped", **variant.about())
                elif variant.problems() != before:
                    self.log("problem" if variant.problems() else "well again", **variant.about())
            self.metrics.degraded(tenant.name, len(self.problems([tenant])))
        self.metrics.work(self.work)

    def reload(self) -> list[dict[str, Any]]:
        """Look at the bundle files now; the other workers do within a moment."""
        self.asked.touch()
        self.watch()
        return [variant.about() for tenant in self.tenants.values() for variant in tenant.variants]

    def close(self) -> None:
        """Finish what waits, sync the logs."""
        self.work.close()
        for tenant in self.tenants.values():
            tenant.close()
        self.metrics.close()
        self.stats.close()
        self.log("stopped")

    def look_now(self, since: float) -> bool:
        """Whether a reload was asked for, in any worker, since the bundles were looked at."""
        try:
            return self.asked.stat().st_mtime > since
        except OSError:
            return False

    @property
    def ready(self) -> bool:
        return self.loaded and not self.draining and self.work.problem is None

    def problems(self, tenants: Iterable[Tenant] | None = None) -> list[str]:
        """Of these tenants (default: all), and of what all of them share."""
        if self.failed:
            return [self.failed]
        own = [problem for tenant in (self.tenants.values() if tenants is None else tenants) for problem in tenant.problems()]
        return own + ([self.work.problem] if self.work.problem else [])

    # ---- who ---------------------------------------------------------------------------------------
    def tenant(self, state: dict[str, Any]) -> Tenant:
        """Whose bundles this request uses, by its key. An admin names a tenant by the header X-Tenant. It is noted down in `state`."""
        key, headers = state["key"], state["headers"]
        if not self.loaded:
            raise Problem(503, self.failed or "The bundles are being loaded.", "Try again in a moment.", {"Retry-After": "1"})
        name = key.tenant
        if key.is_admin:
            name = headers.get(b"x-tenant", b"").decode("latin-1") or next(iter(self.tenants))
        found = self.tenants.get(name)
        if found is None:
            raise Problem(403, "This key may not be used for this.", "Ask for your own tenant.")
        state["tenant"] = name
        return found

    # ---- what is answered (in the work thread) -----------------------------------------------------
    def recommend(self, tenant: Tenant, request: RecommendRequest, notes: dict[str, Any]) -> bytes:
        """One answer as JSON. notes: takes what the log line says of it."""
        variant = tenant.of(request.user)
        question = self._question(variant, request)
        user = None if request.user is None else tenant.hasher(request.user)
        if question is not None:
            found = tenant.cache.get(request.user, question)
            self.stats.looked_up(found is not None, 1, self._part[tenant.name])
            self.metrics.looked_up(tenant.name, found is not None)
            if found is not None:
                self._told(tenant, variant, user, "cached", notes)
                return found + b',"cached":true}'
        answer = variant.call(lambda predictor: predictor.recommend(
            None if request.history is not None else request.user, request.history, request.k, values=request.values,
            filters=variant.filters(request.filters), context=variant.context(request.context),
        ))  # fmt: skip
        start = encode(plain(answer) | {"variant": variant.name})[:-1]
        if question is not None:
            tenant.cache.put(request.user, question, start)
        self._told(tenant, variant, user, answer.path, notes)
        return start + b',"cached":false}'

    def _question(self, variant: Variant, request: RecommendRequest) -> tuple[Any, ...] | None:
        """What an answer depends on beside the user; None where it is not worth keeping."""
        if request.user is None or request.history is not None or request.context is not None or not self.settings.cache_users:
            return None
        filters = None if request.filters is None else request.filters.model_dump_json()
        return variant.name, variant.version(request.user), request.k, filters

    def _told(self, tenant: Tenant, variant: Variant, user: str | None, path: str, notes: dict[str, Any]) -> None:
        self.metrics.list_given(tenant.name, variant.name, path)
        notes |= {"variant": variant.name, "answer": path}
        if user is not None:
            notes["user"] = user
            if tenant.exposures:
                tenant.exposures.shown(user, variant.name)

    def feedback(self, tenant: Tenant, event: FeedbackRequest, notes: dict[str, Any], key: Key | None = None) -> bytes:
        """A receipt as JSON. key: whose share of the places for new items is used."""
        variant = tenant.of(event.user)
        new = key is not None and not variant.knows(event.item)
        if new:
            self.shares.check(key)
        receipt = variant.call(lambda predictor: predictor.feedback(
            event.user, event.item, event.event, value=event.value, time=event.time, features=event.features
        ), again=False)  # fmt: skip
        if new and variant.knows(event.item):
            self.shares.count(key)
        tenant.cache.forget(event.user)
        self.metrics.event(tenant.name, event.event, receipt.stored)
        user = tenant.hasher(event.user)
        if tenant.exposures:
            tenant.exposures.happened(user, variant.name, event.event, event.value)
        notes |= {"variant": variant.name, "user": user, "feedback": event.event, "stored": receipt.stored}
        return encode(plain(receipt) | {"variant": variant.name})

    def similar(self, tenant: Tenant, request: SimilarRequest, notes: dict[str, Any]) -> bytes:
        variant = tenant.of(None)
        filters = variant.filters(request.filters)
        answer = variant.about_item(request.item, lambda predictor: predictor.similar(request.item, request.k, filters=filters))
        notes |= {"variant": variant.name, "answer": answer.path}
        return encode(plain(answer) | {"variant": variant.name, "cached": False})

    def explain(self, tenant: Tenant, request: ExplainRequest, notes: dict[str, Any]) -> bytes:
        variant = tenant.of(request.user)
        user = None if request.history is not None else request.user
        found = variant.about_item(request.item, lambda predictor: predictor.explain(
            user, request.history, item=request.item, k=request.k, values=request.values
        ))  # fmt: skip
        notes |= {"variant": variant.name, "answer": found.path}
        parts = [{"item": item, "contribution": share} for item, share in found.parts]
        models = [{"model": model, "contribution": share} for model, share in found.models]
        return encode(plain(found) | {"parts": parts, "models": models, "variant": variant.name})

    def each(self, do: Callable[..., bytes], tenant: Tenant, requests: list[Any], until: float) -> list[bytes]:
        """Answers of some entries of a batch; one that cannot be answered does not spoil the others. until: `time.monotonic()` from
        which on none is begun, since nobody waits for it."""
        found: list[bytes] = []
        for request in requests:
            if time.monotonic() >= until:
                break
            try:
                found.append(do(tenant, request, {}))
            except WorkbenchError as error:
                problem = from_workbench(error)
                found.append(encode(error_json(problem.message, problem.hint)))
        return found

    # ---- how it is doing ---------------------------------------------------------------------------
    def health(self, key: Key | None) -> dict[str, Any]:
        """For who has a key: of their tenant; for an admin: of all; without one only the word."""
        if key is None:
            return {"status": "degraded" if self.problems() or not self.loaded else "ok"}
        own = self._sees(key)
        tenants = [tenant for name, tenant in self.tenants.items() if own is None or name == own]
        problems = self.problems(tenants)
        if not self.loaded and not self.failed:
            problems.append("The bundles are being loaded.")
        variants = [variant.health() for tenant in tenants for variant in tenant.variants]
        first = variants[0] if variants else {}
        return {
            "status": "degraded" if problems else "ok",
            "problems": problems,
            "bundle": first.get("bundle", {}),
            "stats": self.stats.summary(None if own is None else [self._part[own]]),
            "drift": first.get("drift", {}),
            "variants": variants,
        }

    async def health_in_time(self, key: Key) -> dict[str, Any]:
        """`health`; less of it where the state cannot be read, since whoever holds it waits for a disk, say."""
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._looking.acquire()
                found = asyncio.get_running_loop().run_in_executor(None, self.health, key)
                found.add_done_callback(lambda _: self._looking.release())
                return await asyncio.shield(found)
        except TimeoutError:
            own = self._sees(key)
            problem = self.work.problem or f"What is known of users and events could not be read in {HEALTH_SECONDS:g} s; is a disk slow?"
            return {"status": "degraded", "problems": [problem], "stats": self.stats.summary(None if own is None else [self._part[own]])}

    def figures(self, key: Key) -> bytes:
        """For /metrics."""
        self.metrics.work(self.work)
        return self.metrics.text(self._sees(key))

    def _sees(self, key: Key) -> str | None:
        """The tenant whose figures a key is shown; None: everything, for an admin, and where there is one tenant alone."""
        return None if key.is_admin or len(self._part) == 1 else key.tenant

    def count(self, scope: dict[str, Any], status: int, seconds: float) -> None:
        """A request is over."""
        state = scope["state"]
        tenant = state.get("tenant", None if state["key"] is None else state["key"].tenant)
        part = self._part.get(tenant)
        route = scope.get("route")
        path = getattr(route, "path", "other")
        self.metrics.request(NOBODY if part is None else tenant, path, status, seconds)
        if path.startswith("/v1/"):
            self.stats.add(1000 * seconds, status, len(self._part) if part is None else part)
