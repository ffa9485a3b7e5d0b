"""One cohort at a time in this process: for debugging, and for notebooks on a single core."""

from __future__ import annotations

import time

from batchscope.running.executors.base import Executor
from batchscope.running.freed_memory import return_freed_memory
from batchscope.running.job import Finished, Job, OnProgress
from batchscope.running.work import OnEpoch, explain, perform
from batchscope.training.settings import MemberResult

# (results, "") or, when the cohort raised an error, (None, why).
Performed = tuple[tuple[MemberResult, ...] | None, str]


class InlineExecutor(Executor):
    """Trains in the calling process, with one thread; a cohort that raises is reported, one that kills the process
    takes the run with it."""

    capacity = 1

    def __init__(self, device: str) -> None:
        self.device = device
        self._job: Job | None = None

    @property
    def running(self) -> int:
        return int(self._job is not None)

    def start(self, job: Job) -> None:
        self._job = job

    def close(self) -> None:
        self._job = None

    def wait(self, on_progress: OnProgress) -> Finished:
        job, self._job = self._job, None
        if job is None:
            raise RuntimeError("nothing was started")
        began = time.perf_counter()
        results, message = self._perform(job, lambda *state: on_progress(job, *state))
        return_freed_memory()
        return Finished(job, results, time.perf_counter() - began, message)

    def _perform(self, job: Job, on_epoch: OnEpoch) -> Performed:
        try:
            return tuple(perform(job, self.device, on_epoch)), ""
        except Exception as error:
            return None, explain(error)
