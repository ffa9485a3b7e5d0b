"""The worker process: receives jobs over a pipe, trains them one by one, and ends with its parent."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchscope.running.job import Job

# Seconds between two progress messages: often enough to watch, rare enough to cost nothing.
PROGRESS_INTERVAL = 0.25


def main(descriptor: int, device: str) -> None:
    """Serve jobs from the pipe with this file descriptor until its other end closes."""
    pipe: Connection = Connection(descriptor)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, jobs), daemon=True).start()
    while True:
        _serve(pipe, jobs.get(), device)


def _receive(pipe: Connection, jobs: queue.SimpleQueue[Job]) -> None:
    """Pass jobs on; when the parent is gone, however it went, end this process in the middle of whatever it does."""
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


def _serve(pipe: Connection, job: Job, device: str) -> None:
    from batchscope.running.work import explain, perform

    began = last = time.perf_counter()

    def on_epoch(epochs_done: int, members_running: int) -> None:
        nonlocal last
        if time.perf_counter() - last > PROGRESS_INTERVAL:
            last = time.perf_counter()
            pipe.send(("epoch", epochs_done, members_running))

    try:
        results, message = tuple(perform(job, device, on_epoch)), ""
    except Exception as error:
        results, message = None, explain(error)
    # Nothing can be sent to a parent that is gone; `_receive` then ends this process.
    with contextlib.suppress(OSError):
        pipe.send(("end", results, time.perf_counter() - began, message))
