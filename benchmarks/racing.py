"""Tuning runs that end when the first of them meets the target (`race = true`) against runs to the target each.

    python -m benchmarks.racing [--repeats 3]

One study on the digits under protocol `tuned`, run both ways in turns in this process: five shapes of 2000 weights at
five batch sizes, ten step sizes, five seeds, 96 % training accuracy within 100 epochs. Printed: seconds of the tuning
runs and of everything, each as the ratio of the medians, and whether both ways chose the same step sizes and reported
the same runs. Writes benchmarks/results/racing.json.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from typing import Any

import batchscope as bs
from batchscope.records import Rows
from batchscope.studies import Results, Study
from benchmarks.machine import describe, write

WAYS = {"each to the target": False, "race": True}


def study(race: bool) -> Study:
    return Study(
        name="racing",
        dataset="digits",
        budget=2000,
        depths=(1, 2, 3, 5, 8),
        batch_sizes=(16, 32, 64, 128, 256),
        target={"train_accuracy": 0.96},
        step_sizes={"min": 0.005, "max": 2.56},
        protocol="tuned",
        race=race,
    )


def seconds(results: Results, *phases: str) -> float:
    """Of the runs of these phases."""
    return math.fsum(Rows.of(results.rows).where(phase=phases).column("seconds"))


def reported(results: Results) -> list[tuple[Any, ...]]:
    """Trial, step size and epochs of the reported runs."""
    finals = Rows.of(results.rows).where(phase=("final",))
    return sorted((row.trial_id, row.step_size, row.epochs_to_target) for row in finals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    runs = {}
    for _ in range(repeats):
        for way, race in WAYS.items():
            with tempfile.TemporaryDirectory() as directory:
                results = bs.run(study(race), directory, executor="inline")
                took[way].append((seconds(results, "tune"), seconds(results, "tune", "final")))
                runs[way] = reported(results)
    whole, raced = ([statistics.median(column) for column in zip(*took[way], strict=True)] for way in WAYS)
    same = len({tuple(found) for found in runs.values()}) == 1
    found = {
        "tuning": {"seconds": dict(zip(WAYS, (whole[0], raced[0]), strict=True)), "ratio": whole[0] / raced[0]},
        "everything": {"seconds": dict(zip(WAYS, (whole[1], raced[1]), strict=True)), "ratio": whole[1] / raced[1]},
        "repeats": repeats,
        "reported runs the same": same,
        "machine": describe(),
    }
    for name in ("tuning", "everything"):
        times = ", ".join(f"{way} {value:.1f} s" for way, value in found[name]["seconds"].items())
        print(f"{name}: {times}; {found[name]['ratio']:.2f} times as fast (medians of {repeats})")
    print(f"the same {len(runs['race'])} reported runs, to the last digit: {'yes' if same else 'NO'}")
    write("racing", found)


if __name__ == "__main__":
    main()
