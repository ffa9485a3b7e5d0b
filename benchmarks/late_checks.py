"""What rare checks and a running accuracy do to the trend of B_crit over depth, in studies in which it has none.

    python -m benchmarks.late_checks [--studies 50]

Ten shapes of one B_crit (200), whose fewest epochs rise from 0.2 to 3 with depth: eight batch sizes from 32 to 4096,
five seeds that vary by 10 %. The target is checked once or twenty times an epoch, and met `late` epochs after the time
that the curve says, as a running accuracy is, an average since its epoch began. Printed: how often the trend is taken
for certain to fall with depth or to rise (probability 0.95; 0.05 each by chance), and how often its 95 % interval holds
the truth. Writes benchmarks/results/late_checks.json.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

import numpy as np

from batchscope.analysis import sweeps_of
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.known_answers.planted import planted
from batchscope.analysis.trend import trend
from batchscope.records.row import Row
from benchmarks.machine import describe, write

B_CRIT, NUM_EXAMPLES = 200, 65_536
STARTS = tuple(0.2 * 1.35**k for k in range(10))
SIZES = tuple(2**k for k in range(5, 13))
ROWS = ((0.0, 0.0, 1), (0.0, 0.0, 20), (0.15, 0.0, 1), (0.15, 0.0, 20), (0.0, 0.8, 1), (0.15, 0.8, 1))


def study(rng: np.random.Generator, own: float, late: float, checks: int) -> list[Row]:
    """Final runs. own: standard deviation of a batch size's own error, in log epochs."""
    rows = []
    for depth, start in enumerate(STARTS, 1):
        for size in SIZES:
            centre = start * (1 + size / B_CRIT) * math.exp(own * rng.standard_normal())
            for seed in range(5):
                epochs = centre * math.exp(0.1 * rng.standard_normal()) + late
                rows.append(_row(depth, size, seed, math.ceil(epochs * checks) / checks, checks))
    return rows


def _row(depth: int, size: int, seed: int, epochs: float, checks: int) -> Row:
    steps = max(1, round(epochs * NUM_EXAMPLES / size))
    return replace(
        planted()[0],
        trial_id=f"{depth}-{size}-{seed}",
        shape=f"net-{depth}",
        depth=depth,
        batch_size=size,
        seed=seed,
        num_examples=NUM_EXAMPLES,
        evaluations_per_epoch=checks,
        epochs_to_target=epochs,
        epochs_run=epochs,
        steps_to_target=steps,
        steps_run=steps,
    )


def shares(own: float, late: float, checks: int, studies: int) -> dict[str, float]:
    """Of the studies: how many are sure that B_crit falls, that it rises, and hold the truth."""
    found = [
        trend(sweeps_of(study(np.random.default_rng(number), own, late, checks)), "b_crit", seed=number)
        for number in range(studies)
    ]
    return {
        "falls": float(np.mean([one.probability >= CERTAIN for one in found])),
        "rises": float(np.mean([one.probability <= 1 - CERTAIN for one in found])),
        "holds the truth": float(np.mean([one.interval[0] <= 1 <= one.interval[1] for one in found])),
        "median factor": float(np.median([one.factor for one in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=50)
    studies = parser.parse_args().studies
    record: dict[str, object] = {"machine": describe(), "studies": studies}
    for own, late, checks in ROWS:
        title = f"own error {own:g}, {checks} checks an epoch, met {late:g} epochs late"
        record[title] = found = shares(own, late, checks, studies)
        print(title, *(f"{name} {share:.3g}" for name, share in found.items()), sep="; ", flush=True)
    print(f"written to {write('late_checks', record)}")


if __name__ == "__main__":
    main()
