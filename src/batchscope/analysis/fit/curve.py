"""Steps to target against batch size when every batch size has an error of its own, and how sure B_crit is.

Model: log T = log S(B) + b + sigma z, S(B) = S_min (1 + (B_crit/B)^alpha)^(1/alpha). alpha = 1 is McCandlish et al.
2018; any alpha keeps both limits and a larger one turns more sharply between them. z differs from run to run (the
seed), b from batch size to batch size (a step size off the best), both standard normal times sigma and tau.

Seeds give sigma, residuals of the batch sizes about the curve give sigma^2 / runs + tau^2: a random-effects regression
on the cells (Paule and Mandel 1982) whose deviance is read as the square of Student's t with as many degrees of freedom
as batch sizes are to spare (Knapp and Hartung 2003). No resampling: the profile is the confidence distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

from batchscope.analysis.fit import arrivals
from batchscope.analysis.fit.likelihood import Array, Booleans, Cells, log_likelihood

# B_crit this far outside the sweep is not told apart from 0 or infinity: the curve bends by less than one part in 10^4.
BEYOND_SWEEP = 1e4
SPREAD_OF_SHARPNESS = 1.0  # weak prior, ours: log alpha is 0, within a factor of e either way
# Below four batch sizes nothing tells how far one is off by itself: as many as are missing are taken to be 15 % off.
ASSUMED_OWN_ERROR, FEWEST_FREEDOM = 0.15, 2
ALONE = 0.02  # sigma where every batch size has one run: the rest of the scatter is its own error
LEAST_VARIANCE = 1e-10  # of a cell: exact curves have no scatter at all
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_ALONG = np.linspace(-8.0, 8.0, 65)


def log_steps(log_batch: Array, log_s_min: Array, log_e_min: Array, log_sharpness: Array) -> Array:
    """log S(B); arguments broadcast."""
    alpha = np.exp(log_sharpness)
    return np.logaddexp(alpha * log_s_min, alpha * (log_e_min - log_batch)) / alpha


def overheads(log_batch: Array, log_b_crit: Array, log_sharpness: Array | float = 0.0) -> Array:
    """log (S(B) / S_min), [..., m] for B_crit and alpha [...]."""
    alpha = np.exp(np.asarray(log_sharpness))[..., None]
    result: Array = np.logaddexp(0.0, alpha * (np.asarray(log_b_crit)[..., None] - log_batch)) / alpha
    return result


@dataclass(frozen=True)
class CurveFit:
    """The curve of one shape, fitted to m batch sizes.

    log_batch, mean, variance: [m] of the runs of each batch size: log steps and the variance of that (seeds alone; NaN
    where the runs only bound it). bounds: the cells that only bound it, and where they stand: `bounded` is False.
    spread: sigma (NaN: no batch size has two runs). own: tau. freedom: of Student's t. sharp: whether alpha is free.
    log_b_crit, log_s_min, log_sharpness: the best. deviance: its -2 log-likelihood, against means free of any curve.
    """

    log_batch: Array
    mean: Array
    variance: Array
    bounded: Booleans
    cells: Cells
    spread: float
    own: float
    freedom: float
    sharp: bool
    log_b_crit: float
    log_s_min: float
    log_sharpness: float
    deviance: float

    @property
    def total(self) -> Array:
        """[m] variance of each batch size about the curve: seeds and its own error; NaN where only bounded."""
        return self.variance + self.own**2

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest log B_crit that are told apart from 0 and infinity."""
        away = math.log(BEYOND_SWEEP)
        return float(self.log_batch.min()) - away, float(self.log_batch.max()) + away

    def profile(self, log_b_crit: Array, log_sharpness: Array | float = 0.0) -> tuple[Array, Array]:
        """([...] deviance, [...] best log S_min) at B_crit and alpha [...]."""
        rise = overheads(self.log_batch, log_b_crit, log_sharpness)
        seen = self.bounded
        weight = 1 / self.total[seen]
        away = self.mean[seen] - rise[..., seen]
        centre = away @ weight / weight.sum()
        deviance = (away - centre[..., None]) ** 2 @ weight + _penalty(log_sharpness)
        if not len(self._bound_tables):
            return deviance, centre
        places = centre[..., None] + _ALONG / math.sqrt(weight.sum())
        total = deviance[..., None] + _ALONG**2
        for index, (grid, values) in self._bound_tables.items():
            total = total - 2 * np.interp(places + rise[..., index, None], grid, values)
        best = total.argmin(axis=-1)[..., None]
        return np.take_along_axis(total, best, -1)[..., 0], np.take_along_axis(places, best, -1)[..., 0]

    @cached_property
    def _bound_tables(self) -> dict[int, tuple[Array, Array]]:
        """Of the cells that only bound their mean: log-likelihood of the curve's height, its own error integrated."""
        tables = {}
        for index in np.flatnonzero(~self.bounded & (self.cells.num_runs > 0)):
            tables[int(index)] = bound_table(self.cells, int(index), self._sigma, self.own)
        return tables

    @property
    def _sigma(self) -> float:
        return ALONE if math.isnan(self.spread) else self.spread

    @cached_property
    def grid(self) -> Array:
        """log B_crit, ascending, fine where a sweep tells it."""
        low, high = self.limits
        inner = np.linspace(self.log_batch.min() - 4.6, self.log_batch.max() + 4.6, 201)
        return np.concatenate([[low], inner, [high]])

    @property
    def surface(self) -> Array:
        """[grid] deviance, alpha profiled out where it is free."""
        return self._on_grid[0]

    @cached_property
    def _on_grid(self) -> tuple[Array, Array]:
        """([grid] deviance, [grid] log alpha) with the best alpha."""
        return self._over_sharpness(self.grid)

    def _over_sharpness(self, log_b_crit: Array) -> tuple[Array, Array]:
        """([...] deviance, [...] log alpha) with the best alpha."""
        if not self.sharp:
            return self.profile(log_b_crit)[0], np.zeros(np.shape(log_b_crit))
        values = np.stack([self.profile(log_b_crit, np.full(np.shape(log_b_crit), s))[0] for s in SHARPNESSES], axis=-1)
        best = values.argmin(axis=-1)
        return values.min(axis=-1), SHARPNESSES[best]

    @cached_property
    def roots(self) -> Array:
        """[grid] signed root of the deviance above its least: Student's t if B_crit were there."""
        away = np.sqrt(np.maximum(self.surface - min(self.deviance, float(self.surface.min())), 0.0))
        signed = np.where(self.grid < self.log_b_crit, -away, away)
        return np.maximum.accumulate(signed)

    @property
    def no_slow_down(self) -> float:
        """One-sided p-value of the curve without a slow-down, B_crit = infinity."""
        return float(special.stdtr(self.freedom, -self.roots[-1])) if self.roots[-1] > 0 else 0.5

    def quantiles(self, shares: Array) -> Array:
        """log B_crit at these shares of its confidence distribution; -inf, inf beyond what the sweep tells."""
        wanted = special.stdtrit(self.freedom, shares)
        steps = np.arange(len(self.roots)) * 1e-12  # flat stretches keep their order
        found: Array = np.interp(wanted, self.roots + steps, self.grid)
        found = np.where(wanted >= self.roots[-1], np.inf, found)
        return np.where(wanted <= self.roots[0], -np.inf, found)

    def sharpness_ends(self, level: float) -> tuple[float, float]:
        """The interval of alpha, B_crit profiled out; NaN where it is not free."""
        if not self.sharp:
            return math.nan, math.nan
        values = np.array([self.profile(self.grid, np.full(len(self.grid), s))[0].min() for s in SHARPNESSES])
        away = np.sqrt(np.maximum(values - min(self.deviance, values.min()), 0.0))
        roots = np.maximum.accumulate(np.where(self.log_sharpness > SHARPNESSES, -away, away))
        half = float(special.stdtrit(self.freedom, (1 + level) / 2))
        low, high = np.exp(np.interp([-half, half], roots + 1e-12 * np.arange(len(roots)), SHARPNESSES))
        return float(low), float(high)

    def joint(self, log_b_crit: Array, rng: np.random.Generator) -> Array:
        """[R, 3] log S_min, log E_min, log alpha that go with draws [R] of log B_crit."""
        inside = np.clip(log_b_crit, *self.limits)
        sharpness = self._over_sharpness(inside)[1] if self.sharp else np.zeros(len(inside))
        centre = self.profile(inside, sharpness)[1]
        error = 1 / math.sqrt(float((1 / self.total[self.bounded]).sum()))
        log_s_min = centre + error * rng.standard_t(self.freedom, len(inside))
        return np.stack([log_s_min, log_s_min + inside, sharpness], axis=1)


