"""Rank correlations with their intervals, and gradient diversity averaged along runs as Figure 2 of the paper does."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from batchscope.records import Outcome, Rows
from reproduction.evidence import decided, results


@dataclass(frozen=True)
class Ranked:
    """Spearman's correlation. interval: 95 %, Fisher's z (Bonett and Wright 2000); probability: of being positive."""

    rank: float
    interval: tuple[float, float]
    probability: float

    @classmethod
    def of(cls, rank: float, freedom: int) -> Ranked:
        """From a correlation of n values; freedom: n - 3, or what is left of it."""
        z, error = math.atanh(min(max(rank, -0.999), 0.999)), math.sqrt((1 + rank**2 / 2) / freedom)
        ends = math.tanh(z - 1.96 * error), math.tanh(z + 1.96 * error)
        return cls(rank, ends, float(stats.norm.cdf(z / error)))

    @property
    def verdict(self) -> str:
        """On the statement that one grows with the other."""
        return decided(self.probability)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rank:.2f} [{low:.2f}, {high:.2f}]"


def ranked(x: Iterable[float], y: Iterable[float]) -> Ranked:
    """Of two lists of numbers of the same shapes; infinities rank beyond all others."""
    first, second = list(x), list(y)
    return Ranked.of(float(stats.spearmanr(first, second)[0]), len(first) - 3)


def averaged(recipe: str, batch_size: int) -> list[float]:
    """B_S averaged along a run, median over the runs at a batch size that did not diverge; shapes from wide to deep."""
    finals = Rows.of(results(recipe).rows).where(phase="final", batch_size=batch_size)
    along: dict[int, list[float]] = {}
    for row in finals:
        if row.outcome != Outcome.DIVERGED:
            bounds = [one.batch_size_bound for one in row.history if one.batch_size_bound is not None]
            along.setdefault(row.depth, []).append(float(np.mean(bounds)))
    return [float(np.median(along[depth])) for depth in sorted(along)]
