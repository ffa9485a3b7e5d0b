"""Loops that do what a textbook's does not: several optimizers, frozen networks, hooks, threads, several heads."""

import pickle
import random
import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.gradients import observe
from tests.gradients.loops import DATA, Growing, both, check, cross_entropy, net, plain, truth

pytestmark = pytest.mark.filterwarnings("ignore::batchscope.gradients.ObserveWarning")


class Heads(nn.Module):
    """Two heads, whose losses the loop weighs."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.body, self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.first(h), self.second(h)


def heads_loss(model, x, y):
    first, second = model(x)
    return F.cross_entropy(first, y) + model.weight * F.cross_entropy(second, y % 2)


@pytest.mark.parametrize(("weight", "remarks"), [(1.0, []), (0.5, ["different scales"]), (3.0, ["different scales"])])
def test_heads_of_several_tasks(weight, remarks):
    def step(model, x, y):
        heads_loss(model, x, y).backward()

    notes = both(lambda: Heads(weight), step, heads_loss).notes
    assert len(notes) == len(remarks)
    assert all(remark in note.reason for remark, note in zip(remarks, notes, strict=True))


def test_a_head_whose_scale_does_not_show_takes_that_of_the_other():
    def loss(model, x, y):
        first, second = model(x)
        return F.cross_entropy(first, y) + second.square().sum(1).mean()

    def step(model, x, y):
        loss(model, x, y).backward()

    observed = both(lambda: Heads(1.0), step, loss)
    assert "several outputs" in observed.notes[0].reason


def test_logits_that_the_loop_changes_in_place_do_not_tell_a_scale():
    def step(model, x, y):
        logits = model(x)
        logits.div_(2)
        F.cross_entropy(logits, y).backward()

    observed = both(net, step, lambda model, x, y: F.cross_entropy(model(x) / 2, y))
    assert "could not be derived" in observed.notes[0].reason


def test_calls_whose_gradients_do_not_add_up_to_the_loops_are_no_measurement():
    """A gradient penalty beside two calls (Wasserstein): the calls alone do not explain the gradient."""

    def step(model, x, y):
        mixed = (0.5 * x).requires_grad_()
        (slope,) = torch.autograd.grad(model(mixed).sum(), mixed, create_graph=True)
        (model(x).mean() - model(-x).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()).backward()

    observed = both(net, step, None, reduction="mean")
    assert not observed.history
    assert any("do not add up" in note.reason for note in observed.notes)


def test_a_network_that_is_frozen_for_the_step_of_another():
    """As trainers toggle it: passes through the frozen network are no part of its own step."""
    torch.manual_seed(0)
    model, other = net(), nn.Linear(2, 5)
    mine, theirs = (torch.optim.SGD(m.parameters(), 0.1) for m in (model, other))
    right = {}
    with observe(model, optimizer=mine) as observed:
        for k, (x, y) in enumerate(DATA):
            model.requires_grad_(False)
            F.cross_entropy(model(other(x[:, :2])), y).backward()
            theirs.step()
            model.requires_grad_(True)
            right[k] = truth(model, cross_entropy, x, y)
            plain(model, x, y)
            mine.step()
            mine.zero_grad()
    check(observed, right)
    assert not observed.notes


def test_a_pass_for_another_network_after_the_last_step_is_no_step():
    model, other = net(), nn.Linear(5, 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    right = {}
    with observe(model, optimizer=optimizer) as observed:
        for k, (x, y) in enumerate(DATA[:2]):
            right[k] = truth(model, cross_entropy, x, y)
            optimizer.zero_grad()
            plain(model, x, y)
            optimizer.step()
            F.cross_entropy(model(other(x)), y).backward()
    check(observed, right)


def test_parameters_that_join_within_a_step_are_not_overlooked():
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        plain(model, *DATA[0])
        model[0].requires_grad_(True)
        plain(model, *DATA[1])
        optimizer.step()
        optimizer.zero_grad()
        plain(model, *DATA[2])
        optimizer.step()
    assert list(observed.history) == [1]
    assert "which parameters are trained changed" in observed.notes[0].reason


def test_parameters_that_the_optimizer_does_not_have_are_said():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        plain(model, *DATA[0])
        optimizer.step()
        model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
        plain(model, *DATA[1])
        optimizer.step()
    assert list(observed.history) == [0]
    assert "holds none of the parameters" in observed.notes[0].reason


def test_gradients_that_are_thrown_away_after_the_first_steps_had_none():
    """An attack on the inputs before every step, whose gradients zero_grad throws away."""

    def step(model, x, y):
        shift = torch.zeros_like(x, requires_grad=True)
        for _ in range(2):
            cross_entropy(model, x + shift, y).backward()
        shift.data += shift.grad.sign()
        model.zero_grad()
        cross_entropy(model, x + shift.detach(), y).backward()

    observed = both(net, step, None, data=DATA)
    assert list(observed.history) == list(range(5))
    assert not observed.notes


def step_alone(optimizer, parameter):
    optimizer.step()
    optimizer.zero_grad()


def test_optimizers_that_step_within_the_backward_pass():
    torch.manual_seed(0)
    model = net()
    optimizers = {p: torch.optim.SGD([p], 0.1) for p in model.parameters()}
    for p, optimizer in optimizers.items():
        p.register_post_accumulate_grad_hook(partial(step_alone, optimizer))
    right = {}
    with observe(model) as observed:
        for k, (x, y) in enumerate(DATA):
            right[k] = truth(model, cross_entropy, x, y)
            plain(model, x, y)
    check(observed, right)
    assert [note.reason for note in observed.notes] == [
        "not audited: the optimizer changes parameters within the backward pass"
    ]


def test_hooks_of_the_user_on_outputs_and_activations_count():
    def build():
        model = net()
        model[0].register_forward_hook(lambda module, args, output: output.requires_grad and _trebled(output))
        return model

    def _trebled(output):
        output.register_hook(lambda gradient: 3 * gradient)

    def one(model, x, y):  # copies of a module keep its hooks
        return cross_entropy(model, x, y)

    assert not both(build, one=one).notes


def test_a_forward_hook_that_comes_later_is_seen():
    def step(model, x, y):
        handle = model.register_forward_hook(lambda module, args, output: 2 * output)
        plain(model, x, y)
        handle.remove()

    assert not both(net, step, lambda model, x, y: F.cross_entropy(2 * model(x), y)).notes


def test_hooks_that_the_user_takes_off_end_the_observing_alone():
    def step(model, x, y):
        model._forward_hooks.clear()
        plain(model, x, y)

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        for x, y in DATA:
            step(model, x, y)
            optimizer.step()
    assert not observed.history
    assert not torch.overrides._get_current_function_mode_stack()


def test_layers_made_in_the_first_call_are_observed_from_the_next_step_on():
    observed = both(Growing, one=None)
    assert list(observed.history) == [1, 2]
    assert "made parameters in its forward pass" in observed.notes[0].reason


class LayerDrop(nn.Module):
    """Leaves out a layer by chance, as drawn by the given generator."""

    def __init__(self, draw):
        super().__init__()
        self.draw, self.first, self.second, self.out = draw, nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.out(torch.tanh(self.second(h)) if self.draw() > 0.5 else h)


def _torch_draw():
    return float(torch.rand(()))


def _numpy_draw():
    return np.random.uniform()  # noqa: NPY002 - as such models do


@pytest.mark.parametrize("draw", [random.random, _numpy_draw, _torch_draw], ids=["python", "numpy", "torch"])
def test_layers_left_out_by_chance_are_left_out_again(draw):
    observed = both(lambda: LayerDrop(draw), one=None, data=DATA * 2)
    assert list(observed.history) == list(range(10))


class Carried(nn.Module):
    """A state comes in and goes out, [layers, N, units]."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.GRU(5, 4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x, h):
        y, h = self.rnn(x[:, None].expand(-1, 2, -1), h)
        return self.out(y[:, -1]), h


