"""Shards: the parts of a study that several commands train, and which of them have something left to do. No torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from batchscope.errors import StoreError
from batchscope.running.earlier import EarlierRuns
from batchscope.running.store import Shard
from batchscope.studies.cost import cell_cost
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import PlannedCell, cells
from batchscope.studies.protocols import next_cohorts
from batchscope.studies.results import Results
from batchscope.studies.study import Study


class CellOfStudy(Protocol):
    """A cell and the study it belongs to."""

    @property
    def study(self) -> Study:
        """What the cell belongs to."""

    @property
    def cell(self) -> PlannedCell:
        """An architecture at a batch size."""


class _Planned(NamedTuple):
    study: Study
    cell: PlannedCell


AnyCell = TypeVar("AnyCell", bound=CellOfStudy)


def share(every: Sequence[AnyCell], shard: Shard) -> list[AnyCell]:
    """Deal the cells out to the shards, the costliest first, so that every shard gets its part of those."""
    if shard.count == 1:
        return list(every)
    costliest_first = sorted(every, key=lambda one: -sum(cell_cost(one.study, one.cell).values()))
    return costliest_first[shard.index - 1 :: shard.count]


@dataclasses.dataclass(frozen=True)
class ShardProgress:
    """A shard, how many cells it has, how many of them are unfinished, and whether it was ever started."""

    shard: Shard
    cells: int
    unfinished: int
    started: bool

    @property
    def name(self) -> str:
        """As it is asked for, such as "2/3"."""
        return f"{self.shard.index}/{self.shard.count}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self) | {"shard": self.name}

    def __str__(self) -> str:
        left = f"{self.unfinished} of {self.cells} cells left"
        return f"{self.name} ({left if self.started else f'never started, {left}'})"


def data_record(facts: Mapping[str, DataFacts]) -> str:
    """Return, for the record of a run, what `missing_shards` must know of the data, as JSON. facts: by study."""
    return json.dumps({name: dataclasses.asdict(one) for name, one in facts.items()})


def missing_shards(results: Results) -> tuple[ShardProgress, ...]:
    """Return the shards that have something left to train, in the number of parts that was asked for last.

    A cell is finished whoever trained it, a shard of another number of parts too; not with crashed trials, which the
    next run tries again. () where nothing is left, where no run was one of several shards, and for results of only one
    of the studies that were dealt out together. Raises StoreError where the record of a run is damaged.
    """
    runs = [_understood(run) for run in results.runs if "data" in run]
    if not runs or {study.name for study in results.studies} != set(runs[-1][1]):
        return ()
    last, data = runs[-1]
    started = {shard for shard, _ in runs}
    every, done = _planned(results.studies, data), EarlierRuns(results.rows, results.studies).endings()
    progress = []
    for index in range(1, min(last.count, len(every)) + 1):  # the others have no cells
        mine = share(every, shard := Shard(index, last.count))
        left = sum(bool(next_cohorts(one.study, one.cell, done[one.study.name])) for one in mine)
        progress.append(ShardProgress(shard, len(mine), left, shard in started))
    return tuple(one for one in progress if one.unfinished)


def _understood(run: Mapping[str, Any]) -> tuple[Shard, dict[str, DataFacts]]:
    """(the shard that a run was, study -> its data)."""
    try:
        records: dict[str, dict[str, Any]] = json.loads(run["data"])
        facts = {name: DataFacts(**one | {"input_shape": tuple(one["input_shape"])}) for name, one in records.items()}
        return Shard.parse(run["shard"].replace("of", "/")), facts
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"the record of the run of {run.get('started')} is damaged: {error}") from None


def _planned(studies: Sequence[Study], data: Mapping[str, DataFacts]) -> list[_Planned]:
    return [_Planned(study, cell) for study in studies for cell in cells(study, data[study.name])]
