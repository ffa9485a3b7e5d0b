"""One step with the user's own code before a study is planned or run, so that what is wrong in it is said at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from batchscope.data import Dataset
from batchscope.errors import BatchscopeError, InputError
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import PlannedCell, cells, settings
from batchscope.studies.study import Study
from batchscope.studies.trial import FINAL
from batchscope.training.settings import Member

EXAMPLES = 4


def check_own_code(study: Study, request: DataRequest, planned: Sequence[PlannedCell]) -> None:
    """Take one step of training with the smallest network and check the target, on a few examples, on the CPU.

    Nothing is done for studies without code of the user's own. Raises InputError for code that raises, outputs that do
    not fit the loss, and losses and metrics that do not give one number of each example.
    """
    if not (study.source or study.loss or study.metric):
        return
    cell = min(planned, key=lambda one: one.architecture.num_parameters)
    dataset = load_data(request)
    size = min(EXAMPLES, dataset.num_examples)
    try:
        _step(study, cell, _few(dataset, size), size)
    except BatchscopeError:
        raise
    except Exception as error:  # whatever the user's code raises
        shapes = f"{dataset.inputs.shape[1:]} with targets {dataset.targets.shape[1:]}"
        raise InputError(
            f"study {study.name!r}: a first step of {cell.architecture.label} on {size} examples {shapes} raised "
            f"{type(error).__name__}: {error}"
        ) from error


def check_study(study: Study, data_dir: str | Path | None = None) -> None:
    """`check_own_code` for a study that is only planned."""
    if study.source or study.loss or study.metric:
        request = DataRequest.of(study, data_dir)
        check_own_code(study, request, cells(study, facts(load_data(request), study.seed)))


def _step(study: Study, cell: PlannedCell, dataset: Dataset, size: int) -> None:
    import torch

    from batchscope.training.engine_choice import make_engine

    tried = dataclasses.replace(settings(study, cell.batch_size, FINAL), batch_size=size)
    engine = make_engine(cell.architecture, dataset, tried, [Member(study.step_sizes.min, 0)], torch.device("cpu"))
    engine.begin_epoch(0)
    engine.step(torch.arange(size))
    engine.evaluate()


def _few(dataset: Dataset, size: int) -> Dataset:
    """The first examples, held-out ones included."""
    return dataclasses.replace(
        dataset,
        inputs=dataset.inputs[:size],
        targets=dataset.targets[:size],
        heldout_inputs=None if dataset.heldout_inputs is None else dataset.heldout_inputs[:size],
        heldout_targets=None if dataset.heldout_targets is None else dataset.heldout_targets[:size],
    )
