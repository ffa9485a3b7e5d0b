"""B* as what the gradient diversity along training allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from batchscope.analysis.definitions.definition import define
from batchscope.analysis.intervals import resampled_medians
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.threshold_estimate import ONE_RUN, Request, ThresholdEstimate, made, nothing


@define(
    "mean_diversity",
    "the mean along training of n times the gradient diversity, which bounds the batch size (Yin et al. 2018), median "
    "over seeds",
    claim="has a larger gradient diversity than",
)
def mean_diversity(sweep: Sweep, _: float, request: Request) -> ThresholdEstimate:
    """The mean over batch sizes of the median over runs; diverged ones are left out: their gradients mean nothing.

    The median: gradients of a run that collapsed to a constant prediction nearly cancel, and its B_S is 10^5 and more.
    """
    use = ~np.isnan(sweep.bounds) & ~sweep.diverged
    if not use.any():
        return nothing(sweep, request, "gradient diversity was not measured, or at no epoch that all share")
    cells, cell, counts = np.unique(sweep.cell[use], return_inverse=True, return_counts=True)
    bounds = sweep.bounds[use]
    value = float(np.mean([np.median(bounds[cell == index]) for index in range(len(cells))]))
    rng = np.random.default_rng([request.seed, request.stream])
    samples = resampled_medians(rng, bounds, cell, request.resamples) if counts.max() > 1 else np.empty(0)
    statement = "" if counts.max() > 1 else ONE_RUN
    result = made(sweep, request, value, samples, float(np.median(counts)), statement)
    return replace(result, n=int(use.sum()), num_batch_sizes=len(cells))
