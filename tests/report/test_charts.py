"""What charts say: their numbers are the digest's, their ticks one rule, and nothing is drawn for nothing."""

import math

import pytest

from batchscope.analysis import batch_threshold
from batchscope.analysis.digest import digest, epoch_limits
from batchscope.analysis.formatting import number, tick
from batchscope.report.charts import CHARTS, Section, charts
from batchscope.report.charts.axes import categories, doubling, linear, log_axis, powers_of_two, sideways
from batchscope.report.charts.chart import Chart, Hue, Panel, Points
from batchscope.report.charts.registry import chart_of
from tests.report import factory


@pytest.fixture(scope="module")
def one():
    return digest(factory.study(shapes=((1, 21), (5, 19)), batch_sizes=(8, 64, 512), num_seeds=5))


@pytest.fixture(scope="module")
def described(one):
    return charts(one)


def points(chart, name):
    """The points of a shape in a chart's first panel."""
    return next(layer for layer in chart.panels[0].layers if isinstance(layer, Points) and layer.name == name)


@pytest.mark.parametrize("what", ["epochs", "steps"])
def test_bars_are_the_interval_of_the_median_and_the_caption_says_so(what, one, described):
    for shape in one.sweeps:
        drawn = points(described[what], shape)
        cells = [getattr(cell, what) for cell in one.table if cell.shape == shape]
        assert drawn.y == tuple(cell.value for cell in cells)
        assert drawn.low == tuple(cell.low for cell in cells)
        assert drawn.high == tuple(cell.high for cell in cells)
    assert "bars: its 95 % interval" in described[what].caption


def test_cells_without_a_target_are_open_and_lost_ones_crosses():
    rows = [factory.row(batch_size=16), factory.censored(batch_size=64), factory.diverged(batch_size=256)]
    drawn = points(charts(digest(rows))["epochs"], rows[0].shape)
    assert drawn.marks == ("filled", "above", "lost")


def test_cells_that_never_arrive_are_hatched_and_only_those():
    rows = [factory.row(batch_size=16), factory.censored(batch_size=64), factory.diverged(batch_size=256)]
    (heat,) = charts(digest(rows))["heat_map"].panels[0].layers
    assert [cell.shade is None for cell in heat.cells] == [False, True, True]
    assert [cell.text for cell in heat.cells] == ["6.48", "> 100", "never"]


def test_held_out_error_stands_beside_every_cell_where_it_is_known(described):
    rows = [factory.row(seed=seed, heldout_accuracy=0.9 + 0.02 * seed) for seed in range(3)]
    table = charts(digest([*rows, factory.row(batch_size=64)]))["epochs"].table
    column = table.heads.index("held-out error")
    assert [line[column] for line in table.lines] == ["8 %", "-"]
    assert "mean over seeds" in table.caption
    assert "held-out error" not in described["epochs"].table.heads


def test_a_table_has_a_line_for_every_number_of_epochs_however_close(one, described):
    slow = [factory.row(seed=seed, batch_size=8, epochs_to_target=1000.0 + seed, max_epochs=2000) for seed in range(40)]
    found = charts(digest(slow))["largest_batch"]
    limits = epoch_limits(digest(slow).table, 40)
    assert len(found.table.lines) == len(limits) == len(found.panels) > 15
    assert len({line[0] for line in found.table.lines}) == len(limits)
    assert [panel.title for panel in found.panels] == [line[0] for line in found.table.lines]
    assert described["largest_batch"].panels[-1].title == number(epoch_limits(one.table, 40)[-1])


def test_the_largest_batch_is_the_threshold_within_those_epochs(one, described):
    panel = described["largest_batch"].panels[0]
    (limit, *_) = epoch_limits(one.table, 40)
    expected = batch_threshold(one.sweeps, f"within_epochs({limit:g})")
    for layer, estimate in zip(panel.layers, expected.values(), strict=True):
        height = estimate.limit if estimate.censored else estimate.value
        assert layer.y == (() if math.isnan(height) else (pytest.approx(height),))


