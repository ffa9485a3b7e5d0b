"""Ray that is missing, far away, or of another version: one message that says what to do."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

import batchscope as bs
from batchscope.errors import BatchscopeError, InputError
from batchscope.running.executors import ray as ray_executor
from batchscope.running.executors import ray_actor
from batchscope.running.executors.base import ExecutorOptions
from tests.running.common import STUDY


def test_batchscope_and_its_commands_never_import_ray():
    program = "import sys, batchscope.cli.run, batchscope.cli.doctor; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_ray_the_extra_is_named_and_nothing_is_written(tmp_path, study, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'pip install "batchscope\[ray\]"'):
        bs.run(study, tmp_path / "out", executor="ray")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def silent():
    """The address of something that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed(silent) -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.ray
@pytest.mark.system
@pytest.mark.parametrize("kind", ["silent", "closed"])
def test_a_cluster_that_cannot_be_reached_is_named_with_its_address(request, tmp_path, study_file, command, kind):
    pytest.importorskip("ray")
    address = request.getfixturevalue(kind)
    environment = {"RAY_ADDRESS": address, "BATCHSCOPE_RAY_TIMEOUT": "1"}
    status, out, err = command("run", STUDY, "--out", "out", "--executor", "ray", **environment)
    assert (status, out) == (2, "")
    assert err.startswith(f"batchscope run: the Ray cluster at {address} (RAY_ADDRESS) cannot be joined: ")
    assert {"silent": "no answer of a Ray cluster within 1 s", "closed": "refused"}[kind] in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
@pytest.mark.system
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RAY_ADDRESS": "ray://head:10001"}, "ray job submit"),
        ({"RAY_ADDRESS": "head"}, "expected HOST:PORT"),
        ({"RAY_ADDRESS": "head:²"}, "expected HOST:PORT"),
        *(
            ({"RAY_ADDRESS": "head:6379", "BATCHSCOPE_RAY_TIMEOUT": text}, "expected a whole number of seconds, 1 to")
            for text in ("soon", "²", "0", "1" * 15, "1" * 5000)
        ),
    ],
)
def test_addresses_that_are_none(tmp_path, study, monkeypatch, environment, message):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        bs.run(study, tmp_path / "out", executor="ray")


@pytest.mark.parametrize("name", ["inline", "processes"])
def test_where_states_go_is_no_choice_on_one_machine(tmp_path, study, name):
    with pytest.raises(InputError, match="an option of the executor ray"):
        bs.run(study, tmp_path / "out", executor=name, checkpoints="driver")


def test_the_code_of_batchscope_is_part_of_its_version(tmp_path, monkeypatch):
    here = ray_actor.installed(("torch",))["batchscope"]
    assert here.startswith(f"{bs.__version__} (code ")
    (tmp_path / "other.py").write_text("x = 1\n")
    monkeypatch.setattr(bs, "__path__", [str(tmp_path)])
    assert ray_actor.installed(("torch",))["batchscope"] != here


def test_a_worker_takes_no_module_from_the_folder_of_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/library", ""])
    ray_actor.look_elsewhere(str(tmp_path))
    assert sys.path == ["/library"]


@pytest.mark.parametrize(
    ("resources", "options", "room"),
    [
        ({"CPU": 8.0}, ExecutorOptions(), (8, "cpu", {"num_cpus": 1})),
        ({"CPU": 8.0, "GPU": 2.0}, ExecutorOptions(), (2, "cuda", {"num_cpus": 0, "num_gpus": 1.0})),
        ({"CPU": 8.0, "GPU": 2.0}, ExecutorOptions(workers=6), (6, "cuda", {"num_cpus": 0, "num_gpus": 0.3333})),
        ({"CPU": 8.0, "GPU": 2.0}, ExecutorOptions(workers=3, device="cpu"), (3, "cpu", {"num_cpus": 1})),
    ],
)
def test_a_worker_takes_one_cpu_or_its_part_of_a_gpu(resources, options, room):
    assert ray_executor._room(resources, options) == room


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExecutorOptions(device="cuda"), "the cluster has 8 CPUs and 0 GPUs"),
        (ExecutorOptions(device="cudo"), "did you mean 'cuda'"),
    ],
)
def test_devices_that_a_cluster_has_not(options, message):
    with pytest.raises(BatchscopeError, match=message):
        ray_executor._room({"CPU": 8.0}, options)


def test_worker_and_driver_agree_on_which_data_a_worker_keeps():
    held: tuple[str, ...] = ()
    for checksum, expected in [("a", ("a",)), ("b", ("a", "b")), ("c", ("b", "c")), ("a", ("c", "a"))]:
        held = ray_actor.latest(held, checksum)
        assert held == expected
