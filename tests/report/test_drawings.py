"""Both drawings of a chart show the same: numbers, bars, bands, cells, ticks, limits, names and words."""

import dataclasses
import warnings
from textwrap import wrap
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.analysis.digest import digest
from batchscope.report.charts import CHARTS, charts
from batchscope.report.charts.axes import categories, doubling, linear, log_axis
from batchscope.report.charts.blocks import block_diversity
from batchscope.report.charts.chart import Band, Chart, Heat, HeatCell, Hue, Line, Panel, Points
from batchscope.report.drawing import interactive, static
from batchscope.visible import visible
from tests.report import extraction, factory
from tests.report.measured_resnet import resnet

SMALL = factory.study(shapes=((1, 13), (3, 11), (10, 7)), batch_sizes=(8, 32, 512), num_seeds=3)


def same(chart):
    """Assert that the two drawings of a chart agree, in every panel and at every position of its slider."""
    with static.look():
        figure = static.draw(chart, "subtitle")
    drawn = interactive.draw(chart)
    still = extraction.of_figure(figure)
    if chart.slider:
        places = [chart.panels.index(panel) for panel in chart.still]
        moving = [extraction.of_frame(drawn, place) for place in places]
    else:
        moving = [extraction.of_plotly(drawn, place) for place in range(len(chart.panels))]
    assert len(still) == len(moving)
    for one, other in zip(still, moving, strict=True):
        assert extraction.differences(one, other) == []
    assert extraction.names_of_figure(figure) == extraction.names_of_plotly(drawn)
    said = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert " ".join(wrap(chart.caption, 60)) in said
    assert chart.title in said
    return still


@pytest.fixture(scope="module")
def described():
    tuned = [dataclasses.replace(row, protocol="tuned") for row in SMALL]
    return charts(digest(SMALL, against=tuned))


@pytest.mark.parametrize("name", CHARTS)
def test_static_and_interactive_show_the_same(name, described):
    panels = same(described[name])
    assert any(panel["points"] or panel["cells"] for panel in panels)


def test_every_frame_of_a_slider_is_its_panel(described):
    chart = described["largest_batch"]
    drawn = interactive.draw(chart)
    assert len(drawn["frames"]) == len(drawn["values"]) == len(chart.panels)
    for k, panel in enumerate(chart.panels):
        alone = interactive.draw(Chart("", "", (panel,)))
        assert extraction.differences(extraction.of_plotly(alone), extraction.of_frame(drawn, k)) == []


def test_the_chart_of_blocks_shows_the_same_in_all_its_panels():
    same(block_diversity({"before": [resnet(2)], "after": [resnet(2, scale) for scale in (1, 2, 8)]}))


numbers = st.floats(0.01, 1e5)


@st.composite
def points(draw):
    y = draw(st.lists(numbers, min_size=1, max_size=5))
    bars = [draw(st.one_of(st.none(), st.floats(1.0, 3.0))) for _ in y]
    marks = tuple(draw(st.sampled_from(("filled", "ringed", "above", "below", "lost"))) for _ in y)
    return Points(
        name=draw(st.sampled_from(("", "a", "b"))),
        colour=Hue(draw(st.integers(0, 4)), 5),
        x=tuple(draw(numbers) for _ in y),
        y=tuple(y),
        low=tuple(bar and value / bar for value, bar in zip(y, bars, strict=True)),
        high=tuple(bar and value * bar for value, bar in zip(y, bars, strict=True)),
        marks=marks,
    )


@st.composite
def panels(draw):
    layers = [*draw(st.lists(points(), min_size=1, max_size=3))]
    x = tuple(sorted(draw(st.lists(numbers, min_size=2, max_size=4, unique=True))))
    layers.append(Line("line", "ink", x, x[::-1], draw(st.sampled_from(("solid", "dashed", "dotted")))))
    layers.append(Band(Hue(0, 5), x, x, tuple(2 * value for value in x)))
    heights = [y for layer in layers[:-2] for y in layer.y]
    scale = draw(st.sampled_from((doubling, linear, log_axis)))
    return Panel(doubling("x", x), scale("y", heights), tuple(layers), "panel")


@settings(max_examples=8)
@given(st.lists(panels(), min_size=1, max_size=2))
def test_any_chart_is_drawn_the_same_twice(some):
    some = [Panel(panel.x, some[0].y, panel.layers, panel.title) for panel in some]  # panels share their heights
    same(Chart("A title", "A caption.", tuple(some), legend="things"))


@settings(max_examples=8)
@given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 2)), st.one_of(st.none(), st.floats(0, 1))))
def test_any_heat_map_is_drawn_the_same_twice(cells):
    heat = Heat(tuple(HeatCell(x, y, f"{x}/{y}", shade) for (x, y), shade in cells.items()))
    axes = categories("columns", list("abcd")), categories("", list("xyz"), downwards=True)
    (panel,) = same(Chart("A map", "Cells.", (Panel(*axes, (heat,)),)))
    assert len(panel["cells"]) == len(cells)


@pytest.mark.parametrize("place", ["y", "low", "x"])
def test_the_comparison_sees_a_number_that_is_off_by_one_per_cent(place):
    def panel(factor):
        values = {"x": (8.0,), "y": (3.0,), "low": (2.0,), "high": (5.0,)}
        values[place] = (values[place][0] * factor,)
        return Panel(doubling("x", [8]), doubling("y", [3]), (Points("a", Hue(0, 2), **values),))

    with static.look():
        (still,) = extraction.of_figure(static.draw(Chart("", "", (panel(1.0),))))
    moving = extraction.of_plotly(interactive.draw(Chart("", "", (panel(1.01),))))
    assert extraction.differences(still, moving)


ODD_NAMES = ["$\\frac{$", "$x$", "宽网", "evil\x1b[2J\x07\u202e", "_hidden", "<b>&amp;"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_names_are_drawn_as_they_are_whatever_they_hold(tmp_path, suffix):
    """No formula is read into them, nothing is said of a missing letter, and SVG stays XML."""
    layers = tuple(Line(name, Hue(k, len(ODD_NAMES)), (1.0, 2.0), (1.0, k + 2.0)) for k, name in enumerate(ODD_NAMES))
    axis = categories("x", ODD_NAMES)
    chart = Chart("title $\\frac{$", "caption \x1b", (Panel(axis, linear("y \x1b", (0.0, 9.0)), layers),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = static.write(chart, tmp_path / f"names{suffix}", "subtitle \x1b $\\frac{$")
    if suffix == ".svg":
        texts = {text.strip() for text in ElementTree.parse(path).getroot().itertext()}
        assert {visible(name) for name in ODD_NAMES} <= texts
        assert {"title $\\frac{$", "caption \\u001b", "subtitle \\u001b $\\frac{$"} <= texts
