"""What a hundred thousand trials cost the engine itself: planning, running, resuming, reporting.

    python -m benchmarks.scale [--trials 100000] [--other-trials 4000] [--cohorts 24] [--executors processes ray]

*Trials of no work.* A study of tiny linear nets, ten seeds a cohort, trained by a stand-in that returns at once: what
is left is the engine (protocol, rows, transactions). Limits: plan 5 s, resume scan 2 s, 2 ms a trial, 1 GB. The scan is
from the call of `run` to its first word of progress, after which the first cohort would start: all rows are read and
checked, and every cell's protocol was asked. `resume_seconds` is the whole call, which returns all results.
*Through Ray, and through processes.* The same study with its real trainer, smaller: time beyond the cohorts' own, by
the number of workers, per trial. Limit for Ray: 5 ms.
*Two workers against one.* Cohorts that wait for a second each (a network whose forward pass sleeps): the rate of two
workers over twice the rate of one, start-up left out. Limit: 0.90.
*A thousand workers.* A simulation (`benchmarks.driver_queue`) fed with the time per cohort measured here.

Each part runs in a process of its own; results go to benchmarks/results/scale.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import driver_queue
from benchmarks.machine import describe, peak_resident, write

SEEDS = 10  # trials of a cohort
ROOT = Path(__file__).parent.parent

STUDY = """
name = "scale"
dataset = "synthetic"
num_examples = {examples}
dataset_options = {{ d_in = 3 }}
family = "{family}"
shapes = {shapes}
batch_sizes = {batch_sizes}
target = {{ train_loss = {target} }}
max_epochs = 1
num_seeds = {seeds}
step_sizes = {{ min = 0.1, max = 0.1 }}
"""


def trivial(trials: int) -> str:
    """A study file of about so many trials: up to a hundred batch sizes, and as many shapes as it takes."""
    cells = max(1, trials // SEEDS)
    sizes = min(100, cells)
    shapes = [[1 + k // 50, 1 + k % 50] for k in range(max(1, cells // sizes))]
    sweep = {"shapes": shapes, "batch_sizes": list(range(1, sizes + 1)), "seeds": SEEDS}
    return STUDY.format(examples=200, family="linear", target=1e-3, **sweep)


def waiting(cohorts: int) -> str:
    """A study file of so many cohorts that wait."""
    sweep = {"shapes": [[1, 1 + k] for k in range(cohorts)], "batch_sizes": [8], "seeds": 1}
    return STUDY.format(examples=8, family="benchmarks.waiting:Waiting", target=1e-9, **sweep)


def command(*words: str) -> float:
    """Seconds of a command of batchscope in a process of its own; fails when it fails."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "batchscope", *words], check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - begun


def run_without_work(file: Path, out: Path) -> dict[str, float]:
    """Train nothing, store everything, in this process: seconds, per trial and per cohort; then a resume that scans."""
    import batchscope as bs
    import batchscope.training
    from batchscope.records.row import Evaluation, Outcome
    from batchscope.studies.study import read_studies
    from batchscope.training.settings import Member, MemberResult

    history = (Evaluation(0.0, 0, 1.0, 0.0, 0.0), Evaluation(1.0, 2, 1e-4, 0.0, 0.0))

    def instantly(_net: Any, _data: Any, _settings: Any, members: Sequence[Member], **_: Any) -> list[MemberResult]:
        return [MemberResult(member, Outcome.REACHED, 1.0, 2, history) for member in members]

    batchscope.training.train_cohort = instantly  # type: ignore[assignment]
    studies = read_studies(file)
    begun = time.perf_counter()
    trials = len(bs.run(studies, out, executor="inline").rows)
    ran = time.perf_counter() - begun
    scanned: list[float] = []
    begun = time.perf_counter()
    bs.run(studies, out, executor="inline", progress=lambda _: scanned.append(time.perf_counter() - begun))
    resumed = time.perf_counter() - begun
    per_trial = 1e3 * ran / trials
    return {
        "trials": trials,
        "run_seconds": ran,
        "resume_scan_seconds": scanned[0],
        "resume_seconds": resumed,
        "ms_per_trial": per_trial,
        "ms_per_cohort": per_trial * SEEDS,
        "memory_mb": peak_resident(),
    }


