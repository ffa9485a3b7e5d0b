"""Closed forms against sampled networks: weights, teacher and data drawn, gradients written out, in float64.

Tolerances are 4 standard errors, and each test also demands that the standard error be small enough to see an error
of a few percent. Narrow deep nets are left to quadrature: their summands are too heavy-tailed to sample.
"""

import itertools
import math

import numpy as np
import pytest

from batchscope.theory import chen2018
from batchscope.theory.activations import activation_named
from batchscope.theory.network import layer_variances


def sample_sums(rng, widths, n, student, teacher, bias, noise):
    """(Σ‖g_i‖², ‖Σg_i‖²) of one random network, teacher and data set."""
    shapes = [(out, fan_in) for fan_in, out in itertools.pairwise(widths)]

    def draw(scale):
        variances = layer_variances(widths, scale)
        return [math.sqrt(v) * rng.standard_normal(shape) for v, shape in zip(variances, shapes, strict=True)]

    weights, x = draw(student), rng.standard_normal((n, widths[0]))
    target = x
    for matrix in draw(teacher):
        target = target @ matrix.T
    below = [x]
    for matrix in weights:
        below.append(below[-1] @ matrix.T)
    delta = below.pop() - target - noise * rng.standard_normal((n, widths[-1]))
    S1 = Q = 0.0
    for matrix, activation in zip(reversed(weights), reversed(below), strict=True):
        size = np.sum(delta**2, axis=1)
        S1 += size @ (np.sum(activation**2, axis=1) + bias)
        Q += np.sum((delta.T @ activation) ** 2) + bias * np.sum(delta.sum(axis=0) ** 2)
        delta = delta @ matrix
    return S1, Q


def ratio_of_means(samples, n):
    """n mean(S1)/mean(Q) and its standard error by the delta method."""
    S1, Q = np.asarray(samples).T
    rho = n * S1.mean() / Q.mean()
    residual = S1 / S1.mean() - Q / Q.mean()
    return rho, rho * residual.std(ddof=1) / math.sqrt(len(S1))


CONFIGURATIONS = [
    ((23, 101, 1), 200, {}),
    ((53, 31, 1), 100, {}),
    ((31, 59, 1), 17, {}),
    ((31, 61, 67, 1), 101, {}),
    ((47, 101, 103, 97, 1), 150, {}),
    ((23, 101, 5), 101, {}),
    ((29, 53, 47, 7), 101, {}),
    ((53, 31, 1), 101, {"student": "fan_in"}),
    ((31, 61, 67, 1), 101, {"student": "he"}),
    ((31, 61, 67, 1), 101, {"student": "glorot", "teacher": "he"}),
    ((37, 71, 3), 101, {"student": "glorot", "bias": True}),
    ((31, 61, 67, 1), 101, {"student": "fan_in", "noise": 2.0}),
    ((29, 53, 1), 101, {"bias": True, "noise": 5.0, "student": "he"}),
]


@pytest.mark.parametrize(("widths", "n", "options"), CONFIGURATIONS, ids=str)
def test_closed_form_agrees_with_sampled_networks(widths, n, options):
    settings = {"student": "standard_normal", "bias": False, "noise": 0.0} | options
    settings.setdefault("teacher", settings["student"])
    rng = np.random.default_rng([2018, *widths, n])
    samples = [sample_sums(rng, widths, n, **settings) for _ in range(400)]
    found, error = ratio_of_means(samples, n)
    exact = chen2018.diversity_ratio(
        widths, n, settings["student"], settings["teacher"], settings["bias"], settings["noise"]
    )
    assert error < 0.03 * exact
    assert abs(found - exact) < 4 * error
    means, errors = np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / math.sqrt(len(samples))
    moments = chen2018.expected_moments(
        widths, n, settings["student"], settings["teacher"], settings["bias"], settings["noise"]
    )
    assert (np.abs(means - [float(moment) for moment in moments]) < 4 * errors).all()


