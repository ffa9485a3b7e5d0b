"""The numbers of a time model, fitted to a few timings: computing by least squares, links and overlap exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, nnls

from batchscope.analysis.sweeps import Array
from batchscope.errors import InputError
from batchscope.scaling import synchronising
from batchscope.scaling.synchronising import MOST_OVERLAP, combine
from batchscope.scaling.timings import Timings

NUM_LOCAL_BATCHES = 5
HELD_OUT = 3  # the local batch whose timings are not used
MOST_PROCESSES = 128  # started here at once, on one machine
LEAST_TIME = 1e-12  # seconds: less cannot be seen


@dataclass(frozen=True)
class FittedTimes:
    """overhead: a, per_example: c, latency: α and handling: h, in seconds; bandwidth: W, bytes/s; overlap: γ."""

    overhead: float
    per_example: float
    bandwidth: float
    latency: float
    overlap: float
    handling: float = 0.0


def fit(timings: Timings, size: float, pattern: str = "ring") -> FittedTimes:
    """The numbers through all timings but those at the fourth local batch. size: bytes of one gradient.

    Computing is a least-squares fit of relative errors with a, c >= 0; latency and bandwidth solve the two all-reduces,
    had they gone by `pattern`. The whole step at the third local batch says the rest: γ where it took less than
    computing and the all-reduce one after the other, handling h where it took more.
    """
    used = np.arange(NUM_LOCAL_BATCHES) != HELD_OUT
    overhead, per_example = _computing(np.array(timings.local_batches)[used], np.array(timings.computing)[used])
    latency, bandwidth = _exchanging(timings, pattern)
    exchanging = synchronising.seconds(pattern, timings.processes, size, bandwidth, latency)
    overlap, handling = _together(np.asarray(timings.computing[2]), exchanging, timings)
    return FittedTimes(overhead, per_example, bandwidth, latency, overlap, handling)


def default_batches(num_examples: int) -> tuple[int, ...]:
    """Five powers of two, the largest 256, or less where there are fewer examples (at least 16)."""
    top = int(np.clip(math.log2(max(num_examples, 1)), NUM_LOCAL_BATCHES - 1, 8))
    return tuple(2 ** (top - k) for k in reversed(range(NUM_LOCAL_BATCHES)))


def check(sizes: tuple[int, ...], processes: int, seconds: float) -> None:
    """Raise InputError for local batches, a number of processes or a time with which nothing can be timed."""
    if len(sizes) != NUM_LOCAL_BATCHES or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise InputError(f"local_batches {sizes}; expected {NUM_LOCAL_BATCHES} numbers of examples, ascending")
    if not 1 <= processes <= MOST_PROCESSES:
        raise InputError(
            f"processes = {processes}; expected 1 to {MOST_PROCESSES}; torchrun starts more, on more machines"
        )
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds = {seconds}; expected a time above 0")


def _computing(local_batches: Array, seconds: Array) -> tuple[float, float]:
    """(a, c) >= 0 with the least sum of squared relative errors."""
    rows = np.stack([np.ones(len(seconds)), local_batches], axis=1) / seconds[:, None]
    (overhead, per_example), _ = nnls(rows, np.ones(len(seconds)))
    return float(overhead), max(float(per_example), LEAST_TIME)


def _exchanging(timings: Timings, pattern: str) -> tuple[float, float]:
    """(α, W) that give the two all-reduces, had they gone by `pattern`; (0, inf) for one process."""
    if not timings.exchanging:
        return 0.0, math.inf
    messages, passes = (float(count) for count in synchronising.counts(pattern, timings.processes))
    small, large = timings.sizes
    per_byte = max(timings.exchanging[1] - timings.exchanging[0], 0.0) / (large - small)
    bandwidth = passes / per_byte if per_byte > 0 else math.inf
    rest = max(timings.exchanging[0] - per_byte * small, 0.0)
    return (rest / messages if messages else 0.0), bandwidth


def _together(computing: Array, exchanging: Array, timings: Timings) -> tuple[float, float]:
    """(γ, h) that give the first whole step: h = 0 where some γ of 1 to 10 does, else γ = 1 or 10.

    computing: seconds of the same step without an exchange, as timed.
    """
    if not timings.steps:
        return 1.0, 0.0

    def excess(overlap: float) -> float:
        return float(combine(computing, exchanging, overlap)) / timings.steps[0] - 1

    if excess(1.0) <= 0:
        handling = timings.steps[0] - float(computing + exchanging)
        return 1.0, handling if handling > LEAST_TIME else 0.0
    return (MOST_OVERLAP if excess(MOST_OVERLAP) >= 0 else float(brentq(excess, 1.0, MOST_OVERLAP))), 0.0
