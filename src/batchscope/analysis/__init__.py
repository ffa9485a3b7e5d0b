"""What the runs say: thresholds with intervals, censored fits, verdicts, and oracles to check them by. No torch."""

from __future__ import annotations

from batchscope.analysis.critical_batch import CriticalBatchFit, fit, fit_critical_batch
from batchscope.analysis.sweeps import Sweep, find_shape, sweeps_of
from batchscope.analysis.thresholds import DEFINITIONS, ThresholdEstimate, batch_threshold

__all__ = [
    "DEFINITIONS",
    "CriticalBatchFit",
    "Sweep",
    "ThresholdEstimate",
    "batch_threshold",
    "find_shape",
    "fit",
    "fit_critical_batch",
    "sweeps_of",
]
