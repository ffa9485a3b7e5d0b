"""Coverage of the interval of a sample against the number of effective examples, where the truth is known.

    python -m benchmarks.effective_examples [--repeats 1500] [--seed 7]

Gradients mu + noise in 50 dimensions, tr Σ = 1, scaled by exp(t z), z normal: the larger t, the fewer examples hold
most of S1. Effective examples: (sum ‖g‖²)² / sum ‖g‖⁴. Every sample goes into the row of its own effective number, so
a row is what a reader who sees that number in a report has to expect.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from batchscope.gradients.estimands import Moments
from batchscope.gradients.intervals import jackknife_interval

EDGES = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, math.inf)
TAILS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75)
DIMENSION, GROUPS = 50, 20


class Sample(NamedTuple):
    """effective: examples. is_covered: whether the nominal 95 % interval holds the truth."""

    effective: float
    is_covered: bool


def samples(repeats: int, num_examples: int, bound: float, tail: float, rng: np.random.Generator) -> Iterator[Sample]:
    truth = bound * math.exp(tail**2)  # E e^{2tz} / (E e^{tz})²
    for _ in range(repeats):
        scale = np.exp(tail * rng.normal(size=(num_examples, 1)))
        noise = rng.normal(size=(num_examples, DIMENSION)) / math.sqrt(DIMENSION)
        g = scale * (math.sqrt(1 / (bound - 1) / DIMENSION) + noise)
        squares = np.square(g).sum(1)
        sums = g.reshape(GROUPS, -1, DIMENSION).sum(1)
        parts, total, size = squares.reshape(GROUPS, -1).sum(1), sums.sum(0), num_examples
        left_out = [
            Moments(size - size // GROUPS, float(squares.sum() - part), float(np.square(total - own).sum()))
            for part, own in zip(parts, sums, strict=True)
        ]
        whole = Moments(size, float(squares.sum()), float(np.square(total).sum()))
        found = jackknife_interval(whole, left_out, math.inf, 0.95)
        yield Sample(float(squares.sum() ** 2 / np.square(squares).sum()), found.low <= truth <= found.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1500, help="samples for each tail, size and bound")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    found = [
        sample
        for tail in TAILS
        for size, bound in ((100, 10.0), (100, 100.0), (400, 10.0), (400, 100.0))
        for sample in samples(arguments.repeats, size, bound, tail, rng)
    ]
    print("| effective examples | samples | coverage |\n|---|---|---|")
    for low, high in itertools.pairwise(EDGES):
        row = [sample.is_covered for sample in found if low <= sample.effective < high]
        if row:
            print(f"| {low:g} to {high:g} | {len(row)} | {np.mean(row):.3f} |")


if __name__ == "__main__":
    main()
