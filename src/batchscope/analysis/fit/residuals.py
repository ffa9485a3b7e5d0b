"""Runs about a fitted curve: residuals, and the test that says when the curve is the wrong one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from batchscope.analysis.fit.curve import log_steps
from batchscope.analysis.sweeps import Array, Booleans, Integers

MOST_GROUPS = 8


@dataclass(frozen=True)
class Runs:
    """n runs, [n] each: batch size; the target was met after `lower` steps, by `upper` (inf: never; equal: then)."""

    batch_sizes: Array
    lower: Array
    upper: Array

    @property
    def n(self) -> int:
        """Number of runs."""
        return len(self.batch_sizes)

    @property
    def met(self) -> Booleans:
        """[n] whether each run reached the target."""
        return np.isfinite(self.upper)

    @property
    def cell(self) -> Integers:
        """[n] the index of each run's batch size among the ascending ones."""
        return np.unique(self.batch_sizes, return_inverse=True)[1].astype(np.int64)

    def grouped(self, groups: int = MOST_GROUPS) -> Runs:
        """Of a batch size with more than 2 `groups` distinct times, the runs that met the target in `groups` intervals.

        Each interval spans one quantile group. The likelihood of grouped data is as valid as that of single runs, 8
        groups keep 94 % of what a normal sample says about its mean, and the cost is free of their number.
        """
        lower, upper = self.lower.copy(), self.upper.copy()
        cell, met = self.cell, self.met
        for index in range(cell.max(initial=-1) + 1):
            here = np.flatnonzero((cell == index) & met)
            if len(np.unique(upper[here])) > 2 * groups:
                lower[here], upper[here] = _spans(upper[here], groups)
        return replace(self, lower=lower, upper=upper)

    def residuals(self, log_parameters: Array) -> Array:
        """[n] log steps (the midpoint of the two checks) minus the curve's; NaN where the target was not met."""
        with np.errstate(divide="ignore"):
            middle = np.log((self.lower + self.upper) / 2)
        predicted = log_steps(np.log(self.batch_sizes), *log_parameters)
        return np.where(self.met, middle - predicted, np.nan)


def _spans(upper: Array, groups: int) -> tuple[Array, Array]:
    """[n] each: the interval of the quantile group each run falls in.

    Together the groups cover the line, nearly: from 0 to as far above the last edge as that is above the one before.
    """
    edges = np.unique(np.quantile(upper, np.linspace(0, 1, groups + 1), method="inverted_cdf"))
    group = np.clip(np.searchsorted(edges, upper, side="left") - 1, 0, len(edges) - 2)
    lows = np.append(0.0, edges[1:-1])
    highs = np.append(edges[1:-1], edges[-1] ** 2 / edges[-2])
    return lows[group], highs[group]


def lack_of_fit(runs: Runs, residuals: Array, num_parameters: int) -> float:
    """p-value of Fisher's lack-of-fit test: batch sizes' means about the curve, against runs about their means.

    Runs of one batch size share the rounding of the checks, so a mean is allowed its variance, width^2/12, as well.
    Batch sizes with a run that never met the target are left out. NaN without repeated runs or spare batch sizes.
    """
    whole = ~np.isin(runs.cell, runs.cell[~runs.met])
    cells, index, counts = np.unique(runs.cell[whole], return_inverse=True, return_counts=True)
    freedom, repeats = len(cells) - num_parameters, int(whole.sum()) - len(cells)
    if freedom < 1 or repeats < 1:
        return math.nan
    means = np.bincount(index, residuals[whole]) / counts
    within = float(((residuals[whole] - means[index]) ** 2).sum() / repeats)
    upper = runs.upper[whole]
    widths = np.log(upper) - np.log(np.maximum(runs.lower[whole], upper / math.e))  # at most 1: a target met at once
    allowed = within / counts + (np.bincount(index, widths) / counts) ** 2 / 12
    if not (allowed > 0).all():
        return math.nan
    return float(special.fdtrc(freedom, repeats, float((means**2 / allowed).sum() / freedom)))  # upper tail of F
