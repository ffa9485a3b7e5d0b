"""What every executor promises: jobs in, one outcome for each job out, whatever happens to a worker."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from batchscope.errors import InputError
from batchscope.running.devices import default_workers, resolve_device
from batchscope.running.job import Finished, Job, OnProgress

# How often a cohort is begun whose worker dies, before its trials are recorded as crashed.
MAX_ATTEMPTS = 2


@dataclass(frozen=True)
class ExecutorOptions:
    """What a run asks of its executor.

    workers: None for as many as there is room for. device: "auto", "cpu" or "cuda". checkpoints: see
    `executors.ray.CHECKPOINTS`; None where the user said nothing.
    """

    workers: int | None = None
    device: str = "auto"
    checkpoints: str | None = None

    def here(self) -> tuple[int, str]:
        """(workers, "cpu" or "cuda") on this machine."""
        if self.checkpoints is not None:
            raise InputError(f"checkpoints = {self.checkpoints!r} is an option of the executor ray; leave it out here")
        device = resolve_device(self.device)
        return self.workers or default_workers(device), device


class Executor(abc.ABC):
    """Trains up to `capacity` cohorts at once on `device`s, "cpu" or "cuda". A context manager; leaving it ends all
    its workers."""

    capacity: int
    device: str

    @property
    @abc.abstractmethod
    def running(self) -> int:
        """Jobs started and not yet returned by `wait`."""

    @abc.abstractmethod
    def start(self, job: Job) -> None:
        """Begin a job; only while running < capacity."""

    @abc.abstractmethod
    def wait(self, on_progress: OnProgress) -> Finished:
        """Return the next job that ends; only while running > 0."""

    @abc.abstractmethod
    def close(self) -> None:
        """End all workers now, dropping what they were doing."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
