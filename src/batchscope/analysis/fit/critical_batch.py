"""The critical batch size: steps to target against batch size, fitted with censoring, with intervals and residuals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from batchscope.analysis.fit.critical_batch_fit import NO_INTERVAL, CriticalBatchFit, Interval
from batchscope.analysis.fit.curve import BEYOND_SWEEP, CurveFit, by_seeds_alone, fit_curve
from batchscope.analysis.fit.likelihood import Cells, cells_of
from batchscope.analysis.fit.residuals import Runs, lack_of_fit
from batchscope.analysis.formatting import number
from batchscope.analysis.intervals import LEVEL, num_resamples, quantile_interval
from batchscope.analysis.sweeps import Array, Booleans, Results, Sweep, find_shape, once_per_sweep, sweeps_of
from batchscope.errors import InputError

MEANING = (
    "the batch size at which the target takes twice the fewest steps and twice the fewest examples: "
    "steps = S_min (1 + B_crit/B) (McCandlish et al. 2018)"
)
MEANING_SHARP = "the batch size where linear scaling would give S_min: steps = S_min (1 + (B_crit/B)^a)^(1/a)"
RUNNING = "train accuracy running"  # as a sweep names such a target
LATE = 0.2  # of the fewest epochs: a delay beyond is told


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
    diverged: [n] True for runs that diverged: they count as slower than every run of their batch size that arrived.
    sharpness: fit the exponent alpha as well. resamples: draws of each kind, chosen by the number of runs when None.
    seed: of the draws; intervals of B_crit do not depend on it.

    Works on any number of runs; what they leave open is NaN with the reason in `.statement`. Raises InputError for
    batch sizes or steps that are not positive and arrays whose lengths differ.

    >>> fit = fit_critical_batch([32, 128, 512, 2048], [1060, 340, 160, 115])
    >>> round(fit.b_crit), round(fit.s_min)
    (307, 100)
    """
    batches, taken = np.atleast_1d(np.asarray(batch_sizes, float)), np.atleast_1d(np.asarray(steps, float))
    never = np.zeros(len(batches), bool) if censored is None else np.asarray(censored, bool)
    lost = np.zeros(len(batches), bool) if diverged is None else np.asarray(diverged, bool)
    before = taken if steps_before is None else np.asarray(steps_before, float)
    _check(batches, taken, never, before, lost)
    kept = ~lost
    upper = np.where(never, np.inf, taken)[kept]
    lower = np.where(never, taken, np.minimum(before, taken))[kept]
    runs = Runs(batches[kept], lower, upper)
    curve = fit_curve(*_cells(runs, batches[lost]), sharpness) if runs.n else None
    alone = by_seeds_alone(curve) if curve else None
    return _fit(runs, batches[lost], (curve, alone), sharpness, resamples, level, (seed, 0))


@overload
def fit(results: Results, shape: None = ..., **options: Any) -> dict[str, CriticalBatchFit]: ...
@overload
def fit(results: Results, shape: str, **options: Any) -> CriticalBatchFit: ...
def fit(results: Results, shape: str | None = None, **options: Any) -> CriticalBatchFit | dict[str, CriticalBatchFit]:
    """The critical-batch fit of every shape of a study (label -> fit), or of one shape (a fit).

    shape: a label, "wide" or "deep". A run counts as having met the target between its last two checks. options:
    sharpness, resamples, level and seed, as in `fit_critical_batch`.
    """
    sweeps = sweeps_of(results)
    if shape is not None:
        return fit_sweep(sweeps[find_shape(sweeps, shape)], **options)
    options.setdefault("resamples", num_resamples(sum(sweep.num_runs for sweep in sweeps.values()), len(sweeps)))
    return {label: fit_sweep(sweep, **options) for label, sweep in sweeps.items()}


def fit_sweep(
    sweep: Sweep,
    sharpness: bool = False,
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
    stream: int = 0,
    seeds_alone: bool = True,
) -> CriticalBatchFit:
    """The fit of one shape's runs. stream: fits to be compared share `seed`, not this.

    seeds_alone: False leaves out what another fit says, `interval_seeds`, `samples_seeds` and `log_likelihood`.
    """
    return _fit_sweep(sweep, sharpness, resamples or num_resamples(sweep.num_runs), level, seed, stream, seeds_alone)


def _runs(sweep: Sweep) -> tuple[Runs, Array]:
    """(the runs that did not diverge, the batch sizes of those that did)"""
    kept, sizes = ~sweep.diverged, sweep.batch_sizes[sweep.cell]
    return Runs(sizes[kept], sweep.steps_before[kept], sweep.steps[kept]), sizes[~kept]


@once_per_sweep
def curve_of(sweep: Sweep, sharpness: bool) -> CurveFit | None:
    """The curve of one shape, at the batch sizes at which not all runs diverged; None where too few say something."""
    runs, lost = _runs(sweep)
    return fit_curve(*_cells(runs, lost), sharpness) if runs.n else None


