"""Two processes against one at the same global batch, in float64, through torchrun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from batchscope.architectures import build
from batchscope.data import epoch_order
from batchscope.errors import InputError
from batchscope.gradients.estimands import NoiseEstimate, two_batch_estimate
from batchscope.training import Member, train_cohort
from batchscope.training.cohort import RunningCohort
from batchscope.training.execution import Execution
from batchscope.training.modules.batchnorm import with_shares
from batchscope.training.parallel import ONE_RANK, Ranks
from tests.training.ranks_cases import CASES, RESNET, SETTINGS, Case, dataset

ROOT = Path(__file__).parents[2]
# Threads of gloo may outlive the interpreter and abort a rank that is done (pytorch/pytorch issue 190489): tried again.
ABORTED_AT_EXIT = "terminate called without an active exception"


def torchrun(num_ranks: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}", *words]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        if ABORTED_AT_EXIT not in done.stderr:
            break
    return done


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Case -> what two processes made of it."""
    out = tmp_path_factory.mktemp("ranks") / "out.pt"
    done = torchrun(2, "-m", "tests.training.ranks_program", str(out))
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = torch.load(out)
    return results


@pytest.mark.system
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_equal_one(name: str, two_ranks: dict[str, Any]) -> None:
    two, case = two_ranks[name], CASES[name]
    settings = case.settings(2)
    execution = None if case.net.family == "fully_connected" else "one after another"
    one = RunningCohort(
        case.net,
        dataset(case.net),
        settings,
        case.members,
        torch.device("cpu"),
        ONE_RANK,
        None if execution is None else Execution(execution),
    )
    with torch.inference_mode() if execution is None else torch.enable_grad():
        one.begin()
        for epoch in range(settings.max_epochs):
            one.train_epoch(epoch)
    for index, losses in enumerate(two["losses"]):
        assert losses == pytest.approx([entry.train_loss for entry in one.histories[index]], rel=1e-8)
        state = one.engine.stack.member(index) if execution is None else one.engine.networks[index].module.state_dict()
        for key, tensor in state.items():
            torch.testing.assert_close(two["modules"][index][key], tensor, rtol=1e-8, atol=1e-9)


def noise_scale_of_first_epoch(case: Case, member: Member) -> float:
    """The two-batch estimate from the gradients of both halves of every batch, by a plain loop on one process."""
    data, model = dataset(case.net), build(case.net, seed=member.seed, dtype=torch.float64)
    inputs, labels = torch.as_tensor(data.inputs).double(), torch.as_tensor(data.targets)
    estimates = []
    for batch in torch.as_tensor(epoch_order(len(inputs), member.seed, 0)).split(SETTINGS.batch_size):
        halves = [gradient(model, inputs[half], labels[half]) for half in batch.tensor_split(2)]
        whole = gradient(model, inputs[batch], labels[batch])
        if len(batch) % 2 == 0:
            small = sum(float(half.square().sum()) for half in halves) / 2
            estimates.append(two_batch_estimate(len(batch) / 2, len(batch), small, float(whole.square().sum())))
        vector = parameters_to_vector(model.parameters()) - member.step_size * whole
        vector_to_parameters(vector.detach(), model.parameters())
    return NoiseEstimate.pool(estimates).simple_noise_scale


def gradient(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    loss = F.cross_entropy(model(inputs), labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.system
def test_the_noise_scale_of_the_hook_is_that_of_both_halves_of_each_batch(two_ranks: dict[str, Any]) -> None:
    case = CASES["fully_connected"]
    for member, noise in zip(case.members, two_ranks["fully_connected"]["noise"], strict=True):
        assert noise[0] is None  # nothing was trained yet
        assert noise[1] == pytest.approx(noise_scale_of_first_epoch(case, member), rel=1e-8, nan_ok=True)


def test_statistics_over_one_share_are_batch_norms_own() -> None:
    """One share computed our way (as many ranks would) against torch's layer, in value, gradient and statistics."""
    ours = with_shares(torch.nn.Sequential(torch.nn.BatchNorm2d(3)).double(), 1, Ranks(0, 2))[0]  # type: ignore[index]
    ours._ranks = ONE_RANK
    torchs = torch.nn.BatchNorm2d(3).double()
    x = torch.randn(5, 3, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = []
    for layer in (ours, torchs):
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        out.square().mul(torch.arange(7)).sum().backward()
        results.append((out, leaf.grad, layer.running_mean, layer.running_var, layer.weight.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_shares_are_normalised_apart() -> None:
    layer = with_shares(torch.nn.Sequential(torch.nn.BatchNorm2d(3)).double(), 2, ONE_RANK)[0]  # type: ignore[index]
    x = torch.randn(7, 3, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = layer(x)
    alone = torch.nn.BatchNorm2d(3).double()
    torch.testing.assert_close(whole, torch.cat([alone(part) for part in x.tensor_split(2)]))


def test_a_batch_smaller_than_the_number_of_ranks_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be split over 16 processes"):
        train_cohort(RESNET, dataset(RESNET), SETTINGS, CASES["own_statistics"].members, ranks=Ranks(0, 16))


def test_statistics_over_other_parts_than_the_ranks_are_refused() -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="expected 1"):
        train_cohort(
            RESNET,
            dataset(RESNET),
            replace(SETTINGS, batchnorm_shares=3),
            CASES["own_statistics"].members,
            ranks=Ranks(0, 2),
        )
