"""Deep linear networks, exactly: per-layer gradient moments by recursion (exact numbers) and in closed form.

Squared loss f_i = ½‖W x_i - y_i‖² with W = W_L ... W_1, x_i ~ N(0, I_d), y_i = W* x_i + noise, W* independent of W.
Averages are over weights, teacher, inputs and noise. With A_l = W_L ... W_{l+1}, B_l = W_{l-1} ... W_1 and V = W - W*,
the gradient of layer l is A_lᵀ V x (B_l x)ᵀ, and Isserlis' theorem for x gives, for fixed weights,

    E_x ‖g_l‖² = ‖A_lᵀV‖²‖B_l‖² + 2‖A_lᵀVB_lᵀ‖²,      E_{x,x'} <g_l, g'_l> = ‖A_lᵀVB_lᵀ‖².

Both expectations over the weights then close under a linear recursion in (E‖B‖⁴, E tr(BBᵀ)²). Standing: proved here
(see docs/theory.md); checked in tests/agreement against quadrature that is exact for these integrands.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from batchscope.errors import InputError
from batchscope.theory.network import LinearNetwork, Number

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerMoments:
    """What is expected of one layer's gradient: everything a ratio at any number of examples needs.

    sq_norm: E‖g_1‖², for one example. inner: E<g_1, g_2>, for two examples under the same weights.
    """

    sq_norm: Number
    inner: Number


def totals(layers: Iterable[LayerMoments]) -> LayerMoments:
    """Return the moments of the whole gradient: both are sums over layers."""
    layers = tuple(layers)
    return LayerMoments(sum(layer.sq_norm for layer in layers), sum(layer.inner for layer in layers))


def sums(moments: LayerMoments, num_examples: int) -> tuple[Number, Number]:
    """Return (E Σ‖g_i‖², E‖Σg_i‖²) = (n a, n a + n(n-1) c) with a = E‖g_1‖², c = E<g_1, g_2>."""
    n = num_examples
    return _tidy(n * moments.sq_norm), _tidy(n * moments.sq_norm + n * (n - 1) * moments.inner)


def ratio(moments: LayerMoments, num_examples: int | float) -> float:
    """Return rho(n) = n a / (a + (n-1) c), or a / c for n = math.inf; a = E‖g_1‖², c = E<g_1, g_2>."""
    a, c = moments.sq_norm, moments.inner
    if num_examples == math.inf:
        return float(a / c)
    return float(1 / (1 / num_examples + (1 - 1 / num_examples) * float(c / a)))


def exact_ratio(moments: LayerMoments, num_examples: int | float) -> Fraction:
    """Return rho(n) as a Fraction; InputError unless the moments are exact (integer or Fraction inputs)."""
    a, c = moments.sq_norm, moments.inner
    if isinstance(a, float) or isinstance(c, float):
        raise InputError("exact=True needs exact inputs: give standard deviations as int or Fraction, not float")
    if num_examples == math.inf:
        return Fraction(a) / Fraction(c)
    n = int(num_examples)
    return Fraction(n * a) / (a + (n - 1) * c)


def layer_moments(network: LinearNetwork) -> tuple[LayerMoments, ...]:
    """Return each layer's moments by the O(L) recursion: ints and Fractions wherever the inputs are exact.

    P_l = s_l² w^A_l u_l + d T α_l β_l and Q_l = s_l² w^A_l w_l + T α_l β_l give E‖g_l‖² = P_l + 2 Q_l, E<g_l, g'_l> =
    Q_l. Label noise ν adds ν² α_l β_l and trained biases add s_l² w^A_l β_l + (d T + ν²) α_l to E‖g_l‖²; neither
    changes the inner product, because both are linear in one example's own input or noise, which average to zero.

    Raises InputError when a float result overflows or underflows; exact numbers and `relative_layer_moments` cannot.
    """
    below = _powers(network.widths[0], zip(network.widths[1:-1], network.variances[:-1], strict=True))
    above = _powers(network.widths[-1], zip(network.widths[-2:0:-1], network.variances[:0:-1], strict=True))[::-1]
    try:
        layers = tuple(_one_layer(network, *parts) for parts in zip(network.variances, above, below, strict=True))
    except OverflowError:  # an int too large to meet a float
        layers = ()
    if not layers or not all(_in_range(moment) for layer in layers for moment in (layer.sq_norm, layer.inner)):
        raise InputError(
            f"the moments of this network of {len(network.variances)} layers leave the range of floats: give standard "
            "deviations as int or Fraction for exact values, or ask for diversity_ratio, computed in logarithms"
        )
    return layers


def _in_range(moment: Number) -> bool:
    return not isinstance(moment, float) or sys.float_info.min < moment < math.inf


Powers = tuple[Number, Number, Number]


def _one_layer(network: LinearNetwork, variance: Number, above: Powers, below: Powers) -> LayerMoments:
    (alpha, _, w_above), (beta, u, w) = above, below
    d, T, noise = network.widths[0], network.teacher_variance, network.noise_variance
    P = variance * w_above * u + d * T * alpha * beta
    Q = variance * w_above * w + T * alpha * beta
    bias = variance * w_above * beta + (d * T + noise) * alpha if network.bias else 0
    return LayerMoments(_tidy(P + 2 * Q + noise * alpha * beta + bias), _tidy(Q))


def _powers(start: int, steps: Iterable[tuple[int, Number]]) -> list[Powers]:
    """Return (E‖B‖², E(tr BBᵀ)², E tr (BBᵀ)²) for B = I and after each step B <- W B, W having K rows of variance v.

    For G = BBᵀ and rows z_k ~ N(0, v I): tr(WGWᵀ) = Σ z_kᵀGz_k, and W'W is Wishart, so the pair (u, w) maps linearly.
    """
    powers: list[Powers] = [(start, start**2, start)]
    for K, v in steps:
        norm, u, w = powers[-1]
        powers.append((v * K * norm, v * v * K * (K * u + 2 * w), v * v * K * (u + (K + 1) * w)))
    return powers


def _tidy(value: Number) -> Number:
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


def relative_layer_moments(network: LinearNetwork) -> tuple[LayerMoments, ...]:
    """Return each layer's moments divided by E‖g‖², in closed form (`_relative`): O(L), no overflow at any depth."""
    sq_norms, inners = _relative(network)
    return tuple(map(LayerMoments, sq_norms.tolist(), inners.tolist()))