@pytest.mark.parametrize("activation", ["tanh", "softsign", "relu", "linear"])
def test_theorem2s_conditional_average_agrees_with_sampled_output_layers(activation):
    rng = np.random.default_rng(17)
    K, d, n, draws, std = 5, 3, 7, 20_000, 1.3
    sigma = activation_named(activation)
    weight, teacher, x = rng.standard_normal((K, d)), rng.standard_normal((K + 2, d)), rng.standard_normal((n, d))
    z = x @ weight.T
    h, D, h_ = sigma.value(z), sigma.derivative(z), sigma.value(x @ teacher.T)
    W2, W2_ = std * rng.standard_normal((draws, K)), std * rng.standard_normal((draws, K + 2))
    r = W2 @ h.T - W2_ @ h_.T
    g1 = np.einsum("sn,sk,nk,nd->snkd", r, W2, D, x, optimize=True).reshape(draws, n, K * d)
    g = np.concatenate([g1, r[:, :, None] * h], axis=2)
    samples = np.stack([np.sum(g**2, axis=(1, 2)), np.sum(g.sum(axis=1) ** 2, axis=1)], axis=1)
    exact = chen2018.theorem2_conditional_moments(activation, weight, teacher, x, std)
    means, errors = samples.mean(axis=0), samples.std(axis=0, ddof=1) / math.sqrt(draws)
    assert (errors < 0.02 * means).all()
    assert (np.abs(means - exact) < 4 * errors).all()
    rho, error = ratio_of_means(samples, n)
    assert abs(chen2018.theorem2_conditional_ratio(activation, weight, teacher, x, std) - rho) < 4 * error


@pytest.mark.parametrize(
    ("activation", "d", "K", "n", "spread"), [("tanh", 100, 1000, 1000, 0.02), ("relu", 300, 64, 1500, 0.02)]
)
def test_the_full_average_agrees_with_theorem2s_conditional_one_in_wide_networks(activation, d, K, n, spread):
    """Averaging the conditional moments over W1, W1* and X gives the full average, which never saw a sample."""
    rng = np.random.default_rng([3, d, K])
    draws = [
        chen2018.theorem2_conditional_moments(
            activation, rng.standard_normal((K, d)), rng.standard_normal((K, d)), rng.standard_normal((n, d))
        )
        for _ in range(4)
    ]
    found, error = ratio_of_means(draws, n)
    exact = chen2018.two_layer_ratio(activation, K, d, n)
    assert abs(found - exact) < max(5 * error, spread / 4 * exact)
    assert error < spread * exact


def test_one_unit_saturates_as_the_theory_says_and_not_as_theorem_2_does():
    """tanh, K = 1, d = 10⁴, n = 500: the conditional ratio scatters about the exact value, far below Kd²/(Kd+K+d)."""
    rng = np.random.default_rng(29)
    d, n = 10_000, 500
    x = rng.standard_normal((n, d))
    found = [
        chen2018.theorem2_conditional_ratio("tanh", rng.standard_normal((1, d)), rng.standard_normal((1, d)), x)
        for _ in range(8)
    ]
    exact = chen2018.two_layer_ratio("tanh", 1, d, n)
    assert 0.6 * exact < np.median(found) < 1.6 * exact
    assert max(found) < chen2018.theorem2_form(1, d) / 20


@pytest.mark.parametrize(("d", "K", "L", "low", "high"), [(50, 100, 2, 1.0, 1.03), (23, 20, 5, 1.15, 1.45)])
def test_the_average_bound_exceeds_the_ratio_of_averages(d, K, L, low, high):
    """E[B_S] over weights, from `limit_given_weights`, against rho(∞): near in wide nets, far in deep ones."""
    rng = np.random.default_rng([7, d, K, L])
    widths = (d, *[K] * (L - 1), 1)
    shapes = [(out, fan_in) for fan_in, out in itertools.pairwise(widths)]
    bounds = []
    for _ in range(2000):
        student, teacher = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
        bounds.append(chen2018.limit_given_weights(student, np.linalg.multi_dot(teacher[::-1])))
    assert low < np.mean(bounds) / chen2018.diversity_ratio(widths) < high
    assert np.mean(np.array(bounds) < chen2018.theorem3_bound(widths)) < 0.002
