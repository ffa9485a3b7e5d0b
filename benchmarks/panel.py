"""The share of the machine's matrix-product rate over a whole study: panel (b) of Figure 3 of the paper, on MNIST.

    python -m benchmarks.panel [--against SRC] [--depths 1,4,10] [--batch-sizes 32,4096]
    python -m benchmarks.panel --whole DIR

The first form takes a sample. Of every cohort of the study, as the committed rows of results/figure2-mnist say that it
was formed (the grid of step sizes, five seeds), a short piece of training is timed, with as many members as were still
running in each of its epochs, and evaluations; the whole is those times, weighted by the epochs that were trained.
Times are of the processor, on one thread, on random numbers of MNIST's shape; the rate is that of 1024 x 1024 products
in float32, which take turns with every piece. --against: the `src` of another version, which takes turns with this one.

The second form runs the study in DIR, which must not be there yet, on all cores, and needs MNIST.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import batchscope as bs
from batchscope.recipes import chen2018
from batchscope.records.rows import Rows
from batchscope.studies import read
from benchmarks.machine import describe, write
from benchmarks.operations import evaluation_operations, square_products, square_rate, training_operations
from benchmarks.panel_cell import D_IN, D_OUT, NUM_EXAMPLES, NUM_HELD_OUT

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "figure2-mnist"
OURS = str(ROOT / "src")


@dataclass(frozen=True)
class TrainedCohort:
    """What rows say of one cohort. members: (step size, seed). epochs: how many each of them trained."""

    phase: str
    depth: int
    width: int
    batch_size: int
    members: tuple[tuple[float, int], ...]
    epochs: tuple[float, ...]

    @property
    def net(self) -> tuple[int, int, int, int]:
        """As `benchmarks.operations` takes it."""
        return D_IN, self.width, self.depth, D_OUT

    def trained(self) -> dict[int, float]:
        """Number of members running -> epochs trained by so many."""
        ends = sorted(self.epochs)
        lengths = {len(ends) - i: b - a for i, (a, b) in enumerate(zip([0.0, *ends], ends, strict=False))}
        return {running: length for running, length in lengths.items() if length}

    def evaluated(self) -> dict[int, float]:
        """Number of members -> evaluations of so many at once: before the first epoch, and after every one."""
        return dict(Counter(self.trained()) + Counter({len(self.members): 1.0}))

    def training_operations(self) -> float:
        """Of all its members' epochs."""
        return sum(self.epochs) * NUM_EXAMPLES * training_operations(*self.net)

    def evaluation_operations(self) -> float:
        """Of all evaluations, on training and held-out examples."""
        return (sum(self.epochs) + len(self.epochs)) * (NUM_EXAMPLES + NUM_HELD_OUT) * evaluation_operations(*self.net)

    def asked(self, what: str, running: Iterable[int]) -> dict[str, Any]:
        """As `panel_cell.measure` takes it."""
        cell = {"depth": self.depth, "width": self.width, "batch_size": self.batch_size, "members": self.members}
        return cell | {"what": what, "running": sorted(running, reverse=True)}


def trained_cohorts(rows: Rows) -> list[TrainedCohort]:
    """The cohorts of a study's rows, by phase, depth and batch size; a widening counts as part of its grid's cohort."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.phase, row.depth, row.width, row.batch_size].append(row)
    return [
        TrainedCohort(*key, tuple((row.step_size, row.seed) for row in group), tuple(row.epochs_run for row in group))
        for key, group in sorted(groups.items())
    ]


class Side:
    """A version of the library: a process that times pieces with it."""

    def __init__(self, src: str) -> None:
        env = os.environ | {"PYTHONPATH": os.pathsep.join((src, str(ROOT))), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benchmarks.panel_cell"]
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.evaluations: dict[tuple[int, int], float] = {}  # (depth, running) -> operations possible meanwhile

    def measure(self, asked: Mapping[str, Any]) -> dict[int, dict[str, float]]:
        """Members running -> piece -> operations that square products would have done in its time."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return {times.pop("running"): times for times in json.loads(self._process.stdout.readline())}

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


def sample(cohorts: Sequence[TrainedCohort], sides: Mapping[str, Side]) -> list[dict[str, Any]]:
    """One record for every cohort and side: operations done, and those possible in the time they took."""
    largest = {one.depth: one for one in cohorts if one.phase == "tune"}
    for depth, cohort in largest.items():
        running = {number for one in cohorts if one.depth == depth for number in one.evaluated()}
        for side in sides.values():
            found = side.measure(cohort.asked("evaluation", running))
            side.evaluations |= {(depth, number): times["evaluation"] for number, times in found.items()}
    records = []
    for cohort in cohorts:
        for name, side in sides.items():
            records.append(
                {"side": name} | record(cohort, side.measure(cohort.asked("training", cohort.trained())), side)
            )
            print(".", end="", file=sys.stderr, flush=True)
    return records


