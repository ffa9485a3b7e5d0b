"""Guard on the tuning: step sizes at the edge of their grid, runs lost to the choice, what the protocol did to B*."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from batchscope.analysis.formatting import fields_of, probability_text
from batchscope.analysis.intervals import LEVEL, ratio_interval
from batchscope.analysis.ratios import probability_larger, ratio_text
from batchscope.analysis.sweeps import HasRows, Sweep, by_shape, refuse_mixtures, rows_of, runs_among, sweeps_of
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import batch_threshold
from batchscope.errors import InputError
from batchscope.records.row import OUTRUN, Outcome, Row
from batchscope.records.rows import Rows

PROTOCOLS = ("paper2018", "tuned")
TOLERANCE = 1e-9  # relative: step sizes of a geometric grid that differ by rounding are the same


@dataclass(frozen=True)
class TunedCell:
    """The choice of a step size for one shape and batch size.

    step_size: the one the final runs used. grid_low, grid_high, num_step_sizes: the step sizes tried (NaN, 0: no tune
    runs in the rows). edge: "low" or "high" when the choice is the end of the grid, else "". num_diverged: step sizes
    that diverged while tuning; num_outrun: those that a race ended, of which some might have diverged later.
    num_final: final runs; num_lost: those of them that never met the target.
    """

    shape: str
    batch_size: int
    step_size: float
    grid_low: float
    grid_high: float
    num_step_sizes: int
    edge: str
    num_diverged: int
    num_outrun: int
    num_final: int
    num_lost: int


@dataclass(frozen=True)
class TuningGuard:
    """Every choice of a step size in a study, by shape and batch size; `protocol` chose them."""

    protocol: str
    cells: tuple[TunedCell, ...]

    @property
    def at_edge(self) -> tuple[TunedCell, ...]:
        """Choices at an end of their grid: the best step size may lie outside."""
        return tuple(cell for cell in self.cells if cell.edge)

    @property
    def with_losses(self) -> tuple[TunedCell, ...]:
        """Choices under which at least one final run never met the target."""
        return tuple(cell for cell in self.cells if cell.num_lost)

    @property
    def statement(self) -> str:
        """``2 of 40 chosen step sizes lie at the edge of their grid; 7 of 200 runs never met the target, ...``"""
        edges, total = len(self.at_edge), len(self.cells)
        lost, runs = (sum(getattr(cell, name) for cell in self.cells) for name in ("num_lost", "num_final"))
        chosen = " with the step size chosen after two epochs" if self.protocol == "paper2018" else ""
        known = f"{edges} of {total} chosen step sizes lie at the edge of their grid"
        if self.cells and all(math.isnan(cell.step_size) for cell in self.cells):
            known = "step sizes are not given"
        return (
            f"{known}; {lost} of {runs} final runs never "
            f"met the target{chosen}, at {len(self.with_losses)} of {total} shapes and batch sizes"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        cells = [fields_of(cell) for cell in self.cells]
        return {"protocol": self.protocol, "statement": self.statement, "cells": cells}


@dataclass(frozen=True)
class StepSizeTrend:
    """How the chosen step size of a shape grows with the batch size: step_size ~ B^slope over n batch sizes.

    1 is the linear rule, 0.5 the square-root rule. interval: 95 % (Student's t); NaN with fewer than three batch sizes.
    """

    shape: str
    slope: float
    interval: tuple[float, float]
    n: int


@dataclass(frozen=True)
class ProtocolEffect:
    """B* of one shape when the step size is chosen as the paper does, and when it is tuned at every batch size.

    ratio: first / second, where the first is `paper2018`; interval: 95 %; probability: that tuning gives the larger
    threshold. num_lost: final runs of the paper's protocol that never met the target; num_lost_to_choice: those of
    them at batch sizes where at least half of the tuned runs did, so that the choice is to blame.
    """

    shape: str
    paper: ThresholdEstimate
    tuned: ThresholdEstimate
    ratio: float
    interval: tuple[float, float]
    probability: float
    num_lost: int
    num_lost_to_choice: int

    @property
    def ratio_text(self) -> str:
        """``0.5 [0.25, 1]``, ``< 0.5 [no lower bound, 1]``, or nothing."""
        return ratio_text(self.paper, self.tuned, self.interval)

    @property
    def sentence(self) -> str:
        """What the protocol did to the threshold of this shape, with n."""
        known = not math.isnan(self.probability)
        sure = (
            f"probability {probability_text(self.probability)} that tuning gives the larger"
            if known
            else "no probability"
        )
        return (
            f"{self.shape}: B* {self.paper.text} {self.paper.interval_text} under paper2018, {self.tuned.text} "
            f"{self.tuned.interval_text} under tuned, ratio {self.ratio_text or 'not known'}, {sure} "
            f"({self.paper.definition}, {100 * self.paper.level:.0f} %, n = {self.paper.n} and {self.tuned.n} runs)"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, ratio_text=self.ratio_text, sentence=self.sentence)


def guard(results: Iterable[Row] | HasRows) -> TuningGuard:
    """Look at every (shape, batch size) of a study: where its step size lies in the grid, and how its runs ended."""
    given = rows_of(results)
    rows = runs_among(given)
    tuned = rows.where(phase="tune").group_by("shape", "batch_size")
    final, none = by_shape(rows.where(phase="final")), rows.pick(slice(0, 0))
    cells = tuple(
        _cell(runs, tuned.get((shape, batch_size), none))
        for shape, group in final.items()
        for (batch_size,), runs in group.group_by("batch_size").items()
    )
    return TuningGuard(given[0].protocol if given else "", cells)


def _cell(finals: Rows, tunes: Rows) -> TunedCell:
    """One choice."""
    chosen = Counter(finals.entries("step_size")).most_common(1)[0][0]
    grid = np.unique(tunes.column("step_size")).tolist()
    low, high = (grid[0], grid[-1]) if grid else (math.nan, math.nan)
    first, edge = finals[0], ""
    if len(grid) > 1 and (chosen <= low * (1 + TOLERANCE) or chosen >= high * (1 - TOLERANCE)):
        edge = "low" if chosen <= low * (1 + TOLERANCE) else "high"
    return TunedCell(
        shape=first.shape,
        batch_size=first.batch_size,
        step_size=chosen,
        grid_low=low,
        grid_high=high,
        num_step_sizes=len(grid),
        edge=edge,
        num_diverged=len(tunes.where(outcome=Outcome.DIVERGED).distinct("step_size")),
        num_outrun=len({row.step_size for row in tunes if OUTRUN in row.message}),
        num_final=len(finals),
        num_lost=len(finals) - len(finals.where(outcome=Outcome.REACHED)),
    )


def step_size_trends(guarded: TuningGuard, level: float = LEVEL) -> tuple[StepSizeTrend, ...]:
    """The slope of log step size against log batch size for every shape, by least squares."""
    known = [cell for cell in guarded.cells if not math.isnan(cell.step_size)]
    shapes = list(dict.fromkeys(cell.shape for cell in known))
    return tuple(_trend([cell for cell in known if cell.shape == shape], level) for shape in shapes)


def _trend(cells: list[TunedCell], level: float) -> StepSizeTrend:
    x, y = (np.log([getattr(cell, name) for cell in cells]) for name in ("batch_size", "step_size"))
    n, shape = len(cells), cells[0].shape
    if n < 2:
        return StepSizeTrend(shape, math.nan, (math.nan, math.nan), n)
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    left = y - y.mean() - slope * away
    error = math.sqrt(float(left @ left) / max(n - 2, 1) / float(away @ away))
    half = float(special.stdtrit(n - 2, (1 + level) / 2)) * error if n > 2 else math.nan
    return StepSizeTrend(shape, slope, (slope - half, slope + half), n)


def compare_protocols(
    paper: Iterable[Row] | HasRows,
    tuned: Iterable[Row] | HasRows,
    definition: str = "b_crit",
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, ProtocolEffect]:
    """Label -> what choosing the step size after two epochs did to the threshold, for the shapes both studies ran.

    paper, tuned: the results of the same study under the protocols `paper2018` and `tuned`; the batch sizes in both
    count. Raises InputError when the two differ in data, target or optimizer. The bias of the first has
    one sign: large batches take few steps in two epochs (29 at B = 4096, n = 60 000), so its choice suits small ones.
    """
    paper, tuned = rows_of(paper), rows_of(tuned)
    # How often diversity was measured changes no run, and only the definition that looks at it.
    aside = () if definition == "mean_diversity" else ("diversity_every",)
    refuse_mixtures(Rows.joined((paper, tuned)).where(phase="final"), but=("protocol", *aside))
    tuned_sweeps = sweeps_of(tuned)
    first, second = _at_common_batch_sizes(sweeps_of(paper), tuned_sweeps)
    one = batch_threshold(first, definition, level=level, seed=seed)
    other = batch_threshold(second, definition, level=level, seed=seed + 1)  # seeds drawn apart
    lost, blamed = _losses(paper, tuned_sweeps)
    return {
        shape: ProtocolEffect(
            shape=shape,
            paper=one[shape],
            tuned=other[shape],
            ratio=one[shape].value / other[shape].value,
            interval=ratio_interval(one[shape].samples, other[shape].samples, level),
            probability=probability_larger(other[shape], one[shape])[0],
            num_lost=lost[shape],
            num_lost_to_choice=blamed[shape],
        )
        for shape in first
    }


def in_order(first: Sequence[Row], second: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """The rows of two studies as (paper2018, tuned), in either order. Raises InputError when they are not those."""
    protocols = tuple("/".join(sorted(set(Rows.of(rows).entries("protocol")))) or "no rows" for rows in (first, second))
    if protocols == PROTOCOLS:
        return first, second
    if protocols == PROTOCOLS[::-1]:
        return second, first
    raise InputError(
        f"two studies with protocols {protocols[0]} and {protocols[1]}; expected one run with {PROTOCOLS[0]} and the "
        f"same run with {PROTOCOLS[1]}"
    )


def _at_common_batch_sizes(
    first: dict[str, Sweep], second: dict[str, Sweep]
) -> tuple[dict[str, Sweep], dict[str, Sweep]]:
    """The shapes in both, at the batch sizes in both."""
    pairs = {}
    for shape in first:
        if shape in second:
            common = np.intersect1d(first[shape].batch_sizes, second[shape].batch_sizes)
            pairs[shape] = first[shape].at(common), second[shape].at(common)
    return {shape: one for shape, (one, _) in pairs.items()}, {shape: other for shape, (_, other) in pairs.items()}


def _losses(paper: Rows, tuned: dict[str, Sweep]) -> tuple[Counter[str], Counter[str]]:
    """Per shape: final runs that never met the target, and those of them where tuned runs mostly did."""
    mostly_met = {
        (shape, int(batch_size))
        for shape, sweep in tuned.items()
        for batch_size, epochs in zip(sweep.batch_sizes, sweep.typical(sweep.epochs), strict=True)
        if math.isfinite(epochs)
    }
    lost = paper.where(phase="final", outcome=(Outcome.CENSORED, Outcome.DIVERGED))
    shapes, batch_sizes = lost.entries("shape"), lost.entries("batch_size")
    blamed = [cell for cell in zip(shapes, batch_sizes, strict=True) if cell in mostly_met]
    return Counter(shapes), Counter(shape for shape, _ in blamed)
