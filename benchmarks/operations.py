"""Floating-point operations of fully-connected training, counted in one place, and the rate they are a share of."""

from __future__ import annotations

import time
from collections.abc import Callable

SQUARE = 1024


def training_operations(d_in: int, width: int, depth: int, d_out: int) -> int:
    """Of one example and member: 2 forward and 4 backward per weight, of the first layer 2 and 2.

    The gradient at the inputs, which those of the first layer would be, is not needed.
    """
    return 2 * (3 * num_weights(d_in, width, depth, d_out) - d_in * width)


def evaluation_operations(d_in: int, width: int, depth: int, d_out: int) -> int:
    """Of one example and member: 2 per weight."""
    return 2 * num_weights(d_in, width, depth, d_out)


def num_weights(d_in: int, width: int, depth: int, d_out: int) -> int:
    """Of `depth` hidden layers of `width` units, without biases."""
    return d_in * width + (depth - 1) * width**2 + width * d_out


def square_products(threads: int = 1) -> Callable[[int], None]:
    """Return what makes so many products of 1024 x 1024 matrices in float32, the machine's matrix-product rate."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2, SQUARE, SQUARE).unbind()
    out = torch.empty(SQUARE, SQUARE)

    def run(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b, out=out)

    return run


def square_rate(run: Callable[[int], None], clock: Callable[[], float] = time.process_time, steps: int = 4) -> float:
    """Operations a second of what `square_products` returned."""
    began = clock()
    run(steps)
    return steps * 2 * SQUARE**3 / (clock() - began)
