"""Several nodes: a cluster of two on this machine, whose workers start in folders of their own and share none."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import batchscope as bs
from batchscope.records.row import Outcome
from batchscope.running.progress import Status
from tests.running.common import same_rows, wait_for
from tests.studies import own_modules
from tests.studies.common import make_study
from tests.studies.conftest import PATCHED

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.xdist_group("ray")]

OWN = """
name = "own"
dataset = "digits"
num_examples = 120
family = "{package}own_models:perceptron"
loss = "{package}own_models:smooth"
metric = "{package}own_models:top2"
shapes = [[1, 5], [2, 3]]
batch_sizes = [7, 40]
target = {{ train_metric_at_least = 0.9 }}
max_epochs = 2
num_seeds = 2
step_sizes = {{ min = 0.05, max = 0.05 }}
"""


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """Make a cluster whose two nodes have one CPU each, joined by this process; returns it and its second node."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = None

    def make(python_path: str):
        nonlocal cluster
        monkeypatch.setenv("PYTHONPATH", python_path)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        (tmp_path / "elsewhere").mkdir()
        here = Path.cwd()
        os.chdir(tmp_path / "elsewhere")  # where the nodes start their workers
        try:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
            second = cluster.add_node(num_cpus=1)
        finally:
            os.chdir(here)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        return cluster, second

    yield make
    ray.shutdown()
    if cluster is not None:
        cluster.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the user's own code, which is the current one; its modules note which process read which file."""
    mine = tmp_path / "mine"
    mine.mkdir()
    with own_modules.in_folder(mine, monkeypatch):
        yield mine


def write_own_code(folder: Path, package: str, log: Path) -> None:
    own_modules.write(folder)
    note = f"\nimport os\nwith open({str(log)!r}, 'a') as log:\n    log.write(f'{{os.getpid()}} {{__file__}}\\n')\n"
    for path in list(folder.glob("*.py")):
        path.write_text(path.read_text() + note)
    if package:
        lab = folder / package.rstrip(".")
        lab.mkdir()
        (lab / "__init__.py").write_text("from lab.names import NAME\n")
        (lab / "names.py").write_text("NAME = 'lab'\n")
        for path in list(folder.glob("*.py")):
            (lab / path.name).write_text(path.read_text().replace("from own_layers", "from .own_layers"))
            path.unlink()


@pytest.mark.parametrize("package", ["", "lab."])
def test_own_code_reaches_workers_that_share_no_folder_with_it(tmp_path, folder, nodes, package):
    write_own_code(folder, package, log := tmp_path / "log")
    study = bs.Study.from_toml(OWN.format(package=package))
    inline = bs.run(study, tmp_path / "inline", executor="inline")
    log.unlink()
    nodes(str(Path(bs.__file__).parents[1]))

    def remove(status: Status) -> None:
        for path in folder.rglob("*.py"):
            path.unlink()

    results = bs.run(
        study, tmp_path / "ray", executor="ray", workers=2, progress=lambda s: s.finished_cohort and remove(s)
    )
    assert same_rows(results, inline)
    read = [line.split() for line in log.read_text().splitlines()]
    assert len({process for process, _ in read}) == 2
    assert all(str(os.getpid()) != process and not file.startswith(str(folder)) for process, file in read)


def test_a_node_that_dies_takes_nothing_with_it(tmp_path, fake, nodes, monkeypatch):
    """In the middle of a cohort on each node: the two longest, which wait until the second node is gone."""
    study, log, go = make_study(), tmp_path / "log", tmp_path / "go"
    reference = bs.run(study, tmp_path / "reference", executor="inline")
    cohorts = len(fake.calls)
    monkeypatch.setenv("FAKE_TROUBLE", f"wait:11:{go}")
    monkeypatch.setenv("FAKE_LOG", str(log))
    cluster, second = nodes(PATCHED)

    def strike() -> None:
        wait_for(lambda: len(processes_in(log)) == 2, seconds=120)
        cluster.remove_node(second, allow_graceful=False)
        wait_for(lambda: sum(Path(f"/proc/{process}").exists() for process in processes_in(log)) == 1)
        go.touch()

    threading.Thread(target=strike, daemon=True).start()
    results = bs.run(study, tmp_path / "out", executor="ray", workers=2)
    assert results.count(Outcome.CRASHED) == 0
    assert same_rows(results, reference)
    assert len(processes_in(log)) == 2
    assert len(log.read_text().splitlines()) == cohorts + 1, "the cohort of the dead node was begun again"


def processes_in(log: Path) -> set[str]:
    return {line.split()[0] for line in log.read_text().splitlines()} if log.exists() else set()
