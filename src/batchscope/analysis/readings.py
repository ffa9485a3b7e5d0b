"""Overheads read off the epochs of the batch sizes, as confidence distributions.

Both the limit (the epochs of the smallest batch size) and its crossing are read off noisy numbers, by a rule with a
bias of its own. So the test is turned round: of studies of a curve whose threshold is B, with errors like this study's,
how many give a larger reading than this one? That share, over B, is a confidence distribution of the threshold (Xie and
Singh 2013), which carries the bias of the reading as well as its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from batchscope.analysis.crossings import ABOVE, BELOW, first_overhead
from batchscope.analysis.fit.critical_batch import curve_of
from batchscope.analysis.fit.curve import CurveFit
from batchscope.analysis.sweeps import Array, Sweep, once_per_sweep

STUDIES, THRESHOLDS = 400, 24  # drawn, for each of so many thresholds
ENOUGH_FOR_SHARPNESS = 6  # batch sizes that arrived: own errors are then taken about a curve whose bend is free


@dataclass(frozen=True)
class Confidence:
    """A confidence distribution of a threshold: P(threshold <= places) [G], places ascending.

    What lies below the first place is 0, beyond the last inf.
    """

    places: Array
    at_most: Array

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """[count] evenly spread shares of it, in random order."""
        shares = rng.permutation((np.arange(count) + 0.5) / count)
        rising = np.maximum.accumulate(self.at_most)
        found = np.exp(np.interp(shares, rising + 1e-12 * np.arange(len(rising)), np.log(self.places)))
        return np.where(shares <= rising[0], BELOW, np.where(shares > rising[-1], ABOVE, found))


@once_per_sweep
def overhead(sweep: Sweep, log_epochs: tuple[float, ...], tolerance: float) -> tuple[float, Confidence | None]:
    """(reading, its confidence distribution) of the batch size that takes (1 + tolerance) x the epochs of the smallest.

    log_epochs: of each batch size of the sweep, inf where no run arrived. They are made non-decreasing in B first; a
    crossing before the second batch size lies below the sweep: nothing shows that the smallest still scales linearly.
    No distribution (None) where no curve can be fitted; NaN where no run arrived.
    """
    sizes, observed = sweep.batch_sizes, np.array(log_epochs)
    got = float(_read(observed[None], sizes, tolerance)[0])
    curve = curve_of(sweep, True) if np.isfinite(observed).sum() >= ENOUGH_FOR_SHARPNESS else curve_of(sweep, False)
    if curve is None or math.isnan(got):
        return got, None
    start = int(np.isfinite(observed).argmax())
    places = np.geomspace(1.02 * (1 + tolerance) * sizes[start], 2 * sizes[-1], THRESHOLDS)
    drawn = _rises(sizes, places, start, tolerance, math.exp(curve.log_sharpness))[:, None, :] + _noise(curve, sizes)
    drawn[..., :start] = np.inf
    never = np.isinf(observed)
    if never.any() and math.isfinite(sweep.max_epochs):  # such a batch size is not seen when it is too slow
        drawn = np.where(never & (drawn > math.log(sweep.max_epochs) - observed[start]), np.inf, drawn)
    readings = _read(drawn.reshape(-1, len(sizes)), sizes, tolerance).reshape(len(drawn), -1)
    share = ((readings > got) + 0.5 * (readings == got)).mean(axis=1)
    inside = places < sizes[-1]
    at_most = np.maximum.accumulate(np.append(share[:-1][inside], share[-1]))
    at_most = np.minimum(at_most, 1 - curve.no_slow_down)  # a flat curve lies beyond the sweep
    return got, Confidence(np.append(places[inside], sizes[-1]), at_most)


def _rises(sizes: Array, places: Array, start: int, tolerance: float, alpha: float) -> Array:
    """[THRESHOLDS + 1, m] log epochs above those at `start` on curves with these thresholds, and on a flat one."""
    limit = (1 + tolerance) ** alpha
    b_crit = np.append(((places**alpha - limit * sizes[start] ** alpha) / (limit - 1)) ** (1 / alpha), np.inf)
    result: Array = (
        np.log1p((sizes / b_crit[:, None]) ** alpha) - np.log1p((sizes[start] / b_crit[:, None]) ** alpha)
    ) / alpha
    return result


def _read(log_epochs: Array, sizes: Array, tolerance: float) -> Array:
    """[R] the crossing; 0 before the second batch size that arrives, inf beyond the last, NaN where none arrives."""
    found = first_overhead(np.exp(log_epochs), sizes, tolerance)
    second = sizes[np.minimum(np.isfinite(log_epochs).argmax(axis=1) + 1, len(sizes) - 1)]
    result: Array = np.where(found < second, BELOW, found)
    return result


def _noise(curve: CurveFit, sizes: Array) -> Array:
    """[STUDIES, m] errors of log epochs as studies like this one would have them."""
    rng = np.random.default_rng(0)
    error = np.full(len(sizes), np.sqrt(np.nanmedian(curve.total)))
    here = np.isin(np.round(np.log(sizes), 9), np.round(curve.log_batch, 9))
    error[here] = np.where(np.isnan(curve.total), error[here], np.sqrt(curve.total))
    scale = np.sqrt(curve.freedom / rng.chisquare(curve.freedom, size=(STUDIES, 1)))
    noise: Array = scale * error * rng.standard_normal((STUDIES, len(sizes)))
    return noise
