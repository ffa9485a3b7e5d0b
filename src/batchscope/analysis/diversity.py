"""Gradient diversity of several shapes made comparable: at the same batch sizes and epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from batchscope.analysis.sweeps import Array, Integers, Sweep

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
