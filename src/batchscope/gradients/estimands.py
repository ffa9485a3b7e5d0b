"""What two sums of squares say about a batch size: pure formulas on plain numbers, no torch.

With g_i the gradient of example i's loss, everything here is a function of three numbers:

    n                        `num_examples`
    S1 = sum_i ‖g_i‖²        `sum_sq_norms`
    Q  = ‖sum_i g_i‖²        `sq_norm_sum`

S1 and Q are additive over parameters, so every formula holds for one parameter, one module and the whole model alike.

*Plug-in* formulas (first part) describe the examples that were measured and are exact when those are all there are.
*Unbiased* and *sample* formulas (second part) estimate, from m examples drawn without replacement, what the plug-in
formula would give on the whole population: n examples, or infinitely many. Nothing is clamped: an unbiased estimate of
a squared norm may be negative, and 0/0 is NaN.

Sources: Yin et al., *Gradient diversity: a key ingredient for scalable distributed learning*, AISTATS 2018;
McCandlish et al., *An empirical model of large-batch training*, arXiv:1812.06162, 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchscope.errors import InputError


def ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator, with x/0 = inf for x > 0 and NaN for every other division by zero."""
    if denominator != 0:
        return numerator / denominator
    return math.inf if numerator > 0 else math.nan


def _over(numerator: float, degrees: float) -> float:
    """numerator / degrees of freedom; NaN with none, where the number does not exist (no limit is meant)."""
    return numerator / degrees if degrees > 0 else math.nan


# ---------------------------------------------------------------------------------------------- plug-in: all examples


def gradient_diversity(sum_sq_norms: float, sq_norm_sum: float) -> float:
    """Δ = S1/Q, in [1/n, inf] (Yin et al. 2018, Definition 1). inf when the gradients cancel, NaN when all are 0."""
    return ratio(sum_sq_norms, sq_norm_sum)


