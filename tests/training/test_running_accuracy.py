"""The accuracy over an epoch's mini-batches, as Keras prints it, in every way that members are run."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from batchscope.architectures import Architecture, build
from batchscope.data import epoch_order
from batchscope.records.row import Outcome, Target
from batchscope.training import Member, Settings, train_cohort
from tests.training.networks import NETS, images

SETTINGS = Settings(13, Target("train_accuracy_running", 1.0), max_epochs=3, dtype="float64", evaluations_per_epoch=2)
MEMBERS = [Member(0.05, 1), Member(0.1, 2)]
FLAT = Architecture("fully_connected", (2, 16, 17), 5, 1, 29)
WAYS = [(FLAT, None), (NETS["lenet"], "one after another"), (NETS["lenet"], "vectorised")]


def by_hand(net: Architecture, member: Member) -> list[float]:
    """Epoch by epoch: right answers among the batches, each before its step, over all examples."""
    data, model = images(net.input_shape), build(net, seed=member.seed, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=member.step_size)
    inputs, labels, found = torch.as_tensor(data.inputs).double(), torch.as_tensor(data.targets), []
    for epoch in range(SETTINGS.max_epochs):
        right = 0
        for batch in torch.as_tensor(epoch_order(len(inputs), member.seed, epoch)).split(SETTINGS.batch_size):
            outputs = model(inputs[batch])
            right += int((outputs.argmax(1) == labels[batch]).sum())
            optimizer.zero_grad()
            F.cross_entropy(outputs, labels[batch]).backward()
            optimizer.step()
        found.append(right / len(inputs))
    return found


@pytest.mark.parametrize(("net", "execution"), WAYS)
def test_it_is_that_of_the_loop_at_every_epochs_end(net: Architecture, execution: str | None) -> None:
    results = train_cohort(net, images(net.input_shape), SETTINGS, MEMBERS, execution=execution)
    for member, result in zip(MEMBERS, results, strict=True):
        running = [entry.train_accuracy_running for entry in result.history]
        assert [value for value in running if not math.isnan(value)] == pytest.approx(by_hand(net, member))
        assert [math.isnan(value) for value in running] == [entry.epoch not in (1, 2, 3) for entry in result.history]


def test_the_target_is_checked_against_it_and_not_against_the_weights_at_the_epochs_end() -> None:
    settings = dataclasses.replace(SETTINGS, max_epochs=300, target=Target("train_accuracy_running", 0.9))
    running, at_end = (
        train_cohort(FLAT, images((2, 16, 17)), dataclasses.replace(settings, target=target), MEMBERS)
        for target in (settings.target, Target("train_accuracy", 0.9))
    )
    for late, early in zip(running, at_end, strict=True):
        assert late.outcome is early.outcome is Outcome.REACHED
        assert late.history[-1].train_accuracy_running >= 0.9
        assert late.epochs_to_target == int(late.epochs_to_target)
        assert late.epochs_to_target > early.epochs_to_target


def test_members_that_leave_do_not_disturb_the_counts_of_the_rest() -> None:
    settings = dataclasses.replace(SETTINGS, max_epochs=60, target=Target("train_accuracy_running", 0.8))
    members = [Member(0.2, 1), Member(0.02, 2)]
    together = train_cohort(FLAT, images((2, 16, 17)), settings, members)
    assert together[0].epochs_to_target != together[1].epochs_to_target
    for member, result in zip(members, together, strict=True):
        (alone,) = train_cohort(FLAT, images((2, 16, 17)), settings, [member])
        last = alone.history[-1].train_accuracy_running, result.history[-1].train_accuracy_running
        assert last[0] == pytest.approx(last[1], nan_ok=True)
