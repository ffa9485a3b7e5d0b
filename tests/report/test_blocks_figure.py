"""The figure of B_S by block and kind: every part is drawn where it is, runs as dots, infinity at the top."""

import pytest

from batchscope.errors import InputError, StoreError
from batchscope.gradients import parts as kinds
from batchscope.report.charts.blocks import block_diversity
from batchscope.report.charts.chart import Line, Points
from batchscope.report.drawing import static
from tests.report.measured_resnet import measured, resnet


def marks(panel):
    """(x, y, mark) of every median, from left to right; the dots of single runs are no medians."""
    points = [layer for layer in panel.layers if isinstance(layer, Points) and not layer.small]
    return sorted(mark for layer in points for mark in zip(layer.x, layer.y, layer.marks, strict=True))


def test_every_part_is_drawn_above_its_block_at_its_bound():
    report = resnet(3)
    (panel,) = block_diversity({"": [report]}).panels
    assert panel.x.labels == ("stem", "layer0.0", "layer1.0", "layer2.0", "fc")
    drawn = [(round(x), y) for x, y, _ in marks(panel)]
    expected = [(0, 5), (1, 7), (1, 11), (2, 8), (2, 11), (3, 9), (3, 11), (4, 13)]
    assert [(x, pytest.approx(y)) for x, y in expected] == drawn
    line = next(layer for layer in panel.layers if isinstance(layer, Line) and layer.name == "all parameters")
    assert line.y[0] == pytest.approx(report.total.batch_size_bound)
    legend = [layer.name for layer in panel.layers if isinstance(layer, Points)]
    assert legend == [kinds.STEM, kinds.CONVOLUTION, kinds.NORMALISATION, kinds.HEAD]


def test_runs_are_dots_around_their_median_in_panels_of_one_axis():
    runs = [resnet(2, scale) for scale in (1, 2, 8)]
    left, right = block_diversity({"before": runs[:1], "after": runs}).panels
    assert left.y == right.y
    assert left.title.startswith("before")
    assert marks(right)[0][1] == pytest.approx(10)  # the median of 5, 10, 40
    dots = next(layer for layer in right.layers if isinstance(layer, Points) and layer.small)
    assert dots.y == pytest.approx((5, 10, 40))
    assert not any(isinstance(layer, Points) and layer.small for layer in left.layers)


def test_an_infinite_bound_is_an_open_triangle_above_and_nan_is_nothing():
    report = measured({("a", kinds.CONVOLUTION): 4.0, ("b", kinds.CONVOLUTION): 9.0, ("c", kinds.HEAD): 16.0})
    parts = report.by_block_and_kind
    parts["b", kinds.CONVOLUTION] = kinds.Part(100, 1.0, 0.0, ("b",), 3, 0.3)  # Q = 0 < S1
    parts["c", kinds.HEAD] = kinds.Part(100, 0.0, 0.0, ("c",), 3, 0.0)  # all gradients zero
    (panel,) = block_diversity({"": [report]}).panels
    (low, _, filled), (_, high, above) = [mark[:3] for mark in marks(panel)]
    assert (filled, above) == ("filled", "above")
    assert low < high < panel.y.limits[1]


def test_the_table_has_every_part():
    table = block_diversity({"before": [resnet(2)], "after": [resnet(2, 2.0)]}).table
    assert len(table.lines) == 6
    assert table.lines[0] == ("stem", kinds.STEM, "5", "10")


@pytest.mark.parametrize("count", [0, 1, 16, 50])
def test_small_and_large_networks_are_written(count, tmp_path):
    path = static.write(block_diversity({"": [resnet(count)]}), tmp_path / "new" / "net.png", "of a test")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert 10_000 < path.stat().st_size < 400_000


def test_equal_reports_give_equal_bytes(tmp_path):
    for suffix in ("png", "svg", "pdf"):
        paths = [static.write(block_diversity({"": [resnet(2)]}), tmp_path / f"{name}.{suffix}", "x") for name in "ab"]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_unusable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"net\.gif: expected a name that ends in \.png, \.svg or \.pdf"):
        static.write(block_diversity({"": [resnet(1)]}), tmp_path / "net.gif", "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        static.write(block_diversity({"": [resnet(1)]}), tmp_path / "file" / "net.png", "x")
