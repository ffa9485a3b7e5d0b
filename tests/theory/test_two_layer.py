"""Theorem 2's full average: known values, its two methods against each other, closed forms, asymptotics."""

import itertools
import math

import numpy as np
import pytest

from batchscope.theory import chen2018, linear, two_layer
from batchscope.theory.activations import ACTIVATIONS, activation_named
from batchscope.theory.chen2018 import theorem2_form, two_layer_ratio

WIDTHS = (1, 4, 16, 64, 256, 1024, 16384)
SMOOTH_ODD = ("tanh", "arctan", "erf")


@pytest.mark.parametrize(
    ("activation", "rho"), [("relu", 13.966856865), ("tanh", 32.257977755), ("softsign", 25.281412121)]
)
def test_known_values_at_20_inputs_and_8_units(activation, rho):
    assert two_layer_ratio(activation, 8, 20) == pytest.approx(rho, abs=1e-9)


TABLE = {  # N(0, 1) weights: rho(∞) at K = 1, 4, 16, 64, 256, 1024, 16384
    ("tanh", 10): (5.306, 12.76, 19.21, 21.95, 22.76, 22.98, 23.04),
    ("tanh", 100): (11.45, 48.85, 165.4, 389.9, 587.8, 673, 704.9),
    ("tanh", 1000): (29.86, 138.6, 562.5, 2102, 6503, 13610, 20660),
    ("tanh", 10**4): (88.04, 415.5, 1722, 6898, 26810, 95700, 483900),
    ("tanh", 10**5): (272.1, 1290, 5360, 21620, 86430, 341600, 4.387e6),
    ("softsign", 100): (7.633, 34.35, 113.7, 251.9, 359.8, 402.8, 418.4),
    ("arctan", 100): (7.377, 31.83, 104.9, 233.4, 335.2, 376, 390.9),
    ("erf", 100): (13.39, 56.51, 191.6, 455.6, 692.2, 795.2, 834),
    ("relu", 10): (10.03, 11.47, 12.86, 13.49, 13.69, 13.74, 13.76),
    ("relu", 100): (12.33, 14.66, 17.12, 18.32, 18.69, 18.79, 18.82),
    ("relu", 1000): (12.67, 15.15, 17.79, 19.09, 19.50, 19.61, 19.64),
    ("relu", 10**5): (12.71, 15.21, 17.87, 19.18, 19.59, 19.70, 19.74),
}


@pytest.mark.parametrize(("activation", "d"), TABLE)
def test_table_for_standard_normal_weights(activation, d):
    found = [two_layer_ratio(activation, K, d) for K in WIDTHS]
    assert found == pytest.approx(TABLE[activation, d], rel=6e-4)


@pytest.mark.parametrize(("activation", "rho"), [("softsign", 115.1), ("arctan", 116.7), ("erf", 334.9)])
def test_one_unit_and_very_many_inputs(activation, rho):
    assert two_layer_ratio(activation, 1, 10**5) == pytest.approx(rho, rel=5e-4)


@pytest.mark.parametrize(
    ("activation", "least", "most"),
    [("tanh", 1.36, 2.28), ("softsign", 1.44, 2.19), ("arctan", 1.22, 2.06), ("erf", 1.47, 2.45), ("relu", 2.2, 4.1)],
)
def test_theorem2_shape_holds_when_the_first_layer_is_scaled_by_its_fan_in(activation, least, most):
    ratios = [
        two_layer_ratio(activation, K, d, weight_std=(d**-0.5, 1)) / theorem2_form(K, d)
        for d in (10, 100, 1000, 10**4, 10**5)
        for K in (1, 64, 16384)
    ]
    assert min(ratios) >= least - 0.03
    assert max(ratios) <= most + 0.03


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("tanh", (105.2, 91.8, 90.5, 95.3, 104.7, 111.8, 115.4)),
        ("erf", (115.1, 98.0, 95.9, 100.4, 109.2, 116.0, 119.5)),
        ("relu", (161, 110, 53.2, 23.1, 13.3, 10.6, 9.8)),
    ],
)
def test_under_fan_in_width_is_not_monotone_and_lowers_the_ratio_of_relu(activation, expected):
    assert [two_layer_ratio(activation, K, 100, weight_std="fan_in") for K in WIDTHS] == pytest.approx(
        expected, rel=4e-3
    )


