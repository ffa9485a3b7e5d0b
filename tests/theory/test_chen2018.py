"""The theorems of Chen et al. 2018 and the exact values behind them: known values, identities, properties, refusals."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.architectures import solve_width
from batchscope.errors import InputError
from batchscope.theory import chen2018, linear
from batchscope.theory.network import LinearNetwork
from batchscope.theory.yin2018 import at_num_examples, limit_from

WIDTHS = st.lists(st.integers(1, 60), min_size=2, max_size=7)
SCALES = st.sampled_from(["standard_normal", "fan_in", "he", "glorot", 1, 3, Fraction(2, 7)])
ONE_OUTPUT = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(lambda sizes: [*sizes, 1])


def equal(d, K, L):
    """(d, K, ..., K, 1) with L weight matrices."""
    return (d, *[K] * (L - 1), 1)


# Values that were derived elsewhere: by hand, by exact quadrature, or published with the formulas.


@pytest.mark.parametrize(
    ("widths", "n", "moments", "rho"),
    [
        ((2, 1, 1), 2, (128, 164), Fraction(64, 41)),
        ((3, 2, 1), 10, (3600, 11160), Fraction(100, 31)),
        ((5, 3, 4, 2, 1), 10, (4838400, 15120000), Fraction(16, 5)),
    ],
)
def test_integer_inputs_give_exact_integers(widths, n, moments, rho):
    found = chen2018.expected_moments(widths, n)
    assert found == moments
    assert all(type(moment) is int for moment in found)
    assert chen2018.diversity_ratio(widths, n, exact=True) == rho
    assert chen2018.diversity_ratio(widths, n) == pytest.approx(float(rho), rel=1e-14)


def test_fan_in_gives_exact_fractions_not_floats():
    found = chen2018.expected_moments((7, 5, 3), 11, weight_std="fan_in", teacher_std="glorot")
    assert all(isinstance(moment, int | Fraction) for moment in found)
    glorot = ((7 + 5) / 2) ** -0.5, ((5 + 3) / 2) ** -0.5
    rounded = chen2018.expected_moments((7, 5, 3), 11, weight_std=(7**-0.5, 5**-0.5), teacher_std=glorot)
    assert [float(moment) for moment in found] == pytest.approx(rounded, rel=1e-14)


def test_with_biases_and_without():
    assert chen2018.diversity_ratio((10, 6, 5, 1), 100, bias=True) == pytest.approx(6.998, abs=5e-4)
    assert chen2018.diversity_ratio((10, 6, 5, 1), 100) == pytest.approx(6.794, abs=5e-4)


def test_initialisation_changes_shares_not_layers():
    widths = (784, 20, 20, 20, 1)
    assert chen2018.diversity_ratio(widths) == pytest.approx(27.29, abs=6e-3)
    assert chen2018.diversity_ratio(widths, weight_std="fan_in") == pytest.approx(216.19, abs=6e-3)
    for scale in (1.0, "fan_in", "he", "glorot"):
        assert chen2018.layer_ratios(widths, weight_std=scale) == pytest.approx((786, 36.86, 20.22, 14.55), abs=5e-3)
    assert chen2018.layer_shares(widths) == pytest.approx((0.25,) * 4)
    assert chen2018.layer_shares(widths, "fan_in")[0] == pytest.approx(0.93, abs=5e-3)


EXACT_AND_BOUND = {  # (d, L): "exact/bound" at K = 2, 5, 10, 20, 50, 100, 1000
    (10, 2): "6.86/1.38 8.73/2.88 9.96/3.60 10.84/4.02 11.49/4.30 11.74/4.40 11.97/4.49",
    (10, 5): "3.91/0.45 5.13/1.38 6.71/2.25 8.43/3.05 10.20/3.80 11.02/4.12 11.89/4.46",
    (10, 10): "3.34/0.21 3.75/0.74 4.68/1.38 6.26/2.18 8.61/3.18 10.00/3.74 11.76/4.41",
    (50, 2): "10.23/1.85 17.10/6.03 24.60/10.38 32.84/14.90 41.93/19.60 46.38/21.80 51.37/24.20",
    (50, 5): "4.24/0.49 6.28/1.85 9.82/3.80 15.71/6.85 26.54/12.25 35.02/16.39 49.57/23.35",
    (50, 10): "3.44/0.22 4.01/0.86 5.46/1.85 8.67/3.60 16.54/7.54 24.89/11.59 46.84/22.06",
    (100, 2): "11.03/1.92 19.90/6.89 31.38/13.20 46.82/21.50 68.67/32.89 81.92/39.60 99.54/48.30",
    (100, 5): "4.29/0.50 6.49/1.92 10.54/4.13 18.00/7.97 34.72/16.39 51.52/24.75 92.82/45.04",
    (100, 10): "3.45/0.22 4.05/0.87 5.60/1.92 9.19/3.89 19.13/8.93 31.87/15.23 83.43/40.48",
    (784, 2): "11.86/1.99 23.38/7.84 41.82/17.21 76.15/34.64 162.46/78.38 267.52/131.50 657.44/327.36",
    (784, 5): "4.34/0.50 6.70/1.99 11.29/4.45 20.73/9.27 48.14/23.06 89.84/43.94 441.02/219.48",
    (784, 10): "3.47/0.22 4.09/0.89 5.73/1.99 9.72/4.18 22.30/10.59 42.70/20.83 284.79/141.67",
}


@pytest.mark.parametrize(("d", "L"), EXACT_AND_BOUND)
def test_table_of_exact_values_and_bounds(d, L):
    for K, cell in zip((2, 5, 10, 20, 50, 100, 1000), EXACT_AND_BOUND[d, L].split(), strict=True):
        exact, bound = map(float, cell.split("/"))
        assert chen2018.diversity_ratio(equal(d, K, L)) == pytest.approx(exact, abs=6e-3)
        assert chen2018.theorem3_bound(equal(d, K, L)) == pytest.approx(bound, abs=6e-3)


@pytest.mark.parametrize(
    ("widths", "bound", "n_star"),
    [
        ((50, 20, 1), 14.9, 26.4),
        ((784, 20, 1), 34.6, 62.7),
        ((784, 1000, 1), 327, 651),
        ((100, 50, 50, 50, 1), 19.7, 36.5),
    ],
)
def test_where_theorem3_begins_to_hold(widths, bound, n_star):
    assert chen2018.theorem3_bound(widths) == pytest.approx(bound, rel=3e-3)
    assert chen2018.theorem3_min_examples(widths) == pytest.approx(n_star, rel=3e-3)
    n, bound = chen2018.theorem3_min_examples(widths), chen2018.theorem3_bound(widths)
    assert chen2018.diversity_ratio(widths, math.floor(n)) < bound < chen2018.diversity_ratio(widths, math.ceil(n))


def test_the_ratio_tends_to_3_with_depth_while_the_bound_tends_to_0():
    exact = {2: 76.15, 10: 9.716, 50: 3.546, 200: 3.114, 1000: 3.022, 10_000: 3.002}
    bound = {2: 34.6, 10: 4.18, 50: 0.774, 200: 0.191, 1000: 0.038, 10_000: 0.004}
    for L in exact:
        assert chen2018.diversity_ratio(equal(784, 20, L)) == pytest.approx(exact[L], rel=3e-4)
        assert chen2018.theorem3_bound(equal(784, 20, L)) == pytest.approx(bound[L], rel=0.06)


def test_under_fan_in_width_first_lowers_the_ratio():
    shallow = {1: 629, 5: 556, 20: 537, 28: 536.3, 100: 546, 500: 603, 5000: 736}
    deep = {1: 340, 10: 152, 20: 149, 50: 161, 100: 184, 500: 327}
    for K, rho in shallow.items():
        assert chen2018.diversity_ratio(equal(784, K, 2), weight_std="fan_in") == pytest.approx(rho, rel=2e-3)
    for K, rho in deep.items():
        assert chen2018.diversity_ratio(equal(784, K, 5), weight_std="fan_in") == pytest.approx(rho, rel=5e-3)


@pytest.mark.parametrize("d", [25, 144, 784, 1024])
def test_under_fan_in_the_two_layer_minimum_is_at_the_root_of_d(d):
    rho = {K: chen2018.diversity_ratio((d, K, 1), weight_std="fan_in", exact=True) for K in range(1, 2 * d)}
    assert min(rho, key=rho.__getitem__) == math.isqrt(d)
    for K, value in rho.items():
        delta = Fraction(K, 2 * (K + 1) * (d + K))
        assert value == (d + 2) / (1 + (d - 1) * delta)
        assert value > Fraction(2, 3) * (d + 2)


# Properties that hold for every network.


@given(widths=WIDTHS, student=SCALES, teacher=SCALES, bias=st.booleans(), noise=st.sampled_from([0, 1, Fraction(1, 3)]))
@settings(deadline=None)
def test_closed_form_and_recursion_are_the_same_numbers(widths, student, teacher, bias, noise):
    network = LinearNetwork.of(widths, student, teacher, bias, noise)
    exact, relative = linear.layer_moments(network), linear.relative_layer_moments(network)
    total = Fraction(linear.totals(exact).sq_norm)
    for layer, scaled in zip(exact, relative, strict=True):
        assert scaled.sq_norm == pytest.approx(float(layer.sq_norm / total), rel=1e-12)
        assert scaled.inner == pytest.approx(float(layer.inner / total), rel=1e-12)


@given(widths=ONE_OUTPUT, n=st.integers(1, 10**6))
@settings(deadline=None)
def test_integer_formula_for_one_output_and_standard_normal_weights(widths, n):
    d, hidden, L = widths[0], widths[1:-1], len(widths) - 1
    squares, plus = math.prod(K * K for K in hidden), math.prod(K * (K + 2) for K in hidden)
    sq_norm = L * d * (d + 2) * (plus + squares)
    alternating = sum(
        math.prod(K * (K - 1) for K in hidden[:layer]) * math.prod(K * (K + 2) for K in hidden[layer:])
        for layer in range(L)
    )
    inner = Fraction(L * d * (d + 2) * plus - d * (d - 1) * alternating, 3) + L * d * squares
    assert chen2018.expected_moments(widths, n) == (n * sq_norm, n * sq_norm + n * (n - 1) * inner)


@given(widths=ONE_OUTPUT, student=SCALES, teacher=SCALES)
@settings(deadline=None)
def test_the_limit_lies_between_3_and_d_plus_2_and_the_first_layer_attains_it(widths, student, teacher):
    d = widths[0]
    layers = linear.layer_moments(LinearNetwork.of(widths, student, teacher))
    ratios = [linear.exact_ratio(layer, math.inf) for layer in layers]
    assert ratios[0] == d + 2
    assert ratios == sorted(ratios, reverse=True)
    assert 3 <= linear.exact_ratio(linear.totals(layers), math.inf) <= d + 2


@given(widths=WIDTHS, student=SCALES, n=st.integers(2, 10**6))
@settings(deadline=None)
def test_one_over_the_ratio_is_affine_in_one_over_n(widths, student, n):
    assert chen2018.diversity_ratio(widths, 1, student) == 1
    limit, finite = chen2018.diversity_ratio(widths, math.inf, student), chen2018.diversity_ratio(widths, n, student)
    assert at_num_examples(limit, n) == pytest.approx(finite, rel=1e-12)
    assert limit_from(finite, n) == pytest.approx(limit, rel=1e-9 * n)


@given(widths=ONE_OUTPUT.filter(lambda w: w[0] > 1 and len(w) > 2), grow=st.data())
@settings(deadline=None)
def test_widening_any_hidden_layer_strictly_raises_the_ratio(widths, grow):
    layer = grow.draw(st.integers(1, len(widths) - 2))
    wider = [*widths]
    wider[layer] += grow.draw(st.integers(1, 50))
    assert chen2018.diversity_ratio(widths, exact=True) < chen2018.diversity_ratio(wider, exact=True)
    assert chen2018.diversity_ratio(widths, 97, exact=True) < chen2018.diversity_ratio(wider, 97, exact=True)


@given(d=st.integers(2, 80), K=st.integers(1, 80), L=st.integers(1, 8))
@settings(deadline=None)
def test_deepening_at_equal_width_strictly_lowers_the_ratio(d, K, L):
    deeper = chen2018.diversity_ratio(equal(d, K, L + 1), exact=True)
    assert deeper < chen2018.diversity_ratio(equal(d, K, L), exact=True)


@pytest.mark.parametrize("scale", ["fan_in", "glorot"])
def test_deepening_lowers_the_ratio_for_scaled_weights_too_as_far_as_computed(scale):
    for d in (2, 5, 50, 784):
        for K in (1, 2, 10, 50, 300, 5000):
            ratios = [chen2018.diversity_ratio(equal(d, K, L), weight_std=scale) for L in range(1, 21)]
            assert all(deeper < shallower for shallower, deeper in itertools.pairwise(ratios))


@given(d=st.integers(10, 1000), budget=st.integers(5_000, 300_000))
@settings(deadline=None, max_examples=40)
def test_the_ratio_falls_with_depth_along_a_fixed_budget(d, budget):
    shapes = [(depth, solve_width(budget, depth, d, 1)) for depth in range(1, 9)]
    ratios = [chen2018.diversity_ratio(equal(d, width, depth + 1)) for depth, width in shapes]
    assert ratios == sorted(ratios, reverse=True)
    assert len(set(ratios)) == len(ratios)


@given(widths=st.lists(st.integers(2, 2000), min_size=2, max_size=10).map(lambda sizes: (*sizes, 1)))
@settings(deadline=None)
def test_the_papers_bound_is_below_the_sharp_one_and_that_below_the_ratio(widths):
    exact = chen2018.diversity_ratio(widths)
    assert chen2018.theorem3_bound(widths) < chen2018.sharp_bound(widths) < exact * (1 + 1e-12)


def test_how_loose_the_bounds_are_on_random_shapes():
    """Not a theorem ("at least twice" fails in exotic shapes), but what docs/theory.md says to expect."""
    rng = np.random.default_rng(20180)
    for L, median in ((2, 2.35), (5, 3.13), (10, 4.01)):
        shapes = [(*np.exp(rng.uniform(math.log(2), math.log(2000), L)).astype(int), 1) for _ in range(300)]
        exact = np.array([chen2018.diversity_ratio(widths) for widths in shapes])
        loose = exact / [chen2018.theorem3_bound(widths) for widths in shapes]
        assert loose.min() > 2
        assert np.median(loose) == pytest.approx(median, rel=0.1)
        assert np.median(exact / [chen2018.sharp_bound(widths) for widths in shapes]) < 1.6


@given(widths=ONE_OUTPUT.filter(lambda w: len(w) > 2), student=SCALES, teacher=SCALES)
@settings(deadline=None)
def test_the_sharp_bound_holds_for_any_scales_and_widths_of_one(widths, student, teacher):
    assert chen2018.sharp_bound(widths, student, teacher) <= chen2018.diversity_ratio(
        widths, math.inf, student, teacher
    ) * (1 + 1e-12)


@given(K=st.integers(1, 300), d=st.integers(1, 300), n=st.integers(1, 10**6) | st.just(math.inf))
@settings(deadline=None)
def test_theorem1_is_the_two_layer_case(K, d, n):
    assert chen2018.theorem1_ratio(K, d, n, exact=True) == chen2018.diversity_ratio((d, K, 1), n, exact=True)
    if n != math.inf:
        assert 1 < chen2018.theorem1_ratio(K, d, n) / chen2018.theorem1_form(K, d, n) < 8


@given(d=st.integers(1, 300), n=st.integers(1, 10**6))
@settings(deadline=None)
def test_linear_regression_and_one_input(d, n):
    assert chen2018.diversity_ratio((d, 1), exact=True) == d + 2
    assert chen2018.diversity_ratio((1, d, d, 1), exact=True) == 3


@pytest.mark.parametrize("widths", [(11, 10**9, 1), (11, 10**9, 10**9, 10**9, 1)])
def test_infinitely_wide_networks_behave_like_linear_regression(widths):
    assert chen2018.diversity_ratio(widths) == pytest.approx(13, rel=1e-7)


def test_a_much_smaller_teacher_or_student_scale():
    student_small = chen2018.diversity_ratio((23, 7, 5, 1), weight_std="fan_in", teacher_std=1000)
    assert student_small == pytest.approx(25, rel=1e-6)  # τ -> ∞: every layer sees the teacher alone
    layers = chen2018.layer_ratios((23, 7, 5, 1), weight_std="fan_in", teacher_std=Fraction(1, 1000))
    assert layers[-1] < chen2018.layer_ratios((23, 7, 5, 1), weight_std="fan_in")[-1]


@given(widths=WIDTHS, student=SCALES, bias=st.booleans())
@settings(deadline=None)
def test_biases_and_label_noise_raise_the_ratio(widths, student, bias):
    plain = chen2018.diversity_ratio(widths, math.inf, student, exact=True)
    assert chen2018.diversity_ratio(widths, math.inf, student, bias=True, exact=True) > plain
    assert chen2018.diversity_ratio(widths, math.inf, student, bias=bias, label_noise=2, exact=True) > plain


def test_deep_networks_neither_overflow_nor_lose_digits():
    for scale in ("standard_normal", "fan_in", "glorot"):
        deep = chen2018.diversity_ratio(equal(13, 2, 400), 1009, scale)
        assert deep == pytest.approx(
            float(chen2018.diversity_ratio(equal(13, 2, 400), 1009, scale, exact=True)), rel=1e-11
        )
    assert chen2018.diversity_ratio(equal(784, 1, 5000)) == pytest.approx(3, abs=0.01)
    assert math.isfinite(chen2018.diversity_ratio(equal(5, 1000, 3000), 17, bias=True, label_noise=0.5))


def test_per_layer_moments_add_up():
    widths = (7, 5, 3, 2)
    layers = chen2018.layer_moments(widths, "he", bias=True)
    total = linear.totals(layers)
    assert chen2018.expected_moments(widths, 13, "he", bias=True) == linear.sums(total, 13)
    shares, ratios = chen2018.layer_shares(widths, "he", bias=True), chen2018.layer_ratios(widths, 13, "he", bias=True)
    rho = chen2018.diversity_ratio(widths, 13, "he", bias=True)
    assert sum(share / ratio for share, ratio in zip(shares, ratios, strict=True)) == pytest.approx(1 / rho)


def test_widths_equal_bound_is_the_general_one():
    for d, K, L in ((2, 2, 2), (50, 20, 5), (784, 17, 11)):
        assert chen2018.equal_width_bound(K, L, d) == pytest.approx(chen2018.theorem3_bound(equal(d, K, L)), rel=1e-14)


# Refusals: each names what came and why it cannot be used.


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: chen2018.diversity_ratio((0, 3, 1)), r"widths\[0\] must be >= 1, got 0"),
        (lambda: chen2018.diversity_ratio((5, 2.5, 1)), r"widths\[1\] must be a whole number"),
        (lambda: chen2018.diversity_ratio((5,)), "at least two"),
        (lambda: chen2018.diversity_ratio("784,20,1"), "sequence"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), 0), "num_examples must be >= 1"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), math.nan), "num_examples must be a whole number"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), d=7), "K_0 = 5, but d = 7"),
        (lambda: chen2018.expected_moments((5, 3, 1), 10, d=7), "K_0 = 5, but d = 7"),
        (lambda: chen2018.expected_moments((5, 3, 1), math.inf), "finite"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), weight_std=0), "weight_std must be a finite number > 0, got 0"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), weight_std=(1, -2.0)), r"weight_std\[1\] .* got -2.0"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), weight_std=(1, 1, 1)), "3 entries for 2 weight matrices"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), weight_std="fan_inn"), "did you mean 'fan_in'"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), weight_std="glorot_uniform"), "fourth moment"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), teacher_std=-1), "teacher_std must be"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), label_noise=-1), "label_noise must be"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), label_noise=math.inf), "label_noise must be"),
        (lambda: chen2018.diversity_ratio((5, 3, 1), weight_std=0.1, exact=True), "int or Fraction"),
        (lambda: chen2018.expected_moments((5, *[999] * 200, 1), 3, weight_std=1.5), "range of floats"),
        (lambda: chen2018.expected_moments((5, *[9] * 300, 1), 3, weight_std=0.01), "range of floats"),
        (lambda: chen2018.theorem3_bound((50, 1, 1)), "divides by K - 1"),
        (lambda: chen2018.theorem3_bound((1, 5, 1)), "divides by K - 1"),
        (lambda: chen2018.theorem3_bound((50, 20, 1), d=49), "K_0 = 50, but d = 49"),
        (lambda: chen2018.theorem3_bound((50, 20, 10)), "one output, got d_out = 10"),
        (lambda: chen2018.theorem3_bound((50, 1)), "hidden layer"),
        (lambda: chen2018.sharp_bound((50, 20, 10)), "one output"),
        (lambda: chen2018.sharp_bound((50, 20, 1), d=49), "K_0 = 50, but d = 49"),
        (lambda: chen2018.equal_width_bound(1, 3, 10), "width must be >= 2"),
        (lambda: chen2018.equal_width_bound(5, 1, 10), "num_layers must be >= 2"),
        (lambda: chen2018.theorem1_ratio(0, 5, 10), "width must be >= 1"),
        (lambda: chen2018.theorem1_ratio(5, 0, 10), "d must be >= 1"),
        (lambda: chen2018.theorem2_form(5, 0), "d must be >= 1"),
        (lambda: chen2018.two_layer_ratio("tanhh", 5, 5), "did you mean 'tanh'"),
        (lambda: chen2018.two_layer_ratio("tanh", 5, 5, weight_std=(1, 0)), r"weight_std\[1\] must be"),
        (lambda: chen2018.two_layer_ratio("tanh", 0, 5), "width must be >= 1"),
        (lambda: chen2018.limit_given_weights([[[1.0]]], [[1.0, 2.0]]), "do not chain"),
        (lambda: chen2018.limit_given_weights([], [[1.0]]), "do not chain"),
        (lambda: chen2018.theorem2_conditional_ratio("tanh", [[1.0]], [[1.0]], [[1.0, 2.0]]), "shapes"),
        (lambda: chen2018.theorem2_conditional_ratio("tanh", [[1.0]], [[1.0]], [[1.0]], output_std=0), "output_std"),
    ],
)
def test_meaningless_inputs_are_refused_with_the_reason(call, reason):
    with pytest.raises(InputError, match=reason):
        call()
