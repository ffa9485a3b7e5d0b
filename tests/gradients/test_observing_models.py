"""Whole kinds of models in observe: exact against the loop over examples, and the training step bit for bit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from batchscope.gradients import GroupMoments, observe
from batchscope.gradients.observing.choosing import Way
from tests.gradients.true_moments import truth

X, Y = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 3


class Tokens(nn.Module):
    """A linear layer with bias on [N, T, d], whose output is changed in place."""

    def __init__(self, how):
        super().__init__()
        self.first, self.out, self.how = nn.Linear(1, 4), nn.Linear(4, 3), how

    def forward(self, x):
        h = self.first(x[..., None])
        if self.how == "add":
            h += x[..., None]
        elif self.how == "relu":
            h = F.relu(h, inplace=True)
        else:
            h.masked_fill_(x[..., None] > 0, 0.5)
        return self.out(h.mean(1))


class Checkpointed(nn.Module):
    def __init__(self, reentrant=False):
        super().__init__()
        self.reentrant = reentrant
        self.first, self.block, self.out = nn.Linear(5, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 3)

    def forward(self, x):
        h = self.first(x)
        return self.out(
            checkpoint(self.block, h, use_reentrant=self.reentrant) if torch.is_grad_enabled() else self.block(h)
        )


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(5, 2), nn.ModuleList(nn.Linear(5, 3) for _ in range(2))

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(1).max(1)
        output = x.new_zeros(len(x), 3)
        for k, expert in enumerate(self.experts):
            rows = (chosen == k).nonzero()[:, 0]
            output = output.index_add(0, rows, expert(x[rows]) * weight[rows, None])
        return output


class Differentiating(nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 1))

    def forward(self, x):
        x = x.detach().requires_grad_()
        energy = self.energy(x)
        (force,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        return torch.cat([energy, force[:, :2]], 1)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        lengths = 1 + (x > 0).sum(1).clamp(max=4)
        packed = pack_padded_sequence(x[..., None], lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][0][-1])


class Temperature(nn.Module):
    """A parameter without axes; outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.linear, self.scale = nn.Linear(5, 3), nn.Parameter(torch.tensor(0.7))

    def forward(self, *args, **kwargs):
        return self.linear(args[0]) * self.scale


MODELS = {
    "in-place add": lambda: Tokens("add"), "in-place relu": lambda: Tokens("relu"),
    "masked_fill": lambda: Tokens("fill"),
    "checkpointing": Checkpointed, "reentrant": lambda: Checkpointed(True),
    "experts": Experts, "derivatives": Differentiating, "packed": Packed,
    "scalar parameter": Temperature, "attention": lambda: Attending(),
}  # fmt: skip


