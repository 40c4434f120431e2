"""Where the shipped sample data are, and how they are best read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import NotFound

# What the columns of interactions.csv.gz mean, and a sensible weight per event: nobody should have to guess
# for the sample. A purchase tells more than a look.
COLUMNS = {"user": "user_id", "item": "item_id", "event": "event", "time": "timestamp"}
EVENT_WEIGHTS = {"view": 1.0, "cart": 2.0, "purchase": 4.0}


@dataclass(frozen=True)
class SamplePaths:
    """The files of one sample set; see sample_data/README.md for their columns."""

    interactions: Path
    items: Path
    users: Path
    messy: Path


def sample_paths(folder: Path | None = None) -> SamplePaths:
    """The shipped sample data (folder: another set made by make_sample.py). Raises NotFound naming what is missing."""
    folder = folder or Path(__file__).resolve().parents[2] / "sample_data"
    shipped = Path(__file__).resolve().parents[2] / "sample_data" / "messy.csv"
    plain, packed = folder / "interactions.csv", folder / "interactions.csv.gz"
    paths = SamplePaths(packed if packed.exists() or not plain.exists() else plain, folder / "items.csv", folder / "users.csv", shipped)
    missing = [path.name for path in (paths.interactions, paths.items, paths.users) if not path.exists()]
    if missing:
        raise NotFound(f"The sample data lack {', '.join(missing)}.", "Make them with: python sample_data/make_sample.py")
    return paths
