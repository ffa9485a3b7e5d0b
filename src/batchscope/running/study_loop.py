"""A run of a study as a loop that `bs.branch_test` branches from: trained to an epoch again, then on in other batches.

Finished runs keep no weights. A trial is a function of its settings and seed, so its state after an epoch is had by
training it again, which is what `StudyLoop` does when it is made.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchscope.analysis.sweeps import find_shape, sweeps_of
from batchscope.errors import InputError
from batchscope.records.row import Row
from batchscope.records.rows import Rows
from batchscope.studies import Results, Study, read
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import PlannedCell, cells, trial
from batchscope.studies.trial import FINAL, Trial

EVALUATIONS = 8  # of the training loss along a branch, of which the smoothing uses the last few
BRANCH_SEEDS = 1_000_000  # added to a branch's seed: its orders of the data are none that the study's runs saw


class StudyLoop:
    """The reported run of a shape and batch size of a study, at the end of an epoch.

    results: of `bs.run` or `batchscope.studies.read`, or a run directory. shape: a label, "wide" or "deep". batch_size:
    one of the study. epoch: of the checkpoint, 0 for the initial weights. seed: of the run, the first reported one if
    None. A branch trains on all of the data in orders of its own, with the optimizer's state of the checkpoint and the
    step size's schedule held where it was; its losses are those of the whole training set.

    Raises InputError for a run that the results do not hold, an epoch outside the study's, and a run that diverges.
    """

    def __init__(
        self,
        results: Results | str | Path,
        shape: str,
        batch_size: int,
        epoch: int,
        *,
        study: str | None = None,
        seed: int | None = None,
        data_dir: str | Path | None = None,
        device: str = "cpu",
    ) -> None:
        given = results if isinstance(results, Results) else read(results)
        given = given if study is None else given.of(study)
        row = _row(given, shape, batch_size, seed)
        request = DataRequest.of(given.study, data_dir)
        self._data, self._device, self._epoch = load_data(request), device, epoch
        self._trial = _trial(given.study, row, _cell(given.study, row, facts(self._data, given.study.seed)))
        self.batch_size, self.step_size = row.batch_size, row.step_size
        if not 0 <= epoch <= self._trial.settings.max_epochs:
            raise InputError(f"epoch = {epoch}; expected 0 to the study's {self._trial.settings.max_epochs}")
        self._state = self._trained()

    def branch(self, batch_size: int, step_size: float, seed: int, num_examples: int) -> Iterator[tuple[float, float]]:
        """Train on from the checkpoint; see `analysis.branches.BranchLoop`."""
        n = self._data.num_examples
        if batch_size > n:
            raise InputError(f"a branch with batch size {batch_size}; expected at most the {n} training examples")
        with self._inference():
            cohort = self._cohort(batch_size, step_size, BRANCH_SEEDS + seed)
            cohort.engine.load(copy.deepcopy(self._state))
            cohort.engine.scale_step_sizes(self._schedule())
            seen, due, epoch = 0, num_examples / EVALUATIONS, self._epoch
            while seen < num_examples:
                cohort.engine.begin_epoch(epoch)
                for indices in cohort.order(epoch).split(batch_size, dim=-1):
                    cohort.engine.step(indices)
                    seen += indices.shape[-1]
                    if seen >= due:
                        yield seen, cohort.engine.evaluate()[0].train_loss
                        due = seen + num_examples / EVALUATIONS
                    if seen >= num_examples:
                        return
                epoch += 1

    def _trained(self) -> dict[str, Any]:
        with self._inference():
            cohort = self._cohort(self.batch_size, self.step_size, self._trial.seed)
            cohort.begin()
            for epoch in range(self._epoch):
                cohort.train_epoch(epoch)
            if not cohort.running:
                raise InputError(f"the run diverged before epoch {self._epoch}; expected one that can be branched from")
            return copy.deepcopy(cohort.engine.state())

    def _cohort(self, batch_size: int, step_size: float, seed: int) -> Any:
        import torch

        from batchscope.training.cohort import RunningCohort
        from batchscope.training.execution import ONE_AFTER_ANOTHER, Execution
        from batchscope.training.settings import Member

        settings = dataclasses.replace(
            self._trial.settings, batch_size=batch_size, stop_at_target=False, diversity_every=0
        )
        execution = Execution(ONE_AFTER_ANOTHER)
        device = torch.device(self._device)
        return RunningCohort(
            self._trial.architecture, self._data, settings, [Member(step_size, seed)], device, execution=execution
        )

    def _schedule(self) -> float:
        from batchscope.training.schedule import step_size_factor

        settings = self._trial.settings
        steps = math.ceil(self._data.num_examples * settings.passes_per_epoch / self.batch_size)
        return step_size_factor(settings, max(1, self._epoch * steps), steps) if settings.is_scheduled else 1.0

    def _inference(self) -> Any:
        import torch

        return torch.inference_mode() if self._trial.architecture.kind.stacked else contextlib.nullcontext()


def _row(results: Results, shape: str, batch_size: int, seed: int | None) -> Row:
    finals = Rows.of(results.rows).where(phase="final")
    label = find_shape(sweeps_of(finals), shape)
    here = finals.where(shape=label, batch_size=batch_size)
    if not here:
        sizes = sorted({size for (size,) in finals.where(shape=label).distinct("batch_size")})
        raise InputError(f"no reported run of {label} at batch size {batch_size}; expected one of {sizes}")
    chosen = here if seed is None else here.where(seed=seed)
    if not chosen:
        raise InputError(f"no run of {label} with seed {seed}; expected one of {sorted(here.entries('seed'))}")
    return chosen.in_order_of("seed")[0]


def _cell(study: Study, row: Row, data: Any) -> PlannedCell:
    return next(
        cell for cell in cells(study, data) if (cell.architecture.label, cell.batch_size) == (row.shape, row.batch_size)
    )


def _trial(study: Study, row: Row, cell: PlannedCell) -> Trial:
    return trial(cell, FINAL, row.step_size, row.seed)
