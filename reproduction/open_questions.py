"""Where the paper stops (its section 6, and what its rules leave open): one function a question, as for the claims."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from batchscope.analysis import batch_threshold, fit, sweeps_of
from batchscope.analysis.formatting import number
from batchscope.analysis.sweeps import Sweep
from batchscope.records import Outcome, Rows
from reproduction import variants  # noqa: F401  the page lists these and the claims first
from reproduction.evidence import (
    FAILS,
    HOLDS,
    IN_PART,
    LINEAR,
    MNIST,
    RESULTS,
    SGD_MNIST,
    Answer,
    at_the_start,
    claim,
    results,
)

Array = NDArray[np.float64]
# Rows of which panel, and the definition of the largest batch that its target and epochs suit.
PANELS = {LINEAR: "within_epochs(14)", MNIST: "within_epochs(50)"}


@dataclass(frozen=True)
class Pooled:
    """A rank correlation over the shapes of several panels, ranks within a panel only. interval: 95 %, Fisher's z."""

    rank: float
    interval: tuple[float, float]
    n: int

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rank:.2f} [{low:.2f}, {high:.2f}] (n = {self.n} shapes)"


def pooled(panels: Mapping[str, tuple[Array, Array]]) -> Pooled:
    """Of x and y of every panel. Levels of panels differ by their data, so each gives ranks around its own mean."""
    pairs = [[stats.rankdata(values) / len(values) for values in pair] for pair in panels.values()]
    x, y = (np.concatenate([ranks[k] - ranks[k].mean() for ranks in pairs]) for k in (0, 1))
    rank, n = float(x @ y / math.sqrt((x @ x) * (y @ y))), len(x)
    half = 1.96 * math.sqrt((1 + rank**2 / 2) / (n - len(panels) - 2))
    z = math.atanh(min(max(rank, -0.999), 0.999))
    return Pooled(rank, (math.tanh(z - half), math.tanh(z + half)), n)


def first_after_the_start(sweeps: Mapping[str, Sweep]) -> dict[str, float]:
    """Shape -> geometric mean B_S at the first epoch measured after the start, over batch sizes of which all runs got
    there."""
    epoch = min(float(np.nanmin(np.where(one.measured_at > 0, one.measured_at, np.nan))) for one in sweeps.values())
    found = {shape: _at(one, epoch) for shape, one in sweeps.items()}
    common = set.intersection(*(set(by_size) for by_size in found.values()))
    return {shape: math.exp(np.mean([by_size[size] for size in common])) for shape, by_size in found.items()}


def _at(sweep: Sweep, epoch: float) -> dict[float, float]:
    """Batch size -> mean log B_S at an epoch, where all its runs were measured there."""
    values = np.where(sweep.measured_at == epoch, np.log(sweep.measured), -np.inf).max(axis=1)
    by_size = {float(size): values[sweep.cell == index] for index, size in enumerate(sweep.batch_sizes)}
    return {size: float(logs.mean()) for size, logs in by_size.items() if np.isfinite(logs).all()}


@claim("6a", "(open) does the gradient diversity of the first epochs tell the largest batch?", MNIST)
def _predictors() -> Answer:
    largest = {one: batch_threshold(results(one), definition) for one, definition in PANELS.items()}
    order = {one: np.array([estimate.ordering for estimate in found.values()]) for one, found in largest.items()}
    start = {one: (np.array(list(at_the_start(one).values())), order[one]) for one in PANELS}
    early = np.array(list(first_after_the_start(sweeps_of(results(MNIST))).values()))
    along = pooled({MNIST: (early, order[MNIST])})
    each = "; ".join(f"{one.partition('/')[2]} {pooled({one: pair})}" for one, pair in start.items())
    return Answer(
        f"rank correlation of B_S with the largest batch within a number of epochs: at the start {each}; on MNIST at "
        f"epoch 5 {along}. The start tells it for linear nets and misleads for ReLU nets under cross-entropy",
        IN_PART,
        "14 epochs (synthetic), 50 (MNIST); Glorot-uniform",
    )


