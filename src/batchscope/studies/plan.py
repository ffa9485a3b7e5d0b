"""From a study to its cells: one per (architecture, batch size). Pure functions; no torch.

Which trials a cell needs depends on how its tuning goes, so they are not listed here: `protocols.next_cohorts` names
the next ones given the rows so far, and resuming is asking it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchscope.architectures.architecture import Architecture, family_named
from batchscope.errors import InputError
from batchscope.studies import bounds
from batchscope.studies.dataset import DataFacts
from batchscope.studies.study import Study
from batchscope.studies.trial import FINAL, TUNE, Trial
from batchscope.training.settings import Settings

# "We tune for 2 epochs": the rule of Chen et al. 2018, section 5.
PAPER_TUNING_EPOCHS = 2


@dataclass(frozen=True)
class PlannedCell:
    """One entry of a study's table: an architecture at a batch size, on known data.

    training: phase -> how its trials train; shared by the cells of one batch size.
    """

    architecture: Architecture
    batch_size: int
    data: DataFacts
    training: Mapping[str, Settings] = field(repr=False, hash=False)

    def __str__(self) -> str:
        return f"{self.architecture.label} B={self.batch_size}"


def architectures(study: Study, data: DataFacts) -> tuple[Architecture, ...]:
    """Return the study's networks, wide to deep; raise InputError for a budget too small for a depth."""
    about, options = (study.family, data.input_shape, data.d_out), study.architecture_options
    if study.shapes is not None:
        return tuple(Architecture(*about, depth, width, **options) for depth, width in study.shapes)
    if study.budget is None or study.depths is None:
        raise AssertionError("Study allows budget with depths, or shapes")
    return tuple(Architecture.within_budget(*about, depth, study.budget, **options) for depth in study.depths)


def cells(study: Study, data: DataFacts) -> tuple[PlannedCell, ...]:
    """Return every cell of the study, by shape, then batch size; raise InputError where study and data do not fit."""
    too_large = [batch_size for batch_size in study.batch_sizes if batch_size > data.num_examples]
    if too_large:
        raise InputError(
            f"study {study.name!r}: batch size {too_large[0]} is larger than the {data.num_examples} training examples "
            f"of {study.dataset!r}; expected at most {data.num_examples}: leave out the batch sizes above"
        )
    if study.target.is_accuracy and data.num_classes is None:
        raise InputError(
            f"study {study.name!r}: the target is a training accuracy, but {study.dataset!r} has real-valued targets; "
            "use target = { train_loss = ... }"
        )
    if study.target.metric == "heldout_loss" and not data.num_heldout:
        raise InputError(
            f"study {study.name!r}: the target is a held-out loss, but {study.dataset!r} holds nothing out; use target "
            "= { train_loss = ... }, or data with a held-out part"
        )
    nets = architectures(study, data)
    for net in nets:
        if max(net.num_parameters, net.multiply_adds) > bounds.LARGEST_COUNT:
            raise InputError(f"study {study.name!r}: {net.label} has more parameters than can be counted; narrow it")
        _check_outputs(study, data, net)
    training = {size: {phase: settings(study, size, phase) for phase in (TUNE, FINAL)} for size in study.batch_sizes}
    return tuple(PlannedCell(net, size, data, how) for net in nets for size, how in training.items())


def _check_outputs(study: Study, data: DataFacts, net: Architecture) -> None:
    """Raise InputError unless the network takes such examples and gives outputs that the loss understands."""
    if data.is_tokens != net.kind.takes_tokens and not net.source:
        takes = "token numbers: data such as text:FILE or grammar" if net.kind.takes_tokens else "numbers, not tokens"
        raise InputError(
            f"study {study.name!r}: family {study.family!r} does not fit {study.dataset!r}; it takes {takes}"
        )
    expected = (*data.positions, data.d_out)
    if not study.loss and net.output_shape != expected:
        raise InputError(
            f"study {study.name!r}: {net.label} makes outputs {_sizes(net.output_shape)} of examples "
            f"{_sizes(net.input_shape)}; expected {_sizes(expected)} for {study.dataset!r}, or a loss of your own"
        )


def _sizes(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, ('N', *shape)))}]"


def settings(study: Study, batch_size: int, phase: str) -> Settings:
    """Return how the trials of a phase train: the paper's tuning runs go on for 2 epochs whatever they reach."""
    final = Settings(batch_size, study.target, **study.training_options)
    if phase == FINAL:
        return final
    if study.protocol == "tuned":
        return dataclasses.replace(final, diversity_every=0, race=study.step_sizes.values if study.race else ())
    epochs = min(PAPER_TUNING_EPOCHS, study.max_epochs)
    schedule = final.schedule_epochs or (0 if final.schedule == "constant" else study.max_epochs)
    return dataclasses.replace(
        final, max_epochs=epochs, schedule_epochs=schedule, stop_at_target=False, diversity_every=0
    )


def options_in_force(study: Study, phase: str) -> dict[str, Any]:
    """Return every option of a study's networks and of their training in a phase, by name, and `stop_at_target`."""
    kind, training = family_named(study.family, study.source), settings(study, 1, phase)
    net = study.architecture_options
    net |= {name: net[name] or names[0] for name, names in kind.choices.items()}
    net["filters"] = study.filters or kind.default_filters
    return net | {name: getattr(training, name) for name in (*study.training_options, "stop_at_target")}


def trial(cell: PlannedCell, phase: str, step_size: float, seed: int) -> Trial:
    """Return one trial of a cell."""
    return Trial(cell.architecture, cell.data, cell.training[phase], step_size, seed, phase)


def tuning_trial(study: Study, cell: PlannedCell, index: int) -> Trial:
    """Return the trial at an index of the step-size grid; indices below 0 or above the grid are widenings."""
    return trial(cell, TUNE, study.step_sizes.at(index), study.seed)


def final_trial(study: Study, cell: PlannedCell, step_size: float, number: int) -> Trial:
    """Return reported trial 1, 2, ..., each with fresh initial weights and order of data."""
    return trial(cell, FINAL, step_size, study.seed + number)


def fewest_trials(study: Study, phase: str) -> int:
    """Trials of one cell in a phase when its grid needs no widening; a grid of one value needs no tuning."""
    size = 1 if study.protocol == "fixed" else study.step_sizes.size
    return study.num_seeds if phase == FINAL else (size if size > 1 else 0)


def is_widening(study: Study, phase: str, step_size: float) -> bool:
    """Whether a trial tried a step size beyond the study's own grid."""
    return phase == TUNE and step_size not in study.step_sizes
