"""B* as what a limit allows: `within_epochs`, `within_flops`, and the batch size that `within_steps` needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from batchscope.analysis.crossings import largest_within, smallest_within
from batchscope.analysis.definitions.definition import define
from batchscope.analysis.definitions.from_curve import from_curve
from batchscope.analysis.formatting import number
from batchscope.analysis.intervals import bias_corrected, quantile_interval
from batchscope.analysis.sweeps import Array, Sweep
from batchscope.analysis.threshold_estimate import Request, ThresholdEstimate, nothing


@define(
    "within_epochs",
    "the largest batch size that reaches the target within {number:g} epochs (Chen et al. 2018, Figures 2(b), 5)",
    needs="number of epochs",
)
def within_epochs(sweep: Sweep, limit: float, request: Request) -> ThresholdEstimate:
    """None where the runs were stopped before the limit."""
    if limit > sweep.max_epochs and _was_stopped(sweep):
        why = f"the runs were stopped after {number(sweep.max_epochs)} epochs"
        return nothing(sweep, request, why, sweep.num_runs, len(sweep.batch_sizes))
    return _within(from_curve(sweep, request, lambda epochs: largest_within(epochs, sweep.batch_sizes, limit)))


def _within(found: ThresholdEstimate) -> ThresholdEstimate:
    """Bias corrected: by simulation it is what holds; overheads, whose limit is read off as well, hold without."""
    samples = bias_corrected(found.samples, found.ordering)
    return replace(found, samples=samples, interval=quantile_interval(samples, found.level))


def _was_stopped(sweep: Sweep) -> bool:
    """Whether more epochs than were allowed could have brought another batch size to the target."""
    return bool((~sweep.reached & ~sweep.diverged).any() and np.isinf(sweep.typical(sweep.epochs)).any())


@define(
    "within_flops",
    "the largest batch size that reaches the target within {number:.3g} training FLOPs (6 per example and "
    "multiplication by a weight)",
    needs="number of FLOPs",
)
def within_flops(sweep: Sweep, limit: float, request: Request) -> ThresholdEstimate:
    """That of as many epochs as the FLOPs pay for."""
    return within_epochs(sweep, limit / sweep.flops_per_epoch, request)


@define(
    "within_steps",
    "the smallest batch size that reaches the target within {number:g} update steps",
    needs="number of steps",
    larger_is_better=False,
    claim="needs a smaller batch than",
)
def within_steps(sweep: Sweep, limit: float, request: Request) -> ThresholdEstimate:
    """The statement says how many runs were stopped before the limit."""

    def rule(steps: Array) -> Array:
        return smallest_within(steps, sweep.batch_sizes, limit)

    stopped = ~sweep.reached & ~sweep.diverged & (sweep.steps_before < limit)
    many = "1 run was" if stopped.sum() == 1 else f"{stopped.sum()} runs were"
    statement = f"{many} stopped before {number(limit)} steps" if stopped.any() else ""
    return _within(from_curve(sweep, request, rule, statement, steps=True))
