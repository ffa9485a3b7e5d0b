"""Cohorts against the loop a user would write, against JAX, and against the machine's own matrix-product rate.

    python -m benchmarks.cohort [--rounds 5] [--seconds 0.6]

Milliseconds per step and model for ten step sizes of one network on MNIST-shaped data. The sides take turns within
each round, every round gives one ratio, and the table shows medians over rounds:

- loop:   nn.Sequential, torch.optim.SGD, tensors in memory, one model at a time, PyTorch's default threads;
- jax:    the ten models under vmap, a scan over the steps, jit-compiled, JAX's default threads (if installed);
- cohort: two processes of one thread, each training its own cohort of ten (as `batchscope run` does on two cores).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing as mp
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.machine import describe, write
from benchmarks.operations import SQUARE, square_products, training_operations

MEMBERS, NUM_EXAMPLES, D_IN, D_OUT = 10, 60_000, 784, 10
SHAPES = ((1, 20), (10, 17))
BATCH_SIZES = (32, 256, 2048)
STEP_SIZES = [0.001 * 1.5**k for k in range(MEMBERS)]

Step = Callable[[int], None]  # run this many steps


@functools.cache
def examples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((NUM_EXAMPLES, D_IN), dtype=np.float32), rng.integers(0, D_OUT, NUM_EXAMPLES)


def loop_side(depth: int, width: int, batch_size: int) -> Step:
    """One model's steps; the other nine would take as long each."""
    import torch
    from torch import nn

    inputs, labels = map(torch.from_numpy, examples())
    sizes = (D_IN, *(width,) * depth, D_OUT)
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss()

    def run(steps: int) -> None:
        order = torch.randperm(NUM_EXAMPLES)
        for step in range(steps):
            start = step * batch_size % (NUM_EXAMPLES - batch_size)
            indices = order[start : start + batch_size]
            optimizer.zero_grad()
            loss(model(inputs[indices]), labels[indices]).backward()
            optimizer.step()

    return run


def jax_side(depth: int, width: int, batch_size: int) -> Step:
    import jax
    import jax.numpy as jnp

    inputs, labels = map(jnp.asarray, examples())
    sizes = (D_IN, *(width,) * depth, D_OUT)
    keys = jax.random.split(jax.random.PRNGKey(0), len(sizes) - 1)
    parameters = [
        (jax.random.normal(key, (MEMBERS, a, b)) * a**-0.5, jnp.zeros((MEMBERS, b)))
        for key, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]
    rates = jnp.asarray(STEP_SIZES)

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        *hidden, (weight, bias) = parameters
        for w, b in hidden:
            x = jax.nn.relu(x @ w + b)
        logits = x @ weight + bias
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))

    gradients = jax.vmap(jax.grad(loss), in_axes=(0, None, None))

    def step(parameters: Any, indices: Any) -> tuple[Any, None]:
        g = gradients(parameters, inputs[indices], labels[indices])
        scale = lambda p, d: p - rates.reshape((-1,) + (1,) * (p.ndim - 1)) * d  # noqa: E731
        return jax.tree.map(scale, parameters, g), None

    @jax.jit
    def many(parameters: Any, order: Any) -> Any:
        return jax.lax.scan(step, parameters, order)[0]

    rng = np.random.default_rng(0)

    def run(steps: int) -> None:
        order = rng.integers(0, NUM_EXAMPLES, (steps, batch_size))
        jax.block_until_ready(many(parameters, jnp.asarray(order)))

    return run


def cohort_side(depth: int, width: int, batch_size: int) -> Step:
    import torch

    from batchscope.architectures import Architecture
    from batchscope.data.dataset import Dataset, Standardisation
    from batchscope.records.row import Target
    from batchscope.training import Member, Settings
    from batchscope.training.cohort import RunningCohort

    torch.set_num_threads(1)
    inputs, labels = examples()
    dataset = Dataset("benchmark", inputs, labels, None, None, D_OUT, "", Standardisation("none"), "random numbers")
    settings = Settings(batch_size, Target("train_accuracy", 1.0), max_epochs=1)
    members = [Member(step_size, seed=0) for step_size in STEP_SIZES]
    architecture = Architecture("fully_connected", (D_IN,), D_OUT, depth, width)
    cohort = RunningCohort(architecture, dataset, settings, members, torch.device("cpu"))
    order = cohort.order(0)

    def run(steps: int) -> None:
        with torch.inference_mode():
            for step in range(steps):
                start = step * batch_size % (NUM_EXAMPLES - batch_size)
                cohort.engine.step(order[start : start + batch_size])

    return run


