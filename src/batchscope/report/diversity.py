"""Gradient diversity along training, from the runs' histories: B_S at each epoch where it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

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
    groups: dict[tuple[int, int, str], list[Row]] = {}
    for row in rows:
        if row.phase == "final" and row.batch_size_bound is not None:
            groups.setdefault((row.depth, -row.width, row.shape), []).append(row)
    return tuple(curve for key in sorted(groups) for row in _first(groups[key]) if (curve := _curve(row)))


def _first(rows: Sequence[Row]) -> list[Row]:
    """Return the runs at the smallest batch size, the first few seeds."""
    smallest = min(row.batch_size for row in rows)
    return sorted((row for row in rows if row.batch_size == smallest), key=attrgetter("seed"))[:MAX_SEEDS]


def _curve(row: Row) -> Curve | None:
    points = [(at.epoch, at.batch_size_bound) for at in row.history if at.batch_size_bound is not None]
    if not points:
        return None
    epochs, bounds = zip(*points, strict=True)
    return Curve(row.shape, row.depth, row.width, row.batch_size, row.seed, epochs, bounds)
