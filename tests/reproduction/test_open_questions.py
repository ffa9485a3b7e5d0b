"""The statistics of the open questions, on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from batchscope.analysis import sweeps_of
from reproduction import evidence, open_questions


def test_one_panel_is_spearmans_correlation():
    rng = np.random.default_rng(2)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    found = open_questions.pooled({"one": (x, y)})
    assert found.rank == pytest.approx(stats.spearmanr(x, y)[0])
    assert found.interval[0] < found.rank < found.interval[1]


def test_the_levels_of_panels_do_not_count():
    x = np.arange(8.0)
    found = open_questions.pooled({"one": (x, x), "two": (x + 1000, x[::-1] - 1000)})
    assert found.rank == pytest.approx(0)  # one panel for it, one against it; the levels alone would give +-0.9
    assert found.n == 16


def test_the_first_epoch_after_the_start_is_taken_where_all_runs_got_there():
    sweeps = sweeps_of(evidence.results(evidence.MNIST))
    found = open_questions.first_after_the_start(sweeps)
    assert list(found) == list(sweeps)
    assert all(10 < bound < 10_000 for bound in found.values())