@claim("6b", "(open) does the noise scale along one small-batch run tell the critical batch?", MNIST)
def _noise_scale() -> Answer:
    fits, sweeps = fit(results(MNIST)), sweeps_of(results(MNIST))
    # Of a run, B_simple = B_S - 1, averaged as McCandlish et al. 2018 do: over the run, here without its start.
    scales = {shape: _along(sweep, 256.0) for shape, sweep in sweeps.items()}
    critical = {shape: fits[shape].b_crit for shape in sweeps}
    ratios = np.array([scales[shape] / critical[shape] for shape in sweeps])
    rank = pooled({MNIST: (np.array(list(scales.values())), np.array(list(critical.values())))})
    low, middle, high = (number(float(value)) for value in (ratios.min(), np.median(ratios), ratios.max()))
    return Answer(
        f"B_S - 1 along runs at B = 256 over the fitted B_crit: median {middle}, {low} to {high} over ten shapes; rank "
        f"correlation {rank}",
        HOLDS if rank.interval[0] > 0 else IN_PART if ratios.min() > 0.25 and ratios.max() < 4 else FAILS,
        SGD_MNIST,
    )


def _along(sweep: Sweep, batch_size: float) -> float:
    """Median over runs at a batch size of B_S - 1, each the geometric mean over the epochs after the start."""
    runs = sweep.batch_sizes[sweep.cell] == batch_size
    after = np.where(sweep.measured_at[runs] > 0, np.log(sweep.measured[runs] - 1), np.nan)
    return float(np.exp(np.median(np.nanmean(after, axis=1))))


@claim("6c", "(open) what do larger batches, and deeper nets, cost in held-out error?", MNIST)
def _held_out() -> Answer:
    rows = Rows.of(results(MNIST).rows).where(phase="final", outcome=Outcome.REACHED)
    depth, size = (np.log2(rows.column(name).astype(float)) for name in ("depth", "batch_size"))
    error = 100 * (1 - rows.column("heldout_accuracy").astype(float))
    design = np.column_stack([np.ones(len(error)), size, depth])
    slopes, half = _least_squares(design, error)
    return Answer(
        f"held-out error at the target (96 % training accuracy): {number(float(error.mean()))} % over {len(error)} "
        f"runs that arrived; twice the batch adds {slopes[1]:.3f} ± {half[1]:.3f} points, twice the depth "
        f"{slopes[2]:.3f} ± {half[2]:.3f}",
        HOLDS if slopes[1] > half[1] else "undecided",
        f"{SGD_MNIST}; at equal training accuracy, not at equal epochs",
    )


def _least_squares(design: Array, y: Array) -> tuple[Array, Array]:
    """(coefficients, half widths of their 95 % intervals)."""
    beta = np.linalg.lstsq(design, y, rcond=None)[0]
    freedom = len(y) - design.shape[1]
    variance = ((y - design @ beta) ** 2).sum() / freedom
    error = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    half: Array = stats.t.ppf(0.975, freedom) * error
    return beta.astype(np.float64), half


@claim(
    "6d",
    "(open) B_S of initial nets falls from wide to deep, with other weights than N(0, 1) too?",
    "python -m reproduction.initialisations",
)
def _initialisations() -> Answer:
    lines = json.loads((RESULTS / "initialisations.json").read_text())
    at = {(line["study"], line["initialisation"], line["depth"]): line["mean"] for line in lines["lines"]}
    parts, falls = [], []
    for study, name in (("chen2018-figure2", "linear nets, synthetic"), ("chen2018-figure3b", "ReLU nets, MNIST")):
        schemes = dict.fromkeys(scheme for one, scheme, _ in at if one == study)
        values = {scheme: [at[study, scheme, depth] for depth in (1, 2, 5, 10)] for scheme in schemes}
        shown = "; ".join(f"{scheme} {', '.join(map(number, means))}" for scheme, means in values.items())
        parts.append(f"{name}: {shown}")
        falls += [means[0] > means[-1] for means in values.values()]
    return Answer(
        f"B_S at L = 1, 2, 5, 10 (geometric mean of {lines['seeds']} nets). {'. '.join(parts)}",
        HOLDS if all(falls) else IN_PART if any(falls) else FAILS,
        f"{sum(falls)} of {len(falls)} fall from L = 1 to 10: all linear ones, and of the ReLU nets under "
        "cross-entropy those with N(0, 1) weights only, by no more than single nets differ",
    )
