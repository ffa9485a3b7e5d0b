"""When a batch does not fit into memory: say so, with the largest one that does."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Sequence

import torch

from batchscope.architectures import Architecture
from batchscope.data import Dataset
from batchscope.errors import RunError
from batchscope.gradients.subject.failures import is_out_of_memory
from batchscope.training.engine_choice import make_engine
from batchscope.training.settings import Member, Settings


def explain_exhaustion(
    architecture: Architecture, dataset: Dataset, settings: Settings, members: Sequence[Member], device: str
) -> RunError:
    """Return the error of a cohort that ran out of memory, having found the largest batch of which a step fits."""
    fits = largest_batch(architecture, dataset, settings, members[0], device)
    which = "no batch fitted" if fits is None else f"the largest batch that fitted is {fits}"
    return RunError(
        f"out of memory on {device} at batch size {settings.batch_size} with {len(members)} members; {which} (one "
        "member, halving); leave out the larger batch sizes or choose another device"
    )


def largest_batch(
    architecture: Architecture, dataset: Dataset, settings: Settings, member: Member, device: str
) -> int | None:
    """Return the largest of B, B/2, B/4, ..., 1 at which a step of one member fits, or None."""
    size = settings.batch_size
    while size:
        smaller = dataclasses.replace(settings, batch_size=size)
        if _fits(architecture, dataset, smaller, member, torch.device(device)):
            return size
        size //= 2
    return None


def _fits(
    architecture: Architecture, dataset: Dataset, settings: Settings, member: Member, device: torch.device
) -> bool:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        engine = make_engine(architecture, dataset, settings, [member], device)
        engine.begin_epoch(0)
        engine.step(torch.arange(settings.batch_size, device=device))
        engine.failures()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return False
        raise
    return True
