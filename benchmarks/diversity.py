"""Gradient diversity on MNIST of the paper's widest and deepest nets, before and after training.

    python -m benchmarks.diversity [--seeds 5] [--epochs 10] [--batch-size 32] [--step-size 0.04]

Exact, over all training examples, at initialisation and after plain SGD (Glorot-uniform weights, standardised inputs).
Measured by the cohort as it trains; the initial value of each seed is measured again by `measure`, which shares no
code with it, and the two must agree. Without MNIST the data is generated, and the output says so.
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F

from batchscope.architectures import Architecture, build
from batchscope.data import Dataset, load
from batchscope.errors import DataError
from batchscope.gradients import measure
from batchscope.records.row import Evaluation, Target
from batchscope.training import Member, Settings, train_cohort
from benchmarks.machine import describe, write

SHAPES = ((1, 20), (10, 17))  # hidden layers, units
AGREEMENT = 1e-3  # relative, float32


def mnist_or_generated() -> Dataset:
    """MNIST, or 60 000 generated examples of its shape."""
    try:
        return load("mnist")
    except DataError:
        return load("synthetic", num_examples=60_000, d_in=784, d_out=10)


def shape(data: Dataset, depth: int, width: int) -> Architecture:
    return Architecture("fully_connected", data.inputs.shape[1:], data.d_out, depth, width)


def ends_of_training(
    data: Dataset, architecture: Architecture, settings: Settings, step_size: float, seeds: int
) -> list[tuple[Evaluation, Evaluation]]:
    """(initial weights, after the last epoch) of each seed."""
    members = [Member(step_size, seed) for seed in range(seeds)]
    histories = [result.history for result in train_cohort(architecture, data, settings, members)]
    for member, history in zip(members, histories, strict=True):
        check_initial(data, architecture, settings, member.seed, history[0])
    return [(history[0], history[-1]) for history in histories]


def check_initial(data: Dataset, architecture: Architecture, settings: Settings, seed: int, found: Evaluation) -> None:
    model = build(architecture, settings.initialisation, seed)
    loss = F.mse_loss if data.num_classes is None else F.cross_entropy
    again = measure(model, loss, (torch.from_numpy(data.inputs), torch.from_numpy(data.targets)))
    assert found.batch_size_bound is not None
    if not math.isclose(again.batch_size_bound, found.batch_size_bound, rel_tol=AGREEMENT):
        raise AssertionError(f"{architecture}, seed {seed}: {again.batch_size_bound} and {found.batch_size_bound}")


def show(name: str, evaluations: list[Evaluation], num_examples: int) -> None:
    bounds = [evaluation.batch_size_bound or math.nan for evaluation in evaluations]
    accuracy = statistics.mean(evaluation.train_accuracy for evaluation in evaluations)
    median, least, most = statistics.median(bounds), min(bounds), max(bounds)
    print(
        f"  {name:14s} B_S {median:8.1f} [{least:.1f}, {most:.1f}]  "
        f"diversity {median / num_examples:.2e} [{least / num_examples:.2e}, {most / num_examples:.2e}]  "
        f"training accuracy {accuracy:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--step-size", type=float, default=0.04)
    arguments = parser.parse_args()
    data = mnist_or_generated()
    settings = Settings(
        arguments.batch_size, Target("train_loss", 0.0), max_epochs=arguments.epochs,
        stop_at_target=False, diversity_every=arguments.epochs,
    )  # fmt: skip
    print(f"{data.title or data.name}, n = {data.num_examples}, {arguments.seeds} seeds: median [least, most]")
    record: dict[str, Any] = {
        "machine": describe(), "data": data.name, "fingerprint": data.fingerprint, "settings": asdict(settings),
        "step_size": arguments.step_size, "seeds": arguments.seeds, "shapes": {},
    }  # fmt: skip
    for depth, width in SHAPES:
        architecture = shape(data, depth, width)
        ends = ends_of_training(data, architecture, settings, arguments.step_size, arguments.seeds)
        before, after = [list(side) for side in zip(*ends, strict=True)]
        print(architecture.label)
        show("initialisation", before, data.num_examples)
        show(f"{arguments.epochs} epochs", after, data.num_examples)
        record["shapes"][architecture.label] = [
            {"seed": seed, "initialisation": asdict(a), "trained": asdict(b)} for seed, (a, b) in enumerate(ends)
        ]
    print("written to", write("diversity", record))


if __name__ == "__main__":
    main()
