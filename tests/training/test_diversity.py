"""Diversity of a whole stack against per-example gradients by autograd."""

import pytest
import torch

from batchscope.architectures import build
from batchscope.training.cohort import RunningCohort
from batchscope.training.stacked.batch_size_bounds import batch_size_bounds
from tests.training.networks import SETTINGS
from tests.training.small_cohorts import GRID, architecture, classes, regression


@pytest.mark.parametrize("data", [classes, regression])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_bounds_equal_a_loop_over_examples(data, bias, activation):
    dataset = data()
    shape = architecture(dataset, 3, activation, bias)
    with torch.inference_mode():
        cohort = RunningCohort(shape, dataset, SETTINGS, GRID, torch.device("cpu"))
        cohort.train_epoch(0)
        bounds = batch_size_bounds(cohort.engine.stack, cohort.engine.inputs, cohort.engine.targets, chunk=31)
    inputs, targets = torch.as_tensor(dataset.inputs).double(), torch.as_tensor(dataset.targets)
    for index, bound in enumerate(bounds):
        model = build(shape, dtype=torch.float64)
        model.load_state_dict(cohort.engine.stack.member(index))
        gradients = []
        for x, y in zip(inputs, targets, strict=True):
            out = model(x[None])[0]
            loss = (out - y).square().sum() / 2 if dataset.num_classes is None else out.logsumexp(0) - out[y]
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
        g = torch.stack(gradients)
        expected = len(g) * g.square().sum() / g.sum(0).square().sum()
        assert bound.item() == pytest.approx(expected.item(), rel=1e-10)
