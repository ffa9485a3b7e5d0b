"""`observe` inside a training loop: right numbers, untouched training, nothing left behind."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.gradients import GroupMoments, measure, observe
from tests.gradients.gradient_models import GPT, token_loss, weight_normed


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def batches(count, size=11):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 5, generator=generator).double(), torch.randint(0, 3, (size,), generator=generator))
        for _ in range(count)
    ]


def train(model, data, step_size=0.1):
    """The user's loop; returns the gradients of every step."""
    optimizer = torch.optim.SGD(model.parameters(), step_size)
    gradients = []
    for x, y in data:
        F.cross_entropy(model(x), y).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
        optimizer.zero_grad()
    return gradients


def test_history_holds_what_measure_would_have_said_and_training_is_unchanged():
    model, twin, data = small_model(), small_model(), batches(7)
    expected = {}
    with observe(model, every=3) as observed:
        gradients = train(model, data)
    for step, (x, y) in enumerate(data):
        if step % 3 == 0:
            expected[step] = measure(twin, F.cross_entropy, (x, y)).total
        for mine, theirs in zip(gradients[step], train(twin, [(x, y)])[0], strict=True):
            assert torch.equal(mine, theirs)
    assert list(observed.history) == [0, 3, 6]
    for step, moments in observed.history.items():
        assert moments.num_examples == 11
        assert moments.sum_sq_norms == pytest.approx(expected[step].sum_sq_norms, rel=1e-10)
        assert moments.sq_norm_sum == pytest.approx(expected[step].sq_norm_sum, rel=1e-10)
    assert observed.noise.trace_covariance > 0


def test_accumulation_and_loss_scale():
    model, data = small_model(), batches(3)
    whole = (torch.cat([x for x, _ in data]), torch.cat([y for _, y in data]))
    expected = measure(model, F.cross_entropy, whole)
    with observe(model, accumulation=3, loss_scale=8 / 3) as observed:
        for x, y in data:
            (F.cross_entropy(model(x), y) * (8 / 3)).backward()
    assert list(observed.history) == [0]
    assert observed.history[0].sum_sq_norms == pytest.approx(expected.sum_sq_norms, rel=1e-10)
    assert observed.history[0].batch_size_bound == pytest.approx(expected.batch_size_bound, rel=1e-10)


def test_sum_reduction_evaluation_passes_and_reading_in_between():
    model, data = small_model(), batches(2)
    with observe(model, reduction="sum") as observed:
        for step, (x, y) in enumerate(data):
            F.cross_entropy(model(x), y, reduction="sum").backward()
            assert len(observed.history) == step + 1
            with torch.no_grad():
                model(x)
    twin = measure(model, F.cross_entropy, data[1])
    assert observed.history[1].sq_norm_sum == pytest.approx(twin.sq_norm_sum, rel=1e-10)


@pytest.mark.parametrize("build", [weight_normed, lambda: GPT(13, 7, 6, 2, 1, tied=True, conv1d=True)])
def test_linked_parameters(build):
    torch.manual_seed(0)
    model = build().double()
    is_gpt = isinstance(model, GPT)
    x = torch.randint(0, 13, (5, 7)) if is_gpt else torch.randn(5, 5).double()
    y = torch.randint(0, 13, (5, 7)) if is_gpt else torch.randint(0, 3, (5,))
    loss = token_loss if is_gpt else (lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"))
    expected = measure(model, loss, (x, y))
    with observe(model) as observed:
        loss(model(x), y).mean().backward()
    for name, moments in observed.history[0].by_parameter.items():
        assert moments.sum_sq_norms == pytest.approx(expected.by_parameter[name].sum_sq_norms, rel=1e-9), name


def test_nothing_is_left_behind_also_after_an_exception():
    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Linear(7, 3)).double()
    before = snapshot(model)
    (x, y), *_ = batches(1)
    with pytest.raises(ZeroDivisionError):
        train_and_fail(model, x, y)
    with pytest.raises(RuntimeError), observe(model):
        model(torch.randn(11, 6).double())
    assert snapshot(model) == before
    assert torch.overrides._get_current_function_mode() is None


def train_and_fail(model, x, y):
    with observe(model):
        F.cross_entropy(model(x), y).backward()
        raise ZeroDivisionError