@pytest.mark.parametrize("d", [1, 2, 3, 7, 20, 101])
@pytest.mark.parametrize("std", [(1, 1), (3, 2), "he"])
def test_linear_is_the_deep_linear_closed_form(d, std):
    layers = two_layer.two_layer_moments("linear", 5, d, std)
    expected = linear.layer_moments(linear.LinearNetwork.of((d, 5, 1), std))
    for layer, exact in zip(layers, expected, strict=True):
        assert (layer.sq_norm, layer.inner) == pytest.approx((float(exact.sq_norm), float(exact.inner)), rel=1e-12)


@pytest.mark.parametrize(
    ("method", "d"),
    [(two_layer._inner_by_series, d) for d in (2, 8, 11, 53)] + [(two_layer._inner_by_angles, d) for d in (1, 2, 5, 7)],
)
def test_both_methods_reproduce_the_linear_network(method, d):
    K, v1, v2 = 5, 0.7, 1.3
    exact = linear.layer_moments(linear.LinearNetwork.of((d, K, 1), (v1**0.5, v2**0.5)))
    units, scale = np.array([1, 2 * K - 1]), K * np.array([v2 * v2, v2])
    inners, sq_norms = method(ACTIVATIONS["linear"], d, v1), two_layer._sq_norm(ACTIVATIONS["linear"], d, v1)
    assert scale * (inners @ units) == pytest.approx([layer.inner for layer in exact], rel=1e-9)
    assert scale * (sq_norms @ units) == pytest.approx([layer.sq_norm for layer in exact], rel=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "softsign", "arctan", "erf"])
@pytest.mark.parametrize("d", [8, 11])
@pytest.mark.parametrize("variance", [0.25, 1.0])
def test_series_and_angles_agree_where_both_converge(activation, d, variance):
    sigma = activation_named(activation)
    series, angles = (method(sigma, d, variance) for method in (two_layer._inner_by_series, two_layer._inner_by_angles))
    assert series == pytest.approx(angles, rel=1e-7)


@pytest.mark.parametrize("d", [8, 20, 1000])
def test_the_series_has_converged(d):
    sigma = activation_named("softsign")
    twice = two_layer._inner_by_series(sigma, d, 1.0, terms=800)
    assert two_layer._inner_by_series(sigma, d, 1.0) == pytest.approx(twice, rel=3e-8)


