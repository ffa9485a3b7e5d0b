"""Two-layer nonlinear networks (Theorem 2): the exact average over weights, teacher and data.

f_i = ½(W2 σ(W1 x_i) - W2* σ(W1* x_i))², W1 [K, d] ~ N(0, σ1²), W2 [1, K] ~ N(0, σ2²), teacher an independent copy,
x_i ~ N(0, I_d). Averaging over W2 and W2* is exact (`theorem2`); over W1 it leaves, for two examples of squared lengths
s, s' at angle θ, Gaussian expectations in one unit's pair of pre-activations (z, z'), of variances σ1²s, σ1²s' and
correlation c = cos θ. With h = σ(z), D = σ'(z):

    E‖g‖²   = K E[σ2² (E h⁴ + (2K-1)(E h²)²) + σ2⁴ s (3 E h²D² + (2K-1) E h² E D²)],
    E<g,g'> = K E[σ2² (κ_hh + (2K-1) κ²)      + σ2⁴ √(ss') c (3 κ_hD + (2K-1) κ κ_D)],

κ = E hh', κ_D = E DD', κ_hh = E h²h'², κ_hD = E hDh'D'. The σ2² terms belong to W2, the σ2⁴ ones
to W1. Linear and ReLU networks have closed forms; the others are computed as follows.

* d >= 8, `_inner_by_series`: Mehler's formula expands κ in powers of c over orthonormal Hermite coefficients, and
  Price's theorem makes the W1 terms c d/dc of the same series; E c^m is known. Truncated at 400 terms.
* d < 8, where E c^m decays too slowly: `_inner_by_angles`, quadrature over the angle and polar (z, z').

Standing: the formulas are proved here. The numbers are numeric, relative error below 1e-7 up to σ1 = 1 and 1e-5 up to
σ1 = 5: finer rules, the other method and, in tests/agreement, quadrature of explicit gradients agree.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from batchscope.theory import quadrature
from batchscope.theory.activations import Activation, Array, activation_named
from batchscope.theory.linear import LayerMoments, layer_moments
from batchscope.theory.network import LinearNetwork, Scale, check_count, layer_variances

SERIES_TERMS = 400
SERIES_FROM_D = 8


def two_layer_moments(
    activation: str, width: int, d: int, weight_std: Scale = (1.0, 1.0)
) -> tuple[LayerMoments, LayerMoments]:
    """Return (moments of W1's gradient, moments of W2's gradient), from which `two_layer_ratio` takes rho at any n.

    activation: tanh, softsign, arctan, erf, relu or linear. width: K units. d: input dimension.
    weight_std: (σ1, σ2), one number for both, or the name of an initialisation.
    Raises InputError for an unknown activation, K or d below 1, or a standard deviation that is not positive.
    Standing: formula proved here, numbers numeric.

    >>> W1, W2 = two_layer_moments("relu", width=8, d=20)
    >>> round((W1.sq_norm + W2.sq_norm) / (W1.inner + W2.inner), 9)
    13.966856865
    """
    activation_named(activation)
    K, d = check_count("width", width), check_count("d", d)
    v1, v2 = (float(v) for v in layer_variances((d, K, 1), weight_std))
    if activation == "linear":
        first, second = layer_moments(LinearNetwork((d, K, 1), (v1, v2), (v1, v2)))
        return first, second
    units, scale = np.array([1, 2 * K - 1]), K * np.array([v2 * v2, v2])
    sq_norms, inners = (scale * (averages @ units) for averages in _averages(activation, d, v1))
    return LayerMoments(float(sq_norms[0]), float(inners[0])), LayerMoments(float(sq_norms[1]), float(inners[1]))


# Below, averages are [layer W1 or W2, (one unit, two units)]: the coefficients of 1 and 2K - 1 in the formulas above,
# which do not depend on K or σ2.


@functools.lru_cache(maxsize=4096)
def _averages(activation: str, d: int, v1: float) -> tuple[Array, Array]:
    """Return the averages of ‖g‖² and of <g, g'>; v1 is σ1²."""
    if activation == "relu":
        return _relu(d, v1)
    sigma = activation_named(activation)
    inner = _inner_by_series if d >= SERIES_FROM_D else _inner_by_angles
    return _sq_norm(sigma, d, v1), inner(sigma, d, v1)


def _relu(d: int, v1: float) -> tuple[Array, Array]:
    """ReLU is homogeneous, so lengths leave the integral: only the arc-cosine kernels of the angle remain."""
    theta, over_theta = quadrature.angle(d)
    c, back = np.cos(theta), np.pi - theta
    kappa_D = back / (2 * np.pi)
    kappa = (np.sin(theta) + back * c) / (2 * np.pi)
    kappa_hh = (3 * np.sin(theta) * c + back * (1 + 2 * c * c)) / (2 * np.pi)
    inner = np.array([[3 * c * kappa, c * kappa * kappa_D], [kappa_hh, kappa * kappa]]) @ over_theta
    scale = np.array([[v1], [v1 * v1]])
    return d * (d + 2) * scale * np.array([1.5, 0.25]), d * d * scale * inner


