"""One step of learning to adapt: tasks drawn, the items they meet, and the learner's lesson."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.dataset import Dataset
from ...errors import Unsupported
from ...nn.field_embeddings import BAGS
from .._inputs import Inputs
from ._item_tasks import ItemLessons
from ._losses import TaskLosses
from ._network import MetaNet, Task, World
from ._tasks import Tasks

Lesson = Callable[[TaskLosses, Task], Tensor]


class Objective:
    """loss(index, step) of a batch of users: L_meta + few_weight · L_few: the loss on the items to be found after adaptation, and
    before any step, from the few items shown as the start reads them.

    Ids of a share of the items are hidden, once a step for all tasks; the columns of a share of the users too. Where the catalogue is
    larger than `negatives`, a step meets the tasks' items and so many drawn at random; each stands for 1 / (its chance to be met) items.
    Where single items are tasks too, their loss (`ItemLessons`) is added.
    """

    def __init__(self, network: MetaNet, inputs: Inputs, data: Dataset, params: Any, device: torch.device | str, lesson: Lesson) -> None:
        self.network, self.params, self.device, self.lesson = network, params, device, lesson
        self.ratings = params.loss == "mse"
        self.tasks = Tasks(data, params, self.ratings, device, domains_of(inputs) if params.tasks == "domains" else None)
        self.batches = self.tasks.batches
        # Items told by nothing but their columns are no negatives: nobody has had the choice.
        self.compared = torch.as_tensor(np.flatnonzero(inputs.known), device=device)
        self.whole = params.negatives >= len(self.compared)
        share = np.bincount(self.tasks.pairs.item, minlength=data.n_items) / max(1, len(self.tasks.active))
        self.chosen_by = torch.as_tensor(share.astype(np.float32), device=device)  # share of the users
        self.item_lesson: ItemLessons | None = None
        if params.tasks == "users and items":
            self.item_lesson = ItemLessons(network, inputs.known, self.tasks.pairs, params, len(self.batches), self._met)
        self.id_dropout = params.id_dropout if params.ids and "item" in inputs.side.tables else 0.0

    def __call__(self, index: Tensor, step: int) -> Tensor:
        users, drawn = self.tasks.draw(index.to(self.device))
        codes, more = self._met(drawn.items, len(users))
        kept = torch.rand(len(codes), device=self.device) >= self.id_dropout
        world = World(*self.network.items(codes, kept), more)
        told = torch.where(torch.rand(len(users), device=self.device) < self.params.user_dropout, -1, users)
        tasks = self.tasks.tasks(drawn, torch.searchsorted(codes, drawn.items), len(codes), self.network.users(told))
        losses = TaskLosses(self.network, world, self.params)
        loss = self.lesson(losses, tasks)
        if self.params.few_weight:
            loss = loss + self.params.few_weight * losses.before(tasks)
        return loss if self.item_lesson is None else loss + self.item_lesson(step)

    def _met(self, items: Tensor, n_tasks: int) -> tuple[Tensor, Tensor]:
        """(codes (N,) ascending, what each stands for, as a logarithm)."""
        if self.whole:
            return self.compared, torch.zeros(len(self.compared), device=self.device)
        drawn = self.compared[torch.randint(len(self.compared), (self.params.negatives,), device=self.device)]
        codes = torch.unique(torch.cat([items, drawn]))
        expected = self.params.negatives / len(self.compared) + n_tasks * self.chosen_by[codes]
        return codes, -torch.log(-torch.expm1(-expected))


def domains_of(inputs: Inputs) -> np.ndarray:
    """int64 (I,): the first category of each item in the first column of categories. Raises Unsupported where there is none."""
    table = inputs.items
    fields = [number for number, (_, kind) in enumerate(table.fields) if kind in BAGS]
    if not fields:
        raise Unsupported(
            "Tasks by domain need a column of categories in the item table, and this dataset has none.",
            "Choose tasks by users, or add a column such as a category or genre.",
        )
    block = table.matrix[:, table.span(fields[0])].tocsr()
    block.sort_indices()
    first, some = np.zeros(block.shape[0], np.int64), np.diff(block.indptr) > 0
    first[some] = block.indices[block.indptr[:-1][some]] + 1
    return first
