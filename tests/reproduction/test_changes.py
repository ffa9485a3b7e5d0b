"""The open questions on the digits: what is compared with what, and what a figure of it shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchscope.analysis.ratios import ratio_bounds
from batchscope.report.charts.chart import Line, Points
from reproduction import changes, figures


def test_every_change_is_compared_with_the_plain_net_and_has_words():
    found = changes.bought()
    assert {one.name for one in found} == set(changes.sweeps()) - {changes.PLAIN} == set(changes.WORDS)
    for one in found:
        assert one.critical.first.shape == one.within.first.shape == one.name
        assert one.critical.second.shape == one.within.second.shape == changes.PLAIN


def test_epochs_saved_are_those_of_the_plain_net_over_the_changed_ones():
    sweeps = changes.sweeps()
    he = next(one for one in changes.bought() if one.name == "deep-he")
    for k, size in enumerate((16, 64)):  # at which all runs of both arrived
        mine, plain = (np.median(sweeps[name].epochs[sweeps[name].cell == k]) for name in (he.name, changes.PLAIN))
        assert he.epochs.ends[k].batch_size == size
        assert he.epochs.ends[k].ratio == pytest.approx(plain / mine, rel=0.25)


def test_the_figure_shows_the_ratios_of_the_claim():
    panel = figures.changes_figure()[0].panels[0]
    epochs = next(layer for layer in panel.layers if isinstance(layer, Points))
    assert epochs.y == pytest.approx([one.epochs.mean_ratio for one in changes.bought()])
    assert next(layer for layer in panel.layers if isinstance(layer, Line)).y == (1.0, 1.0)
    for layer in (layer for layer in panel.layers if isinstance(layer, Points)):
        assert all(low <= y <= high for low, y, high in zip(layer.low, layer.y, layer.high, strict=True))
        assert all(panel.y.limits[0] < y < panel.y.limits[1] for y in layer.y)


def test_a_threshold_outside_the_sweep_bounds_the_ratio_from_one_side():
    for one in changes.bought():
        least, most = ratio_bounds(one.within.first, one.within.second)
        if not one.within.first.censored and not one.within.second.censored:
            assert least == most == pytest.approx(one.within.ratio)
        else:
            assert least == 0 or most == math.inf
