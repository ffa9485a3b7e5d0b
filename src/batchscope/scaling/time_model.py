"""`TimeModel`: seconds per step of one network on P workers, and where its numbers come from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchscope.analysis.formatting import duration, fields_of, grouped, plain
from batchscope.analysis.sweeps import Array
from batchscope.errors import InputError, choose
from batchscope.scaling import calibration, synchronising
from batchscope.scaling.calibration import HELD_OUT
from batchscope.scaling.domain import LEAST, MOST, is_positive
from batchscope.scaling.synchronising import combine
from batchscope.scaling.timings import Timings
from batchscope.writing import write_text

if TYPE_CHECKING:
    from torch import Tensor, nn


TRUSTED = 4  # beyond this many times the workers measured, an answer is "extrapolated"


@dataclass(frozen=True)
class TimeModel:
    """T(B, P) = ((a + c b)^γ + T_sync^γ)^(1/γ) seconds per step of B examples on P workers, b = B/P on each.

    overhead: a, seconds of every step whatever the batch. per_example: c, seconds per example of a worker's batch.
    num_parameters: N, of `bytes_per_parameter` s each, exchanged at every step by `pattern` ("ring", "tree" or
    "parameter_server", see `synchronising`) over links of `bandwidth` W (bytes/s) and `latency` α (s).
    overlap: γ from 1 (exchange after computing) to 10 (nearly the longer of the two): Qiao et al. 2021 (Pollux, OSDI),
    section 3.2. max_local_batch: the most examples one worker's memory takes at once.
    handling: h, seconds that an exchange takes besides the links, whatever P > 1: packing the gradient, hooks, waiting
    for the slower worker; part of T_sync.
    measured_workers: the largest P that was timed; 1: the exchange is not measured but given.
    held_out_error: relative error of the prediction of the one timing left out of the calibration; NaN without one.
    origin: in words, where the numbers come from.
    """

    overhead: float
    per_example: float
    num_parameters: int
    bandwidth: float = math.inf
    latency: float = 0.0
    overlap: float = 1.0
    handling: float = 0.0
    pattern: str = "ring"
    bytes_per_parameter: int = 4
    max_local_batch: float = math.inf
    measured_workers: int = 1
    held_out_error: float = math.nan
    origin: str = "given"

    def __post_init__(self) -> None:
        choose("pattern", self.pattern, synchronising.PATTERNS)
        for name, value, usable, expected in self._domains():
            if not usable:
                raise InputError(f"{name} = {value!r} in a time model; expected {expected}")

    def _domains(self) -> list[tuple[str, Any, bool, str]]:
        """(name, value, whether it can be used, what can)."""
        at_least_0, range_ = f"a number of seconds from 0 to {MOST:g}", f"from {LEAST:g} to {MOST:g}"
        return [
            ("overhead", self.overhead, 0 <= self.overhead <= MOST, at_least_0),
            ("per_example", self.per_example, is_positive(self.per_example), f"a number of seconds {range_}"),
            ("latency", self.latency, 0 <= self.latency <= MOST, at_least_0),
            ("handling", self.handling, 0 <= self.handling <= MOST, at_least_0),
            ("bandwidth", self.bandwidth, self.bandwidth >= LEAST, f"bytes per second, at least {LEAST:g}"),
            ("overlap", self.overlap, 1 <= self.overlap <= MOST, "γ of 1 (no overlap) or more"),
            ("num_parameters", self.num_parameters, 1 <= self.num_parameters <= MOST, f"1 to {MOST:g}"),
            ("bytes_per_parameter", self.bytes_per_parameter, 1 <= self.bytes_per_parameter <= MOST, "at least 1"),
            ("max_local_batch", self.max_local_batch, self.max_local_batch >= 1, "at least 1 example"),
            ("measured_workers", self.measured_workers, 1 <= self.measured_workers <= MOST, "at least 1"),
        ]

    @property
    def size(self) -> int:
        """Bytes of one gradient, N s."""
        return self.num_parameters * self.bytes_per_parameter

    def computing(self, local_batch: ArrayLike) -> Array:
        """a + c b: seconds for b examples on one worker."""
        return np.asarray(self.overhead + self.per_example * np.asarray(local_batch, dtype=float))

    def exchanging(self, workers: ArrayLike) -> Array:
        """T_sync: seconds for exchanging the gradient among P workers; 0 for one."""
        links = synchronising.seconds(self.pattern, workers, self.size, self.bandwidth, self.latency)
        return links + np.where(np.asarray(workers) > 1, self.handling, 0.0)

    def step(self, batch_size: ArrayLike, workers: ArrayLike) -> Array:
        """T(B, P) in seconds; arguments broadcast.

        >>> model = TimeModel(overhead=0.002, per_example=1e-4, num_parameters=250_000, bandwidth=1e9, latency=5e-5)
        >>> model.step(256, [1, 8]).round(5).tolist()  # 0.002 + 256e-4, and 0.002 + 32e-4 + 14 x 5e-5 + 1.75 x 1e6/1e9
        [0.0276, 0.00765]
        """
        size, several = np.asarray(batch_size, dtype=float), np.asarray(workers, dtype=float)
        return combine(self.computing(size / several), self.exchanging(several), self.overlap)

    def is_extrapolated(self, workers: ArrayLike) -> NDArray[np.bool_]:
        """Whether P lies beyond 4 times the workers that were timed."""
        return np.asarray(workers) > TRUSTED * self.measured_workers

    @classmethod
    def calibrate(
        cls,
        module: nn.Module,
        loss: Any,
        inputs: Tensor,
        targets: Tensor,
        *,
        local_batches: Sequence[int] | None = None,
        processes: int = 2,
        device: str = "auto",
        seconds: float = 3.0,
        **assumed: Any,
    ) -> Calibration:
        """Time training steps of `module` (a copy; it is not changed) and fit T(B, P) to them.

        Under torchrun every process calls this and gets the same answer; its processes are then the ones that are
        timed. Otherwise `processes` are started on this machine (gloo, or nccl where there is a CUDA device for each),
        and the module and the loss must be importable from another process; with 1 nothing is exchanged.

        loss(outputs, targets): its mean is differentiated. inputs, targets: some examples, repeated for larger batches.
        local_batches: five, ascending; by default up to 256 or the examples given. seconds: about how long to take.
        assumed: pattern, bandwidth, latency and max_local_batch, see `through`. Raises InputError for sizes that cannot
        be used.
        """
        from batchscope.scaling import timing

        sizes = tuple(local_batches) if local_batches is not None else calibration.default_batches(len(inputs))
        calibration.check(sizes, processes, seconds)
        job = timing.TimingJob(module, loss, inputs, targets, sizes, processes, device, seconds)
        number, per = sum(p.numel() for p in module.parameters()), next(module.parameters()).element_size()
        return cls.through(timing.measure(job), number, per, **assumed)

    @classmethod
    def through(
        cls,
        timings: Timings,
        num_parameters: int,
        bytes_per_parameter: int = 4,
        *,
        pattern: str = "ring",
        bandwidth: float | None = None,
        latency: float | None = None,
        max_local_batch: float = math.inf,
    ) -> Calibration:
        """The model through the timings, and its error on the one left out (see `calibration.fit`).

        bandwidth (bytes/s), latency (s): given, they stand in for measured ones, as for links this machine has not.
        """
        fitted = calibration.fit(timings, num_parameters * bytes_per_parameter, pattern)
        model = cls(
            **vars(fitted),
            num_parameters=num_parameters,
            pattern=pattern,
            bytes_per_parameter=bytes_per_parameter,
            max_local_batch=max_local_batch,
            measured_workers=timings.processes,
        )
        predicted = float(model.step(timings.processes * timings.local_batches[HELD_OUT], timings.processes))
        measured = timings.steps[1] if timings.steps else timings.computing[HELD_OUT]
        found = dataclasses.replace(
            model,
            held_out_error=predicted / measured - 1,
            bandwidth=model.bandwidth if bandwidth is None else bandwidth,
            latency=model.latency if latency is None else latency,
            origin=timings.origin + ("" if bandwidth is latency is None else "; links as given"),
        )
        return Calibration(found, timings, predicted, measured)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinities are None."""
        return fields_of(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> TimeModel:
        """The inverse of `as_dict`; InputError for a record that is none."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        required = [name for name, field in known.items() if field.default is dataclasses.MISSING]
        if not isinstance(record, dict) or any(record.get(name) is None for name in required):
            raise InputError(f"a time model needs the fields {', '.join(required)}; got {str(record)[:200]!r}")
        for name in record:
            choose("field of a time model", name, known)
        given = {name: value for name, value in record.items() if value is not None}
        for name, value in given.items():
            expected = str if name in ("pattern", "origin") else (int, float)
            if not isinstance(value, expected) or isinstance(value, bool):
                raise InputError(
                    f"{name} = {value!r} in a time model; expected {'text' if expected is str else 'a number'}"
                )
        return cls(**given)

    def save(self, path: str | Path) -> None:
        """Write it as JSON; StoreError where that cannot be done."""
        write_text(path, json.dumps(self.as_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> TimeModel:
        """Read what `save` wrote; InputError for anything else."""
        return cls.from_dict(read_json(path))

    def __str__(self) -> str:
        size = "" if math.isinf(self.max_local_batch) else f"; at most {self.max_local_batch:g} examples per worker"
        handling = f" + {duration(self.handling)} of handling" if self.handling else ""
        return (
            f"{duration(self.overhead)} + {duration(self.per_example)} per example; {grouped(self.num_parameters)} "
            f"parameters of {self.bytes_per_parameter} bytes; {self.links}{handling}; γ = {self.overlap:.3g}{size} "
            f"({self.origin})"
        )

    @property
    def links(self) -> str:
        """``ring over 1.25 GB/s, 50 µs per message``."""
        return f"{self.pattern.replace('_', ' ')} over {rate(self.bandwidth)}, {duration(self.latency)} per message"


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
        """Relative error of the prediction: 0.1 is 10 % too slow."""
        return self.predicted / self.measured - 1

    @property
    def sentence(self) -> str:
        """What was left out, and how well it was predicted."""
        where = "" if self.timings.processes == 1 else "each of "
        return (
            f"held out: a step of {self.timings.local_batches[HELD_OUT]} examples on {where}{self.timings.where}"
            f" took {duration(self.measured)}, predicted {duration(self.predicted)} ({self.error:+.0%})"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"model": self.model.as_dict(), "timings": plain(vars(self.timings)), "held_out": self.sentence}

    def __str__(self) -> str:
        return f"{self.model}\n{self.sentence}"


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; InputError for one that cannot be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a readable JSON file ({error}); expected one that a calibration saved"
        ) from None


def rate(bandwidth: float) -> str:
    """``1.25 GB/s``."""
    if math.isinf(bandwidth):
        return "links without limit"
    size, unit = next(
        ((s, u) for s, u in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")) if bandwidth >= s), (1.0, "B/s")
    )
    return f"{bandwidth / size:.3g} {unit}"