def _sq_norm(sigma: Activation, d: int, v1: float) -> Array:
    """Return averages of ‖g‖²: one integral over z inside one over s = ‖x‖²."""
    s, over_s = quadrature.squared_length(d)
    scale = np.sqrt(v1 * s)
    x, dx = quadrature.half_line(scale[-1], quadrature.RADIUS_SPAN)
    over_x = dx * quadrature.root_density(x) ** 2
    z = scale[:, None] * x
    h2, D2 = sigma.value(z) ** 2, sigma.derivative(z) ** 2
    m2, m4, q, zeta = (f @ over_x for f in (h2, h2 * h2, D2, h2 * D2))
    return np.array([[3 * s * zeta, s * m2 * q], [m4, m2 * m2]]) @ over_s


def _inner_by_series(sigma: Activation, d: int, v1: float, terms: int = SERIES_TERMS) -> Array:
    """Return averages of <g, g'> by Hermite series, σ odd.

    a_k(s), b_k(s): k-th orthonormal Hermite coefficient of σ and σ² at pre-activation variance σ1²s. With
    b̄_k = E_s b_k, M_jk = E_s a_j a_k and μ_m = E c^m, W2 has Σ b̄_k² μ_k and Σ M_jk² μ_{j+k}; W1 has the same sums with
    factors 3k/(4σ1²) and (j+k)/(2σ1²) inside. σ is odd, so a_k needs odd and b_k even k only.
    """
    s, over_s = quadrature.squared_length(d)
    scale = np.sqrt(v1 * s)
    x, dx = quadrature.half_line(scale[-1], 2 * math.sqrt(terms) + quadrature.RADIUS_SPAN)
    basis = quadrature.hermite_functions(terms, x) * (dx * quadrature.root_density(x))
    h = sigma.value(scale[:, None] * x)
    a, b = h @ basis[1::2].T, over_s @ (h * h @ basis[0::2].T)
    M = (a.T * over_s) @ a
    odd, even = np.arange(1, terms, 2), np.arange(0, terms, 2)
    degree = odd[:, None] + odd
    mu = quadrature.cosine_moments(d, 2 * terms)
    one, two = b * b * mu[even // 2], M * M * mu[degree // 2]
    first = [0.75 * np.sum(even * one) / v1, 0.5 * np.sum(degree * two) / v1]
    return np.array([first, [np.sum(one), np.sum(two)]])


def _inner_by_angles(sigma: Activation, d: int, v1: float, nodes: int = 28) -> Array:
    """Return averages of <g, g'> by quadrature over lengths, angle and, in polar form, (z, z'); σ odd."""
    s, over_s = quadrature.squared_length(d, nodes + 8)
    lengths = np.outer(over_s, over_s)
    theta, over_theta = quadrature.angle(d, nodes, acute=True)
    kernels = [_kernels_at_angle(sigma, np.sqrt(s), math.sqrt(v1), angle, nodes) for angle in theta]
    return np.tensordot(over_theta, np.sum(np.array(kernels) * lengths, axis=(-2, -1)), axes=1)


def _kernels_at_angle(sigma: Activation, length: Array, std: float, theta: float, nodes: int) -> Array:
    """Return averages of <g, g'> at one angle for all pairs of lengths, [2, 2, S, S].

    z = σ1‖x‖ R cos φ and z' = σ1‖x'‖ R cos(φ - θ): σ's kink at 0 falls on fixed φ, where the panels are cut. Half of
    the circle is enough, since every product is even in (z, z').
    """
    R, over_R = quadrature.gauss(0.0, quadrature.RADIUS_SPAN, 2 * nodes)
    phi, over_phi = quadrature.panels(np.array([-np.pi / 2, theta - np.pi / 2, np.pi / 2]), nodes)
    over_plane = np.outer(over_R * R * np.exp(-R * R / 2), over_phi / np.pi).ravel()
    z = std * length[:, None] * np.outer(R, np.cos(phi)).ravel()
    z_ = std * length[:, None] * np.outer(R, np.cos(phi - theta)).ravel()
    h, h_, D, D_ = sigma.value(z), sigma.value(z_), sigma.derivative(z), sigma.derivative(z_)

    def average(f: Array, g: Array) -> Array:
        return np.asarray((f * over_plane) @ g.T)

    kappa, inner_x = average(h, h_), np.outer(length, length) * math.cos(theta)
    first = [3 * inner_x * average(h * D, h_ * D_), inner_x * kappa * average(D, D_)]
    return np.array([first, [average(h * h, h_ * h_), kappa * kappa]])
