"""Closed forms against tensor Gauss-Hermite quadrature over every weight, teacher weight, input and noise variable.

The gradient's squared norm is a polynomial of degree <= 4 in each weight and input and <= 2 in each teacher weight and
noise variable, so 3 resp. 2 nodes per variable integrate it exactly: any difference is rounding or an error. Gradients
come from explicit backpropagation in this file, nothing is shared with the closed forms.
"""

import itertools
import math

import numpy as np
import pytest

from batchscope.theory import chen2018, two_layer

INITIAL_STD = {
    "standard_normal": lambda fan_in, fan_out: 1.0,
    "fan_in": lambda fan_in, fan_out: fan_in**-0.5,
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "glorot": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
}


def gauss_hermite(dimensions, nodes):
    """All points [P, dimensions] and weights [P] of the tensor rule for a standard normal vector."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    points = np.array(list(itertools.product(x, repeat=dimensions))).reshape(-1, dimensions)
    return points, np.prod(list(itertools.product(w, repeat=dimensions)), axis=1)


def stds(widths, scale):
    fans = list(itertools.pairwise(widths))
    return [INITIAL_STD[scale](*fan) for fan in fans] if isinstance(scale, str) else list(scale)


def weight_grid(widths, scale, nodes):
    """Matrices [[P, K_l, K_{l-1}] for each layer] and weights [P]."""
    shapes = [(out, fan_in) for fan_in, out in itertools.pairwise(widths)]
    points, over = gauss_hermite(sum(out * fan_in for out, fan_in in shapes), nodes)
    cuts = np.cumsum([out * fan_in for out, fan_in in shapes])[:-1]
    parts = np.split(points, cuts, axis=1)
    return [
        s * part.reshape(-1, *shape) for s, part, shape in zip(stds(widths, scale), parts, shapes, strict=True)
    ], over


def products(matrices):
    """W_L ... W_1 at every point."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return product


def quadrature_moments(widths, student="standard_normal", teacher=None, bias=False, noise=0.0):
    """Per layer (E‖g‖², E<g, g'>), by backpropagation at every point of the grid."""
    d, q, L = widths[0], widths[-1], len(widths) - 1
    weights, over_weights = weight_grid(widths, student, 3)
    teachers, over_teachers = weight_grid(widths, student if teacher is None else teacher, 2)
    x, over_x = gauss_hermite(d, 3)
    if noise:
        epsilon, over_epsilon = gauss_hermite(q, 2)
    else:
        epsilon, over_epsilon = np.zeros((1, q)), np.ones(1)
    examples = np.repeat(x, len(epsilon), axis=0)  # every input with every noise value
    noises = np.tile(noise * epsilon, (len(x), 1))
    over_examples = np.outer(over_x, over_epsilon).ravel()
    activations = [np.broadcast_to(examples[:, :, None], (len(over_weights), len(examples), d, 1))]
    for matrix in weights:
        activations.append(matrix[:, None] @ activations[-1])
    # Different teacher weights often have the same product; its probability is all that matters.
    targets, inverse = np.unique(np.round(products(teachers), 12).reshape(-1, q * d), axis=0, return_inverse=True)
    over_targets = np.bincount(inverse.ravel(), weights=over_teachers)
    sq_norms, inners = np.zeros(L), np.zeros(L)
    for target, probability in zip(targets.reshape(-1, q, d), over_targets, strict=True):
        delta = activations[-1][..., 0] - (examples @ target.T + noises)
        for layer in reversed(range(L)):
            below = activations[layer][..., 0]
            size = np.sum(delta**2, axis=-1) * (np.sum(below**2, axis=-1) + bias)
            mean = np.einsum("e,wei,wej->wij", over_examples, delta, below, optimize=True)
            sq_norms[layer] += probability * (over_weights @ size @ over_examples)
            inners[layer] += probability * (over_weights @ np.sum(mean**2, axis=(1, 2)))
            if bias:
                inners[layer] += probability * (
                    over_weights @ np.sum((delta.swapaxes(1, 2) @ over_examples) ** 2, axis=1)
                )
            delta = delta @ weights[layer]
    return list(zip(sq_norms, inners, strict=True))


