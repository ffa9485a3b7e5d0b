"""The noise scale along a run: windows of observed steps, each with an interval.

One number for a run hides what matters: where the noise scale rises by a factor of 20, the pooled ratio lies near its
beginning, because there the gradients are largest. So steps are pooled in windows that follow each other.

In a window, B_simple = (sum of tr Σ)/(sum of ‖G‖²), each step's two estimates unbiased; the ratio is taken once. It
estimates the ratio of the window's mean tr Σ to its mean ‖G‖². The interval is a delete-one-block jackknife over blocks
of neighbouring steps on 1/B_simple, turned over at the end, as in `intervals`: an end that reaches zero means that the
steps cannot tell ‖G‖² from zero, and the noise scale is *at least* so much.

A window is doubled until its interval is within `spread` from end to end, at most to `LONGEST` of the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.special import stdtrit

from batchscope.errors import InputError
from batchscope.gradients.estimands import NoiseEstimate, ratio
from batchscope.gradients.intervals import jackknife_variance

SHORTEST = 8  # observed steps in a window: 7 degrees of freedom, Student's quantile 2.36
LONGEST = 0.25  # of the observed steps: a curve has at least four windows, however wide their intervals
MOST_BLOCKS = 20  # of a window: quantile 2.09; longer blocks average out what neighbouring steps have in common


@dataclass(frozen=True)
class NoiseWindow:
    """The noise scale over some observed steps.

    first, last: steps. num_steps: observed ones among them. value: estimate of B_simple in examples, NaN when none is
    supported. low, high: the interval; high = inf means "at least low"; both NaN for fewer than 2 steps.
    """

    first: int
    last: int
    num_steps: int
    value: float
    low: float
    high: float
    level: float

    @property
    def statement(self) -> str:
        """The finding in words."""
        steps = f"steps {self.first} to {self.last}"
        if math.isnan(self.low):
            return f"{steps}: {'unknown' if math.isnan(self.value) else f'{self.value:.4g}'}, no interval"
        if self.high == math.inf:
            return f"{steps}: at least {self.low:.4g}"
        return f"{steps}: {self.value:.4g} ({self.low:.4g} to {self.high:.4g})"

    def __str__(self) -> str:
        return self.statement


def noise_curve(
    estimates: Sequence[tuple[int, NoiseEstimate]], level: float = 0.95, spread: float = 2.0
) -> tuple[NoiseWindow, ...]:
    """Windows over (step, unbiased estimates of that step), in the order of the steps.

    level: nominal coverage of the intervals. spread: high/low that is aimed at. Steps without an estimate (NaN) are
    left out. InputError for a level outside (0, 1) or a spread of 1 or less.
    """
    if not 0 < level < 1 or not spread > 1:
        raise InputError(f"level={level}, spread={spread}: expected a level between 0 and 1 and a spread above 1")
    usable = [(step, e) for step, e in estimates if math.isfinite(e.sq_norm_mean + e.trace_covariance)]
    return tuple(_windows(usable, level, spread))


def _windows(estimates: Sequence[tuple[int, NoiseEstimate]], level: float, spread: float) -> Iterator[NoiseWindow]:
    longest = max(SHORTEST, int(LONGEST * len(estimates)))
    start = 0
    while start < len(estimates):
        left = len(estimates) - start
        length = SHORTEST
        while (window := noise_window(estimates[start : start + length], level)).high > spread * window.low:
            if 2 * length > min(longest, left):
                break
            length *= 2
        if left - length < SHORTEST:  # too few for a window of their own
            length = left
        yield noise_window(estimates[start : start + length], level)
        start += length


def noise_window(estimates: Sequence[tuple[int, NoiseEstimate]], level: float = 0.95) -> NoiseWindow:
    """The noise scale over (step, unbiased estimates of that step), at least one of them, pooled in one window."""
    value, low, high = noise_interval([estimate for _, estimate in estimates], level)
    return NoiseWindow(estimates[0][0], estimates[-1][0], len(estimates), value, low, high, level)


def noise_interval(estimates: Sequence[NoiseEstimate], level: float = 0.95) -> tuple[float, float, float]:
    """(B_simple, low, high) of consecutive steps pooled, in examples; NaN ends for fewer than 2 steps.

    1/B_simple ± t_{k-1} sqrt(v), v the jackknife variance over k blocks of neighbouring steps. Where the estimate of
    1/B_simple is negative, value is NaN, and low the limit that an estimate of zero would give.
    """
    pooled = NoiseEstimate.pool(estimates)
    inverse = _inverse(estimates)
    blocks = _blocks(estimates)
    left_out = [_inverse([e for other in blocks if other is not block for e in other]) for block in blocks]
    variance = jackknife_variance(inverse, left_out, [len(block) / len(estimates) for block in blocks])
    if math.isnan(variance):
        return pooled.simple_noise_scale, math.nan, math.nan
    margin = float(stdtrit(len(blocks) - 1, (1 + level) / 2)) * math.sqrt(variance)
    low, high = ratio(1.0, max(inverse, 0.0) + margin), ratio(1.0, max(inverse - margin, 0.0))
    return pooled.simple_noise_scale, low, high


def _blocks(estimates: Sequence[NoiseEstimate]) -> list[Sequence[NoiseEstimate]]:
    """At most MOST_BLOCKS runs of neighbours, as equal as can be."""
    count = min(len(estimates), MOST_BLOCKS)
    ends = [round(i * len(estimates) / count) for i in range(count + 1)]
    return [estimates[a:b] for a, b in pairwise(ends)]


def _inverse(estimates: Sequence[NoiseEstimate]) -> float:
    """1/B_simple of the pooled steps."""
    return ratio(sum(e.sq_norm_mean for e in estimates), sum(e.trace_covariance for e in estimates))
