"""Which shape takes the larger batch? A paired comparison with a probability, or "undecided"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchscope.analysis.formatting import number, plain
from batchscope.analysis.intervals import LEVEL, num_resamples, probability_greater, quantile_interval
from batchscope.analysis.sweeps import HasRows, Sweep, find_shape, sweeps_of
from batchscope.analysis.thresholds import ThresholdEstimate, estimate
from batchscope.records import Row

CERTAIN = 0.95  # a probability between 1 - CERTAIN and CERTAIN is "undecided"
EQUAL_PARAMETERS = 0.05  # shapes whose weights differ by more are not "at equal parameters"; the paper's differ by 4 %
EQUAL = ("parameters", "steps", "flops")


@dataclass(frozen=True)
class Verdict:
    """The answer to "does `first` take a larger batch than `second`?"

    first_name, second_name: as asked ("wide", "deep" or labels). first, second: their thresholds.
    equal: what the two have in common: "parameters", "steps" or "flops"; condition: that in words, with its numbers.
    probability: that the first is better, from the paired bootstrap, ties counted half; NaN when it cannot be said.
    tie: probability that both are equal (or outside the sweep on the same side). ratio: first / second, NaN unless both
    are numbers; ratio_interval: 95 %, 0 or inf where one of them left the sweep.
    decision: `first_name`, `second_name` or "undecided". sentence: all of it, for a person. n: runs of both shapes.
    """

    first_name: str
    second_name: str
    first: ThresholdEstimate
    second: ThresholdEstimate
    equal: str
    condition: str
    probability: float
    tie: float
    ratio: float
    ratio_interval: tuple[float, float]
    decision: str
    sentence: str
    n: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN and infinities are None."""
        fields = {name: plain(value) for name, value in vars(self).items() if name not in ("first", "second")}
        return {**fields, "first": self.first.as_dict(), "second": self.second.as_dict()}

    def __str__(self) -> str:
        return self.sentence
