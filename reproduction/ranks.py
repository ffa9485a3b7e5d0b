"""Rank correlations with their intervals, and gradient diversity averaged along runs as Figure 2 of the paper does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from batchscope.analysis.findings import fisher_interval
from batchscope.analysis.intervals import LEVEL
from batchscope.records import Outcome, Rows
from reproduction.evidence import decided, results


@dataclass(frozen=True)
class Ranked:
    """Spearman's correlation. interval: 95 %, Fisher's z (Bonett and Wright 2000); probability: of being positive."""

    rank: float
    interval: tuple[float, float]
    probability: float

    @classmethod
    def of(cls, rank: float, n: int) -> Ranked:
        """From a correlation over n shapes, or over what so many are worth."""
        return cls(rank, *fisher_interval(rank, n, 1 + rank**2 / 2, LEVEL))

    @property
    def verdict(self) -> str:
        """On the statement that one grows with the other."""
        return decided(self.probability)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rank:.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(low) else f"{self.rank:.2f}"


def ranked(x: Iterable[float], y: Iterable[float]) -> Ranked:
    """Of two lists of numbers of the same shapes; infinities rank beyond all others."""
    first, second = list(x), list(y)
    return Ranked.of(float(stats.spearmanr(first, second)[0]), len(first))


def averaged(recipe: str, batch_size: int) -> list[float]:
    """B_S averaged along a run, median over the runs at a batch size that did not diverge; shapes from wide to deep."""
    finals = Rows.of(results(recipe).rows).where(phase="final", batch_size=batch_size)
    along: dict[int, list[float]] = {}
    for row in finals:
        if row.outcome != Outcome.DIVERGED:
            bounds = [one.batch_size_bound for one in row.history if one.batch_size_bound is not None]
            along.setdefault(row.depth, []).append(float(np.mean(bounds)))
    return [float(np.median(along[depth])) for depth in sorted(along)]
