"""`batchscope report` as a user types it: a real process on a real run directory."""

import json
import subprocess
import sys

import pytest

from batchscope.report import cells
from batchscope.studies import Study, read
from batchscope.studies.store import Store
from tests.report import factory

ROWS = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3)


def study(name="quickstart", **changes):
    fields = {"dataset": "digits", "shapes": [[1, 13], [3, 11]], "batch_sizes": [8, 32, 128], "num_seeds": 3}
    return Study(name=name, target={"train_accuracy": 0.96}, **(fields | changes))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    with Store(path, (study(scaled="a small one"),)) as store:
        store.add(ROWS)
    return path


def report(directory, *words):
    command = [sys.executable, "-m", "batchscope.cli.main", "report", str(directory), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)


def test_it_prints_table_thresholds_finding_and_writes_page_and_figures(directory, tmp_path):
    done = report(directory, "--html", tmp_path / "page.html", "--figures", tmp_path / "figures")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    paths = done.stdout.splitlines()[-9:]
    assert paths[-1] == str(tmp_path / "page.html")
    assert sum(path.endswith((".png", ".svg")) for path in paths) == 8
    for expected in (
        "epochs to target",
        "Largest safe batch",
        "Finding:",
        "64-11x3-10 relu",
        "probability",
        "a small one",
    ):
        assert expected in done.stdout
    assert "batchscope report" in (tmp_path / "page.html").read_text()


def test_json_is_one_object_with_verdict_thresholds_and_table(directory):
    done = report(directory, "--json")
    (line,) = done.stdout.splitlines()
    found = json.loads(line)["studies"]["quickstart"]
    assert 0 <= found["verdict"]["probability"] <= 1
    assert found["thresholds"]["64-13-10 relu"]["definition"] == "paper2018"
    assert len(found["table"]) == 6
    assert len(found["findings"]) == 3


@pytest.mark.parametrize(
    ("requirement", "status"),
    [("b_threshold(wide) >= 8", 0), ("b_threshold(wide) >= 100000", 1), ("b_threshold(wide) >> 8", 2)],
)
def test_require_is_the_exit_status(directory, requirement, status):
    done = report(directory, "--require", requirement)
    assert done.returncode == status
    assert requirement in (done.stderr if status == 2 else done.stdout)


def test_json_with_a_requirement_says_whether_it_holds(directory):
    found = json.loads(report(directory, "--json", "--require", "b_threshold(wide) >= 100000").stdout)
    assert found["holds"] is False
    assert found["require"]["quickstart"]["detail"]


def test_another_definition_is_used_throughout(directory):
    found = json.loads(report(directory, "--json", "--definition", "within_epochs(6)").stdout)["studies"]["quickstart"]
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
def test_unusable_input_is_one_message_and_exit_2(directory, words, message):
    done = report(directory, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_without_runs_is_named(tmp_path):
    done = report(tmp_path)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr


def test_a_study_not_yet_run_is_reported_as_such(tmp_path):
    with Store(tmp_path, (study(), study("second", scaled="b"))):
        pass
    done = report(tmp_path, "--html", tmp_path / "page.html", "--figures", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "second-epochs.png").exists()
    assert report(tmp_path, "--require", "b_threshold(wide) >= 1").returncode == 1


def test_the_table_agrees_with_that_of_studies(directory):
    known = {(cell.shape, cell.batch_size): cell for cell in read(directory).table()}
    for cell in cells(ROWS):
        other = known[cell.shape, cell.batch_size]
        assert (cell.reached, cell.censored, cell.diverged) == (other.reached, other.censored, other.diverged)
        if other.epochs_mean is not None:
            assert cell.epochs.mean == pytest.approx(other.epochs_mean)
            assert (cell.epochs.low, cell.epochs.high) == pytest.approx(other.epochs_interval)


def test_reading_and_reporting_imports_no_torch(directory):
    code = (
        "import sys; from batchscope.cli.main import main; "
        f"main(['report', {str(directory)!r}, '--html', {str(directory / 'p.html')!r}]); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
