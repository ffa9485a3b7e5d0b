"""`Kernel`, and the decorator that registers one; what kernels share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Norms

Result = tuple[Tensor, Tensor]  # squared norms [N], sum [*shape]


@dataclass(frozen=True)
class Kernel:
    """name: for the plan. run(use, chunk): the result, `chunk` examples at a time. norms(use, chunk): its norms alone,
    for a loop whose own backward pass forms the sum anyway.

    applies(use): whether it can treat this use. scratch(use): scratch elements per example. flops(use): floating-point
    operations per example, used only to leave out candidates that cannot win.
    """

    name: str
    run: Callable[[Any, int], Result]
    applies: Callable[[Any], bool]
    scratch: Callable[[Any], int]
    flops: Callable[[Any], float]
    norms: Callable[[Any, int], Tensor]


KERNELS: dict[type, list[Kernel]] = {}


def kernel(
    kind: type,
    *,
    scratch: Callable[[Any], int],
    flops: Callable[[Any], float],
    applies: Callable[[Any], bool] = lambda use: True,
    summed: Callable[[Any], Tensor] | None = None,
    norms: Callable[[Any, int], Tensor] | None = None,
) -> Callable[[Callable[[Any, int], Any]], Callable[[Any, int], Any]]:
    """Register a kernel for one kind of Use, named after the function.

    summed: the sum; then the function returns the norms alone. Without it, the function returns the whole Result, and
    `norms`, when given, forms the norms alone for less.
    """

    def register(function: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
        def both(use: Any, chunk: int) -> Result:
            return function(use, chunk), summed(use)  # type: ignore[misc]

        def first(use: Any, chunk: int) -> Tensor:
            return function(use, chunk)[0]  # type: ignore[no-any-return]

        run, alone = (both, function) if summed is not None else (function, norms or first)
        KERNELS.setdefault(kind, []).append(Kernel(function.__name__, run, applies, scratch, flops, alone))
        return function

    return register


def chunks(num_examples: int, chunk: int) -> Iterator[slice]:
    """Slices of at most `chunk` examples that cover all."""
    for start in range(0, num_examples, chunk):
        yield slice(start, min(start + chunk, num_examples))


def sq_norms(x: Tensor) -> Tensor:
    """[N, ...] -> [N], sum of squares."""
    return Norms(x).squares


def norms_and_sum(pieces: Iterable[Tensor]) -> Result:
    """The Result of per-example gradients that come in pieces [n, ...], N in all."""
    norms, total = [], None
    for gradients in pieces:
        norms.append(sq_norms(gradients))
        total = gradients.sum(0) if total is None else total.add_(gradients.sum(0))
    assert total is not None  # there is at least one example
    return torch.cat(norms) if len(norms) > 1 else norms[0], total
