"""What the runs say: thresholds with intervals, censored fits, verdicts, and oracles to check them by. No torch."""

from __future__ import annotations

from batchscope.analysis.batch_schedule import BatchRule, BatchSchedule, schedule
from batchscope.analysis.branches import BranchTest, branch_test
from batchscope.analysis.definitions import DEFINITIONS
from batchscope.analysis.findings import Correlation, Finding, correlate_diversity, findings
from batchscope.analysis.fit.critical_batch import fit, fit_critical_batch
from batchscope.analysis.fit.critical_batch_fit import CriticalBatchFit
from batchscope.analysis.sweeps import Sweep, find_shape, sweeps_of
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import batch_threshold
from batchscope.analysis.tuning import ProtocolEffect, TuningGuard, compare_protocols, guard
from batchscope.analysis.verdict import Verdict, compare

__all__ = [
    "DEFINITIONS",
    "BatchRule",
    "BatchSchedule",
    "BranchTest",
    "Correlation",
    "CriticalBatchFit",
    "Finding",
    "ProtocolEffect",
    "Sweep",
    "ThresholdEstimate",
    "TuningGuard",
    "Verdict",
    "batch_threshold",
    "branch_test",
    "compare",
    "compare_protocols",
    "correlate_diversity",
    "find_shape",
    "findings",
    "fit",
    "fit_critical_batch",
    "guard",
    "schedule",
    "sweeps_of",
]
