"""`run`: finish a study. Asks each cell's protocol what is missing, trains it, stores it, and asks again."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchscope.collector import collector_paused
from batchscope.errors import StoreError
from batchscope.importing import looked_in
from batchscope.records.rows import Rows
from batchscope.running import provenance
from batchscope.running.devices import resolve_device
from batchscope.running.earlier import EarlierRuns
from batchscope.running.executors import Executor, distributed, make_executor
from batchscope.running.executors.base import ExecutorOptions
from batchscope.running.job import Finished, Job
from batchscope.running.own_code_check import check_own_code
from batchscope.running.progress import OnStatus, Status, Tracker
from batchscope.running.shards import data_record, share
from batchscope.running.store import Shard, Store
from batchscope.running.trained import rows_of
from batchscope.studies.cost import cell_cost, expected_share, turn
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import PlannedCell, cells, fewest_trials, is_widening
from batchscope.studies.protocols import next_cohorts
from batchscope.studies.results import Results, read
from batchscope.studies.study import Study, as_studies
from batchscope.studies.trial import FINAL, TUNE


def run(
    study: Study | Sequence[Study],
    out: str | Path,
    executor: str = "processes",
    workers: int | None = None,
    device: str = "auto",
    shard: Shard | str | None = None,
    data_dir: str | Path | None = None,
    progress: OnStatus | None = None,
    checkpoints: str | None = None,
) -> Results:
    """Train what `out` does not hold yet, and return all its results.

    Args:
        study: one study or several, kept in one directory. out: the run directory; created, or resumed from.
        executor: "processes" (one single-threaded process per core), "inline" (this process) or "ray" (a cluster: the
            one at $RAY_ADDRESS, or one started on this machine). Under torchrun all ranks make this call and train
            every cohort together, whatever is given here.
        workers: processes at once; default one per usable core, or one per CUDA device.
        device: "auto" (CUDA if there is one), "cpu" or "cuda".
        shard: "I/N" to train only part I of N, so that N machines share one directory.
        data_dir: where to look for data first.
        progress: called with a `Status` at each cohort's end and, often, within.
        checkpoints: of unfinished cohorts, with executor "ray": "driver" (the default: workers send them here, no file
            system is shared) or "directory" (workers write them into `out`, which every machine must see).

    Crashed trials of an earlier run are tried again. May be interrupted or killed at any moment: what was finished is
    kept, and the same call continues as if nothing had happened.

    Raises InputError or DataError for a study that cannot be run, before anything is written; StoreError for a
    directory that cannot be written, is in use, or holds another study.
    """
    studies = as_studies(study)
    part = Shard.parse(shard) if isinstance(shard, str) else shard or Shard()
    if distributed.launched():
        executor = "torchrun"
        distributed.end_with_launcher()
        if not distributed.leads():
            distributed.follow(resolve_device(device))
            return read(out)
    options = ExecutorOptions(workers, device, checkpoints)
    slots = [slot for one in studies for slot in _slots(one, DataRequest.of(one, data_dir))]
    with (
        make_executor(executor, options) as pool,
        Store(out, studies, part) as store,
    ):
        choices = {"executor": executor, "workers": pool.capacity, "device": pool.device, "shard": str(part)}
        if part.count > 1:
            choices["data"] = data_record({slot.study.name: slot.cell.data for slot in slots})
        store.note_run(provenance.run_record(**choices))
        with collector_paused():
            rows = store.rows()
            rest = _Run(share(slots, part), store, rows, pool, progress)
        trained = rest.finish()
    return read(out, None if trained else rows)


@dataclass(frozen=True)
class _StudyCell:
    """A cell with the study it belongs to and the data it trains on."""

    study: Study
    cell: PlannedCell
    data: DataRequest


class _Run:
    """The state of one run: the rows so far, the cohorts waiting (by `turn`), the cell of each running cohort."""

    def __init__(
        self, slots: Sequence[_StudyCell], store: Store, rows: Rows, executor: Executor, progress: OnStatus | None
    ) -> None:
        self._store, self._executor, self._progress = store, executor, progress
        earlier = _earlier(slots, store, rows)
        self._done = earlier.endings()
        self._waiting: list[tuple[tuple[bool, float], int, _StudyCell, Job]] = []
        self._slot_of: dict[Job, _StudyCell] = {}
        self._number = itertools.count()
        self._tracker = _tracker(slots, earlier, executor.capacity)
        for slot in slots:
            self._enqueue(slot)

    def finish(self) -> bool:
        """Train until no cell asks for anything more; whether there was anything to train."""
        self._report(None)
        asked = bool(self._waiting)
        while self._waiting or self._executor.running:
            while self._waiting and self._executor.running < self._executor.capacity:
                _, _, slot, job = heapq.heappop(self._waiting)
                self._slot_of[job] = slot
                self._executor.start(job)
            self._take(self._executor.wait(self._on_epoch))
        return asked

    def _enqueue(self, slot: _StudyCell) -> None:
        done = self._done[slot.study.name]
        for cohort in next_cohorts(slot.study, slot.cell, done):
            if cohort.phase == FINAL:
                self._tracker.expect(cohort, expected_share(slot.study, slot.cell, done))
            job = Job(cohort, slot.data, str(self._store.checkpoint(cohort)), looked_in())
            heapq.heappush(self._waiting, (turn(slot.study, slot.cell, cohort, done), next(self._number), slot, job))

    def _take(self, finished: Finished) -> None:
        slot, cohort = self._slot_of.pop(finished.job), finished.job.cohort
        rows = rows_of(slot.study, cohort, finished.results, finished.seconds, self._executor.device, finished.message)
        self._store.add(rows)
        if finished.results is not None:
            self._store.drop_checkpoint(cohort)
        self._done[slot.study.name].update({row.trial_id: row for row in rows})
        widened = is_widening(slot.study, cohort.phase, cohort.trials[0].step_size)
        status = self._tracker.add(cohort, rows, finished.seconds, widened)
        self._enqueue(slot)
        self._report(status)

    def _on_epoch(self, job: Job, epochs_done: int, members_running: int) -> None:
        self._report(self._tracker.note(job.cohort, epochs_done, members_running))

    def _report(self, status: Status | None) -> None:
        if self._progress is not None:
            self._progress(status or self._tracker.status(finished_cohort=False))


def _slots(study: Study, request: DataRequest) -> list[_StudyCell]:
    data = facts(load_data(request), study.seed)
    planned = cells(study, data)
    check_own_code(study, request, planned)
    return [_StudyCell(study, cell, request) for cell in planned]


def _earlier(slots: Sequence[_StudyCell], store: Store, rows: Rows) -> EarlierRuns:
    """What a store's rows say; StoreError for results on other data than is there now."""
    now = {slot.study.name: slot.cell.data.fingerprint for slot in slots}
    for study, dataset, fingerprint in rows.distinct("study", "dataset", "data_fingerprint"):
        if fingerprint != now.get(study, fingerprint):
            raise StoreError(
                f"{store.directory} holds results on another version of {dataset!r} (fingerprint {fingerprint}, now "
                f"{now[study]}); restore the data or choose another --out"
            )
    return EarlierRuns(rows, tuple({slot.study.name: slot.study for slot in slots}.values()))


def _tracker(slots: Sequence[_StudyCell], earlier: EarlierRuns, capacity: int) -> Tracker:
    """Start counting from what earlier runs left of these cells."""
    total, done, left = 0, 0, dict.fromkeys((TUNE, FINAL), 0.0)
    for slot in slots:
        here = earlier.count(slot.study, slot.cell)
        for phase, seconds in cell_cost(slot.study, slot.cell).items():
            expected = fewest_trials(slot.study, phase)
            left[phase] += seconds * max(0.0, 1 - here.of(phase) / max(expected, 1))
            total += expected
        total += here.widened
        done += here.trials
    return Tracker(capacity, total, left, done, earlier.best())
