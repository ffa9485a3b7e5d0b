"""`batchscope data` and `batchscope doctor`, each in a process of its own, as a user runs them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from batchscope.running.executors import EXECUTORS

pytestmark = pytest.mark.system


def batchscope(*words, data=None):
    """Run the command line; return (exit status, standard output, standard error)."""
    environment = {**os.environ, "BATCHSCOPE_DATA": str(data or "/nonexistent"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "batchscope.cli.main", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=np.random.default_rng(0).normal(size=(23, 5)), targets=np.arange(23) % 3)
    return path


def test_list_names_every_set_and_every_place(tmp_path):
    status, out, err = batchscope("data", "list", "--data-dir", tmp_path)
    assert status == 0, err
    for word in ("digits", "emnist_letters", "gisette_like", "--data-dir", str(tmp_path), "/nonexistent"):
        assert word in out


@pytest.mark.parametrize("words", [("data", "list", "--json"), ("data", "--json", "list")])
def test_list_as_json(words):
    status, out, err = batchscope(*words)
    assert status == 0, err
    record = json.loads(out)
    assert {"digits", "mnist", "cifar10"} <= {row["name"] for row in record["data_sets"]}
    assert record["search_path"][0] == {"place": "$BATCHSCOPE_DATA", "folder": "/nonexistent", "exists": False}


def test_check_of_a_good_file(npz):
    status, out, err = batchscope("data", "check", npz)
    assert status == 0, err
    assert "mine: 23 + 0 held out, inputs 5, 3 classes" in out
    assert "all right" in out
    record = json.loads(batchscope("data", "check", npz, "--json")[1])
    assert record["ok"] is True
    assert record["contents"]["training_examples_per_class"] == [8, 8, 7]


def test_check_of_a_bad_file_is_one_message_and_status_2(npz):
    np.savez(npz, inputs=np.full((3, 2), np.nan), targets=np.arange(3))
    status, out, err = batchscope("data", "check", npz)
    assert status == 2
    assert err.count("\n") == 1
    assert "6 NaN or infinite values" in err
    assert "Traceback" not in err
    status, out, _ = batchscope("data", "check", npz, "--json")
    assert status == 2
    record = json.loads(out)
    assert record["ok"] is False
    assert "6 NaN" in record["problems"][0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("data", "check", "mnits"), "did you mean 'mnist'"),
        (("data", "get", "mnits"), "did you mean 'mnist'"),
        (("data", "get", "digits"), "needs no files"),
        (("data", "get", "emnist47"), "cannot be fetched"),
        (("data", "check", "mnist", "--data-dir", "/nonexistent"), "does not exist"),
        (("data", "check", "none.npz"), "no such file"),
        (("data",), "ACTION"),
    ],
)
def test_unusable_input_is_a_message_and_status_2(words, says):
    status, _, err = batchscope(*words)
    assert status == 2
    assert says in err
    assert "Traceback" not in err


def test_data_does_not_import_torch(npz):
    code = "import sys; from batchscope.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code, "data", "check", npz], capture_output=True, check=False).returncode
        == 0
    )


def test_doctor_tells_versions_threads_devices_executors_and_data():
    status, out, err = batchscope("doctor")
    assert status == 0, err
    for word in ("versions", "torch", "threads", "devices", "cpu", "mnist", "batchscope data get"):
        assert word in out
    record = json.loads(batchscope("doctor", "--json")[1])
    assert set(record) == {"versions", "threads", "devices", "executors", "data"}
    assert set(record["executors"]) == set(EXECUTORS)
    assert ("batchscope[ray]" in record["executors"]["ray"]) == (record["versions"]["ray"] is None)
    assert record["threads"]["torch threads"] == 1
    assert record["versions"]["numpy"] == np.__version__
    assert "cpu" in record["devices"]