def snapshot(model):
    """Everything a wrapper, hook or attribute would show up in."""
    return [
        (
            (name, type(module), sorted(module.__dict__), module.training),
            [len(value) for key, value in module.__dict__.items() if "hooks" in key],
            [(n, sorted(p.__dict__), p.requires_grad) for n, p in module.named_parameters()],
        )
        for name, module in model.named_modules()
    ]


def test_changing_shapes():
    torch.manual_seed(0)
    model = nn.RNN(5, 3, batch_first=True).double()
    data = [torch.randn(7, length, 5).double() for length in (4, 6, 6)]

    def loss(outputs, targets):
        return outputs[0].square().sum((1, 2))

    expected = [measure(model, loss, [(x, torch.zeros(7))]) for x in data]
    with observe(model, reduction="mean") as observed:
        for x in data:
            loss(model(x), None).mean().backward()
    assert list(observed.history) == [0, 1, 2]
    for moments, right in zip(observed.history.values(), expected, strict=True):
        assert moments.sum_sq_norms == pytest.approx(right.sum_sq_norms, rel=1e-9)


def test_batchnorm_in_training_mode_gives_the_noise_scale_of_groups():
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)).double()
    (x, y), *_ = batches(1)
    with observe(model) as observed:
        F.cross_entropy(model(x), y).backward()
    assert isinstance(observed.history[0], GroupMoments)
    assert observed.history[0].noise.trace_covariance > 0
    assert "halves" in observed.history[0].basis


DISTRIBUTED = """
import sys, torch, torch.distributed as dist, torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch import nn
from batchscope.gradients import measure, observe
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
x, y = torch.randn(10, 5).double(), torch.randint(0, 3, (10,))
expected = measure(model, F.cross_entropy, (x, y))
wrapped = DistributedDataParallel(model)
mine = slice(0, 5) if rank == 0 else slice(5, 10)
with observe(wrapped) as observed:
    F.cross_entropy(wrapped(x[mine]), y[mine]).backward()
moments = observed.history[0]
assert moments.num_examples == 10
assert abs(moments.sum_sq_norms / expected.sum_sq_norms - 1) < 1e-10
assert abs(moments.sq_norm_sum / expected.sq_norm_sum - 1) < 1e-10
"""


FSDP = """
import sys, warnings, torch, torch.distributed as dist, torch.nn.functional as F
from torch.distributed.fsdp import fully_shard
from torch import nn
from batchscope.errors import InputError
from batchscope.gradients import ObserveWarning, measure, observe
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
fully_shard(model)
x, y = torch.randn(4, 5), torch.arange(4) % 3
optimizer = torch.optim.SGD(model.parameters(), 0.1)
with warnings.catch_warnings(record=True) as seen, observe(model, optimizer=optimizer) as observed:
    warnings.simplefilter("always")
    for _ in range(2):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
assert "sharded" in str(observed.notes), observed.notes
assert not observed.history
try:
    measure(model, F.cross_entropy, (x, y))
except InputError as error:
    assert "fully_shard" in str(error)
else:
    raise AssertionError("not refused")
"""

BATCHNORM = """
import sys, torch, torch.distributed as dist, torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch import nn
from batchscope.gradients import GroupMoments, observe
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)).double()
x, y = torch.randn(10, 5).double(), torch.arange(10) % 3
mine = slice(0, 4) if rank == 0 else slice(4, 10)
expected = []
for part in (slice(0, 4), slice(4, 10)):
    gradients = torch.autograd.grad(F.cross_entropy(model(x[part]), y[part], reduction="sum"), model.parameters())
    expected.append(torch.cat([g.flatten() for g in gradients]))
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(wrapped.parameters(), 0.1)
with observe(wrapped, optimizer=optimizer) as observed:
    F.cross_entropy(wrapped(x[mine]), y[mine]).backward()
    optimizer.step()
moments = observed.history[0]
assert isinstance(moments, GroupMoments) and moments.sizes == (4, 6), moments
a, b = expected
assert abs(moments.group_sq_norms / float(a @ a / 4 + b @ b / 6) - 1) < 1e-6
assert abs(moments.sq_norm_sum / float((a + b) @ (a + b)) - 1) < 1e-6
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [DISTRIBUTED, BATCHNORM, FSDP], ids=["examples", "groups", "fully_shard"])
def test_two_ranks(program):
    port = str(20000 + (os.getpid() + 7 * len(program)) % 20000)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), port], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
