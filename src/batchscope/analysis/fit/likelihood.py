"""Runs whose target was met somewhere between two checks, cell by cell, and their likelihood.

A *cell* is one shape at one batch size; its runs differ in the seed. Model: log T = mu + sigma z, z standard normal, mu
of each cell free. A run whose target was met between two checks contributes P(low < T <= high), one that was stopped
before P(T > low). A run that diverged counts as slower than every run of its cell that arrived: Type II censoring
(Lawless 2003, Statistical Models and Methods for Lifetime Data, section 2.4), as the median over runs has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]

NARROW = 0.1  # an interval below this share of sigma is as good as a point
FARTHEST = 37.0  # standard deviations: the normal tail beyond is below what a float holds
FAINTEST = 1e-280  # probabilities below are taken from logarithms of tails
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
_CHUNK = 20_000  # numbers computed with at once: they fit the processor's cache


@dataclass(frozen=True)
class Cells:
    """Distinct observations of m cells, [m, r] each, padded with `counts` 0: log low, log high, how many runs.

    low = -inf: met by the first check; high = inf: not met; low = high: met exactly then.
    """

    low: Array
    high: Array
    counts: Array

    @property
    def num_runs(self) -> Array:
        """[m]"""
        total: Array = self.counts.sum(axis=1)
        return total

    @property
    def num_arrived(self) -> Array:
        """[m] runs that met the target."""
        total: Array = (self.counts * np.isfinite(self.high)).sum(axis=1)
        return total

    @property
    def bounded(self) -> Booleans:
        """[m] whether the runs bound mu on both sides: some arrived, and not all by the first check."""
        above = (self.counts * np.isfinite(self.low)).sum(axis=1) > 0
        both: Booleans = above & (self.num_arrived > 0)
        return both

    def at(self, kept: Booleans | Integers) -> Cells:
        """Some of the cells, where a Boolean array is true or at some indices."""
        return Cells(self.low[kept], self.high[kept], self.counts[kept])


def cells_of(
    low: ArrayLike, high: ArrayLike, cell: Integers, num_cells: int, diverged: Booleans | None = None
) -> Cells:
    """The runs [N], met in (low, high] (in any unit of time; high inf: not met), as `Cells` of logarithms.

    cell: [N] which of `num_cells` each belongs to. diverged: [N] runs that count as slower than all that arrived in
    their cell; they say nothing where none did. Such runs are left out, as are cells' paddings.
    """
    lows, highs = np.asarray(low, dtype=float).copy(), np.asarray(high, dtype=float)
    kept = np.ones(len(lows), dtype=bool)
    if diverged is not None and diverged.any():
        slowest = np.full(num_cells, -np.inf)
        arrived = np.isfinite(highs) & ~diverged
        np.maximum.at(slowest, cell[arrived], highs[arrived])
        lows, highs = np.where(diverged, slowest[cell], lows), np.where(diverged, np.inf, highs)
        kept = lows > -np.inf
    kept &= (lows > 0) | np.isfinite(highs)  # stopped at once: nothing is known
    table = np.stack([cell[kept], lows[kept], highs[kept]], axis=1)
    distinct, counts = np.unique(table, axis=0, return_counts=True)
    owner = distinct[:, 0].astype(np.int64)
    per_cell = np.bincount(owner, minlength=num_cells)
    place = np.arange(len(owner)) - (np.cumsum(per_cell) - per_cell)[owner]
    shape = num_cells, max(int(per_cell.max(initial=0)), 1)
    padded = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    with np.errstate(divide="ignore"):
        for array, values in zip(padded, (np.log(distinct[:, 1]), np.log(distinct[:, 2]), counts), strict=True):
            array[owner, place] = values
    return Cells(*padded)


def log_likelihood(cells: Cells, points: Array, spread: Array) -> Array:
    """[m, S, G] of mu at `points` [m, S, G] under `spread` [m, S], summed over the runs of each cell."""
    m, num_spreads, num_points = points.shape
    return log_likelihoods(
        cells.at(np.repeat(np.arange(m), num_spreads)), points.reshape(-1, num_points), spread.reshape(-1)
    ).reshape(points.shape)


def log_likelihoods(cells: Cells, points: Array, spread: Array) -> Array:
    """[m, G] of mu at `points` [m, G], each cell under its own `spread` [m]."""
    sizes = np.maximum((cells.counts > 0).sum(axis=1), 1) * points.shape[1]
    pieces = np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(np.cumsum(sizes) // _CHUNK)) + 1)
    return np.concatenate([_log_likelihoods(cells.at(piece), points[piece], spread[piece]) for piece in pieces])


def _log_likelihoods(cells: Cells, points: Array, spread: Array) -> Array:
    """The same, of few cells; everything in units of the spread."""
    owner, column = np.nonzero(cells.counts)
    low, high = (ends[owner, column] / spread[owner] for ends in (cells.low, cells.high))
    counts, places = cells.counts[owner, column], points / spread[:, None]
    narrow = high - low < NARROW
    result = np.zeros(points.shape)
    if narrow.any():
        result += _of_points(owner[narrow], low[narrow], high[narrow], counts[narrow], places, spread)
    wide = ~narrow
    if wide.any():
        first, sums = _of_intervals(owner[wide], low[wide], high[wide], counts[wide], places)
        result[first] += sums
    return result


def _of_points(owner: Integers, low: Array, high: Array, counts: Array, places: Array, spread: Array) -> Array:
    """[m, G] of intervals [n] as good as points, by their number, mean and scatter; of true points the density."""
    m, width, middle = len(places), high - low, 0.5 * (low + high)
    number = np.bincount(owner, counts, m)
    mean = np.bincount(owner, counts * middle, m) / np.maximum(number, 1)
    each = np.log(np.where(width > 0, width, 1 / spread[owner])) - _LOG_ROOT_2_PI - 0.5 * (middle - mean[owner]) ** 2
    result: Array = (
        np.bincount(owner, counts * each, m)[:, None] - 0.5 * number[:, None] * (places - mean[:, None]) ** 2
    )
    return result


def _of_intervals(owner: Integers, low: Array, high: Array, counts: Array, places: Array) -> tuple[Integers, Array]:
    """([k] the cells that have some, [k, G] their sums) of intervals [n], owners ascending.

    Intervals between checks mostly share an end with the next, whose tail, what costs most, is computed once.
    """
    apart = np.append(True, (owner[1:] != owner[:-1]) | (low[1:] != high[:-1]))
    end = np.cumsum(apart) + np.arange(len(owner))  # of each interval, among all ends; its beginning is the one before
    ends, of = np.empty(end[-1] + 1), np.empty(end[-1] + 1, dtype=np.int64)
    ends[end], of[end] = high, owner
    ends[end[apart] - 1], of[end[apart] - 1] = low[apart], owner[apart]
    away = (places[of] - ends[:, None]).clip(-FARTHEST, FARTHEST)
    tails = np.copysign(special.ndtr(-np.abs(away)), away)  # below mu the probability up to there, above - from there
    share = tails[end] - tails[end - 1]
    share += share < 0  # mu lies between
    faint = share < FAINTEST
    if faint.any():
        share[faint] = 1.0
    logs = np.log(share)
    if faint.any():
        which, place = np.nonzero(faint)
        mu = places[owner[which], place]
        logs[faint] = _log_between(low[which] - mu, high[which] - mu)
    first = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    return owner[first], np.add.reduceat(counts[:, None] * logs, first)


def _log_between(low: Array, high: Array) -> Array:
    """log(Phi(high) - Phi(low)) far out on one side."""
    mirrored = low > 0
    upper, lower = (special.log_ndtr(np.where(mirrored, -a, b)) for a, b in ((low, high), (high, low)))
    result: Array = upper + np.log1p(-np.exp(lower - upper))
    return result
