"""The search path: its order, the layouts recognised, and what is said when nothing is found."""

import shutil
from pathlib import Path

import pytest

from batchscope.data import load
from batchscope.data.locate import find, locate, search_path
from batchscope.errors import DataError
from tests.data.tiny_files import write_idx_set


def test_places_come_in_the_documented_order(monkeypatch, tmp_path):
    monkeypatch.setenv("BATCHSCOPE_DATA", str(tmp_path / "variable"))
    monkeypatch.setattr("batchscope.data.locate._checkout", lambda: tmp_path / "work" / "checkout")
    monkeypatch.setattr("batchscope.data.locate.user_cache", lambda: tmp_path / "cache")
    folders = [folder for _, folder in search_path(tmp_path / "option")]
    assert folders[:4] == [
        tmp_path / "option",
        tmp_path / "variable",
        tmp_path / "work" / "shared" / "data",
        tmp_path / "cache",
    ]
    assert Path("/usr/share/datasets") in folders[4:]


def test_an_earlier_place_wins_and_a_later_one_serves(monkeypatch, tmp_path):
    for place in ("option", "variable", "cache"):
        write_idx_set(tmp_path / place / "mnist", ("train", "t10k"), (5, 3), range(10))
    monkeypatch.setenv("BATCHSCOPE_DATA", str(tmp_path / "variable"))
    monkeypatch.setattr("batchscope.data.locate.user_cache", lambda: tmp_path / "cache")
    assert locate("mnist", tmp_path / "option").folder == tmp_path / "option" / "mnist"
    shutil.rmtree(tmp_path / "option" / "mnist")
    assert locate("mnist", tmp_path / "option").folder == tmp_path / "variable" / "mnist"
    shutil.rmtree(tmp_path / "variable")
    assert locate("mnist").folder == tmp_path / "cache" / "mnist"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("mnist", "."),
        ("fashion_mnist", "fashion_mnist"),
        ("fashion_mnist", "FashionMNIST/raw"),
    ],
)
def test_subfolder_flat_and_torchvisions_layout_are_recognised(tmp_path, name, folder):
    write_idx_set(tmp_path / folder, ("train", "t10k"), (5, 3), range(10))
    assert load(name, data_dir=tmp_path).name == name


def test_mnist_is_never_taken_for_fashion_mnist(mnist_folder):
    # The files of both are named alike: in a flat folder nobody can tell which they are.
    assert find("fashion_mnist", mnist_folder) is None
    assert find("fashion_mnist", mnist_folder / "mnist") is None


def test_a_data_dir_that_does_not_exist_is_refused_not_passed_over(mnist_folder, monkeypatch):
    monkeypatch.setenv("BATCHSCOPE_DATA", str(mnist_folder))
    with pytest.raises(DataError, match="does not exist"):
        load("mnist", data_dir=mnist_folder / "typo")


def test_what_is_missing_is_said_with_every_place_searched(mnist_folder, monkeypatch):
    (mnist_folder / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("BATCHSCOPE_DATA", "/nonexistent")
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=mnist_folder)
    message = str(caught.value)
    assert "incomplete, without t10k-labels-idx1-ubyte" in message
    assert "/nonexistent ($BATCHSCOPE_DATA; does not exist)" in message
    assert "`batchscope data get mnist`" in message


def test_a_whole_set_later_on_the_path_beats_half_a_set_before_it(mnist_folder, tmp_path, monkeypatch):
    half = tmp_path / "half"
    write_idx_set(half / "mnist", ("train", "t10k"), (5, 3), range(10))
    (half / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("BATCHSCOPE_DATA", str(mnist_folder))
    assert locate("mnist", half).folder == mnist_folder / "mnist"
