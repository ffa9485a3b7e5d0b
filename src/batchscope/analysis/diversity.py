"""Gradient diversity of several shapes made comparable: at the same batch sizes and epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from batchscope.analysis.sweeps import Array, Integers, Sweep, by_shape
from batchscope.records.histories import columns
from batchscope.records.row import Row
from batchscope.records.rows import Rows

MAX_SEEDS = 10  # curves drawn per shape; more would only hide each other
MAX_CURVES = 300  # of all shapes together, but three of each

AT_EQUAL_EPOCHS = "a run's geometric mean over the epochs after the start at which all runs were measured"


def has_curves(sweeps: Sequence[Sweep]) -> bool:
    """Whether all the runs' B_S is known along training, not only its mean (as in a table that was exported)."""
    return len(sweeps) > 0 and all(sweep.measured.shape[1] for sweep in sweeps)


def at_equal_epochs(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """The sweeps with `bounds` that can be compared: geometric means of B_S over the epochs that all runs share.

    B_S changes by orders of magnitude along training, so that the mean along a longer run differs for its length alone;
    and runs at every batch size start from the same initial nets, which would count once for each. Hence, at every
    batch size that all have: the epochs after the start at which every run that did not diverge was measured; NaN where
    there are none. Sweeps are returned as they are where only the means are known.
    """
    if not has_curves(sweeps):
        return list(sweeps)
    bounds = [np.full(sweep.num_runs, np.nan) for sweep in sweeps]
    for batch_size in reduce(np.intersect1d, (sweep.batch_sizes for sweep in sweeps)):
        runs = [np.flatnonzero((sweep.batch_sizes[sweep.cell] == batch_size) & ~sweep.diverged) for sweep in sweeps]
        epochs = reduce(np.intersect1d, map(_shared_epochs, sweeps, runs))
        if len(epochs):
            for sweep, mine, found in zip(sweeps, runs, bounds, strict=True):
                shared = np.where(np.isin(sweep.measured_at[mine], epochs), sweep.measured[mine], np.nan)
                found[mine] = np.exp(np.nanmean(np.log(shared), axis=1))
    return [replace(sweep, bounds=found) for sweep, found in zip(sweeps, bounds, strict=True)]


def _shared_epochs(sweep: Sweep, runs: Integers) -> Array:
    """The epochs after the start at which B_S of all those runs was measured."""
    epochs, counts = np.unique(sweep.measured_at[runs], return_counts=True)
    return np.asarray(epochs[(counts == len(runs)) & (epochs > 0)])


@dataclass(frozen=True)
class Curve:
    """B_S (examples) of one run at its measured epochs (passes over the data)."""

    shape: str
    depth: int
    width: int
    batch_size: int
    seed: int
    epochs: tuple[float, ...]
    bounds: tuple[float, ...]


def curves(rows: Iterable[Row]) -> tuple[Curve, ...]:
    """Return the curves of the shapes, the first few seeds of each, at one batch size: that of the longest runs.

    B_S changes by orders of magnitude along training: shapes compare at equal epochs and batch size, and over many
    epochs. Of the batch sizes at which the most shapes were measured, the one whose shortest-lived shape lives longest.
    """
    finals = Rows.of(rows).where(phase="final")
    measured = finals.pick(~np.isnan(finals.column("batch_size_bound")))
    if not measured:
        return ()
    groups = by_shape(measured.where(batch_size=_longest(measured))).values()
    seeds = max(3, min(MAX_SEEDS, MAX_CURVES // len(groups)))
    return tuple(curve for group in groups for curve in _curves(group.in_order_of("seed")[:seeds]))


def _longest(rows: Rows) -> int:
    """The batch size of the longest runs; the smallest of those that tie."""
    lives = []
    for (batch_size,), group in rows.group_by("batch_size").items():
        epochs = [float(np.median(runs.column("epochs_run"))) for runs in by_shape(group).values()]
        lives.append((len(epochs), min(epochs), -batch_size))
    return -int(max(lives)[2])


def middle(curves: Iterable[Curve]) -> tuple[list[float], list[float]]:
    """Return (epochs, median B_S) of the curves of one shape, at the epochs at which at least half were measured."""
    given = list(curves)
    at: dict[float, list[float]] = {}
    for curve in given:
        for epoch, bound in zip(curve.epochs, curve.bounds, strict=True):
            at.setdefault(epoch, []).append(bound)
    epochs = sorted(epoch for epoch, bounds in at.items() if 2 * len(bounds) >= len(given))
    return epochs, [float(np.median(at[epoch])) for epoch in epochs]


def _curves(rows: Rows) -> Iterator[Curve]:
    """Those of some runs; none of a run without a measurement in its history."""
    histories = rows.entries("history")
    epochs, bounds = columns(histories, "epoch"), columns(histories, "batch_size_bound")
    for row, at, bound in zip(rows, epochs, bounds, strict=True):
        known = ~np.isnan(bound)
        points = tuple(at[known].tolist()), tuple(bound[known].tolist())
        if known.any():
            yield Curve(row.shape, row.depth, row.width, row.batch_size, row.seed, *points)
