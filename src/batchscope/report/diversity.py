"""Gradient diversity along training, from the runs' histories: B_S at each epoch where it was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from batchscope.analysis.sweeps import by_shape
from batchscope.records import Row
from batchscope.rows import Rows

MAX_SEEDS = 10  # curves drawn per shape; more would only hide each other
MAX_CURVES = 300  # of all shapes together, but three of each


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
    first = (row for group in groups for row in group.in_order_of("seed")[:seeds])
    return tuple(curve for row in first if (curve := _curve(row)))


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


def _curve(row: Row) -> Curve | None:
    points = [(at.epoch, at.batch_size_bound) for at in row.history if at.batch_size_bound is not None]
    if not points:
        return None
    epochs, bounds = zip(*points, strict=True)
    return Curve(row.shape, row.depth, row.width, row.batch_size, row.seed, epochs, bounds)
