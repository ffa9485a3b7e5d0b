"""`outline`: what a study will train before anything is trained: cells, cohorts, trials, and time at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.options import OPTIONS
from batchscope.studies.cost import cell_cost
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import cells, fewest_trials
from batchscope.studies.study import Study
from batchscope.studies.trial import FINAL, TUNE


@dataclass(frozen=True)
class Outline:
    """The size of a study.

    options: those that have a meaning for these networks, by name.
    cohorts, trials: at least so many; a grid that is widened adds some. minutes_at_most: predicted wall time with
    `workers` processes if every run trains for all its epochs; runs that reach the target or diverge leave earlier.
    """

    study: str
    dataset: str
    num_examples: int
    architectures: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    options: dict[str, Any]
    cells: int
    cohorts: int
    trials: int
    workers: int
    minutes_at_most: float


def outline(study: Study, workers: int, data_dir: str | Path | None = None) -> Outline:
    """Return the size of a study, checking all that `run` would check before training."""
    data = facts(load_data(DataRequest.of(study, data_dir)), study.seed)
    plan = cells(study, data)
    needed = {phase: fewest_trials(study, phase) for phase in (TUNE, FINAL)}
    seconds = sum(sum(cell_cost(study, cell).values()) for cell in plan)
    return Outline(
        study=study.name,
        dataset=study.dataset,
        num_examples=data.num_examples,
        architectures=tuple(dict.fromkeys(str(cell.architecture) for cell in plan)),
        batch_sizes=study.batch_sizes,
        options={name: getattr(study, name) for name in OPTIONS if study.has(name)},
        cells=len(plan),
        cohorts=len(plan) * sum(count > 0 for count in needed.values()),
        trials=len(plan) * sum(needed.values()),
        workers=workers,
        minutes_at_most=seconds / 60 / workers,
    )
