"""Chen et al., "The Effect of Network Width on the Performance of Large-batch Training" (NeurIPS 2018): its theorems.

The quantity is rho(n) = n E Σ‖g_i‖² / E‖Σg_i‖², a ratio of averages over weights, teacher and data: not the average of
B_S = n Σ‖g_i‖²/‖Σg_i‖² (docs/theory.md says how far apart they are). Each theorem is here as the paper states it and as
the exact value behind it.

Convention. widths = (K_0 = d, K_1, ..., K_L = d_out) and L counts weight matrices, so L - 1 hidden layers; in the
paper's experiments, and everywhere else in batchscope, depth counts hidden layers. All weights N(0, s_l²); the paper
has s_l = 1 and d_out = 1. Numbers that come in exact (int, Fraction, 1.0) stay exact in `expected_moments` and
`layer_moments`; ratios and bounds are floats, unless exact=True asks for the Fraction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from batchscope.errors import InputError
from batchscope.theory import linear
from batchscope.theory.bounds import equal_width_bound, sharp_bound, theorem3_bound, theorem3_min_examples
from batchscope.theory.linear import LayerMoments, limit_given_weights
from batchscope.theory.network import LinearNetwork, Number, Scale, check_count, check_num_examples
from batchscope.theory.theorem2 import theorem2_conditional_moments, theorem2_conditional_ratio
from batchscope.theory.two_layer import two_layer_moments

__all__ = [
    "LayerMoments",
    "diversity_ratio",
    "equal_width_bound",
    "expected_moments",
    "layer_moments",
    "layer_ratios",
    "layer_shares",
    "limit_given_weights",
    "sharp_bound",
    "theorem1_form",
    "theorem1_ratio",
    "theorem2_conditional_moments",
    "theorem2_conditional_ratio",
    "theorem2_form",
    "theorem3_bound",
    "theorem3_min_examples",
    "two_layer_moments",
    "two_layer_ratio",
]


def expected_moments(
    widths: Sequence[int],
    num_examples: int,
    weight_std: Scale = 1.0,
    teacher_std: Scale | None = None,
    bias: bool = False,
    label_noise: Number = 0.0,
    *,
    d: int | None = None,
) -> tuple[Number, Number]:
    """Return (E Σ‖g_i‖², E‖Σg_i‖²) of a deep linear network: exact, and a pair of ints for the paper's N(0, 1) weights.

    E Σ‖g_i‖² = n Σ_l (P_l + 2 Q_l),  E‖Σg_i‖² = n Σ_l (P_l + (n + 1) Q_l); P_l, Q_l as in `linear.layer_moments`.
    For d_out = 1 and s = 1, with hidden widths K_m: E‖g‖² = L d(d+2) [Π K(K+2) + Π K²].

    widths: (d, K_1, ..., K_{L-1}, d_out), whole numbers >= 1. num_examples: n >= 1, finite.
    weight_std: s, one number, one per weight matrix, or "standard_normal" (1), "fan_in" (s² = 1/K_{l-1}),
        "he" (2/K_{l-1}), "glorot" (2/(K_{l-1} + K_l), Gaussian).
    teacher_std: the same for the teacher; None: as the student.
    bias: count the gradients of biases that start at zero. label_noise: standard deviation of noise on the targets.
    d: if given, checked against K_0. Raises InputError with the reason for anything else, and on float overflow.
    Standing: proved here (docs/theory.md); equal to exact quadrature to 1e-12 in tests/agreement.

    >>> expected_moments((5, 3, 4, 2, 1), 10)
    (4838400, 15120000)
    >>> expected_moments((3, 2, 1), 10, weight_std="fan_in")
    (250, 760)
    """
    n = check_count("num_examples", num_examples) if num_examples != math.inf else None
    if n is None:
        raise InputError("num_examples must be finite: sums over infinitely many examples are; see diversity_ratio")
    network = LinearNetwork.of(widths, weight_std, teacher_std, bias, label_noise, d)
    return linear.sums(linear.totals(linear.layer_moments(network)), n)


def layer_moments(
    widths: Sequence[int],
    weight_std: Scale = 1.0,
    teacher_std: Scale | None = None,
    bias: bool = False,
    label_noise: Number = 0.0,
) -> tuple[LayerMoments, ...]:
    """Return (E‖g_1‖², E<g_1, g_2>) of each layer l = 1..L, exact as in `expected_moments`; arguments as there.

    Standing: proved here.

    >>> layer_moments((2, 1, 1))
    (LayerMoments(sq_norm=32, inner=8), LayerMoments(sq_norm=32, inner=10))
    """
    return linear.layer_moments(LinearNetwork.of(widths, weight_std, teacher_std, bias, label_noise))


def diversity_ratio(
    widths: Sequence[int],
    num_examples: int | float = math.inf,
    weight_std: Scale = 1.0,
    teacher_std: Scale | None = None,
    bias: bool = False,
    label_noise: Number = 0.0,
    *,
    exact: bool = False,
    d: int | None = None,
) -> float | Fraction:
    """Return rho(n) = n E Σ‖g_i‖² / E‖Σg_i‖² of a deep linear network, in examples: the exact value Theorem 3 bounds.

    For d_out = 1, rho(∞) = (d + 2)/(1 + (d - 1) δ), δ = ⅓ A/(A + τ) Σ_l ω_l (1 - x_l), with A = Π (1 + 2/K_m),
    x_l = Π_{m<l} (K_m - 1)/(K_m + 2), ω_l ∝ 1/s_l², τ = E‖W*‖²/E‖W‖²; and 1/rho(n) = 1/n + (1 - 1/n)/rho(∞).
    3 <= rho(∞) <= d + 2 always. O(L), without overflow at any depth.

    num_examples: n >= 1, or math.inf (the default). The rest as in `expected_moments`. exact: return a Fraction, from
    the recursion in exact arithmetic (slower, needs exact standard deviations) instead of a float.
    Raises InputError as `expected_moments`. Standing: proved here; checked as there and against sampled networks.

    >>> round(diversity_ratio((784, 20, 20, 1), 60_000), 3)
    40.075
    >>> diversity_ratio((3, 2, 1), 10, exact=True)
    Fraction(100, 31)
    """
    n = check_num_examples(num_examples)
    network = LinearNetwork.of(widths, weight_std, teacher_std, bias, label_noise, d)
    if exact:
        return linear.exact_ratio(linear.totals(linear.layer_moments(network)), n)
    return linear.ratio(linear.relative_moments(network), n)


def layer_ratios(
    widths: Sequence[int],
    num_examples: int | float = math.inf,
    weight_std: Scale = 1.0,
    teacher_std: Scale | None = None,
    bias: bool = False,
    label_noise: Number = 0.0,
) -> tuple[float, ...]:
    """Return rho(n) of each layer's own gradient, l = 1..L; arguments as in `diversity_ratio`.

    With d_out = 1 the first layer's is d + 2 (at n = ∞) whatever the architecture, and the last layer's the smallest.
    They do not depend on the standard deviations when the teacher has the student's: only the layers' shares do.
    Standing: proved here.

    >>> [round(rho, 2) for rho in layer_ratios((784, 20, 20, 20, 1), weight_std="fan_in")]
    [786.0, 36.86, 20.22, 14.55]
    """
    n = check_num_examples(num_examples)
    network = LinearNetwork.of(widths, weight_std, teacher_std, bias, label_noise)
    return tuple(linear.ratio(layer, n) for layer in linear.relative_layer_moments(network))


def layer_shares(
    widths: Sequence[int],
    weight_std: Scale = 1.0,
    teacher_std: Scale | None = None,
    bias: bool = False,
    label_noise: Number = 0.0,
) -> tuple[float, ...]:
    """Return each layer's part of E‖g‖², l = 1..L, summing to 1; 1/rho is the average of the layers' 1/rho_l with them.

    For d_out = 1 without biases the shares are ω_l ∝ 1/s_l²: equal for N(0, 1) weights. Standing: proved here.

    >>> [round(share, 2) for share in layer_shares((784, 20, 20, 20, 1), weight_std="fan_in")]
    [0.93, 0.02, 0.02, 0.02]
    """
    network = LinearNetwork.of(widths, weight_std, teacher_std, bias, label_noise)
    return tuple(float(layer.sq_norm) for layer in linear.relative_layer_moments(network))


def theorem1_ratio(
    width: int, d: int, num_examples: int | float = math.inf, *, exact: bool = False
) -> float | Fraction:
    """Return rho(n) of the two-layer linear network (d, K, 1), N(0, 1) weights: Theorem 1 with its constants.

    rho(n) = 4n(d+2)(K+1) / (4(d+2)(K+1) + (n-1)(d+4K+3)); the paper states the order, `theorem1_form`.

    width: K hidden units. d: input dimension. num_examples: n or math.inf. exact: return a Fraction.
    Raises InputError for values below 1. Source: Chen et al. 2018, Theorem 1. Standing of the constants: proved here.

    >>> theorem1_ratio(2, 3, 10, exact=True)
    Fraction(100, 31)
    """
    K, d, n = check_count("width", width), check_count("d", d), check_num_examples(num_examples)
    moments = LayerMoments(4 * (d + 2) * (K + 1), d + 4 * K + 3)
    return linear.exact_ratio(moments, n) if exact else linear.ratio(moments, n)


def theorem1_form(width: int, d: int, num_examples: int) -> float:
    """Return nKd/(Kn + dn + Kd), the growth Theorem 1 states: Θ of this, constants left open.

    Source: Chen et al. 2018, Theorem 1. Standing: the paper's theorem; the exact value, `theorem1_ratio`, is between
    1 and 8 times it.

    >>> theorem1_form(2, 2, 2) < theorem1_ratio(2, 2, 2)
    True
    """
    K, d, n = check_count("width", width), check_count("d", d), check_count("num_examples", num_examples)
    return n * K * d / (K * n + d * n + K * d)


def theorem2_form(width: int, d: int) -> float:
    """Return Kd²/(Kd + K + d), the growth Theorem 2 states for nonlinear two-layer networks as n -> ∞: Ω of this.

    Source: Chen et al. 2018, Theorem 2. Standing: the paper's theorem; it does not hold uniformly in d for N(0, 1)
    first-layer weights (numeric: tanh, K = 1, d = 10⁵ has ratio 272 against 5·10⁴), it does for N(0, 1/d). See
    docs/theory.md.

    >>> theorem2_form(1, 100_000)
    49999.750001249995
    """
    K, d = check_count("width", width), check_count("d", d)
    return K * d**2 / (K * d + K + d)


def two_layer_ratio(
    activation: str,
    width: int,
    d: int,
    num_examples: int | float = math.inf,
    weight_std: Scale = (1.0, 1.0),
) -> float:
    """Return rho(n) of a two-layer nonlinear network, averaged over weights, teacher and data.

    activation: tanh, softsign, arctan, erf, relu or linear. width: K. d: input dimension. num_examples: n or math.inf.
    weight_std: (σ1, σ2) of both layers, one number, or an initialisation's name; the teacher's are the same.
    Raises InputError for anything else. Standing: formula proved here, numbers numeric (method and error: `two_layer`).

    >>> round(two_layer_ratio("tanh", 8, 20), 9)
    32.257977755
    """
    n = check_num_examples(num_examples)
    return linear.ratio(linear.totals(two_layer_moments(activation, width, d, weight_std)), n)
