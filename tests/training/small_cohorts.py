"""Small stacked cohorts, the data they train on, and the loop a user would write for one member."""

import numpy as np
import torch
import torch.nn.functional as F

from batchscope.architectures import Architecture, build
from batchscope.data import Dataset, epoch_order, load
from batchscope.training import Member
from batchscope.training.cohort import RunningCohort

GRID = [Member(step_size, 3) for step_size in (0.01, 0.05, 0.2)]
SEEDS = [Member(step_size, seed) for step_size, seed in ((0.05, 1), (0.05, 2), (0.1, 7))]


def classes() -> Dataset:
    return load("digits", num_examples=97)


def regression() -> Dataset:
    return load("synthetic", num_examples=97, d_in=7, d_out=3, seed=5)


def architecture(dataset: Dataset, depth: int = 3, activation: str = "relu", bias: bool = True) -> Architecture:
    return Architecture(
        "fully_connected", dataset.inputs.shape[1:], dataset.d_out, depth, 5, activation=activation, bias=bias
    )


def run(dataset, shape, settings, members) -> RunningCohort:
    with torch.inference_mode():
        cohort = RunningCohort(shape, dataset, settings, members, torch.device("cpu"))
        cohort.begin()
        for epoch in range(settings.max_epochs):
            cohort.train_epoch(epoch)
    return cohort


def plain_loop(dataset, shape, settings, member) -> dict[str, torch.Tensor]:
    """What a user would write for one member."""
    model = build(shape, settings.initialisation, member.seed, torch.float64)
    if settings.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=member.step_size)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=member.step_size, momentum=settings.momentum)
    inputs = torch.as_tensor(dataset.inputs).double()
    targets = torch.as_tensor(dataset.targets)
    for epoch in range(settings.max_epochs):
        passes = range(epoch * settings.passes_per_epoch, (epoch + 1) * settings.passes_per_epoch)
        orders = [epoch_order(len(inputs), member.seed, k, settings.sampling) for k in passes]
        order = torch.as_tensor(np.concatenate(orders))
        for indices in order.split(settings.batch_size):
            outputs = model(inputs[indices])
            if dataset.num_classes is None:
                loss = (outputs - targets[indices]).square().sum(1).mean() / 2
            else:
                loss = F.cross_entropy(outputs, targets[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
