"""What every executor promises: jobs in, one outcome for each job out, whatever happens to a worker."""

from __future__ import annotations

import abc

from batchscope.running.job import Finished, Job, OnProgress


class Executor(abc.ABC):
    """Trains up to `capacity` cohorts at once. A context manager; leaving it ends all its workers."""

    capacity: int

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
