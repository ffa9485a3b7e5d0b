"""Which shape takes the larger batch? A paired comparison with a probability, or "undecided"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchscope.analysis.definitions import DEFINITIONS, Definition, describe, parse_definition
from batchscope.analysis.diversity import AT_EQUAL_EPOCHS, at_equal_epochs, has_curves
from batchscope.analysis.formatting import fields_of, probability_text
from batchscope.analysis.intervals import CERTAIN, LEVEL, ratio_interval
from batchscope.analysis.ratios import most_supported, probability_larger, ratio_text
from batchscope.analysis.sweeps import Array, Results, Sweep, find_shape, sweeps_of
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import estimate, study_resamples
from batchscope.errors import InputError, choose

EQUAL_PARAMETERS = 0.05  # shapes whose weights differ by more are not "at equal parameters"; the paper's differ by 4 %
EQUAL = ("parameters", "steps", "flops")
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """The answer to "does `first` take a larger batch than `second`?"

    first_name, second_name: as asked ("wide", "deep" or labels). first, second: their thresholds.
    equal: what the two have in common: "parameters", "steps" or "flops"; condition: that in words, with its numbers.
    probability: that the first is better, from the paired bootstrap, ties counted half, and no surer than the number of
    runs and of resamples allows (`ratios.most_supported`). NaN when it cannot be said.
    tie: probability that both are equal (or outside the sweep on the same side). ratio: first / second, NaN unless both
    are numbers; ratio_interval: `level` (95 %), with 0 or inf where one of the two may lie outside the sweep.
    decision: `first_name`, `second_name` or "undecided". n: runs of both shapes.
    """

    first_name: str
    second_name: str
    first: ThresholdEstimate
    second: ThresholdEstimate
    equal: str
    condition: str
    probability: float
    tie: float
    ratio: float
    ratio_interval: tuple[float, float]
    decision: str
    n: int
    level: float = LEVEL

    @property
    def biased(self) -> str:
        """Why nothing is decided by these thresholds, if so."""
        return self.first.biased or self.second.biased

    @property
    def ratio_text(self) -> str:
        """``4 [2, 16]``, ``> 16 [8, no upper bound]``, or nothing."""
        return ratio_text(self.first, self.second, self.ratio_interval)

    @property
    def short(self) -> str:
        """``wide / deep 4 [2, 16]``; "-" where the ratio is not known."""
        return f"{self.first_name} / {self.second_name} {self.ratio_text}" if self.ratio_text else "-"

    @property
    def sentence(self) -> str:
        """The answer in one sentence, with definition, intervals and n."""
        return _sentence(self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN and infinities are None."""
        return fields_of(self, sentence=self.sentence, ratio_text=self.ratio_text)

    def __str__(self) -> str:
        return self.sentence


