"""Steps to a target that are known only to lie in an interval: likelihood, and its maximum for many resamples at once.

Model: log T = log S(B) + sigma z with z standard normal (an accelerated failure time model), and
S(B) = S_min (1 + (B_crit/B)^alpha)^(1/alpha). alpha = 1 is McCandlish et al. 2018; any alpha keeps both limits, S_min
for large and S_min B_crit / B (linear scaling) for small batches, and alpha > 1 turns more sharply between them.
A run whose target was met between two checks contributes P(lower < T <= upper), one that never met it P(T > lower).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

# Weak priors, assumptions of ours: they decide only what the data leave open (sigma when every run of a batch size
# reports the same check, alpha when the sweep does not turn) and vanish against a handful of runs.
TYPICAL_SPREAD, SPREAD_OF_SPREAD = 0.1, 1.5  # seeds differ by 10 %, within a factor of e^1.5 either way
SPREAD_OF_SHARPNESS = 1.0  # log alpha is 0, within a factor of e either way
# B_crit this far outside the sweep is not told apart from 0 or infinity: the curve bends by less than one part in 10^4.
BEYOND_SWEEP = 1e4
PERFECT_SPREAD = 1e-7  # runs this close to the curve are on it; there is no maximum to approach
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Observations:
    """N distinct observations of steps to target.

    log_batch: [N]. lower, upper: [N] log steps: the target was met after `lower`, by `upper`; equal: met exactly then;
    upper = inf: not met. counts: [N] runs that reported just this. cell: [N] index of the batch size.
    """

    log_batch: Array
    lower: Array
    upper: Array
    counts: Array
    cell: NDArray[np.int64]

    @property
    def middle(self) -> Array:
        """[N] log of the midpoint in steps; the lower end where the target was not met."""
        with np.errstate(invalid="ignore"):
            middles = np.log((np.exp(self.lower) + np.exp(self.upper)) / 2)
        return np.where(np.isfinite(self.upper), middles, self.lower)


@dataclass(frozen=True)
class Parameters:
    """R fits side by side, each [R]: log S_min, log E_min (examples), log sigma, log alpha, and the log-likelihood."""

    log_s_min: Array
    log_e_min: Array
    log_spread: Array
    log_sharpness: Array
    log_likelihood: Array

    @property
    def first(self) -> Array:
        """[4] the parameters of the first fit."""
        return np.array([self.log_s_min[0], self.log_e_min[0], self.log_spread[0], self.log_sharpness[0]])


def log_steps(log_batch: Array, log_s_min: Array, log_e_min: Array, log_sharpness: Array) -> Array:
    """log S(B); arguments broadcast."""
    alpha = np.exp(log_sharpness)
    return np.logaddexp(alpha * log_s_min, alpha * (log_e_min - log_batch)) / alpha


def maximise(
    data: Observations, weights: Array, free_sharpness: bool, start: Array | None = None, iterations: int = 200
) -> Parameters:
    """The penalised maximum-likelihood fit for each row of `weights` [R, N] (how often each observation counts).

    Levenberg-damped scoring, all R at once. start: [4] parameters to begin at, as resamples do, which then stop at
    three digits; None: the best of a grid over B_crit by least squares.
    """
    theta = _start(data, weights) if start is None else np.tile(start, (len(weights), 1))
    enough = 1e-8 if start is None else 1e-3
    limits = data.log_batch.min() - math.log(BEYOND_SWEEP), data.log_batch.max() + math.log(BEYOND_SWEEP)
    damping = np.full(len(theta), 1e-3)
    value, gradient, curvature = _objective(data, weights, theta, free_sharpness)
    active = np.arange(len(theta))
    for _ in range(iterations):
        step = _damped_step(gradient[active], curvature[active], damping[active])
        proposal = _within(theta[active] + step, limits)
        new_value, new_gradient, new_curvature = _objective(data, weights[active], proposal, free_sharpness)
        better = new_value >= value[active]
        moved = np.abs(proposal - theta[active]).max(axis=1)
        damping[active] = np.where(better, damping[active] / 10, damping[active] * 10).clip(1e-12, 1e12)
        accepted = active[better]
        theta[accepted], value[accepted] = proposal[better], new_value[better]
        gradient[accepted], curvature[accepted] = new_gradient[better], new_curvature[better]
        perfect = theta[active, 2] < math.log(PERFECT_SPREAD)
        active = active[~((better & (moved < enough)) | (damping[active] > 1e9) | perfect)]
        if not len(active):
            break
    return Parameters(theta[:, 0], theta[:, 1], theta[:, 2], theta[:, 3], value)


@dataclass(frozen=True)
class _Density:
    """[R, N], every observation under every fit: log-likelihood, its slopes and information in mu and log sigma."""

    value: Array
    slope_mean: Array
    slope_spread: Array
    information_mean: Array
    information_spread: Array


def _density(data: Observations, mean: Array, log_spread: Array) -> _Density:
    """mean [R, N], log_spread [R, 1]; exact observations have a density, the others a probability."""
    low, high = ((ends - mean) / np.exp(log_spread) for ends in (data.lower, data.upper))
    exact = data.lower == data.upper
    if exact.all():
        return _at_points(low, log_spread)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # of the exact ones, replaced below
        between = _in_intervals(low, high, log_spread)
    if not exact.any():
        return between
    points = vars(_at_points(low, log_spread))
    return _Density(**{name: np.where(exact, points[name], value) for name, value in vars(between).items()})


def _at_points(z: Array, log_spread: Array) -> _Density:
    """Normal density; the information on log sigma is the larger of the expected and the observed."""
    spread = np.exp(log_spread)
    return _Density(
        value=-0.5 * z * z - log_spread - _LOG_ROOT_2_PI,
        slope_mean=z / spread,
        slope_spread=z * z - 1,
        information_mean=np.broadcast_to(1 / spread**2, z.shape),
        information_spread=2 * np.maximum(1, z * z),
    )


def _in_intervals(low: Array, high: Array, log_spread: Array) -> _Density:
    """log(Phi(high) - Phi(low)) and its derivatives, from the normal density at the two ends over that probability."""
    spread = np.exp(log_spread)
    log_probability = _log_probability(low, high)
    at_low, at_high = (np.exp(-0.5 * z * z - _LOG_ROOT_2_PI - log_probability) for z in (low, high))
    low, high = (
        np.where(np.isfinite(z), z, 0.0) for z in (low, high)
    )  # an infinite end: density 0, contributes nothing
    pull = at_low - at_high
    stretch = low * at_low - high * at_high
    cubes = low**2 * (low * at_low) - high**2 * (high * at_high)
    return _Density(
        value=log_probability,
        slope_mean=pull / spread,
        slope_spread=stretch,
        information_mean=(pull * pull - stretch) / spread**2,
        information_spread=stretch * stretch + stretch - cubes,
    )


def _log_probability(low: Array, high: Array) -> Array:
    """log(Phi(high) - Phi(low)), each from the tail that keeps its digits."""
    mirrored = low > 0
    small, large = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    result: Array = np.log(special.ndtr(large) - special.ndtr(small))
    tail = large < -5  # both ends far out on one side: differences of logarithms
    if tail.any():
        upper, lower = special.log_ndtr(large[tail]), special.log_ndtr(small[tail])
        result[tail] = upper + np.log1p(-np.exp(lower - upper))
    return result


def _objective(data: Observations, weights: Array, theta: Array, free_sharpness: bool) -> tuple[Array, Array, Array]:
    """Penalised log-likelihood [R], its gradient [R, 4] and a positive curvature [R, 4, 4]."""
    a, e, log_spread, log_sharpness = (theta[:, k : k + 1] for k in range(4))
    mean = log_steps(data.log_batch, a, e, log_sharpness)
    density = _density(data, mean, log_spread)
    share = special.expit(np.exp(log_sharpness) * (e - data.log_batch - a))  # of S^alpha due to E_min / B
    slopes = {0: 1 - share, 1: share}
    if free_sharpness:
        slopes[3] = (1 - share) * a + share * (e - data.log_batch) - mean

    value: Array = (weights * density.value).sum(axis=1)
    gradient, curvature = np.zeros((len(theta), 4)), np.zeros((len(theta), 4, 4))
    pull = weights * density.slope_mean
    information = weights * density.information_mean
    for i, slope in slopes.items():
        gradient[:, i] = (pull * slope).sum(axis=1)
        for j, other in slopes.items():
            curvature[:, i, j] = (information * slope * other).sum(axis=1)
    gradient[:, 2] = (weights * density.slope_spread).sum(axis=1)
    # observed information on log sigma may be negative away from the maximum; a tenth of a run each keeps the step sane
    curvature[:, 2, 2] = np.maximum((weights * density.information_spread).sum(axis=1), 0.1 * weights.sum(axis=1))
    for index, centre, width in ((2, math.log(TYPICAL_SPREAD), SPREAD_OF_SPREAD), (3, 0.0, SPREAD_OF_SHARPNESS)):
        distance = (theta[:, index] - centre) / width
        value = value - 0.5 * distance**2
        gradient[:, index] -= distance / width
        curvature[:, index, index] += 1 / width**2
    return value, gradient, curvature


def _damped_step(gradient: Array, curvature: Array, damping: Array) -> Array:
    """Solve (H + damping diag H) step = gradient for each fit; log sigma stands alone, and needs no ridge."""
    diagonal = np.einsum("rii->ri", curvature)
    ridge = 1e-10 * diagonal.max(axis=1, keepdims=True) * np.array([1.0, 1.0, 0.0, 1.0])
    extra = damping[:, None] * diagonal + ridge
    damped = curvature + extra[:, :, None] * np.eye(curvature.shape[1])
    solution: Array = np.linalg.solve(damped, gradient[..., None])[..., 0]
    return solution


def _within(theta: Array, limits: tuple[float, float]) -> Array:
    """Keep log B_crit = e - a between the limits, moving the parameter the data say nothing about there."""
    log_b_crit = theta[:, 1] - theta[:, 0]
    theta[:, 0] += np.maximum(log_b_crit - limits[1], 0)
    theta[:, 1] += np.maximum(limits[0] - log_b_crit, 0)
    return theta


def _start(data: Observations, weights: Array) -> Array:
    """[R, 4]: for B_crit on a grid, S_min by least squares in log steps; the best of them."""
    log_b_crit = np.linspace(data.log_batch.min() - math.log(100), data.log_batch.max() + math.log(100), 41)
    away = data.middle - np.log1p(np.exp(log_b_crit[:, None] - data.log_batch))  # [grid, N] log S_min each run implies
    total = weights.sum(axis=1, keepdims=True)
    centre = weights @ away.T / total  # [R, grid]
    variance = np.maximum(weights @ (away**2).T / total - centre**2, 0)
    best = variance.argmin(axis=1)
    rows = np.arange(len(weights))
    theta = np.zeros((len(weights), 4))
    theta[:, 0] = centre[rows, best]
    theta[:, 1] = centre[rows, best] + log_b_crit[best]
    theta[:, 2] = np.log(np.maximum(np.sqrt(variance[rows, best]), 0.02))
    return theta
