"""Figure 3(c): the two readings of training accuracy, and when they are said to be near the paper's numbers."""

from __future__ import annotations

import math

import pytest

from reproduction import evidence, panel_c


def test_the_first_epoch_at_whose_end_the_target_is_met_is_that_of_the_rows():
    for given in (evidence.EMNIST, evidence.EMNIST_GRID):
        for depth in panel_c.THE_PAPERS:
            rows = [row for row in evidence.results(given).rows if (row.depth, row.batch_size) == (depth, 4096)]
            first = []
            for row in rows:
                met = [one.epoch for one in row.history if one.train_accuracy >= 0.65]
                first += [min(met, default=math.inf)] if row.phase == "final" else []
            assert panel_c._at_end(given, depth) == first


@pytest.mark.parametrize(
    ("running", "at_end", "slower", "verdict"),
    [
        ({1: [10, 9, 40], 10: [200, 300, 150]}, {1: [99], 10: [99]}, evidence.HOLDS, evidence.HOLDS),
        ({1: [99], 10: [99]}, {1: [8, 9, 10], 10: [math.inf, 216, 150]}, evidence.HOLDS, evidence.HOLDS),
        ({1: [9], 10: [math.inf, math.inf, 211]}, {1: [9], 10: [40]}, evidence.HOLDS, evidence.IN_PART),
        ({1: [9], 10: [9]}, {1: [9], 10: [9]}, "undecided", "undecided"),
        ({1: [30], 10: [9]}, {1: [30], 10: [9]}, evidence.FAILS, evidence.FAILS),
    ],
)
def test_one_reading_near_both_numbers_is_enough_and_the_medians_count(monkeypatch, running, at_end, slower, verdict):
    monkeypatch.setattr(panel_c, "_deeper_is_slower", lambda _: slower)
    monkeypatch.setattr(panel_c, "_running", lambda _, depth: running[depth])
    monkeypatch.setattr(panel_c, "_at_end", lambda _, depth: at_end[depth])
    assert panel_c.answer(evidence.EMNIST, "ours").verdict == verdict
