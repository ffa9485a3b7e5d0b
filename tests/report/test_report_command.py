"""`batchscope report` as a user types it: a real process on a real run directory."""

import dataclasses
import functools
import json
import re
import subprocess
import sys

import pytest

from batchscope.analysis import compare_protocols
from batchscope.analysis.cells import cells
from batchscope.cli.main import main
from batchscope.running.store import Store
from batchscope.studies import read
from tests.report import factory
from tests.report.small_study import study

ROWS = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    with Store(path, (study(scaled="a small one"),)) as store:
        store.add(ROWS)
    return path


def report(directory, *words):
    """A real process."""
    command = [sys.executable, "-m", "batchscope.cli.main", "report", str(directory), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)


@pytest.fixture
def called(capsys, monkeypatch, directory):
    """The same command within this process: (exit status, standard output, standard error)."""

    def call(*words, at=directory):
        monkeypatch.chdir(at)
        status = main(["report", str(at), *map(str, words)])
        return status, *capsys.readouterr()

    return call


@pytest.mark.system
def test_it_prints_table_thresholds_finding_and_writes_page_and_figures(directory, tmp_path):
    done = report(directory, "--html", tmp_path / "page.html", "--figures", tmp_path / "figures")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    paths = done.stdout.splitlines()[-9:]
    assert paths[-1] == str(tmp_path / "page.html")
    assert sum(path.endswith((".png", ".svg")) for path in paths) == 8
    for expected in (
        "epochs to target",
        "slows down, B*",
        "What to do: ",
        "64-11x3-10 relu",
        "probability",
        "a small one",
    ):
        assert expected in done.stdout
    assert "batchscope report" in (tmp_path / "page.html").read_text()


def test_json_is_one_object_with_verdict_thresholds_and_table(called):
    (line,) = called("--json")[1].splitlines()
    found = json.loads(line)["studies"]["quickstart"]
    assert 0 <= found["verdict"]["probability"] <= 1
    assert found["thresholds"]["64-13-10 relu"]["definition"] == "b_crit"
    assert len(found["table"]) == 6
    assert [finding["name"] for finding in found["findings"]][:3] == ["F0", "F1", "F2"]
    assert found["headline"]["sentence"].startswith("To 96 % training accuracy, ")


@pytest.mark.parametrize(
    ("requirement", "status"),
    [("b_threshold(wide, overhead_20) >= 8", 0), ("b_threshold(wide) >= 100000", 1), ("b_threshold(wide) >> 8", 2)],
)
def test_require_is_the_exit_status(directory, requirement, status):
    done = report(directory, "--require", requirement)
    assert done.returncode == status
    assert requirement in (done.stderr if status == 2 else done.stdout)


def test_json_with_a_requirement_says_whether_it_holds(called):
    status, out, _ = called("--json", "--require", "b_threshold(wide) >= 100000")
    found = json.loads(out)
    assert status == 1
    assert found["holds"] is False
    assert found["require"]["quickstart"]["detail"]


def test_another_definition_is_used_throughout(called):
    found = json.loads(called("--json", "--definition", "within_epochs(6)")[1])["studies"]["quickstart"]
    assert found["verdict"]["first"]["definition"] == "within_epochs(6)"
    assert found["thresholds"]["64-13-10 relu"]["definition"] == "within_epochs(6)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--definition", "paper2019"], "paper2018"),
        (["--study", "other"], "quickstart"),
        (["--figures", "study.toml"], ""),
    ],
)
def test_unusable_input_is_one_message_and_exit_2(called, words, message):
    status, _, error = called(*words)
    assert status == 2
    assert message in error


def test_a_directory_without_runs_is_named(called, tmp_path):
    status, _, error = called(at=tmp_path)
    assert status == 2
    assert str(tmp_path) in error