def overhead(file: Path, out: Path, executor: str, workers: int) -> dict[str, float]:
    """Time of a run beyond its cohorts' own, per trial, from the first cohort that ends, so that starting workers does
    not count: (wall time x workers - seconds of the cohorts that end later) / their trials.
    """
    import batchscope as bs
    from batchscope.studies.study import read_studies

    done: list[tuple[float, int]] = []

    def note(status: Any) -> None:
        if status.finished_cohort:
            done.append((time.perf_counter(), status.trials_done))

    results = bs.run(read_studies(file), out, executor=executor, workers=workers, progress=note)
    wall, trials = done[-1][0] - done[0][0], done[-1][1] - done[0][1]
    inside = sum(row.seconds for row in results.rows) * trials / len(results.rows)
    return {"trials": trials, "ms_per_trial": 1e3 * (wall * workers - inside) / trials}


def rate(file: Path, out: Path, executor: str, workers: int) -> float:
    """Cohorts a second from the first that ends to the last, so that starting workers does not count."""
    import batchscope as bs
    from batchscope.studies.study import read_studies

    ends: list[float] = []

    def note(status: Any) -> None:
        if status.finished_cohort:
            ends.append(time.perf_counter())

    bs.run(read_studies(file), out, executor=executor, workers=workers, progress=note)
    return (len(ends) - workers) / (ends[-1] - ends[workers - 1])


def _in_process(part: str, *words: str) -> Any:
    """What a part of this program prints, run in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.scale", "--part", part, *words]
    done = subprocess.run(line, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


PARTS: dict[str, Callable[..., Any]] = {
    "none": lambda file, out: run_without_work(Path(file), Path(out)),
    "overhead": lambda file, out, executor, workers: overhead(Path(file), Path(out), executor, int(workers)),
    "rate": lambda file, out, executor, workers: rate(Path(file), Path(out), executor, int(workers)),
}


def without_work(folder: Path, trials: int) -> dict[str, float]:
    """Plan, run, resume, report on trials of no work."""
    file, out = folder / "trivial.toml", folder / "trivial"
    file.write_text(trivial(trials))
    found = {"plan_seconds": command("plan", str(file))} | _in_process("none", str(file), str(out))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found["report_seconds"] = command("report", str(out), "--html", str(folder / "page.html"))
    found["report_memory_mb"] = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1e3
    return found


def through(folder: Path, executor: str, trials: int) -> dict[str, float]:
    """Overhead per trial of an executor with two workers."""
    file = folder / f"{executor}.toml"
    file.write_text(trivial(trials))
    return dict(_in_process("overhead", str(file), str(folder / executor), executor, "2"))


def two_against_one(folder: Path, executor: str, cohorts: int) -> float:
    """Rate of two workers over twice that of one, on cohorts that wait."""
    file = folder / "waiting.toml"
    file.write_text(waiting(cohorts))
    rates = [_in_process("rate", str(file), str(folder / f"waiting-{executor}-{n}"), executor, str(n)) for n in (1, 2)]
    return float(rates[1] / (2 * rates[0]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every part as it comes and write them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--other-trials", type=int, default=4_000, help="through Ray and processes")
    parser.add_argument("--cohorts", type=int, default=24, help="that wait for a second")
    parser.add_argument("--executors", nargs="*", default=["processes", "ray"])
    parser.add_argument("--part", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    found: dict[str, Any] = {"machine": describe("ray")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["trials of no work"] = _said("trials of no work", without_work(folder, options.trials))
        for executor in options.executors:
            found[executor] = _said(executor, through(folder, executor, options.other_trials))
            ratio = two_against_one(folder, executor, options.cohorts)
            found[executor]["two workers over twice one"] = _said(f"{executor}: two workers over twice one", ratio)
    per_cohort = found["trials of no work"]["ms_per_cohort"] / 1e3
    found["a thousand workers"] = _said("a thousand workers", driver_queue.table(per_cohort))
    print(write("scale", found))


def _said(name: str, value: Any) -> Any:
    print(f"{name}: {json.dumps(value, indent=1)}", flush=True)
    return value


if __name__ == "__main__":
    main()
