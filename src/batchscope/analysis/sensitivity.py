"""How much a threshold depends on what was asked: on the target's level, and on the definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from batchscope.analysis.intervals import LEVEL
from batchscope.analysis.sweeps import (
    Array,
    Booleans,
    HasRows,
    Results,
    Sweep,
    by_shape,
    rows_of,
    runs_among,
    sweeps_of,
)
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import batch_threshold
from batchscope.errors import InputError
from batchscope.records.histories import columns, lengths
from batchscope.records.row import ACCURACIES, METRICS, RISING, Row, Target
from batchscope.records.rows import Rows

EASIER = (1.0, 1.25, 1.5, 2.0, 3.0)  # default levels: the target's loss, or error rate, times these
COMPARED = ("paper2018", "overhead_20", "b_crit", "mean_diversity")


def by_definition(
    results: Results, definitions: Sequence[str] = COMPARED, *, level: float = LEVEL, seed: int = 0
) -> dict[str, dict[str, ThresholdEstimate]]:
    """Shape label -> definition -> threshold: the same runs, asked differently."""
    sweeps = sweeps_of(results)
    asked = {name: batch_threshold(sweeps, name, level=level, seed=seed) for name in definitions}
    return {shape: {name: asked[name][shape] for name in definitions} for shape in sweeps}


def by_target(
    results: Iterable[Row] | HasRows,
    levels: Sequence[float] | None = None,
    definition: str = "b_crit",
    *,
    level: float = LEVEL,
    seed: int = 0,
    sweeps: Mapping[str, Sweep] | None = None,
) -> dict[str, dict[float, ThresholdEstimate]]:
    """Shape label -> level of the target -> the threshold had that been the target, from the histories of the runs.

    levels: easier ones than the study's target (or that one), in its metric; None: 1 to 3 times its loss or its error
    rate. Harder ones raise InputError: the runs stopped when they met the target. Rows without a history are left out.
    sweeps: those of `results`, where they are made already.
    """
    finals = rows_of(results).where(phase="final")
    rows = finals.pick(lengths(finals.entries("history")) > 0)
    if not rows or rows[0].target_metric not in METRICS:  # of plain numbers: their histories hold no metric
        return {}
    metric, target = rows[0].target_metric, rows[0].target_value
    asked = _levels(metric, target) if levels is None else tuple(levels)
    _refuse_harder(metric, target, asked)
    sweeps = sweeps if sweeps and len(rows) == len(finals) else sweeps_of(rows)
    groups = by_shape(rows)
    curves = {shape: _curves(runs_among(groups[shape]), metric) for shape in sweeps}
    found = {}
    for number in asked:
        had = {shape: _at_level(sweep, *curves[shape], number, metric) for shape, sweep in sweeps.items()}
        found[number] = batch_threshold(had, definition, level=level, seed=seed)
    return {shape: {number: found[number][shape] for number in asked} for shape in sweeps}


def _levels(metric: str, target: float) -> tuple[float, ...]:
    if metric in ACCURACIES:
        return tuple(level for factor in EASIER if (level := round(1 - factor * (1 - target), 12)) > 0)
    return tuple(float(f"{target / factor if metric in RISING else factor * target:.12g}") for factor in EASIER)


def _refuse_harder(metric: str, target: float, levels: Sequence[float]) -> None:
    harder = [value for value in levels if (value > target if metric in RISING else value < target)]
    if harder:
        side = "at most" if metric in RISING else "at least"
        raise InputError(
            f"level {harder[0]:g} is harder than the target, {metric} {target:g}, where the runs stopped; "
            f"expected {side} {target:g}, or a study run with the harder target"
        )


def _curves(runs: Rows, metric: str) -> tuple[Array, Array, Array]:
    """[N, E] metric, epoch and step of every check, padded with NaN."""
    histories = runs.entries("history")
    return columns(histories, Target(metric, 1.0).measured), columns(histories, "epoch"), columns(histories, "step")


def _at_level(sweep: Sweep, values: Array, epochs: Array, steps: Array, level: float, metric: str) -> Sweep:
    """The sweep had the target been `level`: the first check that meets it, and the one before."""
    with np.errstate(invalid="ignore"):
        met = values >= level if metric in RISING else values <= level
    reached: Booleans = np.asarray(met.any(axis=1))
    first = met.argmax(axis=1)
    runs = np.arange(len(values))
    before = np.where(first > 0, steps[runs, first - 1], 0.0)
    return replace(
        sweep,
        target=f"{metric.replace('_', ' ')} {level:g}",
        epochs=np.where(reached, epochs[runs, first], np.inf),
        steps=np.where(reached, steps[runs, first], np.inf),
        steps_before=np.where(reached, before, sweep.steps_before),
        reached=reached,
        diverged=sweep.diverged & ~reached,
    )
