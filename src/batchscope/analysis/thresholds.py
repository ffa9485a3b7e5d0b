"""B*: the largest batch a shape takes without a slow-down, by named definitions, each with an interval."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np

from batchscope.analysis.crossings import ABOVE, BELOW, largest_tested, largest_within, smallest_within
from batchscope.analysis.fit.critical_batch import MEANING as B_CRIT_MEANING
from batchscope.analysis.fit.critical_batch import fit_sweep
from batchscope.analysis.formatting import batch_interval, batch_size, number, plain
from batchscope.analysis.intervals import LEVEL, bias_corrected, num_resamples, quantile_interval, resampled_medians
from batchscope.analysis.log_times import MORE, UNKNOWN, LogTimes, log_times
from batchscope.analysis.planning import checks_needed
from batchscope.analysis.readings import overhead
from batchscope.analysis.slow_down import slows_down
from batchscope.analysis.sweeps import Array, Booleans, Results, Sweep, find_shape, sweeps_of
from batchscope.errors import InputError, choose

ONE_RUN = "one run per batch size: no interval over seeds"
FARTHEST = 50.0  # of a resample in log epochs: where one degree of freedom is left, some lie beyond every number


@dataclass(frozen=True)
class ThresholdEstimate:
    """A threshold on the batch size of one shape: the currency of this room.

    value: examples per batch; NaN where it is censored or there is none, never a stand-in. interval: `level` (95 %)
    bootstrap interval; an end of 0 or inf lies below or beyond every batch size tested, NaN: no interval, and
    `statement` says why. definition: its name, with its number if it has one: "within_epochs(10)". meaning: the
    definition in words. censored: ">" (beyond `largest`), "<" (at or below `smallest`) or "". smallest, largest: of the
    sweep.
    n: runs it rests on; num_batch_sizes: where. statement: what a reader must know besides, or why there is no value.
    samples: [resamples] the threshold in each resample, 0, inf and NaN as above; empty without an interval.
    """

    value: float
    interval: tuple[float, float]
    definition: str
    meaning: str
    censored: str
    smallest: float
    largest: float
    n: int
    num_batch_sizes: int
    shape: str
    statement: str = ""
    level: float = LEVEL
    samples: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    @property
    def limit(self) -> float:
        """The batch size meant by `censored`; NaN when it is not."""
        return {">": self.largest, "<": self.smallest}.get(self.censored, math.nan)

    @property
    def ordering(self) -> float:
        """The value for comparing: inf or 0 where it is censored, NaN where there is none."""
        return {">": ABOVE, "<": BELOW}.get(self.censored, self.value)

    @property
    def text(self) -> str:
        """``1024``, ``> 4096``, ``<= 32`` or ``none``."""
        if self.censored:
            return f"{'<=' if self.censored == '<' else '>'} {number(self.limit)}"
        return "none" if math.isnan(self.value) else batch_size(self.value)

    @property
    def interval_text(self) -> str:
        """``[512, > 4096]``, or nothing."""
        return batch_interval(self.interval, self.smallest, self.largest)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every field but the samples; NaN and infinities are None, `text` says what they mean."""
        fields = {name: plain(value) for name, value in vars(self).items() if name != "samples"}
        return {**fields, "text": self.text, "interval_text": self.interval_text}

    def __str__(self) -> str:
        """``784-20-10 relu: 1024 [512, 2048] (paper2018, 95 %, n = 40)``."""
        interval = f" {self.interval_text}" if self.interval_text else ""
        why = f"; {self.statement}" if self.statement else ""
        return f"{self.shape}: {self.text}{interval} ({self.definition}, {100 * self.level:.0f} %, n = {self.n}{why})"


@dataclass(frozen=True)
class Definition:
    """A named definition of B*.

    needs: what its number in parentheses is ("": it takes none); default: that number when none is given (NaN: it must
    be). meaning: the definition in words, with {number} and {percent} for the number. estimate: what computes it.
    larger_is_better: False where the number is the batch a shape needs, not the batch it takes. claim: what is said of
    the better of two shapes.
    """

    needs: str
    default: float
    meaning: str
    estimate: Callable[[Sweep, float, _Request], ThresholdEstimate]
    larger_is_better: bool = True
    claim: str = "takes a larger batch than"


