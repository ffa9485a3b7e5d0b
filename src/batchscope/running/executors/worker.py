"""The worker process: receives jobs over a pipe, trains them one by one, and ends with its parent. `serve`, what any
worker does with a job, is also what the actors of Ray do."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from batchscope.running.freed_memory import keep_freed_memory, return_freed_memory

if TYPE_CHECKING:
    from batchscope.data import Dataset
    from batchscope.running.job import Job
    from batchscope.running.work import OnEpoch

# ("epoch", epochs done, members running) now and then; at last ("end", results or None, seconds, why it crashed).
Message = tuple[Any, ...]

# Seconds between two progress messages: often enough to watch, rare enough to cost nothing.
PROGRESS_INTERVAL = 0.25


def main(descriptor: int, device: str) -> None:
    """Serve jobs from the pipe with this file descriptor until its other end closes."""
    pipe: Connection = Connection(descriptor)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, jobs), daemon=True).start()
    keep_freed_memory()

    def send(message: Message) -> None:
        # Nothing can be sent to a parent that is gone; `_receive` then ends this process.
        with contextlib.suppress(OSError):
            pipe.send(message)

    while True:
        serve(jobs.get(), device, send)


def _receive(pipe: Connection, jobs: queue.SimpleQueue[Job]) -> None:
    """Pass jobs on; when the parent is gone, however it went, end this process in the middle of whatever it does."""
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


def serve(
    job: Job,
    device: str,
    send: Callable[[Message], None],
    dataset: Dataset | None = None,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train a job and send what becomes of it. dataset: its data, loaded if None; on_epoch: called at every epoch."""
    from batchscope.running.work import explain, perform

    began = last = time.perf_counter()

    def note(epochs_done: int, members_running: int) -> None:
        nonlocal last
        if on_epoch is not None:
            on_epoch(epochs_done, members_running)
        if time.perf_counter() - last > PROGRESS_INTERVAL:
            last = time.perf_counter()
            send(("epoch", epochs_done, members_running))

    try:
        results, message = tuple(perform(job, device, note, dataset)), ""
    except (Exception, SystemExit) as error:  # a network of the user's own may call exit
        results, message = None, explain(error)
    return_freed_memory()
    send(("end", results, time.perf_counter() - began, message))