SHARPNESSES = np.linspace(math.log(0.25), math.log(16.0), 49)


def _penalty(log_sharpness: Array | float) -> Array:
    return np.asarray((np.asarray(log_sharpness) / SPREAD_OF_SHARPNESS) ** 2)


def bound_table(cells: Cells, index: int, spread: float, own: float) -> tuple[Array, Array]:
    """(grid, values) log-likelihood of the height of the curve at a batch size whose runs only bound it."""
    one = cells.at(np.arange(len(cells.low)) == index)
    known = one.counts[0] > 0
    ends = np.concatenate([one.low[0, known], one.high[0, known]])
    ends = ends[np.isfinite(ends)]
    reach = 12 * math.hypot(spread, own) + 3.0
    grid = np.linspace(ends.min() - reach, ends.max() + reach, 201)
    points = (grid[:, None] + own * _NODES).reshape(1, 1, -1)
    logs = log_likelihood(one, points, np.full((1, 1), spread)).reshape(len(grid), -1)
    return grid, special.logsumexp(logs, b=_WEIGHTS / _WEIGHTS.sum(), axis=1)


def fit_curve(log_batch: Array, cells: Cells, sharp: bool = False) -> CurveFit | None:
    """The fit; None where fewer than two batch sizes have runs that bound their mean on both sides."""
    bounded = cells.bounded
    if bounded.sum() < 2:
        return None
    spread = arrivals.pooled_spread(cells)
    summary = arrivals.summarise(cells, np.array([ALONE if math.isnan(spread) else spread]))
    mean, variance = summary.mean[:, 0], np.maximum(summary.variance[:, 0], LEAST_VARIANCE)
    if math.isnan(spread):  # one run each: only the rounding of the checks is known beside its own error
        variance = np.maximum(variance - ALONE**2, LEAST_VARIANCE)
    spare = int(bounded.sum()) - 2 - sharp
    draft = CurveFit(
        log_batch, mean, variance, bounded, cells, spread, 0.0, max(spare, FEWEST_FREEDOM), sharp, 0.0, 0.0, 0.0, 0.0
    )
    return _best(replace(draft, own=_own_error(draft, spare)))


