"""The stand-in for Gisette beside the real rows: the committed numbers are those of the code, and are alike."""

from __future__ import annotations

import json

import numpy as np
import pytest

from batchscope.data.locate import find
from reproduction import evidence, gisette

COMMITTED = json.loads((evidence.RESULTS / "gisette.json").read_text())


def test_the_committed_stand_in_is_the_one_that_is_generated():
    assert gisette.of_set("gisette_like", 1) == pytest.approx(COMMITTED["stand_ins"][1])


@pytest.mark.skipif(find("gisette") is None, reason="the files of gisette are not at hand")
def test_the_committed_real_numbers_are_those_of_the_files():
    assert gisette.of_set("gisette") == pytest.approx(COMMITTED["real"])


def test_the_two_are_alike():
    for name, real in COMMITTED["real"].items():
        drawn = float(np.mean([one[name] for one in COMMITTED["stand_ins"]]))
        # Two differ by more than a fifth, as the page shows: rare features are less rare, so fewer are never seen.
        rare = name in ("features' rates, lower quartile", "features that are 0 in all rows")
        assert drawn == pytest.approx(real, rel=0.65 if rare else 0.2), name


def test_one_direction_holds_all_variance_of_rows_along_it():
    rows = np.outer(np.arange(7.0), np.ones(11))
    assert gisette.first_share(rows) == pytest.approx(1)
    assert gisette.first_share(np.eye(5)) == pytest.approx(1 / 4)  # five corners of a simplex: four equal directions


def test_left_out_rows_are_judged_without_their_labels():
    rng = np.random.default_rng(3)
    inputs, labels = rng.normal(size=(240, 400)), rng.integers(0, 2, 240)
    assert gisette.left_out_accuracy(inputs, labels) < 0.62  # noise: a classifier that saw the rows would have 1
    inputs[:, 0] += 20 * labels
    assert gisette.left_out_accuracy(inputs - inputs.mean(axis=0), labels) > 0.95
