"""Convolutional cohorts, run in every way there is, against the loop a user would write."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from batchscope.architectures import Architecture, build
from batchscope.data import epoch_order
from batchscope.errors import InputError
from batchscope.records.row import Outcome, Target
from batchscope.training import Member, Settings, train_cohort
from batchscope.training.cohort import RunningCohort
from batchscope.training.cuda_graph import WARM_UP, ReplayedStep
from batchscope.training.engine_choice import possible_executions
from batchscope.training.execution import Execution
from batchscope.training.parallel import ONE_RANK
from tests.training.networks import NETS, SETTINGS, images

GRID = [Member(step_size, 3) for step_size in (0.01, 0.05, 0.2)]
SEEDS = [Member(step_size, seed) for step_size, seed in ((0.05, 1), (0.05, 2), (0.1, 7))]
RELU = dataclasses.replace(NETS["lenet"], activation="relu")
EXECUTIONS = ["one after another", "one after another, channels_last", "vectorised", "vectorised, channels_last"]


def plain_loop(net: Architecture, settings: Settings, member: Member) -> torch.nn.Module:
    dataset = images(net.input_shape)
    model = build(net, settings.initialisation, member.seed, torch.float64)
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=member.step_size)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=member.step_size, momentum=settings.momentum)
    inputs, labels = torch.as_tensor(dataset.inputs).double(), torch.as_tensor(dataset.targets)
    for epoch in range(settings.max_epochs):
        for indices in torch.as_tensor(epoch_order(len(inputs), member.seed, epoch)).split(settings.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[indices]), labels[indices]).backward()
            optimizer.step()
    return model


def run(net: Architecture, settings: Settings, members: list[Member], execution: str) -> RunningCohort:
    dataset = images(net.input_shape)
    cohort = RunningCohort(net, dataset, settings, members, torch.device("cpu"), ONE_RANK, Execution.parse(execution))
    cohort.begin()
    for epoch in range(settings.max_epochs):
        cohort.train_epoch(epoch)
    return cohort


def assert_same(module: torch.nn.Module, expected: torch.nn.Module, tolerance: float = 1e-8) -> None:
    state = module.state_dict()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(
            state[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
def test_every_way_equals_the_plain_loop(net, members, execution):
    if (net, execution) == ("group_norm", "vectorised, channels_last"):
        pytest.skip("not implemented by torch.func.vmap")
    cohort = run(NETS[net], SETTINGS, members, execution)
    # Groups of four numbers: rounding is divided by deviations that may be small.
    tolerance = 1e-6 if net == "group_norm" else 1e-8
    for network, member in zip(cohort.engine.networks, members, strict=True):
        assert_same(network.module, plain_loop(NETS[net], SETTINGS, member), tolerance)


@pytest.mark.parametrize("execution", ["one after another", "vectorised"])
@pytest.mark.parametrize("optimizer", [("sgd", 0.9), ("adam", 0.0)], ids=["momentum", "adam"])
def test_every_update_rule_equals_torchs(optimizer, execution):
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer[0], momentum=optimizer[1])
    members = [Member(rate / 50, 3) for rate in (1.0, 2.0)]
    cohort = run(NETS["lenet"], settings, members, execution)
    for network, member in zip(cohort.engine.networks, members, strict=True):
        assert_same(network.module, plain_loop(NETS["lenet"], settings, member), tolerance=1e-6)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_scores_are_those_of_the_trained_module_in_evaluation_mode(execution):
    net, settings = NETS["batch_norm"], dataclasses.replace(SETTINGS, max_epochs=1)
    cohort, dataset = run(net, settings, GRID, execution), images((3, 16, 17))
    for index, member in enumerate(GRID):
        model = plain_loop(net, settings, member).eval()
        outputs, labels = model(torch.as_tensor(dataset.inputs).double()), torch.as_tensor(dataset.targets)
        last = cohort.histories[index][-1]
        assert last.train_loss == pytest.approx(F.cross_entropy(outputs, labels).item(), rel=1e-8)
        assert last.train_accuracy == (outputs.argmax(1) == labels).double().mean().item()
        heldout = model(torch.as_tensor(dataset.heldout_inputs).double()).argmax(1).numpy()
        assert last.heldout_accuracy == pytest.approx((heldout == dataset.heldout_targets).mean())


@pytest.mark.parametrize("execution", ["one after another", "vectorised"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_members_that_leave_do_not_disturb_the_rest(execution, optimizer):
    settings = dataclasses.replace(SETTINGS, target=Target("train_loss", 1.45), max_epochs=25, optimizer=optimizer)
    rates = (0.02, 0.05, 0.15) if optimizer == "sgd" else (0.002, 0.004, 0.008)
    members = [Member(rate, seed) for rate, seed in zip(rates, (1, 2, 3), strict=True)]
    data = images((2, 16, 17))
    together = train_cohort(NETS["lenet"], data, settings, members, execution=execution)
    assert len({result.epochs_to_target for result in together}) > 1, "the test needs members that leave apart"
    for member, result in zip(members, together, strict=True):
        (alone,) = train_cohort(NETS["lenet"], data, settings, [member], execution="one after another")
        assert (alone.outcome, alone.steps_to_target) == (result.outcome, result.steps_to_target)
        assert alone.history[-1].train_loss == pytest.approx(result.history[-1].train_loss, rel=1e-6)


def first_failure(member: Member) -> int:
    """The step, counted from 1, of the plain loop with batches of one whose loss is not finite."""
    dataset, model = images((2, 16, 17)), build(RELU, seed=member.seed, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=member.step_size)
    for step, index in enumerate(epoch_order(31, member.seed, 0), start=1):
        x = torch.as_tensor(dataset.inputs[index : index + 1]).double()
        loss = F.cross_entropy(model(x), torch.as_tensor(dataset.targets[index : index + 1]))
        if not math.isfinite(loss):
            return step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError("the member does not diverge")


def test_a_diverging_member_ends_at_its_step():
    settings = dataclasses.replace(SETTINGS, batch_size=1, max_epochs=3)
    good, bad = train_cohort(RELU, images((2, 16, 17)), settings, [Member(1e-3, 0), Member(1e100, 0)])
    assert good.outcome is Outcome.CENSORED
    assert bad.outcome is Outcome.DIVERGED
    step = first_failure(Member(1e100, 0))
    assert 1 < step < 10
    assert bad.history[-1].step == step
    assert bad.history[-1].epoch == pytest.approx(step / 31)
    assert f"step {step}" in bad.message
    assert math.isnan(bad.history[-1].train_loss)


def test_bounds_are_those_of_measure():
    from batchscope.gradients import measure

    net, settings = NETS["batch_norm"], dataclasses.replace(SETTINGS, max_epochs=1, diversity_every=1)
    (result,) = train_cohort(net, images((3, 16, 17)), settings, GRID[:1])
    model = plain_loop(net, settings, GRID[0]).eval()
    data = (torch.as_tensor(images((3, 16, 17)).inputs).double(), torch.as_tensor(images((3, 16, 17)).targets))
    report = measure(model, F.cross_entropy, data)
    assert result.history[-1].batch_size_bound == pytest.approx(report.batch_size_bound, rel=1e-8)


def test_the_fastest_way_is_chosen_and_recorded():
    results = train_cohort(NETS["lenet"], images((2, 16, 17)), SETTINGS, GRID)
    ways = possible_executions(NETS["lenet"], SETTINGS, len(GRID), torch.device("cpu"), ONE_RANK)
    assert set(map(str, ways)) == set(EXECUTIONS)
    assert {result.execution for result in results} <= set(ways)
    with pytest.raises(InputError, match="not possible here"):
        train_cohort(NETS["lenet"], images((2, 16, 17)), SETTINGS, GRID, execution="in streams")


def test_bfloat16_trains_near_float32_with_weights_in_float32():
    settings = dataclasses.replace(SETTINGS, dtype="float32", max_epochs=3)
    half = dataclasses.replace(settings, dtype="bfloat16")
    net = NETS["group_norm"]
    full, low = (run(net, one, GRID[:1], "one after another") for one in (settings, half))
    assert {p.dtype for p in low.engine.networks[0].parameters} == {torch.float32}
    losses = [cohort.histories[0][-1].train_loss for cohort in (full, low)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.03)  # bf16 keeps 8 bits: 0.4 % per rounding


def test_bfloat16_is_refused_for_stacked_nets():
    with pytest.raises(InputError, match="families of images"):
        train_cohort(
            Architecture("fully_connected", (2, 16, 17), 5, 1, 3),
            images((2, 16, 17)),
            dataclasses.replace(SETTINGS, dtype="bfloat16"),
            GRID,
        )


def test_a_replay_gives_the_same_steps_and_leaves_other_shapes_alone():
    """The path a CUDA graph takes, with a recording that simply calls again."""
    seen: list[list[int]] = []
    recorded = []

    def capture(step, argument):
        recorded.append(argument)
        return lambda: step(argument)

    replay = ReplayedStep(lambda indices: seen.append(indices.tolist()), torch.device("cpu"), capture)
    batches = [torch.tensor([i, i + 1]) for i in range(WARM_UP + 3)] + [torch.tensor([9])]
    for batch in batches:
        replay(batch)
    assert seen == [batch.tolist() for batch in batches]
    assert len(recorded) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("execution", ["one after another", "in streams", "vectorised"])
def test_cuda_equals_cpu(net, execution):
    data = images(NETS[net].input_shape)
    cpu = train_cohort(NETS[net], data, SETTINGS, GRID, execution="one after another")
    cuda = train_cohort(NETS[net], data, SETTINGS, GRID, device="cuda", execution=execution)
    for a, b in zip(cpu, cuda, strict=True):
        assert a.history[-1].train_loss == pytest.approx(b.history[-1].train_loss, rel=1e-7)
