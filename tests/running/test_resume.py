"""A run that goes on from any rows asks for what the slow way asks for: a `Row` for each, an identity in one piece."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import batchscope as bs
from batchscope.option import identity
from batchscope.records.row import Outcome, Row
from batchscope.running import runner
from batchscope.running.executors import Executor
from batchscope.running.job import Job
from batchscope.running.shards import share
from batchscope.running.store import Shard, Store
from batchscope.running.trained import rows_of
from batchscope.studies import Study
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import PlannedCell, cells, fewest_trials, is_widening
from batchscope.studies.protocols import MAX_WIDENINGS, WIDEN_BY, mean_step_size, next_cohorts
from batchscope.studies.trial import NUMERICS_VERSION, Trial
from tests.studies import fake_trainer
from tests.studies.common import make_study

STUDIES = {
    "paper2018": make_study(name="paper2018"),
    "tuned": make_study(name="tuned", protocol="tuned", step_sizes={"min": 0.02, "max": 2.56, "ratio": 2.0}),
    "race": make_study(name="race", protocol="tuned", race=True),
    "narrow": make_study(name="narrow", step_sizes={"min": 0.002, "max": 0.004, "ratio": 2.0}),  # widens far
    "one value": make_study(name="one", step_sizes={"min": 0.1, "max": 0.1, "ratio": 2.0}),
    "fixed": make_study(name="fixed", protocol="fixed", step_sizes=None, sum_step_size=0.001),
}


class StoppedError(Exception):
    """The run has asked for all that it can ask for now."""


class Listening(Executor):
    """Takes every job and trains none."""

    capacity, device = 10**9, "cpu"

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def running(self) -> int:
        return len(self.jobs)

    def start(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self, on_progress: Any) -> Any:
        raise StoppedError

    def close(self) -> None:
        pass


def asked(studies: Sequence[Study], out: Any, monkeypatch: pytest.MonkeyPatch, shard: Shard) -> tuple[set[Any], Any]:
    """({ids of the trials of each cohort asked for}, the first status) of a run that goes on in `out`."""
    pool, statuses = Listening(), []
    monkeypatch.setattr(runner, "make_executor", lambda name, options: pool)
    try:
        bs.run(studies, out, shard=shard, progress=statuses.append)
    except StoppedError:
        assert pool.jobs
    return {tuple(trial.id for trial in job.cohort.trials) for job in pool.jobs}, statuses[0]


def slow_id(trial: Trial) -> str:
    """The identity as it was made before it was joined from the texts of its parts."""
    settings = identity(trial.settings)
    if not settings["race"]:  # there was none
        del settings["race"]
    content = {
        "numerics": NUMERICS_VERSION,
        "architecture": identity(trial.architecture) | dict(trial.architecture.kind.identity),
        "data": [trial.data.fingerprint, trial.data.num_examples, trial.data.seed],
        "settings": settings,
        "step_size": trial.step_size,
        "seed": trial.seed,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slow_trial(study: Study, cell: PlannedCell, phase: str, step_size: float, seed: int) -> str:
    return slow_id(Trial(cell.architecture, cell.data, _settings(study, cell, phase), step_size, seed, phase))


def _settings(study: Study, cell: PlannedCell, phase: str) -> Any:
    from batchscope.studies.plan import settings

    return settings(study, cell.batch_size, phase)


def slow_next(study: Study, cell: PlannedCell, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """The ids of the cohort to train next, by the rules of docs/protocol.md over `Row`s; () when a cell is done."""
    if study.protocol == "fixed":
        assert study.sum_step_size is not None
        return _slow_finals(study, cell, mean_step_size(study.sum_step_size, cell.batch_size), rows)
    grid, size = study.step_sizes, study.step_sizes.size
    if size == 1:
        return _slow_finals(study, cell, grid.at(0), rows)

    def ids(indices: range) -> tuple[str, ...]:
        return tuple(slow_trial(study, cell, "tune", grid.at(index), study.seed) for index in indices)

    low, high = 0, size
    if not set(ids(range(low, high))) <= rows.keys():
        return ids(range(low, high))
    while ids(range(low - 1, low))[0] in rows:
        low -= 1
    while ids(range(high, high + 1))[0] in rows:
        high += 1
    tried = [rows[one] for one in ids(range(low, high))]
    fine = [row for row in tried if row.outcome != Outcome.DIVERGED and row.train_loss is not None]
    best = min(fine, key=lambda row: _slow_merit(study, row)) if fine else None
    if (best is None or best in (tried[0], tried[-1])) and (high - low - size) // WIDEN_BY < MAX_WIDENINGS:
        up = best is not None and best is tried[-1] and len(tried) > 1
        return ids(range(high, high + WIDEN_BY)) if up else ids(range(low - WIDEN_BY, low))
    return _slow_finals(study, cell, tried[0].step_size if best is None else best.step_size, rows)


def _slow_merit(study: Study, row: Row) -> tuple[float, ...]:
    assert row.train_loss is not None
    if study.protocol == "paper2018":
        return (row.train_loss, row.step_size)
    return (row.epochs_to_target or math.inf, row.train_loss, row.step_size)


def _slow_finals(study: Study, cell: PlannedCell, step_size: float, rows: Mapping[str, Row]) -> tuple[str, ...]:
    every = [slow_trial(study, cell, "final", step_size, study.seed + k) for k in range(1, study.num_seeds + 1)]
    return tuple(one for one in every if one not in rows)


def cohorts_in_order(study: Study, dice: random.Random) -> list[tuple[Row, ...]]:
    """The rows of a whole study, cohort by cohort, in one of the orders in which workers may finish them."""
    plan = cells(study, facts(load_data(DataRequest.of(study)), study.seed))
    done: dict[str, Row] = {}
    finished: list[tuple[Row, ...]] = []
    while waiting := [cohort for cell in plan for cohort in next_cohorts(study, cell, done)]:
        cohort = dice.choice(waiting)
        results = [
            fake_trainer._train(cohort.architecture, cohort.data.num_examples, cohort.settings, member)
            for member in cohort.members
        ]
        finished.append(rows_of(study, cohort, results, 1.0, "cpu"))
        done |= {row.trial_id: row for row in finished[-1]}
    return finished


def with_crashes(cohorts: Sequence[Sequence[Row]], dice: random.Random) -> list[Row]:
    """All rows, one cohort in eight of them crashed, which is followed by nothing in its cell."""
    crashed: set[Any] = set()
    kept: list[Row] = []
    for cohort in cohorts:
        cell = (cohort[0].study, cohort[0].depth, cohort[0].batch_size)
        if cell in crashed:
            continue
        if dice.random() < 1 / 8:
            crashed.add(cell)
            cohort = [dataclasses.replace(row, outcome=Outcome.CRASHED, **NOTHING) for row in cohort]
        kept += cohort
    return kept


NOTHING: dict[str, Any] = {"epochs_to_target": None, "steps_to_target": None, "train_loss": None, "history": ()}


@pytest.mark.parametrize("name", STUDIES)
def test_any_prefix_of_rows_leaves_the_work_that_the_slow_way_finds(name, tmp_path, monkeypatch):
    study, dice = STUDIES[name], random.Random(name)
    cohorts = cohorts_in_order(study, dice)
    plan = cells(study, facts(load_data(DataRequest.of(study)), study.seed))
    prefixes = [0, len(cohorts), *dice.sample(range(1, len(cohorts)), min(5, len(cohorts) - 1))]
    for number, length in enumerate(prefixes):
        out = tmp_path / f"{number}"
        kept = with_crashes(cohorts[:length], dice)
        for index, writer in enumerate((Shard(1, 2), Shard(2, 2))):  # rows of other writers count like one's own
            with Store(out, (study,), writer) as store:
                store.add(kept[index::2])
        rows = {row.trial_id: row for row in kept if row.outcome != Outcome.CRASHED}
        shard = dice.choice([Shard(), Shard(1, 2), Shard(2, 2)])
        mine = [
            one.cell for one in share([runner._StudyCell(study, cell, DataRequest.of(study)) for cell in plan], shard)
        ]
        found, status = asked((study,), out, monkeypatch, shard)
        assert found == {ids for cell in mine if (ids := slow_next(study, cell, rows))}
        assert (status.trials_done, status.trials_total) == slow_counts(study, mine, rows)
        assert status.best is None or status.best.epochs_to_target == slow_best(rows.values())
        assert (status.best is None) == (slow_best(rows.values()) is None)


def slow_counts(study: Study, plan: Sequence[PlannedCell], rows: Mapping[str, Row]) -> tuple[int, int]:
    """(trials done, trials in all) of these cells."""
    places = {(cell.architecture.depth, cell.architecture.width, cell.batch_size) for cell in plan}
    here = [row for row in rows.values() if (row.depth, row.width, row.batch_size) in places]
    planned = len(plan) * sum(fewest_trials(study, phase) for phase in ("tune", "final"))
    return len(here), planned + sum(is_widening(study, row.phase, row.step_size) for row in here)


def slow_best(rows: Any) -> float | None:
    reached = [row.epochs_to_target for row in rows if row.phase == "final" and row.epochs_to_target is not None]
    return min(reached, default=None)


@pytest.mark.parametrize("name", STUDIES)
def test_identities_joined_from_parts_are_those_made_in_one_piece(name):
    study = STUDIES[name]
    for cell in cells(study, facts(load_data(DataRequest.of(study)), study.seed)):
        for phase in ("tune", "final"):
            for step_size, seed in ((0.1, 0), (1e-7, 2**62), (3.0, 1), (3, 1)):
                one = Trial(cell.architecture, cell.data, cell.training[phase], step_size, seed, phase)
                assert one.id == slow_id(one)
                assert cell.training[phase] == _settings(study, cell, phase)


def test_a_number_that_json_lacks_is_no_identity():
    cell = cells(STUDIES["tuned"], facts(load_data(DataRequest.of(STUDIES["tuned"])), 0))[0]
    with pytest.raises(ValueError, match="JSON"):
        _ = Trial(cell.architecture, cell.data, cell.training["final"], math.nan, 0, "final").id
