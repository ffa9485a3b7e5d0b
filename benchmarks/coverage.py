"""How often the intervals hold the truth: studies drawn from known curves. `python -m benchmarks.coverage`.

Steps (or epochs) are lognormal about a known curve; "own error" multiplies all runs of one batch size by one more
lognormal factor, as a badly tuned step size would. Prints the share of studies whose 95 % interval holds the truth.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from batchscope.analysis.fit.critical_batch import fit_critical_batch
from batchscope.analysis.formatting import plain
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.thresholds import estimate
from batchscope.analysis.verdict import compare
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
        "seeds only": float(np.mean(alone)) if seeds > 1 else float("nan"),
        "misfit p < 0.05": float(np.mean(rejected)) if seeds > 1 else float("nan"),
        "median B_crit / true": float(np.exp(np.median(logs))),
    }


SIZES: NDArray[np.float64] = np.exp2(np.arange(5.0, 13.0))


def drawn(rng: np.random.Generator, seeds: int, spread: float, resolution: float, shape: str = "drawn") -> Sweep:
    """A sweep over eight batch sizes whose epochs follow the hyperbola."""
    cell = np.repeat(np.arange(8), seeds)
    epochs = EPOCHS * (1 + SIZES[cell] / B_CRIT) * np.exp(spread * rng.standard_normal(len(cell)))
    epochs = np.ceil(epochs / resolution) * resolution
    per_epoch = 16_384 / SIZES[cell]
    return Sweep(
        shape=shape,
        depth=1,
        width=1,
        num_weights=1,
        multiply_adds=1,
        num_examples=16_384,
        target="",
        max_epochs=1e9,
        resolution=resolution,
        batch_sizes=SIZES,
        cell=cell,
        epochs=epochs,
        steps=epochs * per_epoch,
        steps_before=(epochs - resolution) * per_epoch,
        reached=np.ones(len(cell), bool),
        diverged=np.zeros(len(cell), bool),
        bounds=np.full(len(cell), np.nan),
        measured_at=np.empty((len(cell), 0)),
        measured=np.empty((len(cell), 0)),
        num_crashed=0,
    )


def thresholds(
    studies: int, definition: str, truth: float, seeds: int, spread: float, resolution: float
) -> dict[str, float]:
    """Coverage and bias of a threshold read off the typical epochs."""
    rng = np.random.default_rng(0)
    held, values = [], []
    for study in range(studies):
        result = estimate(drawn(rng, seeds, spread, resolution), definition, 400, seed=study)
        held.append(result.interval[0] <= truth <= result.interval[1])
        values.append(result.ordering)
    return {"coverage": float(np.mean(held)), "median / true": float(np.median(values) / truth)}


def equal_shapes(studies: int, definition: str) -> dict[str, float]:
    """How often two shapes with the same curve are told apart; at 0.95 either way, 0.10 would be exact."""
    rng = np.random.default_rng(0)
    decided = []
    for study in range(studies):
        pair = {name: drawn(rng, 5, 0.1, 0.05, name) for name in ("one", "other")}
        decided.append(compare(pair, "one", "other", definition, resamples=400, seed=study).decision != "undecided")
    return {"decided": float(np.mean(decided))}


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
    for definition in ("paper2018", "overhead_20", "b_crit"):
        rows[f"two equal shapes, 8 x 5, 10 %, {definition}"] = equal_shapes(studies, definition)
    for name, numbers in rows.items():
        print(f"{name:70}", "  ".join(f"{key} {value:.3f}" for key, value in numbers.items()))
    print(write("coverage", {"machine": describe("scipy"), "studies": studies, "rows": plain(rows)}))


if __name__ == "__main__":
    main()
