"""`ThresholdEstimate`: a threshold on the batch size with its interval, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchscope.analysis.crossings import ABOVE, BELOW
from batchscope.analysis.formatting import batch_interval, batch_size, fields_of, number
from batchscope.analysis.intervals import LEVEL, quantile_interval
from batchscope.analysis.log_times import LogTimes
from batchscope.analysis.sweeps import Array, Sweep

ONE_RUN = "one run per batch size: no interval over seeds"


@dataclass(frozen=True)
class ThresholdEstimate:
    """A threshold on the batch size of one shape: the currency of this room.

    value: examples per batch; NaN where it is censored or there is none, never a stand-in. interval: `level` (95 %)
    bootstrap interval; an end of 0 or inf lies below or beyond every batch size tested, NaN: no interval, and
    `statement` says why. definition: its name, with its number if it has one: "within_epochs(10)". meaning: the
    definition in words. censored: ">" (beyond `largest`), "<" (at or below `smallest`) or "". smallest, largest: of the
    sweep.
    n: runs it rests on; num_batch_sizes: where. statement: what a reader must know besides, or why there is no value.
    biased: why it is off by more than its interval says, in `statement` too: no comparison is decided by it.
    samples: [resamples] the threshold in each resample, 0, inf and NaN as above; empty without an interval.
    """

    value: float
    interval: tuple[float, float]
    definition: str
    meaning: str
    censored: str
    smallest: float
    largest: float
    n: int
    num_batch_sizes: int
    shape: str
    statement: str = ""
    level: float = LEVEL
    biased: str = ""
    samples: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    @property
    def limit(self) -> float:
        """The batch size meant by `censored`; NaN when it is not."""
        return {">": self.largest, "<": self.smallest}.get(self.censored, math.nan)

    @property
    def ordering(self) -> float:
        """The value for comparing: inf or 0 where it is censored, NaN where there is none."""
        return {">": ABOVE, "<": BELOW}.get(self.censored, self.value)

    @property
    def text(self) -> str:
        """``1024``, ``> 4096``, ``<= 32`` or ``none``."""
        if self.censored:
            return f"{'<=' if self.censored == '<' else '>'} {number(self.limit)}"
        return "none" if math.isnan(self.value) else batch_size(self.value)

    @property
    def interval_text(self) -> str:
        """``[512, > 4096]``, or nothing."""
        return batch_interval(self.interval, self.smallest, self.largest)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every field but the samples; NaN and infinities are None, `text` says what they mean."""
        return fields_of(self, "samples", text=self.text, interval_text=self.interval_text)

    def __str__(self) -> str:
        """``784-20-10 relu: 1024 [512, 2048] (paper2018, 95 %, n = 40)``."""
        interval = f" {self.interval_text}" if self.interval_text else ""
        why = f"; {self.statement}" if self.statement else ""
        return f"{self.shape}: {self.text}{interval} ({self.definition}, {100 * self.level:.0f} %, n = {self.n}{why})"


@dataclass(frozen=True)
class Request:
    """How to estimate: the definition's printed name and words, resamples, level, seed and stream.

    times: of the shape, where those of all shapes of the study were looked at together.
    """

    name: str
    meaning: str
    resamples: int
    level: float
    seed: int
    stream: int
    times: LogTimes | None = None


def made(
    sweep: Sweep, request: Request, value: float, samples: Array, per_group: float, statement: str
) -> ThresholdEstimate:
    """An estimate: 0 and inf become censoring; without a value the statement says why.

    samples: [resamples]. per_group: observations of each batch size, for the quantiles (see `quantile_interval`).
    """
    if math.isnan(value) and not statement:
        statement = "no batch size reached the target in half of its runs"
    return ThresholdEstimate(
        value=value if 0 < value < math.inf else math.nan,
        interval=quantile_interval(samples, request.level, per_group),
        definition=request.name,
        meaning=request.meaning,
        censored=">" if value == ABOVE else "<" if value == BELOW else "",
        smallest=float(sweep.batch_sizes[0]),
        largest=float(sweep.batch_sizes[-1]),
        n=sweep.num_runs,
        num_batch_sizes=len(sweep.batch_sizes),
        shape=sweep.shape,
        statement=statement,
        level=request.level,
        samples=samples,
    )


def nothing(sweep: Sweep, request: Request, statement: str, n: int = 0, num_batch_sizes: int = 0) -> ThresholdEstimate:
    """No threshold, for the reason in `statement`, from n runs."""
    nan, name, words, level = math.nan, request.name, request.meaning, request.level
    return ThresholdEstimate(
        nan, (nan, nan), name, words, "", nan, nan, n, num_batch_sizes, sweep.shape, statement, level
    )


def joined(*statements: str) -> str:
    """Those that say something."""
    return "; ".join(statement for statement in statements if statement)
