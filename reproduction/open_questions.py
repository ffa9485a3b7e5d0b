"""Where the paper stops (its section 6, and what its rules leave open): one function a question, as for the claims."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from batchscope.analysis.formatting import number
from batchscope.analysis.sweeps import Sweep
from reproduction import processors  # noqa: F401  the page lists these and the claims first
from reproduction.evidence import (
    FAILS,
    HOLDS,
    IN_PART,
    RESULTS,
    Answer,
    claim,
)
from reproduction.ranks import Ranked

Array = NDArray[np.float64]


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
    return Pooled(rank, Ranked.of(rank, n - len(panels) + 1).interval, n)


def first_after_the_start(sweeps: Mapping[str, Sweep]) -> dict[str, float]:
    """Shape -> geometric mean B_S at the first epoch measured after the start, over batch sizes of which all runs got
    there; nothing where there are none."""
    epoch = first_epoch(sweeps)
    found = {shape: _at(one, epoch) for shape, one in sweeps.items()}
    common = set.intersection(*(set(by_size) for by_size in found.values()))
    if not common:
        return {}
    return {shape: math.exp(np.mean([by_size[size] for size in common])) for shape, by_size in found.items()}


def first_epoch(sweeps: Mapping[str, Sweep]) -> float:
    """The first epoch after the start at which B_S was measured; NaN where it never was."""
    return min((float(at) for one in sweeps.values() for at in one.measured_at[one.measured_at > 0]), default=math.nan)


def bound_at(sweep: Sweep, epoch: float) -> float:
    """Geometric mean B_S at an epoch over the runs at the smallest batch size that were measured there."""
    there = (sweep.measured_at == epoch) & (sweep.cell == 0)[:, None]
    return math.exp(np.log(sweep.measured[there]).mean()) if there.any() else math.nan


def _at(sweep: Sweep, epoch: float) -> dict[float, float]:
    """Batch size -> mean log B_S at an epoch, where all its runs were measured there."""
    values = np.where(sweep.measured_at == epoch, np.log(sweep.measured), -np.inf).max(axis=1)
    by_size = {float(size): values[sweep.cell == index] for index, size in enumerate(sweep.batch_sizes)}
    return {size: float(logs.mean()) for size, logs in by_size.items() if np.isfinite(logs).all()}


@claim(
    "6a, start",
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
