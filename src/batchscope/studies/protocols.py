"""How a cell gets its step size and its reported runs. Pure: (study, cell, rows so far) -> the cohorts to train next.

Being a function of the rows alone, a protocol continues an interrupted study exactly as it would have gone on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from batchscope.records.row import Outcome, Row
from batchscope.studies.plan import PlannedCell, final_trial, tuning_trial
from batchscope.studies.study import Study
from batchscope.studies.trial import Cohort, Trial

# A best step size at the edge of the grid widens it beyond that edge by WIDEN_BY values, at most MAX_WIDENINGS times
# (with the ratio 2 a factor of 256 in all).
WIDEN_BY = 2
MAX_WIDENINGS = 4


class Ending(NamedTuple):
    """What a protocol asks of a finished trial, so that 10^5 of them need no `Row` each; see the fields there."""

    outcome: Outcome
    epochs_to_target: float | None
    train_loss: float | None


# Trial id -> how it ended.
Done: TypeAlias = Mapping[str, Row | Ending]


@dataclass(frozen=True)
class Tuning:
    """The state of a cell's search for a step size: grid indices low..high were tried and `best` won.

    best: index, or None when every run diverged. grid_size: values of the study's own grid (indices 0..grid_size-1).
    """

    low: int
    high: int
    best: int | None
    grid_size: int

    @property
    def widenings(self) -> int:
        """How often the grid was widened."""
        return (max(0, -self.low) + max(0, self.high + 1 - self.grid_size)) // WIDEN_BY

    @property
    def at_edge(self) -> bool:
        """Whether the best value is the smallest or largest tried, so that a better one may lie beyond."""
        return self.best is None or self.best in (self.low, self.high)

    @property
    def beyond(self) -> tuple[int, ...]:
        """The indices to try next: downwards when all diverged; none when the best is inside or the limit is met.

        A grid of one value is a choice, not a search, and never widens.
        """
        if not self.at_edge or self.grid_size == 1 or self.widenings >= MAX_WIDENINGS:
            return ()
        if self.best == self.high and self.best != self.low:
            return tuple(range(self.high + 1, self.high + 1 + WIDEN_BY))
        return tuple(range(self.low - WIDEN_BY, self.low))


class _Grid:
    """The tuning trials of a cell, each made once. Index: of the step size; see `tuning_trial`."""

    def __init__(self, study: Study, cell: PlannedCell) -> None:
        self.size = 1 if study.protocol == "fixed" else study.step_sizes.size
        self.at = functools.cache(functools.partial(tuning_trial, study, cell))

    def cohort(self, name: str, indices: Iterable[int]) -> Cohort:
        """The trials at these indices, to be trained together."""
        return Cohort(name, tuple(map(self.at, indices)))

    def extent(self, done: Done) -> tuple[int, int]:
        """The lowest and the highest index tried, given that the grid itself was."""
        low, high = 0, self.size - 1
        while self.at(low - 1).id in done:
            low -= 1
        while self.at(high + 1).id in done:
            high += 1
        return low, high


def next_cohorts(study: Study, cell: PlannedCell, done: Done) -> tuple[Cohort, ...]:
    """Return what to train next in a cell, given how all trials ended, by id; nothing when the cell is finished.

    The grid first (unless it is a single value), its widenings one at a time, then the seeds. A cell with a crashed
    tuning run is finished: a step size chosen among the survivors would be another study.
    """
    if study.sum_step_size is not None:
        return _missing_finals(study, cell, mean_step_size(study.sum_step_size, cell.batch_size), done)
    grid = _Grid(study, cell)
    if grid.size > 1 and any(grid.at(index).id not in done for index in range(grid.size)):
        return (grid.cohort(study.name, range(grid.size)),)
    tuning = _tuned(study, grid, done)
    if tuning is None:
        return ()
    if tuning.beyond:
        return (grid.cohort(study.name, tuning.beyond),)
    return _missing_finals(study, cell, chosen_step_size(study, tuning), done)


def mean_step_size(sum_step_size: float, batch_size: int) -> float:
    """Return η = γ B: a step of η along the mean of B gradients is one of γ along their sum.

    γ of Eq. 3.1 and Lemma 1 of Chen et al. 2018. The last batch of an epoch, where it is smaller, takes the same η.

    >>> mean_step_size(0.001, 30)
    0.03
    """
    return float(f"{sum_step_size * batch_size:.12g}")


def tune(study: Study, cell: PlannedCell, done: Done) -> Tuning | None:
    """Return the outcome of the tuning runs so far; None when one crashed or the grid is not yet done."""
    return _tuned(study, _Grid(study, cell), done)


def _tuned(study: Study, grid: _Grid, done: Done) -> Tuning | None:
    if grid.size == 1:
        return Tuning(0, 0, 0, 1)
    low, high = grid.extent(done)
    rows = {index: done.get(grid.at(index).id) for index in range(low, high + 1)}
    finished = {index: row for index, row in rows.items() if row is not None and row.outcome != Outcome.CRASHED}
    if len(finished) < len(rows):
        return None
    merits = {index: _merit(study, row) for index, row in finished.items() if _is_finite(row)}
    best = min(merits, key=lambda index: (*merits[index], index)) if merits else None
    return Tuning(low, high, best, grid.size)


def chosen_step_size(study: Study, tuning: Tuning) -> float:
    """Return the best step size, or the smallest tried when every one diverged (its runs will say so)."""
    return study.step_sizes.at(tuning.low if tuning.best is None else tuning.best)


def _merit(study: Study, row: Row | Ending) -> tuple[float, float]:
    """Smaller is better: the training loss (paper2018), or the epochs to the target and then the loss (tuned)."""
    loss = math.inf if row.train_loss is None else row.train_loss
    if study.protocol == "paper2018":
        return (loss, 0.0)
    return (math.inf if row.epochs_to_target is None else row.epochs_to_target, loss)


def _is_finite(row: Row | Ending) -> bool:
    return row.outcome != Outcome.DIVERGED and row.train_loss is not None and math.isfinite(row.train_loss)


def _missing_finals(study: Study, cell: PlannedCell, step_size: float, done: Done) -> tuple[Cohort, ...]:
    seeds: tuple[Trial, ...] = tuple(
        final_trial(study, cell, step_size, number) for number in range(1, study.num_seeds + 1)
    )
    missing = tuple(trial for trial in seeds if trial.id not in done)
    return (Cohort(study.name, missing),) if missing else ()
