"""torch.compile as an offer: taken where it works, left with one sentence where it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from .batches import IndexBatches

logger = logging.getLogger(__name__)


def compiled(loss: Callable[[Tensor, int], Tensor], batches: IndexBatches) -> tuple[Callable[[Tensor, int], Tensor], str]:
    """(the loss to use, "" or why it is not compiled).

    Tried on one small batch, forwards and backwards, since most failures (no C++ compiler, an operation the compiler
    does not know) show only then. The gradients of the trial are left for the caller to clear; chance is as before.
    Cost: the first call takes from seconds to minutes.
    """
    fast = torch.compile(loss, dynamic=True)
    index = torch.arange(min(batches.n, batches.batch_size))
    try:
        with torch.random.fork_rng(devices=[]):
            fast(index, 0).backward()
    except Exception as error:  # whatever the compiler stumbles over, training goes on without it
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        logger.info("torch.compile failed", exc_info=True)
        return loss, f"The network could not be compiled ({first}); it was trained without."
    return fast, ""
