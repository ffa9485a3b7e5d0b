"""`advise`: what each number of workers buys one network, in time to target and in money, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchscope.analysis.formatting import duration, fields_of, number
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.sweeps import Array
from batchscope.scaling.steps import StepsCurve
from batchscope.scaling.time_model import TimeModel

Interval = tuple[float, float]

WORTH = 0.03  # a worker that shortens the time by less than this "buys nothing": saturation is reached


@dataclass(frozen=True)
class Point:
    """One number of workers.

    batch_size: with the least time to target (or the one asked for), NaN where none is possible. seconds: to target;
    interval: at the advice's level, NaN without resamples: of the steps to target, time per step taken as known.
    speedup: against one worker at its own best batch size. gain: the share of the time that this worker saves, where
    workers that would not help are left idle: 1 - T(at most P)/T(at most P - 1). cost: P workers for that long.
    extrapolated_workers: P beyond 4 times those that were timed. extrapolated_batch: outside the batch sizes that ran.
    """

    workers: int
    batch_size: float
    seconds: float
    interval: Interval
    speedup: float
    speedup_interval: Interval
    gain: float
    cost: float
    extrapolated_workers: bool
    extrapolated_batch: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinities are None."""
        return fields_of(self)


@dataclass(frozen=True)
class Saturation:
    """workers: the last one that saves at least `worth` of the time; interval: over resamples. Both at most `most`,
    the largest number looked at, which stands for "that many or more"."""

    workers: int
    interval: Interval
    worth: float
    most: int

    @property
    def text(self) -> str:
        """``12 [9, 17]``, ``> 64``."""
        known = not math.isnan(self.interval[0])
        ends = f" [{self._end(self.interval[0])}, {self._end(self.interval[1])}]" if known else ""
        return f"{self._end(self.workers)}{ends}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinities are None."""
        return fields_of(self, text=self.text)

    def _end(self, workers: float) -> str:
        return f"> {self.most}" if workers >= self.most > 1 else f"{workers:.0f}"


@dataclass(frozen=True)
class Advice:
    """What each number of workers buys one network.

    points: one per number of workers asked for, ascending. saturation: where one more stops paying. fastest: the number
    of workers with the least time, among 1 to the most asked for. reference: the number of workers that speed-ups
    compare with: one, unless its memory is too small. batch_size: None where every number of workers has its own best.
    price: of one worker for an hour; deadline: seconds; None: not asked. in_time, in_time_surely: the fewest workers
    whose time, or the upper end of its interval, is within the deadline. notes: what must be said beside the numbers.
    samples: [R, most] seconds to target for 1 to `most` workers and every resample, for paired comparisons.
    """

    name: str
    model: TimeModel
    curve: StepsCurve
    points: tuple[Point, ...]
    saturation: Saturation
    fastest: Point
    reference: int = 1
    batch_size: float | None = None
    price: float | None = None
    deadline: float | None = None
    in_time: Point | None = None
    in_time_surely: Point | None = None
    notes: tuple[str, ...] = ()
    level: float = LEVEL
    samples: Array = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    @property
    def sentence(self) -> str:
        """The answer in one or two sentences."""
        return _sentence(self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinities are None."""
        return fields_of(self, "curve", "samples", b_crit=self.curve.text, sentence=self.sentence)

    def __str__(self) -> str:
        return "\n".join([self.sentence, *self.notes])


def _sentence(advice: Advice) -> str:
    fastest, saturation, most = advice.fastest, advice.saturation, advice.saturation.most
    few = "one" if advice.reference == 1 else f"{advice.reference}"
    head = f"{advice.name}: " if advice.name else ""
    percent = f"{100 * saturation.worth:g} %"
    if fastest.workers == advice.reference:
        text = f"no number of workers up to {most} is faster than {few} ({duration(fastest.seconds)} to target)."
    else:
        size = "" if advice.batch_size is not None else f" at batch size {number(round(fastest.batch_size))}"
        text = (
            f"fastest with {fastest.workers} workers{size}: {duration(fastest.seconds)} to target, "
            f"{fastest.speedup:.3g} times as fast as {few}{' (extrapolated)' if fastest.extrapolated_workers else ''}. "
        )
        if saturation.workers >= most:
            text += f"Up to {most} workers, each still saves at least {percent}."
        else:
            text += f"Beyond {saturation.text} workers, one more saves less than {percent}."
    if advice.deadline is not None:
        text += f" {_deadline(advice)}"
    return head + text


def _deadline(advice: Advice) -> str:
    within = f"within {duration(advice.deadline or math.nan)}"
    if advice.in_time is None:
        return f"No number of workers up to {advice.saturation.most} is done {within}."
    surely = advice.in_time_surely
    needed = f"To be done {within} takes {advice.in_time.workers} worker{'s' if advice.in_time.workers > 1 else ''}"
    if math.isnan(advice.in_time.interval[1]):
        return f"{needed}."
    return f"{needed}; by the upper end of the interval {'no number does' if surely is None else surely.workers}."
