"""Theorem 3 of Chen et al. 2018: the paper's lower bound on rho for deep linear networks, and a sharper one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchscope.errors import InputError
from batchscope.theory import linear
from batchscope.theory.network import LinearNetwork, Scale, check_count, check_widths


def theorem3_bound(widths: Sequence[int], *, d: int | None = None) -> float:
    """Return the paper's lower bound (4.1) on rho for d_out = 1 and N(0, 1) weights, n sufficiently large.

    1/bound = (1/L) Σ_{m=1}^{L-1} (L - m)/(K_m - 1) + 2/(d - 1). "Sufficiently large" is n >= `theorem3_min_examples`;
    the bound is never attained, and about half of the exact value in wide networks. It is below 1, hence empty, in
    deep narrow ones.

    widths: (d, K_1, ..., K_{L-1}, 1), L >= 2. d: if given, checked against K_0. Raises InputError when d or a hidden
    width is below 2 (the bound divides by K - 1), when d_out is not 1, or when there is no hidden layer.
    Source: Chen et al. 2018, Theorem 3. Standing: the paper's theorem, proved here for n -> ∞ too.

    >>> round(theorem3_bound((50, 20, 1)), 2), round(sharp_bound((50, 20, 1)), 2)
    (14.9, 32.12)
    """
    sizes = _check_theorem3(widths, d)
    small = [width for width in sizes[:-1] if width < 2]
    if small:
        raise InputError(f"Theorem 3 divides by K - 1: widths {sizes} contain {small[0]}; use >= 2, or sharp_bound")
    return float(1 / (_layers_passed(sizes) @ (1 / (np.array(sizes[1:-1]) - 1)) + 2 / (sizes[0] - 1)))


def equal_width_bound(width: int, num_layers: int, d: int) -> float:
    """Return Theorem 3's bound for L - 1 hidden layers of K units each: 1/bound = (L - 1)/(2(K - 1)) + 2/(d - 1).

    Arguments and refusals as `theorem3_bound`; num_layers is L, the number of weight matrices.
    Source: Chen et al. 2018, after Theorem 3. Standing: the paper's.

    >>> equal_width_bound(20, 5, 784) == theorem3_bound((784, 20, 20, 20, 20, 1))
    True
    """
    L, K, d = check_count("num_layers", num_layers, 2), check_count("width", width, 2), check_count("d", d, 2)
    return 1 / ((L - 1) / (2 * (K - 1)) + 2 / (d - 1))


def sharp_bound(
    widths: Sequence[int], weight_std: Scale = 1.0, teacher_std: Scale | None = None, *, d: int | None = None
) -> float:
    """Return a better lower bound on rho(∞) than the paper's, valid for widths of 1 and unequal layer scales too.

    1/bound = 1/(d + 2) + A/(A + τ) Σ_l ω_l Σ_{m<l} 1/(K_m + 2), with A, τ, ω as in `diversity_ratio`; for N(0, 1)
    weights 1/bound = 1/(d + 2) + A/(A + 1) (1/L) Σ_m (L - m)/(K_m + 2). It follows from 1 - Π(1 - a_m) <= Σ a_m, so
    it is close in shallow or wide networks (median 1.004 times below the exact value at L = 2, 1.4 at L = 10).

    Arguments as in `diversity_ratio`; d_out must be 1. Raises InputError otherwise. Standing: proved here.

    >>> round(sharp_bound((784, 20, 20, 1)), 2)  # exact value 40.10, paper's bound 18.12
    38.23
    """
    sizes = _check_theorem3(widths, d)
    network = LinearNetwork.of(sizes, weight_std, teacher_std)
    hidden = np.array(sizes[1:-1], dtype=np.float64)
    log_variance, teacher = (np.log([float(v) for v in vs]) for vs in (network.variances, network.teacher_variances))
    log_weights = -log_variance - np.logaddexp.reduce(-log_variance)
    student = 1 / (1 + np.exp(np.sum(teacher - log_variance) - np.sum(np.log1p(2 / hidden))))
    passed = np.concatenate([[0.0], np.cumsum(1 / (hidden + 2))])
    return float(1 / (1 / (sizes[0] + 2) + student * (np.exp(log_weights) @ passed)))


def theorem3_min_examples(widths: Sequence[int]) -> float:
    """Return n* = b (rho - 1)/(rho - b), b the bound, rho = rho(∞): Theorem 3's "n sufficiently large" is n >= n*.

    Below it the inequality is false: rho(n) <= n, so n = 10 cannot exceed a bound of 15. Typically 2b.
    Arguments and refusals as `theorem3_bound`. Standing: proved here.

    >>> round(theorem3_min_examples((50, 20, 1)), 1)
    26.4
    """
    bound = theorem3_bound(widths)
    rho = linear.ratio(linear.relative_moments(LinearNetwork.of(widths)), math.inf)
    return bound * (rho - 1) / (rho - bound)


def _check_theorem3(widths: Sequence[int], d: int | None) -> tuple[int, ...]:
    sizes = check_widths(widths, d)
    if len(sizes) < 3:
        raise InputError(f"Theorem 3 is about networks with a hidden layer, got widths {sizes}; give (d, K_1, ..., 1)")
    if sizes[-1] != 1:
        raise InputError(f"Theorem 3 is about one output, got d_out = {sizes[-1]}; diversity_ratio takes any number")
    return sizes


def _layers_passed(sizes: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(L - m)/L for m = 1..L-1: the fraction of layers above hidden layer m, whose gradients pass through it."""
    L = len(sizes) - 1
    return np.arange(L - 1, 0, -1) / L
