"""What a report on 10^5 runs costs: reading, analysis, page, and the page's size.

    python -m benchmarks.report [--runs 100000] [--rounds 3] [--keep DIR]

Writes a run directory as `batchscope run` leaves it, a study of 10 shapes and one of 100, with a history per run (one
check per epoch, 4 to 100 of them), then runs `batchscope report DIR --html FILE` in fresh processes. Medians go to
benchmarks/results/report.json. Limits aimed at, for ten shapes: 10 s from start to end, 8 MB. The yardstick says how
fast the machine was meanwhile: seconds of 10^7 additions in Python.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.running.store import Store
from batchscope.studies import Study
from benchmarks.machine import describe, peak_resident, write

NUM_EXAMPLES, MAX_EPOCHS = 60_000, 100
BATCH_SIZES = tuple(2**k for k in range(5, 13))
STEP_SIZES = tuple(0.01 * 2**k for k in range(9))


def study(num_shapes: int, num_runs: int) -> Study:
    return Study(
        name="large",
        dataset="mnist",
        num_examples=NUM_EXAMPLES,
        shapes=[[depth, 20 + depth] for depth in range(1, num_shapes + 1)],
        batch_sizes=BATCH_SIZES,
        target={"train_accuracy": 0.96},
        max_epochs=MAX_EPOCHS,
        num_seeds=max(1, num_runs // (num_shapes * len(BATCH_SIZES))),
        step_sizes={"min": STEP_SIZES[0], "max": STEP_SIZES[-1]},
        diversity_every=10,
    )


def rows(one: Study) -> Iterator[Row]:
    """Epochs = E_min (1 + B/B_crit) with 12 % noise, B_crit falling with depth; the slow ones run out of epochs."""
    rng = np.random.default_rng(0)
    for shape, batch_size in product(one.shapes or (), one.batch_sizes):
        for step_size in STEP_SIZES:
            yield _row(rng, one, shape, batch_size, step_size, 0, 2, math.inf)
        middle = 4 * (1 + batch_size / (6000 / (5 + shape[0])))
        for seed in range(one.num_seeds):
            epochs = math.ceil(middle * math.exp(0.12 * rng.standard_normal()))
            yield _row(rng, one, shape, batch_size, 0.16, seed, MAX_EPOCHS, epochs)


def _row(
    rng: np.random.Generator,
    one: Study,
    shape: tuple[int, int],
    batch_size: int,
    step_size: float,
    seed: int,
    max_epochs: int,
    epochs: float,
) -> Row:
    depth, width = shape
    ran, reached = int(min(epochs, max_epochs)), epochs <= max_epochs
    steps = ran * -(-NUM_EXAMPLES // batch_size)
    history = _history(rng, ran, steps, 0.96 if reached else 0.9)
    weights = 784 * width + (depth - 1) * width**2 + 10 * width
    return Row(
        trial_id=rng.bytes(8).hex(),
        study=one.name,
        protocol=one.protocol,
        phase="tune" if max_epochs == 2 else "final",
        dataset=one.dataset,
        data_fingerprint="0123456789abcdef",
        num_examples=NUM_EXAMPLES,
        family=one.family,
        shape=f"784-{width}x{depth}-10 relu",
        depth=depth,
        width=width,
        num_weights=weights,
        num_parameters=weights + depth * width + 10,
        batch_size=batch_size,
        step_size=step_size,
        seed=seed,
        target_metric="train_accuracy",
        target_value=0.96,
        **one.architecture_options,
        **(one.training_options | {"max_epochs": max_epochs}),
        outcome=Outcome.REACHED if reached else Outcome.CENSORED,
        epochs_to_target=float(ran) if reached else None,
        steps_to_target=steps if reached else None,
        epochs_run=float(ran),
        steps_run=steps,
        train_loss=history[-1].train_loss,
        train_accuracy=history[-1].train_accuracy,
        heldout_accuracy=history[-1].heldout_accuracy,
        batch_size_bound=statistics.fmean(e.batch_size_bound for e in history if e.batch_size_bound is not None),
        seconds=float(rng.uniform(1, 9)),
        device="cpu",
        versions="batchscope 0.1.0, torch 2.13.0, numpy 2.4.6, python 3.11.7",
        commit="0123456",
        history=history,
    )


def _history(rng: np.random.Generator, epochs: int, steps: int, end: float) -> tuple[Evaluation, ...]:
    progress = np.linspace(0, 1, epochs + 1)
    losses = 2.3 * np.exp(-3 * progress) * rng.uniform(0.98, 1.02, epochs + 1)
    accuracies = end - 0.8 * (1 - progress) ** 2 * rng.uniform(0.9, 1.1, epochs + 1)
    bounds = 30 * (1 + 2 * progress) * rng.uniform(0.9, 1.1, epochs + 1)
    return tuple(
        Evaluation(
            float(k),
            k * steps // epochs,
            float(losses[k]),
            float(accuracies[k]),
            float(accuracies[k]) - 0.01,
            float(bounds[k]) if k % 10 == 0 else None,
        )
        for k in range(epochs + 1)
    )


def fill(directory: Path, num_shapes: int, num_runs: int) -> int:
    """Write the run directory, unless it is there; return its number of rows."""
    file = directory / "results-1of1.sqlite"
    if file.exists():
        return int(sqlite3.connect(file).execute("SELECT COUNT(*) FROM rows").fetchone()[0])
    one = study(num_shapes, num_runs)
    made = list(rows(one))
    with Store(directory, (one,)) as store:
        store.add(made)
    return len(made)


def seconds_inside(directory: str, page: str) -> dict[str, float]:
    """Seconds of the three parts of the command, in this process, and its memory at most in MB."""
    start = time.perf_counter()
    from batchscope.cli import main, report
    from batchscope.report.page import html

    taken = {"imports": time.perf_counter() - start}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            begun = time.perf_counter()
            result = call(*arguments)
            taken[name] = time.perf_counter() - begun
            return result

        return run

    report.reported = timed("reading", report.reported)  # type: ignore[attr-defined]
    report.digests_of = timed("analysis", report.digests_of)
    html.write_page = timed("page", html.write_page)
    with redirect_stdout(StringIO()):
        main.main(["report", directory, "--html", page])
    return taken | {"memory, MB": peak_resident(), "yardstick": yardstick()}


def yardstick() -> float:
    """Seconds of 10^7 additions in Python: shared machines change their speed by more than what is measured here."""
    start, total = time.perf_counter(), 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - start


def measure(directory: Path, rounds: int) -> dict[str, float]:
    """Medians over rounds, each of two fresh processes: the command as typed, and its parts."""
    page = directory / "page.html"
    whole, parts = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        command = [sys.executable, "-m", "batchscope.cli.main", "report", str(directory), "--html", str(page)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole.append(time.perf_counter() - start)
        inside = [sys.executable, "-m", "benchmarks.report", "--inside", str(directory), str(page)]
        parts.append(json.loads(subprocess.run(inside, check=True, capture_output=True, text=True).stdout))
    medians = {name: statistics.median(part[name] for part in parts) for name in parts[0]}
    return {"whole command": statistics.median(whole), **medians, "page, MB": page.stat().st_size / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the run directories there, unless they are there, and leave them"
    )
    parser.add_argument("--inside", nargs=2, metavar=("DIR", "PAGE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(seconds_inside(*arguments.inside)))
        return
    record: dict[str, Any] = {"rounds": arguments.rounds, "machine": describe("scipy", "plotly")}
    with tempfile.TemporaryDirectory() as temporary:
        for num_shapes in (10, 100):
            directory = (arguments.keep or Path(temporary)) / f"{num_shapes}-shapes"
            count = fill(directory, num_shapes, arguments.runs)
            found = measure(directory, arguments.rounds)
            record[f"{num_shapes} shapes"] = {"rows": count} | found
            print(f"{num_shapes} shapes, {count} rows")
            for name, value in found.items():
                print(f"{value:10.2f}  {name}{'' if 'MB' in name else ', s'}")
    print(write("report", record))


if __name__ == "__main__":
    main()
