"""``python -m tests.chaos [--n 200] [--seed 0] [--executors processes ray inline] [--keep]``: tried, survived.

Every trial starts a study of 60 short runs with the fake trainer of the tests, does one harm to it at a random moment,
and gives the same command again. It survives when the exported table is that of an undisturbed run, but for timings:

* ``driver``, ``worker``, ``group``: kill -9 of the run, of a worker, of all its processes, once to three times;
* ``disk``: no file may grow any more (as on a full disk): a message and exit status 2, then on with room;
* ``checkpoint``: every kept state is overwritten with noise or emptied, after a kill;
* ``database``: the results file is cut at a random place: read as it was, or named as damage with exit status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import batchscope as bs
from tests.running.common import STUDY, exported, processes_with, trials_in
from tests.studies.common import make_study
from tests.studies.conftest import PATCHED

EXECUTORS = ("processes", "ray", "inline")
KILLS = ("driver", "worker", "group")
HARMS = (*KILLS, *KILLS, "disk", "checkpoint", "database")  # kills twice as often as each of the others
PATIENCE = 120.0  # seconds after which a run counts as stuck


@dataclass
class Trial:
    """One study to harm. whole: the exported rows of an undisturbed run. address: of a Ray cluster, or empty."""

    folder: Path
    executor: str
    rng: random.Random
    whole: list[dict[str, str]]
    address: str = ""
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def out(self) -> Path:
        """The run directory."""
        return self.folder / "out"

    def start(self, before: Callable[[], None] | None = None, seconds: float = 0.03) -> subprocess.Popen[str]:
        """Begin the command, every cohort of which takes so long. before: runs in the child, before Python."""
        words = ["run", STUDY, "--executor", self.executor, "--workers", "2", "--out", "out"]
        settings = {"PYTHONPATH": PATCHED, "OMP_NUM_THREADS": "1", "FAKE_SECONDS": str(seconds), "TAG": self.tag}
        return subprocess.Popen(
            [sys.executable, "-m", "batchscope.cli.main", *words],
            env=os.environ | settings | ({"RAY_ADDRESS": self.address} if self.address else {}),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )

    def finished(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """(exit status, standard error) at the end of a command."""
        _, err = process.communicate(timeout=PATIENCE)
        return process.returncode, err

    def wait_for_a_moment(self, process: subprocess.Popen[str]) -> None:
        """Until one more cohort has been stored, or the command has ended; then a little longer."""
        had, end = trials_in(self.out), time.monotonic() + PATIENCE
        while process.poll() is None and trials_in(self.out) == had and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(self.rng.random() * 0.15)

    def kill(self, what: str, process: subprocess.Popen[str]) -> None:
        """Kill -9 the driver, one of its workers (if it has any), or the whole group."""
        group = processes_with(self.tag) | {process.pid}
        workers = sorted(group - {process.pid})
        chosen = {"driver": [process.pid], "worker": [self.rng.choice(workers)] if workers else [], "group": group}
        for pid in chosen[what]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_in_the_middle(self, what: str) -> None:
        """Start, and kill at a random moment after one more cohort has been stored."""
        process = self.start()
        self.wait_for_a_moment(process)
        self.kill(what, process)
        self.finished(process)

    def problem_at_the_end(self) -> str:
        """Give the command once more; what is wrong then, or nothing."""
        status, err = self.finished(self.start(seconds=0.0))
        if status != 0:
            return f"exit status {status}: {err[-300:]}"
        return "" if exported(self.out) == self.whole else "another table"


def harm_by_kill(trial: Trial, what: str) -> str:
    """Once to three times."""
    for _ in range(trial.rng.randint(1, 3)):
        trial.kill_in_the_middle(what)
    return ""


def harm_by_full_disk(trial: Trial) -> str:
    """Files may have so many bytes and no more: the message names the directory, and nothing that was there is lost."""
    limit = trial.rng.choice((2_000, 20_000, 60_000, 100_000))

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    status, err = trial.finished(trial.start(no_room))
    if status not in (0, 2) or "Traceback" in err:
        return f"without room: exit status {status}: {err[-300:]}"
    return ""


def harm_by_checkpoint(trial: Trial) -> str:
    """States that are none: the cohort starts over, the file is set aside."""
    trial.kill_in_the_middle("group")
    folder = trial.out / "checkpoints"
    folder.mkdir(exist_ok=True)
    for file in [*folder.glob("*.pt"), folder / "0123456789abcdef.pt"]:
        file.write_bytes(trial.rng.choice((b"", trial.rng.randbytes(50), b"PK\x03\x04")))
    return ""


def harm_by_database(trial: Trial) -> str:
    """A results file cut short: named as damage, or still whole; then what was there before comes back."""
    trial.kill_in_the_middle("group")
    file = trial.out / "results-1of1.sqlite"
    if not file.exists():
        return ""
    kept = shutil.copy(file, trial.folder / "kept")
    with file.open("r+b") as handle:
        handle.truncate(trial.rng.randrange(1, file.stat().st_size))
    status, err = trial.finished(trial.start())
    shutil.copy(kept, file)
    for left in trial.out.glob("results-1of1.sqlite-*"):
        left.unlink()
    if status not in (0, 2) or "Traceback" in err:
        return f"a database cut short: exit status {status}: {err[-300:]}"
    return ""


OTHERS: dict[str, Callable[[Trial], str]] = {
    "disk": harm_by_full_disk,
    "checkpoint": harm_by_checkpoint,
    "database": harm_by_database,
}


def attempt(trial: Trial, harm: str) -> str:
    """Do one harm, then the command again; what is wrong at the end, or nothing."""
    try:
        problem = harm_by_kill(trial, harm) if harm in KILLS else OTHERS[harm](trial)
        return problem or trial.problem_at_the_end()
    except subprocess.TimeoutExpired:
        return f"stuck for {PATIENCE:g} s"
    finally:
        for pid in processes_with(trial.tag):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def cluster(wanted: bool) -> Iterator[str]:
    """The address of a Ray cluster of two CPUs with the fake trainer, where one is wanted."""
    if not wanted:
        yield ""
        return
    import ray

    os.environ |= {"PYTHONPATH": PATCHED, "RAY_USAGE_STATS_ENABLED": "0"}
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield str(ray.get_runtime_context().gcs_address)
    finally:
        ray.shutdown()


def undisturbed(folder: Path) -> list[dict[str, str]]:
    """The exported rows of a run that nothing happens to."""
    trial = Trial(folder, "inline", random.Random(0), [])
    (folder / STUDY).write_text(make_study().to_toml())
    status, err = trial.finished(trial.start(seconds=0.0))
    assert status == 0, err
    return exported(trial.out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print what did not survive and the counts; return 1 where anything did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executors", nargs="*", choices=EXECUTORS, default=list(EXECUTORS))
    parser.add_argument("--harms", nargs="*", choices=sorted(set(HARMS)), default=list(HARMS))
    options = parser.parse_args(arguments)
    tried, survived = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name, cluster("ray" in options.executors) as address:
        root = Path(name)
        (root / "whole").mkdir()
        whole = undisturbed(root / "whole")
        for number in range(options.n):
            rng = random.Random(f"{options.seed} {number}")
            executor = rng.choice(options.executors)
            harm = rng.choice([one for one in options.harms if (executor, one) != ("inline", "worker")])
            folder = root / str(number)
            folder.mkdir()
            (folder / STUDY).write_text(make_study().to_toml())
            problem = attempt(Trial(folder, executor, rng, whole, address if executor == "ray" else ""), harm)
            kind = f"{executor} {harm}"
            tried[kind] += 1
            survived[kind] += not problem
            if problem:
                print(f"{number}: {kind}: {problem}", flush=True)
            shutil.rmtree(folder)
            if (number + 1) % 10 == 0:
                print(f"{tried.total()} tried, {survived.total()} survived", file=sys.stderr, flush=True)
    for kind in sorted(tried):
        print(f"{kind:22} tried {tried[kind]:3}, survived {survived[kind]:3}")
    print(f"tried {tried.total()}, survived {survived.total()}")
    return int(survived.total() < tried.total())


if __name__ == "__main__":
    print(f"batchscope {bs.__version__}")
    raise SystemExit(main())
