"""`calibrate`: a few timings of a network on this machine, the time model through them, its error on one left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, nnls

from batchscope.analysis.formatting import duration, plain
from batchscope.errors import InputError
from batchscope.scaling import synchronising
from batchscope.scaling.time_model import MOST_OVERLAP, TimeModel, combine

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = NDArray[np.float64]

NUM_LOCAL_BATCHES = 5
LEAST_TIME = 1e-12  # seconds per example: a batch size whose cost could not be seen


@dataclass(frozen=True)
class Timings:
    """Seconds, each the least over many calls on a process, and of these the largest.

    processes: P, at once on `device` with `backend`. local_batches: [5] examples, ascending; computing: [5] of a step
    on every process without an exchange. sizes: [2] bytes; exchanging: [2] of an all-reduce of that many. steps: [2] of
    a whole step with its exchange at the third and at the fourth local batch. The last three are empty for one process.
    """

    processes: int
    device: str
    backend: str
    local_batches: tuple[int, ...]
    computing: tuple[float, ...]
    sizes: tuple[int, ...] = ()
    exchanging: tuple[float, ...] = ()
    steps: tuple[float, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """model: through the timings but for one, a step at the fourth local batch (with its exchange, on several
    processes): predicted and measured seconds of that; error: predicted/measured - 1."""

    model: TimeModel
    timings: Timings
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1

    @property
    def sentence(self) -> str:
        """What was left out, and how well it was predicted."""
        timings = self.timings
        where = "one process" if timings.processes == 1 else f"{timings.processes} processes"
        return (
            f"held out: a step of {timings.local_batches[-2]} examples on each of {where}"
            f" took {duration(self.measured)}, predicted {duration(self.predicted)} ({self.error:+.0%})"
        ).replace("each of one process", "one process")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"model": self.model.as_dict(), "timings": plain(vars(self.timings)), "held_out": self.sentence}

    def __str__(self) -> str:
        return f"{self.model}\n{self.sentence}"


def calibrate(
    module: nn.Module,
    loss: Any,
    inputs: Tensor,
    targets: Tensor,
    *,
    local_batches: Sequence[int] | None = None,
    processes: int = 2,
    device: str = "auto",
    pattern: str = "ring",
    bandwidth: float | None = None,
    latency: float | None = None,
    max_local_batch: float = math.inf,
    seconds: float = 3.0,
) -> Calibration:
    """Time training steps of `module` (a copy; it is not changed) and fit T(B, P) to them.

    Under torchrun every process calls this and gets the same answer; its processes are then the ones that are timed.
    Otherwise `processes` are started on this machine (gloo, or nccl where there is a CUDA device for each), and the
    module and the loss must be importable from another process; 1: nothing is exchanged, and `bandwidth` (bytes/s) and
    `latency` (s) describe the links. Given, they stand in for measured ones too, as for links this machine has not.

    loss(outputs, targets): its mean is differentiated. inputs, targets: some examples, repeated for larger batches.
    local_batches: five, ascending; by default up to 256 or the examples given. seconds: about how long to take.
    Computing is a least-squares fit of relative errors with a, c >= 0; latency and bandwidth solve the two all-reduces;
    γ is the one that gives the step at the third local batch. Raises InputError for sizes that cannot be used.
    """
    from batchscope.scaling import timing

    sizes = tuple(local_batches) if local_batches is not None else _default_batches(len(inputs))
    _check(sizes, processes, seconds)
    job = timing.TimingJob(module, loss, inputs, targets, sizes, processes, device, seconds)
    number, per = sum(p.numel() for p in module.parameters()), next(module.parameters()).element_size()
    return fit(timing.measure(job), number, per, pattern, bandwidth, latency, max_local_batch)


def _default_batches(num_examples: int) -> tuple[int, ...]:
    """Five powers of two, the largest 256, or less where there are fewer examples (at least 16)."""
    top = int(np.clip(math.log2(max(num_examples, 1)), NUM_LOCAL_BATCHES - 1, 8))
    return tuple(2 ** (top - k) for k in reversed(range(NUM_LOCAL_BATCHES)))


def _check(sizes: tuple[int, ...], processes: int, seconds: float) -> None:
    if len(sizes) != NUM_LOCAL_BATCHES or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise InputError(f"local_batches {sizes}; expected {NUM_LOCAL_BATCHES} numbers of examples, ascending")
    if processes < 1:
        raise InputError(f"processes = {processes}; expected at least 1")
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds = {seconds}; expected a time above 0")


def fit(
    timings: Timings,
    num_parameters: int,
    bytes_per_parameter: int = 4,
    pattern: str = "ring",
    bandwidth: float | None = None,
    latency: float | None = None,
    max_local_batch: float = math.inf,
) -> Calibration:
    """The time model through the timings, and its error on the one left out. Pure: timings in, model out."""
    used = np.array([k != NUM_LOCAL_BATCHES - 2 for k in range(NUM_LOCAL_BATCHES)])
    overhead, per_example = _computing(np.array(timings.local_batches)[used], np.array(timings.computing)[used])
    measured_latency, measured_bandwidth = _exchanging(timings, pattern)
    model = TimeModel(
        overhead=overhead,
        per_example=per_example,
        num_parameters=num_parameters,
        bandwidth=measured_bandwidth,
        latency=measured_latency,
        pattern=pattern,
        bytes_per_parameter=bytes_per_parameter,
        max_local_batch=max_local_batch,
        measured_workers=timings.processes,
    )
    model = _changed(model, overlap=_overlap(model, timings))
    predicted = float(model.step(timings.processes * timings.local_batches[-2], timings.processes))
    measured = timings.steps[1] if timings.steps else timings.computing[-2]
    found = _changed(
        model,
        held_out_error=predicted / measured - 1,
        bandwidth=model.bandwidth if bandwidth is None else bandwidth,
        latency=model.latency if latency is None else latency,
        origin=_origin(timings, bandwidth is not None or latency is not None),
    )
    return Calibration(found, timings, predicted, measured)


def _changed(model: TimeModel, **changes: Any) -> TimeModel:
    return TimeModel(**{**vars(model), **changes})


def _origin(timings: Timings, given: bool) -> str:
    where = "one process" if timings.processes == 1 else f"{timings.processes} processes, {timings.backend}"
    return f"timed on {timings.device}, {where}" + ("; links as given" if given else "")


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


def _overlap(model: TimeModel, timings: Timings) -> float:
    """The γ that gives the first whole step, between 1 and 10."""
    if not timings.steps:
        return 1.0
    computing = model.computing(timings.local_batches[2])
    exchanging = model.exchanging(timings.processes)

    def excess(overlap: float) -> float:
        return float(combine(computing, exchanging, overlap)) / timings.steps[0] - 1

    if excess(1.0) <= 0:
        return 1.0
    return MOST_OVERLAP if excess(MOST_OVERLAP) >= 0 else float(brentq(excess, 1.0, MOST_OVERLAP))
