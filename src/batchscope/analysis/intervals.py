"""Resampling: seeds within a batch size, batch sizes as well, and what quantiles make of the resamples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95  # of every interval unless said otherwise


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


def seed_weights(rng: np.random.Generator, cell: Integers, counts: Array, resamples: int) -> Array:
    """[resamples, N] how often each observation is drawn when the runs of each batch size are resampled.

    cell: [N] the batch size of each observation. counts: [N] how many identical runs it stands for.
    """
    weights = np.empty((resamples, len(cell)))
    for index in np.unique(cell):
        here = cell == index
        total = int(counts[here].sum())
        weights[:, here] = rng.multinomial(total, counts[here] / total, size=resamples)
    return weights


def seed_and_batch_weights(
    batches: np.random.Generator, rng: np.random.Generator, cell: Integers, counts: Array, resamples: int
) -> Array:
    """[resamples, N] the same when `batches` draws batch sizes first, then `rng` the runs within each of those."""
    indices, position = np.unique(cell, return_inverse=True)
    drawn = batches.multinomial(len(indices), np.full(len(indices), 1.0 / len(indices)), size=resamples)
    weights = np.empty((resamples, len(cell)))
    for number in range(len(indices)):
        here = position == number
        total = int(counts[here].sum())
        weights[:, here] = rng.multinomial(total * drawn[:, number], counts[here] / total)
    return weights


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
