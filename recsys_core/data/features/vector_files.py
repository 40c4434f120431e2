"""Files of ready vectors keyed by id: Parquet, .npy and .npz, read without running anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import DataError
from ..ids import as_text
from .columns import numbers
from .vectors import read_vectors

SUFFIXES = (".parquet", ".npy", ".npz")
LONGEST = 16_384  # numbers a vector
_ID_NAMES = ("id", "ids", "item_id", "user_id", "item", "user", "key", "index")
_FORMS = "Give a .parquet file with an id column and one of lists (or columns of numbers), or a .npz file with 'ids' and 'vectors'."


def read_vector_file(path: str | Path, id_column: str | None = None) -> tuple[pd.Series, np.ndarray]:
    """(ids as text (n,), float32 (n, d), NaN where a vector has no number). id_column: which column or array has the ids, where it
    cannot be told. Raises DataError: not such a file, no ids, an id twice, vectors of differing length."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"'{path.name}' is no file of vectors: its name must end in {', '.join(SUFFIXES)}.", _FORMS)
    try:
        found = _parquet(path, id_column) if path.suffix.lower() == ".parquet" else _numpy(path, id_column)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"There is no file '{path.name}'.", "Check the path.") from None
    except Exception as error:  # whatever a broken file makes its reader stumble over
        why = "It is damaged, or not what the end of its name says."  # the reader's own words name its internals
        if "pickle" in str(error).lower():
            why = "It holds Python objects, which are not read because they can run code."
        raise DataError(f"'{path.name}' cannot be read as vectors. {why}", _FORMS) from None
    ids, vectors = found
    return _checked(path.name, ids, vectors)


def _checked(name: str, ids: pd.Series, vectors: np.ndarray) -> tuple[pd.Series, np.ndarray]:
    _told_apart(name, ids)
    ids = as_text(ids).str.strip()
    kept = (ids.notna() & (ids != "")).to_numpy(bool)
    ids, vectors = ids[kept].reset_index(drop=True), vectors[kept]
    if not len(ids) or not vectors.shape[1]:
        raise DataError(f"'{name}' has no vectors.", _FORMS)
    if vectors.shape[1] > LONGEST:
        raise DataError(f"The vectors of '{name}' have {vectors.shape[1]:,} numbers; at most {LONGEST:,} are read.", "Reduce them first.")
    if (twice := ids[ids.duplicated()]).size:
        raise DataError(f"'{name}' has the id '{twice.iloc[0]}' more than once ({twice.size:,} rows repeat an id).", "Keep one row an id.")
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32)
    vectors[~np.isfinite(vectors)] = np.nan
    if not np.isfinite(vectors).any():
        raise DataError(f"No vector of '{name}' has a number that can be used.", _FORMS)
    return ids, vectors


def _told_apart(name: str, ids: pd.Series) -> None:
    """Raise DataError where ids are broken numbers so large that two different ones may have become the same."""
    if not pd.api.types.is_float_dtype(ids):
        return
    kind = ids.dtype if isinstance(ids.dtype, np.dtype) else np.dtype(np.float64)
    exact, largest = 2.0 ** (np.finfo(kind).nmant + 1), float(ids.abs().max())
    if largest >= exact:
        raise DataError(
            f"The ids of '{name}' reach {largest:.0f}; numbers of {8 * kind.itemsize} bits with a decimal point hold whole ones only up to "
            f"{exact:,.0f}, so some ids may have changed.",
            "Save ids and vectors apart in a .npz file, the ids as text.",
        )


def _parquet(path: Path, id_column: str | None) -> tuple[pd.Series, np.ndarray]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    names = table.column_names
    kinds = {name: table.schema.field(name).type for name in names}
    lists = [name for name in names if _is_list(kinds[name])]
    key = _id_column(path.name, names, lists, id_column)
    ids = table.column(key).to_pandas()
    rest = [name for name in names if name != key]
    lists = [name for name in lists if name != key]
    if len(lists) > 1:
        raise DataError(f"'{path.name}' has {len(lists)} columns of lists ({', '.join(lists[:5])}).", "Keep the one with the vectors.")
    if lists:
        return ids, _even(path.name, *_of_arrow(table.column(lists[0])))
    texts = [name for name in rest if str(kinds[name]) in ("string", "large_string")]
    if texts and len(rest) == 1:  # one column of '[0.1, 0.2]'
        return ids, _even(path.name, *read_vectors(table.column(texts[0]).to_pandas()))
    if texts:
        raise DataError(f"The column '{texts[0]}' of '{path.name}' holds words, not numbers.", "Keep the id column and the numbers.")
    if not rest:
        raise DataError(f"'{path.name}' has an id column and nothing else.", _FORMS)
    return ids, np.column_stack([numbers(table.column(name).to_pandas()) for name in rest])


