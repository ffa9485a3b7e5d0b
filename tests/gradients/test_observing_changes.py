"""What a loop does to `.grad` between its passes and the optimizer: clipping is no matter, an added penalty is said."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from batchscope.gradients import observe
from batchscope.gradients.observing.gradient_changes import MORE_THAN_THE_LOSS, Change, change_of
from tests.gradients.loops import DATA, Recurrent, both, check, cross_entropy, net, plain, truth

pytestmark = pytest.mark.filterwarnings("ignore::batchscope.gradients.ObserveWarning")
MORE = MORE_THAN_THE_LOSS[0]


def penalty(model):
    return 1e-2 * sum(p.square().sum() for p in model.parameters())


def penalty_after(model, x, y):
    plain(model, x, y)
    penalty(model).backward()


def penalty_before(model, x, y):
    penalty(model).backward()
    plain(model, x, y)


def penalty_between(model, x, y):
    loss = cross_entropy(model, x, y)
    penalty(model).backward()
    loss.backward()


def penalty_of_one_layer(model, x, y):
    plain(model, x, y)
    model.get_parameter(next(iter(dict(model.named_parameters())))).square().sum().backward()


def penalty_on_slopes(model, x, y):
    plain(model, x, y)
    points = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
    slope.square().sum().backward()


def decay_by_hand(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        p.grad.add_(p.detach(), alpha=1e-2)


def decay_unseen_by_counters(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        p.grad.data.add_(p.data, alpha=1e-2)


def decay_in_a_new_tensor(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        p.grad = p.grad + 1e-2 * p.detach()


def noise(model, x, y):
    plain(model, x, y)
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.grad += 1e-2 * torch.randn(p.shape, generator=generator)


def one_layer_zero(model, x, y):
    plain(model, x, y)
    list(model.parameters())[-2].grad.zero_()


def one_layer_none(model, x, y):
    plain(model, x, y)
    list(model.parameters())[-2].grad = None


def micro_batches(model, x, y):
    for part, labels in zip(x.split(2), y.split(2), strict=True):
        (cross_entropy(model, part, labels) / 3).backward()


def micro_batches_and_a_penalty(model, x, y):
    micro_batches(model, x, y)
    penalty(model).backward()


def a_penalty_among_micro_batches(model, x, y):
    for part, labels in zip(x.split(2), y.split(2), strict=True):
        (cross_entropy(model, part, labels) / 3).backward()
        (penalty(model) / 3).backward()


ADD = [
    penalty_after, penalty_before, penalty_between, penalty_of_one_layer, penalty_on_slopes, decay_by_hand,
    decay_unseen_by_counters, decay_in_a_new_tensor, noise, one_layer_zero, one_layer_none, micro_batches_and_a_penalty,
    a_penalty_among_micro_batches,
]  # fmt: skip


@pytest.mark.parametrize("build", [net, Recurrent], ids=["inside", "second pass"])
@pytest.mark.parametrize("step", ADD, ids=lambda step: step.__name__)
def test_what_is_added_is_said_and_no_part_of_the_moments(step, build):
    observed = both(build, step, audit_every=1)
    assert [(note.step, note.reason, note.times) for note in observed.notes] == [(0, MORE, 3)]


@pytest.mark.parametrize("step", [step for step in ADD if step is not decay_unseen_by_counters])
def test_what_is_added_on_steps_that_are_not_audited_is_said(step):
    """The first step is audited and has nothing more, as with penalties that come every so many steps."""
    count = [0]

    def lazily(model, x, y):
        count[0] += 1
        (step if count[0] % len(DATA) == 4 else micro_batches if "micro" in step.__name__ else plain)(model, x, y)

    observed = both(net, lazily, data=DATA)
    assert [(note.step, note.reason, note.times) for note in observed.notes] == [(3, MORE, 1)]


def clip(model, x, y):
    plain(model, x, y)
    clip_grad_norm_(model.parameters(), 1e-2)


def clip_one_by_one(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        clip_grad_norm_([p], 1e-2)


def clip_layers(model, x, y):
    plain(model, x, y)
    layers = [child for child in model.children() if list(child.parameters())]
    for bound, layer in enumerate(layers, 1):
        clip_grad_norm_(layer.parameters(), 1e-2 * bound)


def clip_entries(model, x, y):
    plain(model, x, y)
    clip_grad_value_(model.parameters(), 1e-2)


def clip_units(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        norms = p.grad.norm(dim=1, keepdim=True) if p.ndim > 1 else p.grad.norm()
        p.grad.mul_((1e-2 / norms).clamp(max=1))


def clip_accumulated(model, x, y):
    micro_batches(model, x, y)
    clip_grad_norm_(model.parameters(), 1e-2)


def turn_round(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        p.grad.neg_()


def clip_in_a_new_tensor(model, x, y):
    plain(model, x, y)
    for p in model.parameters():
        p.grad = 0.5 * p.grad


def zeros_that_are_left(model, x, y):
    plain(model, x, y)
    left = [p.grad.clone() for p in model.parameters()]
    for p, gradient in zip(model.parameters(), left, strict=True):
        p.grad = gradient
    model.zero_grad(set_to_none=False)
    plain(model, x, y)


EXPLAINED = [
    plain, micro_batches, clip, clip_one_by_one, clip_layers, clip_entries, clip_units, clip_accumulated, turn_round,
    clip_in_a_new_tensor, zeros_that_are_left,
]  # fmt: skip


@pytest.mark.parametrize("audit_every", [1, 50])
@pytest.mark.parametrize("build", [net, Recurrent], ids=["inside", "second pass"])
@pytest.mark.parametrize("step", EXPLAINED, ids=lambda step: step.__name__)
def test_clipping_and_accumulation_are_no_matter(step, build, audit_every):
    assert not both(build, step, data=DATA, audit_every=audit_every).notes


@pytest.mark.parametrize("add", [False, True], ids=["plain", "penalty"])
@pytest.mark.parametrize("told", [False, True], ids=["found", "given"])
@pytest.mark.parametrize("to_none", [False, True], ids=["zeros", "none"])
@pytest.mark.parametrize("clips", [False, True], ids=["free", "clipped"])
def test_scaled_half_precision_loops(add, told, to_none, clips):
    """autocast, GradScaler and clipping; also where the optimizer shows itself with its first step."""
    torch.manual_seed(0)
    model, scaler = net(), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    with observe(model, optimizer=optimizer if told else None) as observed:
        for x, y in DATA:
            with torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(model, x, y)
            scaler.scale(loss).backward()
            if add:
                scaler.scale(penalty(model)).backward()
            if clips:
                scaler.unscale_(optimizer)
                clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=to_none)
    assert list(observed.history) == list(range(5))
    assert (MORE in [note.reason for note in observed.notes]) is add


def test_weights_of_half_precision():
    model = net().bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        for x, y in DATA:
            for part, labels in zip(x.bfloat16().split(3), y.split(3), strict=True):
                (cross_entropy(model, part, labels) / 2).backward()
            clip_grad_norm_(model.parameters(), 0.01)
            optimizer.step()
            optimizer.zero_grad()
    assert MORE not in [note.reason for note in observed.notes]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.LBFGS])
@pytest.mark.parametrize("add", [False, True], ids=["plain", "penalty"])
def test_closures(kind, add):
    """Behind a closure `.grad` may be another point's, or written by the optimizer: only passes are looked at."""
    options = {"momentum": 0.9, "nesterov": True} if kind is torch.optim.SGD else {}
    torch.manual_seed(0)
    model = net()
    optimizer = kind(model.parameters(), lr=0.1, **options)
    right = {}
    with observe(model, optimizer=optimizer, audit_every=2) as observed:
        for k, (x, y) in enumerate(DATA):
            right[k] = truth(model, cross_entropy, x, y)

            def closure(x=x, y=y):
                optimizer.zero_grad()
                plain(model, x, y)
                if add:
                    penalty(model).backward()
                return penalty(model)

            optimizer.step(closure)
    check(observed, right)
    assert [(note.reason, note.times) for note in observed.notes] == ([(MORE, 3)] if add else [])


