"""Every registered re-ranker passes the shared battery: a new file is covered without an edit here."""

from __future__ import annotations

from recsys_core import registry
from recsys_core.testing.reranker_contract import RerankerContract

# Settings worth trying besides the defaults.
VARIANTS = {
    "popularity_discount": [{"towards": "own_level"}],
    "rules": [
        {"max_per_category": 2},
        {"category_caps": {"taste 1": 0, "mood 2": 1}, "pinned": ["i7", "i3"]},
        {"pinned": ["i50", "i8"], "blocked": ["i9", "i10"], "freshness": "prefer", "newer_than_days": 2},
        {"freshness": "require", "newer_than_days": 3650, "date_column": "year"},
        {"provider_column": "maker", "provider_shares": {"maker 2": 0.4}, "max_per_category": 3},
    ],
}


class _Loaded:
    """The class of a key, imported when a test first asks: one broken file fails its own tests only."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get__(self, instance: object, owner: type) -> type:
        return registry.get("reranker", self.key)


for _key in registry.keys("reranker"):
    globals()[f"Test_{_key}"] = type(
        f"Test_{_key}", (RerankerContract,), {"reranker": _Loaded(_key), "variants": VARIANTS.get(_key, []), "__module__": __name__}
    )


def test_labels_are_unique() -> None:
    labels = [cls.label for cls in registry.all_of("reranker").values()]
    assert len(labels) == len(set(labels)), "two re-rankers share a label"
