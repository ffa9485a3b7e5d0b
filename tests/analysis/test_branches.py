"""Branches of a run: the test over seeds against known truth, and a loop whose expected losses are known exactly."""

import math

import numpy as np
import pytest

import batchscope as bs
from batchscope.analysis.branches import NOT_WORSE, UNDECIDED_BRANCH, WORSE, decide, smoothed
from batchscope.errors import InputError

KS = (1, 2, 4, 8, 16)


def studies(excess, spread, n, count, seed):
    """`count` studies: losses of every k above that of k = 1, normal, with what the branches of a seed share."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        shared = rng.normal(2.0, 0.05, n)
        yield {k: shared + above + rng.normal(0, spread, n) for k, above in zip(KS, excess, strict=True)}


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize(
    ("excess", "largest"),
    [
        ((0, 0, 0, 0, 0), 16),
        ((0, 0.005, 0.01, 0.03, 0.1), 4),  # exactly the tolerance is not worse
        ((0, 0.0101, 0.02, 0.05, 0.2), 1),
        ((0, -0.01, -0.01, 0.02, 0.5), 4),
    ],
)
def test_at_least_and_below_hold_the_truth_as_often_as_stated(n, excess, largest):
    count, wrong = 400, 0
    for losses in studies(excess, 0.01, n, count, seed=n):
        found = decide(losses, 64, tolerance=0.01, level=0.9)
        wrong += found.at_least > largest or (found.below is not None and found.below <= largest)
    # 0.1 is allowed; 3 standard errors of 400 draws are 0.045
    assert wrong / count <= 0.1 + 0.045


def test_with_enough_seeds_it_decides_and_with_few_it_says_undecided():
    clear = (0, 0.0, 0.0, 0.05, 0.1)
    found = decide(next(studies(clear, 0.005, 10, 1, 0)), 64)
    assert (found.at_least, found.below, found.is_decided) == (4, 8, True)
    assert [one.decision for one in found.branches] == [NOT_WORSE, NOT_WORSE, WORSE, WORSE]
    assert "at least 256 (4 x 64), below 512 (8 x 64)" in found.statement
    open_ = decide(next(studies(clear, 0.05, 2, 1, 0)), 64)
    assert not open_.is_decided
    assert UNDECIDED_BRANCH in [one.decision for one in open_.branches]
    assert "undecided at k = " in open_.statement
    assert "undecided" in str(open_)


def test_branches_that_diverge_are_never_taken_for_good_ones():
    losses = {1: [2.0] * 6, 2: [2.0, 2.001, 1.999, 2.0, 2.0, 2.0], 4: [math.inf] * 6, 8: [math.nan] * 6}
    found = decide(losses, 32)
    assert (found.at_least, found.below) == (2, 4)  # six of six: 1/64
    assert [one.num_diverged for one in found.branches] == [0, 6, 6]
    found = decide(losses | {4: [2.0, 2.0, 2.0, 2.0, 2.0, math.inf], 8: [2.0] * 5 + [math.inf]}, 32)
    assert (found.at_least, found.below) == (2, None)


def test_an_order_of_k_and_of_seeds_changes_nothing_and_a_shift_of_a_seed_neither():
    losses = next(studies((0, 0, 0.01, 0.03, 0.1), 0.01, 6, 1, 3))
    expected = decide(losses, 64)
    order = np.random.default_rng(0).permutation(6)
    shuffled = {k: losses[k][order] + np.arange(6.0) for k in reversed(KS)}
    found = decide(shuffled, 64)
    assert (found.at_least, found.below) == (expected.at_least, expected.below)
    assert [one.p_worse for one in found.branches] == pytest.approx([one.p_worse for one in expected.branches])


def test_smoothing_counts_examples_not_steps():
    assert smoothed([(64.0 * i, 3.0) for i in range(1, 50)], 500.0) == pytest.approx(3.0)

    def falling(size):
        return smoothed([(e, math.exp(-e / 4000)) for e in range(size, 16001, size)], 1600.0)

    assert falling(16) == pytest.approx(falling(160), rel=0.05)
    continuous = math.exp(-4) * (4000 / (4000 - 1600))  # of an infinitely long branch
    assert falling(4) == pytest.approx(continuous, rel=0.01)


class Quadratic:
    """Gradient descent with noise of variance c/B along curvatures h: expected losses are known in closed form."""

    batch_size, step_size = 8, 0.05

    def __init__(self, noise=4.0):
        self.h, self.noise = 1 / np.arange(1, 41.0), noise
        self.start = np.full(40, 0.2)

    def branch(self, batch_size, step_size, seed, num_examples):
        rng, x = np.random.default_rng([seed, batch_size]), self.start.copy()
        for step in range(1, num_examples // batch_size + 1):
            x -= step_size * self.h * x + step_size * np.sqrt(self.noise * self.h / batch_size) * rng.normal(size=40)
            yield step * batch_size, float(self.h @ x**2 / 2)

    def expected(self, k, rule, num_examples, smoothing):
        size, rate = k * self.batch_size, self.step_size * rule(k)
        square, curve = self.start**2, []
        for step in range(1, num_examples // size + 1):
            square = (1 - rate * self.h) ** 2 * square + rate**2 * self.noise * self.h / size
            curve.append((step * size, float(self.h @ square / 2)))
        return smoothed(curve, smoothing * num_examples)


@pytest.mark.parametrize(
    ("name", "rule"), [("linear", lambda k: k), ("square root", math.sqrt), ("constant", lambda k: 1)]
)
def test_on_a_loop_of_known_expected_loss_the_answer_is_that_of_the_closed_form(name, rule):
    loop, length = Quadratic(), 4096
    ks = (2, 4, 8, 16)
    base = loop.expected(1, rule, length, 0.1)
    excess = {k: loop.expected(k, rule, length, 0.1) - base for k in ks}
    tolerance = 0.02
    largest = max([1, *(k for k in ks if all(excess[j] <= tolerance for j in ks if j <= k))])
    found = bs.branch_test(loop, num_examples=length, ks=ks, seeds=12, rule=name, tolerance=tolerance)
    assert found.at_least <= largest
    assert found.below is None or found.below > largest
    assert found.at_least * 4 >= largest  # and it is not idle
    for one in found.branches:
        assert one.difference == pytest.approx(excess[one.k], abs=0.02 + 0.1 * abs(excess[one.k]))
        assert one.step_size == pytest.approx(0.05 * rule(one.k))


GOOD = {1: [2.0, 2.1], 2: [2.0, 2.1]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decide({1: [1.0, 2.0]}, 8), "expected k = 1 and others"),
        (lambda: decide({2: [1.0, 2.0], 4: [1.0, 2.0]}, 8), "expected k = 1"),
        (lambda: decide({1: [1.0, 2.0], 2: [1.0]}, 8), "two or more seeds of each"),
        (lambda: decide({1: [1.0], 2: [1.0]}, 8), "two or more seeds"),
        (lambda: decide({1: [1.0, math.inf], 2: [1.0, 2.0]}, 8), "k = 1. diverged"),
        (lambda: decide(GOOD, 8, tolerance=-1), "tolerance = -1"),
        (lambda: decide(GOOD, 8, rule="linaer"), "did you mean 'linear'"),
        (lambda: bs.branch_test(Quadratic(), num_examples=512, seeds=1), "expected at least two"),
        (lambda: bs.branch_test(Quadratic(), num_examples=8), "less than one batch"),
        (lambda: bs.branch_test(Quadratic(), num_examples=512, ks=(0.5,)), "whole numbers above 1"),
        (lambda: bs.branch_test(Quadratic(), num_examples=512, smoothing=0), "smoothing = 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_loop_that_yields_nothing_is_named():
    class Silent(Quadratic):
        def branch(self, *arguments):
            return []

    with pytest.raises(InputError, match=r"yielded no \(examples, loss\)"):
        bs.branch_test(Silent(), num_examples=512)
