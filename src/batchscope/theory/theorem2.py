"""Theorem 2 as the paper states it: two-layer networks, first layers and inputs given, output layers averaged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from batchscope.errors import InputError
from batchscope.theory.activations import Array, activation_named
from batchscope.theory.network import check_number


def theorem2_conditional_moments(
    activation: str, weight: Any, teacher_weight: Any, inputs: Any, output_std: float = 1.0
) -> tuple[float, float]:
    """Return (E Σ‖g_i‖², E‖Σg_i‖²) over the output layers alone: exact for this W1, W1* and these inputs.

    f_i = ½(W2 h_i - W2* h*_i)², h_i = σ(W1 x_i), h*_i = σ(W1* x_i), D_i = σ'(W1 x_i), W2, W2* ~ N(0, σ2²), gives the
    Gram matrix of expected inner products

        M_ij = (h_i·h_j + h*_i·h*_j)(σ2² h_i·h_j + σ2⁴ x_i·x_j D_i·D_j) + 2 σ2⁴ x_i·x_j Σ_k h_ik h_jk D_ik D_jk,

    and the result is (tr M, Σ_ij M_ij). Cost O(n²(K + d)) time, O(n²) memory; nothing is sampled.

    activation: tanh, softsign, arctan, erf, relu or linear. weight: W1, [K, d]. teacher_weight: W1*, [K*, d].
    inputs: [n, d]. output_std: σ2 > 0. Raises InputError on shapes that do not fit.
    Source: Chen et al. 2018, Theorem 2, whose expectation this is. Standing: proved here; tests/agreement samples it.

    >>> theorem2_conditional_moments("linear", [[1.0]], [[0.0]], [[1.0], [-1.0]])
    (8.0, 16.0)
    """
    sigma = activation_named(activation)
    W, W_teacher, x = (np.asarray(a, dtype=np.float64) for a in (weight, teacher_weight, inputs))
    if not (W.ndim == W_teacher.ndim == x.ndim == 2 and W.shape[1] == W_teacher.shape[1] == x.shape[1] and len(x)):
        shapes = f"{W.shape}, {W_teacher.shape}, {x.shape}"
        raise InputError(
            f"W1, W1* and inputs have shapes {shapes}: want [K, d], [K*, d] and [n, d] with one d = K_0, n > 0"
        )
    variance = float(check_number("output_std", output_std)) ** 2
    z = x @ W.T
    h, D, h_teacher = sigma.value(z), sigma.derivative(z), sigma.value(x @ W_teacher.T)
    outputs, outputs_teacher, inputs_gram = _gram(h), _gram(h_teacher), _gram(x)
    first = inputs_gram * ((outputs + outputs_teacher) * _gram(D) + 2 * _gram(h * D))
    second = (outputs + outputs_teacher) * outputs
    M = variance**2 * first + variance * second
    return float(np.trace(M)), float(M.sum())


def _gram(rows: Array) -> Array:
    return np.asarray(rows @ rows.T)


def theorem2_conditional_ratio(
    activation: str, weight: Any, teacher_weight: Any, inputs: Any, output_std: float = 1.0
) -> float:
    """Return n tr M / ΣM, the left-hand side of Theorem 2; arguments and standing as in
    `theorem2_conditional_moments`.

    >>> theorem2_conditional_ratio("tanh", [[0.5, 1.0]], [[1.0, -1.0]], [[1.0, 2.0]])  # one example: always 1
    1.0
    """
    sum_sq_norms, sq_norm_sum = theorem2_conditional_moments(activation, weight, teacher_weight, inputs, output_std)
    if sq_norm_sum == 0:
        return math.nan if sum_sq_norms == 0 else math.inf
    return len(inputs) * sum_sq_norms / sq_norm_sum