def by_seeds_alone(curve: CurveFit) -> CurveFit:
    """The fit had batch sizes no error of their own, tau = 0."""
    repeats = float(curve.cells.num_runs[curve.bounded].sum() - curve.bounded.sum())
    return _best(replace(curve, own=0.0, freedom=max(repeats, FEWEST_FREEDOM)))


def _own_error(draft: CurveFit, spare: int) -> float:
    """tau: where the weighted residuals about the best curve add up to the degrees of freedom (Paule and Mandel)."""
    seen = draft.bounded
    mean, variance = draft.mean[seen], draft.variance[seen]
    sharpness = SHARPNESSES[::4] if draft.sharp else np.zeros(1)
    grid = np.linspace(draft.log_batch.min() - 6.0, draft.log_batch.max() + 6.0, 121)
    rise = overheads(draft.log_batch[seen], grid[:, None], np.broadcast_to(sharpness, (len(grid), len(sharpness))))
    away = mean - rise.reshape(-1, len(mean))
    assumed = max(0, FEWEST_FREEDOM - spare)
    typical = float(np.median(variance))
    own = np.concatenate([[0.0], np.geomspace(1e-4, 3.0, 60)])
    weight = 1 / (variance + own[:, None] ** 2)
    total = weight.sum(axis=1)
    squares = weight @ (away**2).T - (weight @ away.T) ** 2 / total[:, None]
    left = squares.min(axis=1) + assumed * (ASSUMED_OWN_ERROR**2 + typical) / (own**2 + typical)
    wanted = max(spare, FEWEST_FREEDOM)
    if left[0] <= wanted:
        return 0.0
    return float(np.sqrt(np.interp(-wanted, -left, own**2)))


def _best(draft: CurveFit) -> CurveFit:
    """The best B_crit (and alpha), on finer and finer grids."""
    values, sharpness = draft._on_grid
    index = int(values.argmin())
    if index in (0, len(draft.grid) - 1) or np.ptp(values[[index - 1, index + 1]]) < 0:
        return _at(draft, float(draft.grid[index]), float(sharpness[index]))
    low, high = draft.grid[index - 1], draft.grid[index + 1]
    alpha, width = float(sharpness[index]), SHARPNESSES[1] - SHARPNESSES[0]
    for _ in range(4):
        grid = np.linspace(low, high, 21)
        alphas = np.linspace(alpha - width, alpha + width, 21) if draft.sharp else np.zeros(1)
        sizes, sharp = np.meshgrid(grid, alphas, indexing="ij")
        values = draft.profile(sizes, sharp)[0]
        row, column = divmod(int(values.argmin()), values.shape[1])
        low, high = grid[max(row - 2, 0)], grid[min(row + 2, 20)]
        alpha, width = float(alphas[column]), width / 5
    return _at(draft, float(grid[row]), alpha)


def _at(draft: CurveFit, log_b_crit: float, log_sharpness: float) -> CurveFit:
    deviance, log_s_min = draft.profile(np.array(log_b_crit), np.array(log_sharpness))
    found = replace(
        draft,
        log_b_crit=log_b_crit,
        log_s_min=float(log_s_min),
        log_sharpness=log_sharpness,
        deviance=float(deviance),
    )
    vars(found).update({name: vars(draft)[name] for name in ("_on_grid", "_bound_tables") if name in vars(draft)})
    return found  # with what does not depend on where the best is, as cached_property keeps it
