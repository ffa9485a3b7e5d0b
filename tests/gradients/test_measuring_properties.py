"""Exact values, invariances, mixed precision and samples: what must hold whatever the model."""

import copy
import gc
import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from batchscope.gradients import measure, oracle, per_example_sq_norms
from batchscope.gradients.measurement import Measurement, MeasureOptions
from batchscope.gradients.subject.batches import make_batch
from tests.gradients.gradient_models import GPT, ResNet, squared_error, token_loss


def linear_loss(outputs, targets):
    """Loss <output, target>: its gradient with respect to the output is the target."""
    return (outputs * targets).sum(1)


def bias_only(size):
    model = nn.Linear(2, size).double()
    model.weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("n", [2, 5, 11])
def test_equal_gradients_give_one_and_orthonormal_ones_give_n(n):
    inputs = torch.randn(n, 2).double()
    equal = measure(bias_only(n), linear_loss, (inputs, torch.ones(n, n).double()))
    assert equal.batch_size_bound == pytest.approx(1, abs=1e-12)
    assert equal.gradient_diversity == pytest.approx(1 / n, abs=1e-12)
    orthonormal = measure(bias_only(n), linear_loss, (inputs, torch.eye(n).double()))
    assert orthonormal.batch_size_bound == pytest.approx(n, abs=1e-12)
    assert orthonormal.gradient_diversity == pytest.approx(1, abs=1e-12)


def test_cancelling_gradients_have_no_finite_bound():
    targets = torch.tensor([[1.0, 0], [-1, 0]]).double()
    assert measure(bias_only(2), linear_loss, (torch.zeros(2, 2).double(), targets)).batch_size_bound == math.inf


def example(n=11):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    return model, torch.randn(n, 5).double(), torch.randint(0, 3, (n,))


def numbers(report):
    return report.num_examples, report.sum_sq_norms, report.sq_norm_sum


def test_bound_is_one_plus_the_noise_scale_per_parameter_and_totals_add_up():
    model, x, y = example()
    report = measure(model, F.cross_entropy, (x, y))
    for moments in (report, report.total, *report.by_module.values(), *report.by_parameter.values()):
        assert moments.batch_size_bound == pytest.approx(1 + moments.simple_noise_scale, rel=1e-12)
    for parts in (report.by_module, report.by_parameter):
        assert report.sum_sq_norms == pytest.approx(sum(m.sum_sq_norms for m in parts.values()), rel=1e-12)
        assert report.sq_norm_sum == pytest.approx(sum(m.sq_norm_sum for m in parts.values()), rel=1e-12)


@settings(max_examples=20)
@given(st.permutations(range(11)), st.integers(1, 11))
def test_order_and_batch_split_do_not_matter(order, batch_size):
    model, x, y = example()
    report = measure(model, F.cross_entropy, (x, y))
    other = measure(model, F.cross_entropy, (x[order], y[order]), batch_size=batch_size)
    assert numbers(other) == pytest.approx(numbers(report), rel=1e-10)


@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_scaling_the_loss_scales_the_moments_and_not_the_bound(scale):
    model, x, _ = example()
    report = measure(model, squared_error, (x, torch.zeros(11, 3).double()))
    scaled = measure(model, lambda out, t: scale * squared_error(out, t), (x, torch.zeros(11, 3).double()))
    assert scaled.sum_sq_norms == pytest.approx(scale**2 * report.sum_sq_norms, rel=1e-10)
    assert scaled.batch_size_bound == pytest.approx(report.batch_size_bound, rel=1e-10)


@pytest.mark.parametrize("times", [2, 3])
def test_repeating_the_data_keeps_the_bound(times):
    model, x, y = example()
    report = measure(model, F.cross_entropy, (x, y))
    repeated = measure(model, F.cross_entropy, [(x, y)] * times)
    assert repeated.num_examples == times * 11
    assert repeated.sum_sq_norms == pytest.approx(times * report.sum_sq_norms, rel=1e-12)
    assert repeated.batch_size_bound == pytest.approx(report.batch_size_bound, rel=1e-12)


class Stream(IterableDataset):
    """One example after another."""

    def __init__(self, x, y):
        self.pairs = list(zip(x, y, strict=True))

    def __iter__(self):
        return iter(self.pairs)


