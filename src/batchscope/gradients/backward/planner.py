"""The planner: times the kernels that apply to a layer's shape once, on the real tensors, and keeps the fastest.

A choice is data: it prints, and it is kept per process for every later layer of the same shape.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from batchscope.gradients.kernels import Kernel, Result, candidates
from batchscope.gradients.rules.lazy_gradients import Use

# Bytes of scratch memory. Larger chunks were not faster on CPU (they leave the cache), and LeNet's pass would double.
DEFAULT_MEMORY_BUDGET = 12 * 2**20
CLOSE, ROUNDS = 4.0, 3  # kernels within this factor of the fastest after one run are run this often again
HOPELESS = 12.0  # candidates with this many times the least number of operations are not timed


@dataclass(frozen=True)
class KernelChoice:
    """layer: kind and sizes. kernel: the fastest for them. seconds: kernel -> time measured on a batch of
    `num_examples`; empty: no rival. scratch_bytes: memory the kernel needs per example while it runs."""

    layer: str
    kernel: str
    seconds: dict[str, float]
    num_examples: int
    scratch_bytes: int


_CHOICES: dict[tuple[object, ...], tuple[KernelChoice, Kernel, int]] = {}  # with the kernel and its bytes per example


@dataclass
class Planner:
    """Runs Uses by the best kernel within `memory_budget` bytes, one chunk of examples at a time."""

    memory_budget: int = DEFAULT_MEMORY_BUDGET
    choices: dict[tuple[object, ...], KernelChoice] = field(default_factory=dict)

    def run(self, use: Use) -> tuple[Result, KernelChoice]:
        """(squared norms [N], sum [*shape]) of `use`, and how it was computed."""
        choice, kernel, chunk = self._chosen(use, norms_alone=False)
        return kernel.run(use, chunk), choice

    def norms(self, use: Use) -> tuple[Tensor, KernelChoice]:
        """Squared norms [N] of `use` alone, and how they were computed."""
        choice, kernel, chunk = self._chosen(use, norms_alone=True)
        return kernel.norms(use, chunk), choice

    def _chosen(self, use: Use, norms_alone: bool) -> tuple[KernelChoice, Kernel, int]:
        key = (use.signature, torch.get_num_threads(), self.memory_budget, norms_alone)
        if key not in _CHOICES:
            _CHOICES[key] = self._choose(use, norms_alone)
        choice, kernel, size = _CHOICES[key]
        self.choices[key] = choice
        return choice, kernel, self._chunk(size, use)

    def _choose(self, use: Use, norms_alone: bool) -> tuple[KernelChoice, Kernel, int]:
        kernels = list(self._admissible(use))
        seconds = self._race(kernels, use, norms_alone) if len(kernels) > 1 else {}
        best = min(kernels, key=lambda kernel: seconds.get(kernel.name, 0.0))
        size = _bytes(best, use)
        return KernelChoice(_layer(use), best.name, seconds, use.num_examples, size), best, size

    def _race(self, kernels: list[Kernel], use: Use, norms_alone: bool) -> dict[str, float]:
        """Kernel -> least seconds of several runs. The first run warms up and sorts out the slow; the rest take turns,
        so that a disturbance of the machine hits all alike."""
        seconds = {kernel.name: self._time(kernel, use, norms_alone) for kernel in kernels}
        close = [kernel for kernel in kernels if seconds[kernel.name] <= CLOSE * min(seconds.values())]
        for _ in range(ROUNDS):
            for kernel in close:
                seconds[kernel.name] = min(seconds[kernel.name], self._time(kernel, use, norms_alone))
        return seconds

    def _admissible(self, use: Use) -> Iterator[Kernel]:
        """Kernels whose scratch memory for one example fits; the most economical one when none does."""
        kernels = candidates(use)
        fitting = [kernel for kernel in kernels if _bytes(kernel, use) <= self.memory_budget]
        fitting = fitting or [min(kernels, key=lambda kernel: kernel.scratch(use))]
        least = min(kernel.flops(use) for kernel in fitting)
        return (kernel for kernel in fitting if kernel.flops(use) <= HOPELESS * least)

    def _time(self, kernel: Kernel, use: Use, norms_alone: bool) -> float:
        """Seconds of one run."""
        chunk = self._chunk(_bytes(kernel, use), use)
        _synchronise(use)
        run = kernel.norms if norms_alone else kernel.run
        start = time.perf_counter()
        run(use, chunk)
        _synchronise(use)
        return time.perf_counter() - start

    def _chunk(self, bytes_per_example: int, use: Use) -> int:
        """Examples at a time: as few pieces as fit the budget, of equal size."""
        fitting = max(1, min(use.num_examples, self.memory_budget // max(bytes_per_example, 1)))
        return math.ceil(use.num_examples / math.ceil(use.num_examples / fitting))


def _bytes(kernel: Kernel, use: Use) -> int:
    dtype = use.signature[-2]
    assert isinstance(dtype, torch.dtype)
    return kernel.scratch(use) * dtype.itemsize


def _synchronise(use: Use) -> None:
    if "cuda" in str(use.signature[-1]):
        torch.cuda.synchronize()


def _layer(use: Use) -> str:
    kind, *sizes = use.signature[:-2]
    return f"{kind} " + " ".join(str(size).replace(" ", "") for size in sizes)
