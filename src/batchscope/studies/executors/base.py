"""What every executor promises: jobs in, one outcome for each job out, whatever happens to a worker."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

from batchscope.studies.trial import Cohort
from batchscope.studies.work import DataRequest
from batchscope.training.settings import MemberResult


@dataclass(frozen=True)
class Job:
    """A cohort to train on requested data, going on from its checkpoint if there is one."""

    cohort: Cohort
    data: DataRequest
    checkpoint: str | None = None  # file for the state between epochs


@dataclass(frozen=True)
class Finished:
    """The end of a job. results: in the order of the members, or None when it crashed; then `message` says why."""

    job: Job
    results: tuple[MemberResult, ...] | None
    seconds: float
    message: str = ""


# Called with (job, epochs done, members still running).
OnProgress = Callable[[Job, int, int], None]


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