CASES = [
    {"widths": (3, 1)},
    {"widths": (2, 3)},
    {"widths": (1, 1, 1)},
    {"widths": (2, 1, 1)},
    {"widths": (1, 2, 1)},
    {"widths": (3, 1, 1)},
    {"widths": (2, 2, 1)},
    {"widths": (2, 1, 2)},
    {"widths": (1, 2, 2)},
    {"widths": (2, 1, 1, 1)},
    {"widths": (1, 2, 1, 1)},
    {"widths": (1, 1, 1, 1, 1)},
    {"widths": (2, 2, 1), "student": "fan_in"},
    {"widths": (2, 2, 1), "student": "he", "teacher": "standard_normal"},
    {"widths": (2, 1, 2), "student": "glorot", "teacher": (0.5, 3.0)},
    {"widths": (1, 2, 1, 1), "student": (0.7, 1.3, 2.1)},
    {"widths": (2, 2, 1), "bias": True},
    {"widths": (1, 2, 2), "bias": True, "student": "he"},
    {"widths": (2, 1, 1, 1), "bias": True, "noise": 0.6, "student": (1.0, 2.0, 0.5)},
    {"widths": (2, 2, 1), "noise": 1.7},
    {"widths": (2, 1, 2), "noise": 0.9, "teacher": "fan_in"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_closed_form_equals_exact_quadrature(case):
    options = {
        "weight_std": case.get("student", "standard_normal"),
        "teacher_std": case.get("teacher"),
        "bias": case.get("bias", False),
        "label_noise": case.get("noise", 0),
    }
    expected = quadrature_moments(**case)
    layers = chen2018.layer_moments(case["widths"], **options)
    for layer, (sq_norm, inner) in zip(layers, expected, strict=True):
        assert float(layer.sq_norm) == pytest.approx(sq_norm, rel=1e-12)
        assert float(layer.inner) == pytest.approx(inner, rel=1e-12)
    sq_norm, inner = map(sum, zip(*expected, strict=True))
    for n in (1, 2, 11):
        sums = (n * sq_norm, n * sq_norm + n * (n - 1) * inner)
        assert [float(moment) for moment in chen2018.expected_moments(case["widths"], n, **options)] == pytest.approx(
            sums, rel=1e-12
        )
        rho = n * sums[0] / sums[1]
        assert chen2018.diversity_ratio(case["widths"], n, **options) == pytest.approx(rho, rel=1e-12)


def test_the_smallest_documented_integers():
    (first, first_inner), (second, second_inner) = quadrature_moments((2, 1, 1))
    assert 2 * (first + second) == pytest.approx(128, rel=1e-12)
    assert 2 * (first + second) + 2 * (first_inner + second_inner) == pytest.approx(164, rel=1e-12)


def test_three_inputs_two_units_one_output():
    sq_norm, inner = map(sum, zip(*quadrature_moments((3, 2, 1)), strict=True))
    assert (10 * sq_norm, 10 * sq_norm + 90 * inner) == pytest.approx((3600, 11160), rel=1e-12)


def even_grid(dimensions, nodes, reach):
    """The trapezoid rule for a standard normal vector: for analytic σ better than Gauss-Hermite, as tanh has poles."""
    x = np.linspace(-reach, reach, nodes)
    w = np.exp(-x * x / 2) / np.exp(-x * x / 2).sum()
    points = np.array(list(itertools.product(x, repeat=dimensions)))
    return points, np.prod(list(itertools.product(w, repeat=dimensions)), axis=1)


def nonlinear_moments(sigma, derivative, K, d, std1, std2, *grid):
    """(E‖g‖², E<g, g'>) per layer of a two-layer net: gradients at every grid point of W1, W1*, W2, W2*, x."""
    first, over_first = even_grid(K * d, *grid)
    first = std1 * first.reshape(-1, K, d)
    second, over_second = gauss_hermite(K, 3)
    second_teacher, over_second_teacher = gauss_hermite(K, 2)
    x, over_x = even_grid(d, *grid)
    z = np.einsum("wkd,xd->wxk", first, x)
    h, D = sigma(z), derivative(z)
    sq_norms, inners = np.zeros(2), np.zeros(2)
    for b, b_, p, p_ in [
        (std2 * second[i], std2 * second_teacher[j], over_second[i], over_second_teacher[j])
        for i in range(len(second))
        for j in range(len(second_teacher))
    ]:
        r = (h @ b)[:, None, :] - (h @ b_)[None, :, :]  # student weights, teacher weights, x
        over_both = p * p_ * np.outer(over_first, over_first)
        back = D * b
        r2 = np.sum(over_both[..., None] * r**2, axis=1)
        sq_norms += [
            np.sum(r2 * np.sum(back**2, axis=2) * np.sum(x**2, axis=1) @ over_x),
            np.sum(r2 * np.sum(h**2, axis=2) @ over_x),
        ]
        weighted = r * over_x
        mean_first = np.einsum("wtx,wxk,xd->wtkd", weighted, back, x, optimize=True)
        mean_second = np.einsum("wtx,wxk->wtk", weighted, h, optimize=True)
        inners += [
            np.sum(over_both * np.sum(mean_first**2, axis=(2, 3))),
            np.sum(over_both * np.sum(mean_second**2, axis=2)),
        ]
    return sq_norms, inners


@pytest.mark.parametrize("activation", ["tanh", "arctan", "erf"])
@pytest.mark.parametrize(
    ("K", "d", "std", "grid", "tolerance"),
    [(1, 1, 1.0, (121, 7.5), 3e-6), (2, 1, 0.25, (15, 4.5), 4e-4), (1, 2, 0.25, (13, 4.5), 1e-3)],
)
def test_two_layer_average_equals_quadrature_of_explicit_gradients(activation, K, d, std, grid, tolerance):
    """Many nested dimensions allow few nodes each, hence small weights; a linear σ still differs by half or more."""
    sigma = two_layer.activation_named(activation)
    sq_norms, inners = nonlinear_moments(sigma.value, sigma.derivative, K, d, std, 1.3, *grid)
    layers = two_layer.two_layer_moments(activation, K, d, weight_std=(std, 1.3))
    assert [layer.sq_norm for layer in layers] == pytest.approx(list(sq_norms), rel=tolerance)
    assert [layer.inner for layer in layers] == pytest.approx(list(inners), rel=tolerance)


def test_relu_average_equals_quadrature_on_the_circle():
    """K = 1, d = 2 by brute force over angles: ReLU is homogeneous, so lengths integrate to moments of χ²."""
    angles = 2 * math.pi * (np.arange(720) + 0.5) / 720
    w, x = np.meshgrid(angles, angles, indexing="ij")
    c = np.cos(w - x)
    h, D = np.maximum(c, 0), (c > 0).astype(float)
    same_unit = np.mean((h**2).mean(axis=1) ** 2)
    layers = two_layer.two_layer_moments("relu", 1, 2)
    # W2: E r r' h h' = E h²h'² + (E hh')², lengths: E|w|⁴ E|x|²E|x'|² = 8·4 and (E|w|²)² E|x|²E|x'|² = 4·4.
    pair = h.T @ h / 720  # E over the unit of hh', for every pair of inputs
    assert layers[1].inner == pytest.approx(8 * 4 * same_unit + 4 * 4 * np.mean(pair**2), rel=1e-4)
    pair_D = D.T @ D / 720
    cosine = np.cos(angles[:, None] - angles[None, :])
    # W1: 3 x·x' E hDh'D' + x·x' E hh' E DD', lengths: |w|²|x||x'| x·x' -> E|w|² E|x|² E|x'|² = 2·4.
    expected = 8 * np.mean(cosine * (3 * pair + pair * pair_D))
    assert layers[0].inner == pytest.approx(expected, rel=1e-4)
