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
from collections.abc import Iterable
from dataclasses import dataclass

from batchscope.errors import InputError


def ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator, with x/0 = inf for x > 0 and NaN for every other division by zero."""
    if denominator != 0:
        return numerator / denominator
    return math.inf if numerator > 0 else math.nan


# ---------------------------------------------------------------------------------------------- plug-in: all examples


def gradient_diversity(sum_sq_norms: float, sq_norm_sum: float) -> float:
    """Δ = S1/Q, in [1/n, inf] (Yin et al. 2018, Definition 1). inf when the gradients cancel, NaN when all are 0."""
    return ratio(sum_sq_norms, sq_norm_sum)


def batch_size_bound(num_examples: float, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """B_S = n Δ = n S1/Q, in examples (Yin et al. 2018): at least 1, by Cauchy-Schwarz; inf when Q = 0 < S1."""
    return ratio(num_examples * sum_sq_norms, sq_norm_sum)


def simple_noise_scale(num_examples: float, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """B_simple = tr Σ/‖ḡ‖² = B_S - 1, in examples, Σ the population covariance (McCandlish et al. 2018, Eq. 2.9).

    n S1/Q = (tr Σ + ‖ḡ‖²)/‖ḡ‖², so that B_S = 1 + B_simple is an identity, not an approximation.
    """
    return batch_size_bound(num_examples, sum_sq_norms, sq_norm_sum) - 1


def sq_norm_mean(num_examples: float, sq_norm_sum: float) -> float:
    """‖ḡ‖² = Q/n², ḡ the mean gradient."""
    return ratio(sq_norm_sum, num_examples**2)


def trace_covariance(num_examples: float, sum_sq_norms: float, sq_norm_sum: float) -> float:
    """tr Σ = S1/n - Q/n² = (1/n) sum_i ‖g_i - ḡ‖², the population covariance (divided by n, not n - 1)."""
    return ratio(sum_sq_norms, num_examples) - sq_norm_mean(num_examples, sq_norm_sum)


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
