"""The commands of `reproduction`: wrong arguments are one message, runs that fail are told, a killed smoke goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import batchscope as bs
from batchscope.errors import DataError, InputError
from batchscope.records.packed import unpack
from batchscope.studies import read
from reproduction import command, evidence, keep, lemma1, run

ROOT = Path(__file__).parent.parent.parent


def _process(*words: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_wrong_name_is_one_message_and_status_2():
    process = _process("reproduction.figures", "figur2")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 2
    assert told.startswith("reproduction.figures: unknown figure 'figur2': did you mean 'figure2'")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("no such thing"), "reproduction.page: no such thing"),
        (FileNotFoundError(2, "No such file", "there/x"), "reproduction.page: there/x: No such file"),
    ],
)
def test_an_error_is_said_in_one_line(capsys, error, message):
    def main():
        raise error

    assert command.ended("page", main) == 2
    assert capsys.readouterr().err.strip() == message
    assert command.ended("page", lambda: None) == 0


def test_rows_of_another_study_are_no_test_of_lemma_1():
    with pytest.raises(InputError, match=r"'chen2018-figure2' has no runs of serial SGD .* yin2018/lemma1"):
        lemma1.lines(read(evidence.RESULTS / "figure2"))


@pytest.fixture
def made(monkeypatch):
    """`everything` without its work; the words of all commands, and a function that sets the status of a run."""
    statuses, words = {}, []

    def batchscope(given):
        words.append(given)
        return statuses.get(given[1], 0) if given[0] == "run" else 0

    monkeypatch.setattr(run, "batchscope", batchscope)
    monkeypatch.setattr(run, "is_whole", lambda _: False)
    monkeypatch.setattr(run, "minutes", lambda: dict.fromkeys(evidence.DECLARED, 2.0))
    for module in (run.conjecture, run.initialisations, run.figures, run.page):
        monkeypatch.setattr(module, "main", lambda _, name=module.__name__: words.append([name]))
    return statuses, words


def test_every_run_is_made_and_its_time_is_told_first(made, capsys):
    _, words = made
    assert run.main([]) == 0
    assert [given[1] for given in words if given[0] == "run"] == [given.split()[0] for given in evidence.DECLARED]
    assert words[-1] == ["reproduction.page"]
    assert capsys.readouterr().out.startswith("at most ")


def test_a_run_that_cannot_be_made_is_told_and_leaves_the_others_alone(made, capsys):
    statuses, words = made
    statuses["chen2018/figure2-mnist"] = 2
    assert run.main([]) == 2
    assert sum(given[0] == "run" for given in words) == len(evidence.DECLARED)
    assert "not finished, see above: batchscope run chen2018/figure2-mnist" in capsys.readouterr().err


def test_a_whole_run_is_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(run, "batchscope", lambda _: pytest.fail("it was made again"))
    out = evidence.RESULTS / evidence.DECLARED[evidence.LINEAR_TUNED]
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    assert run.made(evidence.LINEAR_TUNED, out) == 0
    assert "whole" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in out.iterdir()} == before


def test_a_run_that_goes_on_is_packed_when_it_is_whole(monkeypatch, tmp_path):
    study = run.small(run.studies_of(evidence.LINEAR)[0])

    def batchscope(words):
        if words[0] == "run":
            bs.run(study, out=words[-1], executor="inline")
        return 0

    monkeypatch.setattr(run, "batchscope", batchscope)
    assert not run.is_whole(tmp_path)
    assert run.made(evidence.LINEAR, tmp_path) == 0
    assert run.is_whole(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"study.toml", "results-1of1.sqlite.gz"}
    tuning = [row for row in read(tmp_path).rows if row.phase == "tune"]
    assert tuning
    assert not any(row.history for row in tuning)


def test_a_whole_run_that_was_left_unpacked_is_packed(tmp_path):
    shutil.copytree(evidence.RESULTS / evidence.DECLARED[evidence.LINEAR_TUNED], tmp_path / "run")
    unpack(tmp_path / "run" / "results-1of1.sqlite")
    assert run.made(evidence.LINEAR_TUNED, tmp_path / "run") == 0
    assert {file.name for file in tmp_path.rglob("*")} == {"run", "study.toml", "results-1of1.sqlite.gz"}


def test_nothing_is_kept_over_what_is_no_run_directory(tmp_path):
    (tmp_path / "results" / "figure2").mkdir(parents=True)
    with pytest.raises(InputError, match="results is no run directory"):
        keep.keep(evidence.RESULTS / evidence.DECLARED[evidence.LINEAR_TUNED], tmp_path / "results")
    assert (tmp_path / "results" / "figure2").is_dir()


def test_ctrl_c_ends_it_all(made):
    statuses, words = made
    statuses[next(iter(evidence.DECLARED)).split()[0]] = 130
    assert run.main([]) == 130
    assert sum(given[0] == "run" for given in words) == 1


def test_without_the_data_there_is_no_estimate_and_the_reason(made, monkeypatch, capsys):
    def missing():
        raise DataError("mnist is not there")

    monkeypatch.setattr(run, "minutes", missing)
    run.main([])
    assert capsys.readouterr().out.startswith("no estimate of the whole: mnist is not there")


def test_a_folder_is_for_the_smoke_form_only(capsys):
    with pytest.raises(SystemExit):
        run.main(["--out", "x"])
    assert "--out is for --smoke" in capsys.readouterr().err


@pytest.mark.slow
def test_a_smoke_run_that_was_killed_goes_on(tmp_path):
    words = ("reproduction.run", "--smoke", "--out", str(tmp_path))
    process = _process(*words)
    first = process.stdout.readline()
    assert first.startswith("figure2: ")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = read(tmp_path / "runs" / "figure2").rows
    again = _process(*words)
    told, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert told.startswith(first)
    assert read(tmp_path / "runs" / "figure2").rows == done
    assert {line.partition(":")[0] for line in told.splitlines()} <= set(evidence.RUNS.values())
