"""`outline`: what a study will train before anything is trained: cells, cohorts, trials, and time at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.analysis.planning import StudyDesign, checks_needed, design
from batchscope.options import OPTIONS
from batchscope.studies.cost import cell_cost
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import cells, fewest_trials
from batchscope.studies.study import Study
from batchscope.studies.trial import FINAL, TUNE

# Epochs of the fastest runs, as long as none has run: an assumption, near what most of the paper's networks take.
FASTEST_EPOCHS = 3.0


@dataclass(frozen=True)
class Outline:
    """The size of a study.

    options: those that have a meaning for these networks, by name. protocol, race: how one of num_step_sizes is
    chosen.
    cohorts, trials: at least so many; a grid that is widened adds some. minutes_at_most: predicted wall time with
    `workers` processes if every run trains for all its epochs; runs that reach the target or diverge leave earlier.
    design: what the study can decide; with_a_seed, with_a_size: with one more seed, or one more batch size beyond the
    largest. All assume that the fastest runs take FASTEST_EPOCHS. checks_advised: of the target in an epoch, then.
    """

    study: str
    dataset: str
    num_examples: int
    architectures: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    options: dict[str, Any]
    protocol: str
    race: bool
    num_step_sizes: int
    cells: int
    cohorts: int
    trials: int
    workers: int
    minutes_at_most: float
    design: StudyDesign
    with_a_seed: StudyDesign
    with_a_size: StudyDesign
    checks_advised: int


def outline(study: Study, workers: int, data_dir: str | Path | None = None) -> Outline:
    """Return the size of a study, checking all that `run` would check before training."""
    data = facts(load_data(DataRequest.of(study, data_dir)), study.seed)
    plan = cells(study, data)
    needed = {phase: fewest_trials(study, phase) for phase in (TUNE, FINAL)}
    seconds = sum(sum(cell_cost(study, cell).values()) for cell in plan)
    designs = _designs(study, data.num_examples * study.passes_per_epoch)
    return Outline(
        study=study.name,
        dataset=study.dataset,
        num_examples=data.num_examples,
        architectures=tuple(dict.fromkeys(str(cell.architecture) for cell in plan)),
        batch_sizes=study.batch_sizes,
        options={name: getattr(study, name) for name in OPTIONS if study.has(name)},
        protocol=study.protocol,
        race=study.race,
        num_step_sizes=1 if study.protocol == "fixed" else study.step_sizes.size,
        cells=len(plan),
        cohorts=len(plan) * sum(count > 0 for count in needed.values()),
        trials=len(plan) * sum(needed.values()),
        workers=workers,
        minutes_at_most=seconds / 60 / workers,
        design=designs[0],
        with_a_seed=designs[1],
        with_a_size=designs[2],
        checks_advised=checks_needed(FASTEST_EPOCHS),
    )


def _designs(study: Study, num_examples: int) -> tuple[StudyDesign, StudyDesign, StudyDesign]:
    """The study as it is, with one more seed, with one more batch size (twice the largest); at the same B_crit."""
    sizes, seeds, checks = study.batch_sizes, study.num_seeds, study.evaluations_per_epoch
    plain = design(sizes, seeds, num_examples, FASTEST_EPOCHS, checks)
    more = ((sizes, seeds + 1), ((*sizes, 2 * max(sizes)), seeds))
    seed, size = (design(at, n, num_examples, FASTEST_EPOCHS, checks, plain.b_crit) for at, n in more)
    return plain, seed, size
