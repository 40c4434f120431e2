"""Every registered model passes the shared battery: a new file is covered without an edit here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recsys_core import registry
from recsys_core.testing.deep_contract import DeepContract
from recsys_core.testing.model_contract import ModelContract

# Parts and sizes for tiny data, where the preset "fast" alone does not say.
PARAMS = {key: {"models": ["ease", "item_knn"]} for key in ("weighted", "average", "rank_fusion", "switching", "cascade", "auto_fusion")}
PARAMS["cold_bridge"] = {"models": ["ease"]}
PARAMS["stacking"] = {"models": ["ease", "item_knn"], "epochs": 4, "networks": 1, "hidden": 4}
PARAMS["caser"] = {"epochs": 20, "dim": 16, "max_len": 4}
PARAMS["bert4rec"] = {"epochs": 30, "dim": 16, "max_len": 10}
META = ("maml", "fomaml", "anil", "melu", "reptile", "proximal_meta", "fine_tuned")
SMALL_META = {"epochs": 12, "factors": 16, "hidden": 16, "inner_steps": 1, "batch_size": 32, "averaging": 0.9, "learning_rate": 0.03}
PARAMS |= dict.fromkeys(META, SMALL_META)
PARAMS |= dict.fromkeys(("reptile", "proximal_meta"), SMALL_META | {"inner_steps": 3})  # the start moves as far as the steps go
PARAMS["fine_tuned"] = SMALL_META | {"epochs": 40}  # learns to read ratings before it is tuned by them
PARAMS["meta_average"] = {"models": ["fomaml", "anil"], "part_params": dict.fromkeys(("fomaml", "anil"), SMALL_META)}
# What learns a few random events by heart, where a model is only given another few of them at every pass.
BY_HEART = {key: {"learning_rate": 0.05, "batch_size": 4, "dropout": 0, "inner_rate": 1, "inner_steps": 3} for key in META}
# What makes a model predict ratings, where its default parameters rank.
RATING_PARAMS = {key: {"loss": "mse"} for key in ("neumf", "gmf", "mlp", "deepfm", "m6_rec", *META)}


class _Loaded:
    """The class of a key, imported when a test first asks: one broken file fails its own tests only."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get__(self, instance: object, owner: type) -> type:
        return registry.get("model", self.key)


# Networks have a battery of their own; their folders or keys say which those are without importing them.
DEEP_FOLDERS, DEEP_KEYS = {"deep", "sequential", "meta"}, {"m6_rec"}


def _battery(key: str) -> type:
    folder = registry.module_of("model", key).split(".")[-2]
    return type(
        f"Test_{key}",
        (DeepContract if folder in DEEP_FOLDERS or key in DEEP_KEYS else ModelContract,),
        {"model": _Loaded(key), "params": PARAMS.get(key), "rating_params": RATING_PARAMS.get(key, {})}
        | {"by_heart": BY_HEART.get(key, {}), "__module__": __name__},
    )


for _key in registry.keys("model"):
    globals()[f"Test_{_key}"] = _battery(_key)


def test_listing_all_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from recsys_core import registry; [registry.all_of(kind) for kind in registry.KINDS]; "
        "[cls.card() for cls in registry.all_of('model').values()]; "
        "print(*sorted({'torch', 'implicit', 'sklearn', 'streamlit', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"imported on listing: {done.stdout}"


def test_labels_are_unique() -> None:
    labels = [cls.label for cls in registry.all_of("model").values()]
    assert len(labels) == len(set(labels)), "two models share a label"


@pytest.mark.parametrize("key", registry.keys("model"))
def test_module_name_is_the_key(key: str) -> None:
    assert registry.get("model", key).__module__.rsplit(".", 1)[1] == key