def test_data_may_come_in_any_form():
    model, x, y = example()
    report = measure(model, F.cross_entropy, (x, y))
    forms = [[(x[:3], y[:3]), (x[3:], y[3:])], DataLoader(TensorDataset(x, y), 4), TensorDataset(x, y)]
    forms += [(x.numpy(), y.numpy()), [((x,), y)], iter([(x, y)]), Stream(x, y), DataLoader(Stream(x, y), 4)]
    for data in forms:
        assert numbers(measure(model, F.cross_entropy, data)) == pytest.approx(numbers(report), rel=1e-10)
    single = model[0]
    targets = torch.zeros(11, 7).double()
    named = measure(single, squared_error, [({"input": x}, targets)])
    assert numbers(named) == pytest.approx(numbers(measure(single, squared_error, (x, targets))), rel=1e-12)


def test_a_sample_gives_an_interval_that_holds_the_bound_of_the_population():
    torch.manual_seed(0)
    model = nn.Linear(5, 3).double()
    x, y = torch.randn(600, 5).double(), torch.randint(0, 3, (600,))
    whole = measure(model, F.cross_entropy, (x, y))
    assert whole.interval is None
    sample = measure(model, F.cross_entropy, (x[:300], y[:300]), population=600)
    low, high = sample.interval
    assert low < whole.batch_size_bound < high
    assert measure(model, F.cross_entropy, (x, y), population=600).interval is None
    low, high = measure(model, F.cross_entropy, (x[:40], y[:40]), population=math.inf).interval
    assert low < high


MODELS = {
    "resnet": lambda: (ResNet((8, 16), 1, lambda c: nn.GroupNorm(4, c), 5), torch.randn(7, 3, 9, 9)),
    "gpt": lambda: (GPT(13, 11, 16, 2, 2, tied=True, conv1d=True), torch.randint(0, 13, (7, 11))),
}


@pytest.mark.parametrize("name", MODELS)
def test_float32_agrees_with_float64(name):
    torch.manual_seed(0)
    model, x = MODELS[name]()
    y = x if name == "gpt" else torch.randint(0, 5, (7,))
    loss = token_loss if name == "gpt" else F.cross_entropy
    single = per_example_sq_norms(model, loss, x, y)
    assert single.dtype == torch.float32
    wide = x.double() if x.is_floating_point() else x
    double = per_example_sq_norms(copy.deepcopy(model).double(), loss, wide, y)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_under_bfloat16_autocast_norms_are_float32(name):
    torch.manual_seed(0)
    model, x = MODELS[name]()
    y = x if name == "gpt" else torch.randint(0, 5, (7,))
    loss = token_loss if name == "gpt" else F.cross_entropy
    exact = per_example_sq_norms(model, loss, x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = per_example_sq_norms(model, loss, x, y)
        report = measure(model, loss, (x, y))
        gradients = oracle.per_example_gradients(model, loss, x, y)
    assert found.dtype == torch.float32
    assert not report.coverage.fallbacks
    # bfloat16 keeps 8 bits: 0.4 % per rounding, a few per cent after the depth of the network.
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0)
    rounded = sum(g.float().flatten(1).square().sum(1) for g in gradients.values())
    torch.testing.assert_close(found, rounded, rtol=0.02, atol=0)


def test_half_precision_parameters_do_not_overflow():
    model = nn.Linear(5, 3).to(torch.bfloat16)
    x = torch.full((7, 5), 3e18, dtype=torch.bfloat16)  # squares reach 1e37 and sums of them leave bfloat16's digits
    norms = per_example_sq_norms(model, linear_loss, x, torch.ones(7, 3, dtype=torch.bfloat16))
    truth = 3 * 5 * float(x[0, 0].float()) ** 2 + 3
    torch.testing.assert_close(norms, torch.full((7,), truth), rtol=1e-5, atol=0)


def test_a_batch_leaves_no_garbage_behind():
    """Gradients of the last batch, still alive while the next is measured, would be memory for nothing."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.LayerNorm(36), nn.Linear(36, 3))
    measurement = Measurement(model, nn.CrossEntropyLoss(), MeasureOptions())
    batch = make_batch(torch.randn(7, 2, 5, 5), torch.arange(7) % 3, torch.device("cpu"))
    with measurement.running():
        measurement.results(batch)  # the first batch is traced and audited besides
        gc.disable()
        try:
            alive = [weakref.ref(result.grad_sum) for result in measurement.results(batch).values()]
            assert not any(reference() is not None for reference in alive)
        finally:
            gc.enable()