def test_a_study_not_yet_run_is_reported_as_such(called, tmp_path):
    with Store(tmp_path, (study(), study("second", scaled="b"))):
        pass
    status, out, told = called("--html", tmp_path / "page.html", "--figures", tmp_path, at=tmp_path)
    assert status == 0
    assert "second is scaled: b" in out
    assert "second: no figures, as no final run has been recorded yet" in told
    assert not list(tmp_path.glob("*.png"))
    assert called("--require", "b_threshold(wide) >= 1", at=tmp_path)[0] == 1


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The same study under the other protocol: large batches reach the target that did not before."""
    path = tmp_path_factory.mktemp("tuned")
    rows = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3, seed=1, max_epochs=90)
    changed = [dataclasses.replace(row, protocol="tuned", study="carefully") for row in rows]
    with Store(path, (study("carefully", protocol="tuned"),)) as store:
        store.add(changed)
    return path


@pytest.mark.system
@pytest.mark.parametrize("swapped", [False, True])
def test_against_the_other_protocol_the_ratio_is_shown(directory, tuned, tmp_path, swapped):
    first, second = (tuned, directory) if swapped else (directory, tuned)
    done = report(first, "--against", second, "--html", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "B* under both protocols of tuning" in done.stdout
    assert "B* under both protocols of tuning" in (tmp_path / "page.html").read_text()
    found = json.loads(report(first, "--against", second, "--json").stdout)["studies"]
    (one,) = found.values()
    effect = one["protocols"]["64-13-10 relu"]
    expected = compare_protocols(read(directory), read(tuned), "b_crit")["64-13-10 relu"]
    assert effect["paper"]["text"] == expected.paper.text
    assert effect["ratio_text"] == expected.ratio_text
    assert expected.ratio_text in done.stdout
    assert effect["probability"] == pytest.approx(expected.probability)


def test_against_the_same_protocol_or_other_data_is_refused(called, directory, tuned, tmp_path):
    status, _, error = called("--against", directory)
    assert status == 2
    assert "expected one run with paper2018" in error
    with Store(tmp_path, (study("other", protocol="tuned", dataset="mnist"),)) as store:
        store.add([dataclasses.replace(ROWS[0], protocol="tuned", study="other", dataset="mnist")])
    status, _, error = called("--against", tmp_path)
    assert status == 2
    assert "dataset" in error


def _lenet(**changes):
    return factory.row(family="lenet", shape="lenet 20-50-500-10 relu", width=20, num_weights=430_500, **changes)


EDGES = {
    "one": [factory.row()],
    "none": [],
    "only censored": [factory.censored(batch_size=size, seed=seed) for size in (8, 32) for seed in range(3)],
    "only diverged": [factory.diverged(batch_size=size) for size in (8, 32)],
    "linear scaling to the end": [
        factory.row(depth, 21 - depth, size, seed, epochs_to_target=7.0)
        for depth in (1, 2)
        for size in (8, 32, 128)
        for seed in range(3)
    ],
    "batch size makes no difference to steps": [
        factory.row(1, 21, size, seed, epochs_to_target=float(size), steps_to_target=1800 + seed)
        for size in (8, 32, 128)
        for seed in range(3)
    ],
    "convolutional": [
        make(batch_size=size, seed=seed, epochs_to_target=epochs)
        for make in (_lenet, functools.partial(factory.row, 5, 19, family="lenet"))
        for size, epochs in ((8, 7.0), (32, 8.0), (128, 20.0))
        for seed in range(3)
    ],
}


@pytest.mark.parametrize("name", EDGES)
def test_no_bound_is_printed_as_inf_or_nan(called, tmp_path, name):
    with Store(tmp_path, (study(),)) as store:
        store.add(EDGES[name])
    status, out, _ = called("--html", tmp_path / "page.html", at=tmp_path)
    assert status == 0
    page = (tmp_path / "page.html").read_text()
    page = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    charts = json.loads(
        re.search(r'id="charts"[^>]*>(.*?)</script>', (tmp_path / "page.html").read_text(), re.DOTALL)[1]
    )
    words = re.compile(r"(?<![a-z])[-+]?(inf|nan|∞)(?![a-z])", re.IGNORECASE)
    for printed in (out, page, json.dumps(charts, ensure_ascii=False)):
        assert not words.search(printed), printed[words.search(printed).start() - 100 :][:200]
    record = called("--json", at=tmp_path)[1]
    json.loads(record, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert not words.search(record)


def test_the_table_is_that_of_run(directory):
    assert [dataclasses.replace(cell, seconds=0) for cell in read(directory).table()] == [
        dataclasses.replace(cell, seconds=0) for cell in cells(ROWS)
    ]


def test_reading_and_reporting_imports_no_torch(directory):
    code = (
        "import sys; from batchscope.cli.main import main; "
        f"main(['report', {str(directory)!r}, '--html', {str(directory / 'p.html')!r}]); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
