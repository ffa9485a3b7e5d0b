"""The loop over examples: the last rung of the ladder, which needs nothing but that the model runs on one example.

One forward and backward pass per example; norms and sums are added up as they come, so memory is that of one example's
gradient. The cost is known after the first example: it stands in the plan, and longer loops show their progress.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from batchscope.gradients.backward.collect import LOOP, Measured, Result

SHOWN = 5.0  # seconds a loop must be predicted to last for its progress to be shown

Gradients = Mapping[str, Tensor]  # parameter name -> gradient of one example


@dataclass
class LoopCost:
    """What going through examples one at a time costs. seconds_per_example: of the first one, by which the rest is
    predicted. num_examples: all that were, or are being, treated so."""

    seconds_per_example: float
    num_examples: int = 0

    @property
    def predicted_seconds(self) -> float:
        """For all the examples."""
        return self.seconds_per_example * self.num_examples

    def __str__(self) -> str:
        return (
            f"one example at a time: {self.num_examples} examples, {1e3 * self.seconds_per_example:.3g} ms each, "
            f"{self.predicted_seconds:.3g} s in all"
        )


def add_up(rows: Iterable[Gradients], parameters: Mapping[str, Tensor], reason: str, is_one: bool) -> dict[str, Result]:
    """Parameter name -> Result, from every example's gradients in turn. is_one: whether it is an ordinary pass."""
    norms: dict[str, list[Tensor]] = {name: [] for name in parameters}
    sums: dict[str, Tensor] = {}
    for row in rows:
        for name, gradient in row.items():
            norms[name].append(_sq_norm(gradient))
            sums[name] = sums[name].add_(gradient) if name in sums else gradient.clone()
    measured = Measured((reason,), "plain" if is_one else LOOP)
    return {name: Result(torch.stack(norms[name]), total, measured) for name, total in sums.items()}


def _sq_norm(gradient: Tensor) -> Tensor:
    """‖g‖², float64: the square of a norm leaves the range of float32 long before the norm does."""
    dtype = torch.promote_types(gradient.dtype, torch.float64)
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=dtype)
    return norm.square()


def timed(rows: Iterator[Gradients], num_examples: int, costs: list[LoopCost], expected: int) -> Iterator[Gradients]:
    """The same rows, with their cost predicted in `costs` after the first and progress shown for long loops.

    expected: examples still to come in the whole measurement, this batch's included, as far as it is known.
    """
    start = time.perf_counter()
    first = next(rows, None)
    if first is None:
        return
    if not costs:
        costs.append(LoopCost(time.perf_counter() - start))
    cost = costs[0]
    cost.num_examples += num_examples
    yield first
    seconds = cost.seconds_per_example * max(num_examples, expected)
    # The command line shows the control characters of all texts, but those of a progress bar are acted on.
    console = Console(file=getattr(sys.stderr, "acted_on", sys.stderr))
    with Progress(console=console, transient=True, disable=seconds < SHOWN or not console.is_terminal) as progress:
        task = progress.add_task(
            f"one example at a time, about {seconds:.0f} s in all", total=num_examples, completed=1
        )
        for row in rows:
            yield row
            progress.advance(task)
