"""`TimeModel`: seconds per step of one network on P workers, and where its numbers come from."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchscope.analysis.formatting import duration, grouped, plain
from batchscope.errors import InputError, choose
from batchscope.scaling import synchronising

if TYPE_CHECKING:
    from batchscope.scaling.calibration import Calibration

Array = NDArray[np.float64]

TRUSTED = 4  # beyond this many times the workers measured, an answer is "extrapolated"
MOST_OVERLAP = 10.0  # gamma: close enough to max(computing, exchanging) (Qiao et al. 2021 limit it to 1..10 as well)


@dataclass(frozen=True)
class TimeModel:
    """T(B, P) = ((a + c b)^γ + T_sync^γ)^(1/γ) seconds per step of B examples on P workers, b = B/P on each.

    overhead: a, seconds of every step whatever the batch. per_example: c, seconds per example of a worker's batch.
    num_parameters: N, of `bytes_per_parameter` s each, exchanged at every step by `pattern` ("ring", "tree" or
    "parameter_server", see `synchronising`) over links of `bandwidth` W (bytes/s) and `latency` α (s).
    overlap: γ from 1 (exchange after computing) to 10 (nearly the longer of the two): Qiao et al. 2021 (Pollux, OSDI),
    section 3.2. max_local_batch: the most examples one worker's memory takes at once.
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
        at_least_0 = "a number of seconds, at least 0"
        return [
            ("overhead", self.overhead, 0 <= self.overhead < math.inf, at_least_0),
            ("per_example", self.per_example, 0 < self.per_example < math.inf, "a number of seconds above 0"),
            ("latency", self.latency, 0 <= self.latency < math.inf, at_least_0),
            ("bandwidth", self.bandwidth, self.bandwidth > 0, "bytes per second, above 0"),
            ("overlap", self.overlap, 1 <= self.overlap < math.inf, "γ of 1 (no overlap) or more"),
            ("num_parameters", self.num_parameters, self.num_parameters >= 1, "at least 1"),
            ("bytes_per_parameter", self.bytes_per_parameter, self.bytes_per_parameter >= 1, "at least 1"),
            ("max_local_batch", self.max_local_batch, self.max_local_batch >= 1, "at least 1 example"),
            ("measured_workers", self.measured_workers, self.measured_workers >= 1, "at least 1"),
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
        return synchronising.seconds(self.pattern, workers, self.size, self.bandwidth, self.latency)

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
    def calibrate(cls, module: Any, loss: Any, inputs: Any, targets: Any, **options: Any) -> Calibration:
        """Time `module` on this machine; the result's `.model` is the TimeModel. See `calibration.calibrate`."""
        from batchscope.scaling.calibration import calibrate

        return calibrate(module, loss, inputs, targets, **options)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinities are None."""
        return {name: plain(value) for name, value in dataclasses.asdict(self).items()}

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
        """Write it as JSON."""
        Path(path).write_text(json.dumps(self.as_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> TimeModel:
        """Read what `save` wrote; InputError for anything else."""
        return cls.from_dict(read_json(path))

    def __str__(self) -> str:
        size = "" if math.isinf(self.max_local_batch) else f"; at most {self.max_local_batch:g} examples per worker"
        return (
            f"{duration(self.overhead)} + {duration(self.per_example)} per example; {grouped(self.num_parameters)} "
            f"parameters of {self.bytes_per_parameter} bytes; {self.links}; γ = {self.overlap:.3g}{size} "
            f"({self.origin})"
        )

    @property
    def links(self) -> str:
        """``ring over 1.25 GB/s, 50 µs per message``."""
        return f"{self.pattern.replace('_', ' ')} over {rate(self.bandwidth)}, {duration(self.latency)} per message"


def combine(computing: Array, exchanging: Array, overlap: float) -> Array:
    """(x^γ + y^γ)^(1/γ), scaled by the longer of the two so that nothing under- or overflows."""
    longer, shorter = np.maximum(computing, exchanging), np.minimum(computing, exchanging)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(longer > 0, shorter / longer, 0.0)
    return np.asarray(longer * (1 + share**overlap) ** (1 / overlap))


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; InputError for one that cannot be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
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