def relative_moments(network: LinearNetwork) -> LayerMoments:
    """Return the moments of the whole gradient divided by E‖g‖²: the total of `relative_layer_moments`."""
    sq_norms, inners = _relative(network)
    return LayerMoments(float(sq_norms.sum()), float(inners.sum()))


def _relative(network: LinearNetwork) -> tuple[Array, Array]:
    """Return (E‖g_l‖², E<g_l, g'_l>) / E‖g‖², each [L].

    The matrix of the recursion, K [[K, 2], [1, K + 1]], has left eigenvectors (1, 2) and (1, -1) for every K, with
    eigenvalues K(K + 2) and K(K - 1). With x_l = Π_{m<l} (K_m - 1)/(K_m + 2), y_l = Π_{m>=l} of the same,
    A = Π (1 + 2/K_m), τ = E‖W*‖²/E‖W‖² and q = d_out, layer l has, up to one common factor,

        E‖g_l‖²    ∝ s_l⁻² [A a_l (u_l + 2 w_l) + τ (1 + 2/d)/q + ν²/E‖W‖²],   a_l = 1/q + (1 - 1/q)(1 - y_l)/3,
        E<g_l,g'_l> ∝ s_l⁻² [A a_l w_l + τ/(d q)],                             w_l = 1/d + (1 - 1/d)(1 - x_l)/3,

    and u_l + 2 w_l = 1 + 2/d. Standing: proved here; equal to `layer_moments` to rounding.
    """
    d, q = network.widths[0], network.widths[-1]
    hidden = np.array(network.widths[1:-1], dtype=np.float64)
    log_variance = _logs(network.variances)
    with np.errstate(divide="ignore"):  # K = 1 gives x = 0 after it, log x = -inf, which is meant
        shrink = np.log1p(-3 / (hidden + 2))
    w = 1 / d + (1 - 1 / d) * -np.expm1(_before(shrink)) / 3
    a = 1 / q + (1 - 1 / q) * -np.expm1(_after(shrink)) / 3
    student, teacher, noise = _source_weights(network, hidden, log_variance)
    weight_part = student * a * (1 + 2 / d) + teacher * (1 + 2 / d) / q + noise
    log_sq_norm = np.log(weight_part)
    if network.bias:
        log_beta = math.log(d) + _before(np.log(hidden) + log_variance[:-1])
        bias_part = student * a * np.exp(-_before(np.log1p(2 / hidden))) + teacher / q + noise
        log_sq_norm = np.logaddexp(log_sq_norm, np.log(bias_part) - log_beta)
    log_sq_norm -= log_variance
    log_inner = np.log(student * a * w + teacher / (d * q)) - log_variance
    total = np.logaddexp.reduce(log_sq_norm)
    return np.exp(log_sq_norm - total), np.exp(log_inner - total)


