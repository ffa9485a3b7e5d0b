"""How long workers are idle at the end of a study, by the order in which its cohorts are begun.

    python -m benchmarks.panel_order

Simulated: the cohorts of panel (b) of Figure 3, as the committed rows of results/figure2-mnist say how long each took
and how its tuning went, on 2 to 16 workers. The number is the time until the last one is done over that of a study
that can be divided at will.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

from batchscope.records.row import Row
from batchscope.studies import read
from batchscope.studies.cost import cohort_cost, turn
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import PlannedCell, cells
from batchscope.studies.protocols import Done, next_cohorts
from batchscope.studies.study import Study
from batchscope.studies.trial import Cohort, Trial
from benchmarks.machine import write
from benchmarks.panel import COMMITTED
from benchmarks.panel_cell import D_IN, D_OUT

Run = tuple[str, int, int, float, int]  # phase, depth, batch size, step size, seed
Key = Callable[[Study, PlannedCell, Cohort, Done], Any]


def by_whole_cost(study: Study, cell: PlannedCell, cohort: Cohort, done: Done) -> float:
    """As it was: the longest first, if all its members train for all their epochs."""
    del study, cell, done
    return -cohort_cost(cohort)


ORDERS: dict[str, Key] = {"by the cost of all epochs": by_whole_cost, "by turn": turn}


def run_of(trial: Trial) -> Run:
    """What tells runs of the study apart; identities hash the version that made the rows, too."""
    return trial.phase, trial.architecture.depth, trial.settings.batch_size, trial.step_size, trial.seed


def makespan(study: Study, planned: Iterable[PlannedCell], rows: dict[Run, Row], workers: int, key: Key) -> float:
    """Seconds until the last cohort is done."""
    done: dict[str, Row] = {}
    number, now = itertools.count(), 0.0
    waiting: list[tuple[Any, int, PlannedCell, Cohort]] = []
    running: list[tuple[float, int, PlannedCell, Cohort]] = []

    def ask(cell: PlannedCell) -> None:
        for cohort in next_cohorts(study, cell, done):
            heapq.heappush(waiting, (key(study, cell, cohort, done), next(number), cell, cohort))

    for cell in planned:
        ask(cell)
    while waiting or running:
        while waiting and len(running) < workers:
            _, _, cell, cohort = heapq.heappop(waiting)
            seconds = math.fsum(rows[run_of(trial)].seconds for trial in cohort.trials)
            heapq.heappush(running, (now + seconds, next(number), cell, cohort))
        now, _, cell, cohort = heapq.heappop(running)
        done |= {trial.id: rows[run_of(trial)] for trial in cohort.trials}
        ask(cell)
    return now


def main() -> None:
    results = read(COMMITTED)
    rows = {(row.phase, row.depth, row.batch_size, row.step_size, row.seed): row for row in results.rows}
    first = next(iter(rows.values()))
    data = DataFacts(first.data_fingerprint, first.num_examples, (D_IN,), D_OUT, D_OUT, results.study.seed)
    planned = cells(results.study, data)
    total = math.fsum(row.seconds for row in rows.values())
    found = {
        name: {
            workers: makespan(results.study, planned, rows, workers, key) * workers / total for workers in (2, 4, 8, 16)
        }
        for name, key in ORDERS.items()
    }
    for name, times in found.items():
        print(name, "  ".join(f"{workers} workers {value:.4f}" for workers, value in times.items()))
    print(write("panel-order", {"rows": len(rows), "makespan_over_even_share": found}))


if __name__ == "__main__":
    main()
