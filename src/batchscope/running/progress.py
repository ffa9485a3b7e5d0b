"""How far a run is: trials done, time left, the best so far. Kept by the runner, shown by whoever asked."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from batchscope.records.row import Outcome, Row
from batchscope.studies.cost import cohort_cost, cost_of_epochs
from batchscope.studies.trial import Cohort


@dataclass(frozen=True)
class Status:
    """A moment of a run.

    trials_done of trials_total: the total grows when a grid is widened. seconds_left: None until something finished.
    counts_all_epochs: whether that time is for all epochs of reported runs, of which none has ended and nothing is
    expected yet: they may need far fewer.
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

    A cohort costs all its epochs, until `expect` knows better of it, or of others of its phase. What is left of a phase
    takes as much longer than predicted as what was done of it; before any was, as the epochs that were trained, of
    whatever phase: that tuning ends early says nothing of how fast reported runs are.
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
        self._untold = dict(planned)  # predicted seconds of those of which nothing is expected yet
        self._told: defaultdict[str, float] = defaultdict(float)  # of the others
        self._expected: defaultdict[str, float] = defaultdict(float)  # of what these are expected to need
        self._trained = 0.0  # of the epochs that were made
        self._total = trials_total
        self._done, self._best = trials_done, best
        self._crashed = 0
        self._latest = ""

    def expect(self, cohort: Cohort, share: float) -> None:
        """Note how much of all its epochs a cohort is expected to need, before it is trained."""
        self._share[cohort.id] = share = max(share, LEAST_SHARE)
        whole = cohort_cost(cohort)
        self._spend(self._left, cohort.phase, whole * (1 - share))
        self._spend(self._untold, cohort.phase, whole)
        self._told[cohort.phase] += whole
        self._expected[cohort.phase] += whole * share

    def add(self, cohort: Cohort, rows: Iterable[Row], seconds: float, widened: bool) -> Status:
        """Note a finished cohort; a widening adds its trials to the total."""
        if cohort.id not in self._share:
            self._spend(self._untold, cohort.phase, cohort_cost(cohort))
        predicted = cohort_cost(cohort) * self._share.pop(cohort.id, 1.0)
        rows = tuple(rows)
        if widened:
            self._total += len(cohort.trials)
        else:
            self._spend(self._left, cohort.phase, predicted)
        self._predicted[cohort.phase] += predicted
        self._taken[cohort.phase] += seconds
        self._trained += cost_of_epochs(cohort, sum(row.epochs_run for row in rows))
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
            any(
                left and not self._predicted.get(phase) and self._share_of(phase) == 1
                for phase, left in self._left.items()
            ),
            self._latest,
            self._best,
            finished_cohort,
        )

    @staticmethod
    def _spend(budget: dict[str, float], phase: str, predicted: float) -> None:
        budget[phase] = max(0.0, budget.get(phase, 0.0) - predicted)

    def _share_of(self, phase: str) -> float:
        """What share of their epochs those are taken to need of which nothing is expected: as much as the others."""
        return self._expected[phase] / self._told[phase] if self._told[phase] else 1.0

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
        trained = self._trained or sum(self._predicted.values())
        overall = sum(self._taken.values()) / max(trained, 1e-9)
        ratios = {phase: self._taken[phase] / predicted for phase, predicted in self._predicted.items() if predicted}
        left = {
            phase: seconds - self._untold[phase] * (1 - self._share_of(phase)) for phase, seconds in self._left.items()
        }
        return sum(seconds * ratios.get(phase, overall) for phase, seconds in left.items()) / self._capacity


def describe(cohort: Cohort) -> str:
    """``784-17x10-10 relu B=32, 5 seeds``."""
    what = f"{len(cohort.trials)} {'step sizes' if cohort.phase == 'tune' else 'seeds'}"
    return f"{cohort.architecture.label} B={cohort.settings.batch_size}, {what}"