@once_per_sweep
def _alone_of(sweep: Sweep, sharpness: bool) -> CurveFit | None:
    """The same by the seeds alone."""
    curve = curve_of(sweep, sharpness)
    return by_seeds_alone(curve) if curve else None


@once_per_sweep
def _fit_sweep(
    sweep: Sweep, sharpness: bool, resamples: int, level: float, seed: int, stream: int, seeds_alone: bool
) -> CriticalBatchFit:
    curves = curve_of(sweep, sharpness), _alone_of(sweep, sharpness) if seeds_alone else None
    found = _fit(*_runs(sweep), curves, sharpness, resamples, level, (seed, stream))
    statement = found.statement if math.isnan(found.b_crit) else _join(found.statement, why_late(sweep))
    return replace(found, statement=statement, largest_possible=sweep.largest_possible)


def why_late(sweep: Sweep) -> str:
    """Why a running accuracy makes B_crit too large; empty where it does not.

    An average over up to an epoch is met later than what it averages, by a time that hardly depends on the batch size:
    the fewer epochs a shape needs, the later it then seems to slow down.
    """
    fastest = float(sweep.epochs.min(initial=math.inf))
    if not sweep.target.startswith(RUNNING) or fastest * LATE >= 1:
        return ""
    return (
        f"a running accuracy, an average over its epoch, is met late by more than {100 * LATE:g} % of the "
        f"{number(fastest)} epochs of the fastest run, which makes B_crit too large: ask for train_accuracy, checked "
        "often"
    )


def _check(batches: Array, steps: Array, never: Booleans, before: Array, lost: Booleans) -> None:
    lengths = {len(array) for array in (batches, steps, never, before, lost)}
    if len(lengths) > 1:
        raise InputError(f"arrays of lengths {sorted(lengths)}; expected one entry per run in each")
    for name, values in (("batch_sizes", batches), ("steps", steps[~lost])):
        bad = values[~(np.isfinite(values) & (values > 0))]
        if len(bad):
            hint = "; mark runs that never met the target in `censored`, with the steps they ran"
            raise InputError(f"{name} holds {bad[0]}; expected finite numbers above 0{hint if name == 'steps' else ''}")


Curves: TypeAlias = tuple[CurveFit | None, CurveFit | None]  # with batch sizes' own errors, by the seeds alone


def _fit(
    runs: Runs, lost: Array, curves: Curves, sharpness: bool, resamples: int | None, level: float, seed: tuple[int, int]
) -> CriticalBatchFit:
    """The estimate, its residuals, and draws of both kinds. lost: [k] batch sizes of the runs that diverged."""
    blank = _blank(runs, len(lost), MEANING_SHARP if sharpness else MEANING, level)
    if blank.statement:
        return blank
    curve, alone = curves
    if curve is None:
        return replace(blank, statement=TOO_COARSE)
    log_parameters = np.array([curve.log_s_min, curve.log_s_min + curve.log_b_crit, curve.log_sharpness])
    residuals = runs.residuals(log_parameters)
    b_crit, s_min, e_min, alpha = natural(log_parameters[None], curve.log_batch)[0].tolist()
    return replace(
        blank,
        b_crit=b_crit,
        s_min=s_min,
        e_min=e_min,
        sharpness=alpha,
        spread=curve.own if math.isnan(curve.spread) else curve.spread,
        own_error=curve.own,
        misfit=lack_of_fit(runs, residuals, 3 if sharpness else 2),
        log_likelihood=-0.5 * alone.deviance if alone else math.nan,
        statement=_join(_statement(b_crit), _on_diverged(b_crit, runs, lost, sharpness)),
        residuals=residuals,
        log_parameters=log_parameters,
        curve=curve,
        **_intervals(curve, alone, sharpness, resamples or num_resamples(runs.n), level, seed),
    )


TOO_COARSE = (
    "at fewer than two batch sizes was the target met later than at the first check: raise evaluations_per_epoch"
)


def _cells(runs: Runs, lost: Array) -> tuple[Array, Cells]:
    """([m] log batch sizes, their runs); diverged runs of batch sizes without others say nothing."""
    grouped = runs.grouped()
    sizes = np.unique(runs.batch_sizes)
    lost = lost[np.isin(lost, sizes)]
    none = np.zeros(len(lost))
    batches = np.concatenate([grouped.batch_sizes, lost])
    cells = cells_of(
        np.concatenate([grouped.lower, none]),
        np.concatenate([grouped.upper, none]),
        np.searchsorted(sizes, batches).astype(np.int64),
        len(sizes),
        np.arange(len(batches)) >= runs.n,
    )
    return np.log(sizes), cells


