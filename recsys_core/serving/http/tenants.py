"""Who is served apart from whom: the bundles, events, exposures, and cached answers of one tenant."""

from __future__ import annotations

from .cache import AnswerCache
from .logs import Hasher, salt_of
from .routing import Assignment, Exposures
from .settings import BundleSpec, ServiceSettings
from .variants import Variant


class Tenant:
    """The variants one tenant's users are dealt to, with an event log and an exposure log of their own."""

    def __init__(self, name: str, specs: list[BundleSpec], settings: ServiceSettings) -> None:
        self.name = name
        log = settings.file_of(settings.log, name)
        self.variants = [Variant(spec, settings, log) for spec in specs]
        self.assignment = Assignment([spec.weight for spec in specs], settings.experiment)
        exposures = settings.file_of(settings.exposures, name)
        self.exposures = Exposures(exposures) if exposures else None
        self.cache = AnswerCache(settings.cache_users, settings.cache_seconds)
        self.hasher = Hasher(salt_of(log))

    def of(self, user: str | None) -> Variant:
        return self.variants[self.assignment.of(user)]

    def problems(self) -> list[str]:
        found = [problem for variant in self.variants for problem in variant.problems()]
        return found + ([self.exposures.problem] if self.exposures and self.exposures.problem else [])

    def close(self) -> None:
        for variant in self.variants:
            variant.close()
        if self.exposures:
            self.exposures.close()
