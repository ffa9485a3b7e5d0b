"""Static figures: the right marks, nothing lost, equal bytes for equal rows, any rows at all."""

import pytest

from batchscope.analysis.cells import cells
from batchscope.analysis.context import context
from batchscope.analysis.digest import digest, epoch_limits
from batchscope.analysis.formatting import number
from batchscope.errors import StoreError
from batchscope.report import figures
from batchscope.report.drawing import static as style
from batchscope.report.figures.epochs import epochs_against_batch_size
from batchscope.report.figures.heat_map import heat_map
from tests.report import factory

NAMES = {"epochs", "heat_map", "largest_batch", "diversity"}
SMALL = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3)
ODD = {
    "none": [],
    "one": [factory.row(batch_size_bound=None)],
    "only censored": [factory.censored(seed=seed) for seed in range(3)],
    "only diverged": [factory.diverged(seed=seed) for seed in range(3)],
    "only crashed": [factory.crashed(seed=seed) for seed in range(3)],
    "only tuning": [factory.row(phase="tune")],
}


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
    assert figures.write(digest(rows), tmp_path)


def test_the_diversity_figure_needs_measurements(tmp_path):
    rows = [factory.row(seed=seed, batch_size_bound=None) for seed in range(2)]
    assert not any("diversity" in path.name for path in figures.write(digest(rows), tmp_path))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        figures.write(digest([]), tmp_path / "file")


def test_censored_cells_are_open_markers_with_arrows_and_the_others_filled():
    rows = [factory.row(batch_size=16), factory.censored(batch_size=64), factory.diverged(batch_size=256)]
    axes = epochs_against_batch_size(cells(rows), context(rows)).axes[0]
    markers = {
        round(line.get_xdata()[0]): line
        for line in axes.lines
        if line.get_marker() not in ("None", None) and len(line.get_xdata()) == 1
    }
    assert markers[16].get_markerfacecolor() != "white"
    assert markers[64].get_markerfacecolor() == "white"
    assert markers[256].get_marker() == "x"
    assert [text.arrow_patch is not None for text in axes.texts] == [True]


def test_cells_that_never_arrive_are_hatched_and_only_those():
    rows = [factory.row(batch_size=16), factory.censored(batch_size=64), factory.diverged(batch_size=256)]
    axes = heat_map(cells(rows), context(rows)).axes[0]
    hatched = {patch.get_x() + 0.5 for patch in axes.patches if patch.get_hatch()}
    assert hatched == {1, 2}
    assert [text.get_text() for text in axes.texts] == ["7", "> 100", "never"]


def test_the_callers_matplotlib_settings_are_untouched(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.write(digest([factory.row()]), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_powers_of_two_enclose_the_range():
    assert style.powers_of_two(3, 33) == [2, 4, 8, 16, 32, 64]


def test_numbers_of_epochs_run_from_the_fastest_cell_to_the_slowest_run():
    table = cells(factory.study())
    limits = epoch_limits(table, 7)
    assert limits[0] >= min(cell.epochs.value for cell in table)
    assert limits[-1] >= max(cell.epochs.most for cell in table if not cell.never)
    assert limits == sorted(set(limits))
    assert epoch_limits((), 7) == []


@pytest.mark.parametrize(("least", "most"), [(990, 1030), (0.05, 0.3), (1.3, 8.9), (0.4, 1200)])
def test_every_number_of_epochs_prints_differently(least, most):
    table = cells([factory.row(batch_size=8, epochs_to_target=least), factory.row(epochs_to_target=most)])
    limits = epoch_limits(table, 40)
    assert len(set(map(number, limits))) == len(limits) > 15
    assert limits[0] >= least
    assert limits[-1] >= most