def batch_size_bound(num_examples: float, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """B_S = n Δ = n S1/Q, in examples (Yin et al. 2018): at least 1, by Cauchy-Schwarz; inf when Q = 0 < S1."""
    return ratio(num_examples * sum_sq_norms, sq_norm_sum)


def simple_noise_scale(num_examples: float, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """B_simple = tr Σ/‖ḡ‖² = B_S - 1, in examples, Σ the population covariance (McCandlish et al. 2018, Section 2.2).

    n S1/Q = (tr Σ + ‖ḡ‖²)/‖ḡ‖², so that B_S = 1 + B_simple is an identity, not an approximation.
    """
    return batch_size_bound(num_examples, sum_sq_norms, sq_norm_sum) - 1


def sq_norm_mean(num_examples: float, sq_norm_sum: float) -> float:
    """‖ḡ‖² = Q/n², ḡ the mean gradient."""
    return _over(sq_norm_sum, num_examples**2)


def trace_covariance(num_examples: float, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """tr Σ = S1/n - Q/n² = (1/n) sum_i ‖g_i - ḡ‖², the population covariance (divided by n, not n - 1)."""
    return _over(sum_sq_norms, num_examples) - sq_norm_mean(num_examples, sq_norm_sum)


# ------------------------------------------------------------------------------- a sample of m out of n, or out of ∞


def unbiased_pair_mean(num_examples: int, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """U = (Q - S1)/(m(m-1)): the mean of ⟨g_i, g_j⟩ over distinct pairs of the m sampled examples.

    Unbiased for the same mean over the population (finite or not) the sample was drawn from without replacement: by
    symmetry every pair is equally likely to be in the sample. For an infinite population that is ‖E g‖². It may be
    negative. NaN for m < 2.
    """
    return _over(sq_norm_sum - sum_sq_norms, num_examples * (num_examples - 1))


def unbiased_sq_norm_mean(
    num_examples: int, sum_sq_norms: float, sq_norm_sum: float, population: float = math.inf
) -> float:
    """Unbiased estimate of the population's ‖ḡ‖² = a/n + (1 - 1/n) c from m of its n examples; U when n = ∞.

    a is the mean of ‖g‖² (estimated by S1/m), c the mean inner product of distinct pairs (estimated by U).
    """
    pair_mean = unbiased_pair_mean(num_examples, sum_sq_norms, sq_norm_sum)
    return _over(sum_sq_norms, num_examples) / population + (1 - 1 / population) * pair_mean


def unbiased_trace_covariance(
    num_examples: int, sum_sq_norms: float, sq_norm_sum: float, population: float = math.inf
) -> float:
    """Unbiased estimate of the population's tr Σ = (1 - 1/n)(a - c) from m of its n examples: (1 - 1/n)(S1/m - U).

    With n = ∞ this is the familiar sum_i ‖g_i - ḡ‖²/(m - 1).
    """
    pair_mean = unbiased_pair_mean(num_examples, sum_sq_norms, sq_norm_sum)
    return (1 - 1 / population) * (_over(sum_sq_norms, num_examples) - pair_mean)


def sample_inverse_bound(
    num_examples: int, sum_sq_norms: float, sq_norm_sum: float, population: float = math.inf
) -> float:
    """Estimate of the population's 1/B_n = 1/n + (1 - 1/n) c/a from m of its n examples: c by U, a by S1/m.

    A ratio of two unbiased estimates, hence consistent, not unbiased. At most 1; negative when U is: then the sample
    does not tell ‖ḡ‖² from zero. With n = m it is Q/(m S1) exactly.
    """
    if population < num_examples:
        raise InputError(f"population={population} is smaller than the {num_examples} examples sampled from it")
    if population == num_examples:
        return ratio(sq_norm_sum, num_examples * sum_sq_norms)
    pair_mean = unbiased_pair_mean(num_examples, sum_sq_norms, sq_norm_sum)
    return 1 / population + (1 - 1 / population) * ratio(pair_mean * num_examples, sum_sq_norms)


def sample_batch_size_bound(
    num_examples: int, sum_sq_norms: float, sq_norm_sum: float, population: float = math.inf
) -> float:
    """Estimate of the B_S of a population of n examples from m of them, in examples: 1 over `sample_inverse_bound`.

    The plug-in m S1/Q can never exceed about m and is biased low; this is not. NaN when the inverse is negative: no
    finite number is supported by the sample, and `intervals.sample_interval` says how large B_S is at least.
    """
    inverse = sample_inverse_bound(num_examples, sum_sq_norms, sq_norm_sum, population)
    return ratio(1.0, inverse) if inverse >= 0 else math.nan


def bound_at(population: float, bound_at_infinity: float) -> float:
    """B_n of n examples from B_∞: 1/B_n = 1/n + (1 - 1/n)/B_∞ (exact for expectations over exchangeable examples)."""
    return ratio(1.0, 1 / population + (1 - 1 / population) * ratio(1.0, bound_at_infinity))


def bound_at_infinity(population: float, bound: float) -> float:
    """B_∞ from B_n, the inverse of `bound_at`: 1/B_∞ = (1/B_n - 1/n)/(1 - 1/n).

    NaN for n = 1, where B_1 = 1 says nothing. Negative when B_n > n: distinct gradients oppose each other on average.
    """
    return ratio(1 - 1 / population, ratio(1.0, bound) - 1 / population)


# ----------------------------------------------------------- norms of mean gradients only: no per-example norms needed


@dataclass(frozen=True)
class NoiseEstimate:
    """Unbiased estimates, from norms of mean gradients of batches, for examples drawn independently.

    sq_norm_mean: of ‖E g‖², may be negative. trace_covariance: of tr Σ, Σ the covariance of one example's gradient.
    """

    sq_norm_mean: float
    trace_covariance: float

    @classmethod
    def pool(cls, estimates: Iterable[NoiseEstimate]) -> NoiseEstimate:
        """The mean of estimates of the same model (other steps, other batches); the ratio is taken after it.

        Averaging the ratios would be biased and, near ‖E g‖² = 0, without a mean at all. NaN when there are none.
        """
        estimates = list(estimates)
        signal, noise = (sum(e.sq_norm_mean for e in estimates), sum(e.trace_covariance for e in estimates))
        return cls(_over(signal, len(estimates)), _over(noise, len(estimates)))

    @property
    def simple_noise_scale(self) -> float:
        """B_simple = tr Σ/‖E g‖², in examples. NaN when the estimate of ‖E g‖² is negative."""
        return ratio(self.trace_covariance, self.sq_norm_mean) if self.sq_norm_mean >= 0 else math.nan

    @property
    def batch_size_bound(self) -> float:
        """B_∞ = 1 + B_simple, in examples."""
        return 1 + self.simple_noise_scale


def two_batch_estimate(small: float, big: float, sq_norm_small: float, sq_norm_big: float) -> NoiseEstimate:
    """From the mean gradients of a small and a big batch (McCandlish et al. 2018, Appendix A.1):

        ‖G‖² = (B_big ‖G_big‖² - B_small ‖G_small‖²)/(B_big - B_small),
        tr Σ = (‖G_small‖² - ‖G_big‖²)/(1/B_small - 1/B_big).

    small, big: batch sizes, 0 < small < big. sq_norm_*: squared norms of the *mean* gradients. Both results are
    unbiased because E‖G_B‖² = ‖G‖² + tr Σ/B, whether or not the small batch is part of the big one.
    """
    if not 0 < small < big:
        raise InputError(f"batch sizes small={small}, big={big}: expected 0 < small < big")
    sq_norm = (big * sq_norm_big - small * sq_norm_small) / (big - small)
    return NoiseEstimate(sq_norm, (sq_norm_small - sq_norm_big) / (1 / small - 1 / big))


def grouped_estimate(
    sizes: Sequence[int], sq_norm_means: Sequence[float], sq_norm_sum: float, population: float = math.inf
) -> NoiseEstimate:
    """From the mean gradients of K disjoint groups of any sizes b_k (devices, accumulation steps), N = sum_k b_k:

        tr Σ = (S - Q/N)/(K - 1),   ‖G‖² = (K Q/N - S)/(N(K - 1)),   S = sum_k b_k ‖ḡ_k‖², Q = ‖sum_k b_k ḡ_k‖².

    Unbiased, from E S = N ‖G‖² + K tr Σ and E Q = N² ‖G‖² + N tr Σ. With K = N (groups of one example) S = S1, and both
    equal `unbiased_trace_covariance` and `unbiased_sq_norm_mean`.

    Drawn without replacement from n = `population` examples, these are (n tr Σ)/(n - 1) and ‖G‖² - tr Σ/(n - 1) in
    expectation, with tr Σ and ‖G‖² the population's: both are corrected.

    sizes: b_k. sq_norm_means: ‖ḡ_k‖² of the groups' mean gradients. sq_norm_sum: Q, of the sum over all examples.
    """
    if len(sizes) != len(sq_norm_means) or any(size < 1 for size in sizes):
        raise InputError(
            f"{len(sizes)} sizes {list(sizes)} for {len(sq_norm_means)} norms: "
            "expected one size of at least 1 for each group"
        )
    K, N = len(sizes), sum(sizes)
    S = sum(size * sq_norm for size, sq_norm in zip(sizes, sq_norm_means, strict=True))
    if population < N:
        raise InputError(f"population={population} is smaller than the {N} examples sampled from it")
    mean_square = _over(sq_norm_sum, N)
    spread = _over(S - mean_square, K - 1)
    signal = _over(K * mean_square - S, N * (K - 1)) + spread / population
    return NoiseEstimate(signal, (1 - 1 / population) * spread)


@dataclass(frozen=True)
class Moments:
    """The three numbers everything else follows from, for one parameter, one module or the whole model.

    num_examples: n. sum_sq_norms: S1 = sum_i ‖g_i‖². sq_norm_sum: Q = ‖sum_i g_i‖². Gradients are of the per-example
    loss, never divided by a batch size. NaN where a parameter could not be measured; then every estimand is NaN too.
    """

    num_examples: int
    sum_sq_norms: float
    sq_norm_sum: float

    @classmethod
    def add(cls, num_examples: int, parts: Iterable[Moments]) -> Moments:
        """Add over disjoint sets of parameters measured on the same `num_examples` examples."""
        parts = list(parts)
        if any(part.num_examples != num_examples for part in parts):
            counts = sorted({part.num_examples for part in parts})
            raise InputError(
                f"moments of {counts} examples cannot be added over parameters: expected {num_examples} in each; "
                "use GradientMoments.merge to join different examples"
            )
        sum_sq_norms = sum((part.sum_sq_norms for part in parts), 0.0)
        return cls(num_examples, sum_sq_norms, sum((part.sq_norm_sum for part in parts), 0.0))

    @property
    def gradient_diversity(self) -> float:
        """Δ = S1/Q; see `gradient_diversity`."""
        return gradient_diversity(self.sum_sq_norms, self.sq_norm_sum)

    @property
    def batch_size_bound(self) -> float:
        """B_S = n S1/Q, in examples; see `batch_size_bound`."""
        return batch_size_bound(self.num_examples, self.sum_sq_norms, self.sq_norm_sum)

    @property
    def simple_noise_scale(self) -> float:
        """B_simple = B_S - 1, in examples; see `simple_noise_scale`."""
        return simple_noise_scale(self.num_examples, self.sum_sq_norms, self.sq_norm_sum)

    @property
    def trace_covariance(self) -> float:
        """tr Σ; see `trace_covariance`."""
        return trace_covariance(self.num_examples, self.sum_sq_norms, self.sq_norm_sum)

    @property
    def sq_norm_mean(self) -> float:
        """‖ḡ‖²; see `sq_norm_mean`."""
        return sq_norm_mean(self.num_examples, self.sq_norm_sum)
