"""B* as the batch size at which a slow-down begins: `paper2018` and `overhead_20`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from batchscope.analysis.crossings import ABOVE, largest_tested
from batchscope.analysis.definitions.definition import define
from batchscope.analysis.definitions.from_curve import never_reached, times_of
from batchscope.analysis.formatting import number
from batchscope.analysis.planning import checks_needed
from batchscope.analysis.readings import overhead
from batchscope.analysis.slow_down import slows_down
from batchscope.analysis.sweeps import Array, Sweep
from batchscope.analysis.threshold_estimate import ONE_RUN, Request, ThresholdEstimate, joined, made, nothing


@define(
    "paper2018",
    "the largest batch size tested up to which the epochs to target, made non-decreasing in the batch size, stay "
    "within {percent:g} % of the smallest's (after Chen et al. 2018)",
    needs="tolerance",
    default=0.2,
)
def paper2018(sweep: Sweep, tolerance: float, request: Request) -> ThresholdEstimate:
    """None where the target was checked too rarely to show the tolerance."""
    coarse = _too_coarse(sweep, tolerance)
    if coarse:
        return nothing(sweep, request, coarse, sweep.num_runs, len(sweep.batch_sizes))
    return _slow_down(sweep, request, tolerance, lambda values: largest_tested(values, sweep.batch_sizes))


@define(
    "overhead_20",
    "the batch size at which the target takes {percent:g} % more steps than linear scaling from the small batch sizes "
    "promises",
    needs="overhead",
    default=0.2,
)
def overhead_20(sweep: Sweep, tolerance: float, request: Request) -> ThresholdEstimate:
    """See `readings.overhead`."""
    return _slow_down(sweep, request, tolerance, lambda values: values, _too_coarse(sweep, tolerance))


def _slow_down(
    sweep: Sweep, request: Request, tolerance: float, shown: Callable[[Array], Array], statement: str = ""
) -> ThresholdEstimate:
    """None is seen unless a test says that the shape slows down: else noise would make one in a flat curve."""
    statement = joined(statement, "one batch size tested" if len(sweep.batch_sizes) == 1 else "")
    times = times_of(sweep, request)
    logs = np.where(never_reached(times), np.inf, times.log_epochs)
    value, confidence = overhead(sweep, tuple(logs.tolist()), tolerance)
    samples = np.empty(0)
    if sweep.num_seeds < 2:
        statement = joined(statement, ONE_RUN)
    elif confidence is not None:
        samples = shown(confidence.draws(request.resamples, np.random.default_rng([request.seed, request.stream])))
    result = made(sweep, request, float(shown(np.array([value]))[0]), samples, math.inf, statement)
    if sweep.num_seeds > 1 and not math.isnan(result.ordering) and not slows_down(times, request.level):
        low = result.interval[0]
        return replace(
            result,
            value=math.nan,
            censored=">",
            interval=(low, ABOVE if not math.isnan(low) else low),
            statement=joined(statement, "no slow-down seen"),
        )
    return result


def _too_coarse(sweep: Sweep, tolerance: float) -> str:
    """Why the target was checked too rarely for a slow-down of `tolerance` to show; empty where it was not."""
    fastest = float(sweep.epochs.min(initial=math.inf))
    if not sweep.resolution > tolerance * fastest * (1 + 1e-9):
        return ""
    every = "epoch" if sweep.resolution == 1 else f"{number(sweep.resolution)} epochs"
    return (
        f"the target was checked every {every}, more than {100 * tolerance:g} % of the {number(fastest)} epochs that "
        f"the fastest run took: evaluations_per_epoch = {checks_needed(fastest, tolerance)} would do"
    )
