"""How the critical batch size of all shapes goes with their depth, from the censored fits and their joint resamples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchscope.analysis.formatting import bounds_text, fields_of, number, probability_text
from batchscope.analysis.intervals import LEVEL, probability_greater, quantile_interval
from batchscope.analysis.sweeps import Array, Sweep
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import batch_threshold

EDGE = 2.0  # a threshold outside the sweep counts as this factor beyond it: its rank is known, not its distance


@dataclass(frozen=True)
class Trend:
    """log B_crit = a + b log depth over n shapes: `factor` 2^b is what twice the depth multiplies B_crit by.

    interval: `level`, from resamples of the censored fits, in which batch sizes and seeds are drawn for all shapes
    together; a threshold outside the sweep counts as twice beyond its end (num_outside shapes). probability: that b is
    below 0, ties counted half: deeper shapes take smaller batches. NaN with fewer than two depths. biased: why nothing
    is decided by it (see `ThresholdEstimate`).
    """

    factor: float
    interval: tuple[float, float]
    probability: float
    n: int
    num_outside: int
    definition: str
    level: float = LEVEL
    biased: str = ""

    @property
    def short(self) -> str:
        """``0.79 [0.47, 1.23] per doubled depth``."""
        return f"{number(self.factor)} {bounds_text(self.interval)} per doubled depth"

    @property
    def sentence(self) -> str:
        """The trend in words."""
        if math.isnan(self.probability):
            return f"no trend: fewer than two depths with a threshold ({self.definition}, n = {self.n} shapes)."
        outside = f", {self.num_outside} of them outside the sweep" if self.num_outside else ""
        return (
            f"twice the depth multiplies {self.definition} by {number(self.factor)} {bounds_text(self.interval)}, "
            f"probability {probability_text(self.probability)} of falling ({100 * self.level:.0f} %, "
            f"n = {self.n} shapes{outside}{f'; {self.biased}' if self.biased else ''})."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, sentence=self.sentence)

    def __str__(self) -> str:
        return self.sentence


def trend(sweeps: Mapping[str, Sweep], definition: str, level: float = LEVEL, seed: int = 0) -> Trend:
    """The trend of a threshold over the depths of a study's shapes."""
    found = list(batch_threshold(sweeps, definition, level=level, seed=seed).values())
    depths = np.array([sweep.depth for sweep in sweeps.values()], dtype=float)
    known = np.array([len(one.samples) > 0 and not math.isnan(one.ordering) for one in found], dtype=bool)
    used = [one for one, use in zip(found, known, strict=True) if use]
    outside = sum(bool(one.censored) for one in used)
    if len(np.unique(depths[known])) < 2:
        return Trend(math.nan, (math.nan, math.nan), math.nan, len(used), outside, definition, level)
    slopes = _slopes(np.log(depths[known]), np.stack([_logs(one.samples, one) for one in used]))
    value = _slopes(np.log(depths[known]), np.array([_logs(np.array([one.ordering]), one) for one in used]))[0]
    probability, _ = probability_greater(np.zeros(len(slopes)), slopes)
    most = 1 - 1 / (len(slopes) + 1)  # resamples that all agree do not make sure
    factors = np.exp2(slopes)
    return Trend(
        factor=float(2.0**value),
        interval=quantile_interval(factors, level),
        probability=min(max(probability, 1 - most), most),
        n=len(used),
        num_outside=outside,
        definition=definition,
        level=level,
        biased=next((one.biased for one in used if one.biased), ""),
    )


def _logs(values: Array, threshold: ThresholdEstimate) -> Array:
    """Logs of thresholds, those outside the sweep at `EDGE` beyond its end."""
    low, high = threshold.smallest / EDGE, threshold.largest * EDGE
    clipped: Array = np.log(np.clip(values, low, high))
    return clipped


def _slopes(x: Array, y: Array) -> Array:
    """[R] least-squares slopes of y [n, R] over x [n]; NaN where one of y is."""
    centred = x - x.mean()
    slopes: Array = centred @ y / (centred**2).sum()
    return slopes