def _source_weights(network: LinearNetwork, hidden: Array, log_variance: Array) -> Array:
    """Return (A, τ, ν²/E‖W‖²) divided by their sum: how much of E‖g‖² student, teacher and label noise cause."""
    same = network.teacher_variances is network.variances
    teacher_log_variance = log_variance if same else _logs(network.teacher_variances)
    log_sq_norm = math.log(network.widths[0] * network.widths[-1]) + log_variance.sum() + np.log(hidden).sum()
    log_noise = math.log(network.noise_variance) - log_sq_norm if network.noise_variance else -math.inf
    logs = np.array([np.log1p(2 / hidden).sum(), (teacher_log_variance - log_variance).sum(), log_noise])
    weights: Array = np.exp(logs - np.logaddexp.reduce(logs))
    return weights


def _logs(variances: Sequence[Number]) -> Array:
    # float(Fraction) is slow, and a thousand layers have a thousand of them.
    return np.asarray(np.log([v if isinstance(v, float) else v.numerator / v.denominator for v in variances]))


def _before(steps: Array) -> Array:
    """Return sums over the layers before each of the L layers, from those of the L - 1 hidden ones."""
    return np.concatenate([[0.0], np.cumsum(steps)])


def _after(steps: Array) -> Array:
    return _before(steps[::-1])[::-1]


def limit_given_weights(weights: Sequence[Any], teacher: Any) -> float:
    """Return lim B_S as n -> ∞ for these very weights, from the weights alone (no data): inputs N(0, I_d).

    B_∞(w) = 2 + Σ_l ‖A_lᵀV‖²‖B_l‖² / Σ_l ‖A_lᵀVB_lᵀ‖², at least 3 when d_out = 1. It is B_S of a network, not its
    average: E[B_S] is larger than rho, the ratio of averages, and much larger in deep narrow networks.

    weights: [W_1, ..., W_L], W_l of shape [K_l, K_{l-1}], no biases. teacher: W* of shape [d_out, d].
    Returns NaN at W = W*, where every gradient is zero. Raises InputError on shapes that do not chain. Standing:
    proved here.

    >>> limit_given_weights([[[1.0, 0.0]]], [[0.0, 0.0]])  # linear regression: d + 2
    4.0
    """
    matrices = [np.asarray(weight, dtype=np.float64) for weight in weights]
    target = np.asarray(teacher, dtype=np.float64)
    shapes = [matrix.shape for matrix in [*matrices, target]]
    chained = matrices and all(len(shape) == 2 for shape in shapes)
    chained = chained and all(a[0] == b[1] for a, b in itertools.pairwise(shapes[:-1]))
    if not chained or target.shape != (matrices[-1].shape[0], matrices[0].shape[1]):
        raise InputError(f"weights and teacher do not chain, shapes {shapes}: want W_l [K_l, K_(l-1)], W* [d_out, d]")
    below = [np.eye(target.shape[1])]
    for matrix in matrices:
        below.append(matrix @ below[-1])
    V = below.pop() - target
    pulled, spread, aligned = V, 0.0, 0.0  # pulled is A_lᵀV, from the output down
    for matrix, B in zip(reversed(matrices), reversed(below), strict=True):
        spread += float(np.sum(pulled**2) * np.sum(B**2))
        aligned += float(np.sum((pulled @ B.T) ** 2))
        pulled = matrix.T @ pulled
    if aligned == 0:
        return math.nan if spread == 0 else math.inf
    return 2 + spread / aligned
