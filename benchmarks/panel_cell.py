"""One cohort of a panel, timed: a short piece of its training and an evaluation, by the code that trains studies.

A program of its own, so that two versions of the library can take turns: reads one cohort a line from standard input,
as JSON, and writes one line for each. `benchmarks.panel` starts it.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.operations import square_products, square_rate

NUM_EXAMPLES, NUM_HELD_OUT, D_IN, D_OUT = 60_000, 10_000, 784, 10
ROUNDS, SECONDS = 3, 0.05  # rounds of a piece, and processor time of its steps in each; at least one step
HOT = 256  # examples of a product whose operands are in the cache


def measure(asked: dict[str, Any]) -> list[dict[str, float]]:
    """What square products would have done in the time of each piece, in operations, by members still running.

    asked: depth, width, batch_size, members as [step size, seed], running (the numbers to time, the largest first) and
    what: "training" (a step, its products alone, gathering its examples) or "evaluation" (one, on all examples).
    """
    import torch

    found = []
    with torch.inference_mode():
        cohort = _cohort(asked)
        for running in asked["running"]:
            cohort._keep(cohort.running[:running])
            found.append({"running": running} | {name: possible(*piece) for name, piece in _pieces(cohort, asked)})
    return found


def _pieces(cohort: Any, of: dict[str, Any]) -> Iterator[tuple[str, tuple[Callable[[], object], float]]]:
    """(name, (call, least seconds)) of what is asked for."""
    if of["what"] == "evaluation":
        yield "evaluation", (cohort.engine.evaluate, 0.0)
        return
    order, size = cohort.order(0), of["batch_size"]
    batches = itertools.cycle(batch for batch in order.split(size, dim=-1) if batch.shape[-1] == size)
    yield "step", (lambda: cohort.engine.step(next(batches)), SECONDS)
    yield "gathering", (_gathering(cohort.engine.inputs, batches), 0.0)
    yield "products", (_products(of, len(cohort.running), cohort.shares_batches), 0.0)


def _gathering(inputs: Any, batches: Iterator[Any]) -> Callable[[], None]:
    """What brings the examples of a batch together, which lie anywhere in 188 MB, and no more."""
    import torch

    kept = torch.empty(0)

    def gather() -> None:
        indices = next(batches).reshape(-1)
        if len(kept) != len(indices):
            kept.resize_(len(indices), D_IN)
        torch.index_select(inputs, 0, indices, out=kept)

    return gather


def possible(call: Callable[[], object], least: float) -> float:
    """Operations of square products in the time of one call, which take turns; the median of some rounds."""
    call()  # makes buffers
    found = []
    for _ in range(ROUNDS):
        rate, calls, began, taken = square_rate(SQUARES, steps=1), 0, time.process_time(), 0.0
        while not calls or taken < least:
            call()
            calls += 1
            taken = time.process_time() - began
        found.append(taken / calls * rate)
    return statistics.median(found)


def _cohort(of: dict[str, Any]) -> Any:
    import torch

    from batchscope.architectures import Architecture
    from batchscope.records.row import Target
    from batchscope.training import Member, Settings
    from batchscope.training.cohort import RunningCohort

    settings = Settings(of["batch_size"], Target("train_accuracy", 0.96), max_epochs=1)
    net = Architecture("fully_connected", (D_IN,), D_OUT, of["depth"], of["width"])
    members = [Member(step_size, seed) for step_size, seed in of["members"]]
    return RunningCohort(net, DATASET, settings, members, torch.device("cpu"))


def _products(of: dict[str, Any], members: int, shared: bool) -> Callable[[], None]:
    """The products of a step and no more, on operands that stay in the cache, each in its faster order.

    Called once it makes those of a whole batch, 256 examples after another where members have their own.
    """
    import torch

    width, depth, size = of["width"], of["depth"], of["batch_size"]
    part = size if shared else min(size, HOT)
    parts = size // part
    h, delta = torch.randn(2, members, width, part).unbind()
    hidden, last = torch.randn(members, width, width), torch.randn(members, D_OUT, width)
    outputs, turned = torch.randn(members, D_OUT, part), h.transpose(1, 2).contiguous()
    first = torch.randn(members, width, D_IN)
    inputs = torch.randn(part, D_IN) if shared else torch.randn(members, part, D_IN)

    def across() -> None:
        torch.bmm(first, inputs.transpose(1, 2), out=delta)

    examples_first = first.transpose(1, 2).contiguous()

    def along() -> None:
        torch.bmm(inputs, examples_first)

    def all_at_once() -> None:
        torch.mm(first.flatten(0, 1), inputs.t(), out=delta.flatten(0, 1))

    forward = all_at_once if shared else min((across, along), key=_least)

    def run() -> None:
        for _ in range(parts):
            forward()
            if shared:
                torch.mm(delta.flatten(0, 1), inputs, out=first.flatten(0, 1))
            else:
                torch.bmm(delta, inputs, out=first)
            for _ in range(depth - 1):
                torch.bmm(hidden, h, out=delta)
                torch.bmm(hidden, delta, out=h)
                torch.bmm(delta, turned, out=hidden)
            torch.bmm(last, h, out=outputs)
            torch.bmm(last.transpose(1, 2), outputs, out=delta)
            torch.bmm(outputs, turned, out=last)

    return run


def _least(call: Callable[[], object]) -> float:
    """The least processor time of some calls, after a first one."""
    call()
    found = []
    for _ in range(5):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def _dataset() -> Any:
    from batchscope.data.dataset import Dataset, Standardisation

    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((NUM_EXAMPLES + NUM_HELD_OUT, D_IN), dtype=np.float32)
    labels = rng.integers(0, D_OUT, len(inputs))
    parts = [(inputs[part], labels[part]) for part in (slice(NUM_EXAMPLES), slice(NUM_EXAMPLES, None))]
    return Dataset("benchmark", *parts[0], *parts[1], D_OUT, "", Standardisation("none"), "random numbers")


if __name__ == "__main__":
    SQUARES, DATASET = square_products(), _dataset()
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)
