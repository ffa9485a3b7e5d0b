"""B_S at the start against the batches that nets bear: ranks within groups, planted and committed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reproduction.initial_weights import Net
from scipy import stats

from batchscope.report.charts.chart import Points
from reproduction import figures, initial_weights


def test_ranks_are_compared_within_groups_and_a_net_without_a_number_is_left_out():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 3, 9))
    among = tuple(
        Net(f"scheme {group}", depth, 100 * group + x[group, depth], math.nan if depth else 1.0, y[group, depth])
        for group in range(3)
        for depth in range(9)
    )
    found = initial_weights.ranks(lambda net: net.scheme, lambda net: net.start, among)
    ranks = [np.concatenate([stats.rankdata(one[k]) - 5 for k in range(3)]) for one in (x, y)]
    assert found.rank == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert found.n == 27


def test_the_figure_shows_every_net_and_those_outside_the_sweep_as_open():
    panels = figures.initial_weights_figure()[0].panels
    for panel, pick in zip(panels, (initial_weights.start_of, initial_weights.early_of), strict=True):
        series = [layer for layer in panel.layers if isinstance(layer, Points)]
        drawn = [point for layer in series for point in zip(layer.x, layer.marks, strict=True)]
        assert drawn == [
            (pick(net), {math.inf: "above", 0: "below"}.get(net.largest, "filled"))
            for net in initial_weights.nets()
            if not math.isnan(pick(net))
        ]


def test_the_nets_are_five_shapes_under_four_schemes():
    nets = initial_weights.nets()
    assert len(nets) == len({(net.scheme, net.depth) for net in nets}) == 20
    assert all(net.start >= 1 for net in nets)
