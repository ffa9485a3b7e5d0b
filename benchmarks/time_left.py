"""How right the time left is that a run prints: on committed studies, as if they ran again on two workers.

    python -m benchmarks.time_left

Simulated: cohorts take the seconds of their rows and begin in the order of the runner. Printed: the time left by the
tracker over the true one, when a tenth, three tenths, half, seven tenths and nine tenths of the time are over; with
what tuning foretells of the reported runs, and as if all their epochs were needed.
"""

from __future__ import annotations

import math
from pathlib import Path

from batchscope.running.progress import Tracker
from batchscope.studies.cost import cell_cost, expected_share
from batchscope.studies.trial import FINAL, TUNE
from benchmarks.machine import describe, write
from benchmarks.replay import Asked, Committed, replay

RESULTS = Path(__file__).parent.parent / "results"
STUDIES = ("figure2-mnist", "figure2", "figure2-raced", "figure3c", "figure3c-letters", "figure3d-like")
MOMENTS = (0.1, 0.3, 0.5, 0.7, 0.9)
WORKERS = 2


def times_left(of: Committed, told: bool) -> list[float]:
    """Time left over the true one at MOMENTS. told: whether the tracker is told what reported runs will need."""
    left = {phase: math.fsum(cell_cost(of.study, cell)[phase] for cell in of.planned) for phase in (TUNE, FINAL)}
    tracker, seen = Tracker(WORKERS, 0, left, 0, None), []
    for event in replay(of, WORKERS):
        if isinstance(event, Asked):
            if told and event.cohort.phase == FINAL:
                tracker.expect(event.cohort, expected_share(of.study, event.cell, event.done))
            continue
        status = tracker.add(event.cohort, of.done(event.cohort).values(), event.seconds, widened=False)
        assert status.seconds_left is not None
        seen.append((event.at, status.seconds_left))
    whole = seen[-1][0]
    return [next(guess / (whole - at) for at, guess in seen if at >= moment * whole) for moment in MOMENTS]


def main() -> None:
    record: dict[str, dict[str, list[float]]] = {}
    for name in STUDIES:
        committed = Committed.of(RESULTS / name)
        ways = {"told": True, "all epochs": False}
        record[name] = {way: times_left(committed, told) for way, told in ways.items()}
        for way, found in record[name].items():
            print(f"{name}, {way}: {', '.join(f'{ratio:.2g}' for ratio in found)}")
    print(write("time_left", {"machine": describe(), "moments": MOMENTS, "workers": WORKERS, **record}))


if __name__ == "__main__":
    main()
