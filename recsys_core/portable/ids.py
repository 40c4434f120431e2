"""Ids in a bundle. Items by their ids, users only by a hash, so that no list of names goes along. It is no secret: whoever can guess an
id (numbers, mail addresses) can find out whether it is in the file, and its history. A bundle made without users holds nobody's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def hash_of(user: str) -> int:
    """64 bits of BLAKE2b. Two of ten million users share one with a chance of 1 in 370,000."""
    return int.from_bytes(hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class UserCodes:
    """Training users: hashes uint64 (U,), sorted, and the code each stands for, int32 (U,)."""

    def __init__(self, hashes: np.ndarray, codes: np.ndarray) -> None:
        self.hashes, self.codes = hashes, codes

    @staticmethod
    def arrays(users: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """(hashes, codes) of users in the order of their codes."""
        hashes = np.fromiter((hash_of(user) for user in users), np.uint64)
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order.astype(np.int32)

    def code(self, user: str) -> int:
        """The code, or -1."""
        wanted = np.uint64(hash_of(user))
        at = int(np.searchsorted(self.hashes, wanted))
        return int(self.codes[at]) if at < len(self.hashes) and self.hashes[at] == wanted else -1

    def __len__(self) -> int:
        return len(self.hashes)


class ItemIds:
    """External item ids by code, and back. Grows: items that came after training follow those of training."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self._codes = {item: code for code, item in enumerate(ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def code(self, item: str) -> int:
        """The code, or -1."""
        return self._codes.get(item, -1)

    def encode(self, items: Iterable[str]) -> np.ndarray:
        """int32 (n,), -1 where unknown."""
        return np.fromiter((self._codes.get(item, -1) for item in items), np.int32)

    def decode(self, codes: Iterable[int]) -> list[str]:
        return [self.ids[code] for code in codes]

    def add(self, item: str) -> int:
        """The code of an item, given now if it has none."""
        code = self._codes.setdefault(item, len(self.ids))
        if code == len(self.ids):
            self.ids.append(item)
        return code