def _on_diverged(b_crit: float, runs: Runs, lost: Array, sharpness: bool) -> str:
    """What diverged runs did to the answer, where that is more than 5 %."""
    if not len(lost):
        return ""
    without = fit_curve(*_cells(runs, lost[:0]), sharpness)
    words = f"{len(lost)} diverged runs count" if len(lost) > 1 else "1 diverged run counts"
    if without is None or not 0 < b_crit < math.inf or abs(without.log_b_crit - math.log(b_crit)) < 0.05:
        return ""
    left_out = natural(np.array([[0.0, without.log_b_crit, 0.0]]), without.log_batch)[0, 0]
    return f"{words} as slower than those that arrived; left out, B_crit would be {number(left_out)}"


def _join(*statements: str) -> str:
    return "; ".join(statement for statement in statements if statement)


def _intervals(
    curve: CurveFit, alone: CurveFit | None, sharpness: bool, resamples: int, level: float, seed: tuple[int, int]
) -> dict[str, Any]:
    """The fields that say how sure the fit is."""
    rng = np.random.default_rng(seed)
    both, seeds = _draws(curve, resamples, rng), np.empty((0, 3))
    if alone and not math.isnan(curve.spread):
        seeds = _draws(alone, resamples, rng)
    _, s_min, e_min, _ = (quantile_interval(column, level) for column in natural(both, curve.log_batch).T)
    return {
        "interval": _ends(curve, level),
        "interval_seeds": _ends(alone, level) if alone and len(seeds) else NO_INTERVAL,
        "s_min_interval": s_min,
        "e_min_interval": e_min,
        "sharpness_interval": curve.sharpness_ends(level),
        "samples": both,
        "samples_seeds": seeds,
    }


def _draws(curve: CurveFit, resamples: int, rng: np.random.Generator) -> Array:
    """[R, 3] from the confidence distribution of the parameters; evenly spread shares of that of B_crit, shuffled."""
    shares = rng.permutation((np.arange(resamples) + 0.5) / resamples)
    return curve.joint(curve.quantiles(shares), rng)


def _ends(curve: CurveFit, level: float) -> Interval:
    low, high = np.exp(curve.quantiles(np.array([(1 - level) / 2, (1 + level) / 2])))
    return float(low), float(high)


def natural(samples: Array, log_batch: Array) -> Array:
    """[R, 4]: B_crit, S_min, E_min, alpha from logs [R, 3].

    B_crit is inf (S_min 0) or 0 (E_min 0) where the fit sits at the limit of what a sweep over `log_batch` can tell.
    """
    log_b_crit = samples[:, 1] - samples[:, 0]
    margin = math.log(BEYOND_SWEEP) * 0.999
    high, low = log_b_crit >= log_batch.max() + margin, log_b_crit <= log_batch.min() - margin
    b_crit = np.where(high, np.inf, np.where(low, 0.0, np.exp(log_b_crit)))
    s_min, e_min = np.where(high, 0.0, np.exp(samples[:, 0])), np.where(low, 0.0, np.exp(samples[:, 1]))
    return np.stack([b_crit, s_min, e_min, np.exp(samples[:, 2])], axis=1)


def _blank(runs: Runs, num_diverged: int, definition: str, level: float) -> CriticalBatchFit:
    """The record with the runs and no numbers; its statement says why none can follow, or is empty."""
    nan = math.nan
    return CriticalBatchFit(
        b_crit=nan,
        s_min=nan,
        e_min=nan,
        interval=NO_INTERVAL,
        interval_seeds=NO_INTERVAL,
        s_min_interval=NO_INTERVAL,
        e_min_interval=NO_INTERVAL,
        definition=definition,
        sharpness=nan,
        sharpness_interval=NO_INTERVAL,
        spread=nan,
        own_error=nan,
        misfit=nan,
        log_likelihood=nan,
        n=runs.n,
        num_censored=int((~runs.met).sum()),
        num_diverged=num_diverged,
        statement=_why_not(runs, num_diverged),
        level=level,
        batch_sizes=runs.batch_sizes,
        steps=runs.upper,
        steps_before=runs.lower,
        residuals=np.full(runs.n, nan),
    )


def _why_not(runs: Runs, num_diverged: int) -> str:
    """Why no curve can be fitted; empty when it can."""
    if not runs.n:
        return "every run diverged" if num_diverged else "no finished runs"
    if not runs.met.any():
        return "no run met the target"
    tested = len(np.unique(runs.batch_sizes[runs.met]))
    return "" if tested > 1 else "the target was met at one batch size only; a curve needs two"


def _statement(b_crit: float) -> str:
    if b_crit == math.inf:
        return "steps still scale linearly at the largest batch tested: B_crit lies beyond the sweep"
    return "steps do not depend on the batch size within the sweep: B_crit lies below it" if b_crit == 0 else ""
