"""Thresholds read off the typical costs of each batch size: what the definitions that do so share."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from batchscope.analysis.log_times import MORE, UNKNOWN, LogTimes, log_times
from batchscope.analysis.sweeps import Array, Booleans, Sweep
from batchscope.analysis.threshold_estimate import ONE_RUN, Request, ThresholdEstimate, joined, made

FARTHEST = 50.0  # of a resample in log epochs: where one degree of freedom is left, some lie beyond every number


def from_curve(
    sweep: Sweep, request: Request, rule: Callable[[Array], Array], statement: str = "", steps: bool = False
) -> ThresholdEstimate:
    """Apply `rule` ([R, m] typical costs, inf for never -> [R] thresholds) to the sweep and to its resamples.

    Costs are epochs, or `steps`. A resample moves every batch size by what its seeds leave open and by the error that a
    batch size has of its own (see `log_times`): a bootstrap over seeds alone takes a step size that is off for truth.
    """
    times = times_of(sweep, request)
    logs, never = times.value if steps else times.log_epochs, never_reached(times)
    typical = np.where(never, np.inf, np.exp(np.where(never, 0.0, logs)))
    samples = np.empty(0)
    if sweep.num_seeds < 2:
        statement = joined(statement, ONE_RUN)
    elif not never.all():
        rng = np.random.default_rng([request.seed, request.stream])
        noise = rng.standard_t(times.freedom, size=(request.resamples, len(logs))) * np.sqrt(times.total)
        samples = rule(np.where(never, np.inf, typical * np.exp(np.clip(noise, -FARTHEST, FARTHEST))))
    value = float(rule(typical[None])[0])
    return made(sweep, request, value, samples, math.inf, statement)


def times_of(sweep: Sweep, request: Request) -> LogTimes:
    """Those the request has from all shapes of the study, or the sweep's own."""
    return request.times if request.times is not None else log_times({sweep.shape: sweep})[sweep.shape]


def never_reached(times: LogTimes) -> Booleans:
    """[m] batch sizes at which no run arrived."""
    return np.array([how in (MORE, UNKNOWN) for how in times.known], dtype=bool)