def test_targets_that_read_alike_keep_their_lines():
    rows = factory.study(shapes=((1, 21),), batch_sizes=(8, 64), num_seeds=2)
    table = charts(digest(rows))["targets"].table
    assert len(table.lines) == 5


def test_nothing_is_drawn_for_nothing():
    assert charts(digest([])) == {}
    assert charts(digest([factory.row(phase="tune")])).keys() <= {"step_sizes"}


def test_charts_are_in_the_sections_of_the_page(one):
    sections = [section for section, _ in CHARTS.values()]
    assert set(sections) == set(Section)
    assert sections == sorted(sections, key=list(Section).index)
    assert charts(one, Section.TO_TARGET).keys() == {"epochs", "steps"}


def test_two_charts_of_one_name_are_refused():
    def epochs(one):
        return None

    with pytest.raises(ValueError, match="two charts are named 'epochs'"):
        chart_of(Section.TO_TARGET)(epochs)


def test_points_and_their_bars_have_one_length():
    with pytest.raises(ValueError, match=r"Points: .*differ in length"):
        Points("a", Hue(0, 1), (1.0, 2.0), (3.0, 4.0), low=(1.0,))


def test_a_slider_shows_the_middle_first_and_three_on_paper():
    axis = categories("", "a")
    chart = Chart("", "", tuple(Panel(axis, axis, (), f"{k}") for k in range(9)), slider="E =")
    assert chart.panels[chart.start].title == "4"
    assert [panel.title for panel in chart.still] == ["2", "4", "6"]


def test_ticks_are_powers_of_two_inside_the_axis():
    axis = doubling("x", [3, 40])
    assert axis.ticks == (4, 8, 16, 32)
    assert axis.limits[0] < 3 < 40 < axis.limits[1]
    assert axis.labels == ("4", "8", "16", "32")
    assert powers_of_two(3, 33) == [4, 8, 16, 32]


def test_long_axes_have_few_ticks_and_long_numbers_are_powers():
    axis = log_axis("x", [2**k for k in range(31)])
    assert len(axis.ticks) <= 10
    assert tick(1024) == "1024"
    assert tick(2**17) == "2¹⁷"
    assert tick(0.02) == "0.02"


@pytest.mark.parametrize(("low", "high"), [(0, 40), (-0.31, 0.44), (5, 5), (0, 1e6), (1e-3, 2e-3)])
def test_linear_ticks_are_round_inside_the_axis_and_neither_few_nor_many(low, high):
    axis = linear("x", [low, high])
    assert axis.limits[0] < low <= high < axis.limits[1]
    assert all(axis.limits[0] <= tick <= axis.limits[1] for tick in axis.ticks)
    assert 3 <= len(axis.ticks) <= 11
    step = axis.ticks[1] - axis.ticks[0]
    assert f"{step:.0e}"[0] in "125"


def test_axes_of_nothing_are_axes():
    for axis in (doubling("x", []), linear("x", []), log_axis("x", []), categories("x", [])):
        assert axis.limits[0] != axis.limits[1]


def test_points_are_shifted_by_less_than_a_batch_size_however_many_shapes():
    for count in (1, 2, 10, 100):
        shifts = [sideways(k, count) for k in range(count)]
        assert shifts == sorted(shifts)
        assert max(shifts) / min(shifts) <= 2**0.61
        assert math.prod(shifts) == pytest.approx(1)


@pytest.mark.parametrize(
    ("passes", "epochs", "data"),
    [
        (1, "passes over the data", "n = 1797 examples)"),
        (3, "each 3 passes over the data", "n = 1797 examples, 3 passes an epoch)"),
    ],
)
def test_axes_and_subtitle_say_what_an_epoch_is(passes, epochs, data):
    rows = [factory.row(batch_size=size, seed=seed, passes_per_epoch=passes) for size in (8, 64) for seed in (0, 1)]
    one = digest(rows)
    assert CHARTS["epochs"][1](one).panels[0].y.title == f"epochs to target ({epochs})"
    assert CHARTS["steps"][1](one).panels[0].y.title == "steps to target (updates)"
    assert data in one.about.subtitle
