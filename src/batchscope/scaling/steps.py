"""`StepsCurve`: steps to the target against batch size, with its resamples, and where it can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchscope.analysis.fit.critical_batch_fit import CriticalBatchFit
from batchscope.analysis.fit.curve import log_steps
from batchscope.analysis.formatting import bounds_text, number
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.sweeps import Array
from batchscope.errors import InputError
from batchscope.scaling.domain import check_positive

NO_SAMPLES = np.empty((0, 3))


@dataclass(frozen=True, eq=False)
class StepsCurve:
    """S(B) = S_min (1 + (B_crit/B)^α)^(1/α) steps to the target, α = 1 unless it was fitted.

    McCandlish et al. 2018, Eq. 5.3 (α = 1). E_min = S_min B_crit examples.

    log_parameters: [3] log S_min, log E_min, log α. samples: [R, 3] the same, one row per resample, NaN where it has no
    curve (rows of shapes fitted together belong together); empty: no interval.
    smallest, largest: the batch sizes at which runs met the target; NaN where the numbers were given, not fitted.
    bounded: False where the runs do not determine B_crit; the curve then holds from `smallest` to `largest` only.
    largest_possible: no batch is larger than the training set; inf where its size is not known.
    text: B_crit in words; statement: what else must be said of it. level: of the intervals.
    """

    log_parameters: Array
    samples: Array = field(default_factory=lambda: NO_SAMPLES, repr=False)
    smallest: float = math.nan
    largest: float = math.nan
    bounded: bool = True
    largest_possible: float = math.inf
    text: str = ""
    statement: str = ""
    level: float = LEVEL

    @classmethod
    def of_numbers(cls, s_min: float, b_crit: float) -> StepsCurve:
        """The curve of two given numbers, without an interval."""
        for name, value in (("s_min", s_min), ("b_crit", b_crit)):
            check_positive(name, value)
        return cls(np.log([s_min, s_min * b_crit, 1.0]), text=number(b_crit))

    @classmethod
    def of_fit(cls, fit: CriticalBatchFit) -> StepsCurve:
        """The curve of a study's fit with its resamples. InputError where nothing could be fitted: it says why."""
        if math.isnan(fit.b_crit):
            raise InputError(f"no curve of steps against batch size: {fit.statement}")
        met = fit.batch_sizes[np.isfinite(fit.steps)]
        return cls(
            log_parameters=fit.log_parameters,
            samples=fit.samples,
            smallest=float(met.min()),
            largest=float(met.max()),
            bounded=0 < fit.b_crit < math.inf,
            largest_possible=fit.largest_possible,
            text=f"{fit.text} {bounds_text(fit.interval)}".strip(),
            statement=_statement(fit, float(met.min()), float(met.max())),
            level=fit.level,
        )

    @property
    def all_parameters(self) -> Array:
        """[1 + R, 3]: the estimate first, then its resamples."""
        return np.vstack([self.log_parameters[None], self.samples])

    @property
    def has_sharp_bend(self) -> bool:
        """Whether α is not 1: no closed form of the best batch size then."""
        return bool(np.nanmax(np.abs(self.all_parameters[:, 2])) > 0)

    def steps(self, batch_sizes: ArrayLike) -> Array:
        """[1 + R, k] steps to target at each batch size [k]: the estimate, then its resamples."""
        return steps_at(self.all_parameters, np.atleast_1d(np.asarray(batch_sizes, dtype=float)))

    def limits(self) -> tuple[float, float]:
        """Batch sizes between which the curve may be used: up to the training set, or those tested if not bounded."""
        return (0.0, self.largest_possible) if self.bounded else (self.smallest, self.largest)

    def is_extrapolated(self, batch_sizes: ArrayLike) -> NDArray[np.bool_]:
        """Whether a batch size lies outside those at which runs met the target (False for given numbers)."""
        sizes, slack = np.asarray(batch_sizes, dtype=float), 1 + 1e-9
        return np.asarray((sizes > self.largest * slack) | (sizes < self.smallest / slack))


def steps_at(log_parameters: Array, batch_sizes: Array) -> Array:
    """[R, k] steps of each curve [R, 3] at batch sizes [k] or [R, k]."""
    s_min, e_min, alpha = (log_parameters[:, k : k + 1] for k in range(3))
    with np.errstate(invalid="ignore"):  # resamples without a curve
        return np.exp(log_steps(np.log(batch_sizes), s_min, e_min, alpha))


def _statement(fit: CriticalBatchFit, smallest: float, largest: float) -> str:
    if fit.b_crit == math.inf:
        return (
            f"steps still fall in proportion at the largest batch size that met the target ({number(largest)}): "
            "larger ones are not judged, so what more workers buy may be more than said here"
        )
    if fit.b_crit == 0:
        return (
            f"steps do not depend on the batch size from {number(smallest)} examples on: smaller ones are not judged, "
            "so the time with few workers may be less than said here"
        )
    return fit.statement
