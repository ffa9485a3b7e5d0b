"""Gradient diversity along training, from the runs' histories: B_S at each epoch where it was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from batchscope.analysis.sweeps import by_shape
from batchscope.records import Row
from batchscope.rows import Rows

MAX_SEEDS = 10  # curves drawn per shape; more would only hide each other


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
    """Return the curves of each shape at its smallest batch size with a measurement: closest to gradient flow."""
    finals = Rows.of(rows).where(phase="final")
    groups = by_shape(finals.pick(~np.isnan(finals.column("batch_size_bound")))).values()
    return tuple(curve for group in groups for row in _first(group) if (curve := _curve(row)))


def _first(rows: Rows) -> Rows:
    """Return the runs at the smallest batch size, the first few seeds."""
    return rows.where(batch_size=rows.column("batch_size").min()).in_order_of("seed")[:MAX_SEEDS]


def _curve(row: Row) -> Curve | None:
    points = [(at.epoch, at.batch_size_bound) for at in row.history if at.batch_size_bound is not None]
    if not points:
        return None
    epochs, bounds = zip(*points, strict=True)
    return Curve(row.shape, row.depth, row.width, row.batch_size, row.seed, epochs, bounds)
