"""Items as shares over categories, and histories as the means of their items."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ....errors import Unsupported
from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ..fields import NOTHING, OTHER
from ._learnt import distinct, relevant

KINDS = ("categorical", "multi_valued")
MOST = 50  # categories, those with the most interactions
PRIOR = 2.0  # items' worth of everybody's shares in a profile


def categories_of(train: Dataset, items: FeatureTable | None) -> tuple[list[str], float | None, sparse.csr_matrix, np.ndarray]:
    """(names, threshold, csr float32 (I, K) of each item's shares, float32 (K,): everybody's shares), of the most frequent categories.

    Frequent is what the training part has most interactions with. An item's shares add up to 1, or are all 0 where it has none of these.
    """
    count = train.item_counts.astype(np.float64)
    names, chosen = _candidates(items)
    if not len(chosen):
        raise Unsupported("The item table has no column of categories.", "Give it one, such as a genre.")
    has = (items.matrix[:, chosen] != 0).astype(np.float64)
    weight = count @ has
    if not weight.any():
        raise Unsupported("No item with a category was chosen in the training part.", "Use more data.")
    top = np.argsort(-weight, kind="stable")[:MOST]
    top = np.sort(top[weight[top] > 0])
    has = sparse.csr_matrix(has[:, top])
    how_many = np.asarray(has.sum(1)).ravel()
    table = sparse.csr_matrix(sparse.diags(1 / np.maximum(how_many, 1)) @ has, dtype=np.float32)
    table.sort_indices()
    usual = count @ table.astype(np.float64)
    return [names[i] for i in top], train.threshold, table, (usual / usual.sum()).astype(np.float32)


def shares(histories: Histories, table: sparse.csr_matrix, usual: np.ndarray, threshold: float | None) -> np.ndarray:
    """float32 (B, K), rows that add up to 1: (sum of the items' shares + PRIOR · usual) / (items with a category + PRIOR); NaN without."""
    total = (distinct(relevant(histories, threshold), table.shape[0]) @ table).toarray()
    n = total.sum(1, keepdims=True)
    return np.where(n > 0, (total + np.float32(PRIOR) * usual) / (n + np.float32(PRIOR)), np.float32(np.nan)).astype(np.float32)


def _candidates(items: FeatureTable | None) -> tuple[list[str], np.ndarray]:
    """(what each category is called, its column in the table) of all that might be used."""
    if items is None:
        return [], np.empty(0, dtype=np.int64)
    fields = [number for number, (_, kind) in enumerate(items.fields) if kind in KINDS]
    names, columns = [], []
    for number in fields:
        field, span = items.fields[number][0], items.span(number)
        for column in range(span.start, span.stop):
            value = items.names[column].removeprefix(f"{field}=")
            if value not in (OTHER, NOTHING):
                names.append(value if len(fields) == 1 else f"{field} = {value}")
                columns.append(column)
    return names, np.array(columns, dtype=np.int64)
