"""The log of the steps to the target at every batch size of a sweep, with all that is uncertain about it.

From the censored likelihood of the runs (`fit.arrivals`), normal in the logarithm: what the seeds leave open, and the
error a batch size has of its own (a step size off its best, which its seeds share and do not show), estimated for all
shapes together from the scatter of the batch sizes about a smooth curve. At one batch size, ratios of steps are ratios
of epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from batchscope.analysis.fit.arrivals import TYPICAL_SPREAD, pooled_spread, summarise
from batchscope.analysis.fit.likelihood import Cells, cells_of
from batchscope.analysis.sweeps import Array, Booleans, Sweep, once_per_sweep

SUREST = 0.9999  # further out a normal distribution is not to be trusted
# A batch size's own error where too few batch sizes show it: the middle of what the 21 studies in results/ have that
# show it (0.02 to 0.69). Its degrees of freedom are few, for little is known.
ASSUMED_OWN, ASSUMED_FREEDOM = 0.18, 4.0
OWN_ASSUMED = (
    f"an error of {100 * ASSUMED_OWN:.0f} % that each batch size has of its own, "
    "assumed, because fewer than four do not show it"
)
AT, MORE, LESS, UNKNOWN = "=", ">", "<", ""  # how a number is known: itself, a lower bound, an upper bound, not at all


@dataclass(frozen=True, eq=False)
class LogTimes:
    """One shape at m batch sizes, [m] each: log steps to the target, the median over seeds.

    known: "=" a number; ">" no run arrived, `value` is how far they were run; "<" all arrived by the first check; ""
    nothing finished. censored: some run did not arrive. variance: of the value, from the seeds. own: variance of a
    batch size's own error, the same for all shapes of a study. *_freedom: degrees of freedom behind the two variances.
    own_is_seen: whether `own` is estimated, or assumed because no shape has four batch sizes. epoch: steps of one pass.
    """

    batch_sizes: Array
    value: Array
    known: tuple[str, ...]
    censored: Booleans
    variance: Array
    epoch: Array
    seeds_freedom: float
    own: float = 0.0
    own_freedom: float = math.inf
    own_is_seen: bool = True

    @property
    def total(self) -> Array:
        """[m] variance from the seeds and from a batch size's own error."""
        return self.variance + self.own

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the total variance at a typical batch size (Satterthwaite 1946)."""
        seeds, own = float(np.median(self.variance)), self.own
        return (seeds + own) ** 2 / (seeds**2 / self.seeds_freedom + own**2 / self.own_freedom)

    @property
    def arrived(self) -> Booleans:
        """[m] where there is a number."""
        return np.array([how == AT for how in self.known], dtype=bool)

    @property
    def log_epochs(self) -> Array:
        """[m] the same in passes over the data."""
        return self.value - np.log(self.epoch)


def log_times(sweeps: Mapping[str, Sweep]) -> dict[str, LogTimes]:
    """Shape -> its times; shapes without runs are left out."""
    found = {shape: _from_seeds(sweep) for shape, sweep in sweeps.items() if sweep.num_runs}
    own, freedom = own_variance(list(found.values()))
    is_seen = math.isfinite(freedom)
    if not is_seen:
        own, freedom = ASSUMED_OWN**2, ASSUMED_FREEDOM
    return {shape: replace(times, own=own, own_freedom=freedom, own_is_seen=is_seen) for shape, times in found.items()}


@once_per_sweep
def _from_seeds(sweep: Sweep) -> LogTimes:
    m = len(sweep.batch_sizes)
    cells = cells_of(sweep.steps_before, sweep.steps, sweep.cell, m, sweep.diverged)
    spread = pooled_spread(cells)
    spread = TYPICAL_SPREAD if math.isnan(spread) else spread
    summary = summarise(cells, np.array([spread]))
    bounded, runs = cells.bounded, np.maximum(cells.num_runs, 1)
    value, known = _bounds(cells, bounded)
    return LogTimes(
        batch_sizes=sweep.batch_sizes,
        value=np.where(bounded, summary.mean[:, 0], value),
        known=known,
        censored=cells.num_arrived < np.bincount(sweep.cell, minlength=m),
        variance=np.where(bounded, summary.variance[:, 0], spread**2 / runs),
        epoch=np.ceil(sweep.num_examples / sweep.batch_sizes),
        seeds_freedom=max(1.0, float((cells.num_runs[bounded] - 1).sum())),
    )


def _bounds(cells: Cells, bounded: Booleans) -> tuple[Array, tuple[str, ...]]:
    """([m] the bound where there is no number, how each is known)."""
    values, known = np.full(len(bounded), np.nan), []
    for index, inside in enumerate(bounded):
        used = cells.counts[index] > 0
        if inside or not used.any():
            known.append(AT if inside else UNKNOWN)
        elif cells.num_arrived[index]:
            values[index] = cells.high[index, used].max()
            known.append(LESS)
        else:
            values[index] = cells.low[index, used].max()
            known.append(MORE)
    return values, tuple(known)


def own_variance(times: list[LogTimes]) -> tuple[float, float]:
    """(variance between batch sizes beyond what their seeds explain, about a smooth curve; its degrees of freedom).

    The curve of a shape is a polynomial in log B, of degree 2 with four or five batch sizes and 3 with more; fewer say
    nothing (`log_times` assumes one then). The variance is the mean of its posterior given the residuals of all shapes
    (restricted likelihood; prior flat in its root), so that it is not 0 where few batch sizes happen to lie on their
    curve. (0, inf) without any.
    """
    curves = [
        _about_a_curve(one.batch_sizes[use], one.log_epochs[use], one.variance[use])
        for one in times
        if (use := one.arrived).sum() >= 4
    ]
    if not curves:
        return 0.0, math.inf
    residuals, variances = (np.concatenate(part) for part in zip(*curves, strict=True))
    scale = math.sqrt(float((residuals**2).mean() + variances.mean()))
    roots = np.linspace(0.0, 3.0 * scale, 301)
    total = variances + roots[:, None] ** 2
    log_density = -0.5 * (np.log(total) + residuals**2 / total).sum(axis=1)
    weights = np.exp(log_density - log_density.max())
    return float(weights @ roots**2 / weights.sum()), 2.0 * len(residuals)


def _about_a_curve(batch_sizes: Array, values: Array, variance: Array) -> tuple[Array, Array]:
    """(contrasts [f] of the values that no curve of its degree explains, their variances [f]), nearly independent."""
    place = np.log(batch_sizes) - np.log(batch_sizes).mean()
    degree = 2 if len(values) < 6 else 3
    design = np.vander(place, degree + 1)
    _, _, basis = np.linalg.svd(design.T)
    contrasts = basis[degree + 1 :]  # [f, m] orthonormal, orthogonal to every curve
    return contrasts @ values, (contrasts**2) @ variance


def probability_above(value: ArrayLike, error: ArrayLike, freedom: ArrayLike) -> Array:
    """P(the truth is above 0) for normal estimates whose errors have so many degrees of freedom, never quite 0 or 1."""
    probability: Array = np.clip(special.stdtr(freedom, np.divide(value, error)), 1 - SUREST, SUREST)
    return probability


def quantile(level: float, freedom: ArrayLike) -> Array:
    """How many standard errors a two-sided interval of that level reaches."""
    reach: Array = special.stdtrit(freedom, (1 + level) / 2)
    return reach
