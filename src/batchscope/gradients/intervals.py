"""The interval of B_S when the examples measured are a sample of a larger population.

The interval is a delete-one-group jackknife on 1/B_n, turned over at the end. On that scale the estimate,
1/n + (1 - 1/n) U/(S1/m), is an unbiased mean of pairs over a mean, near normal, and an interval that reaches zero has a
meaning: the sample cannot tell the mean gradient from zero, and B_S is *at least* X with no upper limit.

Chosen by simulation against two others: the jackknife on log B, which ends at zero by construction and so invents an
upper limit where there is none, and Fieller's theorem, which is the same within noise when norms are even and covers
less when they are heavy-tailed.

Coverage of the nominal 95 % interval with the truth known (tests/gradients/test_intervals.py; 50-dimensional Gaussian
gradients, m of n = 60, 200 and 1000 of inf, 1000 of 2000, 320 of 400; 5, 10 and 20 groups; 500 repetitions, so each
figure is good to 0.02). Rows: spread t of the examples' scales, each gradient multiplied by exp(t z), z normal; with
t = 0.7 the largest of a thousand squared norms is about a hundred times the median.

    t, B_S of the model at t = 0       2            11           101          1001
    0                             0.94-0.97    0.94-0.97    0.95-0.98    0.95-1.00
    0.4                           0.92-0.96    0.93-0.97    0.94-0.99    0.95-1.00
    0.7                           0.83-0.95    0.92-0.95    0.94-0.99    0.96-1.00

Above 0.95 where B_S >= m: the jackknife counts the pair noise of U twice (Efron and Stein 1981), and there most
intervals are "at least". Below 0.90 only for B_S near 2 with heavy tails and m <= 200, where a few examples hold most
of S1: the misses are intervals that lie too low, and the remedy is to measure more examples.

Sources: Busing, Meijer and van der Leeden, *Delete-m jackknife for unequal m*, Statistics and Computing 9, 1999;
Efron and Stein, *The jackknife estimate of variance*, Annals of Statistics 9, 1981.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from batchscope.errors import InputError
from batchscope.gradients.estimands import Moments, ratio, sample_batch_size_bound, sample_inverse_bound
from batchscope.gradients.moments import GradientMoments


@dataclass(frozen=True)
class SampleEstimate:
    """B_S of a population, estimated from a sample of it.

    value: estimate of B_S in examples (`estimands.sample_batch_size_bound`); NaN when no finite one is supported.
    low, high: the interval in examples; high = inf means "at least low"; both NaN when no interval can be formed.
    level: nominal coverage. num_examples: m. population: n, math.inf for an infinite one. num_groups: jackknife groups.
    """

    value: float
    low: float
    high: float
    level: float
    num_examples: int
    population: float
    num_groups: int

    @property
    def bounds(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    @property
    def statement(self) -> str:
        """One sentence that a person can quote, whatever came out."""
        return f"B_S {self._finding} ({self._basis})"

    def __str__(self) -> str:
        return self.statement

    @property
    def _finding(self) -> str:
        if math.isnan(self.low):
            return f"= {self.value:.4g}" if not math.isnan(self.value) else "unknown"
        if self.low == self.high:
            return f"= {self.value:.4g}"
        return f"at least {self.low:.4g}" if self.high == math.inf else f"{self.low:.4g} to {self.high:.4g}"

    @property
    def _basis(self) -> str:
        if self.num_examples == self.population:
            return f"exact, all {self.num_examples} examples"
        whole = "an infinite population" if self.population == math.inf else f"{self.population:.0f} examples"
        basis = f"from {self.num_examples} of {whole}"
        if math.isnan(self.low):
            return f"{basis}; no interval: {self.num_groups} groups of examples are too few"
        return f"{100 * self.level:g} % interval {basis}, {self.num_groups} groups"


def sample_interval(
    moments: GradientMoments, population: float, level: float = 0.95, names: Iterable[str] | None = None
) -> SampleEstimate:
    """Estimate and interval of the population's B_S from a random sample of it, drawn without replacement.

    moments: measured on the sample, with groups (`MomentsAccumulator(num_groups=...)`); without, the interval is NaN.
    population: n, the number of examples the sample was drawn from; math.inf for fresh data.
    names: parameters to cover, e.g. those of one module; all when None.
    Raises InputError when the population is smaller than the sample or the level is not inside (0, 1).
    """
    names = list(moments.grad_sums) if names is None else list(names)
    return jackknife_interval(moments.select(names), moments.leave_one_out(names), population, level)


def jackknife_interval(
    total: Moments, left_out: Sequence[Moments], population: float = math.inf, level: float = 0.95
) -> SampleEstimate:
    """`sample_interval` on plain numbers: the sample's moments and, per group, the moments without that group.

    1/B_n ± t_{k-1} sqrt((1 - m/n) v), v the jackknife variance over k groups, t Student's quantile. The interval is cut
    to [1, inf], where B_S always lies, so coverage is not touched; and where the estimate of 1/B_n is negative, low is
    the limit that an estimate of zero would give, since "at least" more than that is not to be had from noise.
    """
    if not 0 < level < 1:
        raise InputError(f"level={level}: expected a probability between 0 and 1, such as 0.95")
    value = sample_batch_size_bound(total.num_examples, total.sum_sq_norms, total.sq_norm_sum, population)
    left_out = [rest for rest in left_out if rest.num_examples < total.num_examples]  # an empty group says nothing
    low, high = _bounds(total, left_out, population, level)
    if population == total.num_examples:
        low = high = value
    return SampleEstimate(value, low, high, level, total.num_examples, population, len(left_out))


def jackknife_variance(estimate: float, left_out: Sequence[float], shares: Sequence[float]) -> float:
    """Delete-m_j jackknife variance for groups of unequal size (Busing et al. 1999); NaN for fewer than 2 groups.

    With w_j = m_j/m the shares, pseudo-values τ_j = θ/w_j - (1/w_j - 1) θ_{-j} and θ_J = kθ - sum_j (1 - w_j) θ_{-j}:
    v = (1/k) sum_j (τ_j - θ_J)²/(1/w_j - 1). For equal groups this is (k-1)/k sum_j (θ_{-j} - mean θ_{-j})².
    """
    k = len(left_out)
    if k < 2:
        return math.nan
    centre = k * estimate - sum((1 - w) * rest for rest, w in zip(left_out, shares, strict=True))
    pseudo = [estimate / w - (1 / w - 1) * rest for rest, w in zip(left_out, shares, strict=True)]
    return sum((value - centre) ** 2 / (1 / w - 1) for value, w in zip(pseudo, shares, strict=True)) / k


def _bounds(total: Moments, left_out: Sequence[Moments], population: float, level: float) -> tuple[float, float]:
    inverse = _inverse_bound(total, population)
    shares = [1 - rest.num_examples / total.num_examples for rest in left_out]
    variance = jackknife_variance(inverse, [_inverse_bound(rest, population) for rest in left_out], shares)
    if math.isnan(variance):
        return math.nan, math.nan
    quantile = float(stdtrit(len(left_out) - 1, (1 + level) / 2))
    margin = quantile * math.sqrt((1 - total.num_examples / population) * variance)
    return _turn_over(max(inverse, 0.0) + margin), _turn_over(inverse - margin)


def _turn_over(inverse: float) -> float:
    """An end of the interval of 1/B_S, cut to [0, 1], as an end of the interval of B_S."""
    return ratio(1.0, min(max(inverse, 0.0), 1.0))


def _inverse_bound(moments: Moments, population: float) -> float:
    return sample_inverse_bound(moments.num_examples, moments.sum_sq_norms, moments.sq_norm_sum, population)
