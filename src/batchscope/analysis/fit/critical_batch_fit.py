"""What a fit of steps to target against batch size says: the record, its intervals and its doubts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from batchscope.analysis.fit.curve import CurveFit, log_steps
from batchscope.analysis.formatting import bounds_text, fields_of, number
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.sweeps import Array

MISFIT = 0.01  # p-value of the lack-of-fit test below which a curve is said not to describe its runs
FARTHEST_MEAN = math.log(1.35)  # of a batch size from the curve, where no test can be made: 2 of 15 % (assumption)
Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class CriticalBatchFit:
    """The fit of steps(B) of one shape.

    b_crit (examples per step), s_min (steps), e_min (examples, = s_min b_crit): NaN where the runs cannot tell, with
    the reason in `statement`; b_crit = inf: the steps still scale linearly at the largest batch; 0: batch size makes no
    difference. interval: 95 % of b_crit when every batch size has an error of its own besides its seeds;
    interval_seeds: seeds only (narrower: it takes the curve and every step size to be right); docs/analysis.md says how
    often both hold the truth. spread: sigma, standard deviation of log steps between seeds; own_error: tau, that
    between batch sizes beyond what seeds explain. sharpness: alpha, 1 unless it was fitted. log_likelihood: of the
    curve, relative to means of the batch sizes that lie on none, by the seeds alone.
    misfit: p-value of the test that the curve fits the batch sizes' means as well as runs of one batch size agree
    (small: the curve is wrong, or step sizes are); NaN without repeated runs.
    batch_sizes, steps, steps_before, residuals: [n] the runs; residuals in log steps, NaN where the target was not met.
    largest_possible: the batch size that is the whole training set, inf where the runs do not say it.
    n runs in all, of which num_censored never met the target and enter as such; num_diverged more count as slower than
    every run of their batch size that arrived. samples, samples_seeds: [resamples, 3] log S_min, log E_min, log
    sharpness, draws from their confidence distribution. curve: the fit itself, None where there is none.
    """

    b_crit: float
    s_min: float
    e_min: float
    interval: Interval
    interval_seeds: Interval
    s_min_interval: Interval
    e_min_interval: Interval
    definition: str
    sharpness: float
    sharpness_interval: Interval
    spread: float
    own_error: float
    misfit: float
    log_likelihood: float
    n: int
    num_censored: int
    num_diverged: int
    statement: str = ""
    level: float = LEVEL
    largest_possible: float = math.inf
    batch_sizes: Array = field(default_factory=lambda: np.empty(0), repr=False)
    steps: Array = field(default_factory=lambda: np.empty(0), repr=False)
    steps_before: Array = field(default_factory=lambda: np.empty(0), repr=False)
    residuals: Array = field(default_factory=lambda: np.empty(0), repr=False)
    samples: Array = field(default_factory=lambda: np.empty((0, 3)), repr=False)
    samples_seeds: Array = field(default_factory=lambda: np.empty((0, 3)), repr=False)
    log_parameters: Array = field(default_factory=lambda: np.full(3, np.nan), repr=False)
    curve: CurveFit | None = field(default=None, repr=False, compare=False)

    def predicted(self, batch_sizes: ArrayLike) -> Array:
        """Steps to target on the fitted curve at each batch size [k]; NaN without a fit."""
        with np.errstate(invalid="ignore"):
            return np.exp(log_steps(np.log(np.asarray(batch_sizes, dtype=float)), *self.log_parameters))

    def band(self, batch_sizes: ArrayLike, seeds_only: bool = False) -> tuple[Array, Array]:
        """(lower, upper) [k] each: pointwise interval of the curve over the resamples; NaN when there are none."""
        log_batch = np.log(np.asarray(batch_sizes, dtype=float))
        samples = self.samples_seeds if seeds_only else self.samples
        if not len(samples):
            return np.full(log_batch.shape, np.nan), np.full(log_batch.shape, np.nan)
        curves = np.exp(log_steps(log_batch, *(samples[:, k : k + 1] for k in range(3))))
        quantile = np.nanquantile if np.isnan(curves).any() else np.quantile  # many times faster
        low, high = quantile(curves, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return low, high

    @property
    def text(self) -> str:
        """``512``, ``> 4096`` or ``< 32`` (as far outside the sweep as can be told), or ``none``."""
        if math.isinf(self.b_crit):
            return f"> {number(self.batch_sizes.max())}"
        if self.b_crit == 0:
            return f"< {number(self.batch_sizes.min())}"
        return "none" if math.isnan(self.b_crit) else number(self.b_crit)

    @property
    def misfit_text(self) -> str:
        """That the curve does not describe the runs, and how far they lie from it; empty where nothing says so.

        By the lack-of-fit test; without repeated runs, by a batch size that lies farther from the curve than own errors
        of 15 % (the analysis' assumption) explain: 2 standard deviations, or 35 %.
        """
        if self.misfit < MISFIT:
            return f"the curve does not describe the runs (lack of fit p = {self.misfit:.2g}){self._farthest()}"
        if math.isnan(self.misfit) and np.nanmax(np.abs(self.residuals), initial=0.0) > FARTHEST_MEAN:
            return f"the curve may not describe the runs{self._farthest()}"
        return ""

    def _farthest(self) -> str:
        """``: at batch size 512 they take 1.4 times its steps``, of the batch size whose runs lie farthest from it."""
        known = ~np.isnan(self.residuals)
        if not known.any():
            return ""
        sizes, cell = np.unique(self.batch_sizes[known], return_inverse=True)
        means = np.bincount(cell, self.residuals[known]) / np.bincount(cell)
        worst = int(np.abs(means).argmax())
        return f": at batch size {number(sizes[worst])} they take {number(math.exp(means[worst]))} times its steps"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the runs and the resamples; NaN and infinities are None, `text` says the meaning."""
        runs = ("batch_sizes", "steps", "steps_before", "residuals")
        draws = ("samples", "samples_seeds", "log_parameters", "curve")
        return fields_of(self, *runs, *draws, text=self.text, interval_text=bounds_text(self.interval))

    def __str__(self) -> str:
        """``B_crit = 512 [401, 655] (95 %, n = 40; ...)``."""
        value = f"{self.text} {bounds_text(self.interval)}".strip()
        why = "".join(f"; {words}" for words in (self.statement, self.misfit_text) if words)
        return f"B_crit = {value} ({100 * self.level:.0f} %, n = {self.n}; {self.definition}{why})"