def record(cohort: TrainedCohort, times: Mapping[int, Mapping[str, float]], side: Side) -> dict[str, Any]:
    """The whole cohort from its pieces."""
    steps = NUM_EXAMPLES / cohort.batch_size
    possible = {
        kind: sum(epochs * steps * times[running][kind] for running, epochs in cohort.trained().items())
        for kind in ("step", "products", "gathering")
    }
    checks = sum(number * side.evaluations[cohort.depth, running] for running, number in cohort.evaluated().items())
    return {
        "phase": cohort.phase, "depth": cohort.depth, "width": cohort.width, "batch_size": cohort.batch_size,
        "training": cohort.training_operations(), "training_possible": possible["step"],
        "products_possible": possible["products"], "gathering_possible": possible["gathering"],
        "evaluation": cohort.evaluation_operations(), "evaluation_possible": checks,
    }  # fmt: skip


def total(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Shares of the matrix rate over some records, and how much of their time is evaluation."""
    sums: Counter[str] = Counter()
    for one in records:
        sums.update({name: value for name, value in one.items() if isinstance(value, float)})
    time_taken = sums["training_possible"] + sums["evaluation_possible"]
    return {
        "time": time_taken,
        "evaluation_time": sums["evaluation_possible"] / time_taken,
        "share": (sums["training"] + sums["evaluation"]) / time_taken,
        "share_training_only": sums["training"] / time_taken,
        "training": sums["training"] / sums["training_possible"],
        "evaluation": sums["evaluation"] / sums["evaluation_possible"],
        "ceiling": sums["training"] / sums["products_possible"],
        "ceiling_gathered": sums["training"] / (sums["products_possible"] + sums["gathering_possible"]),
    }


COLUMNS = {
    "share": "share of the matrix rate",
    "training": "while training",
    "ceiling": "these products alone",
    "ceiling_gathered": "... with gathering",
    "evaluation": "while evaluating",
    "evaluation_time": "time evaluating",
}


def print_table(records: Sequence[Mapping[str, Any]]) -> None:
    """By phase and batch size, and all, of one side."""
    whole = total(records)
    print("| cohorts | share of the time | " + " | ".join(COLUMNS.values()) + " |")
    print("| --- |" + " --- |" * (1 + len(COLUMNS)))
    groups = defaultdict(list)
    for one in records:
        groups[f"{one['phase']}, B = {one['batch_size']}"].append(one)
    for name, group in {**groups, "all": records}.items():
        found = total(group)
        cells = [found["time"] / whole["time"], *(found[column] for column in COLUMNS)]
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    print(f"Counting only training as useful: {whole['share_training_only']:.3f} of the matrix rate")


def run_sample(arguments: argparse.Namespace) -> None:
    """The first form."""
    rows = Rows.of(read(COMMITTED).rows)
    chosen = {"depth": arguments.depths, "batch_size": arguments.batch_sizes}
    rows = rows.where(**{name: wanted for name, wanted in chosen.items() if wanted})
    sources = {"now": OURS} | ({"before": arguments.against} if arguments.against else {})
    sides = {name: Side(src) for name, src in sources.items()}
    records = sample(trained_cohorts(rows), sides)
    totals = {}
    for name, side in sides.items():
        side.stop()
        mine = [one for one in records if one["side"] == name]
        totals[name] = total(mine)
        print(f"\n{name}: {totals[name]['share']:.3f} of the matrix rate")
        print_table(mine)
    if arguments.against:
        print(f"time, before / now: {totals['before']['time'] / totals['now']['time']:.2f}")
    print(write("panel", {"machine": describe(), "totals": totals, "cohorts": records}))


def run_whole(directory: str) -> None:
    """The second form: the study itself, its wall time, and the processor time of its workers."""
    cores = len(os.sched_getaffinity(0))
    squares = square_products()
    rates = [square_rate(squares)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    rows = Rows.of(bs.run(chen2018.figure3("b"), directory).rows)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    rates.append(square_rate(squares))
    cohorts, rate = trained_cohorts(rows), sum(rates) / 2
    operations = sum(cohort.training_operations() + cohort.evaluation_operations() for cohort in cohorts)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    busy = math.fsum(rows.column("seconds")) / (wall * cores)
    found = {
        "wall_seconds": wall, "processor_seconds": processor, "operations": operations, "rate": rate, "cores": cores,
        "share_of_wall": operations / (wall * cores * rate), "share_of_processor": operations / (processor * rate),
        "busy": busy,
    }  # fmt: skip
    print("\n".join(f"{name} {value:.4g}" for name, value in found.items()))
    print(write("panel-whole", {"machine": describe(), **found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: tuple(map(int, text.split(",")))  # noqa: E731
    parser.add_argument("--against", metavar="SRC", help="the folder `src` of another version")
    parser.add_argument("--depths", type=numbers, default=(), help="only these")
    parser.add_argument("--batch-sizes", type=numbers, default=(), help="only these")
    parser.add_argument("--whole", metavar="DIR", help="run the study")
    arguments = parser.parse_args()
    if arguments.whole and Path(arguments.whole).exists():
        parser.error(f"{arguments.whole} is there; expected a new directory, so that all of the study is timed")
    elif arguments.whole:
        run_whole(arguments.whole)
    else:
        run_sample(arguments)


if __name__ == "__main__":
    main()
