"""What a worker does with a cohort: load the data once, train. Used alike inline and in worker processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscope.data import Dataset, load
from batchscope.errors import DataError
from batchscope.studies.config import Option, Study
from batchscope.training.settings import MemberResult

if TYPE_CHECKING:
    from batchscope.studies.executors.base import Job

OnEpoch = Callable[[int, int], None]


@dataclass(frozen=True)
class DataRequest:
    """The arguments of `batchscope.data.load`, hashable and small enough to send to a worker."""

    name: str
    data_dir: str | None
    num_examples: int | None
    seed: int
    options: tuple[tuple[str, Option], ...]

    @classmethod
    def of(cls, study: Study, data_dir: str | Path | None = None) -> DataRequest:
        options = tuple(sorted(study.dataset_options.items()))
        return cls(study.dataset, None if data_dir is None else str(data_dir), study.num_examples, study.seed, options)


@functools.lru_cache(maxsize=2)
def load_data(request: DataRequest) -> Dataset:
    """Load a data set, or return the one in memory; two are kept, as in a run of two studies."""
    return load(
        request.name,
        data_dir=request.data_dir,
        num_examples=request.num_examples,
        seed=request.seed,
        **dict[str, Any](request.options),
    )


def perform(job: Job, device: str, on_epoch: OnEpoch | None = None) -> list[MemberResult]:
    """Train a cohort with one thread, so that every executor gives the same numbers; results in order of members."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(job, device, on_epoch)
    finally:
        torch.set_num_threads(threads)


def train(job: Job, device: str, on_epoch: OnEpoch | None = None, **options: Any) -> list[MemberResult]:
    """Train a cohort on its data. options: of `train_cohort`. Out of memory becomes an error that says what fits."""
    from batchscope import training
    from batchscope.training.memory import exhausted, explain_exhaustion

    cohort, request = job.cohort, job.data
    dataset = load_data(request)
    if dataset.fingerprint != cohort.data.fingerprint:
        raise DataError(
            f"{request.name!r} changed while the study ran: fingerprint {dataset.fingerprint}, planned with "
            f"{cohort.data.fingerprint}; restore the data, or start over in another directory"
        )
    what = (cohort.architecture, dataset, cohort.settings, cohort.members)
    try:
        return training.train_cohort(*what, device=device, on_epoch=on_epoch, checkpoint=job.checkpoint, **options)
    except (RuntimeError, MemoryError) as error:
        if not exhausted(error):
            raise
    # Outside the handler, which would keep the tensors of the failed step alive.
    raise explain_exhaustion(*what, device)


def explain(error: BaseException) -> str:
    """Return an exception as the message of a crashed trial."""
    return f"{type(error).__name__}: {error}"
