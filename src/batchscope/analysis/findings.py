"""The paper's findings as statements a study can support, contradict, or leave undecided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from batchscope.analysis.diversity import at_equal_epochs
from batchscope.analysis.formatting import plain, probability_text
from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.sweeps import Array, Results, sweeps_of
from batchscope.analysis.thresholds import ThresholdEstimate, batch_threshold
from batchscope.analysis.verdict import CERTAIN, Verdict, compare

FEWEST_SHAPES = 4  # Fisher's interval divides by n - 3


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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in vars(self).items()}

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class Finding:
    """One statement and what the study says: decision "supported", "contradicted" or "undecided".

    evidence: the verdict or correlation it rests on, None when there is nothing to compare; sentence: in words.
    """

    statement: str
    decision: str
    probability: float
    sentence: str
    evidence: Verdict | Correlation | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fields = {name: plain(value) for name, value in vars(self).items() if name != "evidence"}
        return {**fields, "evidence": self.evidence.as_dict() if self.evidence else None}


STATEMENTS = (
    "At equal parameters the wide shape takes larger batches without slow-down than the deep one (Figures 3 to 5).",
    "At equal parameters the wide shape has the larger gradient diversity (Figure 2(a)).",
    "Shapes with larger gradient diversity take larger batches (Figure 2(c)).",
)


def findings(
    results: Results, definition: str = "paper2018", *, level: float = LEVEL, seed: int = 0
) -> tuple[Finding, ...]:
    """The three findings of Chen et al. 2018 about a study with two or more shapes; always three, in order."""
    sweeps = sweeps_of(results)
    if len(sweeps) < 2:
        reason = "fewer than two shapes with finished runs"
        return tuple(Finding(text, "undecided", math.nan, f"{text} Undecided: {reason}.", None) for text in STATEMENTS)
    evidence: tuple[Verdict | Correlation, ...] = (
        compare(sweeps, definition=definition, level=level, seed=seed),
        compare(sweeps, definition="mean_diversity", level=level, seed=seed),
        correlate_diversity(sweeps, definition, level=level, seed=seed),
    )
    return tuple(_finding(text, item) for text, item in zip(STATEMENTS, evidence, strict=True))


def _finding(statement: str, evidence: Verdict | Correlation) -> Finding:
    probability = evidence.probability
    decision = "undecided"
    if probability >= CERTAIN or probability <= 1 - CERTAIN:
        decision = "supported" if probability >= CERTAIN else "contradicted"
    words = str(evidence).removeprefix("Undecided ")
    return Finding(statement, decision, probability, f"{statement} {decision.capitalize()}: {words}", evidence)


def correlate_diversity(
    results: Results, definition: str = "paper2018", *, level: float = LEVEL, seed: int = 0
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
    rank_interval, probability = _fisher(rank, n, 1 + rank**2 / 2, level)
    pearson_interval, _ = _fisher(pearson, n_pearson, 1.0, level)
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


def _fisher(r: float, n: int, variance: float, level: float) -> tuple[tuple[float, float], float]:
    """Interval and P(correlation > 0) from z = atanh(r), standard error sqrt(variance / (n - 3))."""
    if math.isnan(r) or n < FEWEST_SHAPES:
        return (math.nan, math.nan), math.nan
    if abs(r) == 1:  # every pair in order: z is infinite and says nothing of n; a permutation does
        sure = 1 - 1 / math.factorial(n)
        return (math.nan, math.nan), sure if r > 0 else 1 - sure
    error = math.sqrt(variance / (n - 3))
    half = float(-special.ndtri((1 - level) / 2)) * error
    z = math.atanh(r)
    return (math.tanh(z - half), math.tanh(z + half)), float(special.ndtr(z / error))
