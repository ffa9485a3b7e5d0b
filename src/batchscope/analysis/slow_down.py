"""Does a shape slow down within the batch sizes tested? A trend test per shape, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchscope.analysis.formatting import bounds_text, fields_of, number, plain
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.log_times import AT, LESS, MORE, OWN_ASSUMED, UNKNOWN, LogTimes, probability_above, quantile
from batchscope.analysis.sweeps import Array

FLAT = 1.2  # a rise of the epochs below this is no slow-down that a user would call one


@dataclass(frozen=True)
class SlowDown:
    """One shape. rise: epochs at the largest batch size over those at the smallest, a lower bound where `bound` is ">".

    interval: `level`. p_value: of the two tests that epochs do not rise with B (slope in log-log, and the largest batch
    size against all others), the smaller, doubled; adjusted: the same by Holm's procedure over the shapes of the study.
    slows: adjusted below 1 - level. flat: the rise is below 1.2, with that certainty for all shapes together.
    """

    shape: str
    smallest: float
    largest: float
    rise: float
    bound: str
    interval: tuple[float, float]
    p_value: float
    adjusted: float
    slows: bool
    flat: bool

    @property
    def text(self) -> str:
        """``6.1 [4.9, 7.6]``, ``> 12``, or "-" where nothing is known."""
        if self.bound:
            return f"{self.bound} {number(self.rise)}"
        return f"{number(self.rise)} {bounds_text(self.interval)}".strip()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, text=self.text)


@dataclass(frozen=True)
class SlowDowns:
    """Every shape of a study, wide to deep. own_is_seen: `LogTimes.own_is_seen`."""

    shapes: tuple[SlowDown, ...]
    own_is_seen: bool = True
    level: float = LEVEL

    @property
    def count(self) -> int:
        """Shapes that slow down."""
        return sum(one.slows for one in self.shapes)

    @property
    def probability(self) -> float:
        """That every shape slows down, by the weakest of them: 1 - its adjusted p-value; NaN without shapes."""
        return min((1 - one.adjusted for one in self.shapes), default=math.nan)

    @property
    def short(self) -> str:
        """``4 of 4 shapes``."""
        return f"{self.count} of {len(self.shapes)} shapes"

    @property
    def sentence(self) -> str:
        """``4 of 4 shapes need more epochs at large batch sizes: ...``"""
        if not self.shapes:
            return "no shape with runs at two batch sizes."
        rises = "; ".join(f"{one.shape} {one.text}" for one in self.shapes[:4])
        more = f" and {len(self.shapes) - 4} more" if len(self.shapes) > 4 else ""
        missing = [one for one in self.shapes if not one.slows]
        none = f"; none seen up to {number(max(one.largest for one in missing))} in the others" if missing else ""
        return (
            f"{self.count} of {len(self.shapes)} shapes slow down within the batch sizes tested{none} (trend tests, "
            f"Holm's correction, {100 * self.level:.0f} %; epochs at the largest over the smallest batch size: "
            f"{rises}{more}{'' if self.own_is_seen else f'; with {OWN_ASSUMED}'})."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "count": self.count,
            "num_shapes": len(self.shapes),
            "probability": plain(self.probability),
            "sentence": self.sentence,
            "shapes": [one.as_dict() for one in self.shapes],
        }

    def __str__(self) -> str:
        return self.sentence


def slow_downs(times: Mapping[str, LogTimes], level: float = LEVEL) -> SlowDowns:
    """Test every shape that arrived somewhere and has a number or a bound at two batch sizes or more."""
    tested = {shape: one for shape, one in times.items() if _can_be_tested(one)}
    alone = [_slow_down(shape, one, level, len(tested)) for shape, one in tested.items()]
    adjusted = holm([one.p_value for one in alone])
    return SlowDowns(
        tuple(replace(one, adjusted=p, slows=p <= 1 - level) for one, p in zip(alone, adjusted, strict=True)),
        all(one.own_is_seen for one in times.values()),
        level,
    )


def slows_down(times: LogTimes, level: float = LEVEL) -> bool:
    """Whether one shape, looked at alone, needs more epochs at large batch sizes."""
    found = slow_downs({"": times}, level).shapes
    return bool(found) and found[0].slows


def _can_be_tested(times: LogTimes) -> bool:
    return sum(how != UNKNOWN for how in times.known) > 1 and any(how in (AT, LESS) for how in times.known)


def _slow_down(shape: str, times: LogTimes, level: float, num_shapes: int) -> SlowDown:
    use = np.array([how != UNKNOWN for how in times.known])
    sizes, values, variance = times.batch_sizes[use], times.log_epochs[use], times.total[use]
    known = [how for how in times.known if how != UNKNOWN]
    rise, error = float(values[-1] - values[0]), math.sqrt(variance[0] + variance[-1])
    reach = float(quantile(level, times.freedom)) * error
    bounded = known[-1] == MORE or known[0] == LESS
    turned = known[0] == MORE or known[-1] == LESS  # the smallest never arrived: a rise is not to be seen
    most = rise + float(quantile(1 - 2 * (1 - level) / num_shapes, times.freedom)) * error
    p_value = 1.0 if turned else _p_value(sizes, values, variance, times.freedom)
    return SlowDown(
        shape=shape,
        smallest=float(sizes[0]),
        largest=float(sizes[-1]),
        rise=math.exp(rise),
        bound=">" if bounded and not turned else "<" if turned else "",
        interval=(math.exp(rise - reach), math.inf if bounded else math.exp(rise + reach)),
        p_value=p_value,
        adjusted=p_value,
        slows=False,
        flat=not bounded and most < math.log(FLAT),
    )


def _p_value(sizes: Array, values: Array, variance: Array, freedom: float) -> float:
    """One-sided, of "epochs do not rise"; a bound at the largest batch size stands for its number, which it exceeds."""
    weights = 1 / variance
    place = np.log(sizes) - np.average(np.log(sizes), weights=weights)
    slope, slope_error = (weights * place * values).sum(), math.sqrt((weights * place**2).sum())
    before = np.average(values[:-1], weights=weights[:-1])
    jump, jump_error = values[-1] - before, math.sqrt(variance[-1] + 1 / weights[:-1].sum())
    by_slope = float(probability_above(slope, slope_error, freedom))
    by_jump = float(probability_above(jump, jump_error, freedom))
    return min(1.0, 2 * (1 - max(by_slope, by_jump)))


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values (1979, Scandinavian Journal of Statistics 6), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
