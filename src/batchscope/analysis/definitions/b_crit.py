"""B* as B_crit of the fitted curve."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from batchscope.analysis.crossings import ABOVE, BELOW
from batchscope.analysis.definitions.definition import define
from batchscope.analysis.fit.critical_batch import MEANING, fit_sweep, why_late
from batchscope.analysis.formatting import number
from batchscope.analysis.sweeps import Array, Sweep
from batchscope.analysis.threshold_estimate import Request, ThresholdEstimate, joined, made


@define("b_crit", MEANING)
def b_crit(sweep: Sweep, _: float, request: Request) -> ThresholdEstimate:
    """That of the fitted curve; outside the sweep it is censored, and the statement says where the curve has it."""
    fitted = fit_sweep(sweep, False, request.resamples, request.level, request.seed, request.stream, seeds_alone=False)
    smallest, largest = sweep.batch_sizes[0], sweep.batch_sizes[-1]

    def outside(values: Array) -> Array:
        return np.where(values > largest, ABOVE, np.where(values < smallest, BELOW, values))

    with np.errstate(over="ignore"):
        samples = outside(np.exp(fitted.samples[:, 1] - fitted.samples[:, 0]))
    value = float(outside(np.array(fitted.b_crit))) if not math.isnan(fitted.b_crit) else math.nan
    statement = joined(fitted.statement, fitted.misfit_text, _without(sweep, value))
    if value in (ABOVE, BELOW) and math.isfinite(fitted.b_crit) and fitted.b_crit > 0:
        statement = joined(statement, f"the curve extrapolates to {number(fitted.b_crit)}")
    result = made(sweep, request, value, samples, math.inf, statement)
    low, high = (float(outside(np.array(end))) if not math.isnan(end) else end for end in fitted.interval)
    return replace(result, interval=(low, high), biased=why_late(sweep))


def _without(sweep: Sweep, value: float) -> str:
    """The batch sizes below the answer that the curve leaves out; empty where there are none."""
    alive = np.bincount(sweep.cell[~sweep.diverged], minlength=len(sweep.batch_sizes))
    lost = [size for size, left in zip(sweep.batch_sizes, alive, strict=True) if not left and size < value]
    if not lost:
        return ""
    sizes = ", ".join(map(number, lost))
    return f"every run diverged at batch size{'s' if len(lost) > 1 else ''} {sizes}, below it, of which it says nothing"
