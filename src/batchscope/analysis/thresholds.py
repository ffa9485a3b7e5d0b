"""B*: the largest batch a shape takes without a slow-down, by named definitions, each with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

from batchscope.analysis.definitions import DEFINITIONS, describe, parse_definition
from batchscope.analysis.intervals import LEVEL, num_resamples
from batchscope.analysis.log_times import LogTimes, log_times
from batchscope.analysis.sweeps import Results, Sweep, find_shape, sweeps_of
from batchscope.analysis.threshold_estimate import Request, ThresholdEstimate, nothing


@overload
def batch_threshold(
    results: Results,
    definition: str = ...,
    shape: None = ...,
    *,
    resamples: int | None = ...,
    level: float = ...,
    seed: int = ...,
) -> dict[str, ThresholdEstimate]: ...
@overload
def batch_threshold(
    results: Results,
    definition: str,
    shape: str,
    *,
    resamples: int | None = ...,
    level: float = ...,
    seed: int = ...,
) -> ThresholdEstimate: ...
@overload
def batch_threshold(
    results: Results,
    definition: str = ...,
    *,
    shape: str,
    resamples: int | None = ...,
    level: float = ...,
    seed: int = ...,
) -> ThresholdEstimate: ...
def batch_threshold(
    results: Results,
    definition: str = "paper2018",
    shape: str | None = None,
    *,
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, ThresholdEstimate] | ThresholdEstimate:
    """B* of every shape (label -> estimate, shallowest first), or of one shape (an estimate).

    results: rows, what carries `.rows`, or the sweeps of them; only "final" runs count. definition: a name of
    DEFINITIONS, its number in parentheses where another than the default is meant: "paper2018", "paper2018(0.5)",
    "within_epochs(10)", "overhead_20", "b_crit", "mean_diversity", "within_flops(1e12)", "within_steps(500)".
    shape: a label, "wide" (shallowest) or "deep". resamples, level, seed: of the draws that give the interval, in which
    every batch size is off by what its seeds leave open and by an error of its own.

    docs/analysis.md says how often the intervals hold the truth.
    A threshold outside the sweep is censored ("> 4096"), one that the runs do not determine is NaN with a statement.
    Raises InputError for an unknown definition or shape, and for rows of more than one problem.
    """
    sweeps = sweeps_of(results)
    count = resamples or study_resamples(sweeps)
    parse_definition(definition)
    times, streams = log_times(sweeps), {label: index for index, label in enumerate(sweeps)}

    def one(label: str) -> ThresholdEstimate:
        return estimate(sweeps[label], definition, count, level, seed, streams[label], times.get(label))

    return one(find_shape(sweeps, shape)) if shape is not None else {label: one(label) for label in sweeps}


def study_resamples(sweeps: Mapping[str, Sweep]) -> int:
    """Resamples for the shapes of a study: the same number wherever one of them is asked for, so the same answer."""
    return num_resamples(sum(sweep.num_runs for sweep in sweeps.values()), len(sweeps))


def estimate(
    sweep: Sweep,
    definition: str = "paper2018",
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
    stream: int = 0,
    times: LogTimes | None = None,
) -> ThresholdEstimate:
    """The threshold of one sweep by a named definition.

    stream: sweeps to be compared share `seed` (and so the batch sizes drawn) and differ in it (seeds drawn apart).
    times: of the sweep, from `log_times` of all shapes of its study, which say more on a batch size's own error.
    """
    name, parameter = parse_definition(definition)
    request = Request(
        definition, describe(definition), resamples or num_resamples(sweep.num_runs), level, seed, stream, times
    )
    if not sweep.num_runs:
        return nothing(sweep, request, "no finished runs")
    return DEFINITIONS[name].estimate(sweep, parameter, request)
