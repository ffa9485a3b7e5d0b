"""Convolutional training: this library's trainer against a plain PyTorch loop, same device, same run.

    python -m benchmarks.training [--rounds 5] [--device auto] [--threads 2]

Rows: one ResNet-18 on images like CIFAR-10's, and a cohort of LeNets (five step sizes) on images like MNIST's; on CUDA
the fully-connected cohort of 784-20-10 too. The plain loop trains the members one after another, in float32, in both
memory formats, its data on the device; ours uses bf16 autocast on CUDA for the ResNet, float32 elsewhere, in the way
its own timing chooses. Prints epochs per second (of 50 000 or 60 000 examples, without evaluations) and ratios: medians
over rounds in which the sides take turns. Writes benchmarks/results/training.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from batchscope.architectures import Architecture, build
from batchscope.data.dataset import Dataset, Standardisation
from batchscope.records.row import Target
from batchscope.running.devices import resolve_device
from batchscope.training import Member, Settings
from batchscope.training.cohort import RunningCohort
from batchscope.training.engine_choice import mode_of
from benchmarks.machine import describe, write
from benchmarks.turns import in_turns, ratios, timed

Run = Callable[[int], None]  # trains so many steps of every member


@dataclass(frozen=True)
class Row:
    """One comparison. examples: in an epoch. loaded: examples kept in memory. steps: timed in every round."""

    net: Architecture
    batch_size: int
    step_sizes: tuple[float, ...]
    examples: int
    dtype: str = "float32"
    steps: int = 4
    loaded: int = 2048

    @property
    def settings(self) -> Settings:
        return Settings(self.batch_size, Target("train_loss", -1.0), max_epochs=1, dtype=self.dtype)

    @property
    def members(self) -> list[Member]:
        return [Member(step_size, 0) for step_size in self.step_sizes]

    def dataset(self) -> Dataset:
        draw = np.random.default_rng(0)
        inputs = draw.standard_normal((self.loaded, *self.net.input_shape), dtype=np.float32)
        labels = draw.integers(0, 10, self.loaded)
        return Dataset("noise", inputs, labels, None, None, 10, "", Standardisation("none"), "random numbers")


RESNET = Architecture("resnet18_blocks", (3, 32, 32), 10, 2, 64)
LENET = Architecture("lenet", (1, 28, 28), 10, 1, 500)
FULLY_CONNECTED = Architecture("fully_connected", (784,), 10, 1, 20)
GRID = tuple(0.01 * 2**k for k in range(5))
ROWS = {
    "cpu": {
        "ResNet-18, B=32": Row(RESNET, 32, (0.05,), 50_000),
        "5 LeNets, B=32": Row(LENET, 32, GRID, 60_000, steps=20),
        "5 LeNets, B=256": Row(LENET, 256, GRID, 60_000),
    },
    "cuda": {
        "ResNet-18, B=512": Row(RESNET, 512, (0.05,), 50_000, "bfloat16", steps=40, loaded=50_000),
        "5 LeNets, B=32": Row(LENET, 32, GRID, 60_000, steps=200, loaded=60_000),
        "10 fully-connected nets, B=32": Row(
            FULLY_CONNECTED, 32, tuple(0.01 * 2**k for k in range(10)), 60_000, steps=500, loaded=60_000
        ),
    },
}


def plain(row: Row, device: torch.device, channels_last: bool) -> Run:
    """The loop a user would write, member after member."""
    dataset = row.dataset()
    form = torch.channels_last if channels_last else torch.contiguous_format
    inputs = torch.as_tensor(dataset.inputs).to(device)
    inputs = inputs.to(memory_format=form) if channels_last else inputs
    labels = torch.as_tensor(dataset.targets).to(device)
    models = [build(row.net).to(device).to(memory_format=form) for _ in row.members]  # type: ignore[call-overload]
    optimizers = [
        torch.optim.SGD(model.parameters(), lr=member.step_size)
        for model, member in zip(models, row.members, strict=True)
    ]
    batches = _batches(row, device)

    def run(steps: int) -> None:
        for indices in itertools.islice(batches, steps):
            for model, optimizer in zip(models, optimizers, strict=True):
                loss = F.cross_entropy(model(inputs[indices]), labels[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return run


def ours(row: Row, device: torch.device) -> tuple[Run, str]:
    """The cohort's own steps, and how it chose to run its members."""
    mode = partial(mode_of, row.net, row.settings)
    with mode():
        cohort = RunningCohort(row.net, row.dataset(), row.settings, row.members, device)
        cohort.engine.begin_epoch(0)
    batches = _batches(row, device)

    def run(steps: int) -> None:
        with mode():
            for indices in itertools.islice(batches, steps):
                cohort.engine.step(indices)

    return run, str(cohort.engine.execution)


def _batches(row: Row, device: torch.device) -> Any:
    order = torch.randperm(row.loaded, generator=torch.Generator().manual_seed(0)).to(device)
    return itertools.cycle(order[: row.loaded // row.batch_size * row.batch_size].split(row.batch_size))


def compare(row: Row, device: torch.device, rounds: int) -> dict[str, Any]:
    """Epochs per second of each side and the ratios, medians over rounds in which the sides take turns."""
    mine, execution = ours(row, device)
    sides: dict[str, Run] = {"plain": plain(row, device, channels_last=False)}
    if row.net.family != "fully_connected":
        sides["plain, channels_last"] = plain(row, device, channels_last=True)
    sides["ours"] = mine
    for run in sides.values():
        run(4)  # more than the steps before a graph is recorded
    times = in_turns({name: partial(run, row.steps) for name, run in sides.items()}, rounds, device)
    step = {name: statistics.median(values) / row.steps for name, values in times.items()}
    epoch = row.examples / row.batch_size
    operations = 6 * row.net.multiply_adds * row.batch_size * len(row.members)
    faster = {name: statistics.median(ratios(times[name], times["ours"])) for name in sides if name != "ours"}
    return {
        "execution": execution,
        "dtype": row.dtype,
        "epochs_per_second": {name: len(row.members) / (seconds * epoch) for name, seconds in step.items()},
        "times_faster_than": faster,
        "tflops": operations / step["ours"] / 1e12,
    }


def matrix_rate(device: torch.device) -> float:
    """Measured bf16 matrix products of a CUDA device (float32 on a CPU), TFLOP/s."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b)

    seconds = min(timed(partial(multiply, 10), device) / 10 for _ in range(3))
    return 2 * size**3 / seconds / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(resolve_device(arguments.device))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {arguments.threads} threads"
    record: dict[str, Any] = {"device": name, "rounds": arguments.rounds, "machine": describe(), "rows": {}}
    record["matrix_tflops"] = matrix_rate(device)
    print(f"{name}; matrix products {record['matrix_tflops']:.3g} TFLOP/s")
    for title, row in ROWS[device.type].items():
        found = compare(row, device, arguments.rounds)
        found["share_of_matrix_rate"] = found["tflops"] / record["matrix_tflops"]
        record["rows"][title] = found | {"row": {"batch_size": row.batch_size, "net": row.net.label}}
        print(f"{title} ({found['execution'] or 'stacked'}, {found['dtype']})")
        for side, speed in found["epochs_per_second"].items():
            print(f"  {side:22} {speed:10.4g} epochs/s")
        for side, ratio in found["times_faster_than"].items():
            print(f"  ours / {side:15} {ratio:10.2f}x")
        print(f"  share of matrix rate   {found['share_of_matrix_rate']:10.2f}")
    print(f"written to {write('training', record)}")


if __name__ == "__main__":
    main()
