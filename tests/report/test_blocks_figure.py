"""The figure of B_S by block and kind: every part is drawn where it is, runs as dots, infinity at the top."""

from types import SimpleNamespace

import pytest

from batchscope.errors import InputError, StoreError
from batchscope.gradients import Moments
from batchscope.gradients import parts as kinds
from batchscope.report.charts.blocks import block_diversity, write_block_diversity


def measured(bounds, num_examples=100):
    """What a report has of these bounds: {(block, kind): B_S}, every part with S1 = 1."""
    by_parameter = {
        f"{block}.{kind}": Moments(num_examples, 1.0, num_examples / bound if bound else 1.0)
        for (block, kind), bound in bounds.items()
    }
    where = {f"{block}.{kind}": kinds.Place(block, 3, kind, block) for block, kind in bounds}
    parts = kinds.by_block_and_kind(by_parameter, where)
    return SimpleNamespace(by_block_and_kind=parts, total=Moments.add(num_examples, by_parameter.values()))


def resnet(count, scale=1.0):
    """`count` residual blocks between a stem and a head."""
    blocks = [f"layer{i}.0" for i in range(count)]
    bounds = {("stem", kinds.STEM): 5 * scale}
    for i, block in enumerate(blocks):
        bounds |= {(block, kinds.CONVOLUTION): (7 + i) * scale, (block, kinds.NORMALISATION): 11 * scale}
    return measured(bounds | {("fc", kinds.HEAD): 13 * scale})


def marks(axes):
    """(x, y, colour of its face) of every mark, from left to right; the dots of single runs are no marks."""
    points = [line for line in axes.lines if line.get_marker() not in ("None", ".") and len(line.get_xdata()) == 1]
    found = [(line.get_xdata()[0], line.get_ydata()[0], line.get_markerfacecolor()) for line in points]
    return sorted(found, key=lambda mark: mark[:2])


def test_every_part_is_drawn_above_its_block_at_its_bound():
    report = resnet(3)
    axes = block_diversity({"": [report]}, "of a test").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["stem", "layer0.0", "layer1.0", "layer2.0", "fc"]
    drawn = [(round(x), y) for x, y, _ in marks(axes)]
    expected = [(0, 5), (1, 7), (1, 11), (2, 8), (2, 11), (3, 9), (3, 11), (4, 13)]
    assert [(x, pytest.approx(y)) for x, y in expected] == drawn
    line = next(line for line in axes.lines if line.get_label() == "all parameters")
    assert line.get_ydata()[0] == pytest.approx(report.total.batch_size_bound)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [kinds.STEM, kinds.CONVOLUTION, kinds.NORMALISATION, kinds.HEAD, "all parameters"]


def test_runs_are_dots_around_their_median_in_panels_of_one_axis():
    runs = [resnet(2, scale) for scale in (1, 2, 8)]
    figure = block_diversity({"before": runs[:1], "after": runs}, "of a test")
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim()
    assert "before" in left.get_title(loc="left")
    assert marks(right)[0][1] == pytest.approx(10)  # the median of 5, 10, 40
    dots = next(line for line in right.lines if line.get_marker() == ".")
    assert list(dots.get_ydata()) == pytest.approx([5, 10, 40])
    assert not any(line.get_marker() == "." for line in left.lines)


def test_an_infinite_bound_is_an_open_mark_with_an_arrow_and_nan_is_nothing():
    report = measured({("a", kinds.CONVOLUTION): 4.0, ("b", kinds.CONVOLUTION): 9.0, ("c", kinds.HEAD): 16.0})
    parts = report.by_block_and_kind
    parts["b", kinds.CONVOLUTION] = kinds.Part(100, 1.0, 0.0, ("b",), 3, 0.3)  # Q = 0 < S1
    parts["c", kinds.HEAD] = kinds.Part(100, 0.0, 0.0, ("c",), 3, 0.0)  # all gradients zero
    axes = block_diversity({"": [report]}, "of a test").axes[0]
    assert len(marks(axes)) == 2
    assert [colour == "white" for _, _, colour in marks(axes)] == [False, True]
    assert len([text for text in axes.texts if text.arrow_patch is not None]) == 1


@pytest.mark.parametrize("count", [0, 1, 16, 50])
def test_small_and_large_networks_are_written(count, tmp_path):
    path = write_block_diversity(tmp_path / "new" / "net.png", {"": [resnet(count)]}, "of a test")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert 10_000 < path.stat().st_size < 400_000


def test_equal_reports_give_equal_bytes(tmp_path):
    for suffix in ("png", "svg"):
        paths = [write_block_diversity(tmp_path / f"{name}.{suffix}", {"": [resnet(2)]}, "x") for name in "ab"]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_unusable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"net\.gif: expected a name that ends in \.png or \.svg"):
        write_block_diversity(tmp_path / "net.gif", {"": [resnet(1)]}, "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        write_block_diversity(tmp_path / "file" / "net.png", {"": [resnet(1)]}, "x")
