"""Files are written whole or not at all, and what was there stays."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from batchscope.errors import StoreError
from batchscope.running.store import Store
from batchscope.writing import replaced, write_text
from tests.report import factory
from tests.report.small_study import study


def test_an_error_in_the_middle_leaves_what_was_there_and_nothing_else(tmp_path):
    def write_half(error: Exception) -> None:
        with replaced(tmp_path / "page") as draft:
            draft.write_text("half")
            raise error

    (tmp_path / "page").write_text("before")
    for error, seen in ((OSError(28, "No space left on device"), StoreError), (ZeroDivisionError(), ZeroDivisionError)):
        with pytest.raises(seen):
            write_half(error)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page", "before")]


def test_folders_are_made_and_endings_kept(tmp_path):
    with replaced(tmp_path / "a" / "b.svg") as draft:
        assert draft.suffix == ".svg"
        draft.write_text("whole")
    assert (tmp_path / "a" / "b.svg").read_text() == "whole"


def test_what_a_link_leads_to_is_replaced_not_the_link(tmp_path):
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"


def test_a_device_stays_a_device():
    write_text(os.devnull, "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_name_as_long_as_the_system_takes(tmp_path):
    write_text(tmp_path / ("x" * 255), "whole")
    assert (tmp_path / ("x" * 255)).read_text() == "whole"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", ".", "file/below"])
def test_a_place_that_cannot_be_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_text(f"{tmp_path}/{name}", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def little_space() -> None:
    """As on a full disk: files of more than 50 kB cannot be written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


@pytest.mark.parametrize("words", [["report", "--html", "kept.html"], ["export", "kept.csv"], ["export", "kept.json"]])
def test_without_space_the_file_of_yesterday_stays(tmp_path, words):
    rows = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=50)
    with Store(tmp_path / "run", (study(num_seeds=50),)) as store:
        store.add(rows)
    (tmp_path / words[-1]).write_text("yesterday")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "batchscope", words[0], "run", *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=little_space,
        check=False,
    )
    assert done.returncode == 2
    assert f"{words[-1]} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / words[-1]).read_text() == "yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["run", words[-1]])


def test_half_of_a_surrogate_pair_is_spelt_out(tmp_path):
    write_text(Path(tmp_path) / "page", "name \udcff")
    assert (tmp_path / "page").read_text() == "name \\udcff"
