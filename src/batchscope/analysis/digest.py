"""`Digest`: everything the report says about one study, computed once; tables, figures and page only write it down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batchscope.analysis import (
    CriticalBatchFit,
    Finding,
    ProtocolEffect,
    Sweep,
    ThresholdEstimate,
    TuningGuard,
    Verdict,
    batch_threshold,
    compare,
    compare_protocols,
    find_shape,
    findings,
    fit,
    guard,
    sweeps_of,
)
from batchscope.analysis.cells import Cell, cells
from batchscope.analysis.context import Context, context
from batchscope.analysis.diversity import Curve, curves
from batchscope.analysis.headline import Headline, headline
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.log_times import log_times
from batchscope.analysis.same_batch import EpochRatios, epoch_ratios
from batchscope.analysis.sweeps import rows_of
from batchscope.analysis.tuning import in_order
from batchscope.records.row import Row
from batchscope.records.rows import Rows

OTHER_DEFINITIONS = ("b_crit", "paper2018", "overhead_20")


@dataclass(frozen=True)
class Digest:
    """One study, read once.

    rows: all of them, tuning included. table: one `Cell` per shape and batch size. sweeps: shape -> its final runs as
    arrays, wide to deep. definition: the threshold's. thresholds, fits: shape -> B*, critical-batch fit. verdict: wide
    against deep; exploratory: the same at equal update steps and training FLOPs and by other definitions, each decided
    at a level that allows for their number, where there are two shapes. epoch_ratios: every pair of shapes at every
    common batch size. headline: all that in three sentences. findings: the paper's. protocols: shape -> B* under
    `paper2018` and `tuned`; empty without the rows of the other protocol.
    """

    rows: Rows
    about: Context
    table: tuple[Cell, ...]
    sweeps: Mapping[str, Sweep]
    definition: str
    thresholds: Mapping[str, ThresholdEstimate]
    fits: Mapping[str, CriticalBatchFit]
    headline: Headline
    verdict: Verdict
    epoch_ratios: EpochRatios
    exploratory: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
    tuning: TuningGuard
    curves: tuple[Curve, ...]
    protocols: Mapping[str, ProtocolEffect]


def digest(rows: Iterable[Row], definition: str = "b_crit", against: Sequence[Row] | None = None) -> Digest:
    """Analyse the rows of one study. against: those of the same study under the other protocol.

    Raises InputError for rows of more than one problem, an unknown definition, or protocols that are not the two.
    """
    given = rows_of(rows)
    sweeps = sweeps_of(given)
    times, verdict = log_times(sweeps), compare(sweeps, definition=definition)
    ratios = epoch_ratios(times, CERTAIN)
    return Digest(
        rows=given,
        about=context(given),
        table=cells(given, sweeps=sweeps),
        sweeps=sweeps,
        definition=definition,
        thresholds=batch_threshold(sweeps, definition),
        fits=fit(sweeps),
        headline=headline(sweeps, ratios, verdict),
        verdict=verdict,
        epoch_ratios=ratios,
        exploratory=_exploratory(sweeps, definition),
        findings=findings(sweeps, definition),
        tuning=guard(given),
        curves=curves(given),
        protocols={} if against is None else compare_protocols(*in_order(given, against), definition),
    )


def _exploratory(sweeps: dict[str, Sweep], definition: str) -> tuple[Verdict, ...]:
    """Wide against deep, asked differently; nothing where one of them never reached the target."""
    if len(sweeps) < 2:
        return ()
    ends = [find_shape(sweeps, name) for name in ("wide", "deep")]
    if not all(np.isfinite(sweeps[end].typical(sweeps[end].epochs)).any() for end in ends):
        return ()
    counted = all(sweeps[end].multiply_adds for end in ends)  # not known of plain numbers without weights
    costs, others = (
        ("steps", "flops") if counted else ("steps",),
        [name for name in OTHER_DEFINITIONS if name != definition],
    )
    count = len(costs) + len(others)
    return (
        *(compare(sweeps, equal=what, comparisons=count) for what in costs),
        *(compare(sweeps, definition=name, comparisons=count) for name in others),
    )


def epoch_limits(table: Iterable[Cell], count: int) -> list[float]:
    """Return up to `count` numbers of epochs, evenly spread in log from the fastest cell to the most epochs seen.

    Whole numbers where the most is ten or more, else two digits: a reader can say them, and `formatting.number` prints
    every one differently. Empty when no run reached the target.
    """
    known = [cell.epochs for cell in table if cell.epochs and not cell.never]
    if not known:
        return []
    low, high = min(epochs.value for epochs in known), max(epochs.most for epochs in known)
    step = 1.0 if high >= 10 and low >= 1 else 10.0 ** (math.floor(math.log10(low)) - 1)
    limits = np.geomspace(low, high, count)
    return sorted({round(math.ceil(limit / step - 1e-9) * step, 9) for limit in limits.tolist()})
