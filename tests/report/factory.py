"""Rows as a study would write them: a hyperbola per shape, noise, runs that never arrive and runs that blow up."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.records.rows import COLUMNS

NUM_EXAMPLES = 1797
VERSIONS = "batchscope 0.1.0, torch 2.13.0, numpy 2.4.6, python 3.11.7"
SHAPES = ((1, 21), (2, 20), (5, 19), (10, 17))
BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512)
STEP_SIZES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)


def row(depth: int = 1, width: int = 21, batch_size: int = 32, seed: int = 0, **changes: object) -> Row:
    """One run that reached its target in 7 epochs; `changes` replace any field."""
    name = f"{depth} {width} {batch_size} {seed} {sorted(changes.items(), key=lambda item: item[0])}"
    epochs = changes.get("epochs_to_target") or 7.0  # other epochs make other steps
    per_epoch = -(-NUM_EXAMPLES // batch_size)
    steps = round(float(epochs) * per_epoch)  # type: ignore[arg-type]
    values: dict[str, object] = {
        "trial_id": hashlib.sha256(name.encode()).hexdigest()[:16],
        "study": "quickstart",
        "protocol": "paper2018",
        "phase": "final",
        "dataset": "digits",
        "data_fingerprint": "0123456789abcdef",
        "num_examples": NUM_EXAMPLES,
        "family": "fully_connected",
        "shape": f"64-{width}-10 relu" if depth == 1 else f"64-{width}x{depth}-10 relu",
        "depth": depth,
        "width": width,
        "num_weights": 64 * width + (depth - 1) * width**2 + 10 * width,
        "num_parameters": 65 * width + (depth - 1) * (width + 1) * width + 10 * (width + 1),
        "initialisation": "glorot_uniform",
        "optimizer": "sgd",
        "momentum": 0.0,
        "batch_size": batch_size,
        "step_size": 0.16,
        "seed": seed,
        "sampling": "permutation",
        "dtype": "float32",
        "target_metric": "train_accuracy",
        "target_value": 0.96,
        "max_epochs": 100,
        "evaluations_per_epoch": 1,
        "outcome": Outcome.REACHED,
        "epochs_to_target": epochs,
        "steps_to_target": steps,
        "epochs_run": epochs,
        "steps_run": steps,
        "train_loss": 0.123,
        "train_accuracy": 0.963,
        "heldout_accuracy": math.nan,
        "batch_size_bound": 37.0,
        "message": "",
        "seconds": 0.5,
        "device": "cpu",
        "versions": VERSIONS,
        "commit": "abc1234",
        "history": (),
    }
    unknown = set(changes) - set(COLUMNS)
    assert not unknown, unknown
    return Row(**(values | changes))  # type: ignore[arg-type]


def censored(**changes: object) -> Row:
    return row(**_without_target(Outcome.CENSORED, epochs=100.0, changes=changes))


def diverged(**changes: object) -> Row:
    loss = {"train_loss": None, "train_accuracy": None, "message": "the training loss was not finite after epoch 3"}
    return row(**(_without_target(Outcome.DIVERGED, epochs=3.0, changes=loss | changes)))


def crashed(**changes: object) -> Row:
    loss = {"train_loss": None, "train_accuracy": None, "message": "worker 1 died: killed by signal 9"}
    return row(**(_without_target(Outcome.CRASHED, epochs=0.0, changes=loss | changes)))


def _without_target(outcome: Outcome, epochs: float, changes: dict[str, object]) -> dict[str, object]:
    steps = int(epochs) * -(-NUM_EXAMPLES // int(changes.get("batch_size", 32)))
    result = {"outcome": outcome, "epochs_to_target": None, "steps_to_target": None}
    return result | {"epochs_run": epochs, "steps_run": steps} | changes


def study(
    shapes: Sequence[tuple[int, int]] = SHAPES,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    num_seeds: int = 5,
    max_epochs: int = 40,
    seed: int = 0,
    tune: bool = True,
) -> list[Row]:
    """Return a whole study: B_crit falls with depth, so that the deep shapes are censored at large batches.

    epochs = E_min (1 + B/B_crit) exp(noise), rounded up to whole epochs, with E_min = 4 and B_crit = 300 / depth.
    """
    rng = np.random.default_rng(seed)
    rows = [
        _final(depth, width, batch_size, one_seed, max_epochs, rng)
        for (depth, width), batch_size, one_seed in product(shapes, batch_sizes, range(num_seeds))
    ]
    return rows + (_tuning(shapes, batch_sizes, rng) if tune else [])


def best_step_size(batch_size: int) -> float:
    """Return the grid's nearest to a linear rule that saturates at 0.32."""
    return min(STEP_SIZES, key=lambda step_size: abs(math.log(step_size / min(0.32, 0.02 * batch_size / 8))))


def _final(depth: int, width: int, batch_size: int, seed: int, max_epochs: int, rng: np.random.Generator) -> Row:
    mean = 4 * (1 + batch_size * depth / 300)
    epochs = float(math.ceil(mean * math.exp(0.12 * rng.standard_normal())))
    bound = 30 / depth**0.5 * math.exp(0.05 * rng.standard_normal())
    shared = {"depth": depth, "width": width, "batch_size": batch_size, "seed": seed, "max_epochs": max_epochs}
    shared |= {"step_size": best_step_size(batch_size), "batch_size_bound": bound}
    shared |= {"seconds": float(0.1 * depth * (1 + rng.random()))}
    if depth >= 10 and batch_size >= 256 and seed == 0:
        return diverged(**shared)
    if epochs > max_epochs:
        return censored(**(shared | {"epochs_run": float(max_epochs)}))
    steps = int(epochs) * -(-NUM_EXAMPLES // batch_size)
    history = tuple(_evaluation(epoch, bound, epochs, batch_size) for epoch in range(int(epochs) + 1))
    ended = {"epochs_to_target": epochs, "steps_to_target": steps, "epochs_run": epochs, "steps_run": steps}
    return row(**(shared | ended | {"history": history}))


def _evaluation(epoch: int, bound: float, epochs: float, batch_size: int) -> Evaluation:
    """B_S grows as the loss falls; measured at every second epoch."""
    measured = bound * (1 + 2 * epoch / epochs) if epoch % 2 == 0 else None
    step = epoch * -(-NUM_EXAMPLES // batch_size)
    accuracy = 0.96 - 0.3 * (1 - epoch / epochs)
    return Evaluation(float(epoch), step, 2.3 * math.exp(-3 * epoch / epochs), accuracy, batch_size_bound=measured)


def _tuning(shapes: Sequence[tuple[int, int]], batch_sizes: Sequence[int], rng: np.random.Generator) -> list[Row]:
    rows = []
    for (depth, width), batch_size, step_size in product(shapes, batch_sizes, STEP_SIZES):
        away = math.log2(step_size / best_step_size(batch_size))
        shared = {"depth": depth, "width": width, "batch_size": batch_size, "step_size": step_size, "phase": "tune"}
        shared |= {"max_epochs": 2, "seconds": 0.05, "batch_size_bound": None}
        loss = 0.3 + 0.1 * away**2 + 0.01 * rng.random()
        if away > 2:
            rows.append(diverged(**(shared | {"epochs_run": 1.0})))
        else:
            rows.append(censored(**(shared | {"epochs_run": 2.0, "train_loss": loss})))
    return rows
