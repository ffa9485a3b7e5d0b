"""Times to a target known only to lie in an interval, cell by cell: their typical value, its interval, their spread.

The model is that of `fit.likelihood`, with a flat prior of mu. Integrals over mu and sigma are sums on grids; nothing
is drawn at random.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from batchscope.analysis.fit.likelihood import (
    Array,
    Cells,
    Integers,
    cells_of,
    log_likelihood,
    log_likelihoods,
)
from batchscope.analysis.intervals import LEVEL

# Weak prior, an assumption of ours: seeds differ by 15 %, within a factor of e^1.5 either way. It decides only what the
# runs leave open, such as sigma when all runs of a cell report the same check, and vanishes against a handful of runs.
TYPICAL_SPREAD, SPREAD_OF_SPREAD = 0.15, 1.5
SPREADS = np.geomspace(0.005, 3.0, 17)  # the first grid of sigma
PLACES = np.linspace(-1.0, 1.0, 65)  # the grid of mu, in units of how far it reaches
FEW_PLACES = PLACES[::2]  # enough for sums over it (half a standard error apart), not for quantiles
SMOOTH = 4.0  # a likelihood of intervals below so many sigma has no edges
CUT_OFF = 1e-8  # of the mass at an end of the grid: more of it lies beyond

Statistic = Literal["median", "mean"]


@dataclass(frozen=True)
class Summaries:
    """What the runs of m cells say about mu for each of S spreads, [m, S]: log evidence, mean and variance of mu.

    Under a flat prior of mu; evidence integrates the likelihood over it (so its maximum over sigma is restricted
    maximum likelihood). NaN for cells whose runs do not bound mu. points, weights: [m, S, G] the grid and its masses.
    """

    evidence: Array
    mean: Array
    variance: Array
    points: Array
    weights: Array


def summarise(cells: Cells, spreads: Array) -> Summaries:
    """Integrate over mu. spreads: [S], or [m, S] where each cell has its own."""
    spread = np.broadcast_to(spreads, (len(cells.low), np.shape(spreads)[-1]))
    pairs = cells.at(np.repeat(np.arange(len(spread)), spread.shape[1]))
    found = _summarise(pairs, spread.reshape(-1), PLACES)
    return Summaries(**{name: array.reshape(*spread.shape, *array.shape[1:]) for name, array in vars(found).items()})


def log_evidence(cells: Cells, spreads: Array) -> Array:
    """[m, S] the evidence alone, for spreads [S]: as exact, from fewer places where the likelihood is smooth."""
    spread = np.tile(spreads, len(cells.low))
    pairs = cells.at(np.repeat(np.arange(len(cells.low)), len(spreads)))
    smooth = _widths(pairs) < SMOOTH * spread
    result = np.empty(len(spread))
    for which, places in ((smooth, FEW_PLACES), (~smooth, PLACES)):
        if which.any():
            result[which] = _summarise(pairs.at(which), spread[which], places).evidence
    return result.reshape(-1, len(spreads))


def _summarise(cells: Cells, spread: Array, places: Array) -> Summaries:
    """The same of m cells under a spread of their own each, [m] for [m, S]. Few places start where mass is likely."""
    centre, likely, widest = _window(cells, spread)
    reach = likely if len(places) < len(PLACES) else widest
    result, spacing = _integrate(cells, spread, centre, reach, places), places[1] - places[0]
    cut = (result.weights[:, [0, -1]].max(axis=1) > CUT_OFF) & (reach < widest)
    reach = np.where(cut, widest, reach)
    _replace(result, np.flatnonzero(cut), cells, spread, centre, reach, places)
    for _ in range(4):  # a window that intervals without an end made too wide is closed about the mass it holds
        again = np.flatnonzero(result.variance < (1.5 * reach * spacing) ** 2)
        if not len(again):
            break
        error = np.sqrt(np.maximum(result.variance, (0.5 * reach * spacing) ** 2))
        centre[again] = result.mean[again]
        reach[again] = np.minimum(reach, 10 * error)[again]
        _replace(result, again, cells, spread, centre, reach, places)
    return result


def _replace(
    result: Summaries, again: Integers, cells: Cells, spread: Array, centre: Array, reach: Array, places: Array
) -> None:
    """Integrate some of the cells once more, on other grids."""
    if len(again):
        better = _integrate(cells.at(again), spread[again], centre[again], reach[again], places)
        for name, array in vars(result).items():
            array[again] = getattr(better, name)


def _integrate(cells: Cells, spread: Array, centre: Array, reach: Array, places: Array) -> Summaries:
    points = centre[:, None] + reach[:, None] * places
    log_density = log_likelihoods(cells, points, spread)
    top = log_density.max(axis=1, keepdims=True)
    density = np.exp(log_density - top)
    total = density.sum(axis=1, keepdims=True)
    weights = density / total
    mean = (weights * points).sum(axis=1)
    variance = (weights * (points - mean[:, None]) ** 2).sum(axis=1)
    evidence = top[:, 0] + np.log(total[:, 0] * reach * (places[1] - places[0]))
    known = cells.bounded
    evidence, mean, variance = (np.where(known, x, np.nan) for x in (evidence, mean, variance))
    return Summaries(evidence, mean, variance, points, weights)


def _window(cells: Cells, spread: Array) -> tuple[Array, Array, Array]:
    """([m] centre, [m] reach, [m] the widest reach) of the grid of mu: where the likelihood is, most likely and surely.

    With eight standard errors about it, rounded times having a variance of width^2 / 12 more (Sheppard).
    """
    used, sides, width = cells.counts > 0, spread[:, None], _widths(cells)
    before, after = cells.high - np.maximum(sides, 0.5), cells.low + sides
    middle = np.where(np.isinf(cells.high), after, np.where(np.isinf(cells.low), before, (cells.low + cells.high) / 2))
    centre = (cells.counts * np.where(used, middle, 0.0)).sum(axis=1) / np.maximum(cells.num_runs, 1)
    arrived = np.sqrt(np.maximum(cells.num_arrived, 1))
    widest = 8 * spread / arrived + 0.6 * width + (used & np.isinf(cells.low)).any(axis=1)
    rounded = 8 * np.sqrt(spread**2 + width**2 / 12) / arrived
    whole = ~(used & (np.isinf(cells.low) | np.isinf(cells.high))).any(axis=1)
    return centre, np.where(whole, np.minimum(rounded, widest), widest), widest


def _widths(cells: Cells) -> Array:
    """[m] the widest interval with two ends."""
    with np.errstate(invalid="ignore"):
        widths = cells.high - cells.low
    widest: Array = np.where((cells.counts > 0) & np.isfinite(widths), widths, 0.0).max(axis=1)
    return widest


def log_prior(spread: Array) -> Array:
    """Of log sigma, up to a constant."""
    density: Array = -0.5 * (np.log(spread / TYPICAL_SPREAD) / SPREAD_OF_SPREAD) ** 2
    return density


def pooled_spread(cells: Cells) -> float:
    """sigma common to all cells: the mode of its posterior, mu of every cell integrated out; NaN without two runs."""
    use = cells.at(cells.bounded & (cells.num_runs > 1))
    arrays = (use.low, use.high, use.counts)
    return _pooled_spread(use.low.shape, *(array.tobytes() for array in arrays)) if len(use.low) else math.nan


@functools.lru_cache(maxsize=1024)  # fits, thresholds and ratios of a study ask it of the same runs
def _pooled_spread(shape: tuple[int, int], *arrays: bytes) -> float:
    """The same of the low, high and counts of cells that bound mu, as bytes."""
    score = _Score(Cells(*(np.frombuffer(array).reshape(shape) for array in arrays)))
    grid = SPREADS
    best = _peak(score, grid)
    for _ in range(3):
        grid = np.geomspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 5)
        best = int(score.at(grid).argmax())
    return float(grid[best])


class _Score:
    """Log posterior of the common sigma of some cells, each value of it looked at once."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._known: dict[float, float] = {}

    def at(self, spreads: Array) -> Array:
        """[S] of these."""
        keys = [float(f"{spread:.9g}") for spread in spreads]  # the same, reached by another way
        new = np.array([spread for spread, key in zip(spreads, keys, strict=True) if key not in self._known])
        if len(new):
            found = log_evidence(self._cells, new).sum(axis=0) + log_prior(new)
            self._known |= {float(f"{spread:.9g}"): value for spread, value in zip(new, found.tolist(), strict=True)}
        return np.array([self._known[key] for key in keys])


