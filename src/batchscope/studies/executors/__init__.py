"""Where cohorts train: `inline` in this process, `processes` in one single-threaded process per core; under torchrun
one cohort at a time on all ranks together."""

from __future__ import annotations

from batchscope.errors import InputError, choose
from batchscope.studies.executors.base import Executor, Finished, Job
from batchscope.studies.executors.distributed import DistributedExecutor
from batchscope.studies.executors.inline import InlineExecutor
from batchscope.studies.executors.processes import ProcessExecutor

EXECUTORS = ("processes", "inline")

__all__ = ["EXECUTORS", "Executor", "Finished", "InlineExecutor", "Job", "ProcessExecutor", "make_executor"]


def make_executor(name: str, workers: int, device: str) -> Executor:
    """Return the named executor; `device` is "cpu" or "cuda"."""
    if name == "torchrun":
        return DistributedExecutor(device)
    choose("executor", name, EXECUTORS)
    if workers < 1:
        raise InputError(f"workers = {workers}; expected at least 1")
    return InlineExecutor(device) if name == "inline" else ProcessExecutor(workers, device)