def compare(
    results: Results,
    first: str = "wide",
    second: str = "deep",
    definition: str = "b_crit",
    *,
    equal: str = "parameters",
    budget: float | None = None,
    comparisons: int = 1,
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Verdict:
    """Does the first shape take a larger batch than the second?

    first, second: labels, or "wide" (the shallowest, widest shape) and "deep" (the deepest). Both are judged at the
    batch sizes at which both were run, with the same resampled batch sizes where the definition resamples them; by
    "mean_diversity", at the epochs at which both were measured (see `diversity.at_equal_epochs`).
    equal: "parameters": thresholds by `definition`, and a check that the numbers of weights are within 5 %; "steps":
    the smallest batch size with which each reaches the target in the same number of update steps (smaller is better);
    "flops": the largest batch size with which each reaches it for the same training FLOPs. budget: those steps or
    FLOPs; None: the geometric middle of the costs that both attain at some batch size (or of the gap between them).
    comparisons: how many are looked at; each is then decided at 0.05 / comparisons (Bonferroni), so that all together
    err as rarely as one.

    Decided when the bootstrap probability is at least 0.95 either way, else "undecided". Raises InputError for unknown
    names and rows of more than one problem.
    """
    choose("condition to hold equal", equal, EQUAL)
    sweeps = sweeps_of(results)
    if len(sweeps) < 2 and {first, second} <= {"wide", "deep", *sweeps}:
        return _without_two_shapes(sweeps, (first, second), definition, level)
    one, other = (sweeps[find_shape(sweeps, name)] for name in (first, second))
    if one.shape == other.shape:
        raise InputError(f"{first!r} and {second!r} are the same shape ({one.shape!r}); expected two")
    common = np.intersect1d(one.batch_sizes, other.batch_sizes)
    one, other = one.at(common), other.at(common)
    condition = _condition(one, other)
    if equal != "parameters":
        definition = _at_budget(one, other, equal, budget)
        condition = f"at equal {'update steps' if equal == 'steps' else 'training FLOPs'}; {condition}"
    count, streams = resamples or study_resamples(sweeps), [list(sweeps).index(sweep.shape) for sweep in (one, other)]
    if definition == "mean_diversity" and has_curves((one, other)):
        one, other = at_equal_epochs((one, other))
        condition = f"{AT_EQUAL_EPOCHS}; {condition}"
    estimates = [
        estimate(sweep, definition, count, level, seed, k) for k, sweep in zip(streams, (one, other), strict=True)
    ]
    return _verdict((first, second), (estimates[0], estimates[1]), equal, condition, comparisons)


def _condition(one: Sweep, other: Sweep) -> str:
    """Whether the two have the same number of weights, or of all parameters: budgets count either."""
    weights, parameters = _counts(one, other)
    if not min(weights):
        return "numbers of weights not given"
    counted, what = (weights, "weights") if _same(weights) or not _same(parameters) else (parameters, "parameters")
    words = "at equal parameters" if at_equal_parameters(one, other) else "NOT at equal parameters"
    return f"{words}: {counted[0]} and {counted[1]} {what}"


def at_equal_parameters(one: Sweep, other: Sweep) -> bool:
    """Whether both say their numbers of weights, and these (or those of all parameters) are the same."""
    weights, parameters = _counts(one, other)
    return min(weights) > 0 and (_same(weights) or _same(parameters))


def _counts(one: Sweep, other: Sweep) -> tuple[tuple[int, int], tuple[int, int]]:
    """(weights of both, parameters of both)."""
    return (one.num_weights, other.num_weights), (one.num_parameters, other.num_parameters)


def _same(counts: tuple[int, int]) -> bool:
    return 0 < max(counts) <= (1 + EQUAL_PARAMETERS) * min(counts)


def _at_budget(one: Sweep, other: Sweep, equal: str, budget: float | None) -> str:
    """The definition that gives both shapes the same budget of steps or FLOPs."""
    if equal == "flops" and not (one.multiply_adds and other.multiply_adds):
        raise InputError(
            "training FLOPs of shapes without their numbers of weights; expected a column num_weights, or another "
            "condition to hold equal: 'parameters' or 'steps'"
        )
    if budget is None:
        costs = [_attained(sweep, equal) for sweep in (one, other)]
        known = all(len(cost) for cost in costs)
        budget = math.sqrt(max(c.min() for c in costs) * min(c.max() for c in costs)) if known else 1.0
    return f"within_{equal}({budget:.4g})"


def _attained(sweep: Sweep, equal: str) -> Array:
    """The typical costs of the batch sizes that reach the target."""
    costs = sweep.typical(sweep.steps if equal == "steps" else sweep.epochs * sweep.flops_per_epoch)
    return costs[np.isfinite(costs)]


def _verdict(
    names: tuple[str, str],
    estimates: tuple[ThresholdEstimate, ThresholdEstimate],
    equal: str,
    condition: str,
    comparisons: int = 1,
) -> Verdict:
    """Compare the resamples and decide."""
    first, second = estimates
    probability, tie = probability_larger(first, second)
    probability = probability if _definition(first).larger_is_better else 1 - probability
    decision, certain = UNDECIDED, 1 - (1 - CERTAIN) / comparisons
    biased = first.biased or second.biased
    if not biased and (probability >= certain or probability <= 1 - certain):
        decision = names[0] if probability >= certain else names[1]
    return Verdict(
        first_name=names[0],
        second_name=names[1],
        first=first,
        second=second,
        equal=equal,
        condition=condition,
        probability=probability,
        tie=tie,
        ratio=first.value / second.value,
        ratio_interval=ratio_interval(first.samples, second.samples, first.level),
        decision=decision,
        n=first.n + second.n,
        level=first.level,
    )


def _definition(threshold: ThresholdEstimate) -> Definition:
    return DEFINITIONS[parse_definition(threshold.definition)[0]]


def _sentence(verdict: Verdict) -> str:
    """One sentence with the answer, both thresholds, their ratio, the probability, the definition and n."""
    first, second = (
        name if name == threshold.shape else f"{name} ({threshold.shape})"
        for name, threshold in ((verdict.first_name, verdict.first), (verdict.second_name, verdict.second))
    )
    does = _definition(verdict.first).claim
    footing = f"{_numbers(verdict)} ({_footing(verdict)})."
    if math.isnan(verdict.probability):
        return f"Undecided whether {first} {does} {second}: no probability can be given; {footing}"
    if verdict.decision == UNDECIDED:
        sure = probability_text(verdict.probability)
        return f"Undecided whether {first} {does} {second}: probability {sure}; {footing}"
    sure = probability_text(max(verdict.probability, 1 - verdict.probability))
    winner, loser = (first, second) if verdict.decision == verdict.first_name else (second, first)
    return f"{winner} {does} {loser}: probability {sure}; {footing}"


def _numbers(verdict: Verdict) -> str:
    """``wide 1024 [512, 2048], deep 256 [128, 256], ratio 4 [2, 16]``."""
    words = [
        f"{name} {threshold.text} {threshold.interval_text}".strip()
        for name, threshold in ((verdict.first_name, verdict.first), (verdict.second_name, verdict.second))
    ]
    return ", ".join([*words, f"ratio {verdict.ratio_text}"] if verdict.ratio_text else words)


def _footing(verdict: Verdict) -> str:
    """What the numbers mean and rest on."""
    thresholds = (verdict.first, verdict.second)
    reasons = [f"{threshold.shape}: {threshold.statement}" for threshold in thresholds if threshold.statement]
    basis = f"{100 * verdict.level:.0f} % bootstrap, n = {verdict.n} runs"
    if not math.isnan(verdict.probability) and (most := most_supported(*thresholds)) < CERTAIN:
        basis += f", too few for a probability beyond {probability_text(most)}"
    meaning = f"{verdict.first.definition}: {verdict.first.meaning}"
    return "; ".join([meaning, verdict.condition, basis, *dict.fromkeys(reasons)])


def _without_two_shapes(sweeps: dict[str, Sweep], names: tuple[str, str], definition: str, level: float) -> Verdict:
    """The verdict on fewer than two shapes: undecided, and why."""
    lone = next(iter(sweeps.values()), None)
    reason = f"{len(sweeps)} shape{'' if len(sweeps) == 1 else 's'} in the results; a comparison needs two"
    meaning = describe(definition)
    missing = ThresholdEstimate(
        math.nan, (math.nan, math.nan), definition, meaning, "", math.nan, math.nan, 0, 0, "no shape", reason, level
    )
    present = estimate(lone, definition, level=level) if lone else missing
    return _verdict(names, (present, missing), "parameters", "nothing to compare with")
