"""What every test shares: where things are, real data if it is there, and no way out to the network."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

# Before numpy is imported: short computations are faster with one thread each, above all side by side.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402 - after the thread settings

REPO = Path(__file__).resolve().parents[1]
_connect = socket.socket.connect


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, then slow ones, then those in a browser: what fails, fails early."""
    items.sort(key=lambda item: (item.get_closest_marker("browser") is not None, item.get_closest_marker("slow") is not None))


def _connect_here(self: socket.socket, address: object) -> None:
    """Tests may talk to this machine only, so that none depends on what a server elsewhere says."""
    if self.family in (socket.AF_INET, socket.AF_INET6) and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"A test tried to reach {address!r}; tests may only reach this machine.")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _connect_here)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def sample_folder() -> Path:
    """The shipped sample data."""
    return REPO / "sample_data"


@pytest.fixture(scope="session")
def real_data():
    """real_data("ml-100k") -> its folder. Skips with a sentence where the data is not there: it is not
    ours to ship."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("RECSYS_REAL_DATA") or REPO.parent / "shared" / "data")
        if not (root / name).is_dir():
            pytest.skip(
                f"Needs the data set '{name}', which may not be redistributed: "
                "put it into ../shared/data or name its parent in RECSYS_REAL_DATA."
            )
        return root / name

    return find


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium. Skips with a sentence where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("Needs Chromium, which is not installed here: sudo apt-get install chromium.")
