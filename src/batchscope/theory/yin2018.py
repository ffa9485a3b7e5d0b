"""Yin et al., "Gradient Diversity: a Key Ingredient for Scalable Distributed Learning" (AISTATS 2018), in numbers.

Everything follows from two sums over the n examples' gradients at fixed weights, S1 = Σ‖g_i‖² and Q = ‖Σg_i‖²;
gradients are of per-example losses, never divided by the batch. Definition 1 uses sums, not means:
Δ_S = S1/Q and B_S = n Δ_S.
"""

from __future__ import annotations

import math

from batchscope.errors import InputError
from batchscope.theory.network import check_count, check_num_examples, check_number


def gradient_diversity(sum_sq_norms: float, sq_norm_sum: float) -> float:
    """Return Δ_S = Σ‖g_i‖² / ‖Σg_i‖², in [1/n, ∞]: ∞ when the gradients cancel, NaN when all are zero (0/0).

    Source: Yin et al. 2018, Definition 1. Raises InputError for a negative or non-finite sum.

    >>> gradient_diversity(12.0, 4.0)
    3.0
    """
    S1, Q = (
        float(check_number(name, x, positive=False))
        for name, x in (("sum_sq_norms", sum_sq_norms), ("sq_norm_sum", sq_norm_sum))
    )
    if Q == 0:
        return math.nan if S1 == 0 else math.inf
    return S1 / Q


def batch_size_bound(num_examples: int, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """Return B_S = n Δ_S, in examples: the batch size up to which mini-batch SGD keeps pace with serial SGD.

    At least 1 by Cauchy-Schwarz; equal to 1 + B_simple (`mccandlish2018`). Source: Yin et al. 2018, Definition 2.

    >>> batch_size_bound(num_examples=10, sum_sq_norms=12.0, sq_norm_sum=4.0)
    30.0
    """
    return check_count("num_examples", num_examples) * gradient_diversity(sum_sq_norms, sq_norm_sum)


def suboptimality_factor(batch_size: int, batch_size_bound: float) -> float:
    """Return 1 + δ with δ = (B - 1)/B_S: by how much a step of B examples inflates the noise term of B serial steps.

    For w' = w - γ Σ_{j<=B} g_{i_j}(w), examples drawn with replacement, and M² = Σ‖g_i‖²/n,

        E‖w' - w*‖² = ‖w - w*‖² - 2Bγ <∇F(w), w - w*> + (1 + δ) B γ² M²,

    which is the serial bound for B steps but for the factor. Standing: an identity, proved by E‖Σ g_{i_j}‖² = B M² +
    B(B-1)‖ḡ‖² and ‖ḡ‖² = M²/B_S; the papers state it as an inequality (Chen et al. 2018, Lemma 1, after Yin et al.
    2018).
    Raises InputError for B < 1 or B_S < 1.

    >>> suboptimality_factor(33, batch_size_bound=64.0)
    1.5
    """
    return 1 + (check_count("batch_size", batch_size) - 1) / _check_bound(batch_size_bound)


def largest_batch_size(batch_size_bound: float, delta: float) -> int | float:
    """Return the largest valid B for a tolerated δ in Lemma 1: floor(1 + δ B_S), in examples; ∞ if B_S is.

    delta: tolerated inflation of the noise term, >= 0; 0 leaves serial SGD, B = 1. Raises InputError for δ < 0 or B_S
    < 1.
    Source: Chen et al. 2018, Lemma 1 (B <= δ n Δ_S + 1). Standing: the paper's; exact by `suboptimality_factor`.

    >>> largest_batch_size(64.0, delta=0.5)
    33
    """
    slack, bound = float(check_number("delta", delta, positive=False)), _check_bound(batch_size_bound)
    if math.isinf(bound):
        return math.inf if slack else 1
    return math.floor(1 + slack * bound)


def at_num_examples(limit: float, num_examples: int | float) -> float:
    """Return the bound at n examples from its limit at n -> ∞: 1/B_n = 1/n + (1 - 1/n)/B_∞.

    Exact for the ratio rho of any model with exchangeable examples, because E‖Σg_i‖² = n E‖g_1‖² + n(n-1) E<g_1, g_2>
    and B_∞ = E‖g_1‖²/E<g_1, g_2>; for fixed weights it defines B_∞. Standing: proved here. A negative B_∞ is
    meaningful (gradients of different examples oppose each other on average) and gives B_n > n; B_∞ = inf gives n.

    >>> at_num_examples(100.0, num_examples=100)
    50.25125628140703
    """
    n = check_num_examples(num_examples)
    return limit if n == math.inf else _inverse(1 / n + (1 - 1 / n) * _inverse(limit))


def limit_from(bound: float, num_examples: int) -> float:
    """Return B_∞ from B_n, the inverse of `at_num_examples`: 1/B_∞ = (1/B_n - 1/n)/(1 - 1/n).

    inf when B_n = n, negative when B_n > n: then the mean inner product of two gradients is not positive and there is
    no finite bound. Raises InputError for n < 2, where one example says nothing about pairs.

    >>> round(limit_from(50.25125628140703, num_examples=100), 9)
    100.0
    """
    n = check_count("num_examples", num_examples, minimum=2)
    return _inverse((_inverse(bound) - 1 / n) / (1 - 1 / n))


def correct_subsample(bound: float, num_examples: int, population: int) -> float:
    """Return B_S of `population` examples from the value measured on `num_examples` random ones of them.

    Through B_∞: the plain value on m examples cannot exceed about m and is too small. Numerator and mean pairwise
    inner product are unbiased separately (not their ratio). Standing: proved here. Raises InputError for m < 2 or
    population < m.

    >>> round(correct_subsample(50.25125628140703, num_examples=100, population=10_000), 3)
    99.02
    """
    m, n = check_count("num_examples", num_examples, minimum=2), check_count("population", population)
    if n < m:
        raise InputError(f"population = {n} is smaller than the sample, num_examples = {m}")
    return at_num_examples(limit_from(bound, m), n)


def with_gradient_noise(bound: float, num_examples: int, noise_ratio: float) -> float:
    """Return B_S after adding independent zero-mean noise to every g_i: a diversity-inducing mechanism.

    E‖g‖² grows by the factor 1 + r, the inner products stay: 1/B = 1/n + (1 - 1/n)/((1 + r) B_∞). Langevin noise and
    unbiased quantisation are of this type. Raises B_S when the mean inner product is positive (B_S < n), lowers it
    when negative. noise_ratio: r = E‖noise‖²/E‖g_i‖² >= 0. Standing: proved here; the mechanisms are Yin et al.
    2018's.

    >>> with_gradient_noise(4.0, num_examples=10_000, noise_ratio=1.0)
    7.996801279488205
    """
    r = float(check_number("noise_ratio", noise_ratio, positive=False))
    return at_num_examples((1 + r) * limit_from(bound, num_examples), num_examples)


def _inverse(x: float) -> float:
    return math.inf if x == 0 else 1 / x


def _check_bound(bound: float) -> float:
    if not bound >= 1:
        raise InputError(f"batch_size_bound must be >= 1 (Cauchy-Schwarz), got {bound!r}; did you pass Δ_S without n?")
    return float(bound)
