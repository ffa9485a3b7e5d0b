"""Question 6c: what do larger batches, and deeper nets, cost in held-out error? Of every committed study of classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from batchscope.analysis.formatting import number
from batchscope.analysis.verdict import UNDECIDED
from batchscope.records import Outcome, Rows
from reproduction import open_questions  # noqa: F401  the page lists these first
from reproduction.evidence import FAILS, HOLDS, MNIST, RUNS, SGD_MNIST, Answer, claim, results, together

Array = NDArray[np.float64]
FEWEST = 8  # runs that arrived, for a line through them


@dataclass(frozen=True)
class Slope:
    """Percentage points for twice the batch, or twice the depth: by least squares, half: of the 95 % interval.

    Over the means of cells, each as often as it has runs: runs of a cell share its step size, and are not independent.
    """

    value: float
    half: float

    def __str__(self) -> str:
        return "-" if math.isnan(self.value) else f"{self.value:.3f} ± {self.half:.3f}"


@dataclass(frozen=True)
class HeldOut:
    """Held-out error (%) of the n runs that met the target, at its first check that they met it."""

    error: float
    n: int
    by_size: Slope
    by_depth: Slope


UNKNOWN = Slope(math.nan, math.nan)


def held_out(rows: Rows) -> HeldOut | None:
    """Of the reported runs that arrived; None where there is no held-out accuracy, or too few runs."""
    arrived = Rows.of(rows).where(phase="final", outcome=Outcome.REACHED)
    error = 100 * (1 - arrived.column("heldout_accuracy").astype(float))
    known = ~np.isnan(error)
    if known.sum() < FEWEST:
        return None
    cells, cell, counts = np.unique(
        np.column_stack([arrived.column(name).astype(float)[known] for name in ("batch_size", "depth", "width")]),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    means = np.bincount(cell.ravel(), weights=error[known]) / counts
    slopes = _slopes(list(np.log2(cells[:, :2]).T), means, counts.astype(float))
    return HeldOut(float(error[known].mean()), int(known.sum()), *slopes)


def _slopes(of: list[Array], y: Array, weights: Array) -> list[Slope]:
    """One for each, all in one regression; those that do not vary have none, and none has where cells are too few."""
    vary = [k for k, x in enumerate(of) if np.ptp(x) > 0]
    if len(y) <= len(vary) + 1:
        return [UNKNOWN for _ in of]
    beta, half = least_squares(np.column_stack([np.ones(len(y)), *(of[k] for k in vary)]), y, weights)
    found = dict(zip(vary, zip(beta[1:].tolist(), half[1:].tolist(), strict=True), strict=True))
    return [Slope(*found[k]) if k in found else UNKNOWN for k in range(len(of))]


def least_squares(design: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """(coefficients, half widths of their 95 % intervals)."""
    root = np.sqrt(weights)
    scaled, target = design * root[:, None], y * root
    beta = np.linalg.lstsq(scaled, target, rcond=None)[0]
    freedom = len(y) - design.shape[1]
    variance = ((target - scaled @ beta) ** 2).sum() / freedom
    error = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled)))
    half: Array = stats.t.ppf(0.975, freedom) * error
    return beta.astype(np.float64), half


def everywhere() -> Iterator[tuple[str, HeldOut]]:
    """(study, its held-out error) of all committed rows that have one."""
    for given in RUNS:
        found = results(given)
        for study in found.studies:
            one = held_out(Rows.of(found.of(study.name).rows))
            if one is not None:
                yield study.name, one


def _costs(slope: Slope) -> str:
    """Whether more of it costs held-out error: certainly so, certainly not, or undecided."""
    return HOLDS if slope.value > slope.half else FAILS if slope.value < -slope.half else UNDECIDED


@claim("6c", "(open: O3) do larger batches, and deeper nets, cost held-out error?", MNIST)
def _held_out() -> Answer:
    one = held_out(Rows.of(results(MNIST).rows))
    assert one is not None
    others = [each for name, each in everywhere() if name != results(MNIST).study.name]
    worse, better = (sum(sign * each.by_size.value > each.by_size.half for each in others) for sign in (1, -1))
    return Answer(
        f"held-out error at the target (96 % training accuracy): {number(one.error)} % over {one.n} runs that arrived; "
        f"twice the batch adds {one.by_size} points, twice the depth {one.by_depth}. Of {len(others)} other studies "
        f"{worse} lose by a larger batch too, {better} gain, the rest are not told apart: docs/reproduction.md",
        together(_costs(slope) for slope in (one.by_size, one.by_depth)),
        f"{SGD_MNIST}; at equal training accuracy, not at equal epochs",
    )
