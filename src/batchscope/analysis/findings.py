"""The paper's findings as statements a study can support, contradict, or leave undecided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy import special

from batchscope.analysis.diversity import at_equal_epochs
from batchscope.analysis.formatting import fields_of, number, probability_text
from batchscope.analysis.intervals import CERTAIN, LEVEL
from batchscope.analysis.log_times import log_times
from batchscope.analysis.same_batch import EpochRatios, epoch_ratios
from batchscope.analysis.slow_down import SlowDowns, slow_downs
from batchscope.analysis.sweeps import Array, Results, sweeps_of
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import batch_threshold
from batchscope.analysis.trend import Trend, trend
from batchscope.analysis.verdict import UNDECIDED, Verdict, at_equal_parameters, compare

FEWEST_SHAPES = 4  # Fisher's interval divides by n - 3
SUPPORTED, CONTRADICTED = "supported", "contradicted"


@dataclass(frozen=True)
class Correlation:
    """How the thresholds of n shapes go with their mean gradient diversity (the paper's Figure 2(c)).

    rank: Spearman's, over n shapes, a threshold outside the sweep ranking beyond all others. pearson: of logarithms,
    over the n_pearson shapes with both as numbers. *_interval: 95 %, Fisher's z (Spearman: Bonett and Wright 2000).
    probability: that the rank correlation is positive. NaN with fewer than 4 shapes or without variation; `sentence`
    says so. definition: of the threshold.
    """

    rank: float
    rank_interval: tuple[float, float]
    pearson: float
    pearson_interval: tuple[float, float]
    probability: float
    n: int
    n_pearson: int
    definition: str
    sentence: str
    level: float = LEVEL

    @property
    def short(self) -> str:
        """``rank correlation 0.80 [0.1, 0.97]``; "-" without one."""
        low, high = self.rank_interval
        ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
        return "-" if math.isnan(self.rank) else f"rank correlation {self.rank:.2f}{ends}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self)

    def __str__(self) -> str:
        return self.sentence


Evidence: TypeAlias = SlowDowns | Trend | EpochRatios | Verdict | Correlation


@dataclass(frozen=True)
class Finding:
    """One statement and what the study says: decision "supported", "contradicted" or "undecided".

    name: "F0" (a threshold exists), "F1" (wider takes larger batches), "F2" (wider needs fewer epochs at the same
    batch size), "Figure 2(a)" or "Figure 2(c)" of Chen et al. 2018. probability: that it holds (F0: for every shape),
    NaN where it cannot be said. words: why. evidence: the statistic with its interval, None when there is nothing to
    look at. is_equal: whether the shapes are of equal parameters; no statement says so otherwise.
    """

    name: str
    decision: str
    probability: float
    words: str
    evidence: Evidence | None
    is_equal: bool = True

    @property
    def statement(self) -> str:
        """What is supported, contradicted, or left undecided."""
        return STATEMENTS[self.name].format(The="At equal parameters the" if self.is_equal else "The")

    @property
    def sentence(self) -> str:
        """Statement, decision and why."""
        return f"{self.statement} {self.decision.capitalize()}: {self.words}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, "words", "is_equal", statement=self.statement, sentence=self.sentence)


STATEMENTS = {
    "F0": "Every shape has a batch size beyond which it needs more epochs.",
    "F1": "{The} wider shape takes larger batches before it slows down.",
    "F2": "At the same batch size the wider shape needs fewer epochs.",
    "Figure 2(a)": "{The} wide shape has the larger gradient diversity.",
    "Figure 2(c)": "Shapes with larger gradient diversity take larger batches.",
}


def findings(
    results: Results, definition: str = "b_crit", *, level: float = LEVEL, seed: int = 0
) -> tuple[Finding, ...]:
    """The findings of Chen et al. 2018 over all shapes of a study; always the same five, in order.

    definition: of the threshold in F1 and Figure 2(c). The shapes run from wide to deep. Where they do not say that
    their parameters are equal, no statement does.
    """
    sweeps = sweeps_of(results)
    times = log_times(sweeps)
    first = _exists(slow_downs(times, level))
    if len(sweeps) < 2:
        reason = "fewer than two shapes with finished runs"
        return first, *(_undecided(name, reason) for name in list(STATEMENTS)[1:])
    ends = list(sweeps.values())
    found = (
        first,
        _larger(trend(sweeps, definition, level, seed), compare(sweeps, definition=definition, level=level, seed=seed)),
        _fewer(epoch_ratios(times, CERTAIN, level)),
        _finding("Figure 2(a)", compare(sweeps, definition="mean_diversity", level=level, seed=seed)),
        _finding("Figure 2(c)", correlate_diversity(sweeps, definition, level=level, seed=seed)),
    )
    is_equal = at_equal_parameters(ends[0], ends[-1])
    return tuple(replace(one, is_equal=is_equal) for one in found)


def _undecided(name: str, reason: str) -> Finding:
    return Finding(name, UNDECIDED, math.nan, f"{reason}.", None)


def _finding(name: str, evidence: Evidence, probability: float | None = None, words: str = "") -> Finding:
    """Decide by a probability, that of the evidence unless another is given."""
    sure = evidence.probability if probability is None else probability
    decision = UNDECIDED
    if sure >= CERTAIN or sure <= 1 - CERTAIN:
        decision = SUPPORTED if sure >= CERTAIN else CONTRADICTED
    return _worded(name, decision, sure, words or str(evidence), evidence)


def _worded(name: str, decision: str, probability: float, words: str, evidence: Evidence) -> Finding:
    return Finding(name, decision, probability, words.removeprefix("Undecided "), evidence)


def _exists(found: SlowDowns) -> Finding:
    """F0: supported when every shape slows down, contradicted when one is flat over the whole sweep."""
    if not found.shapes:
        return _undecided("F0", "no shape with runs at two batch sizes")
    decision = SUPPORTED if found.count == len(found.shapes) else UNDECIDED
    flat = [one for one in found.shapes if one.flat]
    words = found.sentence
    if flat:
        decision = CONTRADICTED
        words += f" {flat[0].shape} takes less than 20 % more epochs at {number(flat[0].largest)} than at its smallest."
    return _worded("F0", decision, found.probability, words, found)


def _larger(found: Trend, ends: Verdict) -> Finding:
    """F1: by the trend over all shapes; two shapes are their own trend."""
    if found.n < 3:
        return _worded("F1", UNDECIDED, ends.probability, str(ends), ends) if ends.biased else _finding("F1", ends)
    words = f"{found.sentence[:-1]}. Wide against deep: {_brief(ends)}."
    if found.biased:
        return _worded("F1", UNDECIDED, found.probability, words, found)
    return _finding("F1", found, words=words)


def _brief(verdict: Verdict) -> str:
    """``64 [16, 64] against 16 [16, 64], probability 0.92``."""
    first, second = (f"{one.text} {one.interval_text}".strip() for one in (verdict.first, verdict.second))
    return f"{first} against {second}, probability {probability_text(verdict.probability)}"


def _fewer(found: EpochRatios) -> Finding:
    """F2: by the geometric mean of the ratios over all pairs and batch sizes, where it stands for all of them."""
    if not found.num_compared:
        return _undecided("F2", found.sentence.rstrip("."))
    if found.is_mixed:
        return _worded("F2", UNDECIDED, math.nan, f"it depends on shapes and batch size: {found.sentence}", found)
    return _finding("F2", found)


def correlate_diversity(
    results: Results, definition: str = "b_crit", *, level: float = LEVEL, seed: int = 0
) -> Correlation:
    """The correlation, over the shapes of a study, of mean gradient diversity (as n times it) with the threshold."""
    sweeps = sweeps_of(results)
    return correlate(
        diversities(sweeps, level, seed), batch_threshold(sweeps, definition, level=level, seed=seed), level
    )


def diversities(results: Results, level: float = LEVEL, seed: int = 0) -> dict[str, ThresholdEstimate]:
    """Shape label -> B_S along training, at the batch sizes and epochs that all shapes share."""
    sweeps = at_equal_epochs(list(sweeps_of(results).values()))
    return batch_threshold({sweep.shape: sweep for sweep in sweeps}, "mean_diversity", level=level, seed=seed)


def correlate(
    bounds: Mapping[str, ThresholdEstimate], thresholds: Mapping[str, ThresholdEstimate], level: float = LEVEL
) -> Correlation:
    """The same from estimates already made (`diversities`, thresholds); shapes in both count."""
    shapes = [shape for shape in thresholds if shape in bounds]
    x = np.array([bounds[shape].value for shape in shapes])
    y = np.array([thresholds[shape].ordering for shape in shapes])
    ranked = ~(np.isnan(x) | np.isnan(y))
    logged = ranked & np.isfinite(y) & (y > 0) & np.isfinite(x)
    rank = _correlation(_ranks(x[ranked]), _ranks(y[ranked]))
    pearson = _correlation(np.log(x[logged]), np.log(y[logged]))
    n, n_pearson = int(ranked.sum()), int(logged.sum())
    rank_interval, probability = fisher_interval(rank, n, 1 + rank**2 / 2, level)
    pearson_interval, _ = fisher_interval(pearson, n_pearson, 1.0, level)
    definition = next((thresholds[shape].definition for shape in shapes), "")
    sentence = _sentence(rank, rank_interval, probability, f"{definition}, {100 * level:.0f} %, n = {n} shapes")
    return Correlation(
        rank, rank_interval, pearson, pearson_interval, probability, n, n_pearson, definition, sentence, level
    )


def _sentence(rank: float, interval: tuple[float, float], probability: float, footing: str) -> str:
    """The correlation in words, also where there is none or no interval."""
    if math.isnan(rank):
        return f"no rank correlation: fewer than two shapes have both numbers, or they do not differ ({footing})."
    low, high = interval
    if math.isnan(probability):
        return f"rank correlation {rank:.2f}, too few shapes for an interval ({footing})."
    ends = f"[{low:.2f}, {high:.2f}]" if not math.isnan(low) else "(every pair in order, which leaves no interval)"
    sure = probability_text(probability)
    return f"rank correlation {rank:.2f} {ends}, probability {sure} of being positive ({footing})."


def _ranks(values: Array) -> Array:
    """[n] the place of each value among all, the mean of their places for equal ones."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: Array = np.cumsum(counts) - (counts - 1) / 2
    return means[index]


def _correlation(x: Array, y: Array) -> float:
    """Pearson's r; NaN for fewer than two points or without variation."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def fisher_interval(r: float, n: int, variance: float, level: float) -> tuple[tuple[float, float], float]:
    """Return interval and P(correlation > 0) from z = atanh(r), of standard error sqrt(variance / (n - 3)).

    Both are NaN for too few shapes; the interval is where every pair is in order (|r| = 1), and n alone speaks then.
    variance: 1 for Pearson's r; 1 + r²/2 for Spearman's (Bonett and Wright 2000).
    """
    if math.isnan(r) or n < FEWEST_SHAPES:
        return (math.nan, math.nan), math.nan
    if abs(r) == 1:  # every pair in order: z is infinite and says nothing of n; a permutation does
        sure = 1 - 1 / math.factorial(n)
        return (math.nan, math.nan), sure if r > 0 else 1 - sure
    error = math.sqrt(variance / (n - 3))
    half = float(-special.ndtri((1 - level) / 2)) * error
    z = math.atanh(r)
    return (math.tanh(z - half), math.tanh(z + half)), float(special.ndtr(z / error))