def _of_arrow(column: Any) -> tuple[np.ndarray, int]:
    """A column of lists as numbers, and how many cells have another length; without a Python object a number where it can be."""
    whole = column.combine_chunks()
    if hasattr(whole, "chunks"):
        whole = whole.chunk(0) if whole.num_chunks == 1 else whole
    lengths = whole.value_lengths().to_numpy(zero_copy_only=False)
    known = np.nan_to_num(lengths, nan=0).astype(np.int64)
    length = int(np.bincount(known[known > 0]).argmax()) if (known > 0).any() else 0
    fits = known == length
    out = np.full((len(known), length), np.nan)
    if length and fits.any():
        import pyarrow as pa

        flat = whole.filter(pa.array(fits)).flatten().to_numpy(zero_copy_only=False)
        out[fits] = flat.astype(np.float64).reshape(-1, length)
    return out, int(((known > 0) & ~fits).sum())


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _even(name: str, vectors: np.ndarray, wrong: int) -> np.ndarray:
    if wrong:
        raise DataError(
            f"{wrong:,} of the {len(vectors):,} vectors of '{name}' do not have {vectors.shape[1]:,} numbers, as the others do.",
            "Make all of one length.",
        )
    return vectors


def _id_column(name: str, columns: list[str], lists: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in columns:
            raise DataError(f"'{name}' has no column '{wanted}' for the ids.", f"It has: {', '.join(columns[:20])}.")
        return wanted
    plain = [column for column in columns if column not in lists]
    named = [column for wish in _ID_NAMES for column in plain if column.lower() == wish] + [c for c in plain if c.lower().endswith("id")]
    if named:
        return named[0]
    if lists and len(plain) == 1:
        return plain[0]
    raise DataError(f"It cannot be told which column of '{name}' has the ids.", f"Name it; the columns are: {', '.join(columns[:20])}.")


def _numpy(path: Path, id_column: str | None) -> tuple[pd.Series, np.ndarray]:
    held = np.load(path, allow_pickle=False)
    if isinstance(held, np.ndarray):
        return _of_array(path.name, held, id_column)
    with held:
        arrays = {name: held[name] for name in held.files}
    one_dimensional = [name for name, array in arrays.items() if array.ndim == 1]
    key = id_column or next((n for n in (*_ID_NAMES, "codes", "names") if n in one_dimensional), None) or next(iter(one_dimensional), None)
    if key not in arrays:
        raise DataError(f"'{path.name}' has no array '{key or 'ids'}' with the ids.", f"It has: {', '.join(arrays) or 'nothing'}.")
    two_dimensional = [name for name, array in arrays.items() if array.ndim == 2]
    if len(two_dimensional) != 1:
        raise DataError(f"'{path.name}' has {len(two_dimensional)} tables of numbers; one is needed.", _FORMS)
    return _matched(path.name, arrays[key], arrays[two_dimensional[0]])


def _of_array(name: str, array: np.ndarray, id_column: str | None) -> tuple[pd.Series, np.ndarray]:
    """A structured array with an id and a vector, or numbers whose first column is the id."""
    if array.dtype.names:
        key = _id_column(name, list(array.dtype.names), [n for n in array.dtype.names if array.dtype[n].shape], id_column)
        rest = [n for n in array.dtype.names if n != key]
        return _matched(name, array[key].ravel(), np.column_stack([array[n].reshape(len(array), -1) for n in rest]))
    if array.ndim != 2 or array.shape[1] < 2 or not np.issubdtype(array.dtype, np.number):
        shape = " × ".join(map(str, array.shape))
        raise DataError(f"'{name}' holds {shape or 'one'} values without ids.", "The first column must be the id, the others the vector.")
    key = array[:, 0]
    if not (np.isfinite(key) & (key == np.floor(key))).all():
        raise DataError(f"The first column of '{name}' must be the id, a whole number; it has {_odd(key)!r}.", _FORMS)
    return pd.Series(key), array[:, 1:].astype(np.float64)


def _odd(key: np.ndarray) -> float:
    return float(key[~(np.isfinite(key) & (key == np.floor(key)))][0])


def _matched(name: str, ids: np.ndarray, vectors: np.ndarray) -> tuple[pd.Series, np.ndarray]:
    if len(ids) != len(vectors):
        raise DataError(f"'{name}' has {len(ids):,} ids and {len(vectors):,} vectors.", "They must be as many.")
    if ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8")
    return pd.Series(ids), vectors.astype(np.float64)
