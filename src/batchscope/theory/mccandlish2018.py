"""McCandlish et al., "An Empirical Model of Large-Batch Training" (2018): noise scale and the steps/examples trade-off.

Σ is the population covariance of the gradient of one example (divisor n), ḡ the mean gradient; both at fixed weights.
"""

from __future__ import annotations

import math

from batchscope.errors import InputError
from batchscope.theory.network import check_number


def simple_noise_scale(trace_covariance: float, sq_norm_mean: float) -> float:
    """Return B_simple = tr Σ / ‖ḡ‖², in examples; ∞ where the mean gradient vanishes, NaN at 0/0.

    trace_covariance: tr Σ = S1/n - Q/n². sq_norm_mean: ‖ḡ‖² = Q/n². Source: McCandlish et al. 2018, Section 2.2.
    Raises InputError for a negative or non-finite value.

    >>> simple_noise_scale(6.0, 2.0)
    3.0
    """
    trace = float(check_number("trace_covariance", trace_covariance, positive=False))
    mean = float(check_number("sq_norm_mean", sq_norm_mean, positive=False))
    if mean == 0:
        return math.nan if trace == 0 else math.inf
    return trace / mean


def noise_scale_from_bound(batch_size_bound: float) -> float:
    """Return B_simple = B_S - 1: Yin's bound and McCandlish's simple noise scale are the same number but for the one.

    B_S = n S1/Q and B_simple = (S1/n - Q/n²)/(Q/n²). Standing: an identity, proved here. Raises InputError for B_S < 1.

    >>> noise_scale_from_bound(30.0)
    29.0
    """
    if not batch_size_bound >= 1:
        raise InputError(f"batch_size_bound must be >= 1 (Cauchy-Schwarz), got {batch_size_bound!r}")
    return batch_size_bound - 1


def bound_from_noise_scale(simple_noise_scale: float) -> float:
    """Return B_S = 1 + B_simple, the inverse of `noise_scale_from_bound`. Raises InputError for a negative noise scale.

    >>> bound_from_noise_scale(29.0)
    30.0
    """
    if not simple_noise_scale >= 0:
        raise InputError(f"simple_noise_scale must be >= 0, got {simple_noise_scale!r}")
    return 1 + simple_noise_scale


def steps_to_target(batch_size: float, s_min: float, b_crit: float) -> float:
    """Return S = S_min (1 + B_crit/B), update steps to the target at batch size B.

    batch_size: B, examples > 0. s_min: fewest steps, at B -> ∞. b_crit: critical batch size, examples.
    Source: McCandlish et al. 2018, Section 2.3. Standing: the paper's model, not a theorem. Raises InputError unless
    > 0.

    >>> steps_to_target(500, s_min=1000, b_crit=500)
    2000.0
    """
    B, S_min, B_crit = _positive(batch_size=batch_size, s_min=s_min, b_crit=b_crit)
    return S_min * (1 + B_crit / B)


def examples_to_target(batch_size: float, s_min: float, b_crit: float) -> float:
    """Return E = B S = E_min (1 + B/B_crit), examples processed to the target, with E_min = S_min B_crit.

    Together (S/S_min - 1)(E/E_min - 1) = 1. Arguments, source and standing as in `steps_to_target`.

    >>> examples_to_target(500, s_min=1000, b_crit=500)
    1000000.0
    """
    return float(batch_size) * steps_to_target(batch_size, s_min, b_crit)


def critical_batch_size(s_min: float, e_min: float) -> float:
    """Return B_crit = E_min/S_min, where steps and examples both cost twice their minimum.

    Source: McCandlish et al. 2018, Section 2.3. Standing: definition. Raises InputError unless both are > 0.

    >>> critical_batch_size(s_min=1000, e_min=500_000)
    500.0
    """
    S_min, E_min = _positive(s_min=s_min, e_min=e_min)
    return E_min / S_min


def step_efficiency(batch_size: float, noise_scale: float) -> float:
    """Return 1/(1 + B_noise/B): best loss decrease of a step, and best step size, as fractions of the full-batch ones.

    noise_scale: B_noise = tr(HΣ)/ḡᵀHḡ, examples >= 0; B_simple where the Hessian is a multiple of the identity.
    Source: McCandlish et al. 2018, Section 2.2. Standing: the paper's, exact for a quadratic loss.

    >>> step_efficiency(500, noise_scale=500)
    0.5
    """
    (B,) = _positive(batch_size=batch_size)
    return 1 / (1 + float(check_number("noise_scale", noise_scale, positive=False)) / B)


def _positive(**values: float) -> tuple[float, ...]:
    return tuple(float(check_number(name, value)) for name, value in values.items())
