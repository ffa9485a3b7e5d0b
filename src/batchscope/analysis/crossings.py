"""Rules that read a threshold off the costs of the batch sizes, for many resamples at once.

Shapes: R resamples, m batch sizes ascending. Costs (epochs, or steps) are inf where the target was never met. A result
is 0 below every batch size tested, inf beyond them all, NaN where nothing can be said.
"""

from __future__ import annotations

import math

import numpy as np

from batchscope.analysis.sweeps import Array, Integers

BELOW, ABOVE = 0.0, math.inf  # a threshold below or beyond every batch size tested


def largest_tested(values: Array, batch_sizes: Array) -> Array:
    """The largest batch size tested up to each value; 0, inf and NaN stay."""
    place = np.searchsorted(batch_sizes, values * (1 + 1e-9), side="right") - 1
    return np.where(np.isfinite(values) & (values > 0), batch_sizes[np.clip(place, 0, None)], values)


def first_overhead(epochs: Array, batch_sizes: Array, overhead: float) -> Array:
    """[R] where epochs, made non-decreasing in B, cross (1 + overhead) x those of the smallest batch size that arrives.

    Isotonic regression of log epochs (mean over every stretch; the largest of the smallest means): noise would else
    turn the best of many batch sizes into a limit that is too low.
    """
    arrived = np.isfinite(epochs)
    start = arrived.argmax(axis=1)
    logs = np.log(np.where(np.arange(len(batch_sizes)) < start[:, None], np.nan, epochs))
    rising = isotonic(logs)
    rows = np.arange(len(epochs))
    limit = np.exp(rising[rows, start]) * (1 + overhead)
    with np.errstate(invalid="ignore"):
        slow = np.exp(rising) > limit[:, None]
    before = np.where(slow.any(axis=1), slow.argmax(axis=1) - 1, 0)
    value = np.full(len(epochs), ABOVE)
    inside = np.flatnonzero(slow.any(axis=1))
    value[inside] = crossing(np.exp(rising), batch_sizes, inside, before[inside], np.log(limit[inside]))
    return np.where(arrived.any(axis=1), value, np.nan)


def isotonic(values: Array) -> Array:
    """[R, m] the non-decreasing sequence nearest to each row of [R, m]; leading NaN stay."""
    m = values.shape[1]
    sums = np.cumsum(np.where(np.isnan(values), 0.0, values), axis=1)
    result = np.full(values.shape, -np.inf)
    for i in range(m):  # means of the stretches i..k, then the smallest over k >= j
        with np.errstate(invalid="ignore"):  # after a batch size that never arrives
            means = (sums[:, i:] - (sums[:, i - 1 : i] if i else 0.0)) / np.arange(1, m - i + 1)
        smallest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        started = ~np.isnan(values[:, i : i + 1])
        result[:, i:] = np.where(started, np.fmax(result[:, i:], smallest), result[:, i:])
    return np.where(np.isnan(values), np.nan, result)


def crossing(
    costs: Array, batch_sizes: Array, rows: Integers, last: Integers, log_limit: Array | float, step: int = 1
) -> Array:
    """[R] where costs cross a limit between batch size number `last` and `last + step`; the former if the latter never
    arrives."""
    beyond = last + step
    low, high = np.log(costs[rows, last]), np.log(costs[rows, beyond])
    with np.errstate(invalid="ignore"):
        share = np.where(np.isfinite(high), (log_limit - low) / (high - low), 0.0)
    result: Array = batch_sizes[last] * (batch_sizes[beyond] / batch_sizes[last]) ** share
    return result


def largest_within(epochs: Array, batch_sizes: Array, limit: float) -> Array:
    """[R] the largest batch size whose epochs stay within `limit`, interpolated in log-log towards the next."""
    within = epochs <= limit
    last = len(batch_sizes) - 1 - within[:, ::-1].argmax(axis=1)
    value = np.full(len(epochs), ABOVE)
    inside = within.any(axis=1) & (last < len(batch_sizes) - 1)
    rows = np.flatnonzero(inside)
    value[rows] = crossing(epochs, batch_sizes, rows, last[rows], np.log(np.full(len(rows), limit)))
    return np.where(within.any(axis=1), value, BELOW)


def smallest_within(steps: Array, batch_sizes: Array, limit: float) -> Array:
    """[R] the smallest batch size whose steps stay within `limit`, interpolated in log-log towards the one before."""
    within = steps <= limit
    first = within.argmax(axis=1)
    value = np.where(within.any(axis=1), np.where(first == 0, BELOW, batch_sizes[first]), ABOVE)
    rows = np.flatnonzero(within.any(axis=1) & (first > 0))
    value[rows] = crossing(steps, batch_sizes, rows, first[rows], math.log(limit), step=-1)
    return np.where(np.isfinite(steps).any(axis=1), value, np.nan)
