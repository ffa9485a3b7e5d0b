"""A committed study as if it ran again: its cohorts take the seconds of their rows and begin in a given order.

What the benchmarks of the runner's order (`panel_order`) and of its time left (`time_left`) simulate.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.records.row import Row
from batchscope.studies import read
from batchscope.studies.cost import turn
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import PlannedCell, cells
from batchscope.studies.protocols import Done, next_cohorts
from batchscope.studies.study import Study
from batchscope.studies.trial import Cohort, Trial

Key = Callable[[Study, PlannedCell, Cohort, Done], Any]
Run = tuple[str, int, int, float, int]  # phase, depth, batch size, step size, seed


@dataclass(frozen=True)
class Committed:
    """A study whose rows are there, and its cells. rows: of every run that it made."""

    study: Study
    planned: tuple[PlannedCell, ...]
    rows: dict[Run, Row]

    @classmethod
    def of(cls, directory: Path) -> Committed:
        """That of a run directory of fully-connected nets."""
        results = read(directory)
        rows = {_run_of_row(row): row for row in results.rows}
        return cls(results.study, cells(results.study, _data(results.study, results.rows[0])), rows)

    def seconds(self, cohort: Cohort) -> float:
        """Wall seconds of one worker."""
        return math.fsum(self.rows[_run_of(trial)].seconds for trial in cohort.trials)

    def done(self, cohort: Cohort) -> dict[str, Row]:
        """Identity -> row of its trials."""
        return {trial.id: self.rows[_run_of(trial)] for trial in cohort.trials}


@dataclass(frozen=True)
class Asked:
    """A cell asks for a cohort, which then waits."""

    cell: PlannedCell
    cohort: Cohort
    done: Done


@dataclass(frozen=True)
class Ended:
    """A cohort has trained for so many seconds, and is done at so many of the study."""

    cohort: Cohort
    seconds: float
    at: float


def replay(of: Committed, workers: int, key: Key = turn) -> Iterator[Asked | Ended]:
    """What happens, in the order of time; of the cohorts that wait, that of the least key begins."""
    done: dict[str, Row] = {}
    number, now = itertools.count(), 0.0
    waiting: list[tuple[Any, int, PlannedCell, Cohort]] = []
    running: list[tuple[float, int, PlannedCell, Cohort]] = []

    def ask(cell: PlannedCell) -> Iterator[Asked]:
        for cohort in next_cohorts(of.study, cell, done):
            yield Asked(cell, cohort, done)
            heapq.heappush(waiting, (key(of.study, cell, cohort, done), next(number), cell, cohort))

    for cell in of.planned:
        yield from ask(cell)
    while waiting or running:
        while waiting and len(running) < workers:
            _, _, cell, cohort = heapq.heappop(waiting)
            heapq.heappush(running, (now + of.seconds(cohort), next(number), cell, cohort))
        now, _, cell, cohort = heapq.heappop(running)
        yield Ended(cohort, of.seconds(cohort), now)
        done |= of.done(cohort)
        yield from ask(cell)


def _run_of(trial: Trial) -> Run:
    """What tells runs of the study apart; identities hash the version that made the rows, too."""
    return trial.phase, trial.architecture.depth, trial.settings.batch_size, trial.step_size, trial.seed


def _run_of_row(row: Row) -> Run:
    """As `_run_of` of its trial."""
    return row.phase, row.depth, row.batch_size, row.step_size, row.seed


def _data(study: Study, row: Row) -> DataFacts:
    """Input shape and outputs are those that the label of the net says, for rows older than their fields."""
    d_in, *_, d_out = map(int, row.shape.split()[0].split("-"))
    classes = d_out if study.target.is_accuracy else None
    return DataFacts(row.data_fingerprint, row.num_examples, (d_in,), d_out, classes, study.seed)
