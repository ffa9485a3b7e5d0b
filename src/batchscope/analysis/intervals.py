"""Resampling: seeds within a batch size, batch sizes as well, and what quantiles make of the resamples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95  # of every interval unless said otherwise
CERTAIN = 0.95  # a probability between 1 - CERTAIN and CERTAIN is "undecided"


def num_resamples(num_runs: int, num_shapes: int = 1) -> int:
    """Resamples such that a study of any size is analysed in seconds: 1000, down to 100 for many runs or shapes."""
    return int(np.clip(min(2e6 / max(num_runs, 1), 1e4 / max(num_shapes, 1)), 100, 1000))


def resampled_medians(rng: np.random.Generator, values: Array, cell: Integers, resamples: int) -> Array:
    """[resamples] the mean over cells of the median over the runs of each, runs resampled within their cell."""
    means = np.zeros(resamples)
    cells = np.unique(cell)
    for index in cells:
        here = values[cell == index]
        means += np.median(here[rng.integers(len(here), size=(resamples, len(here)))], axis=1)
    return means / len(cells)


def quantile_interval(samples: Array, level: float = LEVEL, per_group: float = math.inf) -> tuple[float, float]:
    """The central `level` of the samples: percentile interval, widened for few runs in a group; NaN without samples.

    per_group: runs in each resampled group. With r of them the bootstrap's spread is too small by sqrt((r-1)/r), which
    the levels of the two quantiles make up for ("expanded percentile", Hesterberg 2015, The American Statistician 69).
    Samples may be +-inf or 0 for "beyond the sweep": quantiles are values of the sample, never means of two.
    """
    known = samples[~np.isnan(samples)]
    if not len(known):
        return math.nan, math.nan
    widening = math.sqrt(per_group / (per_group - 1)) if 1 < per_group < math.inf else 1.0
    return _central(known, known, float(special.ndtr(special.ndtri((1 - level) / 2) * widening)))


def bias_corrected(samples: Array, value: float) -> Array:
    """The samples [R] moved so that as many lie below the value as above it (Efron 1987, the BC percentile method).

    What a rule reads off noisy costs is off to one side (the largest of many batch sizes in time is one whose noise was
    small), and what it reads off a resample of them once more as far. All stay values of the sample, in their order.
    """
    if not len(samples) or math.isnan(value) or np.isnan(samples).any():
        return samples
    below = float(np.mean(samples < value) + 0.5 * np.mean(samples == value))
    count = len(samples)
    shift = 2 * float(special.ndtri(np.clip(below, 0.5 / count, 1 - 0.5 / count)))
    ordered = np.sort(samples)
    shares = (np.arange(count) + 0.5) / count
    moved: Array = ordered[(special.ndtr(special.ndtri(shares) + shift) * count).astype(np.int64).clip(0, count - 1)]
    result: Array = moved[samples.argsort(kind="stable").argsort(kind="stable")]
    return result


def probability_greater(first: Array, second: Array) -> tuple[float, float]:
    """(P(first > second) with ties counted half, P(tie)) over paired resamples; NaN when nothing can be compared."""
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any():
        return math.nan, math.nan
    tie = float(np.mean(first[known] == second[known]))
    return float(np.mean(first[known] > second[known])) + tie / 2, tie


def surest(num_runs: int) -> float:
    """The largest probability of an order that r runs on each side can support: 1 - 1 / C(2r, r).

    Where nothing differs, chance puts all runs of one side above all of the other that often: 1 in 6 for two runs,
    1 in 20 for three (the smallest p of the rank-sum test). A bootstrap of two runs would still say 1.

    >>> [round(surest(r), 3) for r in (1, 2, 3, 5)]
    [0.5, 0.833, 0.95, 0.996]
    """
    return 1 - 1 / math.comb(2 * num_runs, num_runs) if num_runs > 0 else 0.5


def ratio_interval(first: Array, second: Array, level: float = LEVEL) -> tuple[float, float]:
    """Interval of first / second over paired resamples; a ratio left open (both outside the sweep) is 0 and inf."""
    if not len(first) or not len(second):
        return math.nan, math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = first / second
    unknown = np.isnan(ratios)
    return _central(np.where(unknown, 0.0, ratios), np.where(unknown, math.inf, ratios), (1 - level) / 2)


def _central(for_low: Array, for_high: Array, tail: float) -> tuple[float, float]:
    """The `tail` quantile of one sample and the 1 - `tail` quantile of another, as values of the samples."""
    low, high = (max(math.ceil(len(for_low) * share - 1), 0) for share in (tail, 1 - tail))
    return float(np.sort(for_low)[low]), float(np.sort(for_high)[high])
