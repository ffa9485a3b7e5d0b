"""Gradient diversity along training, from the runs' histories: B_S at each epoch where it was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchscope.records import Row

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
    measured = [curve for row in rows if row.phase == "final" and (curve := _curve(row))]
    smallest: dict[str, int] = {}
    for curve in measured:
        smallest[curve.shape] = min(curve.batch_size, smallest.get(curve.shape, curve.batch_size))
    kept = [curve for curve in measured if curve.batch_size == smallest[curve.shape] and curve.seed < MAX_SEEDS]
    return tuple(sorted(kept, key=lambda curve: (curve.depth, curve.width, curve.shape, curve.seed)))


def _curve(row: Row) -> Curve | None:
    points = [(at.epoch, at.batch_size_bound) for at in row.history if at.batch_size_bound is not None]
    if not points:
        return None
    epochs, bounds = zip(*points, strict=True)
    return Curve(row.shape, row.depth, row.width, row.batch_size, row.seed, epochs, bounds)