def _peak(score: _Score, grid: Array) -> int:
    """The index of the best of a grid, by steps of two, then one: in log sigma the score is concave, with one peak."""
    best = len(grid) // 2
    for step in (2, 2, 2, 2, 1):
        near = np.unique(np.clip([best - step, best, best + step], 0, len(grid) - 1))
        best = int(near[score.at(grid[near]).argmax()])
    return best


@dataclass(frozen=True)
class TypicalTimes:
    """For each of m cells, [m]: the median (or mean) of the arrival times, and the ends of its interval.

    value: NaN where the runs do not bound it (then one end of the interval is 0 or inf: a bound) or fewer than two
    say anything. low, high: NaN for fewer than two runs.
    """

    value: Array
    low: Array
    high: Array


def typical_times(
    low: ArrayLike,
    high: ArrayLike,
    cell: ArrayLike | None = None,
    diverged: ArrayLike | None = None,
    *,
    statistic: Statistic = "median",
    level: float = LEVEL,
) -> TypicalTimes:
    """The typical time to the target of each cell, from runs that met it between two checks, or not at all.

    low, high: [N] the target was met after `low` and by `high`, epochs or steps or seconds: the last check that did not
    meet it (0: none) and the first that did; a run that was stopped has high = inf and low = where it stopped.
    cell: [N] the number of each run's cell, 0 to m - 1; None: one cell. diverged: [N] counts as slower than every run
    of its cell that arrived (`low`, `high` of it are not looked at). statistic: "median" of the log-normal, exp(mu),
    or "mean", exp(mu + sigma^2 / 2).

    The interval has posterior probability `level` under a flat prior of mu and the weak one of sigma (with exact times
    it is nearly Student's), and leaves out no value of which chance puts all runs on one side too often to rule it out:
    three runs seen at one check say little of where in or near it the median is. It holds whether a run was checked a
    thousand times or once per epoch. Where no run arrived only its lower end is a number, and where all arrived by the
    first check only its upper end.
    """
    lows, highs = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    owner = np.zeros(len(lows), np.int64) if cell is None else np.asarray(cell, np.int64)
    lost = None if diverged is None else np.asarray(diverged, bool)
    num_cells = int(owner.max(initial=-1)) + 1 if cell is not None else 1
    cells = cells_of(lows, highs, owner, num_cells, lost)
    value, ends = np.full(num_cells, np.nan), np.full((2, num_cells), np.nan)
    use = cells.bounded & (cells.num_runs > 1)
    if use.any():
        value[use], ends[0, use], ends[1, use] = _posterior(cells.at(use), statistic, level)
    one = cells.bounded & (cells.num_runs == 1)
    if one.any():
        value[one] = np.exp(summarise(cells.at(one), np.array([TYPICAL_SPREAD])).mean[:, 0])
    for index in np.flatnonzero(~cells.bounded & (cells.num_runs > 0)):
        known = cells.counts[index] > 0
        if cells.num_arrived[index]:
            ends[:, index] = 0.0, math.exp(cells.high[index, known].max())
        else:
            ends[:, index] = math.exp(cells.low[index, known].min()), math.inf
    return TypicalTimes(value, *ends)


