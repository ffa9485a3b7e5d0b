"""Quadrature rules for Gaussian inputs: a vector's length, the angle of two vectors, one Gaussian coordinate."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from batchscope.theory.activations import Array

RADIUS_SPAN = 9.0  # a Gaussian is within 9 standard deviations but for a probability of 1e-18
Rule = tuple[Array, Array]  # (nodes, weights), both [M]


@functools.lru_cache
def _legendre(nodes: int) -> Rule:
    return np.polynomial.legendre.leggauss(nodes)


def gauss(low: float, high: float, nodes: int) -> Rule:
    """Return the Gauss-Legendre rule on [low, high]."""
    x, weights = _legendre(nodes)
    return (high - low) / 2 * x + (high + low) / 2, (high - low) / 2 * weights


def panels(edges: Array, nodes: int) -> Rule:
    """Return Gauss-Legendre rules on consecutive intervals, joined."""
    x, weights = zip(*(gauss(low, high, nodes) for low, high in itertools.pairwise(edges)), strict=True)
    return np.concatenate(x), np.concatenate(weights)


def squared_length(d: int, nodes: int = 48) -> Rule:
    """Return a rule for s = ‖x‖² ~ χ²_d, x ~ N(0, I_d); weights sum to 1. Smooth in ‖x‖, so nodes are placed in it."""
    r, weights = gauss(max(0.0, math.sqrt(d) - RADIUS_SPAN), math.sqrt(d) + RADIUS_SPAN, nodes)
    log_density = (d - 1) * np.log(r) - r * r / 2
    weights = weights * np.exp(log_density - log_density.max())
    return r * r, weights / weights.sum()


def angle(d: int, nodes: int = 64, acute: bool = False) -> Rule:
    """Return a rule for the angle of two independent Gaussian vectors, density ∝ sin^(d-2) θ; weights sum to 1.

    d = 1 has two angles, 0 and π. acute: fold [0, π] onto [0, π/2], for integrands symmetric about π/2.
    """
    if d == 1:
        theta, weights = np.array([0.0, np.pi]), np.array([0.5, 0.5])
        return (theta[:1], 2 * weights[:1]) if acute else (theta, weights)
    reach = min(np.pi / 2, RADIUS_SPAN / math.sqrt(d))
    theta, weights = gauss(np.pi / 2 - reach, np.pi / 2 + (0.0 if acute else reach), nodes)
    weights = weights * np.sin(theta) ** (d - 2)
    return theta, weights / weights.sum()


def half_line(scale: float, top: float) -> Rule:
    """Return a rule for 2∫_0^top f(ξ) dξ, f even: fine near 0, where σ(scale ξ) varies, then even enough for waves.

    Panels grow geometrically from a thousandth of 1/scale to 1, then keep a length that resolves Hermite functions.
    """
    fine = np.geomspace(1e-3 / max(scale, 1.0), 1.0, 25)
    x, weights = panels(np.concatenate([[0.0], fine, np.arange(1.5, top + 0.5, 0.5)]), 24)
    return x, 2 * weights


def root_density(x: Array) -> Array:
    """Return the square root of the standard normal density."""
    return np.asarray(np.exp(-x * x / 4) / (2 * math.pi) ** 0.25)


def hermite_functions(terms: int, x: Array) -> Array:
    """Return he_k(x) √φ(x), k = 0..terms-1, [terms, M]: orthonormal over the line and bounded, unlike he_k alone."""
    table = np.empty((terms, x.size))
    table[0] = root_density(x)
    table[1] = x * table[0]
    for k in range(1, terms - 1):
        table[k + 1] = (x * table[k] - math.sqrt(k) * table[k - 1]) / math.sqrt(k + 1)
    return table


def cosine_moments(d: int, highest: int) -> Array:
    """Return E c^m = Π_{j=0,2,..,m-2} (j+1)/(d+j), m = 0, 2, ..., highest: c the cosine of two Gaussian vectors."""
    j = np.arange(0, highest, 2)
    return np.concatenate([[1.0], np.cumprod((j + 1) / (d + j))])
