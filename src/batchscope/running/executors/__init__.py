"""Where cohorts train: `inline` in this process, `processes` in one single-threaded process per core; under torchrun
one cohort at a time on all ranks together.

A new executor is one file beside this one, a subclass of `Executor`, and its line in EXECUTORS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from batchscope.errors import InputError, choose
from batchscope.running.executors.base import Executor
from batchscope.running.executors.distributed import DistributedExecutor
from batchscope.running.executors.inline import InlineExecutor
from batchscope.running.executors.processes import ProcessExecutor

# Name -> what makes it from (workers, device), the device "cpu" or "cuda". What a user may ask for by name:
EXECUTORS: Mapping[str, Callable[[int, str], Executor]] = {
    "processes": ProcessExecutor,
    "inline": lambda _, device: InlineExecutor(device),
}

__all__ = ["EXECUTORS", "Executor", "ProcessExecutor", "make_executor"]


def make_executor(name: str, workers: int, device: str) -> Executor:
    """Return the named executor; "torchrun" is chosen by running under it. `device` is "cpu" or "cuda"."""
    if name == "torchrun":
        return DistributedExecutor(device)
    choose("executor", name, EXECUTORS)
    if workers < 1:
        raise InputError(f"workers = {workers}; expected at least 1")
    return EXECUTORS[name](workers, device)