@dataclass(frozen=True)
class _Request:
    """How to estimate: the definition's printed name and words, resamples, level, seed and stream.

    times: of the shape, where those of all shapes of the study were looked at together.
    """

    name: str
    meaning: str
    resamples: int
    level: float
    seed: int
    stream: int
    times: LogTimes | None = None


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
    request = _Request(
        definition, describe(definition), resamples or num_resamples(sweep.num_runs), level, seed, stream, times
    )
    if not sweep.num_runs:
        return _nothing(sweep, request, "no finished runs")
    return DEFINITIONS[name].estimate(sweep, parameter, request)


def describe(definition: str) -> str:
    """A definition in words, with its number."""
    name, parameter = parse_definition(definition)
    return DEFINITIONS[name].meaning.format(number=parameter, percent=100 * parameter)


def parse_definition(text: str) -> tuple[str, float]:
    """``within_epochs(10)`` -> ("within_epochs", 10.0); a bare name takes its default. Raises InputError."""
    match = re.fullmatch(r"\s*([a-z_0-9]+?)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text)
    if match is None:
        raise InputError(f"definition {text!r}; expected a name such as 'paper2018' or 'within_epochs(10)'")
    name = choose("definition of the threshold", match[1], DEFINITIONS)
    needs, default = DEFINITIONS[name].needs, DEFINITIONS[name].default
    if match[2] is None:
        if needs and math.isnan(default):
            raise InputError(f"definition {text!r} without its {needs}; expected '{name}(NUMBER)'")
        return name, default
    try:
        parameter = float(match[2])
    except ValueError:
        parameter = math.nan
    if not needs or not (0 < parameter < math.inf):
        expected = f"a {needs} above 0" if needs else f"no number: {name!r}"
        raise InputError(f"definition {text!r} with ({match[2]}); expected {expected}")
    return name, parameter


# --- thresholds read off the typical epochs of each batch size ---------------------------------------------------


def _from_curve(
    sweep: Sweep, request: _Request, rule: Callable[[Array], Array], statement: str = "", steps: bool = False
) -> ThresholdEstimate:
    """Apply `rule` ([R, m] typical costs, inf for never -> [R] thresholds) to the sweep and to its resamples.

    Costs are epochs, or `steps`. A resample moves every batch size by what its seeds leave open and by the error that a
    batch size has of its own (see `log_times`): a bootstrap over seeds alone takes a step size that is off for truth.
    """
    times = _times(sweep, request)
    logs, never = times.value if steps else times.log_epochs, _never(times)
    typical = np.where(never, np.inf, np.exp(np.where(never, 0.0, logs)))
    samples = np.empty(0)
    if sweep.num_seeds < 2:
        statement = _join(statement, ONE_RUN)
    elif not never.all():
        rng = np.random.default_rng([request.seed, request.stream])
        noise = rng.standard_t(times.freedom, size=(request.resamples, len(logs))) * np.sqrt(times.total)
        samples = rule(np.where(never, np.inf, typical * np.exp(np.clip(noise, -FARTHEST, FARTHEST))))
    value = float(rule(typical[None])[0])
    return _estimate(sweep, request, value, samples, math.inf, statement)


def _estimate(
    sweep: Sweep, request: _Request, value: float, samples: Array, per_group: float, statement: str
) -> ThresholdEstimate:
    """Turn 0 and inf into censoring, and say why there is no value."""
    if math.isnan(value) and not statement:
        statement = "no batch size reached the target in half of its runs"
    return ThresholdEstimate(
        value=value if 0 < value < math.inf else math.nan,
        interval=quantile_interval(samples, request.level, per_group),
        definition=request.name,
        meaning=request.meaning,
        censored=">" if value == ABOVE else "<" if value == BELOW else "",
        smallest=float(sweep.batch_sizes[0]),
        largest=float(sweep.batch_sizes[-1]),
        n=sweep.num_runs,
        num_batch_sizes=len(sweep.batch_sizes),
        shape=sweep.shape,
        statement=statement,
        level=request.level,
        samples=samples,
    )


def _nothing(sweep: Sweep, request: _Request, statement: str) -> ThresholdEstimate:
    nan = math.nan
    return ThresholdEstimate(
        nan, (nan, nan), request.name, request.meaning, "", nan, nan, 0, 0, sweep.shape, statement, request.level
    )


def _join(*statements: str) -> str:
    return "; ".join(statement for statement in statements if statement)


def _paper2018(sweep: Sweep, tolerance: float, request: _Request) -> ThresholdEstimate:
    coarse = _too_coarse(sweep, tolerance)
    if coarse:
        return replace(_nothing(sweep, request, coarse), n=sweep.num_runs, num_batch_sizes=len(sweep.batch_sizes))
    return _slow_down(sweep, request, tolerance, lambda values: largest_tested(values, sweep.batch_sizes))


def _overhead(sweep: Sweep, tolerance: float, request: _Request) -> ThresholdEstimate:
    return _slow_down(sweep, request, tolerance, lambda values: values, _too_coarse(sweep, tolerance))


def _slow_down(
    sweep: Sweep, request: _Request, tolerance: float, shown: Callable[[Array], Array], statement: str = ""
) -> ThresholdEstimate:
    """None is seen unless a test says that the shape slows down: else noise would make one in a flat curve."""
    statement = _join(statement, "one batch size tested" if len(sweep.batch_sizes) == 1 else "")
    times = _times(sweep, request)
    logs = np.where(_never(times), np.inf, times.log_epochs)
    value, confidence = overhead(sweep, tuple(logs.tolist()), tolerance)
    samples = np.empty(0)
    if sweep.num_seeds < 2:
        statement = _join(statement, ONE_RUN)
    elif confidence is not None:
        samples = shown(confidence.draws(request.resamples, np.random.default_rng([request.seed, request.stream])))
    result = _estimate(sweep, request, float(shown(np.array([value]))[0]), samples, math.inf, statement)
    if sweep.num_seeds > 1 and not math.isnan(result.ordering) and not slows_down(times, request.level):
        low = result.interval[0]
        return replace(
            result,
            value=math.nan,
            censored=">",
            interval=(low, ABOVE if not math.isnan(low) else low),
            statement=_join(statement, "no slow-down seen"),
        )
    return result


def _times(sweep: Sweep, request: _Request) -> LogTimes:
    return request.times if request.times is not None else log_times({sweep.shape: sweep})[sweep.shape]


def _never(times: LogTimes) -> Booleans:
    """[m] batch sizes at which no run arrived."""
    return np.array([how in (MORE, UNKNOWN) for how in times.known], dtype=bool)


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


def _within_epochs(sweep: Sweep, limit: float, request: _Request) -> ThresholdEstimate:
    if limit > sweep.max_epochs and _was_stopped(sweep):
        return replace(
            _nothing(sweep, request, f"the runs were stopped after {number(sweep.max_epochs)} epochs"),
            n=sweep.num_runs,
            num_batch_sizes=len(sweep.batch_sizes),
        )
    return _within(_from_curve(sweep, request, lambda epochs: largest_within(epochs, sweep.batch_sizes, limit)))


def _within(found: ThresholdEstimate) -> ThresholdEstimate:
    """Bias corrected: by simulation it is what holds; overheads, whose limit is read off as well, hold without."""
    samples = bias_corrected(found.samples, found.ordering)
    return replace(found, samples=samples, interval=quantile_interval(samples, found.level))


def _was_stopped(sweep: Sweep) -> bool:
    """Whether more epochs than were allowed could have brought another batch size to the target."""
    return bool((~sweep.reached & ~sweep.diverged).any() and np.isinf(sweep.typical(sweep.epochs)).any())


def _within_flops(sweep: Sweep, limit: float, request: _Request) -> ThresholdEstimate:
    return _within_epochs(sweep, limit / sweep.flops_per_epoch, request)


def _within_steps(sweep: Sweep, limit: float, request: _Request) -> ThresholdEstimate:
    def rule(steps: Array) -> Array:
        return smallest_within(steps, sweep.batch_sizes, limit)

    stopped = ~sweep.reached & ~sweep.diverged & (sweep.steps_before < limit)
    many = "1 run was" if stopped.sum() == 1 else f"{stopped.sum()} runs were"
    statement = f"{many} stopped before {number(limit)} steps" if stopped.any() else ""
    return _within(_from_curve(sweep, request, rule, statement, steps=True))


def _b_crit(sweep: Sweep, _: float, request: _Request) -> ThresholdEstimate:
    fitted = fit_sweep(sweep, False, request.resamples, request.level, request.seed, request.stream)
    smallest, largest = sweep.batch_sizes[0], sweep.batch_sizes[-1]

    def outside(values: Array) -> Array:
        return np.where(values > largest, ABOVE, np.where(values < smallest, BELOW, values))

    with np.errstate(over="ignore"):
        samples = outside(np.exp(fitted.samples[:, 1] - fitted.samples[:, 0]))
    value = float(outside(np.array(fitted.b_crit))) if not math.isnan(fitted.b_crit) else math.nan
    statement = fitted.statement
    if fitted.misfit < 0.01:
        statement = _join(statement, f"the curve does not describe the runs (lack of fit p = {fitted.misfit:.2g})")
    if value in (ABOVE, BELOW) and math.isfinite(fitted.b_crit) and fitted.b_crit > 0:
        statement = _join(statement, f"the curve extrapolates to {number(fitted.b_crit)}")
    result = _estimate(sweep, request, value, samples, math.inf, statement)
    low, high = (float(outside(np.array(end))) if not math.isnan(end) else end for end in fitted.interval)
    return replace(result, interval=(low, high))


def _mean_diversity(sweep: Sweep, _: float, request: _Request) -> ThresholdEstimate:
    """The mean over batch sizes of the median over runs; diverged ones are left out: their gradients mean nothing.

    The median: gradients of a run that collapsed to a constant prediction nearly cancel, and its B_S is 10^5 and more.
    """
    use = ~np.isnan(sweep.bounds) & ~sweep.diverged
    if not use.any():
        return replace(
            _nothing(sweep, request, "gradient diversity was not measured, or at no epoch that all share"), n=0
        )
    cells, cell, counts = np.unique(sweep.cell[use], return_inverse=True, return_counts=True)
    bounds = sweep.bounds[use]
    value = float(np.mean([np.median(bounds[cell == index]) for index in range(len(cells))]))
    rng = np.random.default_rng([request.seed, request.stream])
    samples = resampled_medians(rng, bounds, cell, request.resamples) if counts.max() > 1 else np.empty(0)
    statement = "" if counts.max() > 1 else ONE_RUN
    result = _estimate(sweep, request, value, samples, float(np.median(counts)), statement)
    return replace(result, n=int(use.sum()), num_batch_sizes=len(cells))


DEFINITIONS: dict[str, Definition] = {
    "paper2018": Definition(
        "tolerance",
        0.2,
        "the largest batch size tested up to which the epochs to target, made non-decreasing in the batch size, stay "
        "within {percent:g} % of the smallest's (after Chen et al. 2018)",
        _paper2018,
    ),
    "within_epochs": Definition(
        "number of epochs",
        math.nan,
        "the largest batch size that reaches the target within {number:g} epochs (Chen et al. 2018, Figures 2(b), 5)",
        _within_epochs,
    ),
    "within_flops": Definition(
        "number of FLOPs",
        math.nan,
        "the largest batch size that reaches the target within {number:.3g} training FLOPs (6 per example and "
        "multiplication by a weight)",
        _within_flops,
    ),
    "within_steps": Definition(
        "number of steps",
        math.nan,
        "the smallest batch size that reaches the target within {number:g} update steps",
        _within_steps,
        larger_is_better=False,
        claim="needs a smaller batch than",
    ),
    "overhead_20": Definition(
        "overhead",
        0.2,
        "the batch size at which the target takes {percent:g} % more steps than linear scaling from the small batch "
        "sizes promises",
        _overhead,
    ),
    "b_crit": Definition("", math.nan, B_CRIT_MEANING, _b_crit),
    "mean_diversity": Definition(
        "",
        math.nan,
        "the mean along training of n times the gradient diversity, which bounds the batch size (Yin et al. 2018), "
        "median over seeds",
        _mean_diversity,
        claim="has a larger gradient diversity than",
    ),
}
