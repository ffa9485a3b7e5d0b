"""The experiment on Lemma 1: least losses, ratios and breaks, each on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

import batchscope as bs
from batchscope.recipes import yin2018
from reproduction import lemma1


def test_the_least_loss_is_that_of_least_squares():
    noisy = yin2018.lemma1()[2]
    assert noisy.dataset_options["noise"] == 0.5
    least = lemma1.least_loss(noisy)
    assert least == pytest.approx(0.5**2 / 2 * (1 - 51 / 1000), rel=0.1)  # of the noise, 51 directions are fitted
    assert lemma1.least_loss(yin2018.lemma1()[0]) == 0.0


def test_a_ratio_within_the_spread_of_seeds_has_a_lower_end_below_one():
    rng = np.random.default_rng(5)
    serial = np.exp(rng.normal(0, 0.3, (8, 4)))
    ratio, low = lemma1.ratios(serial * np.exp(rng.normal(0, 0.05, (8, 4))), serial)
    assert (low < 1).all()
    assert ratio == pytest.approx(np.ones(4), rel=0.1)
    ratio, low = lemma1.ratios(3 * serial, serial)
    assert ratio == pytest.approx(3 * np.ones(4))
    assert low == pytest.approx(ratio)  # seeds are paired: nothing is left of their spread


def test_nothing_is_compared_where_serial_sgd_is_at_the_least_loss_and_a_diverged_run_breaks():
    serial = np.full((8, 2), [1.0, 1e-14])
    ratio, low = lemma1.ratios(np.full((8, 2), [1.0, 1e-9]), serial)
    assert (ratio[1], low[1]) == (1.0, 0.0)
    batched = np.ones((8, 2))
    batched[3] = np.inf
    assert np.isinf(lemma1.ratios(batched, serial)[1][0])


def test_delta_and_the_promise_are_the_papers():
    line = lemma1.Line("linear", 1, 0.001, 33, least_bound=64.0, ratio=1.3, low=1.26, at_pass=1, n=8)
    assert (line.delta, line.promise, line.broken) == (0.5, 1.25, True)
    assert bs.theory.yin2018.largest_batch_size(64.0, delta=line.delta) == 33


def test_the_largest_batch_that_keeps_the_promise_is_before_the_first_break():
    def line(batch_size: int, low: float) -> lemma1.Line:
        return lemma1.Line("linear", 1, 0.001, batch_size, 64.0, low, low, 1, 8)

    assert lemma1.largest_kept([line(2, 0.9), line(4, 0.9), line(8, 5.0), line(16, 0.9)]) == 4
    assert lemma1.largest_kept([line(2, 5.0)]) == 1
