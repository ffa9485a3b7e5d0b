"""``python -m tests.chaos [--n 200] [--seed 0] [--executors processes ray inline] [--keep]``: tried, survived.

Every trial starts a study of 60 short runs with the fake trainer of the tests, does one harm to it at a random moment,
and gives the same command again. It survives when the exported table is that of an undisturbed run, but for timings:

* ``driver``, ``worker``, ``group``: kill -9 of the run, of a worker, of all its processes, once to three times;
* ``disk``: no file may grow any more (as on a full disk): a message and exit status 2, then on with room;
* ``readonly``: after a kill the directory can only be read: a message and exit status 2, then on
  (by a mount of its own for root, whom permissions do not stop);
* ``checkpoint``: after a kill, the states of the next cohorts are noise or empty: set aside by name, begun anew;
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
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import cells
from batchscope.studies.protocols import next_cohorts
from tests.running.common import STUDY, exported, processes_with, trials_in
from tests.studies.common import make_study
from tests.studies.conftest import PATCHED

EXECUTORS = ("processes", "ray", "inline")
KILLS = ("driver", "worker", "group")
HARMS = (*KILLS, *KILLS, "disk", "readonly", "checkpoint", "database")  # kills twice as often as each of the others
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
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

    def start(
        self, before: Callable[[], None] | None = None, seconds: float = 0.03, within: Sequence[str | Path] = ()
    ) -> subprocess.Popen[str]:
        """Begin the command, every cohort of which takes so long.

        before: runs in the child, before Python. within: a command that runs it.
        """
        words = ["run", STUDY, "--executor", self.executor, "--workers", "2", "--out", "out"]
        settings = {"PYTHONPATH": PATCHED, "OMP_NUM_THREADS": "1", "FAKE_SECONDS": str(seconds), "TAG": self.tag}
        return subprocess.Popen(
            [*within, sys.executable, "-m", "batchscope.cli.main", *words],
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


def harm_by_read_only_directory(trial: Trial) -> str:
    """Nothing can be written: the message says so."""
    trial.kill_in_the_middle("group")
    trial.out.mkdir(exist_ok=True)
    everything = [trial.out, *trial.out.rglob("*")]
    modes = [path.stat().st_mode for path in everything]
    for path, mode in zip(everything, modes, strict=True):
        path.chmod(mode & ~0o222)
    within = ["unshare", "-m", "sh", "-c", READ_ONLY, trial.out] if os.geteuid() == 0 else []
    status, err = trial.finished(trial.start(within=within))
    for path, mode in zip(everything, modes, strict=True):
        path.chmod(mode)
    if status != 2 or "cannot be written" not in err or "Traceback" in err:
        return f"where only reading is allowed: exit status {status}: {err[-300:]}"
    return ""


def can_forbid_writing() -> bool:
    """Whether this user can run a command that may not write into a directory of this user's."""
    if os.geteuid() != 0:
        return True
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    return False


def harm_by_checkpoint(trial: Trial) -> str:
    """States that are none, of the cohorts that come next: set aside under their names, the cohorts start over."""
    trial.kill_in_the_middle("group")
    damaged = {path: trial.rng.choice((b"", trial.rng.randbytes(50), b"PK\x03\x04")) for path in states_to_come(trial)}
    for path, content in damaged.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    status, err = trial.finished(trial.start(seconds=0.0))
    aside = {path: path.with_name(f"{path.name}.damaged") for path in damaged}
    lost = [path.name for path, content in damaged.items() if not holds(aside[path], content)]
    return f"exit status {status}, not set aside: {lost}: {err[-300:]}" if status or lost else ""


def holds(path: Path, content: bytes) -> bool:
    """Whether a file is there with this content."""
    return path.is_file() and path.read_bytes() == content


def states_to_come(trial: Trial) -> list[Path]:
    """Where the states of the cohorts are that a run would begin with."""
    study = make_study()
    rows = {row.trial_id: row for row in bs.studies.read(trial.out).rows} if (trial.out / "study.toml").exists() else {}
    plan = cells(study, facts(load_data(DataRequest.of(study)), study.seed))
    next_ones = [cohort for cell in plan for cohort in next_cohorts(study, cell, rows)]
    return [trial.out / "checkpoints" / f"{cohort.id}.pt" for cohort in next_ones]


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
    "readonly": harm_by_read_only_directory,
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
    if not can_forbid_writing():
        print("readonly is left out: root may write everywhere, and cannot have a mount of its own here")
        options.harms = [harm for harm in options.harms if harm != "readonly"]
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
