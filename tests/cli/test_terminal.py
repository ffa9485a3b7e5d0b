"""Whatever standard output is, a command does the same and ends with the same status; no name steers the terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.cli.console import console, print_json
from batchscope.cli.main import main
from batchscope.cli.streams import SafeStream, terminal, visible
from batchscope.running.store import Store
from tests.report import factory
from tests.report.small_study import study

ROWS = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3)
PASSES, FAILS = "b_threshold(wide, overhead_20) >= 8", "b_threshold(wide) >= 100000"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    with Store(path, (study(),)) as store:
        store.add(ROWS)
    return path


def broken_pipe() -> int:
    """The writing end of a pipe whose reader has left, as after `| head`."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def full_disk() -> int:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    return os.open("/dev/full", os.O_WRONLY)


def gate(directory: Path, requirement: str, stdout: int, closed: bool = False, **environment: str):
    words = [sys.executable, "-P", "-m", "batchscope", "report", str(directory), "--require", requirement]
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *words] if closed else words
    return subprocess.run(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="latin1",
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.system
@pytest.mark.parametrize(("requirement", "status"), [(PASSES, 0), (FAILS, 1)])
@pytest.mark.parametrize("output", [broken_pipe, full_disk])
def test_the_status_of_a_gate_stays_whatever_takes_its_output(directory, requirement, status, output):
    stdout = output()
    done = gate(directory, requirement, stdout)
    os.close(stdout)
    said = "" if output is broken_pipe else "standard output could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.system
def test_a_closed_standard_output_is_no_reason_to_fail(directory):
    done = gate(directory, PASSES, subprocess.DEVNULL, closed=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.system
@pytest.mark.parametrize("encoding", ["ascii", "latin1"])
def test_what_an_encoding_cannot_say_is_spelt_out(directory, encoding):
    done = gate(directory, PASSES, subprocess.PIPE, PYTHONIOENCODING=f"{encoding}:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Epochs to the target" in done.stdout


def test_control_characters_in_names_are_shown_not_acted_on(tmp_path, capsys):
    name = "evil\x1b[2J\x1b]0;title\x07\r\u202e\x9b"
    rows = [dataclasses.replace(row, dataset=row.dataset + name, shape=row.shape + name) for row in ROWS]
    with Store(tmp_path, (study(),)) as store:
        store.add(rows)
    for words in (["report", str(tmp_path)], ["report", str(tmp_path), "--study", f"no {name}"], ["plan", name]):
        main(words)
        printed = "".join(capsys.readouterr())
        assert "evil" in printed
        assert not STEERING.search(printed)


@given(st.text())
def test_what_is_visible_steers_nothing_and_the_rest_stays(text):
    shown = visible(text)
    assert not STEERING.search(shown.replace("\t", ""))
    shown.encode()
    if text.isascii() and text.isprintable():
        assert shown == text


def test_tables_and_plain_prints_go_the_same_way(capsys):
    with terminal():
        print("plain \x1b[31m")
        console().print("table \x1b[31m [bold]")
    assert capsys.readouterr().out == "plain \\u001b[31m\ntable \\u001b[31m [bold]\n"


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_after_the_first_failure_nothing_more_is_tried():
    stream = SafeStream(Full())
    for text in ("a", "b"):
        assert stream.write(text) == 1
    stream.flush()
    assert stream.acted_on.problem.errno == 28
    closed = io.StringIO()
    closed.close()
    SafeStream(closed).write("a")


INTERRUPT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            os.environ["AT"] = ""
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.system
@pytest.mark.parametrize("module", ["batchscope.cli.run", "pydantic", "numpy", "rich.live", "sqlite3", "torch"])
def test_ctrl_c_while_a_module_is_imported_is_no_traceback(tmp_path, module):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2] / "src")])
    words = [sys.executable, "-P", "-m", "batchscope", "run", "quickstart", "--executor", "inline", "--out", "out"]
    environment = os.environ | {"AT": module, "PYTHONPATH": path}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted; what was finished is kept, the same command resumes"
    assert "Traceback" not in done.stderr


def test_an_ignored_interrupt_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        main(["recipes"])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


ODD = {
    "a name too long for the system": (["export", "x" * 5000, "rows.csv"], "File name too long"),
    "a file for a folder": (["report", "/dev/null/run"], "/dev/null/run"),
    "an empty option that Python makes a list": (["plan", "quickstart", "--data-dir=--"], "expected one argument"),
    "10^400 workers": (["plan", "quickstart", "--workers", "9" * 400], "an integer of about"),
    "a range of 10^11": (["shapes", "--budget=9", "--d-in=1", "--d-out=1", "--depths=1-99999999999"], "at most 10000"),
    "a budget of 10^400": (["shapes", f"--budget={'9' * 400}", "--d-in=1", "--d-out=1"], "an integer of about"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_word_is_one_short_message_and_status_2(what, capsys):
    words, message = ODD[what]
    try:
        status = main(words)
    except SystemExit as error:  # argparse
        status = error.code
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert len(error) < 1500


def test_json_has_null_for_what_is_no_number_and_text_for_what_it_does_not_know(capsys):
    print_json({"loss": math.nan, "bounds": (1.5, math.inf), "where": Path("runs"), "count": np.int64(3)})
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # NaN and Infinity are not JSON
    assert found == {"loss": None, "bounds": [1.5, None], "where": "runs", "count": 3}
