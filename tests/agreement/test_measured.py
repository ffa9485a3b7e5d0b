"""Closed forms against `bs.measure`: networks and data drawn, gradient diversity measured by the library itself.

The one place where theory and measurement meet. The estimate is the ratio of means n·mean(S1)/mean(Q) over independent
networks, with its standard error by the delta method; it has to be within 4 of them, and they have to be small.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import batchscope as bs
from batchscope.theory import chen2018
from batchscope.theory.network import layer_variances


def half_squared_error(outputs, targets):
    return 0.5 * ((outputs - targets) ** 2).sum(dim=-1)


def network(rng, widths, scale, bias, activation=None):
    """nn.Sequential in float64 with Gaussian weights of the given scale and zero biases."""
    layers = []
    variances = layer_variances(widths, scale)
    for number, ((fan_in, out), variance) in enumerate(zip(itertools.pairwise(widths), variances, strict=True)):
        layer = nn.Linear(fan_in, out, bias=bias, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(math.sqrt(variance) * rng.standard_normal((out, fan_in))))
            if bias:
                layer.bias.zero_()
        layers += [layer] if activation is None or number == len(widths) - 2 else [layer, activation()]
    return nn.Sequential(*layers)


def measure(rng, widths, n, student="standard_normal", teacher=None, bias=False, noise=0.0, activation=None):
    """`bs.measure` of one random student on one random data set labelled by one random teacher."""
    model = network(rng, widths, student, bias, activation)
    x = torch.from_numpy(rng.standard_normal((n, widths[0])))
    with torch.no_grad():
        y = network(rng, widths, student if teacher is None else teacher, False, activation)(x)
    y = y + noise * torch.from_numpy(rng.standard_normal(tuple(y.shape)))
    return bs.measure(model, half_squared_error, (x, y))


def ratio_of_means(S1, Q, n):
    S1, Q = np.asarray(S1), np.asarray(Q)
    residual = S1 / S1.mean() - Q / Q.mean()
    rho = n * S1.mean() / Q.mean()
    return rho, rho * residual.std(ddof=1) / math.sqrt(len(S1))


def agree(found, error, exact, precision=0.04):
    assert error < precision * exact
    assert abs(found - exact) < 4 * error


CONFIGURATIONS = [
    ((23, 1), 53, {}),
    ((23, 41, 1), 101, {}),
    ((23, 83, 1), 101, {}),
    ((23, 167, 1), 101, {}),
    ((31, 53, 59, 1), 67, {}),
    ((31, 101, 97, 103, 1), 67, {}),
    ((19, 71, 5), 101, {}),
    ((19, 61, 67, 3), 53, {}),
    ((23, 41, 1), 101, {"student": "fan_in"}),
    ((31, 53, 59, 1), 67, {"student": "he"}),
    ((31, 53, 59, 1), 67, {"student": "glorot", "teacher": "he"}),
    ((23, 41, 1), 101, {"bias": True}),
    ((19, 61, 3), 53, {"bias": True, "student": "glorot", "noise": 2.0}),
    ((23, 41, 1), 101, {"noise": 11.0}),
]


@pytest.mark.parametrize(("widths", "n", "options"), CONFIGURATIONS, ids=str)
def test_linear_networks_measure_what_the_closed_form_says(widths, n, options):
    rng = np.random.default_rng([41, *widths, n])
    reports = [measure(rng, widths, n, **options) for _ in range(80)]
    exact = chen2018.diversity_ratio(
        widths,
        n,
        options.get("student", "standard_normal"),
        options.get("teacher"),
        options.get("bias", False),
        options.get("noise", 0.0),
    )
    found, error = ratio_of_means([r.sum_sq_norms for r in reports], [r.sq_norm_sum for r in reports], n)
    agree(found, error, exact)


def test_each_layer_measures_what_the_closed_form_says():
    widths, n, bias, rng = (31, 53, 59, 2), 67, True, np.random.default_rng(43)
    reports = [measure(rng, widths, n, "he", bias=bias) for _ in range(120)]
    exact = chen2018.layer_ratios(widths, n, "he", bias=bias)
    shares = chen2018.layer_shares(widths, "he", bias=bias)
    totals = np.array([r.sum_sq_norms for r in reports])
    for layer, (ratio, share) in enumerate(zip(exact, shares, strict=True)):
        modules = [r.by_module[str(layer)] for r in reports]
        S1, Q = (np.array([getattr(m, name) for m in modules]) for name in ("sum_sq_norms", "sq_norm_sum"))
        agree(*ratio_of_means(S1, Q, n), ratio)
        found, error = ratio_of_means(S1, totals, 1)
        agree(found, error, share)


@pytest.mark.parametrize(
    ("name", "activation", "d", "K"),
    [
        ("tanh", nn.Tanh, 19, 31),
        ("softsign", nn.Softsign, 19, 31),
        ("relu", nn.ReLU, 17, 101),
        ("tanh", nn.Tanh, 5, 41),
    ],
)
def test_two_layer_nonlinear_networks_measure_what_the_series_says(name, activation, d, K):
    n, rng = 71, np.random.default_rng([47, d, K])
    reports = [measure(rng, (d, K, 1), n, activation=activation) for _ in range(120)]
    found, error = ratio_of_means([r.sum_sq_norms for r in reports], [r.sq_norm_sum for r in reports], n)
    agree(found, error, chen2018.two_layer_ratio(name, K, d, n), precision=0.06)


def test_fixed_weights_measure_the_limit_that_needs_no_data():
    """B_S of one network on many examples, corrected for n, against `limit_given_weights`."""
    rng = np.random.default_rng(53)
    widths, n = (7, 5, 3, 1), 40_000
    student, teacher = network(rng, widths, 1, False), network(rng, widths, 1, False)
    x = torch.from_numpy(rng.standard_normal((n, 7)))
    with torch.no_grad():
        report = bs.measure(student, half_squared_error, (x, teacher(x)))
        weights = [layer.weight.numpy() for layer in student]
        target = np.linalg.multi_dot([layer.weight.numpy() for layer in teacher][::-1])
    measured = bs.theory.yin2018.limit_from(report.batch_size_bound, n)
    assert measured == pytest.approx(chen2018.limit_given_weights(weights, target), rel=0.05)