def test_states_carried_from_step_to_step():
    def step(model, x, y):
        h = torch.linspace(-1, 1, 2 * len(x) * 4).reshape(2, len(x), 4)
        F.cross_entropy(model(x, h)[0], y).backward()

    states = torch.linspace(-1, 1, 2 * 6 * 4).reshape(2, 6, 4).double()

    def one(model, x, y):
        i = next(i for x_all, _ in DATA for i in range(6) if torch.equal(x_all[i].double(), x[0]))
        return F.cross_entropy(model(x, states[:, i : i + 1].contiguous())[0], y)

    assert not both(Carried, step, one).notes


@dataclass
class Inputs:
    x: torch.Tensor
    name: str


def test_dataclasses_as_inputs():
    class Taking(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, inputs):
            return self.net(inputs.x)

    def step(model, x, y):
        F.cross_entropy(model(Inputs(x, "a")), y).backward()

    assert not both(Taking, step, lambda model, x, y: F.cross_entropy(model.net(x), y)).notes


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda model, x, y: None, "no call of the model was seen"),
        (lambda model, x, y: F.cross_entropy(model.forward(x), y).backward(), "no call of the model was seen"),
        (lambda model, x, y: model(x[:0]).sum().backward(), "a batch of no examples"),
        (lambda model, x, y: torch.autograd.grad(cross_entropy(model, x, y), model[0].weight), "autograd.grad"),
        (lambda model, x, y: cross_entropy(model, x, y).backward(create_graph=True), "create_graph=True"),
        (lambda model, x, y: cross_entropy(model, x, y).backward(inputs=[model[2].weight]), "`inputs=`"),
    ],
    ids=["nothing", "forward", "no examples", "grad", "create_graph", "inputs"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using backward")
def test_why_a_step_is_missing(step, reason):
    observed = both(net, step, None, data=DATA[:1])
    assert not observed.history
    assert reason in observed.notes[-1].reason


def test_data_parallel_is_not_observed_and_says_so():
    observed = both(lambda: nn.DataParallel(net()), one=None)
    assert not observed.history
    assert [note.reason for note in observed.notes] == ["DataParallel runs copies of the model"]


def test_a_saved_model_needs_no_batchscope(tmp_path):
    with observe(model := nn.Linear(5, 3)):
        copied = pickle.dumps(model)
    (tmp_path / "model.pickle").write_bytes(copied)
    program = f"""
import sys
sys.modules["batchscope"] = None
import pickle, torch
model = pickle.load(open({str(tmp_path / "model.pickle")!r}, "rb"))
assert model(torch.ones(2, 5)).shape == (2, 3)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
