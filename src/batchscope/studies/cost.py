"""How long training will take, roughly: for the order of work, for `plan`, and for the time left. No torch."""

from __future__ import annotations

import math

from batchscope.architectures.architecture import Architecture
from batchscope.studies.plan import PlannedCell, fewest_trials, tuning_trial
from batchscope.studies.protocols import Done, tune
from batchscope.studies.study import Study
from batchscope.studies.trial import FINAL, TUNE, Cohort
from batchscope.training.settings import Settings

# Assumptions, for one core of a server CPU of the 2020s in float32; measured cohorts differ by a factor of two or
# three. While a study runs, the time left comes from what its cohorts really took. Networks trained as modules pay for
# the Python and autograd of every layer, and for the many operations between their weights: rates of a small residual
# net and a small transformer (docs/first_answer.md).
SECONDS_PER_FLOP = 1 / 50e9
SECONDS_PER_ACTIVATION = {"stacked": 4e-9, "modules": 20e-9}
SECONDS_PER_LAYER_STEP = {"stacked": 4e-6, "modules": 400e-6}


def trial_cost(net: Architecture, num_examples: int, settings: Settings) -> float:
    """Return predicted seconds of one trial on one core, if it trains for all its epochs.

    A training pass takes 6 floating-point operations per multiplication of the forward pass and example (2 forward, 2
    for the gradient of the weights, 2 for that of the activations), an evaluation 2.
    """
    trained = num_examples * settings.passes_per_epoch
    steps = math.ceil(trained / settings.batch_size)
    way = "stacked" if net.kind.stacked else "modules"
    operations = (6 * trained + 2 * settings.evaluations_per_epoch * num_examples) * net.multiply_adds
    return settings.max_epochs * (
        operations * SECONDS_PER_FLOP
        + trained * net.num_units * SECONDS_PER_ACTIVATION[way]
        + steps * net.num_layers * SECONDS_PER_LAYER_STEP[way]
    )


def cohort_cost(cohort: Cohort) -> float:
    """Return predicted seconds of a cohort on one core, if every member trains for all its epochs."""
    return len(cohort.trials) * trial_cost(cohort.architecture, cohort.data.num_examples, cohort.settings)


def cost_of_epochs(cohort: Cohort, epochs: float) -> float:
    """Return predicted seconds of so many epochs of one member on one core."""
    return (
        trial_cost(cohort.architecture, cohort.data.num_examples, cohort.settings) * epochs / cohort.settings.max_epochs
    )


def turn(study: Study, cell: PlannedCell, cohort: Cohort, done: Done) -> tuple[bool, float]:
    """Return when a cohort shall be begun: the least first. Tuning comes first, and the longest of what is alike.

    So no worker is left alone with a long cohort at the end. How long the reported runs of a cell will be, which end
    at the target, is known roughly once its tuning is done (`python -m benchmarks.panel_order`).
    """
    if cohort.phase == TUNE:
        return False, -cohort_cost(cohort)
    return True, -cohort_cost(cohort) * expected_share(study, cell, done)


def expected_share(study: Study, cell: PlannedCell, done: Done) -> float:
    """Return how much of all its epochs a reported run of a cell is expected to need, by the tuning runs; 1 without.

    Of a best run that met the target its epochs; of others 1 - exp(-loss), an assumption: what it lacks of giving the
    right answer for certain.
    """
    tuning = tune(study, cell, done)
    best = None if tuning is None or tuning.best is None else done.get(tuning_trial(study, cell, tuning.best).id)
    if best is None or best.train_loss is None:
        return 1.0
    if best.epochs_to_target is not None:
        return best.epochs_to_target / study.max_epochs
    return -math.expm1(-max(best.train_loss, 0.0))


def cell_cost(study: Study, cell: PlannedCell) -> dict[str, float]:
    """Return phase -> predicted seconds of a cell on one core, if nothing is widened and nothing stops early."""
    return {
        phase: fewest_trials(study, phase) * trial_cost(cell.architecture, cell.data.num_examples, cell.training[phase])
        for phase in (TUNE, FINAL)
    }