def _posterior(cells: Cells, statistic: Statistic, level: float) -> tuple[Array, Array, Array]:
    """([m] median, [m] lower end, [m] upper end) of the statistic's posterior."""
    spreads = _spreads_of(cells)
    summary = summarise(cells, spreads)
    score = summary.evidence + log_prior(spreads)
    mass = np.exp(score - score.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    points = summary.points + (0.5 * spreads[..., None] ** 2 if statistic == "mean" else 0.0)
    flat, weights = points.reshape(len(points), -1), (mass[..., None] * summary.weights).reshape(len(points), -1)
    order = flat.argsort(axis=1)
    flat, weights = np.take_along_axis(flat, order, 1), np.take_along_axis(weights, order, 1)
    below = weights.cumsum(axis=1) - 0.5 * weights
    shares = (0.5, (1 - level) / 2, (1 + level) / 2)
    quantiles = [[float(np.interp(share, b, f)) for b, f in zip(below, flat, strict=True)] for share in shares]
    middle, lower, upper = np.array(quantiles)
    on_one_side = 2.0 ** (1 - cells.num_runs) > 1 - level
    if on_one_side.any():
        few = cells.at(on_one_side)
        shift = 0.5 * (mass * spreads).sum(axis=1)[on_one_side] ** 2 if statistic == "mean" else 0.0
        around = middle[on_one_side], (upper - lower)[on_one_side]
        least, most = _not_ruled_out(few, spreads[on_one_side, ::2], *around)
        lower[on_one_side] = np.minimum(lower[on_one_side], least + shift)
        upper[on_one_side] = np.maximum(upper[on_one_side], most + shift)
    return np.exp(middle), np.exp(lower), np.exp(upper)


def _not_ruled_out(cells: Cells, spreads: Array, centre: Array, reach: Array) -> tuple[Array, Array]:
    """([m], [m]) the ends of mu where the likelihood, sigma integrated out, is at least 2^-r of its maximum.

    That is what r runs on one side of a median leave of it. centre, reach: [m] where to look.
    """
    grid = centre[:, None] + reach[:, None] * np.linspace(-2.0, 2.0, 161)
    logs = log_likelihood(cells, np.broadcast_to(grid[:, None, :], (*spreads.shape, 161)), spreads)
    prior = np.exp(log_prior(spreads))[..., None]
    top = logs.max(axis=(1, 2), keepdims=True)
    likelihood = (prior * np.exp(logs - top)).sum(axis=1)
    inside = likelihood >= 2.0 ** (-cells.num_runs[:, None] - 0.5) * likelihood.max(axis=1, keepdims=True)
    rows = np.arange(len(grid))
    return grid[rows, inside.argmax(axis=1)], grid[rows, 160 - inside[:, ::-1].argmax(axis=1)]


def _spreads_of(cells: Cells) -> Array:
    """[m, S] for each cell a grid of sigma that holds its posterior: the common one, or a finer one about the mode."""
    score = log_evidence(cells, SPREADS) + log_prior(SPREADS)
    mass = np.exp(score - score.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    logs = np.log(SPREADS)
    centre = mass @ logs
    step = logs[1] - logs[0]
    width = np.sqrt(np.maximum((mass * (logs - centre[:, None]) ** 2).sum(axis=1), (0.3 * step) ** 2))
    grid: Array = np.exp(centre[:, None] + width[:, None] * np.linspace(-4.0, 4.0, 17))
    return grid
