"""Static figures: the right marks, nothing lost, equal bytes for equal rows, any rows at all."""

import errno
import os

import pytest

from batchscope.analysis.cells import cells
from batchscope.analysis.digest import digest, epoch_limits
from batchscope.analysis.formatting import number
from batchscope.errors import StoreError
from batchscope.report import figures
from batchscope.report.charts import CHARTS
from batchscope.report.charts.axes import categories
from batchscope.report.charts.chart import Chart, Panel
from batchscope.report.drawing import static
from tests.report import factory
from tests.report.odd_rows import ODD, SMALL

NAMES = set(CHARTS) - {"protocols"}
AXIS = categories("", "abc")


def test_every_figure_is_written_as_png_and_svg(tmp_path):
    paths = figures.write(digest(factory.study()), tmp_path / "new" / "folder", "digits-")
    assert {path.name for path in paths} == {f"digits-{name}.{kind}" for name in NAMES for kind in ("png", "svg")}
    assert all(path.stat().st_size > 5000 for path in paths)


def test_equal_rows_give_equal_bytes(tmp_path):
    first = figures.write(digest(SMALL), tmp_path / "a")
    second = figures.write(digest(SMALL[::-1]), tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize("rows", ODD.values(), ids=ODD)
def test_any_rows_can_be_drawn(rows, tmp_path):
    names = {path.name for path in figures.write(digest(rows), tmp_path)}
    assert ("epochs.png" in names) == any(row.phase == "final" for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_diversity_figure_needs_measurements(tmp_path):
    rows = [factory.row(seed=seed, batch_size_bound=None) for seed in range(2)]
    assert not any("diversity" in path.name for path in figures.write(digest(rows), tmp_path))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        figures.write(digest([]), tmp_path / "file")


def test_a_full_disk_leaves_the_figure_that_was_there(tmp_path, monkeypatch):
    path = static.write(Chart("Title", "", (Panel(AXIS, AXIS, ()),)), tmp_path / "a.png")
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", _full)
    with pytest.raises(StoreError, match="No space left"):
        static.write(Chart("Another", "", (Panel(AXIS, AXIS, ()),)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _full(*paths):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_callers_matplotlib_settings_are_untouched(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.write(digest([factory.row()]), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_numbers_of_epochs_run_from_the_fastest_cell_to_the_slowest_run():
    table = cells(factory.study())
    limits = epoch_limits(table, 7)
    assert limits[0] >= min(cell.epochs.value for cell in table)
    assert limits[-1] >= max(cell.epochs.most for cell in table if not cell.never)
    assert limits == sorted(set(limits))
    assert epoch_limits((), 7) == []


@pytest.mark.parametrize(("least", "most"), [(990, 1030), (0.05, 0.3), (1.3, 8.9), (0.4, 1200)])
def test_every_number_of_epochs_prints_differently(least, most):
    table = cells(
        factory.row(batch_size=size, epochs_to_target=epochs, evaluations_per_epoch=10_000)
        for size, epochs in ((8, least), (32, most))
    )
    limits = epoch_limits(table, 40)
    assert len(set(map(number, limits))) == len(limits) > 15
    assert limits[0] >= 0.95 * least
    assert limits[-1] >= most
