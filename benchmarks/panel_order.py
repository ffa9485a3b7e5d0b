"""How long workers are idle at the end of a study, by the order in which its cohorts are begun.

    python -m benchmarks.panel_order

Simulated: the cohorts of panel (b) of Figure 3, as the committed rows of results/figure2-mnist say how long each took
and how its tuning went, on 2 to 16 workers. The number is the time until the last one is done over that of a study
that can be divided at will.
"""

from __future__ import annotations

import math

from batchscope.studies.cost import cohort_cost, turn
from batchscope.studies.plan import PlannedCell
from batchscope.studies.protocols import Done
from batchscope.studies.study import Study
from batchscope.studies.trial import Cohort
from benchmarks.machine import describe, write
from benchmarks.panel import COMMITTED
from benchmarks.replay import Committed, Ended, Key, replay


def by_whole_cost(study: Study, cell: PlannedCell, cohort: Cohort, done: Done) -> float:
    """As it was: the longest first, if all its members train for all their epochs."""
    del study, cell, done
    return -cohort_cost(cohort)


ORDERS: dict[str, Key] = {"by the cost of all epochs": by_whole_cost, "by turn": turn}


def makespan(of: Committed, workers: int, key: Key) -> float:
    """Seconds until the last cohort is done."""
    return max(event.at for event in replay(of, workers, key) if isinstance(event, Ended))


def main() -> None:
    committed = Committed.of(COMMITTED)
    total = math.fsum(row.seconds for row in committed.rows.values())
    found = {
        name: {workers: makespan(committed, workers, key) * workers / total for workers in (2, 4, 8, 16)}
        for name, key in ORDERS.items()
    }
    for name, times in found.items():
        print(name, "  ".join(f"{workers} workers {value:.4f}" for workers, value in times.items()))
    record = {"machine": describe(), "rows": len(committed.rows), "makespan_over_even_share": found}
    print(write("panel-order", record))


if __name__ == "__main__":
    main()
