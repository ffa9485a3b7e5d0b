"""How often a branch test holds the truth, and how much it decides: studies drawn from known losses.

    python -m benchmarks.branches [--studies 2000]

A study has branches of k = 1, 2, 4, 8, 16 with n seeds. The loss of k exceeds that of k = 1 by a known amount; the
branches of a seed share part of their noise (the checkpoint, the order of the data), and each has noise of its own,
here as large as the tolerance. The truth is the largest k up to which no excess is above the tolerance. Rows: how often
[at_least, below) holds it, the nominal share being 0.95; how often nothing is left undecided.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from batchscope.analysis.branches import decide
from benchmarks.machine import describe, write

KS = (1, 2, 4, 8, 16)
TOLERANCE = 0.01
EXCESSES: dict[str, Sequence[float]] = {
    "none": (0, 0, 0, 0, 0),
    "from k = 8, by 3 tolerances": (0, 0, 0, 0.03, 0.1),
    "from k = 2, by 5 tolerances": (0, 0.05, 0.1, 0.2, 0.4),
    "k = 4 exactly at the tolerance": (0, 0, 0.01, 0.03, 0.1),
    "k = 2 just above the tolerance": (0, 0.0101, 0.0101, 0.0101, 0.0101),
}


def truth(excess: Sequence[float]) -> int:
    """The largest k up to which no excess is above the tolerance."""
    fine = [k for i, k in enumerate(KS) if all(one <= TOLERANCE for one in excess[: i + 1])]
    return max(fine)


def row(excess: Sequence[float], n: int, studies: int) -> dict[str, float]:
    """Shares over `studies`."""
    rng, largest, held, decided = np.random.default_rng(n), truth(excess), 0, 0
    for _ in range(studies):
        shared = rng.normal(2.0, 0.05, n)
        losses = {k: shared + more + rng.normal(0, TOLERANCE, n) for k, more in zip(KS, excess, strict=True)}
        found = decide({k: values.tolist() for k, values in losses.items()}, 64, tolerance=TOLERANCE)
        held += found.at_least <= largest and (found.below is None or found.below > largest)
        decided += found.is_decided
    return {"holds": held / studies, "decided": decided / studies}


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    record: dict[str, Any] = {"machine": describe(), "studies": studies, "rows": {}}
    print("| excess loss | seeds | holds the truth | nothing undecided |\n|---|---|---|---|")
    for name, excess in EXCESSES.items():
        for n in (2, 3, 5, 10):
            found = row(excess, n, studies)
            record["rows"][f"{name}, {n} seeds"] = found
            print(f"| {name} | {n} | {found['holds']:.3f} | {found['decided']:.3f} |", flush=True)
    print("written to", write("branches", record))


if __name__ == "__main__":
    main()
