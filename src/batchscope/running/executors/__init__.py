"""Where cohorts train: `inline` in this process, `processes` in one single-threaded process per core, `ray` on a
cluster; under torchrun one cohort at a time on all ranks together.

A new executor is one file beside this one, a subclass of `Executor`, and its line in EXECUTORS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from batchscope.errors import choose
from batchscope.running.devices import check_workers, resolve_device
from batchscope.running.executors.base import Executor, ExecutorOptions
from batchscope.running.executors.distributed import DistributedExecutor
from batchscope.running.executors.inline import InlineExecutor
from batchscope.running.executors.processes import ProcessExecutor
from batchscope.running.executors.ray import RayExecutor

# Name -> what makes it. What a user may ask for by name:
EXECUTORS: Mapping[str, Callable[[ExecutorOptions], Executor]] = {
    "processes": lambda options: ProcessExecutor(*options.here()),
    "inline": lambda options: InlineExecutor(options.here()[1]),
    "ray": RayExecutor,
}

__all__ = ["EXECUTORS", "Executor", "ProcessExecutor", "make_executor"]


def make_executor(name: str, options: ExecutorOptions) -> Executor:
    """Return the named executor; "torchrun" is chosen by running under it."""
    if name == "torchrun":
        return DistributedExecutor(resolve_device(options.device))
    choose("executor", name, EXECUTORS)
    if options.workers is not None:
        check_workers(options.workers)
    return EXECUTORS[name](options)
