"""Vector files on the Features tab: pictures, sound, texts and graphs that were turned into numbers elsewhere, keyed by id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from recsys_core.data.features import FeatureSet
from recsys_core.data.features.vector_files import SUFFIXES
from recsys_core.errors import BadInput
from recsys_core.store.feature_sets import add_vectors, with_vector_file

from . import data_features_state as chosen_features
from . import state, uploads
from .components import card
from .errors import action
from .text import count, md, share, size

SIDES = {"item": "Items", "user": "Users"}
ABOUT = (
    "Pictures, sound, texts or graphs turned into numbers elsewhere: one vector for each id, as .npz (arrays 'ids' and 'vectors'), "
    ".parquet (an id column and a list column, or a column for each number) or .npy (records with an id and a vector)."
)


def vectors_card(entry: Any, chosen: FeatureSet) -> None:
    """The files of the draft, each with how many it describes; and the way to add one."""
    with card("Vectors from elsewhere", ABOUT, key="features-vectors"):
        for side in SIDES:
            for name, hashed in chosen.vectors.get(side, {}).items():
                _file(entry, chosen, side, name, hashed)
        said = st.session_state.pop(_note(entry), None)
        if said:
            st.success(md(said), icon=":material/check_circle:")
        with st.expander("Add a file of vectors", icon=":material/upload:"):
            _add(entry)


def _file(entry: Any, chosen: FeatureSet, side: str, name: str, hashed: str) -> None:
    stats = entry.stats
    n = stats.n_items if side == "item" else stats.n_users
    have, length = shape_of(str(state.root()), entry.id, hashed)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        told = f"{count(have)} of {count(n, side)} have one ({share(have / max(1, n))}); {count(length, 'number')} each."
        bare = "" if have == n else f" {count(n - have, side)} without one are told apart as such."
        st.markdown(f":material/perm_media: **{md(name, 60)}** ({side}s): {told}{bare}", width="stretch")
        key = f"remove-vectors-{side}-{name}"
        st.button("Remove", key=key, icon=":material/close:", on_click=_remove, args=(entry, side, name))


@st.cache_data(max_entries=64, show_spinner=False)
def shape_of(folder: str, dataset_id: str, hashed: str) -> tuple[int, int]:
    """(how many have a vector, its length), from the heads of the arrays: the vectors are not read."""
    path = Path(folder) / "datasets" / dataset_id / "vectors" / f"{hashed}.npz"
    with np.load(path, allow_pickle=False) as saved, saved.zip.open("vectors.npy") as vectors:
        version = np.lib.format.read_magic(vectors)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape = read(vectors)[0]
    return int(shape[0]), int(shape[1])


def _add(entry: Any) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        side = st.segmented_control(
            "They describe", list(SIDES), default="item", format_func=SIDES.get, required=True, key="vectors-side", persist_state="session"
        )  # fmt: skip
        name = st.text_input("Name (optional)", key="vectors-name", max_chars=60, placeholder="That of the file", width=260)
        about = "Only where it is not found: the column (Parquet) or array (.npz) that has the ids."
        ids = st.text_input("Id column (optional)", key="vectors-ids", max_chars=120, placeholder="Find out", width=220, help=about)
    generation = st.session_state.setdefault("_uploader_vectors", 0)
    key = f"upload-vectors-{generation}"
    kinds = [suffix.removeprefix(".") for suffix in SUFFIXES]
    st.file_uploader("File of vectors", key=key, type=kinds, on_change=_take, args=(entry, side, name, ids, key))


@action
def _take(entry: Any, side: str, name: str, ids: str, key: str) -> None:
    """Keep the vectors beside the dataset and name them in the draft; the file itself is not kept."""
    given = st.session_state.get(key)
    if given is None:
        return
    limit = int(st.get_option("server.maxUploadSize")) << 20
    if given.size > limit:
        raise BadInput(f"Uploads may have at most {size(limit)}; got {size(given.size)}.", "Reduce the vectors to fewer numbers first.")
    st.session_state["_uploader_vectors"] += 1
    upload = uploads.new()
    try:
        path = upload.put("main", given.name, given)
        name = name.strip() or path.stem
        report = add_vectors(entry, side, path, name, ids.strip() or None)
        chosen_features.put(entry, with_vector_file(entry, chosen_features.draft(entry), report))
    finally:
        upload.drop()
    st.session_state[_note(entry)] = " ".join(report.sentences)
    state.remember(side=side, column=report.name)


@action
def _remove(entry: Any, side: str, name: str) -> None:
    """Out of the draft, with what was chosen for the column; results that were trained with it keep it."""
    chosen = chosen_features.draft(entry)
    files = {other: hashed for other, hashed in chosen.vectors.get(side, {}).items() if other != name}
    of_side = {column: what for column, what in chosen.columns.get(side, {}).items() if column != name}
    vectors = {key: value for key, value in (chosen.vectors | {side: files}).items() if value}
    columns = {key: value for key, value in (chosen.columns | {side: of_side}).items() if value}
    chosen_features.put(entry, replace(chosen, vectors=vectors, columns=columns))


def _note(entry: Any) -> str:
    return f"_vectors_note_{entry.id}"