class PowerIteration(nn.Module):
    """Updates buffers in its forward pass, and binds one anew; the weight depends on them."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4))
        self.out = nn.Linear(4, 3)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        self.scale = self.scale * 0.5
        return self.out(torch.tanh(self.hidden(x))) * self.scale


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attention, self.out = (
            nn.Linear(1, 4),
            nn.MultiheadAttention(4, 2, batch_first=True),
            nn.Linear(4, 3),
        )

    def forward(self, x):
        h = self.embed(x[..., None])
        return self.out(self.attention(h, h, h, need_weights=False)[0].mean(1))


@pytest.mark.parametrize("name", MODELS)
def test_exact_and_the_step_untouched(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    plain, reference = copy.deepcopy(model), copy.deepcopy(model)
    reference.reentrant = False  # the other variant refuses torch.autograd.grad
    right = truth(reference, X, Y)
    with observe(model) as observed:
        for _ in range(2):
            model.zero_grad()
            F.cross_entropy(model(X), Y).backward()
    F.cross_entropy(plain(X), Y).backward()
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
    for step in (0, 1):
        found = observed.history[step]
        assert (found.sum_sq_norms, found.sq_norm_sum) == pytest.approx(right, rel=2e-4)
    is_inside = name in ("in-place add", "in-place relu", "masked_fill", "scalar parameter", "checkpointing")
    assert observed.way == (Way.INSIDE if is_inside else Way.REPLAY).value


@pytest.mark.slow
@pytest.mark.parametrize("how", ["whole", "in place", "blocks"])
def test_compiled_models(how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    right = truth(model, X, Y)
    called = model
    if how == "whole":
        called = torch.compile(model, backend="aot_eager")
    elif how == "in place":
        model.compile(backend="aot_eager")
    else:
        model[0] = torch.compile(model[0], backend="aot_eager")
    F.cross_entropy(called(X), Y).backward()
    with observe(called) as observed:
        F.cross_entropy(called(X), Y).backward()
    found = observed.history[0]
    assert (found.sum_sq_norms, found.sq_norm_sum) == pytest.approx(right, rel=1e-4)


def test_a_penalty_on_weights_is_not_taken_for_data():
    model = nn.Linear(5, 3)
    with pytest.warns(UserWarning, match="do not add up"), observe(model) as observed:
        (F.cross_entropy(model(X), Y) + model.weight.square().sum()).backward()
    assert not observed.history


def batchnorm_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()


def test_batchnorm_groups_are_the_micro_batches():
    model, x = batchnorm_net(), torch.randn(12, 5).double()
    y, sizes, optimizer = torch.arange(12) % 3, (5, 3, 4), torch.optim.SGD(model.parameters(), 0.1)
    twin, squares, total = copy.deepcopy(model), 0.0, 0
    with observe(model, optimizer=optimizer) as observed:
        for a, b in zip(x.split(sizes), y.split(sizes), strict=True):
            gradients = torch.autograd.grad(F.cross_entropy(twin(a), b), twin.parameters())
            mean = torch.cat([g.flatten() for g in gradients])
            squares, total = squares + len(a) * float(mean @ mean), total + len(a) * mean
            F.cross_entropy(model(a), b).backward()
        optimizer.step()
    moments = observed.history[0]
    assert isinstance(moments, GroupMoments)
    assert moments.sizes == sizes
    assert moments.group_sq_norms == pytest.approx(squares)
    assert moments.sq_norm_sum == pytest.approx(float(total @ total))
    assert "micro-batches" in moments.basis


def test_batchnorm_halves_are_training_steps_on_half_the_batch():
    model, x = batchnorm_net(), torch.randn(9, 5).double()
    y, halves, buffers = torch.arange(9) % 3, [], copy.deepcopy(model).state_dict()
    for start in (0, 1):
        twin = copy.deepcopy(model)
        gradients = torch.autograd.grad(
            F.cross_entropy(twin(x[start::2]), y[start::2], reduction="sum"), twin.parameters()
        )
        halves.append(torch.cat([g.flatten() for g in gradients]))
    state = torch.random.get_rng_state()
    with observe(model) as observed:
        F.cross_entropy(model(x), y).backward()
    moments, whole = observed.history[0], halves[0] + halves[1]
    assert moments.sizes == (5, 4)
    assert moments.group_sq_norms == pytest.approx(float(halves[0] @ halves[0]) / 5 + float(halves[1] @ halves[1]) / 4)
    assert moments.sq_norm_sum == pytest.approx(float(whole @ whole))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert int(model[1].num_batches_tracked) == int(buffers["1.num_batches_tracked"]) + 1


def test_frozen_batchnorm_in_evaluation_mode_is_observed_by_examples():
    model = batchnorm_net().eval()
    x = X.double()
    right = truth(model, x, Y)
    with observe(model) as observed:
        F.cross_entropy(model(x), Y).backward()
    assert (observed.history[0].sum_sq_norms, observed.history[0].sq_norm_sum) == pytest.approx(right, rel=1e-6)


def test_results_as_table_and_figure(tmp_path):
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        for _ in range(20):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(7, 5)), Y).backward()
            optimizer.step()
    observed.to_csv(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("step,num_examples,sum_sq_norms")
    assert float(lines[5].split(",")[2]) == pytest.approx(observed.history[4].sum_sq_norms)
    axes = observed.plot()
    assert axes.get_xlabel() == "step"
    axes.figure.clf()
    assert "20 observed steps" in str(observed)


def test_buffers_that_the_forward_pass_updates_or_binds_anew():
    torch.manual_seed(0)
    model = PowerIteration()
    right = []
    with observe(model) as observed:
        for _ in range(3):
            right.append(sums_one_by_one(model))
            model.zero_grad()
            F.cross_entropy(model(X), Y).backward()
    assert not observed.notes
    for moments, sums in zip(observed.history.values(), right, strict=True):
        assert (moments.sum_sq_norms, moments.sq_norm_sum) == pytest.approx(sums, rel=2e-4)


def sums_one_by_one(model):
    """(S1, Q); every example meets the buffers of the model as it is."""
    squares, total = 0.0, 0.0
    for i in range(len(X)):
        twin = copy.deepcopy(model)
        gradients = torch.autograd.grad(F.cross_entropy(twin(X[i : i + 1]), Y[i : i + 1]), twin.parameters())
        g = torch.cat([gradient.flatten() for gradient in gradients]).double()
        squares, total = squares + float(g @ g), total + g
    return squares, float(total @ total)