@pytest.mark.parametrize("add", [False, True], ids=["plain", "penalty"])
def test_what_is_there_before_the_first_pass_of_a_closure(add):
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with observe(model, optimizer=optimizer) as observed:
        for x, y in DATA[:2]:

            def closure(x=x, y=y):
                optimizer.zero_grad(set_to_none=False)
                if add:
                    penalty(model).backward()
                plain(model, x, y)
                return penalty(model)

            optimizer.step(closure)
    assert [note.reason for note in observed.notes] == [MORE] * add


@pytest.mark.parametrize("add", [False, True], ids=["plain", "penalty"])
def test_uneven_clipping_between_audits_hides_no_backward_pass_of_its_own(add):
    count = [0]

    def step(model, x, y):
        micro_batches(model, x, y)
        count[0] += 1
        if add and count[0] % len(DATA) != 1:  # the first step has nothing more
            penalty(model).backward()
        clip_grad_value_(model.parameters(), 1e-2)

    observed = both(net, step, data=DATA)
    assert [note.reason for note in observed.notes] == [MORE] * add


def test_the_other_optimizers_parameters_are_its_own_business():
    """One that steps first, adds momentum to `.grad` in place and empties it."""
    torch.manual_seed(0)
    model = net()
    other = torch.optim.SGD(model[0].parameters(), 0.1, momentum=0.9, nesterov=True)
    optimizer = torch.optim.SGD(model[2].parameters(), 0.1)
    right = {}
    with observe(model, optimizer=optimizer, audit_every=2) as observed:
        for k, (x, y) in enumerate(DATA):
            right[k] = truth(model, cross_entropy, x, y)
            plain(model, x, y)
            other.step()
            optimizer.step()
            model.zero_grad()
    check(observed, right)
    assert not observed.notes


