"""Times to a target known only to lie in an interval, cell by cell: their typical value, its interval, their spread.

A *cell* is one shape at one batch size; its runs differ in the seed. Model: log T = mu + sigma z, z standard normal, mu
of each cell free (flat prior). A run whose target was met between two checks contributes P(low < T <= high), one that
was stopped before P(T > low). A run that diverged counts as slower than every run of its cell that arrived: Type II
censoring (Lawless 2003, Statistical Models and Methods for Lifetime Data, section 2.4), as the median over runs has it.
Integrals over mu and sigma are sums on grids; nothing is drawn at random.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]

# Weak prior, an assumption of ours: seeds differ by 15 %, within a factor of e^1.5 either way. It decides only what the
# runs leave open, such as sigma when all runs of a cell report the same check, and vanishes against a handful of runs.
TYPICAL_SPREAD, SPREAD_OF_SPREAD = 0.15, 1.5
SPREADS = np.geomspace(0.005, 3.0, 17)  # the first grid of sigma
PLACES = np.linspace(-1.0, 1.0, 65)  # the grid of mu, in units of how far it reaches
NARROW = 0.1  # an interval below this share of sigma is as good as a point
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
_CHUNK = 2_000_000  # numbers held at once

Statistic = Literal["median", "mean"]


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

    def at(self, kept: Booleans) -> Cells:
        """Some of the cells."""
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
    size = max(1, _CHUNK // max(1, spread.shape[1] * len(PLACES) * cells.low.shape[1]))
    pieces = [
        _summarise(
            Cells(cells.low[k : k + size], cells.high[k : k + size], cells.counts[k : k + size]), spread[k : k + size]
        )
        for k in range(0, max(len(spread), 1), size)
    ]
    names = ("evidence", "mean", "variance", "points", "weights")
    return Summaries(**{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names})


def _summarise(cells: Cells, spread: Array) -> Summaries:
    centre, reach = _window(cells, spread)
    result = _integrate(cells, spread, centre, reach)
    for _ in range(4):  # a window that intervals without an end made too wide is closed about the mass it holds
        step = reach * (PLACES[1] - PLACES[0])
        coarse = result.variance < (1.5 * step) ** 2
        if not coarse.any():
            break
        error = np.sqrt(np.where(coarse, np.maximum(result.variance, (0.5 * step) ** 2), 0.0))
        centre, reach = np.where(coarse, result.mean, centre), np.where(coarse, np.minimum(reach, 10 * error), reach)
        result = _integrate(cells, spread, centre, reach)
    return result


def _integrate(cells: Cells, spread: Array, centre: Array, reach: Array) -> Summaries:
    points = centre[..., None] + reach[..., None] * PLACES
    log_density = log_likelihood(cells, points, spread[..., None])
    top = log_density.max(axis=-1, keepdims=True)
    density = np.exp(log_density - top)
    total = density.sum(axis=-1, keepdims=True)
    weights = density / total
    mean = (weights * points).sum(axis=-1)
    variance = (weights * (points - mean[..., None]) ** 2).sum(axis=-1)
    evidence = top[..., 0] + np.log(total[..., 0] * reach * (PLACES[1] - PLACES[0]))
    known = cells.bounded[:, None]
    evidence, mean, variance = (np.where(known, x, np.nan) for x in (evidence, mean, variance))
    return Summaries(evidence, mean, variance, points, weights)


def log_likelihood(cells: Cells, points: Array, spread: Array) -> Array:
    """[m, S, G] of mu at `points` [m, S, G] under `spread` (broadcast to it), summed over the runs of each cell."""
    result = np.zeros(points.shape)
    for k in range(cells.low.shape[1]):
        low, high, counts = (x[:, k, None, None] for x in (cells.low, cells.high, cells.counts))
        here = np.flatnonzero(cells.counts[:, k])
        if len(here):
            spreads = np.broadcast_to(spread, points.shape)[here]
            result[here] += counts[here] * log_probability(low[here], high[here], points[here], spreads)
    return result


def log_probability(low: Array, high: Array, mean: Array, spread: Array) -> Array:
    """log P(low < mean + spread z <= high), arguments broadcast; of a point (low = high) the log density of z."""
    width = (high - low) / spread
    narrow = width < NARROW
    with np.errstate(invalid="ignore", divide="ignore"):
        if not narrow.any():  # most often one of the two is enough, and each costs as much as the rest of a report
            return _log_between((low - mean) / spread, (high - mean) / spread)
        middle = (0.5 * (low + high) - mean) / spread
        point: Array = -0.5 * middle**2 - _LOG_ROOT_2_PI + np.log(np.where(width > 0, width, 1.0 / spread))
        if narrow.all():
            return point
        return np.where(narrow, point, _log_between((low - mean) / spread, (high - mean) / spread))


def _log_between(low: Array, high: Array) -> Array:
    """log(Phi(high) - Phi(low)), from the tail that keeps its digits."""
    mirrored = low > 0
    small, large = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    result: Array = np.log(special.ndtr(large) - special.ndtr(small))
    tail = np.broadcast_to(large < -5, result.shape)
    if tail.any():
        upper, lower = special.log_ndtr(large[tail]), special.log_ndtr(small[tail])
        result[tail] = upper + np.log1p(-np.exp(lower - upper))
    return result


def _window(cells: Cells, spread: Array) -> tuple[Array, Array]:
    """([m, S] centre, [m, S] reach) of the grid of mu: where the likelihood is, with eight standard errors about it."""
    counts = cells.counts[:, None, :]
    with np.errstate(invalid="ignore"):
        widths = np.where(np.isfinite(cells.low) & np.isfinite(cells.high), cells.high - cells.low, 0.0)
    sides = spread[..., None]
    low, high = cells.low[:, None, :], cells.high[:, None, :]
    middle = np.where(
        np.isinf(high), low + sides, np.where(np.isinf(low), high - np.maximum(sides, 0.5), 0.5 * (low + high))
    )
    middle = np.where(counts > 0, middle, 0.0)
    runs = np.maximum(cells.num_runs, 1)[:, None]
    centre = (counts * middle).sum(axis=-1) / runs
    arrived = np.maximum(np.minimum(cells.num_arrived, cells.num_runs), 1)[:, None]
    open_left = ((cells.counts > 0) & np.isinf(cells.low)).any(axis=1)
    reach = 8 * spread / np.sqrt(arrived) + (0.6 * (widths * (cells.counts > 0)).max(axis=1) + open_left)[:, None]
    return centre, reach


def log_prior(spread: Array) -> Array:
    """Of log sigma, up to a constant."""
    density: Array = -0.5 * (np.log(spread / TYPICAL_SPREAD) / SPREAD_OF_SPREAD) ** 2
    return density


def pooled_spread(cells: Cells) -> float:
    """sigma common to all cells: the mode of its posterior, mu of every cell integrated out; NaN without two runs."""
    use = cells.at(cells.bounded & (cells.num_runs > 1))
    arrays = (use.low, use.high, use.counts)
    return _pooled_spread(use.low.shape, *(array.tobytes() for array in arrays)) if len(use.low) else math.nan


@functools.lru_cache(maxsize=256)  # fits, thresholds and ratios of a study ask it of the same runs
def _pooled_spread(shape: tuple[int, int], *arrays: bytes) -> float:
    """The same of the low, high and counts of cells that bound mu, as bytes."""
    use = Cells(*(np.frombuffer(array).reshape(shape) for array in arrays))
    grid = SPREADS
    for _ in range(3):
        score = summarise(use, grid).evidence.sum(axis=0) + log_prior(grid)
        best = int(score.argmax())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        grid = np.geomspace(low, high, 5)
    return float(grid[int((summarise(use, grid).evidence.sum(axis=0) + log_prior(grid)).argmax())])


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
    level: float = 0.95,
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
    logs = log_likelihood(cells, np.broadcast_to(grid[:, None, :], (*spreads.shape, 161)), spreads[..., None])
    prior = np.exp(log_prior(spreads))[..., None]
    top = logs.max(axis=(1, 2), keepdims=True)
    likelihood = (prior * np.exp(logs - top)).sum(axis=1)
    inside = likelihood >= 2.0 ** (-cells.num_runs[:, None] - 0.5) * likelihood.max(axis=1, keepdims=True)
    rows = np.arange(len(grid))
    return grid[rows, inside.argmax(axis=1)], grid[rows, 160 - inside[:, ::-1].argmax(axis=1)]


def _spreads_of(cells: Cells) -> Array:
    """[m, S] for each cell a grid of sigma that holds its posterior: the common one, or a finer one about the mode."""
    score = summarise(cells, SPREADS).evidence + log_prior(SPREADS)
    mass = np.exp(score - score.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    logs = np.log(SPREADS)
    centre = mass @ logs
    step = logs[1] - logs[0]
    width = np.sqrt(np.maximum((mass * (logs - centre[:, None]) ** 2).sum(axis=1), (0.3 * step) ** 2))
    grid: Array = np.exp(centre[:, None] + width[:, None] * np.linspace(-4.0, 4.0, 17))
    return grid
