"""API keys: who asks. The service holds only their SHA-256; a key is 32 random bytes, so that its hash cannot be guessed back.

A line of the key file (or an entry of RECSYS_API_KEYS, parted by commas): `name:hash[:tenant][:rate]`. The tenant `admin` may reload
bundles and see everybody's health, and uses the bundles of any tenant.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadInput
from .settings import NAME

KEYS_VARIABLE = "RECSYS_API_KEYS"
ADMIN = "admin"
PREFIX = "rsk_"  # so that secret scanners can be taught to find one that leaked
_HASH = re.compile(r"[0-9a-f]{64}")
_NOBODY = "0" * 64


@dataclass(frozen=True)
class Key:
    """name: for logs. digest: SHA-256 in hex. tenant: "" for the bundles that name none. rate: requests a second, None: the service's.
    number: its place, for the rate limiter."""

    name: str
    digest: str
    tenant: str = ""
    rate: float | None = None
    number: int = 0

    @property
    def is_admin(self) -> bool:
        return self.tenant == ADMIN


def new_key(name: str, tenant: str = "", rate: float | None = None) -> tuple[str, str]:
    """(the key, to be handed over once; the line for the key file)."""
    if not NAME.fullmatch(name) or (tenant and not NAME.fullmatch(tenant)):
        raise BadInput(f"Names of keys and tenants have letters, digits, '-', '_' and '.'; got '{name[:80]}', '{tenant[:80]}'.")
    if rate is not None and not 0 < rate < 1e6:
        raise BadInput(f"A rate is a number of requests a second above 0; got {rate:g}.")
    key = PREFIX + secrets.token_urlsafe(32)
    parts = [name, hash_key(key), *([tenant] if tenant or rate is not None else []), *([f"{rate:g}"] if rate is not None else [])]
    return key, ":".join(parts)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The keys of a service. Empty: none are asked for, and the service may listen on this machine only."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.keys = tuple(keys)
        self._by_digest = {key.digest: key for key in self.keys}

    def __len__(self) -> int:
        return len(self.keys)

    def check(self, tenants: Iterable[str]) -> None:
        """Raises BadInput where a key has no bundle, or a tenant's bundle could be asked by nobody."""
        known = set(tenants)
        without = sorted({key.tenant for key in self.keys} - known - {ADMIN})
        if without:
            raise BadInput(f"A key is of the tenant '{without[0]}', who has no bundle.", "Give --bundle TENANT=FILE.zip.")
        if not self.keys and known != {""}:
            raise BadInput(
                f"The bundle of the tenant '{max(known)}' needs API keys.", f"Make one: serve-key --name … --tenant {max(known)}."
            )
        if ADMIN in known:
            raise BadInput(f"No tenant may be called '{ADMIN}': a key of that name may use the bundles of all.")

    def find(self, given: str | None) -> Key | None:
        """The key that was given. Only hashes are looked up and compared, in constant time: how long it takes tells nothing of a key."""
        if not given or len(given) > 512:
            return None
        digest = hash_key(given)
        key = self._by_digest.get(digest)
        same = hmac.compare_digest(digest, key.digest if key else _NOBODY)
        return key if key and same else None

    @classmethod
    def load(cls, path: str | None, environment: Mapping[str, str] | None = None) -> KeyRing:
        """From the file and from RECSYS_API_KEYS. Raises BadInput with the line that is wrong, never with what stands in it."""
        environment = os.environ if environment is None else environment
        lines: list[tuple[str, str]] = []
        if path is not None:
            try:
                text = Path(path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"The key file '{path}' cannot be read ({type(error).__name__}).", "Make one with `serve-key`.") from None
            lines += [(f"line {n} of the key file", line.strip()) for n, line in enumerate(text.splitlines(), 1)]
        entries = environment.get(KEYS_VARIABLE, "").split(",")
        lines += [(f"entry {n} of {KEYS_VARIABLE}", entry.strip()) for n, entry in enumerate(entries, 1)]
        lines = [(where, line) for where, line in lines if line and not line.startswith("#")]
        if path is not None and not lines:
            raise BadInput(f"The key file '{path}' holds no key.", "Make one with `serve-key`, or leave --keys away to serve this machine.")
        keys = [_parse(where, line, number) for number, (where, line) in enumerate(lines)]
        for attribute, what in (("name", "name"), ("digest", "hash")):
            if len({getattr(key, attribute) for key in keys}) < len(keys):
                raise BadInput(f"Two API keys have the same {what}.", "Give every key a line of its own.")
        return cls(keys)


def _parse(where: str, line: str, number: int) -> Key:
    name, digest, tenant, rate, *more = [*line.split(":"), "", "", ""][: max(4, line.count(":") + 1)]
    if more or not NAME.fullmatch(name) or not _HASH.fullmatch(digest.lower()) or (tenant and not NAME.fullmatch(tenant)):
        rule = "name:hash[:tenant][:rate], the hash being 64 hexadecimal digits"
        raise BadInput(f"A key is written {rule}; {where} is not.", "Make one with `serve-key`.")
    try:
        allowed = float(rate) if rate else None
    except ValueError:
        allowed = -1.0
    if allowed is not None and not 0 < allowed < 1e6:
        raise BadInput(f"The rate of a key is a number of requests a second above 0; {where} has another.")
    return Key(name, digest.lower(), tenant, allowed, number)
