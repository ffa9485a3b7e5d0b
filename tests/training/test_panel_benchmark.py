"""What `benchmarks.panel` counts: operations as torch counts them, and the epochs of a cohort whose members leave."""

import pytest
import torch
from benchmarks.operations import evaluation_operations, training_operations
from benchmarks.panel import TrainedCohort
from torch.utils.flop_counter import FlopCounterMode

from batchscope.architectures import Architecture, build

EXAMPLES = 7
NETS = [(13, 5, 1, 3), (13, 5, 4, 3), (4, 9, 2, 6)]  # inputs, width, depth, outputs


@pytest.mark.parametrize(("d_in", "width", "depth", "d_out"), NETS)
def test_operations_are_those_that_torch_counts(d_in, width, depth, d_out):
    model = build(Architecture("fully_connected", (d_in,), d_out, depth, width))
    forward, both = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with forward:
        model(torch.ones(EXAMPLES, d_in))
    with both:
        model(torch.ones(EXAMPLES, d_in)).sum().backward()
    assert forward.get_total_flops() == EXAMPLES * evaluation_operations(d_in, width, depth, d_out)
    assert both.get_total_flops() == EXAMPLES * training_operations(d_in, width, depth, d_out)


def test_epochs_and_evaluations_by_the_members_that_were_still_running():
    members = tuple((0.1, seed) for seed in range(4))
    cohort = TrainedCohort("final", 1, 21, 4096, members, (7.0, 3.0, 7.0, 10.0))
    assert cohort.trained() == {4: 3.0, 3: 4.0, 1: 3.0}
    assert sum(running * epochs for running, epochs in cohort.trained().items()) == sum(cohort.epochs)
    assert cohort.evaluated() == {4: 4.0, 3: 4.0, 1: 3.0}
    assert cohort.training_operations() == 27 * 60_000 * 2 * (2 * 784 * 21 + 3 * 21 * 10)
    assert cohort.evaluation_operations() == 31 * 70_000 * 2 * (784 * 21 + 21 * 10)
    assert cohort.asked("training", {1, 4, 3})["running"] == [4, 3, 1]
