"""How far a run is: trials done, time left, the best so far. Kept by the runner, shown by whoever asked."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from batchscope.records.row import Outcome, Row
from batchscope.studies.cost import cohort_cost
from batchscope.studies.trial import Cohort


@dataclass(frozen=True)
class Status:
    """A moment of a run.

    trials_done of trials_total: the total grows when a grid is widened. seconds_left: None until something finished.
    counts_all_epochs: whether that time is for all epochs of reported runs, of which none has ended: they may need far
    fewer.
    latest: the cohort that just ended or made an epoch, in words. best: the reported run with the fewest epochs to
    the target so far, or None. finished_cohort: whether this status marks the end of a cohort.
    """

    trials_done: int
    trials_total: int
    crashed: int
    seconds: float
    seconds_left: float | None
    counts_all_epochs: bool
    latest: str
    best: Row | None
    finished_cohort: bool


OnStatus = Callable[[Status], None]


# Less of its epochs than this no cohort is expected to need: a guess of 0 would make any time taken infinitely long.
LEAST_SHARE = 0.01


class Tracker:
    """Counts trials and turns predicted costs into a time left by comparing them with what cohorts really took.

    A cohort costs all its epochs, until `expect` knows better.
    """

    def __init__(
        self, capacity: int, trials_total: int, planned: Mapping[str, float], trials_done: int, best: Row | None
    ) -> None:
        """planned: phase -> predicted seconds still to do; trials_done, best: of what earlier runs left."""
        self._capacity = capacity
        self._began = time.monotonic()
        self._left = dict(planned)
        self._predicted: defaultdict[str, float] = defaultdict(float)
        self._taken: defaultdict[str, float] = defaultdict(float)
        self._share: dict[str, float] = {}  # of cohorts asked for
        self._total = trials_total
        self._done, self._best = trials_done, best
        self._crashed = 0
        self._latest = ""

    def expect(self, cohort: Cohort, share: float) -> None:
        """Note how much of all its epochs a cohort is expected to need, before it is trained."""
        self._share[cohort.id] = share = max(share, LEAST_SHARE)
        self._spend(cohort.phase, cohort_cost(cohort) * (1 - share))

    def add(self, cohort: Cohort, rows: Iterable[Row], seconds: float, widened: bool) -> Status:
        """Note a finished cohort; a widening adds its trials to the total."""
        predicted = cohort_cost(cohort) * self._share.pop(cohort.id, 1.0)
        if widened:
            self._total += len(cohort.trials)
        else:
            self._spend(cohort.phase, predicted)
        self._predicted[cohort.phase] += predicted
        self._taken[cohort.phase] += seconds
        self._count(rows)
        self._latest = describe(cohort)
        return self.status(finished_cohort=True)

    def note(self, cohort: Cohort, epochs_done: int, members_running: int) -> Status:
        """Note an epoch of a running cohort."""
        self._latest = f"{describe(cohort)}: epoch {epochs_done}, {members_running} running"
        return self.status(finished_cohort=False)

    def status(self, finished_cohort: bool) -> Status:
        """How far the run is; `finished_cohort`: whether one has just ended."""
        seconds = time.monotonic() - self._began
        return Status(
            self._done,
            self._total,
            self._crashed,
            seconds,
            self._seconds_left(),
            any(left and not self._predicted.get(phase) for phase, left in self._left.items()),
            self._latest,
            self._best,
            finished_cohort,
        )

    def _spend(self, phase: str, predicted: float) -> None:
        self._left[phase] = max(0.0, self._left.get(phase, 0.0) - predicted)

    def _count(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._done += 1
            self._crashed += row.outcome == Outcome.CRASHED
            reached = row.phase == "final" and row.epochs_to_target is not None
            if reached and (self._best is None or row.epochs_to_target < self._best.epochs_to_target):  # type: ignore[operator]
                self._best = row

    def _seconds_left(self) -> float | None:
        if not self._predicted:
            return None
        overall = sum(self._taken.values()) / max(sum(self._predicted.values()), 1e-9)
        ratios = {phase: self._taken[phase] / predicted for phase, predicted in self._predicted.items() if predicted}
        return sum(seconds * ratios.get(phase, overall) for phase, seconds in self._left.items()) / self._capacity


def describe(cohort: Cohort) -> str:
    """``784-17x10-10 relu B=32, 5 seeds``."""
    what = f"{len(cohort.trials)} {'step sizes' if cohort.phase == 'tune' else 'seeds'}"
    return f"{cohort.architecture.label} B={cohort.settings.batch_size}, {what}"
