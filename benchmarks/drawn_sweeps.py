"""Runs drawn from a known curve, as the sweep of a shape: for `benchmarks.coverage` and `benchmarks.findings`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchscope.analysis.sweeps import Sweep

NUM_EXAMPLES = 16_384
Array = NDArray[np.float64]
BATCH_SIZES = 32, 4096  # the smallest and the largest of every study


def drawn_sweep(
    shape: str,
    batch_sizes: Array,
    met: Array,
    *,
    resolution: float,
    cap: float,
    steps_per_epoch: Array,
    diverged: NDArray[np.bool_] | None = None,
    depth: int = 1,
    target: str = "",
) -> Sweep:
    """A shape's runs, as many at every batch size.

    met: [n] epochs at which a check first saw the target met, batch size by batch size. resolution: epochs between two
    checks. cap: epochs after which runs stop. steps_per_epoch: [n]. diverged: [n], at the first check.
    """
    cell = np.repeat(np.arange(len(batch_sizes)), len(met) // len(batch_sizes))
    lost = np.zeros(len(met), bool) if diverged is None else diverged
    reached = (met <= cap) & ~lost
    before = np.where(lost, resolution, np.where(reached, met - resolution, cap))
    epochs = np.where(reached, met, np.inf)
    nothing = np.empty((len(met), 0))
    return Sweep(
        shape, depth, 1, 1, 1, NUM_EXAMPLES, target, cap, resolution, batch_sizes, cell, epochs,
        epochs * steps_per_epoch, before * steps_per_epoch, reached, lost, np.full(len(met), np.nan), nothing, nothing,
        0,
    )  # fmt: skip