@pytest.mark.parametrize("activation", ["tanh", "softsign"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_angles_have_converged(activation, d):
    sigma = activation_named(activation)
    finer = two_layer._inner_by_angles(sigma, d, 1.0, nodes=36)
    assert two_layer._inner_by_angles(sigma, d, 1.0) == pytest.approx(finer, rel=1e-7)


def test_erf_kernel_is_the_arc_sine_kernel():
    """The sum of squares over k that stands for κ² has a closed form for erf; here one (s, s') pair of it."""
    s, s_, c = 1.7, 0.6, 0.43
    x, weights = np.polynomial.hermite_e.hermegauss(120)
    u, v = np.meshgrid(x, x)
    z, z_ = math.sqrt(s) * u, math.sqrt(s_) * (c * u + math.sqrt(1 - c * c) * v)
    erf = activation_named("erf").value
    kappa = np.sum(np.outer(weights, weights) * erf(z) * erf(z_)) / (2 * math.pi)
    t = c * math.sqrt(s * s_)
    assert kappa == pytest.approx(2 / math.pi * math.asin(2 * t / math.sqrt((1 + 2 * s) * (1 + 2 * s_))), rel=1e-10)


def test_relu_is_bounded_whatever_the_sizes():
    one_unit = (1 + 2.5) / (1 / 4 + 1 / (4 * math.pi**2))
    assert one_unit == pytest.approx(12.712, abs=1e-3)
    assert two_layer_ratio("relu", 1, 10**7) == pytest.approx(one_unit, rel=1e-5)
    assert two_layer_ratio("relu", 10**7, 10**7) == pytest.approx(2 * math.pi**2, rel=1e-5)


def test_relu_with_one_input_by_hand():
    """d = 1: θ is 0 or π, so κ0, κ1, κ2 are (½, ½, 3/2) or 0, and E<g,g'> = K (3/2 + 3/2 + (2K-1)(1/4 + 1/4)) / 2."""
    for K in (1, 3):
        expected = 3 * (K + 2.5) / ((3 + (2 * K - 1) / 2) / 2)
        assert two_layer_ratio("relu", K, 1) == pytest.approx(expected, rel=1e-12)


def test_saturation_makes_tanh_grow_like_the_root_of_d_for_one_unit():
    ratio = two_layer_ratio("tanh", 1, 10**6) / two_layer_ratio("tanh", 1, 10**4)
    assert ratio == pytest.approx(10, rel=0.04)
    assert two_layer_ratio("tanh", 1, 10**5) / theorem2_form(1, 10**5) < 0.01  # the Ω fails ...
    assert two_layer_ratio("tanh", 16384, 1000) > 20 * 1000  # ... and so does "never more than d"


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("d", [3, 23])
def test_width_raises_the_ratio_for_standard_normal_weights(activation, d):
    ratios = [two_layer_ratio(activation, K, d) for K in (1, 2, 5, 17, 101)]
    assert ratios == sorted(ratios)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_finite_n(activation):
    limit = two_layer_ratio(activation, 5, 11)
    assert two_layer_ratio(activation, 5, 11, 1) == 1
    assert two_layer_ratio(activation, 5, 11, 97) == pytest.approx(97 * limit / (96 + limit))


def test_odd_activations_really_are_odd_with_the_stated_derivative():
    z, step = np.array([-40.0, -3.0, -0.7, 0.2, 1.1, 40.0]), 1e-6
    for name, sigma in ACTIVATIONS.items():
        if sigma.odd:
            assert sigma.value(-z) == pytest.approx(-sigma.value(z)), name
        slope = (sigma.value(z + step) - sigma.value(z - step)) / (2 * step)
        assert sigma.derivative(z) == pytest.approx(slope, abs=1e-8), name


def test_limit_given_weights_is_the_limit_of_measured_bounds():
    rng = np.random.default_rng(7)
    weights = [rng.standard_normal(shape) for shape in ((5, 3), (2, 5))]
    teacher = rng.standard_normal((2, 3))
    V = weights[1] @ weights[0] - teacher
    x = rng.standard_normal((200_000, 3))
    r = x @ V.T
    first = np.einsum("ni,nj->nij", r @ weights[1], x).reshape(len(x), -1)
    second = np.einsum("ni,nj->nij", r, x @ weights[0].T).reshape(len(x), -1)
    g = np.concatenate([first, second], axis=1)
    measured = np.mean(np.sum(g * g, axis=1)) / np.sum(np.mean(g, axis=0) ** 2)
    assert chen2018.limit_given_weights(weights, teacher) == pytest.approx(measured, rel=0.02)


def test_limit_given_weights_is_at_least_3_for_one_output_and_undefined_at_the_optimum():
    rng = np.random.default_rng(11)
    for _ in range(50):
        sizes = (*rng.integers(1, 7, size=4), 1)
        weights = [rng.standard_normal((out, fan_in)) for fan_in, out in itertools.pairwise(sizes)]
        assert chen2018.limit_given_weights(weights, rng.standard_normal((1, sizes[0]))) >= 3 - 1e-12
    assert math.isnan(chen2018.limit_given_weights(weights[:1], weights[0]))
