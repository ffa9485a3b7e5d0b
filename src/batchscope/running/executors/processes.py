"""One single-threaded worker process per core. A worker that dies is replaced and its cohort tried once more.

Plain subprocesses and pipes: concurrent.futures gives up the whole pool when one worker dies, and multiprocessing's
spawn runs the user's main script again in every worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection, wait

from batchscope.importing import module_path, safe_environment
from batchscope.running.executors.base import MAX_ATTEMPTS, Executor
from batchscope.running.job import Finished, Job, OnProgress

# The worker finds the modules that this process finds; see `module_path` for the one exception. Nothing is imported
# before its path is set.
_BOOT = """
import sys
sys.path[:] = sys.argv[3:]
from batchscope.running.executors.worker import main
main(int(sys.argv[1]), sys.argv[2])
"""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Worker:
    """A worker process and our end of its pipe."""

    def __init__(self, device: str) -> None:
        self.pipe: Connection
        self.pipe, theirs = multiprocessing.Pipe()
        # -P: an `operator.py` in the current directory is no part of Python.
        command = [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), device, *module_path()]
        # Its own session: Ctrl-C reaches only the parent, which then ends the workers in order.
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**safe_environment(), **_ONE_THREAD},
            start_new_session=True,
        )
        theirs.close()

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()

    def how_it_ended(self) -> str:
        """Wait for a process whose pipe has closed and say how it died."""
        code = self.process.wait()
        if code >= 0:
            return f"the worker process ended with exit status {code}"
        return f"the worker process was killed by signal {-code} ({signal.Signals(-code).name})"


@dataclasses.dataclass
class _Slot:
    """A place for one worker; the worker starts with its first job."""

    device: str
    worker: Worker | None = None
    job: Job | None = None
    attempt: int = 1
    began: float = 0.0

    def begin(self, job: Job, attempt: int) -> None:
        """Send the worker a job, starting one where there is none."""
        self.job, self.attempt, self.began = job, attempt, time.perf_counter()
        if self.worker is not None and self.worker.process.poll() is not None:
            self.discard()  # died while idle
        if self.worker is None:
            self.worker = Worker(self.device)
        # A worker that dies before reading this closes its pipe, which `wait` notices.
        with contextlib.suppress(OSError):
            self.worker.pipe.send(job)

    def discard(self) -> None:
        """End the worker; the next job starts another."""
        if self.worker is not None:
            self.worker.kill()
        self.worker = None


class ProcessExecutor(Executor):
    """`workers` processes of one thread each; on CUDA they take the devices in turn."""

    def __init__(self, workers: int, device: str) -> None:
        self.capacity, self.device = workers, device
        self._slots = [_Slot(name) for name in _devices(workers, device)]

    @property
    def running(self) -> int:
        return sum(slot.job is not None for slot in self._slots)

    def start(self, job: Job) -> None:
        next(slot for slot in self._slots if slot.job is None).begin(job, attempt=1)

    def wait(self, on_progress: OnProgress) -> Finished:
        while True:
            busy = {slot.worker.pipe: slot for slot in self._slots if slot.job is not None and slot.worker is not None}
            for pipe in wait(list(busy)):
                finished = self._receive(busy[pipe], on_progress)  # type: ignore[index]
                if finished is not None:
                    return finished

    def close(self) -> None:
        for slot in self._slots:
            slot.discard()
            slot.job = None

    def _receive(self, slot: _Slot, on_progress: OnProgress) -> Finished | None:
        """Take one message of a busy worker; return its job's end, if this is it."""
        assert slot.worker is not None
        assert slot.job is not None
        job = slot.job
        try:
            kind, *content = slot.worker.pipe.recv()
        except (EOFError, OSError):
            return self._replace(slot, job)
        if kind == "epoch":
            on_progress(job, *content)
            return None
        slot.job = None
        return Finished(job, *content)

    def _replace(self, slot: _Slot, job: Job) -> Finished | None:
        """Go on after a worker's end: try its job again, or return that it crashed."""
        assert slot.worker is not None
        message = slot.worker.how_it_ended()
        slot.discard()
        if slot.attempt < MAX_ATTEMPTS:
            slot.begin(job, slot.attempt + 1)
            return None
        slot.job = None
        return Finished(job, None, time.perf_counter() - slot.began, f"{message}, {slot.attempt} times")


def _devices(workers: int, device: str) -> list[str]:
    if device != "cuda":
        return [device] * workers
    import torch

    return [f"cuda:{index % torch.cuda.device_count()}" for index in range(workers)]
