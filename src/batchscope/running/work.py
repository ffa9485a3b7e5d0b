"""What a worker does with a cohort: load the data once, train. Used alike inline and in worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchscope.data import Dataset
from batchscope.data.dataset import fingerprint
from batchscope.errors import DataError
from batchscope.importing import look_in
from batchscope.running.job import Job
from batchscope.studies.dataset import load_data
from batchscope.training.settings import MemberResult

LONGEST_MESSAGE = 2000  # characters of an error that are kept with a trial: some libraries print whole tensors
OnEpoch = Callable[[int, int], None]


def perform(
    job: Job, device: str, on_epoch: OnEpoch | None = None, dataset: Dataset | None = None
) -> list[MemberResult]:
    """Train a cohort with one thread, so that every executor gives the same numbers; results in order of members.

    dataset: that of the job, where it came with it; otherwise it is loaded.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(job, device, on_epoch, dataset)
    finally:
        torch.set_num_threads(threads)


def train(
    job: Job, device: str, on_epoch: OnEpoch | None = None, dataset: Dataset | None = None, **options: Any
) -> list[MemberResult]:
    """Train a cohort on its data. options: of `train_cohort`. Out of memory becomes an error that says what fits."""
    from batchscope import training

    look_in(*job.folders)
    cohort, request = job.cohort, job.data
    dataset = load_data(request) if dataset is None else dataset
    if dataset.fingerprint != cohort.data.fingerprint:
        raise DataError(
            f"{request.name!r} changed while the study ran: fingerprint {dataset.fingerprint}, planned with "
            f"{cohort.data.fingerprint}; restore the data, or start over in another directory"
        )
    what = (cohort.architecture, dataset, cohort.settings, cohort.members)
    try:
        return training.train_cohort(*what, device=device, on_epoch=on_epoch, checkpoint=job.checkpoint, **options)
    except (RuntimeError, MemoryError) as error:
        from batchscope.gradients.subject.failures import is_out_of_memory
        from batchscope.training.memory import explain_exhaustion

        if not is_out_of_memory(error):
            raise
    # Outside the handler, which would keep the tensors of the failed step alive.
    raise explain_exhaustion(*what, device)


def explain(error: BaseException) -> str:
    """Return an exception as the message of a crashed trial."""
    return f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]


def data_checksum(dataset: Dataset) -> str:
    """Return a checksum of the arrays as they are trained on; `fingerprint` is that of the raw ones."""
    return fingerprint(dataset.inputs, dataset.targets, dataset.heldout_inputs, dataset.heldout_targets)
