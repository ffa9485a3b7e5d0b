"""Gradient diversity along training, from the runs' histories: B_S at each epoch where it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from batchscope.analysis.sweeps import by_shape
from batchscope.records import Row
from batchscope.rows import column, pick, where

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


def curves(rows: Sequence[Row]) -> tuple[Curve, ...]:
    """Return the curves of each shape at its smallest batch size with a measurement: closest to gradient flow."""
    finals = where(rows, phase="final")
    groups = by_shape(pick(finals, ~np.isnan(column(finals, "batch_size_bound")))).values()
    return tuple(curve for group in groups for row in _first(group) if (curve := _curve(row)))


def _first(rows: Sequence[Row]) -> list[Row]:
    """Return the runs at the smallest batch size, the first few seeds."""
    smallest = where(rows, batch_size=column(rows, "batch_size").min())
    return sorted(smallest, key=attrgetter("seed"))[:MAX_SEEDS]


def _curve(row: Row) -> Curve | None:
    points = [(at.epoch, at.batch_size_bound) for at in row.history if at.batch_size_bound is not None]
    if not points:
        return None
    epochs, bounds = zip(*points, strict=True)
    return Curve(row.shape, row.depth, row.width, row.batch_size, row.seed, epochs, bounds)
