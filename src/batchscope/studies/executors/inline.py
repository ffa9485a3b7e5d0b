"""One cohort at a time in this process: for debugging, and for notebooks on a single core."""

from __future__ import annotations

import time

from batchscope.studies.executors.base import Executor, Finished, Job, OnProgress
from batchscope.studies.work import explain, perform


class InlineExecutor(Executor):
    """Trains in the calling process, with one thread; a cohort that raises is reported, one that kills the process
    takes the run with it."""

    capacity = 1

    def __init__(self, device: str) -> None:
        self._device = device
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
        try:
            results = perform(job, self._device, lambda *state: on_progress(job, *state))
        except Exception as error:
            return Finished(job, None, time.perf_counter() - began, explain(error))
        return Finished(job, tuple(results), time.perf_counter() - began)