def matmul_side(*_: int) -> Step:
    """The rate the cohort's share is taken of."""
    return square_products()


# Side -> (maker, processes at once, models advanced by one step of one process)
SIDES: dict[str, tuple[Callable[..., Step], int, int]] = {
    "loop": (loop_side, 1, 1),
    "jax": (jax_side, 1, MEMBERS),
    "cohort": (cohort_side, 2, MEMBERS),
    "matmul": (matmul_side, 2, 1),
}


class Worker:
    """A process that holds one side of one cell and runs steps when told; idle otherwise."""

    def __init__(self, maker: Callable[..., Step], cell: tuple[int, int, int]) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, maker, cell), daemon=True)
        self.process.start()
        self.steps = 1

    def start(self, steps: int) -> None:
        self.pipe.send(steps)

    def seconds(self) -> float:
        return float(self.pipe.recv())

    def stop(self) -> None:
        self.pipe.send(None)
        self.process.join()


def _serve(pipe: Any, maker: Callable[..., Step], cell: tuple[int, int, int]) -> None:
    run = maker(*cell)
    while (steps := pipe.recv()) is not None:
        start = time.perf_counter()
        run(steps)
        pipe.send(time.perf_counter() - start)


class Side:
    """All the processes of one side; one measurement runs them at the same time."""

    def __init__(self, name: str, cell: tuple[int, int, int], seconds: float) -> None:
        maker, processes, self.models = SIDES[name]
        self.workers = [Worker(maker, cell) for _ in range(processes)]
        self.steps = 4
        self._time()  # compilation, first touches
        self.steps = max(4, int(self.steps * seconds / max(self._time(), 1e-4)))
        self._time()  # JAX compiles once more for the final number of steps

    def _time(self) -> float:
        for worker in self.workers:
            worker.start(self.steps)
        return max(worker.seconds() for worker in self.workers)

    def milliseconds(self) -> float:
        """Per step and model, all processes working."""
        return self._time() / (self.steps * self.models * len(self.workers)) * 1e3

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


def measure_cell(cell: tuple[int, int, int], names: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    sides = {name: Side(name, cell, seconds) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, side in sides.items():
            samples[name].append(side.milliseconds())
    for side in sides.values():
        side.stop()
    depth, width, batch_size = cell
    flops = batch_size * training_operations(D_IN, width, depth, D_OUT)
    rate = [2 * SQUARE**3 / ms for ms in samples["matmul"]]
    share = statistics.median(flops / ms / r for ms, r in zip(samples["cohort"], rate, strict=True))
    ratios = {
        f"{name}/cohort": statistics.median(a / b for a, b in zip(samples[name], samples["cohort"], strict=True))
        for name in names
        if name in ("loop", "jax")
    }
    medians = {f"{name}_ms": statistics.median(values) for name, values in samples.items() if name != "matmul"}
    return {"depth": depth, "width": width, "batch_size": batch_size, **medians, **ratios, "matmul_share": share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of one side in one round")
    arguments = parser.parse_args()
    machine = describe("jax")
    names = [name for name in SIDES if name != "jax" or machine["versions"]["jax"]]
    print(f"{machine['processor']}, {machine['cores']} cores; {machine['versions']}")
    print("ms per step and model; ratios > 1: the cohort is faster")
    rows = []
    for depth, width in SHAPES:
        for batch_size in BATCH_SIZES:
            row = measure_cell((depth, width, batch_size), names, arguments.rounds, arguments.seconds)
            rows.append(row)
            text = "  ".join(f"{key} {value:.3g}" for key, value in row.items() if key not in ("depth", "width"))
            print(f"784-{width}x{depth}-10  {text}", flush=True)
    if "jax" in names:
        print(f"jax/cohort: median over cells {statistics.median(row['jax/cohort'] for row in rows):.2f}")
    print(write("cohort", {"machine": machine, "rounds": arguments.rounds, "rows": rows}))


if __name__ == "__main__":
    main()
