"""The critical batch size: steps to target against batch size, fitted with censoring, with intervals and residuals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from batchscope.analysis import censored as model
from batchscope.analysis.formatting import number, plain
from batchscope.analysis.intervals import (
    LEVEL,
    num_resamples,
    quantile_interval,
    seed_and_batch_weights,
    seed_weights,
)
from batchscope.analysis.sweeps import Array, Booleans, HasRows, Integers, Sweep, find_shape, sweeps_of
from batchscope.errors import InputError
from batchscope.records import Row

DEFINITION = "b_crit"
MEANING = (
    "the batch size at which the target takes twice the fewest steps and twice the fewest examples: "
    "steps = S_min (1 + B_crit/B) (McCandlish et al. 2018)"
)
MEANING_SHARP = "the batch size where linear scaling would give S_min: steps = S_min (1 + (B_crit/B)^a)^(1/a)"

Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class CriticalBatchFit:
    """The fit of steps(B) of one shape.

    b_crit (examples per step), s_min (steps), e_min (examples, = s_min b_crit): NaN where the runs cannot tell, with
    the reason in `statement`; b_crit = inf: the steps still scale linearly at the largest batch; 0: batch size makes no
    difference. interval: 95 % of b_crit when batch sizes and seeds within them are resampled; interval_seeds: seeds
    only (narrower: it takes the curve to be right). spread: sigma, standard deviation of log steps between seeds.
    sharpness: alpha, 1 unless it was fitted. misfit: p-value of the test that the curve fits the batch sizes' means
    as well as runs of one batch size agree (small: the curve is wrong); NaN without repeated runs.
    batch_sizes, steps, steps_before, residuals: [n] the runs; residuals in log steps, NaN where the target was not met.
    n runs in all, of which num_censored never met the target and enter as such; num_diverged more are a state of their
    own: counted, not fitted. samples, samples_seeds: [resamples, 3] log S_min, log E_min, log sharpness.
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
    misfit: float
    log_likelihood: float
    n: int
    num_censored: int
    num_diverged: int
    statement: str = ""
    level: float = LEVEL
    batch_sizes: Array = field(default_factory=lambda: np.empty(0), repr=False)
    steps: Array = field(default_factory=lambda: np.empty(0), repr=False)
    steps_before: Array = field(default_factory=lambda: np.empty(0), repr=False)
    residuals: Array = field(default_factory=lambda: np.empty(0), repr=False)
    samples: Array = field(default_factory=lambda: np.empty((0, 3)), repr=False)
    samples_seeds: Array = field(default_factory=lambda: np.empty((0, 3)), repr=False)
    log_parameters: Array = field(default_factory=lambda: np.full(3, np.nan), repr=False)

    def predicted(self, batch_sizes: ArrayLike) -> Array:
        """Steps to target on the fitted curve at each batch size [k]; NaN without a fit."""
        return np.exp(model.log_steps(np.log(np.asarray(batch_sizes, dtype=float)), *self.log_parameters))

    def band(self, batch_sizes: ArrayLike, seeds_only: bool = False) -> tuple[Array, Array]:
        """(lower, upper) [k] each: pointwise interval of the curve over the resamples; NaN when there are none."""
        log_batch = np.log(np.asarray(batch_sizes, dtype=float))
        samples = self.samples_seeds if seeds_only else self.samples
        if not len(samples):
            return np.full(log_batch.shape, np.nan), np.full(log_batch.shape, np.nan)
        curves = np.exp(model.log_steps(log_batch, *(samples[:, k : k + 1] for k in range(3))))
        low, high = np.quantile(curves, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return low, high

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the runs and the resamples."""
        large = ("samples", "samples_seeds", "log_parameters", "batch_sizes", "steps", "steps_before", "residuals")
        return {name: plain(value) for name, value in vars(self).items() if name not in large}

    def __str__(self) -> str:
        """``B_crit = 512 [401, 655] (95 %, n = 40; ...)``."""
        low, high = self.interval
        interval = "" if math.isnan(low) else f" [{number(low)}, {number(high)}]"
        why = f"; {self.statement}" if self.statement else ""
        return (
            f"B_crit = {number(self.b_crit)}{interval} ({100 * self.level:.0f} %, n = {self.n}; {self.definition}{why})"
        )


def fit_critical_batch(
    batch_sizes: ArrayLike,
    steps: ArrayLike,
    censored: ArrayLike | None = None,
    *,
    steps_before: ArrayLike | None = None,
    diverged: ArrayLike | None = None,
    sharpness: bool = False,
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> CriticalBatchFit:
    """Fit steps = S_min (1 + B_crit/B) to runs (McCandlish et al. 2018, Eq. 5.3) and say how sure it is.

    batch_sizes, steps: [n], one entry per run (or per mean of runs): examples per step, and steps until the target was
    met. censored: [n] True where it was not met: `steps` is then how long the run was. steps_before: [n] the last step
    at which the target was known not to be met; given, the run counts as having met it somewhere between the two.
    diverged: [n] True for runs that diverged: counted, not fitted. sharpness: fit the exponent alpha as well.
    resamples: bootstrap resamples of each kind, chosen by the number of runs when None. seed: of the resampling.

    Works on any number of runs; what they leave open is NaN with the reason in `.statement`. Raises InputError for
    batch sizes or steps that are not positive and arrays whose lengths differ.

    >>> fit = fit_critical_batch([32, 128, 512, 2048], [1060, 340, 160, 115])
    >>> round(fit.b_crit), round(fit.s_min)
    (307, 100)
    """
    batches, taken = np.atleast_1d(np.asarray(batch_sizes, float)), np.atleast_1d(np.asarray(steps, float))
    never = np.zeros(len(batches), bool) if censored is None else np.asarray(censored, bool)
    lost = np.zeros(len(batches), bool) if diverged is None else np.asarray(diverged, bool)
    before = np.where(never, taken, taken) if steps_before is None else np.asarray(steps_before, float)
    _check(batches, taken, never, before, lost)
    kept = ~lost
    upper = np.where(never, np.inf, taken)[kept]
    lower = np.where(never, taken, np.minimum(before, taken))[kept]
    runs = _Runs(batches[kept], lower, upper)
    return _fit(runs, int(lost.sum()), sharpness, resamples, level, seed)


def fit(
    results: Iterable[Row] | HasRows,
    shape: str | None = None,
    *,
    sharpness: bool = False,
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Any:
    """The critical-batch fit of every shape of a study (label -> fit), or of one shape (a fit).

    shape: a label, "wide" or "deep". A run counts as having met the target between its last two checks. The other
    arguments are those of `fit_critical_batch`.
    """
    sweeps = sweeps_of(results)
    if shape is not None:
        return fit_sweep(sweeps[find_shape(sweeps, shape)], sharpness, resamples, level, seed)
    count = resamples or num_resamples(sum(sweep.num_runs for sweep in sweeps.values()))
    return {label: fit_sweep(sweep, sharpness, count, level, seed) for label, sweep in sweeps.items()}


def fit_sweep(
    sweep: Sweep, sharpness: bool = False, resamples: int | None = None, level: float = LEVEL, seed: int = 0
) -> CriticalBatchFit:
    """The fit of one shape's runs."""
    kept = ~sweep.diverged
    runs = _Runs(sweep.batch_sizes[sweep.cell][kept], sweep.steps_before[kept], sweep.steps[kept])
    return _fit(runs, int(sweep.diverged.sum()), sharpness, resamples, level, seed)


@dataclass(frozen=True)
class _Runs:
    """[n] batch sizes; the target was met after `lower` steps, by `upper` (inf: not met; equal: just then)."""

    batch_sizes: Array
    lower: Array
    upper: Array

    @property
    def met(self) -> Booleans:
        return np.isfinite(self.upper)

    @property
    def cell(self) -> Integers:
        return np.unique(self.batch_sizes, return_inverse=True)[1].astype(np.int64)

    def observations(self) -> tuple[model.Observations, Integers]:
        """The distinct observations with their counts, and [n] which of them each run reported."""
        table = np.stack([self.batch_sizes, self.lower, self.upper], axis=1)
        unique, which, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
        with np.errstate(divide="ignore"):
            log_batch, lower, upper = np.log(unique.T)
        cell = np.unique(unique[:, 0], return_inverse=True)[1].astype(np.int64)
        return model.Observations(log_batch, lower, upper, counts.astype(float), cell), which.ravel()


def _check(batches: Array, steps: Array, never: Booleans, before: Array, lost: Booleans) -> None:
    lengths = {len(array) for array in (batches, steps, never, before, lost)}
    if len(lengths) > 1:
        raise InputError(f"arrays of lengths {sorted(lengths)}; expected one entry per run in each")
    for name, values in (("batch_sizes", batches), ("steps", steps[~lost])):
        bad = values[~(np.isfinite(values) & (values > 0))]
        if len(bad):
            hint = (
                "; mark runs that never met the target in `censored`, with the steps they ran"
                if name == "steps"
                else ""
            )
            raise InputError(f"{name} holds {bad[0]!r}; expected finite numbers above 0{hint}")


def _fit(
    runs: _Runs, num_diverged: int, sharpness: bool, resamples: int | None, level: float, seed: int
) -> CriticalBatchFit:
    """The estimate, its resamples of both kinds and its residuals."""
    n, met = len(runs.batch_sizes), runs.met
    definition = MEANING_SHARP if sharpness else MEANING
    reason = _why_not(runs, num_diverged)
    if reason:
        return CriticalBatchFit(
            *(math.nan,) * 3, *(NO_INTERVAL,) * 4, definition, math.nan, NO_INTERVAL, *(math.nan,) * 3,
            n, int((~met).sum()), num_diverged, reason, level, runs.batch_sizes, runs.upper, runs.lower, np.full(n, np.nan),
        )  # fmt: skip
    data, _ = runs.observations()
    best = model.maximise(data, data.counts[None], sharpness)
    log_parameters = np.array([best.log_s_min[0], best.log_e_min[0], best.log_sharpness[0]])
    residuals = _residuals(runs, log_parameters)
    rng = np.random.default_rng(seed)
    count = resamples or num_resamples(n)
    cells = np.bincount(runs.cell)
    by_seeds = (
        _resample(data, seed_weights(rng, data.cell, data.counts, count), sharpness) if cells.max() > 1 else _none()
    )
    by_both = _resample(data, seed_and_batch_weights(rng, data.cell, data.counts, count), sharpness)
    beyond = _beyond(log_parameters[1] - log_parameters[0], data.log_batch)
    per_group = float(np.median(cells)) if np.median(cells) > 1 else math.inf

    def interval(samples: Array, column: int) -> Interval:
        return quantile_interval(_natural(samples, data.log_batch)[:, column], level, per_group)

    return CriticalBatchFit(
        b_crit=beyond if not math.isnan(beyond) else float(best.b_crit[0]),
        s_min=math.nan if beyond == math.inf else math.exp(log_parameters[0]),
        e_min=math.nan if beyond == 0 else math.exp(log_parameters[1]),
        interval=interval(by_both, 0),
        interval_seeds=interval(by_seeds, 0),
        s_min_interval=interval(by_both, 1),
        e_min_interval=interval(by_both, 2),
        definition=definition,
        sharpness=math.exp(log_parameters[2]),
        sharpness_interval=interval(by_both, 3) if sharpness else NO_INTERVAL,
        spread=float(np.exp(best.log_spread[0])),
        misfit=_misfit(runs, residuals, 3 if sharpness else 2),
        log_likelihood=float(best.log_likelihood[0]),
        n=n,
        num_censored=int((~met).sum()),
        num_diverged=num_diverged,
        statement=_statement(beyond),
        level=level,
        batch_sizes=runs.batch_sizes,
        steps=runs.upper,
        steps_before=runs.lower,
        residuals=residuals,
        samples=by_both,
        samples_seeds=by_seeds,
        log_parameters=log_parameters,
    )


def _why_not(runs: _Runs, num_diverged: int) -> str:
    """Why no curve can be fitted; empty when it can."""
    if not len(runs.batch_sizes):
        return "every run diverged" if num_diverged else "no finished runs"
    if not runs.met.any():
        return "no run met the target"
    tested = len(np.unique(runs.batch_sizes[runs.met]))
    return "" if tested > 1 else "the target was met at one batch size only; a curve needs two"


def _statement(beyond: float) -> str:
    if beyond == math.inf:
        return "steps still scale linearly at the largest batch tested: B_crit lies beyond the sweep"
    return "steps do not depend on the batch size within the sweep: B_crit lies below it" if beyond == 0 else ""


def _beyond(log_b_crit: Any, log_batch: Array) -> float:
    """inf or 0 where B_crit sits at the limit of what the sweep can tell; NaN where it is a number."""
    margin = math.log(model.BEYOND_SWEEP) * 0.999
    if log_b_crit >= log_batch.max() + margin:
        return math.inf
    return 0.0 if log_b_crit <= log_batch.min() - margin else math.nan


def _none() -> Array:
    return np.empty((0, 3))


def _resample(data: model.Observations, weights: Array, sharpness: bool) -> Array:
    """[kept, 3] fits of the resamples in which the target was met at two or more batch sizes."""
    met = np.isfinite(data.upper)
    drawn = np.stack([weights[:, met & (data.cell == c)].sum(axis=1) > 0 for c in np.unique(data.cell)], axis=1)
    weights = weights[drawn.sum(axis=1) > 1]
    if not len(weights):
        return _none()
    fits = model.maximise(data, weights, sharpness)
    return np.stack([fits.log_s_min, fits.log_e_min, fits.log_sharpness], axis=1)


def _natural(samples: Array, log_batch: Array) -> Array:
    """[kept, 4] B_crit (inf and 0 beyond the sweep), S_min, E_min (NaN where B_crit is beyond) and alpha."""
    log_b_crit = samples[:, 1] - samples[:, 0]
    margin = math.log(model.BEYOND_SWEEP) * 0.999
    high, low = log_b_crit >= log_batch.max() + margin, log_b_crit <= log_batch.min() - margin
    b_crit = np.where(high, np.inf, np.where(low, 0.0, np.exp(log_b_crit)))
    s_min, e_min = np.where(high, 0.0, np.exp(samples[:, 0])), np.where(low, 0.0, np.exp(samples[:, 1]))
    return np.stack([b_crit, s_min, e_min, np.exp(samples[:, 2])], axis=1)


def _residuals(runs: _Runs, log_parameters: Array) -> Array:
    """[n] log steps (the midpoint of the two checks) minus the curve; NaN where the target was not met."""
    with np.errstate(invalid="ignore"):
        middle = np.log((runs.lower + runs.upper) / 2)
    predicted = model.log_steps(np.log(runs.batch_sizes), *log_parameters)
    return np.where(runs.met, middle - predicted, np.nan)


def _misfit(runs: _Runs, residuals: Array, num_parameters: int) -> float:
    """p-value of the lack-of-fit test (Fisher's F: means of batch sizes about the curve, against runs about their means).

    Runs of one batch size share the rounding of the checks, so a mean is allowed its variance, width^2/12, as well.
    Batch sizes with a run that never met the target are left out.
    """
    cell = runs.cell
    whole = ~np.isin(cell, cell[~runs.met])
    cells, index, counts = np.unique(cell[whole], return_inverse=True, return_counts=True)
    freedom, repeats = len(cells) - num_parameters, int(whole.sum()) - len(cells)
    if freedom < 1 or repeats < 1:
        return math.nan
    means = np.bincount(index, residuals[whole]) / counts
    within = float(((residuals[whole] - means[index]) ** 2).sum() / repeats)
    with np.errstate(divide="ignore"):
        widths = np.log(runs.upper[whole]) - np.log(np.maximum(runs.lower[whole], runs.upper[whole] / math.e))
    allowed = within / counts + (np.bincount(index, widths) / counts) ** 2 / 12
    if not (allowed > 0).all():
        return math.nan
    return float(stats.f.sf(float((means**2 / allowed).sum() / freedom), freedom, repeats))
