"""How right the time left is that a run prints: on committed studies, as if they ran again on two workers.

    python -m benchmarks.time_left

Simulated: cohorts take the seconds of their rows and begin in the order of the runner. Printed: the time left by the
tracker over the true one, when a tenth, three tenths, half, seven tenths and nine tenths of the time are over; with
what tuning foretells of the reported runs, and as if all their epochs were needed.
"""

from __future__ import annotations

import heapq
import itertools
import math
from pathlib import Path

from batchscope.records.row import Row
from batchscope.running.progress import Tracker
from batchscope.studies import read
from batchscope.studies.cost import cell_cost, expected_share, turn
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import PlannedCell, cells
from batchscope.studies.protocols import next_cohorts
from batchscope.studies.study import Study
from batchscope.studies.trial import FINAL, TUNE, Cohort
from benchmarks.machine import write
from benchmarks.panel_order import Run, run_of

RESULTS = Path(__file__).parent.parent / "results"
STUDIES = ("figure2-mnist", "figure2", "figure2-raced", "figure3c", "figure3c-letters", "figure3d-like")
MOMENTS = (0.1, 0.3, 0.5, 0.7, 0.9)
WORKERS = 2


def times_left(study: Study, planned: tuple[PlannedCell, ...], rows: dict[Run, Row], told: bool) -> list[float]:
    """Time left over the true one at MOMENTS. told: whether the tracker is told what reported runs will need."""
    left = {phase: math.fsum(cell_cost(study, cell)[phase] for cell in planned) for phase in (TUNE, FINAL)}
    tracker, done = Tracker(WORKERS, 0, left, 0, None), dict[str, Row]()
    waiting: list[tuple[tuple[bool, float], int, PlannedCell, Cohort]] = []
    running: list[tuple[float, int, float, PlannedCell, Cohort]] = []
    number, now, seen = itertools.count(), 0.0, []

    def ask(cell: PlannedCell) -> None:
        for cohort in next_cohorts(study, cell, done):
            if told and cohort.phase == FINAL:
                tracker.expect(cohort, expected_share(study, cell, done))
            heapq.heappush(waiting, (turn(study, cell, cohort, done), next(number), cell, cohort))

    for cell in planned:
        ask(cell)
    while waiting or running:
        while waiting and len(running) < WORKERS:
            _, _, cell, cohort = heapq.heappop(waiting)
            seconds = math.fsum(rows[run_of(trial)].seconds for trial in cohort.trials)
            heapq.heappush(running, (now + seconds, next(number), seconds, cell, cohort))
        now, _, seconds, cell, cohort = heapq.heappop(running)
        status = tracker.add(cohort, (), seconds, widened=False)
        assert status.seconds_left is not None
        seen.append((now, status.seconds_left))
        done |= {trial.id: rows[run_of(trial)] for trial in cohort.trials}
        ask(cell)
    return [next(guess / (now - at) for at, guess in seen if at >= moment * now) for moment in MOMENTS]


def main() -> None:
    record: dict[str, dict[str, list[float]]] = {}
    for name in STUDIES:
        results = read(RESULTS / name)
        rows = {run_of_row(row): row for row in results.rows}
        first = next(iter(rows.values()))
        data = DataFacts(
            first.data_fingerprint, first.num_examples, *shape_of(results.study, first), results.study.seed
        )
        planned = cells(results.study, data)
        ways = {"told": True, "all epochs": False}
        record[name] = {way: times_left(results.study, planned, rows, told) for way, told in ways.items()}
        for way, found in record[name].items():
            print(f"{name}, {way}: {', '.join(f'{ratio:.2g}' for ratio in found)}")
    print(write("time_left", {"moments": MOMENTS, "workers": WORKERS, **record}))


def run_of_row(row: Row) -> Run:
    """As `run_of` of its trial."""
    return row.phase, row.depth, row.batch_size, row.step_size, row.seed


def shape_of(study: Study, row: Row) -> tuple[tuple[int, ...], int, int | None]:
    """Input shape, outputs and classes; the label says them, where rows are too old to."""
    sizes = row.shape.split()[0].split("-")
    outputs = int(sizes[-1])
    return (int(sizes[0]),), outputs, outputs if study.target.is_accuracy else None


if __name__ == "__main__":
    main()
