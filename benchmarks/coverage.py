"""How often the intervals hold the truth: studies drawn from known curves. `python -m benchmarks.coverage`.

Steps (or epochs) are lognormal about a known curve; "own error" multiplies all runs of one batch size by one more
lognormal factor, as a badly tuned step size would. Prints the share of studies whose 95 % interval holds the truth.
"""

from __future__ import annotations

import argparse

import numpy as np

from batchscope.analysis.critical_batch import fit_critical_batch
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.thresholds import estimate
from benchmarks.machine import describe, write

B_CRIT, S_MIN, EPOCHS = 400.0, 100.0, 10.0


def fits(
    studies: int,
    sizes: int,
    seeds: int,
    spread: float,
    checks: float = 0,
    own: float = 0,
    alpha: float = 1,
    cap: float = 0,
) -> dict[str, float]:
    """Coverage of B_crit by both intervals, and how often the lack-of-fit test rejects at 5 %.

    checks: examples between two checks of the target, 0: every step. cap: examples after which runs stop, 0: never.
    """
    rng = np.random.default_rng(0)
    batch_sizes = np.repeat(2.0 ** np.arange(5, 5 + sizes), seeds)
    both, alone, rejected, logs = [], [], [], []
    for study in range(studies):
        error = np.repeat(own * rng.standard_normal(sizes), seeds) + spread * rng.standard_normal(len(batch_sizes))
        steps = S_MIN * (1 + (B_CRIT / batch_sizes) ** alpha) ** (1 / alpha) * np.exp(error)
        width = checks / batch_sizes
        seen = np.ceil(steps / width) * width if checks else steps
        stopped = seen > cap / batch_sizes if cap else np.zeros(len(seen), bool)
        fit = fit_critical_batch(
            batch_sizes,
            np.where(stopped, cap / batch_sizes, seen),
            stopped,
            steps_before=seen - width,
            resamples=400,
            seed=study,
        )
        both.append(fit.interval[0] <= B_CRIT <= fit.interval[1])
        alone.append(fit.interval_seeds[0] <= B_CRIT <= fit.interval_seeds[1])
        rejected.append(fit.misfit < 0.05)
        logs.append(np.log(fit.b_crit / B_CRIT))
    return {
        "batch sizes and seeds": float(np.mean(both)),
        "seeds only": float(np.mean(alone)),
        "misfit p < 0.05": float(np.mean(rejected)),
        "median B_crit / true": float(np.exp(np.median(logs))),
    }


def thresholds(
    studies: int, definition: str, truth: float, seeds: int, spread: float, resolution: float
) -> dict[str, float]:
    """Coverage and bias of a threshold read off the typical epochs."""
    rng = np.random.default_rng(0)
    sizes = 2.0 ** np.arange(5, 13)
    cell = np.repeat(np.arange(8), seeds)
    held, values = [], []
    for study in range(studies):
        epochs = EPOCHS * (1 + sizes[cell] / B_CRIT) * np.exp(spread * rng.standard_normal(len(cell)))
        epochs = np.ceil(epochs / resolution) * resolution
        steps = epochs * 16_384 / sizes[cell]
        sweep = Sweep(
            "drawn", 1, 1, 1, 16_384, "", 1e9, resolution, sizes, cell, epochs, steps,
            steps - resolution * 16_384 / sizes[cell], np.ones(len(cell), bool), np.zeros(len(cell), bool),
            np.full(len(cell), np.nan), 0,
        )  # fmt: skip
        result = estimate(sweep, definition, 400, seed=study)
        held.append(result.interval[0] <= truth <= result.interval[1])
        values.append(result.ordering)
    return {"coverage": float(np.mean(held)), "median / true": float(np.median(values) / truth)}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400, help="studies per row")
    studies = parser.parse_args().studies
    rows: dict[str, dict[str, float]] = {
        "8 x 5, 10 %": fits(studies, 8, 5, 0.1),
        "8 x 5, 10 %, a check every 10 000 examples": fits(studies, 8, 5, 0.1, checks=10_000),
        "8 x 5, 10 %, stopped after 300 000 examples": fits(studies, 8, 5, 0.1, checks=2500, cap=300_000),
        "8 x 3, 20 %": fits(studies, 8, 3, 0.2),
        "5 x 5, 10 %": fits(studies, 5, 5, 0.1),
        "8 x 1, 10 %": fits(studies, 8, 1, 0.1),
        "8 x 5, 10 %, own error 10 %": fits(studies, 8, 5, 0.1, own=0.1),
        "8 x 5, 10 %, sharpness 4": fits(studies, 8, 5, 0.1, alpha=4),
        "8 x 5, 10 %, sharpness 0.6": fits(studies, 8, 5, 0.1, alpha=0.6),
    }
    overhead, within = B_CRIT * (1.2 * (1 + 32 / B_CRIT) - 1), 2 * B_CRIT
    for seeds, spread, resolution in ((5, 0.05, 0.05), (5, 0.1, 0.05), (5, 0.1, 1.0), (3, 0.1, 0.05), (10, 0.1, 0.05)):
        name = f"8 x {seeds}, {100 * spread:g} %, a check every {resolution:g} epochs"
        rows[f"overhead_20, {name}"] = thresholds(studies, "overhead_20", overhead, seeds, spread, resolution)
        rows[f"within_epochs(30), {name}"] = thresholds(studies, "within_epochs(30)", within, seeds, spread, resolution)
    for name, numbers in rows.items():
        print(f"{name:70}", "  ".join(f"{key} {value:.3f}" for key, value in numbers.items()))
    print(write("coverage", {"machine": describe("scipy"), "studies": studies, "rows": rows}))


if __name__ == "__main__":
    main()
