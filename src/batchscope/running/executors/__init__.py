"""Where cohorts train: `inline` in this process, `processes` in one single-threaded process per core; under torchrun
one cohort at a time on all ranks together."""

from __future__ import annotations

from batchscope.errors import InputError, choose
from batchscope.running.executors.base import Executor
from batchscope.running.executors.distributed import DistributedExecutor
from batchscope.running.executors.inline import InlineExecutor
from batchscope.running.executors.processes import ProcessExecutor

EXECUTORS = ("processes", "inline")

__all__ = ["EXECUTORS", "Executor", "ProcessExecutor", "make_executor"]


def make_executor(name: str, workers: int, device: str) -> Executor:
    """Return the named executor; `device` is "cpu" or "cuda"."""
    if name == "torchrun":
        return DistributedExecutor(device)
    choose("executor", name, EXECUTORS)
    if workers < 1:
        raise InputError(f"workers = {workers}; expected at least 1")
    return InlineExecutor(device) if name == "inline" else ProcessExecutor(workers, device)