def test_micro_batches_of_unequal_scale():
    """Means over unequal numbers of tokens: the sum in `.grad` weighs them otherwise than the moments do."""

    def run(add):
        torch.manual_seed(0)
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with observe(model, optimizer=optimizer) as observed:
            for x, y in DATA:
                for part, labels in zip(x.split(4), y.split(4), strict=True):
                    plain(model, part, labels)
                if add:
                    penalty(model).backward()
                clip_grad_norm_(model.parameters(), 0.01)
                optimizer.step()
                optimizer.zero_grad()
        return [note.reason for note in observed.notes]

    assert not run(add=False)
    assert run(add=True) == [MORE]


G = {"weight": torch.randn(4, 3, generator=torch.Generator().manual_seed(2)), "scale": torch.tensor(0.7)}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda name, g: 0.3 * g, Change.COMMON),
        (lambda name, g: g.clamp(-0.5, 0.5), Change.UNEVEN),
        (lambda name, g: (0.3 * g).clamp(-0.1, 0.1), Change.UNEVEN),
        (lambda name, g: g * torch.tensor([[1.0], [0.1], [2.0], [0.5]]) if name == "weight" else g, Change.UNEVEN),
        (lambda name, g: g + 1e-3, Change.MORE),
        (lambda name, g: g + 0.1 if name == "scale" else g, Change.MORE),
        (lambda name, g: 0 * g, Change.MORE),
        (lambda name, g: None, Change.MORE),
        (lambda name, g: -g.clamp(-0.5, 0.5) + g, Change.MORE),
        (lambda name, g: g * torch.tensor([[1.0], [0.0], [2.0], [0.5]]) if name == "weight" else g, Change.MORE),
        (lambda name, g: g.abs(), Change.MORE),
        (lambda name, g: g * float("nan"), Change.MORE),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_changes(change, found, dtype):
    before = {name: g.to(dtype) for name, g in G.items()}
    after = {}
    for name, g in G.items():
        changed = change(name, g)
        after[name] = None if changed is None else changed.to(dtype)
    assert change_of(after, before) is found
    assert change_of({"other": None, **after}, before) is found


def test_parameters_that_no_pass_reached():
    assert change_of({"a": torch.zeros(3), "b": None}, {}) is Change.COMMON
    assert change_of({"a": torch.ones(3)}, {}) is Change.MORE


def test_sparse_and_complex_gradients():
    turned = torch.randn(4, 2, dtype=torch.complex64)
    assert change_of({"a": 0.5 * turned}, {"a": turned}) is Change.COMMON
    assert change_of({"a": 1j * turned}, {"a": turned}) is Change.MORE
    before = torch.zeros(5, 3).index_fill_(0, torch.tensor([1, 3]), 2.0)
    assert change_of({"table": 0.5 * before.to_sparse(1)}, {"table": before}) is Change.COMMON
    assert change_of({"table": before.to_sparse(1)}, {"table": before + 1}) is Change.MORE


def test_a_second_loss_through_a_part_of_the_model():
    """A call of a layer alone is none of the model's."""

    def step(model, x, y):
        plain(model, x, y)
        F.mse_loss(model[0](x), x.new_zeros(len(x), 8)).backward()

    assert [note.reason for note in both(net, step).notes] == [MORE]


def test_one_parameter_alone_is_told_by_its_entries():
    observed = both(lambda: nn.Linear(5, 3, bias=False), decay_by_hand, audit_every=2)
    assert [(note.reason, note.times) for note in observed.notes] == [(MORE, 2)]
