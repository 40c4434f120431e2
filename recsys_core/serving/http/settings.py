"""What a service is told at its start: which bundles for whom, where it listens, what it allows. Goes to every worker as JSON."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...errors import BadInput

SETTINGS_VARIABLE = "RECSYS_SERVICE"  # the settings of this service, for its workers
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MOST_BUNDLES = 16


@dataclass(frozen=True)
class BundleSpec:
    """path: the bundle file. weight: its share of the users, against the others of its tenant. tenant: whose it is ("": everybody's who
    has no tenant). name: the variant's name in answers and in the exposure log."""

    path: str
    weight: float = 1.0
    tenant: str = ""
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> BundleSpec:
        """`[TENANT=]FILE[:WEIGHT]`. A file whose name has these signs in it is found first."""
        if Path(text).is_file():
            return cls(text)
        rest, tenant, weight = text, "", 1.0
        head, sign, tail = rest.partition("=")
        if sign and NAME.fullmatch(head):
            tenant, rest = head, tail
        head, sign, tail = rest.rpartition(":")
        if sign and not Path(rest).is_file():
            try:
                rest, weight = head, float(tail)
            except ValueError:
                raise BadInput(f"The weight of a bundle is a number above 0; got '{tail}' in '{text}'.", "Write FILE.zip:1.") from None
        if not 0 < weight < 1e9:
            raise BadInput(f"The weight of a bundle is a number above 0; got '{tail}' in '{text}'.", "Write FILE.zip:1.")
        return cls(rest, weight, tenant)


@dataclass(frozen=True)
class ServiceSettings:
    """log: file of events, None: kept in memory only; sync: when it is on the disk for good, at once (always) or within 0.2 s; exposures:
    file of who was shown which variant, None: not written. rate: requests a second of a key that names none of its own. max_new_items:
    those no bundle knows and events brought; tenants have equal shares of it, and the keys of a tenant equal shares of that. runtime:
    folder that the workers of one service share while it runs. Lengths in seconds unless the name says otherwise."""

    bundles: tuple[BundleSpec, ...]
    host: str = "127.0.0.1"
    port: int = 8502
    workers: int = 1
    keys_file: str | None = None
    log: str | None = None
    sync: str = "interval"
    exposures: str | None = None
    experiment: str = "service"
    rate: float = 100.0
    timeout_ms: int = 1000
    max_body_bytes: int = 2**20
    max_waiting: int = 256
    max_users: int = 50_000
    max_new_items: int = 100_000
    half_life_days: float = 30.0
    cache_users: int = 10_000
    cache_seconds: float = 60.0
    watch_seconds: float = 2.0
    drain_seconds: float = 0.0
    runtime: str = ""
    quiet: bool = False

    def checked(self) -> ServiceSettings:
        """Itself, with names for its bundles. Raises BadInput where something is out of range."""
        if not 1 <= len(self.bundles) <= MOST_BUNDLES:
            raise BadInput(f"A service has from 1 to {MOST_BUNDLES} bundles; got {len(self.bundles)}.", "Give --bundle FILE.zip.")
        ranges = {
            "workers": (1, 64), "port": (0, 65535), "rate": (0.01, 1e6), "timeout_ms": (10, 600_000), "max_body_bytes": (1024, 2**28),
            "max_waiting": (1, 100_000), "max_users": (1, 10**8), "max_new_items": (1, 10**7), "half_life_days": (1e-3, 1e5),
            "cache_users": (0, 10**7), "cache_seconds": (0, 1e6), "watch_seconds": (0.05, 3600), "drain_seconds": (0, 600),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                option = name.replace("_", "-")
                raise BadInput(f"--{option} must be from {low:g} to {high:g}; got {getattr(self, name):g}.")
        if self.sync not in ("interval", "always"):
            raise BadInput(f"--sync is 'interval' or 'always'; got '{self.sync[:40]}'.")
        if not NAME.fullmatch(self.experiment):
            raise BadInput(f"The name of an experiment has letters, digits, '-', '_' and '.'; got '{self.experiment[:80]}'.")
        taken: set[tuple[str, str]] = set()
        named = []
        for spec in self.bundles:
            stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", spec.name or Path(spec.path).stem).strip("-.")[:64] or "bundle"
            name, number = stem, 1
            while (spec.tenant, name) in taken:
                number += 1
                name = f"{stem}-{number}"
            taken.add((spec.tenant, name))
            named.append(replace(spec, name=name, path=str(Path(spec.path).absolute())))
        return replace(self, bundles=tuple(named))

    @property
    def tenants(self) -> dict[str, list[BundleSpec]]:
        """Bundles by tenant, in the order given; the first of a tenant is the control of its experiment."""
        found: dict[str, list[BundleSpec]] = {}
        for spec in self.bundles:
            found.setdefault(spec.tenant, []).append(spec)
        return found

    @property
    def new_items_each(self) -> int:
        """Places for items that no bundle knows, of one tenant."""
        return max(1, self.max_new_items // max(1, len(self.tenants)))

    def file_of(self, path: str | None, tenant: str) -> Path | None:
        """The file of a tenant beside the one that was named: tenants never share one."""
        if path is None:
            return None
        found = Path(path).absolute()
        return found if not tenant else found.with_name(f"{found.stem}-{tenant}{found.suffix}")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServiceSettings:
        given = json.loads(text)
        return cls(**given | {"bundles": tuple(BundleSpec(**spec) for spec in given["bundles"])})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
