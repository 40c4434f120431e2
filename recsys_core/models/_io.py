"""Save and load any model without pickle: model.json, state.safetensors, data/ (its training set), parts/."""

from __future__ import annotations

import json
from pathlib import Path

from .. import params as params_module
from .. import registry
from ..data.dataset import Dataset
from ..data.storage import load_arrays, load_dataset, save_arrays, save_dataset
from ..errors import BadInput
from ._base import Recommender

FORMAT = 1


def save_model(model: Recommender, folder: Path, *, with_data: bool = True) -> None:
    """Write a fitted model into a folder (made if need be). with_data=False leaves out the training set,
    which must then be given to `load_model`."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "format": FORMAT,
        "key": model.key,
        "params": model.params.model_dump(mode="json"),
        "resolved": model.resolved.model_dump(mode="json"),
        "notes": model.notes,
        "parts": [part.key for part in model._parts()],
    }
    (folder / "model.json").write_text(json.dumps(about, indent=1))
    save_arrays(model._state(), folder / "state.safetensors")
    if with_data:
        (folder / "data").mkdir(exist_ok=True)
        save_dataset(model.fitted, folder / "data", tables=False)
    for number, part in enumerate(model._parts()):
        save_model(part, folder / "parts" / f"{number}-{part.key}", with_data=False)


def load_model(folder: Path, data: Dataset | None = None) -> Recommender:
    """Read a model back. data: its training set, when it was saved without."""
    from safetensors import SafetensorError

    try:
        return _load(folder, data)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise BadInput(f"The saved model in '{folder}' cannot be read ({type(error).__name__}: {said}).", "Train it again.") from error


def _load(folder: Path, data: Dataset | None) -> Recommender:
    about = json.loads((folder / "model.json").read_text())
    cls = registry.get("model", about["key"])
    model: Recommender = cls(params_module.build(cls.Params, about["params"], owner=cls.label))
    model.resolved = params_module.build(cls.Params, about["resolved"], owner=cls.label)
    model.notes = list(about["notes"])
    model.train = data if data is not None else load_dataset(folder / "data")
    parts = [_load(folder / "parts" / f"{number}-{key}", model.train) for number, key in enumerate(about["parts"])]
    state = load_arrays(folder / "state.safetensors")
    model._restore(state | ({"parts": parts} if parts else {}))
    return model
